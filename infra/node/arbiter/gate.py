"""Carries a veto out, and lets it expire: a small process of its own that alone writes the gate files.

keepalived tracks `/run/hotpair/gate.<vip>`: 1 puts its instance in FAULT, 0 lets it run. The arbiter tells this
process, over a pipe, until when a gate is to be closed; at that moment, and when the arbiter dies, it opens the gate,
so that an arbiter that hangs cannot keep a veto alive. Closing also takes the address off the interface: keepalived
announces the end of its ownership before it removes the address, and may hang in between.

In a pair with an authority it also keeps `/run/hotpair/lease.priority`: 1 while this node holds the lease, which raises
keepalived's priority, so that of two owners who meet the holder stays. That, too, ends by itself. No rule belongs here.
"""

from __future__ import annotations

import os
import select
import signal
from typing import Callable, Dict, List, Mapping, NoReturn, Optional, Tuple

from . import kernel

RUN = "/run/hotpair"
# Among the names of VIPs, which are lower case, the one that stands for the lease.
LEASE = "LEASE"


def gate_path(vip: str, directory: str = RUN) -> str:
    return f"{directory}/lease.priority" if vip == LEASE else f"{directory}/gate.{vip}"


def write_gate(vip: str, closed: bool, directory: str = RUN) -> None:
    """In place, not by rename: keepalived reads at each close after writing (inotify, IN_CLOSE_WRITE)."""
    descriptor = os.open(gate_path(vip, directory), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, b"1\n" if closed else b"0\n")
    finally:
        os.close(descriptor)


def read_gate(vip: str, directory: str = RUN) -> Optional[bool]:
    """True: closed. None: there is no gate."""
    try:
        with open(gate_path(vip, directory), "rb") as file:
            return file.read(1) == b"1"
    except OSError:
        return None


class Gatekeeper:
    """The arbiter's end of the pipe."""

    def __init__(self, addresses: Mapping[str, str], directory: str = RUN) -> None:
        """`addresses`: VIP name to its address without prefix length; LEASE, with none, in a pair with an authority."""
        self._told: Dict[str, float] = {}
        read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._write_end)
            _serve(read_end, dict(addresses), directory, parent)
        os.close(read_end)

    def close_until(self, vip: str, until: float) -> None:
        """Renewals that do not matter yet are not sent: the file changes only when the deadline passes."""
        if abs(self._told.get(vip, 0.0) - until) > 0.001:
            self._told[vip] = until
            self._send(f"{vip} {until:.6f}\n")

    def open(self, vip: str) -> None:
        if self._told.get(vip) != 0.0:
            self._told[vip] = 0.0
            self._send(f"{vip} 0\n")

    def touch(self, vip: str) -> None:
        """Writes the gate again as it is: gives keepalived a reason to run, which shows whether it does."""
        self._send(f"{vip} -1\n")

    def _send(self, line: str) -> None:
        # Lines are far shorter than PIPE_BUF, so they arrive whole. A full pipe means that the gatekeeper hangs: the
        # exception ends the arbiter, and its unit opens all gates and starts both anew.
        os.write(self._write_end, line.encode())


def _serve(read_end: int, addresses: Mapping[str, str], directory: str, parent: int) -> NoReturn:
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        kernel.prioritise(0, 10)
        kernel.stay_in_memory()
        if os.getppid() == parent:
            _keep(read_end, addresses, directory, kernel.boottime, kernel.remove_address)
        code = 0
    finally:
        for vip in addresses:
            try:
                write_gate(vip, False, directory)
            except OSError:
                pass
        os._exit(code)


def _keep(
    read_end: int,
    addresses: Mapping[str, str],
    directory: str,
    clock: Callable[[], float],
    remove: Callable[[str], object],
) -> None:
    """Until the pipe's other end is gone."""
    deadlines: Dict[str, float] = {}
    closed: Dict[str, bool] = {}
    rest = b""
    poll = select.poll()
    poll.register(read_end, select.POLLIN)
    while True:
        pending = [deadline for vip, deadline in deadlines.items() if closed.get(vip)]
        wait = max(0.0, min(pending) - clock()) * 1000 + 0.5 if pending else None
        poll.poll(wait)
        try:
            data = os.read(read_end, 65536)
        except BlockingIOError:
            data = None
        if data == b"":
            return
        if data:
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for vip, deadline in _latest(lines):
                if vip not in addresses:
                    continue
                if deadline < 0:
                    write_gate(vip, closed.get(vip, False), directory)
                else:
                    deadlines[vip] = deadline
        now = clock()
        for vip, deadline in deadlines.items():
            wanted = deadline > now
            if wanted == closed.get(vip):
                continue
            try:
                # First of all: keepalived tells the peer that it goes before it takes the address off, and the peer has
                # it a millisecond after it was told. On a busy machine both had it for up to 15 ms.
                if wanted and addresses[vip]:
                    remove(addresses[vip])
            finally:
                write_gate(vip, wanted, directory)
                closed[vip] = wanted


def _latest(lines: List[bytes]) -> List[Tuple[str, float]]:
    told: List[Tuple[str, float]] = []
    for line in lines:
        vip, _, deadline = line.decode().partition(" ")
        told.append((vip, float(deadline)))
    return told
