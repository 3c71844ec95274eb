"""What the strict gate promises, over random schedules: with a witness that both nodes see, no cut between them makes
two owners; a node that is cut off lets go before the other takes over; state moves only to a node that can serve it."""

import os
import random
import unittest
from typing import List, Optional

from arbiter.quorum import NEVER, Authority, Report
from arbiter.rules import Rules
from arbiter.settings import Settings, VipSettings
from arbiter.word import Gate, PeerVip, Standing, Word

from . import simulation
from .simulation import TAKEOVER, VIP, Simulation

SCHEDULES = int(os.environ.get("ARBITER_SCHEDULES", "12")) // 3
AUTHORITY = Authority("witness")


def settled_pair(seed: int, **options: object) -> Simulation:
    sim = Simulation(seed, authority=AUTHORITY, **options)  # type: ignore[arg-type]
    sim.boot("a")
    sim.boot("b", sim.random.uniform(0, 0.5))
    sim.run(5.0)
    return sim


def other(name: str) -> str:
    return "b" if name == "a" else "a"


class Pair(unittest.TestCase):
    def quiet(self, sim: Simulation, owner: str, seed: int) -> None:
        self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
        self.assertEqual(sim.owners(), [owner], f"seed {seed}")


class Settled(Pair):
    def test_one_owner_holds_the_lease_and_the_standby_is_kept_away(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            self.assertEqual(sim.holder, owner, f"seed {seed}")
            verdict = sim.nodes[other(owner)].rules.vips[VIP].verdict
            self.assertEqual((verdict.reason, verdict.standby), ("the peer is active", True))
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")


class Cuts(Pair):
    def test_all_networks_cut_between_the_nodes_move_nothing(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            sim.run(sim.random.uniform(0, 0.2))
            (owner,) = sim.owners()
            log = len(sim.owners_log)
            sim.cut_between(True)
            sim.run(5.0)
            self.quiet(sim, owner, seed)
            verdict = sim.nodes[other(owner)].rules.vips[VIP].verdict
            self.assertEqual((verdict.closed, verdict.reason), (True, "the peer renews its lease"), f"seed {seed}")
            sim.cut_between(False)
            sim.run(3.0)
            self.quiet(sim, owner, seed)
            self.assertEqual(len(sim.owners_log), log, f"seed {seed}: {sim.owners_log}")

    def test_any_cut_between_the_nodes_in_any_direction_moves_nothing(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            sim.jitter = 0.004
            (owner,) = sim.owners()
            for _ in range(6):
                for name in "ab":
                    for network in simulation.NETWORKS:
                        sim.drop(name, network, sim.random.random() < 0.6)
                sim.run(sim.random.uniform(0.02, 1.5))
            self.quiet(sim, owner, seed)

    def test_an_owner_that_is_cut_off_lets_go_before_the_peer_takes_over(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            sim.run(sim.random.uniform(0, 0.2))
            (owner,) = sim.owners()
            at = sim.now
            sim.cut_between(True)
            sim.drop(owner, "witness", True)
            sim.run(4.0)
            self.quiet(sim, other(owner), seed)
            self.assertEqual(sim.holder, other(owner), f"seed {seed}")
            self.assertLess(sim.owners_log[-1][0] - at, TAKEOVER + 0.3, f"seed {seed}")
            sim.cut_between(False)
            sim.drop(owner, "witness", False)
            sim.run(3.0)
            self.quiet(sim, other(owner), seed)

    def test_an_owner_that_is_cut_off_after_it_lost_etcd_stays_away(self) -> None:
        for seed in range(2 * SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.cut_etcd(owner, True)
            sim.run(sim.random.uniform(0.1, 4.0))
            sim.cut_between(True)
            sim.run(5.0)
            self.quiet(sim, other(owner), seed)
            sim.cut_between(False)
            sim.cut_etcd(owner, False)
            sim.run(3.0)
            self.quiet(sim, other(owner), seed)

    def test_a_standby_that_is_cut_off_stays_away(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.cut_between(True)
            sim.drop(other(owner), "witness", True)
            sim.run(4.0)
            self.quiet(sim, owner, seed)

    def test_an_owner_alone_in_sync_is_never_cut_off(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.insync = (owner,)
            sim.run(0.5)
            sim.cut_between(True)
            sim.drop(owner, "witness", True)
            sim.run(4.0)
            self.quiet(sim, owner, seed)

    def test_a_lost_witness_moves_nothing(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.set_witness(False)
            sim.run(3.0)
            self.quiet(sim, owner, seed)
            sim.set_witness(True)
            sim.run(2.0)
            self.quiet(sim, owner, seed)

    def test_an_owner_that_loses_only_etcd_yields(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.cut_etcd(owner, True)
            sim.run(6.0)
            self.quiet(sim, other(owner), seed)
            self.assertEqual(sim.holder, other(owner), f"seed {seed}")

    def test_nobody_yields_when_both_lose_etcd(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.cut_etcd("a", True)
            sim.cut_etcd("b", True)
            sim.run(4.0)
            self.quiet(sim, owner, seed)


class Crash(Pair):
    def test_a_crash_moves_the_vip_by_the_time_the_lease_can_move(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            sim.run(sim.random.uniform(0, 0.2))
            (owner,) = sim.owners()
            at = sim.now
            sim.power_cut(owner)
            sim.run(4.0)
            self.quiet(sim, other(owner), seed)
            self.assertLess(sim.owners_log[-1][0] - at, TAKEOVER + 0.1, f"seed {seed}")
            self.assertEqual(sim.holder, other(owner), f"seed {seed}")

    def test_a_crash_while_all_networks_are_cut_moves_the_vip(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.cut_between(True)
            sim.run(2.0)
            sim.power_cut(owner)
            sim.run(4.0)
            self.quiet(sim, other(owner), seed)

    def test_without_the_witness_a_crash_still_moves_the_vip(self) -> None:
        # and nothing that holds state starts: there is no quorum
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.set_witness(False)
            sim.run(3.0)
            sim.power_cut(owner)
            sim.run(3.0)
            self.quiet(sim, other(owner), seed)
            self.assertNotEqual(sim.holder, other(owner), f"seed {seed}")

    def test_with_a_silent_observer_a_crash_is_no_isolation(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.nodes[other(owner)].observer = False
            sim.run(0.1)
            sim.power_cut(owner)
            sim.run(3.0)
            self.quiet(sim, other(owner), seed)


class Schedules(Pair):
    def test_two_faults_at_a_time_make_no_second_owner_and_end_with_one(self) -> None:
        for seed in range(3 * SCHEDULES):
            sim = settled_pair(seed, preferred=random.Random(seed).choice([None, "a", "b"]))
            chance = sim.random
            for _ in range(4):
                for name in "ab":
                    for network in simulation.NETWORKS:
                        sim.drop(name, network, chance.random() < 0.4)
                sim.run(chance.uniform(0.0, 0.8))
                self.fault(
                    sim, chance.choice(["kill", "hang", "public", "switch", "arbiter", "etcd", "isolate", "none"])
                )
                sim.run(chance.uniform(0.0, 1.2))
            self.heal(sim)
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            sim.run(8.0)
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")
            self.assertEqual([sim.holder], sim.owners(), f"seed {seed}")

    def heal(self, sim: Simulation) -> None:
        sim.cut_between(False)
        for name in "ab":
            sim.drop(name, "witness", False)
            if sim.etcd_cut.get(name):
                sim.cut_etcd(name, False)
            if not sim.nodes[name].public_up:
                sim.set_public(name, True)

    def fault(self, sim: Simulation, kind: str) -> None:
        name = sim.random.choice("ab")
        node = sim.nodes[name]
        whole = not any(sim.cut.values()) and not any(sim.etcd_cut.values())
        if kind == "kill" and node.keepalived.running:
            sim.kill_keepalived(name)
        elif kind == "hang" and node.keepalived.running:
            sim.hang_keepalived(name)
        elif kind == "public" and whole:
            # A node without its public link sees no witness: only while it hears the peer.
            sim.set_public(name, not node.public_up)
            sim.run(sim.random.uniform(0.1, 1.5))
            sim.set_public(name, True)
        elif kind == "switch" and node.vip:
            node.rules.hand_over(VIP, "switch", sim.now)
        elif kind == "etcd" and whole:
            sim.cut_etcd(name, True)
            sim.run(sim.random.uniform(0.1, 2.0))
            sim.cut_etcd(name, False)
        elif kind == "isolate" and whole:
            sim.cut_between(True)
            sim.drop(name, "witness", True)
            sim.run(sim.random.uniform(0.1, 3.0))
            self.heal(sim)
        elif kind == "arbiter" and whole:
            # Without its arbiter a node is plain VRRP: only while the heartbeat carries both ways.
            sim.stop_arbiter(name)
            sim.run(0.25)
            sim.start_arbiter(name)
            sim.run(0.3)


class Sync(Pair):
    def test_a_node_that_lacks_writes_never_takes_over(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.insync = (owner,)
            sim.run(0.5)
            sim.power_cut(owner)
            sim.run(5.0)
            self.assertEqual(sim.owners(), [], f"seed {seed}")
            verdict = sim.nodes[other(owner)].rules.vips[VIP].verdict
            self.assertEqual(verdict.reason, "not in sync: only the peer may serve")
            sim.boot(owner)
            sim.run(6.0)
            self.quiet(sim, owner, seed)
            self.assertEqual(sim.holder, owner, f"seed {seed}")

    def test_a_vip_on_a_node_that_lacks_writes_goes_to_the_one_that_has_them(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.nodes[owner].lease_until = NEVER
            sim.holder, sim.insync = "", (other(owner),)
            sim.run(4.0)
            self.quiet(sim, other(owner), seed)
            self.assertEqual(sim.holder, other(owner), f"seed {seed}")

    def test_when_nobody_is_in_sync_the_vip_is_plain_vrrps(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.insync = ()
            sim.run(0.5)
            sim.power_cut(owner)
            sim.run(3.0)
            self.quiet(sim, other(owner), seed)


class Switch(Pair):
    def test_what_writes_stops_first_and_the_vip_follows_in_the_skew(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            at = sim.now
            self.assertIsNone(sim.nodes[owner].rules.hand_over(VIP, "switch", sim.now))
            sim.run(3.0)
            self.quiet(sim, other(owner), seed)
            self.assertEqual(sim.holder, other(owner), f"seed {seed}")
            gone, came = sim.owners_log[-2:]
            released, taken = sim.lease_log[-2:]
            self.assertEqual((released[1:], taken[1:]), ((owner, False), (other(owner), True)))
            self.assertLess(released[0], gone[0], f"seed {seed}")
            self.assertLess(came[0] - gone[0], 0.030, f"seed {seed}")
            self.assertLess(taken[0] - at, 0.5, f"seed {seed}")

    def test_a_switch_to_a_node_that_lacks_writes_is_refused(self) -> None:
        sim = settled_pair(1)
        (owner,) = sim.owners()
        sim.insync = (owner,)
        sim.run(0.5)
        refusal = sim.nodes[owner].rules.hand_over(VIP, "switch", sim.now)
        self.assertEqual(refusal, "the peer is not in sync: it lacks acknowledged writes")

    def test_a_switch_that_cannot_stop_what_writes_is_called_off(self) -> None:
        sim = settled_pair(2)
        (owner,) = sim.owners()
        node = sim.nodes[owner]
        self.assertIsNone(node.rules.hand_over(VIP, "switch", sim.now, deadline=1.0))
        before = simulation.DEMOTION
        simulation.DEMOTION = (3.0, 3.0)
        try:
            sim.run(1.5)
        finally:
            simulation.DEMOTION = before
        self.quiet(sim, owner, 2)
        self.assertTrue(node.rules.serving(sim.now))

    def test_all_networks_cut_in_the_middle_of_a_switch_make_no_second_owner(self) -> None:
        for seed in range(2 * SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            self.assertIsNone(sim.nodes[owner].rules.hand_over(VIP, "switch", sim.now))
            sim.run(sim.random.uniform(0.0, 0.3))
            sim.cut_between(True)
            sim.run(8.0)
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")
            sim.cut_between(False)
            sim.run(4.0)
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")


class Boot(Pair):
    def test_both_nodes_off_and_back_end_with_the_one_in_sync(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            (owner,) = sim.owners()
            sim.insync = (owner,)
            sim.run(0.5)
            for name in "ab":
                sim.power_cut(name)
            sim.run(1.0)
            sim.boot(other(owner))
            sim.boot(owner, sim.random.uniform(0.0, 3.0))
            sim.run(10.0)
            self.quiet(sim, owner, seed)
            self.assertEqual(sim.holder, owner, f"seed {seed}")


class OneNode(unittest.TestCase):
    """Rules of node a, fed by hand. Its peer wins by address."""

    def setUp(self) -> None:
        settings = Settings("a", "b", (VipSettings(VIP, None),), False, "one", authority=AUTHORITY)
        self.rules = Rules(settings, 0.0, settled=True)
        for network in simulation.NETWORKS:
            self.rules.link(network, True, 0.0)

    def word(self, held: bool, standing: Optional[Standing] = None, **fields: object) -> Word:
        vip = PeerVip(held, "master" if held else "backup", Gate.OPEN, 0.05)
        standing = standing or Standing(quorum=True, witness=True, insync=True)
        return Word(vips={VIP: vip}, standing=standing, **{"digest": "one", **fields})  # type: ignore[arg-type]

    def report(self, now: float, **said: object) -> None:
        usual = {
            "holder": None,
            "renewed_at": now,
            "insync": ("a", "b"),
            "quorum_at": now,
            "witness_at": now,
            "epoch": 1,
        }
        if self.rules.quorum is not None:
            self.rules.quorum.heard(Report(**{**usual, **said}), now)  # type: ignore[arg-type]

    def closed(self, now: float) -> str:
        verdict = self.rules.decide(now)[VIP]
        return verdict.reason if verdict.closed else ""

    def test_a_veto_ends_with_its_evidence(self) -> None:
        self.rules.heard(self.word(True), 10.0)
        self.report(10.0, holder="b")
        self.assertAlmostEqual(self.rules.decide(10.1)[VIP].until, 10.0 + 1.5 - 0.30117, 5)
        self.assertEqual(self.closed(10.25), "the peer was active to its last word")
        self.assertEqual(self.closed(11.21), "")

    def test_who_was_cut_off_looks_whether_the_peer_took_over(self) -> None:
        self.rules.heard(self.word(False), 10.0)
        self.report(10.9, witness_at=10.05)
        self.assertEqual(self.closed(11.0), "cut off: peer and witness fell silent together")
        self.report(11.1)
        self.assertEqual(self.closed(11.2), "let go: looks whether the peer has taken over")
        self.assertEqual(self.closed(14.1), "")

    def test_what_the_peer_says_of_itself_counts_more_than_its_renewals(self) -> None:
        self.rules.heard(self.word(False), 10.0)
        self.report(10.0, holder="b")
        self.assertEqual(self.closed(10.1), "")

    def test_a_keepalived_that_its_gate_keeps_away_stands_by_although_it_never_said_so(self) -> None:
        # As after a restart of the arbiter alone: keepalived was in FAULT before, and is.
        for step in range(100):
            now = 10.0 + step * 0.02
            self.rules.heard(self.word(True), now)
            self.report(now, holder="b")
            self.rules.holding(VIP, False, "unknown", now)
            self.assertEqual(self.closed(now), "the peer is active")
            self.assertEqual(self.rules.vips[VIP].state, "unknown" if step * 0.02 < 0.3 else "fault", now)
        # What it says itself counts, and an address that is here is no fault.
        self.rules.holding(VIP, False, "backup", 12.0)
        self.assertEqual(self.rules.vips[VIP].state, "backup")
        self.rules.holding(VIP, True, "unknown", 12.1)
        self.assertEqual(self.rules.vips[VIP].state, "unknown")

    def test_a_lease_of_nobody_proves_nothing(self) -> None:
        self.report(10.0, holder=None)
        self.assertEqual(self.closed(10.1), "")

    def test_a_silent_observer_is_no_silent_witness(self) -> None:
        self.rules.heard(self.word(False), 10.0)
        self.report(10.0)
        self.assertEqual(self.closed(10.9), "")

    def test_peer_and_witness_silent_together_is_this_node_cut_off(self) -> None:
        self.rules.heard(self.word(False), 10.0)
        self.report(10.9, witness_at=10.05)
        self.assertEqual(self.closed(11.0), "cut off: peer and witness fell silent together")
        self.report(60.0, witness_at=10.05)
        self.assertEqual(self.closed(60.1), "cut off: peer and witness fell silent together")

    def test_a_witness_that_was_lost_long_before_the_peer_is_no_isolation(self) -> None:
        self.report(20.0, witness_at=10.0)
        self.rules.heard(self.word(False, Standing(quorum=True, witness=False, insync=True)), 20.0)
        self.report(20.5, witness_at=10.0)
        self.assertEqual(self.closed(20.6), "")

    def test_a_peer_that_heard_the_witness_to_the_last_is_not_the_one_that_is_cut_off(self) -> None:
        self.report(20.0, witness_at=10.0)
        self.rules.heard(self.word(False), 20.0)
        self.report(20.5, witness_at=10.0)
        self.assertEqual(self.closed(20.6), "cut off: the peer heard the witness to the last, this node does not")

    def test_of_two_owners_the_holder_of_the_lease_stays(self) -> None:
        for mine, theirs, end in ((True, False, ""), (False, True, "conflict: the peer keeps it")):
            self.setUp()
            self.report(10.0)
            self.assertIsNotNone(self.rules.quorum)
            if self.rules.quorum is not None and mine:
                self.rules.quorum.lease_until = 11.0
            self.rules.holding(VIP, True, "master", 10.0)
            reasons: List[str] = []
            for at in (10.05, 10.07, 10.09, 10.11, 10.13):
                self.rules.heard(self.word(True, Standing(lease=theirs, quorum=True, insync=True)), at)
                reasons.append(self.closed(at + 0.001))
            self.assertEqual(reasons[-1], end)

    def test_of_two_owners_without_a_lease_the_one_with_the_quorum_stays(self) -> None:
        self.report(10.0)
        self.rules.holding(VIP, True, "master", 10.0)
        for at in (10.05, 10.07, 10.09, 10.11, 10.13):
            self.rules.heard(self.word(True, Standing(quorum=False, insync=True)), at)
            self.assertEqual(self.closed(at + 0.001), "")

    def test_an_owner_that_stood_still_looks_around_first(self) -> None:
        self.report(10.0)
        self.rules.holding(VIP, True, "master", 10.0)
        self.assertEqual(self.closed(10.0), "")
        self.assertEqual(self.closed(13.0), "this node stood still, the peer may have taken over")
        self.assertEqual(self.closed(13.21), "")

    def test_an_owner_with_its_lease_does_not(self) -> None:
        self.report(10.0)
        self.rules.holding(VIP, True, "master", 10.0)
        self.assertEqual(self.closed(10.0), "")
        if self.rules.quorum is not None:
            self.rules.quorum.lease_until = 11.0
        self.assertEqual(self.closed(10.7), "")

    def test_an_owner_that_sees_the_peer_renew_and_hears_nothing_of_it_lets_go(self) -> None:
        self.rules.holding(VIP, True, "master", 10.0)
        self.report(10.02, holder="b", renewed_at=10.02)
        self.assertEqual(self.closed(10.03), "")
        self.report(10.2, holder="b", renewed_at=10.2)
        self.assertEqual(self.closed(10.21), "the peer renews its lease")

    def test_a_peer_that_may_go_on_alone_unseen_keeps_this_node_away(self) -> None:
        self.report(10.0, insync=("b",), holder="b", renewed_at=1.0)
        self.assertEqual(self.closed(10.1), "not in sync: only the peer may serve")
        # also when nothing has been heard of the quorum for long
        self.assertEqual(self.closed(500.0), "not in sync: only the peer may serve")
        # only its own word that it cannot serve lets go
        self.rules.heard(self.word(False, keepalived="stopped"), 500.1)
        self.assertEqual(self.closed(500.11), "")

    def test_a_peer_of_a_release_without_an_authority_is_no_target(self) -> None:
        self.rules.holding(VIP, True, "master", 10.0)
        self.report(10.0)
        word = Word(vips={VIP: PeerVip(False, "backup", Gate.OPEN, 0.05)}, digest="one")
        self.rules.heard(word, 10.0)
        self.assertEqual(
            self.rules.unfit(VIP, 10.0),
            "the peer does not know of the quorum: is hotpair of the same release there?",
        )


if __name__ == "__main__":
    unittest.main()
