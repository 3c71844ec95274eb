"""The apply lock: never granted on both nodes to different applies while they hear each other."""

import unittest

from arbiter.lock import LIFETIME, PairLock


def exchange(a: PairLock, b: PairLock, now: float, rounds: int = 3) -> None:
    for _ in range(rounds):
        for one, two in ((a, b), (b, a)):
            claim = two.claim
            one.peer(True, None if claim is None else (claim.token, claim.granted), two.concedes)
            one.advance(now)


class Lock(unittest.TestCase):
    def setUp(self) -> None:
        self.a, self.b = PairLock("a"), PairLock("b")
        exchange(self.a, self.b, 0.0)

    def test_it_is_granted_when_the_peer_concedes(self) -> None:
        self.assertFalse(self.a.request("one", 1.0))
        exchange(self.a, self.b, 1.0)
        self.assertTrue(self.a.request("one", 1.0))
        self.assertFalse(self.b.request("two", 1.1))
        exchange(self.a, self.b, 1.1)
        self.assertFalse(self.b.request("two", 1.2))
        self.assertTrue(self.a.release("one"))
        exchange(self.a, self.b, 1.3)
        self.assertTrue(self.b.request("two", 1.3))

    def test_of_two_at_once_one_gets_it(self) -> None:
        self.a.request("one", 1.0)
        self.b.request("two", 1.0)
        exchange(self.a, self.b, 1.0)
        self.assertTrue(self.a.request("one", 1.1))
        self.assertFalse(self.b.request("two", 1.1))

    def test_two_applies_on_one_node_exclude_each_other(self) -> None:
        self.a.request("one", 1.0)
        exchange(self.a, self.b, 1.0)
        self.assertFalse(self.a.request("two", 1.0))
        self.assertFalse(self.a.release("two"))

    def test_a_peer_that_is_not_heard_has_no_say(self) -> None:
        self.a.peer(False, None, None)
        self.assertTrue(self.a.request("one", 1.0))

    def test_it_expires_unless_it_is_renewed(self) -> None:
        self.a.peer(False, None, None)
        self.a.request("one", 0.0)
        self.assertTrue(self.a.request("one", LIFETIME - 1))
        self.assertTrue(self.a.advance(LIFETIME + 1))
        self.assertFalse(self.a.advance(2 * LIFETIME))

    def test_who_gives_up_waiting_leaves_nothing_behind(self) -> None:
        self.a.request("one", 1.0)
        exchange(self.a, self.b, 1.0)
        self.b.request("two", 1.0)
        self.b.withdraw("two")
        exchange(self.a, self.b, 1.0)
        self.a.release("one")
        self.assertIsNone(self.b.claim)
