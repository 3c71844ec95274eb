"""Asks hotpair-lease who may write and whose copies count, and hotpair-arbiter for a hand-over. They decide; this
module only carries words.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import time
from typing import Any, Dict, Iterator, Mapping, Optional

from .rules import LeaseSeen
from .settings import Settings

PROGRAM = "/usr/lib/hotpair/hotpair-lease"
INCARNATION_PATH = "/var/lib/hotpair/incarnation"
# What hotpair-fence remembers of its last shot.
FENCE_PATH = "/var/lib/hotpair/fence.json"
# Below settings.run: sockets of the lease's holder and of the arbiter, until when this node holds, when it took the
# lease, and a lock of this package.
HOLDER_SOCKET = "lease.sock"
ARBITER_SOCKET = "arbiter.sock"
# What the arbiter allows a hand-over at least (seconds).
HAND_OVER = 5.0
DEADLINE = "holder"
TAKEN = "taken"
LOCK = "drbd.insync.lock"
# Between two looks at a counter that a holder moves every 100 ms (seconds).
RENEWALS = 0.4


class Refused(Exception):
    """The lease or the arbiter did not do it, in their own words."""


class Authority:
    """Of one node. Tests have one of their own."""

    def __init__(
        self,
        settings: Settings,
        program: str = PROGRAM,
        incarnation_path: str = INCARNATION_PATH,
        fence_path: str = FENCE_PATH,
    ) -> None:
        self.settings = settings
        self._program = program
        self._incarnation_path = incarnation_path
        self._fence_path = fence_path

    # ---- what is known

    def holds(self) -> bool:
        """By the deadline that the holder keeps on disk."""
        try:
            with open(self._run(DEADLINE), encoding="ascii") as file:
                return float(file.read().strip() or 0) > time.clock_gettime(time.CLOCK_BOOTTIME)
        except (OSError, ValueError):
            return False

    def incarnation(self) -> str:
        """What this node's copies are called; empty: they have no name yet."""
        try:
            with open(self._incarnation_path, encoding="ascii") as file:
                return file.read().strip()
        except (OSError, ValueError):
            return ""

    def seen(self) -> LeaseSeen:
        """As a quorum says it, twice where somebody else seems to hold it: a dead node's name stays there."""
        first = self._status()
        if first is None:
            return LeaseSeen(mine=self.holds())
        renewed = False
        if not self.holds() and first.get("holder") not in (None, self.settings.node):
            time.sleep(RENEWALS)
            second = self._status()
            if second is not None:
                renewed = second.get("seq") != first.get("seq") and second.get("holder") == first.get("holder")
                first = second
        return LeaseSeen(
            mine=self.holds(),
            holder=first.get("holder"),
            renewed=renewed,
            insync=_listed(first),
            quorum=True,
        )

    def seen_as_holder(self) -> LeaseSeen:
        """Without asking anybody: by the deadline on disk alone."""
        return LeaseSeen(mine=self.holds(), holder=self.settings.node)

    def fenced(self) -> bool:
        """The peer was confirmed off since this node took the lease, in this boot."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                boot = file.read().strip()
            with open(self._fence_path, encoding="utf-8") as file:
                last = json.load(file).get("last") or {}
            taking = str(os.stat(self._run(TAKEN)).st_mtime_ns)
            return bool(
                last.get("outcome") == "confirmed" and last.get("taking") == taking and last.get("boot") == boot
            )
        except (OSError, ValueError, AttributeError):
            return False

    def insync(self) -> Optional[Dict[str, str]]:
        """As the holder knows it, in a millisecond, or else as a quorum says; None: not known."""
        answer = _ask(self._run(HOLDER_SOCKET), {"verb": "status"}, 0.5)
        said = None if answer is None else answer.get("status")
        found = _listed(said) if isinstance(said, dict) else None
        return found if found is not None else _listed(self._status())

    def _status(self) -> Optional[Dict[str, Any]]:
        """None: no quorum answers."""
        try:
            found = json.loads(self._call("status", "--json", timeout=10.0))
        except (Refused, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("quorum") is True else None

    # ---- what is ordered

    @contextlib.contextmanager
    def exclusively(self, timeout: float = 10.0) -> Iterator[None]:
        """One at a time changes what `insync` says. Raises Refused."""
        descriptor = os.open(self._run(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise Refused("another hotpair-drbd changes the list insync, and does not end") from None
                    time.sleep(0.005)
            yield
        finally:
            os.close(descriptor)

    def alone(self, timeout: float = 2.0) -> None:
        """The peer is off the list insync, committed, when this returns. Raises Refused."""
        self._order("alone", timeout=timeout)

    def together(self, incarnation: str) -> None:
        """Lists the peer's copies. Raises Refused."""
        self._order("together", incarnation)

    def release(self) -> None:
        """Gives the lease back. Raises Refused."""
        self._order("release")

    def enroll(self) -> str:
        """Begins the pair's list with this node. Raises Refused."""
        return self._call("enroll").strip()

    def call_copies(self, incarnation: str) -> None:
        """On disk when this returns. Raises Refused."""
        self._call("incarnation", incarnation)
        if self.incarnation() != incarnation:
            raise Refused(f"{self._incarnation_path} does not hold what hotpair-lease said it wrote")

    def offer(self) -> None:
        """Says in etcd what this node's copies are called. Raises Refused."""
        self._call("offer")

    def offered(self) -> str:
        """What the peer says that its copies are called; empty: it has none. Raises Refused."""
        return self._call("offered").strip()

    def hand_over(self, reason: str, timeout: float = 60.0) -> None:
        """Asks hotpair-arbiter to let the peer take over, which ends what writes here. Raises Refused: it cannot. The
        arbiter knows how long that may take; nobody else waits here."""
        request = {"command": "switch", "wait": HAND_OVER, "reason": reason}
        answer = _ask(self._run(ARBITER_SOCKET), request, timeout + 3.0)
        if answer is None:
            raise Refused("hotpair-arbiter does not answer")
        if answer.get("error"):
            raise Refused(str(answer["error"]))

    def _run(self, name: str) -> str:
        return os.path.join(self.settings.run, name)

    def _order(self, verb: str, argument: str = "", timeout: float = 3.0) -> None:
        answer = _ask(self._run(HOLDER_SOCKET), {"verb": verb, "argument": argument, "timeout": timeout}, timeout + 1.0)
        if answer is None:
            raise Refused(f"hotpair-lease {verb}: its holder does not answer here")
        if answer.get("error"):
            raise Refused(f"hotpair-lease {verb}: {answer['error']}")

    def _call(self, *arguments: str, timeout: float = 30.0) -> str:
        try:
            result = subprocess.run(
                [self._program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                timeout=timeout,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Refused(f"hotpair-lease {arguments[0]}: {error}") from None
        if result.returncode != 0:
            said = (result.stderr or result.stdout).strip().splitlines()
            raise Refused(f"hotpair-lease {arguments[0]}: {said[-1] if said else f'exit code {result.returncode}'}")
        return result.stdout


def _listed(found: Optional[Mapping[str, Any]]) -> Optional[Dict[str, str]]:
    listed = None if found is None else found.get("insync")
    if not isinstance(listed, dict):
        return None
    return {str(node): str(value) for node, value in listed.items()}


def _ask(path: str, request: Mapping[str, Any], timeout: float) -> Optional[Dict[str, Any]]:
    """The answer of the process that listens there; None when there is none, or it hangs."""
    text = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(timeout)
            sock.connect(path)
            sock.sendall(json.dumps(dict(request)).encode() + b"\n")
            while not text.endswith(b"\n"):
                more = sock.recv(65536)
                if not more:
                    return None
                text += more
        answer = json.loads(text)
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
