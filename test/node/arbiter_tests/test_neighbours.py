"""Whose a VIP is, told to neighbours: when somebody else claims it, and when that is the peer's right."""

import socket
import unittest
from types import SimpleNamespace
from typing import Any, Callable, List, Tuple, cast
from unittest import mock

from arbiter import kernel
from arbiter.config import Config
from arbiter.neighbours import FORMER_OWNER, Neighbours

VIP = SimpleNamespace(name="web", address="192.0.2.100")
OWN = b"\x02\0\0\0\0\x0a"
OTHER = b"\x02\0\0\0\0\x0b"


class Claims(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 1_000.0
        self.owner_lives = True
        self.announced: List[float] = []
        self.read: Callable[[Any], None] = lambda _socket: None
        for name, value in (
            ("boottime", lambda: self.now),
            ("arp_socket", lambda _interface, _address: SimpleNamespace(close=lambda: None)),
            ("announce", lambda _socket, _mac, _address: self.announced.append(self.now)),
        ):
            self.patch(kernel, name, value)
        self.patch(socket, "if_indextoname", lambda _index: "lo")
        self.neighbours = Neighbours(
            cast(Config, SimpleNamespace(vips=[VIP], gateway=None)),
            cast(Any, SimpleNamespace(watch=self.watch, forget=lambda _source: None)),
            cast(Any, SimpleNamespace(held_on={"web": {2}}, macs={2: OWN})),
            cast(Any, SimpleNamespace(order=lambda **_order: None)),
            lambda: self.owner_lives,
            self.now,
        )
        self.neighbours.watch(cast(Any, VIP), 2)

    def patch(self, where: object, name: str, value: object) -> None:
        patched = mock.patch.object(where, name, value)
        patched.start()
        self.addCleanup(patched.stop)

    def watch(self, _source: object, read: Callable[[Any], None]) -> None:
        self.read = read

    def claim(self, mac: bytes) -> None:
        """An ARP packet with this sender arrives."""
        frames: List[Tuple[bytes, Tuple[str, int, int, int, bytes]]] = [(b"\0" * 22 + mac, ("lo", 0, 0, 1, mac))]

        def receive(_size: int) -> object:
            if not frames:
                raise BlockingIOError
            return frames.pop()

        self.read(SimpleNamespace(recvfrom=receive))

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.neighbours.step(self.now)

    def test_a_third_host_is_answered_at_once_and_twice_more(self) -> None:
        self.passes(10.0)
        self.claim(OTHER)
        self.assertEqual(self.announced, [1_010.0])
        self.passes(0.5)
        self.passes(1.5)
        self.passes(10.0)
        self.assertEqual(self.announced, [1_010.0, 1_010.5, 1_012.0])

    def test_its_own_packets_are_no_claim(self) -> None:
        self.passes(10.0)
        self.claim(OWN)
        self.passes(10.0)
        self.assertEqual(self.announced, [])

    def test_with_a_dead_keepalived_the_peer_may_claim_it(self) -> None:
        self.passes(10.0)
        self.owner_lives = False
        self.claim(OTHER)
        self.passes(10.0)
        self.assertEqual(self.announced, [])

    def test_the_last_word_of_the_former_owner_is_answered_when_it_is_over(self) -> None:
        self.passes(FORMER_OWNER / 2)
        self.claim(OTHER)
        self.assertEqual(self.announced, [])
        self.passes(FORMER_OWNER)
        self.passes(10.0)
        self.assertEqual(self.announced, [1_000.0 + 1.5 * FORMER_OWNER])


if __name__ == "__main__":
    unittest.main()
