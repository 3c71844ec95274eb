"""Between the nodes, and to HAProxy: one port, two kinds of caller.

HAProxy asks in HTTP for this node's role. The peer comes with TLS and a certificate of the pair, and asks for what it
needs to follow: positions, the incarnation of the server, a copy of all data. One JSON line each way; a copy follows
its answer as frames. What is answered is the watch's business.
"""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import struct
import threading
import time
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from .config import Config

# An HTTP request of HAProxy, or one JSON line of the peer, is shorter than this.
LONGEST_REQUEST = 8192
# A caller that does not say what it wants within this time is dropped.
REQUEST_TIMEOUT = 2.0
_HANDSHAKE = 0x16
_FRAME = struct.Struct(">I")

Answer = Dict[str, Any]
# From the request to the answer, and what is to be sent after it.
Ask = Callable[[Mapping[str, Any]], Tuple[Answer, Optional[Callable[[ssl.SSLSocket], None]]]]
# From the path to yes or no, and a line of why.
Role = Callable[[str], Tuple[bool, str]]


class NoAnswer(Exception):
    """The peer did not answer, or not in time."""


class Listener:
    """Serves both kinds of caller on this node's own addresses until the process ends."""

    def __init__(self, config: Config, role: Role, ask: Ask) -> None:
        name = f"{config.peer}.{config.pair}"

        class Call(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                caller: socket.socket = self.request
                caller.settimeout(REQUEST_TIMEOUT)
                try:
                    first = caller.recv(1, socket.MSG_PEEK)
                    if first == bytes([_HANDSHAKE]):
                        with _server_context(config).wrap_socket(caller, server_side=True) as secure:
                            _answer_peer(secure, name, ask)
                    elif first:
                        _answer_http(caller, role)
                except (OSError, ValueError):
                    pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                del request, client_address

        for address in sorted({config.role_address, config.address}):
            listening = Server((address, config.role_port), Call)
            threading.Thread(target=listening.serve_forever, name=f"listen {address}", daemon=True).start()


def _server_context(config: Config) -> ssl.SSLContext:
    """Made for every call: certificates change while this runs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.certificate, config.key)
    context.load_verify_locations(config.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _answer_http(caller: socket.socket, role: Role) -> None:
    text = b""
    while b"\r\n\r\n" not in text and b"\n\n" not in text and len(text) < LONGEST_REQUEST:
        more = caller.recv(LONGEST_REQUEST)
        if not more:
            break
        text += more
    words = text.split(b"\r\n", 1)[0].split()
    path = words[1].decode(errors="replace") if len(words) > 1 else "/"
    yes, why = role(path)
    body = f"{why}\n".encode()
    head = (
        f"HTTP/1.1 {'200 OK' if yes else '503 Service Unavailable'}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    caller.sendall(head.encode() + body)


def _answer_peer(secure: ssl.SSLSocket, name: str, ask: Ask) -> None:
    if common_name(secure) != name:
        return
    text = b""
    while not text.endswith(b"\n") and len(text) < LONGEST_REQUEST:
        more = secure.recv(LONGEST_REQUEST)
        if not more:
            return
        text += more
    answer, then = ask(json.loads(text))
    secure.sendall(json.dumps(answer).encode() + b"\n")
    if then is not None:
        then(secure)


def common_name(secure: ssl.SSLSocket) -> str:
    certificate = secure.getpeercert() or {}
    subject: Any = certificate.get("subject", ())
    return next((value for part in subject for key, value in part if key == "commonName"), "")


def connect(config: Config, timeout: float) -> ssl.SSLSocket:
    """A connection to the peer, who has proved to be it. Raises NoAnswer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The certificate must be the peer's; at which address it was reached does not matter.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    plain: Optional[socket.socket] = None
    try:
        context.load_cert_chain(config.certificate, config.key)
        context.load_verify_locations(config.ca)
        plain = socket.create_connection((config.peer_address, config.role_port), timeout)
        secure = context.wrap_socket(plain)
    except (OSError, ValueError) as error:
        if plain is not None:
            plain.close()
        raise NoAnswer(str(error)) from None
    if common_name(secure) != f"{config.peer}.{config.pair}":
        secure.close()
        raise NoAnswer(f"{config.peer_address} shows the certificate of {common_name(secure) or 'nobody'}")
    return secure


def ask(config: Config, request: Mapping[str, Any], timeout: float) -> Answer:
    """The peer's answer. Raises NoAnswer."""
    began = time.monotonic()
    try:
        with connect(config, timeout) as secure:
            secure.settimeout(max(0.05, timeout - (time.monotonic() - began)))
            secure.sendall(json.dumps(dict(request)).encode() + b"\n")
            return read_answer(secure)
    except (OSError, ValueError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from None


def read_answer(secure: ssl.SSLSocket) -> Answer:
    """One JSON line and not a byte further, since frames may follow. Raises NoAnswer, OSError, ValueError."""
    text = b""
    while not text.endswith(b"\n"):
        more = secure.recv(1)
        if not more:
            raise NoAnswer("the peer closed the connection")
        text += more
    answer = json.loads(text)
    if not isinstance(answer, dict):
        raise NoAnswer("the peer's answer is not understood")
    return answer


# ---- frames: a stream whose end, and whether it is a good one, is told


def send_frame(secure: ssl.SSLSocket, data: bytes) -> None:
    secure.sendall(_FRAME.pack(len(data)) + data)


def send_end(secure: ssl.SSLSocket, trailer: Mapping[str, Any]) -> None:
    text = json.dumps(dict(trailer)).encode()
    secure.sendall(_FRAME.pack(0) + _FRAME.pack(len(text)) + text)


def receive_frame(secure: ssl.SSLSocket) -> Tuple[bytes, Optional[Dict[str, Any]]]:
    """Data, or at the end nothing and the trailer. Raises NoAnswer when the stream ends before its end."""
    (length,) = _FRAME.unpack(_exactly(secure, _FRAME.size))
    if length:
        return _exactly(secure, length), None
    (length,) = _FRAME.unpack(_exactly(secure, _FRAME.size))
    trailer = json.loads(_exactly(secure, length))
    return b"", trailer if isinstance(trailer, dict) else {}


def _exactly(secure: ssl.SSLSocket, count: int) -> bytes:
    parts = []
    while count:
        more = secure.recv(min(count, 1 << 20))
        if not more:
            raise NoAnswer("the peer closed the connection before the end")
        parts.append(more)
        count -= len(more)
    return b"".join(parts)
