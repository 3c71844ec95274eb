"""Hears what the observer of the authority reports (hotpair-quorum.service), and reads this node's own deadline.

The observer sends datagrams to a socket here; the lease's holder writes the moment until which it holds into a file of
tmpfs. What follows from either is `quorum`'s business, and the rules'.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from . import kernel
from .gate import RUN
from .loop import Loop
from .quorum import NEVER, Quorum, parse
from .scribe import Scribe

SOCKET_PATH = f"{RUN}/quorum.sock"
HOLDER_PATH = f"{RUN}/holder"
# A deadline further ahead than this is no deadline of a lease (seconds).
FURTHEST = 60.0


class Observer:
    def __init__(self, loop: Loop, quorum: Quorum, scribe: Scribe) -> None:
        self._loop = loop
        self._quorum = quorum
        self._scribe = scribe
        self._silent = False
        self._refused_at = NEVER
        try:
            os.unlink(SOCKET_PATH)
        except FileNotFoundError:
            pass
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)
        try:
            self._socket.bind(SOCKET_PATH)
        finally:
            os.umask(mask)
        loop.watch(self._socket, self._on_report)

    def read_lease(self, now: float) -> float:
        """Until when this node holds the lease, by its holder's own deadline; NEVER: it does not."""
        until = NEVER
        try:
            with open(HOLDER_PATH, "rb") as file:
                written = float(file.read(64) or b"0")
            if now < written < now + FURTHEST:
                until = written
        except (OSError, ValueError):
            pass
        if (until > now) != self._quorum.mine(now):
            self._loop.changed = True
            self._scribe.log(
                "this node holds the lease" if until > now else "this node does not hold the lease any more"
            )
        self._quorum.lease_until = until
        return until

    def complain(self, now: float) -> None:
        """Says in the log when the observer falls silent or speaks again."""
        silent = not self._quorum.observed(now)
        if silent != self._silent:
            self._silent = silent
            self._scribe.log(
                "the observer of the quorum is silent: systemctl status hotpair-quorum"
                if silent
                else "the observer of the quorum reports"
            )

    def _on_report(self, sock: Any) -> None:
        for _ in range(64):
            try:
                datagram = sock.recv(4096)
            except OSError:
                return
            report = parse(datagram)
            now = kernel.boottime()
            if report is not None:
                self._quorum.heard(report, now)
            elif now - self._refused_at >= 10.0:
                self._refused_at = now
                self._scribe.log(f"a report of the observer is not understood: {datagram[:200]!r}")
