"""Everything slow that the arbiter must not wait for: a process of its own that writes the audit file, logs, and calls
systemctl. It gets one JSON line per order over a pipe and tells nothing back. A full disk or a stuck journal delays it
alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any, Dict, NoReturn

AUDIT_PATH = "/var/log/hotpair/audit.log"
# 1 MB holds some 8,000 state changes; with four old files a flapping night does not push out the day before.
AUDIT_BYTES = 1_000_000
AUDIT_OLD = 4


class Scribe:
    """The arbiter's end of the pipe. Orders are dropped when the scribe is more than 64 KB behind."""

    def __init__(self) -> None:
        self._write_end = -1
        self.dropped = 0
        self._start()

    def _start(self) -> None:
        read_end, self._write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._write_end, False)
        if os.fork() == 0:
            os.close(self._write_end)
            _serve(read_end)
        os.close(read_end)

    def order(self, **what: Any) -> None:
        line = json.dumps(what, separators=(",", ":")).encode() + b"\n"
        try:
            os.write(self._write_end, line[:4096])
        except BlockingIOError:
            self.dropped += 1
        except BrokenPipeError:
            os.close(self._write_end)
            self._start()

    def log(self, text: str) -> None:
        self.order(log=text)


def _serve(read_end: int) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        with os.fdopen(read_end, "rb") as orders:
            for line in orders:
                try:
                    _carry_out(json.loads(line))
                except (OSError, ValueError, subprocess.SubprocessError) as error:
                    _log(f"scribe: {error}")
        code = 0
    finally:
        os._exit(code)


def _carry_out(order: Dict[str, Any]) -> None:
    if "log" in order:
        _log(order["log"])
    if "audit" in order:
        write_audit(order["audit"])
    if "save" in order:
        save(order["save"], order["text"])
    if "systemctl" in order:
        # fail, not replace: a start must never cancel a stop that is still under way
        mode = order.get("mode", "fail")
        subprocess.run(
            ["systemctl", "--no-block", f"--job-mode={mode}", *order["systemctl"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write_audit(entry: Dict[str, Any], path: str = AUDIT_PATH, limit: int = AUDIT_BYTES) -> None:
    line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    try:
        if os.stat(path).st_size + len(line) > limit:
            for number in range(AUDIT_OLD, 0, -1):
                older = path if number == 1 else f"{path}.{number - 1}"
                if os.path.exists(older):
                    os.replace(older, f"{path}.{number}")
    except FileNotFoundError:
        pass
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save(path: str, text: str) -> None:
    """Replaces a small file; after a crash it is the old one or the new one."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
        if not path.startswith("/run/"):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
