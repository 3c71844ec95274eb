"""Whoever answered before a change answers after it; how large a packet may be is judged once both ends take it."""

import unittest
from dataclasses import replace

from network import change, reach

from .server import FILES, HERE, PEER, SET_UP, SETTINGS, Server

BOTH = 9000 - 40 - 12


class Reached(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.neighbours[PEER] = 1500

    def changed(self) -> None:
        self.server.armed(*(f"new {path}" for path in FILES))
        self.server.after_reload = lambda: self.server.wire(*SET_UP)
        self.assertEqual(change.up(self.server, SETTINGS), [])

    def found(self) -> str:
        return "\n".join(reach.problems(self.server, SETTINGS))

    def test_a_peer_that_fell_silent_ends_the_change(self) -> None:
        self.changed()
        self.server.neighbours.clear()
        self.assertEqual(self.found(), f"{PEER} answered {HERE} before this change, and does not now")

    def test_a_peer_that_was_silent_before_says_nothing(self) -> None:
        self.server.neighbours.clear()
        self.changed()
        self.assertEqual(self.found(), "")

    def test_an_operator_who_is_logged_in_over_it_counts_like_the_peer(self) -> None:
        self.server.sessions = [(HERE, "198.18.2.1")]
        self.server.neighbours["198.18.2.1"] = 1500
        self.changed()
        del self.server.neighbours["198.18.2.1"]
        self.assertEqual(self.found(), f"198.18.2.1 answered {HERE} before this change, and does not now")

    def test_the_first_node_is_not_measured_by_a_peer_that_is_still_to_come(self) -> None:
        self.changed()
        self.server.carried = 1448
        self.assertEqual(self.found(), "")
        self.assertRegex("\n".join(reach.pending(self.server, SETTINGS)), "no packet of 9000 bytes is answered")

    def test_where_nothing_tells_the_peers_size_it_is_not_judged(self) -> None:
        self.changed()
        self.assertEqual(self.found(), "")

    def test_the_second_node_finds_what_lies_between(self) -> None:
        self.changed()
        self.server.carried = BOTH
        self.assertRegex(self.found(), "what lies between the two does not carry them$")
        self.server.neighbours[PEER] = 9000
        self.assertEqual(self.found(), "")
        self.assertEqual(reach.pending(self.server, SETTINGS), [])

    def test_a_member_without_a_link_is_one_that_could_not_help(self) -> None:
        self.server.wire(*SET_UP)
        self.assertEqual(reach.spares(self.server, SETTINGS), [])
        self.server.wire(replace(self.server.here["eth3"], carrier=False))
        self.assertEqual(reach.spares(self.server, SETTINGS), ["bond0: its member eth3 has no link"])

    def test_packets_that_arrived_before_must_arrive_after(self) -> None:
        self.server.neighbours[PEER] = 9000
        self.changed()
        self.server.neighbours[PEER] = 1500
        self.assertRegex(self.found(), "no packet of 9000 bytes that may not be parted; before this change one did$")

    def test_later_a_peer_that_is_down_is_no_fault_of_anything(self) -> None:
        self.server.wire(*SET_UP)
        self.server.neighbours.clear()
        self.server.carried = BOTH
        self.assertEqual(self.found(), "")
