"""What is read from the kernel, against what is known of it without this program."""

import os
import socket
import struct
import unittest

from arbiter import kernel


class Facts(unittest.TestCase):
    def test_loopback_is_there(self) -> None:
        self.assertIn("127.0.0.1", [found.address for found in kernel.addresses()])
        self.assertIn("lo", [found.name for found in kernel.links()])

    def test_an_address_that_nobody_has_cannot_be_removed(self) -> None:
        self.assertFalse(kernel.remove_address("192.0.2.1"))

    def test_this_process_is_there_and_another_program_is_not(self) -> None:
        found = kernel.process(os.getpid(), "")
        assert found is not None
        self.assertEqual((found.pid, found.state), (os.getpid(), "R"))
        self.assertIsNone(kernel.process(os.getpid(), "keepalived"))
        self.assertIsNone(kernel.process(0x7FFFFFF, ""))
        self.assertEqual(kernel.child_process("no such program"), 0)


class Adverts(unittest.TestCase):
    def packet(self, ttl: int = 255, kind: int = 0x31, priority: int = 253) -> bytes:
        header = bytes([0x46, 0, 0, 0, 0, 0, 0, 0, ttl, 112, 0, 0]) + socket.inet_aton("198.18.1.12") + b"\0" * 4
        # one option word after the source and destination
        return header + b"\0" * 4 + bytes([kind, 51, priority, 1]) + struct.pack("!HH", 10, 0)

    def test_an_advert_is_read_behind_header_options(self) -> None:
        self.assertEqual(kernel.parse_advert(self.packet()), kernel.Advert("198.18.1.12", 51, 253))

    def test_others_are_refused(self) -> None:
        for wrong in (b"", b"x" * 19, self.packet(ttl=254), self.packet(kind=0x21), self.packet()[:27]):
            self.assertIsNone(kernel.parse_advert(wrong))
