"""A client for MariaDB over the server's unix socket: statements in, rows of text out, every wait with a deadline.

The protocol's few packets that this needs are spoken here, and not the `mariadb` program called, because a promotion is
worth some twenty milliseconds and a program's start costs as much for every statement; and because a statement that
hangs must be left alone at its deadline. No password is ever sent: root proves itself by the socket (unix_socket).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Dict, List, Optional, Tuple

Row = Dict[str, Optional[str]]

_LONG_PASSWORD, _PROTOCOL_41, _TRANSACTIONS, _SECURE, _PLUGIN_AUTH = 0x1, 0x200, 0x2000, 0x8000, 0x80000
_UTF8MB4 = 45
_COM_QUIT, _COM_QUERY = 1, 3
_SO_PEERCRED = struct.Struct("iII")
_MAX_PACKET = 0xFFFFFF


class ServerError(Exception):
    """What the server answered with: its number and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (error {code})")
        self.code = code
        self.text = text


class Unreachable(Exception):
    """No server, no answer in time, or a connection that ended: whether the statement took effect is unknown."""


class Connection:
    """One session. After Unreachable it is closed for good."""

    def __init__(self, path: str, timeout: float = 1.0, user: str = "root") -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._buffer = b""
        self._deadline = time.monotonic() + timeout
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _SO_PEERCRED.size)
            # The process that listens, whatever file or unit says who it should be.
            self.server_pid: int = _SO_PEERCRED.unpack(credentials)[0]
            self._log_in(user)
        except (OSError, EOFError, struct.error, IndexError, ValueError) as error:
            self.close()
            raise Unreachable(f"no answer from the server at {path}: {error or type(error).__name__}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        try:
            # In words, so that the server does not log an aborted connection.
            self._socket.settimeout(0.1)
            self._socket.sendall(b"\1\0\0\0" + bytes([_COM_QUIT]))
        except OSError:
            pass
        try:
            self._socket.close()
        except OSError:
            pass

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def idle(self, seconds: float) -> None:
        """Nothing for so long. Raises Unreachable at once when the server ends the session meanwhile."""
        if select.select([self._socket], [], [], seconds)[0]:
            self.close()
            raise Unreachable("the server closed the connection")

    def rows(self, statement: str, timeout: float = 2.0) -> List[Row]:
        """The rows of the answer by column name; none for a statement that returns none."""
        self._deadline = time.monotonic() + timeout
        try:
            self._send(0, bytes([_COM_QUERY]) + statement.encode())
            return self._answer()
        except (OSError, EOFError, struct.error, IndexError, ValueError) as error:
            self.close()
            raise Unreachable(f"no answer within {timeout:g} s to: {shorten(statement)}: {error!r}") from None

    def do(self, statement: str, timeout: float = 2.0) -> None:
        self.rows(statement, timeout)

    def row(self, statement: str, timeout: float = 2.0) -> Row:
        """The first row, or an empty one."""
        found = self.rows(statement, timeout)
        return found[0] if found else {}

    def value(self, statement: str, timeout: float = 2.0) -> str:
        """The first column of the first row; empty text for none and for NULL."""
        for value in self.row(statement, timeout).values():
            return value or ""
        return ""

    # ---- packets

    def _log_in(self, user: str) -> None:
        _, greeting = self._receive()
        if greeting[0] == 0xFF:
            raise _error(greeting)
        end = greeting.index(0, 1)
        self.version = greeting[1:end].decode(errors="replace")
        (self.thread,) = struct.unpack_from("<I", greeting, end + 1)
        capabilities = _LONG_PASSWORD | _PROTOCOL_41 | _TRANSACTIONS | _SECURE | _PLUGIN_AUTH
        head = struct.pack("<IIB23x", capabilities, 1 << 24, _UTF8MB4)
        self._send(1, head + user.encode() + b"\0" + b"\0" + b"unix_socket\0")
        while True:
            number, packet = self._receive()
            if packet[0] == 0xFF:
                raise _error(packet)
            if packet[0] == 0x00:
                return
            # Asked for another way to prove who this is: only the socket does.
            self._send(number + 1, b"")

    def _answer(self) -> List[Row]:
        _, packet = self._receive()
        if packet[0] == 0xFF:
            raise _error(packet)
        if packet[0] == 0x00:
            return []
        count, _ = _length(packet, 0)
        names: List[str] = []
        for _ in range(count or 0):
            _, column = self._receive()
            names.append(_column_name(column))
        self._receive()
        found: List[Row] = []
        while True:
            _, packet = self._receive()
            if packet[0] == 0xFF:
                raise _error(packet)
            if packet[0] == 0xFE and len(packet) < 9:
                return found
            at = 0
            row: Row = {}
            for name in names:
                value, at = _text(packet, at)
                row[name] = None if value is None else value.decode(errors="replace")
            found.append(row)

    def _send(self, number: int, data: bytes) -> None:
        if len(data) >= _MAX_PACKET:
            raise ValueError("statement too long")
        self._socket.settimeout(self._left())
        self._socket.sendall(struct.pack("<I", len(data))[:3] + bytes([number & 0xFF]) + data)

    def _receive(self) -> Tuple[int, bytes]:
        data = b""
        while True:
            head = self._take(4)
            length = head[0] | head[1] << 8 | head[2] << 16
            data += self._take(length)
            if length < _MAX_PACKET:
                return head[3], data

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._socket.settimeout(self._left())
            more = self._socket.recv(65536)
            if not more:
                raise EOFError("the server closed the connection")
            self._buffer += more
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("no answer in time")
        return left


def _error(packet: bytes) -> ServerError:
    (code,) = struct.unpack_from("<H", packet, 1)
    text = packet[9:] if packet[3:4] == b"#" else packet[3:]
    return ServerError(code, text.decode(errors="replace"))


def _length(packet: bytes, at: int) -> Tuple[Optional[int], int]:
    first = packet[at]
    if first < 0xFB:
        return first, at + 1
    if first == 0xFB:
        return None, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(packet[at + 1 : at + 1 + size], "little"), at + 1 + size


def _text(packet: bytes, at: int) -> Tuple[Optional[bytes], int]:
    length, at = _length(packet, at)
    return (None, at) if length is None else (packet[at : at + length], at + length)


def _column_name(packet: bytes) -> str:
    at = 0
    value: Optional[bytes] = b""
    # catalog, schema, table alias, table, column alias
    for _ in range(5):
        value, at = _text(packet, at)
    return (value or b"").decode(errors="replace")


def quote(text: str) -> str:
    """A string literal. Backslashes are doubled, as the server's default sql_mode reads them."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def shorten(statement: str) -> str:
    """For messages: the first words only, since a statement may carry a password further on."""
    return " ".join(statement.split()[:3])
