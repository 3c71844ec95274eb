"""Never two writers, over random schedules; and the same schedules find two as soon as a rule is broken."""

import os
import unittest
from dataclasses import replace
from typing import Any, Callable, List

from lease.actions import Action
from lease.record import Answer, Request
from lease.rules import Lease
from lease.timing import Timing, broken_rules
from lease_tests.simulation import INCARNATIONS, World, schedule

TIMING = Timing()
CHAIN_STOP = 0.4
SCHEDULES = int(os.environ.get("HOTPAIR_SCHEDULES", "40"))
SECONDS = 40.0


def first_overlap(worlds: Callable[[int], World], tries: int, seconds: float = SECONDS, between: float = 0.6) -> int:
    """Number of the first schedule with two writers, -1 when there is none."""
    for seed in range(tries):
        world = schedule(worlds(seed), seconds, between)
        if world.overlapping() > 0:
            return seed
    return -1


class NeverTwoWriters(unittest.TestCase):
    def test_the_defaults_keep_the_rule(self) -> None:
        self.assertEqual(broken_rules(TIMING, CHAIN_STOP), [])

    def test_random_schedules(self) -> None:
        served = 0.0
        for seed in range(SCHEDULES):
            world = schedule(World(seed, TIMING, CHAIN_STOP), SECONDS)
            overlap = world.overlapping()
            self.assertEqual(overlap, 0.0, f"seed {seed}:\n" + "\n".join(world.log[-60:]))
            served += world.served
        # Not safe by doing nothing: with a fault every 0.6 s somebody still writes a good part of the time.
        self.assertGreater(served, 0.2 * SECONDS * SCHEDULES)

    def test_clocks_that_run_apart(self) -> None:
        timing = replace(TIMING, drift=0.05, takeover=1.6)
        self.assertEqual(broken_rules(timing, CHAIN_STOP), [])
        for seed in range(SCHEDULES // 3):
            world = schedule(World(seed, timing, CHAIN_STOP), SECONDS)
            self.assertEqual(world.overlapping(), 0.0, f"seed {seed}:\n" + "\n".join(world.log[-60:]))

    def test_without_faults_one_node_writes_all_the_time(self) -> None:
        world = World(1, TIMING, CHAIN_STOP)
        world.run(20.0)
        self.assertEqual(world.overlapping(), 0.0)
        self.assertGreater(world.served, 18.0)


class BrokenOnPurpose(unittest.TestCase):
    """Each of these rules is needed: without it the same faults make two writers."""

    def test_takeover_too_early(self) -> None:
        timing = replace(TIMING, takeover=1.1)
        self.assertNotEqual(broken_rules(timing, CHAIN_STOP), [])
        self.assertGreaterEqual(first_overlap(lambda seed: World(seed, timing, CHAIN_STOP), 60), 0)

    def test_stops_longer_than_stated(self) -> None:
        self.assertGreaterEqual(first_overlap(lambda seed: World(seed, TIMING, 0.9), 60), 0)

    def test_clocks_further_apart_than_stated(self) -> None:
        timing = replace(TIMING, drift=0.35)
        self.assertNotEqual(broken_rules(timing, CHAIN_STOP), [])
        self.assertGreaterEqual(first_overlap(lambda seed: World(seed, timing, CHAIN_STOP), 60), 0)

    def test_deadline_counted_from_the_answer(self) -> None:
        class FromTheAnswer(Lease):
            def answered(self, ticket: int, now: float, answer: Answer) -> List[Action]:
                if ticket in self._sent:
                    self._sent[ticket].at = now
                return super().answered(ticket, now, answer)

        def world(seed: int) -> World:
            # Answers that take long, and a process that is paused while they wait.
            made = World(seed, replace(TIMING, watchdog=30.0), CHAIN_STOP, lease=FromTheAnswer)
            made.slow = 0.05
            return made

        self.assertGreaterEqual(first_overlap(world, 80), 0)

    def test_watchdog_fed_without_acknowledgement(self) -> None:
        class NoDeadline(Lease):
            """Its own deadline fails, as it does in a process that hangs; only the watchdog is left."""

            @property
            def solo(self) -> bool:
                return self.phase == "hold" or super().solo

        def world(seed: int) -> World:
            return World(seed, TIMING, CHAIN_STOP, lease=NoDeadline, feed_always=True)

        self.assertGreaterEqual(first_overlap(world, 60), 0)

    def test_takeover_without_comparing_the_counter(self) -> None:
        class Blind(Lease):
            def _send(self, member: str, kind: str, request: Request, *rest: Any) -> int:
                if kind == "take":
                    request = replace(request, compares=())
                return super()._send(member, kind, request, *rest)

        self.assertGreaterEqual(first_overlap(lambda seed: World(seed, TIMING, CHAIN_STOP, lease=Blind), 60), 0)

    def test_going_on_alone_while_the_list_may_change(self) -> None:
        class Hasty(Lease):
            @property
            def solo(self) -> bool:
                """Forgets that a request to list the peer again is under way."""
                insync = self.record.insync
                return insync is not None and set(insync) == {self.node}

        def overlap(lease: Callable[..., Lease]) -> float:
            world = World(7, TIMING, CHAIN_STOP, insync={"a": INCARNATIONS["a"]}, lease=lease)
            world.run(3.0)
            self.assertTrue(world.nodes["a"].writing)
            # What a asks for is done; the answers do not come back, and then nothing gets through.
            world.sever([("b", "a"), ("witness", "a")], 8.0)
            world.run(3.05)
            world.order(world.nodes["a"], "together")
            world.run(3.4)
            world.sever([("a", "b"), ("a", "witness")], 8.0)
            world.run(10.0)
            self.assertTrue(any("b WRITES" in line for line in world.log))
            return world.overlapping()

        self.assertGreater(overlap(Hasty), 0.0)
        self.assertEqual(overlap(Lease), 0.0)


class NodesInSync(unittest.TestCase):
    def test_campaign_without_being_in_sync_is_refused(self) -> None:
        world = World(3, TIMING, CHAIN_STOP, insync={"a": INCARNATIONS["a"]})
        world.run(3.0)
        self.assertTrue(world.nodes["a"].writing)
        world.power_cut(world.nodes["a"], 10.0)
        world.run(9.0)
        self.assertFalse(world.nodes["b"].writing)
        lease = world.nodes["b"].process
        assert lease is not None and lease.verdict is not None
        self.assertEqual(lease.verdict.kind, "barred")
        self.assertIn("not in sync", lease.verdict.why)

    def test_alone_without_quorum_goes_on_and_the_peer_does_not_start(self) -> None:
        world = World(4, TIMING, CHAIN_STOP)
        world.run(3.0)
        holder = next(node for node in world.nodes.values() if node.writing)
        other = next(node for node in world.nodes.values() if node is not holder)
        world.order(holder, "alone")
        world.run(4.0)
        world.sever([(holder.name, name) for name in ("a", "b", "witness") if name != holder.name], 20.0)
        world.sever([(name, holder.name) for name in ("a", "b", "witness") if name != holder.name], 20.0)
        world.run(20.0)
        self.assertTrue(holder.writing)
        self.assertFalse(other.writing)
        # And with quorum back it is the holder still, by the ordinary rule.
        world.run(30.0)
        self.assertTrue(holder.writing)
        assert holder.process is not None
        self.assertLess(world.local(holder), holder.process.deadline)
        self.assertEqual(world.overlapping(), 0.0)

    def test_both_in_sync_without_quorum_stops_at_the_deadline(self) -> None:
        world = World(5, TIMING, CHAIN_STOP)
        world.run(3.0)
        holder = next(node for node in world.nodes.values() if node.writing)
        world.freeze("witness", 20.0)
        world.sever([("a", "b"), ("b", "a")], 20.0)
        world.run(3.0 + TIMING.deadline + CHAIN_STOP + 0.2)
        self.assertFalse(holder.writing)
