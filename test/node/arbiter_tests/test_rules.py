"""What the rules promise: never two owners in any cut of heartbeat and storage, a crash costs VRRP's timer and nothing
more, a veto expires, nobody is left without an owner."""

import os
import random
import unittest

from arbiter.progress import Progress
from arbiter.rules import Rules
from arbiter.settings import Settings, VipSettings
from arbiter.word import Gate, PeerVip, Word

from . import simulation
from .simulation import VIP, Simulation

SCHEDULES = int(os.environ.get("ARBITER_SCHEDULES", "12"))


def settled_pair(seed: int, **options: object) -> Simulation:
    sim = Simulation(seed, **options)  # type: ignore[arg-type]
    sim.boot("a")
    sim.boot("b", sim.random.uniform(0, 0.5))
    sim.run(3.0)
    return sim


class Boot(unittest.TestCase):
    def test_both_nodes_together_make_one_owner_soon_after_they_hear_each_other(self) -> None:
        for seed in range(SCHEDULES):
            sim = Simulation(seed)
            sim.boot("a")
            sim.boot("b", sim.random.uniform(0, 0.1))
            sim.run(2.0)
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")

    def test_a_node_alone_waits_for_the_hold(self) -> None:
        sim = Simulation(1, hold=10.0)
        sim.boot("a")
        sim.run(9.9)
        self.assertEqual(sim.owners(), [])
        sim.run(1.0)
        self.assertEqual(sim.owners(), ["a"])

    def test_a_late_network_makes_no_second_owner(self) -> None:
        for seed in range(5):
            sim = Simulation(seed, hold=6.0)
            sim.boot("a")
            sim.boot("b")
            sim.run(3.0)
            owner = sim.owners()[0]
            late = "b" if owner == "a" else "a"
            sim.power_cut(late)
            sim.run(1.0)
            for network in simulation.NETWORKS:
                sim.drop("a", network, True)
                sim.drop("b", network, True)
            # nothing that was under way may arrive
            sim.run(0.1)
            sim.boot(late)
            sim.run(4.0)
            for network in simulation.NETWORKS:
                sim.drop("a", network, False)
                sim.drop("b", network, False)
            sim.run(2.0)
            self.assertEqual(sim.owners(), [owner])
            self.assertEqual(sim.two_owners, 0.0)


class Crash(unittest.TestCase):
    def test_a_crash_costs_the_master_down_interval(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            sim.run(sim.random.uniform(0, 0.2))
            owner = sim.owners()[0]
            at = sim.now
            sim.power_cut(owner)
            sim.run(1.0)
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")
            took = sim.owners_log[-1][0] - at
            bound = sim.nodes["a"].rules.settings.master_down
            # a third of a beacon's worth of waking up late
            self.assertLess(took, bound + 0.015, f"seed {seed}")

    def test_a_crash_while_the_heartbeat_is_cut_costs_the_evidence_more(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            owner = sim.owners()[0]
            for name in "ab":
                sim.drop(name, "heartbeat", True)
            sim.run(2.0)
            self.assertEqual(sim.owners(), [owner], f"seed {seed}")
            at = sim.now
            sim.power_cut(owner)
            sim.run(2.0)
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")
            settings = sim.nodes["a"].rules.settings
            self.assertLess(sim.owners_log[-1][0] - at, settings.master_down + settings.evidence + 0.1, f"seed {seed}")


class Cuts(unittest.TestCase):
    def test_no_cut_of_heartbeat_and_storage_moves_anything(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            sim.jitter = 0.004
            owner = sim.owners()[0]
            log = len(sim.owners_log)
            for _ in range(6):
                for name in "ab":
                    for network in ("heartbeat", "storage"):
                        sim.drop(name, network, sim.random.random() < 0.5)
                sim.run(sim.random.uniform(0.02, 1.5))
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            self.assertEqual(sim.owners(), [owner], f"seed {seed}")
            self.assertEqual(len(sim.owners_log), log, f"seed {seed}: {sim.owners_log}")

    def test_any_one_fault_beside_a_cut_makes_no_second_owner_and_ends_with_one(self) -> None:
        for seed in range(3 * SCHEDULES):
            sim = settled_pair(seed, preferred=random.Random(seed).choice([None, "a", "b"]))
            chance = sim.random
            for _ in range(4):
                for name in "ab":
                    for network in ("heartbeat", "storage"):
                        sim.drop(name, network, chance.random() < 0.4)
                sim.run(chance.uniform(0.0, 0.8))
                self.fault(sim, chance.choice(["kill", "hang", "public", "switch", "arbiter", "none"]))
                sim.run(chance.uniform(0.0, 1.2))
            for name in "ab":
                for network in ("heartbeat", "storage"):
                    sim.drop(name, network, False)
                if not sim.nodes[name].public_up:
                    sim.set_public(name, True)
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            sim.run(6.0)
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")

    def fault(self, sim: Simulation, kind: str) -> None:
        name = sim.random.choice("ab")
        node = sim.nodes[name]
        if kind == "kill" and node.keepalived.running:
            sim.kill_keepalived(name)
        elif kind == "hang" and node.keepalived.running:
            sim.hang_keepalived(name)
        elif kind == "public":
            peer = "b" if name == "a" else "a"
            # All networks cut between living nodes is undecidable: public goes only while storage carries both ways.
            if not sim.cut.get(("a", "storage")) and not sim.cut.get(("b", "storage")) and sim.nodes[peer].public_up:
                sim.set_public(name, not node.public_up)
        elif kind == "switch" and node.vip:
            node.rules.hand_over(VIP, "switch", sim.now)
        # Without its arbiter a node is plain VRRP: only while the heartbeat carries both ways.
        elif kind == "arbiter" and not any(sim.cut.get((node, "heartbeat")) for node in "ab"):
            sim.stop_arbiter(name)
            sim.run(0.25)
            sim.start_arbiter(name)
            sim.run(0.3)


class Hang(unittest.TestCase):
    def test_a_hung_keepalived_is_replaced_and_never_beside_another_owner(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            owner = sim.owners()[0]
            sim.hang_keepalived(owner)
            sim.run(2.0)
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")
            self.assertNotEqual(sim.owners(), [owner], f"seed {seed}")


class Switch(unittest.TestCase):
    def test_a_planned_switch_takes_the_skew_and_no_second_owner(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            owner = sim.owners()[0]
            self.assertIsNone(sim.nodes[owner].rules.hand_over(VIP, "switch", sim.now))
            sim.run(1.0)
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")
            self.assertNotEqual(sim.owners(), [owner])
            gone, came = sim.owners_log[-2:]
            self.assertLess(came[0] - gone[0], 0.030, f"seed {seed}")

    def test_a_switch_is_refused_while_the_peer_could_not_take_it(self) -> None:
        sim = settled_pair(1)
        owner = sim.owners()[0]
        for name in "ab":
            sim.drop(name, "heartbeat", True)
        sim.run(1.0)
        refusal = sim.nodes[owner].rules.hand_over(VIP, "switch", sim.now)
        self.assertEqual(refusal, "the peer does not hear the VRRP adverts of this node")

    def test_a_switch_that_nobody_takes_is_called_off(self) -> None:
        sim = settled_pair(2)
        owner = sim.owners()[0]
        peer = "b" if owner == "a" else "a"
        sim.nodes[peer].keepalived.hung = True
        self.assertIsNone(sim.nodes[owner].rules.hand_over(VIP, "switch", sim.now))
        sim.run(4.0)
        self.assertEqual(sim.owners(), [owner])

    def test_the_preferred_node_gets_it_back_when_it_has_been_well(self) -> None:
        sim = settled_pair(3, preferred="a", failback=5.0)
        self.assertEqual(sim.owners(), ["a"])
        sim.power_cut("a")
        sim.run(1.0)
        self.assertEqual(sim.owners(), ["b"])
        sim.boot("a")
        sim.run(4.5)
        self.assertEqual(sim.owners(), ["b"])
        sim.run(2.0)
        self.assertEqual(sim.owners(), ["a"])
        self.assertEqual(sim.two_owners, 0.0)

    def test_a_node_that_fails_soon_after_its_way_home_waits_longer_each_time_until_it_was_well_there(self) -> None:
        sim = settled_pair(3, preferred="a", failback=2.0)
        keeper = sim.nodes["b"].rules

        def until_home() -> float:
            sim.power_cut("a")
            sim.run(1.0)
            self.assertEqual(sim.owners(), ["b"])
            sim.boot("a")
            since = sim.now
            waits = keeper.home_in(VIP, sim.now)
            while sim.owners() != ["a"]:
                sim.run(0.5)
                self.assertLess(sim.now - since, 120.0)
            if waits is not None:
                self.assertGreaterEqual(sim.now - since, waits)
            self.assertIsNone(keeper.home_in(VIP, sim.now))
            return sim.now - since

        times = []
        for well in (5.0, 5.0, 90.0, 5.0, 5.0):
            times.append(until_home())
            sim.run(well)
        ordinary, first, second, calm, again = times
        self.assertLess(ordinary, 10.0)
        self.assertTrue(30.0 <= first + 1.0 < 40.0, times)
        self.assertTrue(60.0 <= second + 1.0 < 70.0, times)
        self.assertLess(calm, 10.0)
        self.assertTrue(30.0 <= again + 1.0 < 40.0, times)
        self.assertEqual(sim.two_owners, 0.0)

    def test_what_an_operator_switched_away_does_not_come_home_by_itself(self) -> None:
        sim = settled_pair(3, preferred="a", failback=2.0)
        rules = sim.nodes["a"].rules
        self.assertIsNone(rules.hand_over(VIP, "switch", sim.now, stay=True))
        sim.run(1.0)
        self.assertEqual(sim.owners(), ["b"])
        sim.run(5.0)
        self.assertEqual(sim.owners(), ["b"])
        rules.vips[VIP].declines_until = sim.now
        sim.run(5.0)
        self.assertEqual(sim.owners(), ["a"])


class PublicLink(unittest.TestCase):
    def test_the_vip_moves_once_and_stays(self) -> None:
        for seed in range(6):
            sim = settled_pair(seed)
            owner = sim.owners()[0]
            log = len(sim.owners_log)
            sim.set_public(owner, False)
            sim.run(1.0)
            sim.set_public(owner, True)
            sim.run(2.0)
            self.assertEqual(len(sim.owners_log) - log, 2)
            self.assertNotEqual(sim.owners(), [owner])
            self.assertEqual(sim.two_owners, 0.0)

    def test_both_links_back_at_once_make_one_owner(self) -> None:
        for seed in range(SCHEDULES):
            sim = settled_pair(seed)
            for name in "ab":
                sim.set_public(name, False)
            sim.run(1.0)
            self.assertEqual(sim.owners(), [])
            for name in "ab":
                sim.set_public(name, True)
            sim.run(2.0)
            self.assertEqual(len(sim.owners()), 1, f"seed {seed}")
            self.assertEqual(sim.two_owners, 0.0, f"seed {seed}")


class OneNode(unittest.TestCase):
    """Rules of one node, fed by hand."""

    def setUp(self) -> None:
        settings = Settings("a", "b", (VipSettings(VIP, None),), False, "one")
        self.rules = Rules(settings, 0.0, settled=True)
        for network in simulation.NETWORKS:
            self.rules.link(network, True, 0.0)

    def word(self, held: bool, **fields: object) -> Word:
        vip = PeerVip(held, "master" if held else "backup", Gate.OPEN, 0.05)
        return Word(vips={VIP: vip}, **{"digest": "one", **fields})  # type: ignore[arg-type]

    def closed(self, now: float) -> str:
        verdict = self.rules.decide(now)[VIP]
        return verdict.reason if verdict.closed else ""

    def test_silence_alone_closes_nothing(self) -> None:
        self.rules.advert(VIP, 253, 10.0)
        self.rules.heard(self.word(True), 10.1)
        self.assertEqual(self.closed(10.2), "")

    def test_a_beacon_from_before_the_next_advert_was_due_proves_nothing(self) -> None:
        self.rules.advert(VIP, 253, 10.0)
        self.rules.heard(self.word(True), 10.119)
        self.assertEqual(self.closed(10.16), "")
        self.rules.heard(self.word(True), 10.121)
        self.assertEqual(self.closed(10.16), "VRRP is blind, the peer is active")

    def test_a_veto_ends_with_its_evidence(self) -> None:
        self.rules.advert(VIP, 253, 10.0)
        self.rules.heard(self.word(True), 10.18)
        verdict = self.rules.decide(10.19)[VIP]
        self.assertTrue(verdict.closed)
        self.assertAlmostEqual(verdict.until, 10.38)
        self.assertEqual(self.closed(10.39), "")

    def test_a_peer_that_let_go_is_no_reason(self) -> None:
        self.rules.advert(VIP, 253, 10.0)
        self.rules.heard(self.word(True), 10.18)
        self.rules.heard(self.word(False, keepalived="stopped"), 10.20)
        self.assertEqual(self.closed(10.21), "")

    def test_an_active_peer_with_another_configuration_keeps_this_node_away(self) -> None:
        self.rules.advert(VIP, 253, 10.0)
        self.rules.heard(self.word(True, digest="two"), 10.01)
        self.assertEqual(self.closed(10.02), "the peer is active with another configuration")

    def test_a_conflict_is_ended_by_the_lower_address(self) -> None:
        self.rules.holding(VIP, True, "master", 10.0)
        for at in (10.05, 10.07, 10.09, 10.11, 10.13):
            self.rules.heard(self.word(True), at)
            reason = self.closed(at + 0.001)
        self.assertEqual(reason, "conflict: the peer keeps it")

    def test_a_former_owners_last_word_is_no_conflict(self) -> None:
        self.rules.holding(VIP, True, "master", 10.0)
        self.rules.heard(self.word(True), 10.05)
        self.assertEqual(self.closed(10.051), "")
        self.rules.heard(self.word(False), 10.07)
        self.assertEqual(self.closed(10.2), "")

    def test_dead_haproxy_yields_to_a_healthy_peer_only(self) -> None:
        self.rules.holding(VIP, True, "master", 10.0)
        self.rules.own.service = "dead"
        self.rules.heard(self.word(False, service="dead"), 12.0)
        self.assertEqual(self.closed(12.0), "")
        self.rules.heard(self.word(False, service="ok"), 12.02)
        self.assertEqual(self.closed(12.02), "HAProxy does not answer")

    def test_a_lost_gateway_yields_only_to_a_peer_that_reaches_it(self) -> None:
        self.rules.holding(VIP, True, "master", 10.0)
        self.rules.own.gateway = "lost"
        self.rules.heard(self.word(False, gateway="lost"), 12.0)
        self.assertEqual(self.closed(12.0), "")
        self.rules.heard(self.word(False, gateway="ok"), 14.1)
        self.assertEqual(self.closed(14.1), "gateway not reachable")

    def test_maintenance_keeps_this_node_away(self) -> None:
        self.rules.own.maintenance = True
        self.assertEqual(self.closed(10.0), "maintenance")

    def test_all_links_lost_and_back_hold_until_the_peer_is_heard(self) -> None:
        for network in simulation.NETWORKS:
            self.rules.link(network, False, 10.0)
        for network in simulation.NETWORKS:
            self.rules.link(network, True, 20.0)
        self.assertEqual(self.closed(20.1), "hold until the peer is heard")
        self.rules.heard(self.word(False, keepalived="stopped"), 21.0)
        self.assertEqual(self.closed(21.0), "")

    def test_a_bounced_link_beside_a_settled_one_holds_nothing(self) -> None:
        self.rules.link("public", False, 10.0)
        self.rules.link("public", True, 20.0)
        self.assertEqual(self.closed(20.1), "")


class HangWatch(unittest.TestCase):
    def feed(self, seconds: float, state: str, step: float = 0.1, cpu: float = 0.0, **_: object) -> str:
        watch = Progress()
        now, verdict = 0.0, ""
        switches = 1
        while now < seconds:
            verdict = watch.feed(now, 42, switches, state, cpu * now)
            now += step
        return verdict

    def test_a_stopped_process_hangs_after_half_a_second(self) -> None:
        self.assertEqual(self.feed(0.5, "T"), "running")
        self.assertEqual(self.feed(0.8, "T"), "hung")

    def test_a_starved_process_is_not_hung(self) -> None:
        self.assertEqual(self.feed(4.0, "R"), "running")

    def test_a_spinning_process_is_hung(self) -> None:
        self.assertEqual(self.feed(2.0, "R", cpu=1.0), "hung")

    def test_a_watch_that_did_not_look_says_nothing(self) -> None:
        self.assertEqual(self.feed(20.0, "S", step=1.0), "running")


if __name__ == "__main__":
    unittest.main()
