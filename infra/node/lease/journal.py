"""What a daemon here says: log lines, words to systemd, possession on disk, the socket of its verbs.

Nothing in this file may make the holder wait: a stuck journal, a full disk or a busy PID 1 costs lines, not renewals.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import socket
import sys
import threading
from typing import Any, Callable, Dict, Optional

_LINES = 500
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
# Below hotpair-arbiter's, which decides who is active.
_PRIORITY = 5


class Log:
    """Lines go to standard error from a thread of their own; when it is some hundred behind, they are lost."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue(_LINES)
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def __call__(self, text: str) -> None:
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            pass

    def drain(self, seconds: float) -> None:
        """Before the process ends: what is written by then is written."""
        waiting = threading.Thread(target=self._lines.join, daemon=True)
        waiting.start()
        waiting.join(seconds)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            try:
                print(line, file=sys.stderr, flush=True)
            except OSError:
                pass
            self._lines.task_done()


class Systemd:
    """sd_notify(3) without a library; never waits."""

    def __init__(self) -> None:
        self._path = os.environ.get("NOTIFY_SOCKET", "")
        self._socket: Optional[socket.socket] = None
        if self._path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def notify(self, text: str) -> None:
        if self._socket is None:
            return
        path = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            self._socket.sendto(text.encode(), path)
        except OSError:
            pass


def publish(run: str, until: float) -> None:
    """Possession for units and monitors: `holder` has the CLOCK_BOOTTIME deadline; 0 or absent: not holding."""
    path = os.path.join(run, "holder")
    try:
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(f"{until:.3f}\n")
        os.replace(path + ".new", path)
    except OSError:
        pass


def publish_taken(run: str, origin: str) -> None:
    """`taken` has the node that held the lease before this one took it; empty: nobody, it was free."""
    path = os.path.join(run, "taken")
    try:
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(f"{origin}\n")
        os.replace(path + ".new", path)
    except OSError:
        pass


def published(run: str) -> float:
    try:
        with open(os.path.join(run, "holder"), encoding="ascii") as file:
            return float(file.read())
    except (OSError, ValueError):
        return 0.0


def stay_in_memory() -> None:
    """A page that must be read back from a slow disk would delay a renewal. Best effort."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    except (OSError, AttributeError):
        pass


def run_first() -> None:
    """Before ordinary load, threads included: a deadline that comes late is no deadline. On a machine with seven times
    as much to do as it has cores, the end of what writes came 0.9 s late without it. Where it is not allowed
    (containers often do not), the unit's Nice= is what there is."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    except OSError:
        pass


class Control:
    """The holder's socket: one JSON line in, one JSON line out. Each caller has a thread of its own."""

    def __init__(self, path: str, serve: Callable[[Dict[str, Any]], Dict[str, Any]]) -> None:
        self._serve = serve
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._socket.bind(path)
        finally:
            os.umask(before)
        self._socket.listen(8)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(caller,), name="caller", daemon=True).start()

    def _talk(self, caller: socket.socket) -> None:
        with caller:
            caller.settimeout(5.0)
            try:
                text = b""
                while not text.endswith(b"\n") and len(text) < 65536:
                    data = caller.recv(65536)
                    if not data:
                        break
                    text += data
                request = json.loads(text)
                if not isinstance(request, dict):
                    raise ValueError("no JSON object")
                caller.sendall(json.dumps(self._serve(request)).encode() + b"\n")
            except (OSError, ValueError) as error:
                try:
                    caller.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
                except OSError:
                    pass
