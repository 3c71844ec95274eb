"""When the watcher of a database on a volume takes its server for hung: against sockets that behave as servers do."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
import threading
import unittest
from typing import Callable, List

from mariadb import volume

HUNG = 0.3


def packet(number: int, body: bytes) -> bytes:
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


GREETING = b"\x0a" + b"11.8.6\0" + struct.pack("<I", 7) + b"\0" * 30
OK = b"\0" * 7


class Asked(Exception):
    """The watcher sleeps: it has not taken the server for hung."""


class Hanging(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "sock")
        self.listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listening.close)
        self.listening.bind(self.path)
        self.held: List[socket.socket] = []
        self.addCleanup(self.end)

    def end(self) -> None:
        for each in self.held:
            each.close()

    def served(self, serve: Callable[[socket.socket], None]) -> None:
        self.listening.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):
                client, _ = self.listening.accept()
                self.held.append(client)
                serve(client)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 2.0)

    def watched(self) -> str:
        def sleep(_: float) -> None:
            raise Asked

        return volume.watch(self.path, hung=HUNG, every=0.01, sleep=sleep)

    def test_one_that_takes_connections_and_says_nothing(self) -> None:
        self.listening.listen()
        self.assertIn("no answer", self.watched())

    def test_one_that_stops_answering_in_a_session(self) -> None:
        def serve(client: socket.socket) -> None:
            client.sendall(packet(0, GREETING))
            client.recv(4096)
            client.sendall(packet(2, OK))
            client.recv(4096)
            client.sendall(packet(1, OK))

        self.served(serve)
        self.assertIn("DO 1", self.watched())

    def test_not_one_that_ends(self) -> None:
        def serve(client: socket.socket) -> None:
            client.sendall(packet(0, GREETING))
            client.recv(4096)
            client.sendall(packet(2, OK))
            client.recv(4096)
            client.close()

        self.served(serve)
        self.assertRaises(Asked, self.watched)

    def test_not_one_that_refuses(self) -> None:
        def serve(client: socket.socket) -> None:
            client.sendall(packet(0, b"\xff" + struct.pack("<H", 1040) + b"#08004Too many connections"))

        self.served(serve)
        self.assertRaises(Asked, self.watched)

    def test_not_one_that_is_not_there(self) -> None:
        self.assertRaises(Asked, self.watched)
        os.unlink(self.path)
        self.assertRaises(Asked, self.watched)


if __name__ == "__main__":
    unittest.main()
