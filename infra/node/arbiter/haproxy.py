"""Asks HAProxy's socket again and again whether it lives, without ever waiting for it."""

from __future__ import annotations

import socket
from typing import Optional

from .quorum import NEVER

INTERVAL = 0.2
TIMEOUT = 0.5


class Haproxy:
    def __init__(self, path: str, dead_after: float) -> None:
        self.path = path
        self.dead_after = dead_after
        self.answered_at: Optional[float] = None
        self.asked_since: Optional[float] = None
        self._socket: Optional[socket.socket] = None
        self._asked_at = NEVER

    def step(self, now: float) -> str:
        """`ok`, `dead`, or `none` while nothing is known yet."""
        if self.asked_since is None:
            self.asked_since = now
        self._poll(now)
        if self._socket is None and now - self._asked_at >= INTERVAL:
            self._ask(now)
        silent = now - (self.answered_at if self.answered_at is not None else self.asked_since)
        if silent >= self.dead_after:
            return "dead"
        return "ok" if self.answered_at is not None else "none"

    def _ask(self, now: float) -> None:
        self._asked_at = now
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.connect(self.path)
            sock.send(b"show version\n")
        except OSError:
            # not there, refused, or its backlog is full: no answer in any case
            sock.close()
            return
        self._socket = sock

    def _poll(self, now: float) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            answered = bool(sock.recv(1024))
        except BlockingIOError:
            if now - self._asked_at < TIMEOUT:
                return
            answered = False
        except OSError:
            answered = False
        if answered:
            self.answered_at = now
        sock.close()
        self._socket = None
