"""The socket on which verbs reach the running arbiter: one JSON request line, one JSON answer line.

What takes time waits here with its connection, checked at every turn of the loop, until it has an answer or its
deadline has passed. What the commands mean is the daemon's business.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional

from .gate import RUN
from .loop import Loop

SOCKET_PATH = f"{RUN}/arbiter.sock"

Answer = Dict[str, Any]
# Gets the request and its connection; None when the answer follows later (`Control.wait`).
Command = Callable[[Dict[str, Any], socket.socket], Optional[Answer]]


@dataclass
class Waiting:
    """A command whose answer takes time."""

    connection: socket.socket
    deadline: float
    # the answer, once there is one
    check: Callable[[float], Optional[Answer]]
    on_timeout: Callable[[], Answer]


class Control:
    def __init__(self, loop: Loop, commands: Mapping[str, Command]) -> None:
        self._loop = loop
        self._commands = commands
        self._waiting: List[Waiting] = []
        self._requests: Dict[int, bytes] = {}
        self._listener = _listen()
        loop.watch(self._listener, self._on_connect)

    def wait(self, waiting: Waiting) -> None:
        self._waiting.append(waiting)

    def answer(self, now: float) -> None:
        """Answers everybody who waits for something that has happened, or that will not happen any more."""
        for waiting in list(self._waiting):
            answer = waiting.check(now)
            if answer is None and now >= waiting.deadline:
                answer = waiting.on_timeout()
            if answer is not None:
                self._waiting.remove(waiting)
                _reply(waiting.connection, answer)

    def _on_connect(self, _source: object) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._requests[connection.fileno()] = b""
        self._loop.watch(connection, self._on_request)

    def _on_request(self, connection: Any) -> None:
        number = connection.fileno()
        try:
            data = connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        text = self._requests.get(number, b"") + data
        self._requests[number] = text
        if b"\n" not in text and data and len(text) < 8192:
            return
        self._loop.forget(connection)
        del self._requests[number]
        if b"\n" not in text:
            connection.close()
            return
        try:
            answer = self._carry_out(json.loads(text), connection)
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            answer = {"error": f"not understood: {error!r}"}
        if answer is not None:
            _reply(connection, answer)

    def _carry_out(self, request: Dict[str, Any], connection: socket.socket) -> Optional[Answer]:
        what = request["command"]
        command = self._commands.get(what)
        if command is None:
            return {"error": f"no such command: {what}"}
        return command(request, connection)


def _listen() -> socket.socket:
    try:
        os.unlink(SOCKET_PATH)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        sock.bind(SOCKET_PATH)
    finally:
        os.umask(mask)
    sock.listen(16)
    return sock


def _reply(connection: socket.socket, answer: Answer) -> None:
    try:
        connection.send(json.dumps(answer).encode() + b"\n")
    except OSError:
        pass
    connection.close()
