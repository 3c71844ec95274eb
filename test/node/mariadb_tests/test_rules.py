"""Each decision, in the cases that it exists for."""

import unittest
from dataclasses import replace
from typing import Mapping, Optional

from mariadb.rules import (
    Authority,
    PeerSeen,
    PrimarySeen,
    PromotionInput,
    PromotionWay,
    Rejoin,
    ReplicaSeen,
    ReplicationSeen,
    Role,
    ServingSeen,
    Start,
    Step,
    Timing,
    connection_verdict,
    lag_of,
    promotion_decision,
    redundancy_step,
    rejoin_decision,
    renews_at_start,
    start_decision,
    takes_reads,
    takes_writes,
)

BOTH = {"a": "one", "b": "two"}


class Starting(unittest.TestCase):
    def start(self, role: Role, insync: Optional[Mapping[str, str]], mine: bool = False, peers: bool = False) -> Start:
        return start_decision(role, "a", "one", Authority(mine, peers, insync)).start

    def test_only_a_primary_keeps_its_incarnation_through_a_restart(self) -> None:
        self.assertFalse(renews_at_start(Role.PRIMARY))
        self.assertTrue(renews_at_start(Role.REPLICA))
        self.assertTrue(renews_at_start(Role.NEW))

    def test_the_holder_goes_on_as_primary(self) -> None:
        self.assertEqual(self.start(Role.PRIMARY, BOTH, mine=True), Start.AS_PRIMARY)
        self.assertEqual(self.start(Role.REPLICA, BOTH, mine=True), Start.AS_PRIMARY)

    def test_who_hands_over_does_not_go_on_as_primary(self) -> None:
        giving = Authority(True, False, BOTH, giving=True)
        self.assertEqual(start_decision(Role.PRIMARY, "a", "one", giving).start, Start.WAIT)

    def test_nobody_truncates_before_the_peer_has_given_this_copy_up(self) -> None:
        self.assertEqual(self.start(Role.PRIMARY, BOTH, peers=True), Start.WAIT)
        self.assertEqual(self.start(Role.PRIMARY, {"b": "two"}, peers=True), Start.AS_REPLICA)
        self.assertEqual(self.start(Role.REPLICA, {"a": "before", "b": "two"}, peers=True), Start.AS_REPLICA)

    def test_without_an_answer_nothing_starts(self) -> None:
        self.assertEqual(self.start(Role.PRIMARY, None, peers=True), Start.WAIT)
        self.assertEqual(self.start(Role.REPLICA, None), Start.WAIT)
        self.assertEqual(self.start(Role.PRIMARY, BOTH), Start.WAIT)


RUNNING = ReplicationSeen(True, "198.18.2.11", "Yes", "Yes", received="0-11-9", io_thread=True)
PROMOTABLE = PromotionInput("b", Role.REPLICA, "two", BOTH, RUNNING, "7", "7")


class Promoting(unittest.TestCase):
    def way(self, seen: PromotionInput) -> PromotionWay:
        return promotion_decision(seen).way

    def test_a_replica_applies_what_it_has_first(self) -> None:
        self.assertEqual(self.way(PROMOTABLE), PromotionWay.APPLY)
        gone = replace(RUNNING, io_running="Connecting")
        self.assertEqual(self.way(replace(PROMOTABLE, replication=gone)), PromotionWay.APPLY)

    def test_a_primary_that_was_restarted_opens_again(self) -> None:
        again = PromotionInput("a", Role.PRIMARY, "one", BOTH, ReplicationSeen(False), None, None)
        self.assertEqual(self.way(again), PromotionWay.OPEN)

    def test_a_node_that_is_not_listed_is_refused(self) -> None:
        self.assertEqual(self.way(replace(PROMOTABLE, insync={"a": "one"})), PromotionWay.REFUSE)
        self.assertEqual(self.way(replace(PROMOTABLE, insync=None)), PromotionWay.REFUSE)
        self.assertEqual(self.way(replace(PROMOTABLE, insync={})), PromotionWay.REFUSE)

    def test_a_replica_whose_server_was_restarted_is_refused(self) -> None:
        self.assertEqual(self.way(replace(PROMOTABLE, server_incarnation="three")), PromotionWay.REFUSE)
        self.assertEqual(self.way(replace(PROMOTABLE, server_incarnation=None)), PromotionWay.REFUSE)

    def test_a_replica_whose_replication_was_restarted_by_hand_is_refused(self) -> None:
        self.assertEqual(self.way(replace(PROMOTABLE, applier_now="8")), PromotionWay.REFUSE)
        stopped = replace(RUNNING, io_running="No", sql_running="No", io_thread=False)
        seen = replace(PROMOTABLE, replication=stopped, applier_now=None)
        self.assertEqual(self.way(seen), PromotionWay.REFUSE)

    def test_a_replica_that_cannot_apply_is_refused(self) -> None:
        broken = replace(RUNNING, sql_running="No", sql_errno=1062, sql_error="Duplicate entry")
        decision = promotion_decision(replace(PROMOTABLE, replication=broken, applier_now="7"))
        self.assertEqual(decision.way, PromotionWay.REFUSE)
        self.assertIn("1062", decision.reason)

    def test_a_server_that_was_forced_and_never_followed_opens(self) -> None:
        idle = replace(RUNNING, io_running="No", sql_running="No", io_thread=False)
        seen = replace(PROMOTABLE, replication=idle, applier_noted=None, applier_now=None)
        self.assertEqual(self.way(seen), PromotionWay.OPEN)


class Rejoining(unittest.TestCase):
    peer = PeerSeen("b", True, "two", "0-12-120", ("0-11-50", "0-11-105"))

    def rejoin(self, own: str, peer: Optional[PeerSeen] = None) -> Rejoin:
        return rejoin_decision(own, 11, peer or self.peer).rejoin

    def test_clean_and_behind_follow(self) -> None:
        self.assertEqual(self.rejoin("0-11-105"), Rejoin.FOLLOW)
        self.assertEqual(self.rejoin("0-11-80"), Rejoin.FOLLOW)
        self.assertEqual(self.rejoin(""), Rejoin.FOLLOW)

    def test_ahead_is_diverged_with_the_transactions_named(self) -> None:
        decision = rejoin_decision("0-11-107", 11, self.peer)
        self.assertEqual((decision.rejoin, decision.transactions), (Rejoin.DIVERGED, ("0-11-107",)))
        self.assertEqual(self.rejoin("0-11-130"), Rejoin.DIVERGED)
        self.assertEqual(self.rejoin("0-12-120,5-11-1"), Rejoin.DIVERGED)

    def test_what_the_peer_wrote_itself_may_be_beyond_its_promotion(self) -> None:
        self.assertEqual(self.rejoin("0-12-118"), Rejoin.FOLLOW)

    def test_a_peer_that_is_no_primary_is_waited_for(self) -> None:
        self.assertEqual(self.rejoin("0-11-105", replace(self.peer, primary=False)), Rejoin.WAIT)

    def test_refusals_of_the_primary(self) -> None:
        def verdict(text: str, number: int = 1236) -> Optional[Rejoin]:
            decision = connection_verdict(replace(RUNNING, io_errno=number, io_error=text))
            return None if decision is None else decision.rejoin

        # texts of MariaDB 11.8
        self.assertEqual(
            verdict(
                "Got fatal error 1236 from master when reading data from binary log: 'Error: connecting slave "
                "requested to start from GTID 0-11-107, which is not in the master's binlog'"
            ),
            Rejoin.DIVERGED,
        )
        self.assertEqual(
            verdict(
                "Got fatal error 1236 from master when reading data from binary log: 'Could not find GTID state "
                "requested by slave in any binlog files. Probably the slave state is too old and required binlog "
                "files have been purged.'"
            ),
            Rejoin.TOO_OLD,
        )
        self.assertIsNone(verdict("error reconnecting to master", 2003))
        self.assertIsNone(verdict("", 0))


REPLICA = ReplicaSeen("two", True, True, True, 0, 0.2, "0-11-100")
REDUNDANT = PrimarySeen("a", "b", BOTH, True, 0.0, 0.0, REPLICA, "0-11-90", 100.0)


class Redundancy(unittest.TestCase):
    def step(self, **changed: object) -> Step:
        return redundancy_step(replace(REDUNDANT, **changed), Timing()).step  # type: ignore[arg-type]

    def test_a_redundant_pair_is_left_alone(self) -> None:
        self.assertEqual(self.step(), Step.NONE)
        self.assertEqual(self.step(waiting=0.9, unconnected=0.2), Step.NONE)
        # a watch of the peer that is silent is no lost replica
        self.assertEqual(self.step(replica=None), Step.NONE)

    def test_a_lost_replica_is_unlisted_before_anything_else(self) -> None:
        self.assertEqual(self.step(waiting=1.1), Step.ALONE)
        self.assertEqual(self.step(unconnected=0.4), Step.ALONE)

    def test_a_restarted_replica_is_unlisted(self) -> None:
        self.assertEqual(self.step(replica=replace(REPLICA, incarnation="three")), Step.ALONE)

    def test_a_replica_that_cannot_apply_is_unlisted(self) -> None:
        self.assertEqual(self.step(replica=replace(REPLICA, sql_errno=1062, sql_running=False)), Step.ALONE)

    def test_commits_that_did_not_wait_are_owned_up_to(self) -> None:
        self.assertEqual(self.step(semi_sync=False), Step.ALONE)

    def test_without_the_list_nothing_changes(self) -> None:
        self.assertEqual(self.step(insync=None, waiting=5.0), Step.NONE)

    def test_the_way_back_commits_wait_first_then_all_is_applied_then_it_is_listed(self) -> None:
        alone = {"a": "one"}
        self.assertEqual(self.step(insync=alone, semi_sync=False, goal=None), Step.SEMI_SYNC_ON)
        self.assertEqual(self.step(insync=alone, goal="0-11-101", since_semi_sync=1.0), Step.NONE)
        self.assertEqual(self.step(insync=alone, goal="0-11-100"), Step.TOGETHER)
        self.assertEqual(self.step(insync=alone, goal="0-11-101", since_semi_sync=4.0), Step.SEMI_SYNC_OFF)
        self.assertEqual(self.step(insync=alone, goal=None, since_semi_sync=4.0), Step.SEMI_SYNC_OFF)

    def test_a_replica_that_is_far_or_not_connected_is_not_waited_for(self) -> None:
        alone = {"a": "one"}
        far = replace(REPLICA, lag=5.0)
        self.assertEqual(self.step(insync=alone, semi_sync=False, goal=None, replica=far), Step.NONE)
        self.assertEqual(self.step(insync=alone, semi_sync=False, goal=None, unconnected=0.001), Step.NONE)
        self.assertEqual(
            self.step(insync=alone, semi_sync=False, goal=None, replica=replace(REPLICA, lag=None)), Step.NONE
        )


class Serving(unittest.TestCase):
    primary = ServingSeen(True, True, None, False)
    replica = ServingSeen(False, False, 0.3, True)

    def test_writes_go_to_the_writable_holder_alone(self) -> None:
        self.assertTrue(takes_writes(self.primary)[0])
        self.assertFalse(takes_writes(replace(self.primary, holds_lease=False))[0])
        self.assertFalse(takes_writes(replace(self.primary, writable=False))[0])
        self.assertFalse(takes_writes(replace(self.primary, writable=None))[0])
        self.assertFalse(takes_writes(self.replica)[0])

    def test_reads_go_to_a_replica_that_is_near(self) -> None:
        self.assertTrue(takes_reads(self.replica, 1.0)[0])
        self.assertFalse(takes_reads(self.replica, 0.2)[0])
        self.assertFalse(takes_reads(self.replica, None)[0])
        self.assertFalse(takes_reads(replace(self.replica, replicating=False), 1.0)[0])
        self.assertFalse(takes_reads(self.primary, 1.0)[0])

    def test_lag_by_the_primarys_clock(self) -> None:
        self.assertIsNone(lag_of([], 10.0))
        self.assertAlmostEqual(lag_of([(100.0, 0.0)], 100.4) or 0.0, 0.4)
        # the primary's clock is 50 s ahead
        self.assertAlmostEqual(lag_of([(150.0, 50.0)], 100.4) or 0.0, 0.4)
        self.assertEqual(lag_of([(150.0, 49.0)], 100.4), 0.0)
