"""Who may take the lease, and what the holder says and does at each turn: one step at a time."""

import unittest
from typing import Dict, List, Optional, Type, TypeVar

from lease.actions import Action, Adopt, Exit, Kill, Notify, Publish, Reply, Send, Taken
from lease.judge import Seen, Sight, judge
from lease.record import EPOCH, HOLDER, INSYNC, NO_DATA, SEQ, Answer, Record, insync_text, record_of
from lease.rules import DEMOTED_VALID, Lease
from lease.timing import Timing, broken_rules

TIMING = Timing()
WRITER = "database.service"
A = TypeVar("A")


def of(kind: Type[A], actions: List[Action]) -> List[A]:
    return [action for action in actions if isinstance(action, kind)]


def record(holder: str = "", mod: int = 10, insync: Optional[Dict[str, str]] = None, epoch: int = 1) -> Record:
    listed = {"a": "one", "b": "two"} if insync is None else insync
    return Record(holder, mod, 5, mod, listed, 3, epoch, 2)


class Judging(unittest.TestCase):
    def verdict(self, found: Record, incarnation: str = "one", epoch: int = 1, waited: float = 0.0) -> str:
        said = judge("a", found, incarnation, epoch, 100.0, 100.0 + waited, TIMING.takeover)
        if said.kind == "barred":
            self.assertTrue(said.todo, said.why)
        return said.kind

    def test_free(self) -> None:
        self.assertEqual(self.verdict(record()), "take")

    def test_held_by_the_peer(self) -> None:
        self.assertEqual(self.verdict(record("b/1"), waited=1.499), "wait")
        self.assertEqual(self.verdict(record("b/1"), waited=1.5), "take")

    def test_left_by_an_earlier_process_of_this_node(self) -> None:
        self.assertEqual(self.verdict(record("a/1")), "take")

    def test_barred(self) -> None:
        self.assertEqual(self.verdict(Record()), "barred")
        self.assertEqual(self.verdict(record(insync={"b": "two"})), "barred")
        self.assertEqual(self.verdict(record(insync={})), "barred")
        self.assertEqual(self.verdict(record(), incarnation="another"), "barred")
        self.assertEqual(self.verdict(record(), incarnation=""), "barred")
        self.assertEqual(self.verdict(record(), epoch=2), "barred")

    def test_a_new_epoch_that_lists_this_node_enrolled_it(self) -> None:
        self.assertEqual(self.verdict(record(epoch=2)), "adopt")
        self.assertEqual(self.verdict(record(epoch=2, insync={"b": "two"})), "barred")

    def test_without_data_nothing_can_be_missing(self) -> None:
        both = {"a": NO_DATA, "b": NO_DATA}
        for listed in (Record(), record(insync=both), record(insync={"b": "two"})):
            self.assertEqual(self.verdict(listed, NO_DATA), "take")
        self.assertEqual(self.verdict(record("b/1", insync=both), NO_DATA), "wait")
        self.assertEqual(self.verdict(record(insync=both, epoch=2), NO_DATA), "adopt")

    def test_without_data_either_an_authority_that_was_closed_lets_nobody_in(self) -> None:
        self.assertEqual(self.verdict(record(insync={}), NO_DATA), "barred")
        self.assertEqual(self.verdict(record(insync={"b": NO_DATA}, epoch=2), NO_DATA), "barred")
        self.assertEqual(self.verdict(record(insync={"a": NO_DATA, "b": NO_DATA}), NO_DATA, epoch=2), "barred")

    def test_a_list_from_before_there_was_data_enrolls_nobodys_data(self) -> None:
        self.assertEqual(self.verdict(record(insync={"a": NO_DATA, "b": NO_DATA})), "barred")

    def test_values_that_hotpair_never_writes(self) -> None:
        with self.assertRaises(ValueError):
            record_of({"insync": ("[]", 4)})
        with self.assertRaises(ValueError):
            record_of({"seq": ("soon", 4)})


class Timings(unittest.TestCase):
    def test_the_rule_is_checked_with_its_sum(self) -> None:
        self.assertEqual(broken_rules(TIMING, 0.4), [])
        (found,) = broken_rules(TIMING, 0.45)
        self.assertIn("more than 1.502 s", found)
        (found,) = broken_rules(Timing(deadline=0.7), 0.4)
        self.assertIn("2 × election timeout", found)


class Sights(unittest.TestCase):
    def test_counts_from_the_first_time_and_forgets_nothing(self) -> None:
        sight = Sight()
        self.assertTrue(sight.saw(record("b/1", mod=10), 5.0))
        self.assertFalse(sight.saw(record("b/1", mod=10), 6.0))
        self.assertEqual(sight.since, 5.0)
        self.assertTrue(sight.saw(record("b/1", mod=12), 7.0))
        # overtaken on the way
        self.assertFalse(sight.saw(record("b/1", mod=11), 8.0))
        self.assertEqual(sight.since, 7.0)

    def test_credits_only_what_is_the_same_renewal(self) -> None:
        sight = Sight()
        sight.credit(Seen(1, 10, 10, 2.0, 0.0, 1))
        sight.saw(record("b/1", mod=11), 5.0)
        self.assertEqual(sight.since, 5.0)
        sight.credit(Seen(1, 11, 11, 3.0, 0.0, 1))
        sight.saw(record("b/1", mod=11), 6.0)
        self.assertEqual(sight.since, 3.0)

    def test_a_new_epoch_counts_its_revisions_anew(self) -> None:
        sight = Sight()
        sight.saw(record("b/1", mod=500), 5.0)
        self.assertTrue(sight.saw(record("", mod=3, epoch=2), 6.0))
        self.assertFalse(sight.saw(record("b/1", mod=501), 7.0))


class Holder(unittest.TestCase):
    def setUp(self) -> None:
        self.mod = 10

    def campaign(self, epoch: int = 1) -> Lease:
        lease = Lease("a", "a/x", TIMING, ("a", "witness", "b"), (WRITER,), "one", epoch)
        lease.credit(Seen(1, 0, 0, 0.0, 99.9, 1))
        return lease

    def holder(self, insync: Optional[Dict[str, str]] = None) -> Lease:
        """Acquired at 100.02 with a request sent at 100.01."""
        lease = self.campaign()
        (read,) = of(Send, lease.tick(100.0))
        (take,) = of(Send, lease.answered(read.ticket, 100.01, Answer(True, record(insync=insync))))
        self.assertEqual(len(take.request.compares), 4)
        actions = lease.answered(take.ticket, 100.02, Answer(True, self.mine(insync)))
        self.acquired = actions
        self.assertEqual(of(Publish, actions)[0].until, 100.81)
        self.assertIn("READY=1", of(Notify, actions)[0].text)
        return lease

    def test_it_tells_whom_it_took_the_lease_from_before_anything_starts(self) -> None:
        for before, origin in (("", ""), ("a/old", "a"), ("b/y", "b")):
            lease = self.campaign()
            # the observer has watched it for long
            lease.credit(Seen(1, 10, 10, 90.0, 99.9, 1))
            (read,) = of(Send, lease.tick(100.0))
            (take,) = of(Send, lease.answered(read.ticket, 100.01, Answer(True, record(before))))
            actions = lease.answered(take.ticket, 100.02, Answer(True, self.mine()))
            self.assertEqual(of(Taken, actions), [Taken(origin)], before)
            self.assertLess(actions.index(Taken(origin)), actions.index(of(Notify, actions)[0]))

    def test_without_data_the_first_lease_enrolls_both_nodes_in_the_same_transaction(self) -> None:
        both = {"a": NO_DATA, "b": NO_DATA}
        for before, puts in (
            (Record(), {SEQ: "1", INSYNC: insync_text(both), EPOCH: "1"}),
            (record(insync={"b": "two"}), {SEQ: "6", INSYNC: insync_text(both)}),
            (record(insync=both), {SEQ: "6"}),
        ):
            lease = Lease("a", "a/x", TIMING, ("a", "witness", "b"), (), NO_DATA, 1)
            lease.credit(Seen(1, 0, 0, 0.0, 99.9, 1))
            (read,) = of(Send, lease.tick(100.0))
            (take,) = of(Send, lease.answered(read.ticket, 100.01, Answer(True, before)))
            self.assertEqual(dict(take.request.puts), {HOLDER: "a/x", **puts})
            # Whoever else writes the list meanwhile is seen.
            compared = {compare.key: compare.expected for compare in take.request.compares}
            self.assertEqual(compared[INSYNC], before.insync_mod)
            self.assertEqual(compared[EPOCH], before.epoch_mod)

    def mine(self, insync: Optional[Dict[str, str]] = None) -> Record:
        self.mod += 1
        return Record("a/x", 11, self.mod, self.mod, {"a": "one", "b": "two"} if insync is None else insync, 3, 1, 2)

    def renew(self, lease: Lease, at: float, answered: float, insync: Optional[Dict[str, str]] = None) -> List[Action]:
        sends = [send for send in of(Send, lease.tick(at)) if send.request.puts]
        self.assertEqual(len(sends), 1)
        return lease.answered(sends[0].ticket, answered, Answer(True, self.mine(insync)))

    def test_deadline_counts_from_before_the_sending(self) -> None:
        lease = self.holder()
        self.renew(lease, 100.2, 100.35)
        self.assertAlmostEqual(lease.deadline, 101.0)

    def test_watchdog_is_fed_by_prompt_acknowledgements_alone(self) -> None:
        lease = self.holder()
        self.assertTrue(of(Notify, self.renew(lease, 100.2, 100.3)))
        late = self.renew(lease, 100.4, 100.65)
        self.assertFalse([each for each in of(Notify, late) if "WATCHDOG" in each.text])
        self.assertTrue(of(Publish, late))

    def test_at_the_deadline_it_kills_first(self) -> None:
        lease = self.holder()
        for at in (100.11, 100.3, 100.5, 100.7):
            lease.tick(at)
        self.assertEqual(lease.phase, "hold")
        actions = lease.tick(100.81)
        self.assertIsInstance(actions[0], Kill)
        self.assertEqual(of(Publish, actions)[0].until, 0.0)
        self.assertFalse(of(Exit, lease.tick(100.82, gone=False)))
        self.assertEqual(of(Exit, lease.tick(100.83, gone=True)), [Exit(1)])

    def test_another_holder_ends_it_at_once(self) -> None:
        lease = self.holder()
        (send,) = [each for each in of(Send, lease.tick(100.2)) if each.request.puts]
        actions = lease.answered(send.ticket, 100.21, Answer(False, record("b/y", mod=40)))
        self.assertIsInstance(actions[0], Kill)

    def test_a_slow_member_delays_one_renewal_by_one_interval(self) -> None:
        lease = self.holder()
        first = [each.member for each in of(Send, lease.tick(100.2)) if each.request.puts]
        second = [each.member for each in of(Send, lease.tick(100.3)) if each.request.puts]
        self.assertEqual((first, second), (["a"], ["witness"]))

    def test_a_member_of_an_old_epoch_is_no_authority(self) -> None:
        lease = self.campaign(epoch=2)
        (read,) = of(Send, lease.tick(100.0))
        self.assertEqual(of(Exit, lease.answered(read.ticket, 100.01, Answer(True, record()))), [])
        self.assertIsNone(lease.verdict)

    def test_a_newer_epoch_ends_it(self) -> None:
        lease = self.holder()
        look = next(each for each in of(Send, self.acquired) if each.request.serializable)
        self.assertEqual(look.member, "b")
        actions = lease.answered(look.ticket, 100.21, Answer(True, record(epoch=2, insync={"b": "two"})))
        self.assertIsInstance(actions[0], Kill)
        self.assertIn("epoch 2", lease.reason)

    def test_a_newer_epoch_at_the_peer_bars_a_campaign_of_the_old_majority(self) -> None:
        lease = self.campaign()
        lease.credit(Seen(1, 0, 0, 0.0, 99.9, 2))
        (read,) = of(Send, lease.tick(100.0))
        self.assertEqual(of(Send, lease.answered(read.ticket, 100.01, Answer(True, record()))), [])
        assert lease.verdict is not None
        self.assertEqual(lease.verdict.kind, "barred")

    def test_the_peer_is_asked_for_its_epoch_before_the_lease_is_taken(self) -> None:
        lease = Lease("a", "a/x", TIMING, ("a", "witness", "b"), (WRITER,), "one", 1)
        sends = {each.member: each for each in of(Send, lease.tick(100.0))}
        self.assertTrue(sends["b"].request.serializable)
        lease.answered(sends["a"].ticket, 100.01, Answer(True, record()))
        assert lease.verdict is not None
        self.assertEqual(lease.verdict.kind, "wait")
        # No answer is enough: the peer may well be dead.
        (read,) = of(Send, lease.failed(sends["b"].ticket, 100.2))
        (take,) = of(Send, lease.answered(read.ticket, 100.22, Answer(True, record())))
        self.assertEqual(take.request.puts[0], ("holder", "a/x"))

    def test_a_node_that_a_new_epoch_enrolled_writes_it_down(self) -> None:
        lease = self.campaign()
        (read,) = of(Send, lease.tick(100.0))
        actions = lease.answered(read.ticket, 100.01, Answer(True, record(epoch=2)))
        self.assertEqual(of(Adopt, actions), [Adopt(2)])

    def test_alone_is_done_once_committed(self) -> None:
        lease = self.holder()
        actions = lease.order(1, "alone", "", 100.2, 5.0)
        self.assertEqual(of(Reply, actions), [])
        (send,) = [each for each in of(Send, actions) if ("insync", '{"a":"one"}') in each.request.puts]
        self.assertFalse(lease.solo)
        self.mod += 1
        committed = Record("a/x", 11, self.mod, self.mod, {"a": "one"}, self.mod, 1, 2)
        (reply,) = of(Reply, lease.answered(send.ticket, 100.22, Answer(True, committed)))
        self.assertEqual(reply.error, "")
        self.assertTrue(lease.solo)

    def test_alone_not_committed_says_so(self) -> None:
        lease = self.holder()
        for send in of(Send, lease.order(1, "alone", "", 100.2, 0.3)):
            lease.failed(send.ticket, 100.4)
        (reply,) = of(Reply, lease.tick(100.51))
        self.assertIn("not committed", reply.error)

    def test_together_is_refused_without_quorum(self) -> None:
        lease = self.holder({"a": "one"})
        lease.tick(100.9)
        self.assertTrue(lease.holds(100.9))
        (reply,) = of(Reply, lease.order(1, "together", "two", 100.9, 5.0))
        self.assertIn("no quorum", reply.error)

    def test_alone_it_holds_on_and_shows_it(self) -> None:
        lease = self.holder({"a": "one"})
        actions: List[Action] = []
        for step in range(1, 40):
            actions = lease.tick(100.0 + step * 0.1)
            self.assertEqual(of(Kill, actions), [])
        self.assertTrue(lease.status(104.0)["withoutQuorum"])
        lease = self.holder()
        self.assertFalse(lease.solo)

    def test_together_ends_going_on_without_quorum(self) -> None:
        lease = self.holder({"a": "one"})
        self.assertTrue(lease.solo)
        actions = lease.order(1, "together", "two", 100.2, 5.0)
        self.assertFalse(lease.solo)
        # The published deadline is the real one from here on.
        self.assertEqual(of(Publish, actions)[-1].until, lease.deadline)
        self.assertIsInstance(lease.tick(100.82)[0], Kill)

    def test_release_kills_and_waits_for_the_writers(self) -> None:
        lease = self.holder()
        self.assertTrue(of(Kill, lease.stop(100.2)))
        self.assertEqual([each for each in of(Send, lease.tick(100.21)) if ("holder", "") in each.request.puts], [])
        # Renewals go on meanwhile, and systemd waits as long as they are acknowledged.
        sends = [each for each in of(Send, lease.tick(100.32)) if each.request.puts]
        extended = lease.answered(sends[0].ticket, 100.33, Answer(True, self.mine())) if sends else []
        self.assertTrue(not sends or any("EXTEND_TIMEOUT" in each.text for each in of(Notify, extended)))
        actions = lease.tick(100.4, gone=True)
        (send,) = [each for each in of(Send, actions) if ("holder", "") in each.request.puts]
        self.assertEqual(of(Publish, actions)[0].until, 0.0)
        self.assertEqual(of(Exit, lease.answered(send.ticket, 100.41, Answer(True, record()))), [Exit(0)])

    def test_a_demoted_writer_lives_on_if_the_release_follows_soon(self) -> None:
        lease = self.holder()
        self.assertEqual(of(Reply, lease.order(1, "demoted", WRITER, 100.2, 1.0))[0].error, "")
        self.assertEqual(of(Kill, lease.stop(100.3)), [])
        self.assertTrue([each for each in of(Send, lease.tick(100.31)) if ("holder", "") in each.request.puts])
        lease = self.holder({"a": "one"})
        lease.order(1, "demoted", WRITER, 100.2, 1.0)
        self.assertTrue(of(Kill, lease.stop(100.2 + DEMOTED_VALID)))

    def test_promoting_takes_the_word_back(self) -> None:
        lease = self.holder()
        lease.order(1, "demoted", WRITER, 100.2, 1.0)
        self.assertEqual(of(Reply, lease.order(2, "promoting", WRITER, 100.3, 1.0))[0].error, "")
        self.assertTrue(of(Kill, lease.stop(100.4)))

    def test_promoting_is_refused_when_the_lease_is_not_held(self) -> None:
        lease = self.campaign()
        self.assertTrue(of(Reply, lease.order(1, "promoting", WRITER, 100.0, 1.0))[0].error)
        lease = self.holder()
        self.assertTrue(of(Reply, lease.order(1, "promoting", WRITER, 100.9, 1.0))[0].error)
        self.assertTrue(of(Reply, self.holder().order(1, "promoting", "other.service", 100.1, 1.0))[0].error)

    def test_a_stop_during_a_campaign_leaves_nothing_behind(self) -> None:
        lease = self.campaign()
        self.assertEqual(of(Exit, lease.stop(100.0)), [Exit(0)])
        lease = self.campaign()
        (read,) = of(Send, lease.tick(100.0))
        (take,) = of(Send, lease.answered(read.ticket, 100.01, Answer(True, record())))
        (release,) = of(Send, lease.stop(100.02))
        self.assertEqual(release.request.puts[0], ("holder", ""))
        self.assertNotEqual(release.member, take.member)

    def test_it_never_spins(self) -> None:
        lease = self.campaign()
        now = 100.0
        for _ in range(200):
            lease.tick(now)
            wake = lease.wake(now)
            self.assertGreater(wake, now)
            now = wake
        self.assertGreater(now, 100.5)
