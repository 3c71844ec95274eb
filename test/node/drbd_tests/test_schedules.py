"""Two nodes, one network, one list: random schedules of power cuts, cuts of the network, lost quorum, paused machines,
lost disks and promotions, in which the handler and the promotion decide by the real rules. Three promises hold at
every step: nobody is promoted without every acknowledged write, no two nodes acknowledge apart, and nothing
acknowledged is lost.

The driver is modelled as it was measured: a connected primary writes to both disks before it acknowledges; one that
lost its peer suspends until the handler answered; a promotion without the peer asks the handler; a primary keeps a
connected peer from becoming one. HOTPAIR_SCHEDULES: how many schedules (default 400).
"""

from __future__ import annotations

import os
import random
import unittest
from typing import Any, Callable, List, Optional, Sequence, Set, Tuple
from unittest import mock

from drbd import fence
from drbd.authority import Refused
from drbd.rules import PEER_FENCED, PEER_IS_PRIMARY, PEER_OUTDATED, Device, promotion, redundancy

from .world import Etcd, FakeAuthority, settings

SCHEDULES = int(os.environ.get("HOTPAIR_SCHEDULES", "400"))
STEPS = 150


class Node:
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.authority = FakeAuthority(world.etcd, name, f"copy-{name}")
        self.settings = settings("/nowhere", {"data": "/nowhere/data"}, node=name, peer="b" if name == "a" else "a")
        self.power = True
        self.paused = False
        self.role = "Secondary"
        self.disk = "UpToDate"
        # kept by the driver on the disk: what it was when it was last known
        self.outdated = False
        self.writes: Set[int] = set()
        self.suspended = False
        # what its watcher has found out under its lock and not said yet
        self.pending: Optional[Tuple[str, str]] = None
        # what this node's driver believes of its connection
        self.connected = True

    @property
    def peer(self) -> Node:
        return self.world.nodes["b" if self.name == "a" else "a"]

    def device(self) -> Device:
        peer = self.peer
        return Device(
            name="data",
            role=self.role,
            disk=self.disk,
            connection="Connected" if self.connected else "WFConnection",
            peer_role=peer.role if self.connected else "Unknown",
            peer_disk=peer.disk if self.connected else "DUnknown",
            suspended=self.suspended,
        )

    @property
    def runs(self) -> bool:
        return self.power and not self.paused


class World:
    def __init__(self, seed: int, answer: Optional[Callable[..., int]] = None, locked: bool = True) -> None:
        self.locked = locked
        self.random = random.Random(seed)
        self.etcd = Etcd(insync={"a": "copy-a", "b": "copy-b"}, holder=None)
        self.nodes = {name: Node(self, name) for name in ("a", "b")}
        self.network = True
        self.acknowledged: Set[int] = set()
        self.number = 0
        self.answer = answer or fence.answer
        self.log: List[str] = []

    # ---- the driver

    def linked(self) -> bool:
        return self.network and all(node.runs for node in self.nodes.values())

    def session(self) -> bool:
        """One connection, that both sides know: a machine that was off comes back without it."""
        return self.linked() and all(node.connected for node in self.nodes.values())

    def notice(self) -> None:
        """Each side that runs sees that its peer is gone; a primary suspends and asks."""
        if self.session():
            return
        for node in self.nodes.values():
            if node.runs and node.connected:
                node.connected = False
                if node.role == "Primary":
                    node.suspended = True
                    self.ask(node)

    def ask(self, node: Node) -> int:
        if self.locked:
            # The handler waits for the watcher's lock, so for what it was about to say.
            self.commit(node)
        code = self.answer(node.settings, node.authority, lambda: [node.device()], "data", 0.0)
        self.log.append(f"{node.name} fence-peer {code}")
        if code in (PEER_OUTDATED, PEER_FENCED, 3, 5):
            node.suspended = False
        elif code == PEER_IS_PRIMARY:
            node.disk, node.outdated = ("Outdated", True) if node.disk != "Diskless" else (node.disk, node.outdated)
        return code

    def reconnect(self) -> None:
        """When both hear each other again: the one that knows less copies; two that wrote apart stay apart."""
        a, b = self.nodes["a"], self.nodes["b"]
        if not self.linked() or self.session():
            return
        self.notice()
        if a.role == b.role == "Primary":
            return
        if a.writes - b.writes and b.writes - a.writes:
            self.log.append("split brain")
            return
        # A copy that the driver knows to be old, or a disk that is not there, is never the source.
        for node, other in ((a, b), (b, a)):
            if node.disk in ("Diskless",):
                continue
            if other.disk in ("UpToDate", "Consistent") and not other.outdated and other.writes >= node.writes:
                if node.role == "Primary" and not node.suspended and other.writes > node.writes:
                    return
                node.writes = set(other.writes)
        for node in (a, b):
            node.connected, node.suspended = True, False
            if node.disk != "Diskless" and node.writes == a.writes | b.writes:
                node.disk, node.outdated = "UpToDate", False

    def write(self, node: Node) -> None:
        if not node.runs or node.role != "Primary" or node.suspended:
            return
        if node.connected and not self.session():
            return  # it waits for the peer's answer, which does not come
        self.number += 1
        copies = [node] + ([node.peer] if node.connected else [])
        stored = [copy for copy in copies if copy.disk in ("UpToDate", "Consistent")]
        for copy in stored:
            copy.writes.add(self.number)
        if stored:
            self.acknowledged.add(self.number)

    # ---- the lease: one holder, by compare-and-swap, after the old one's time is over

    def lease(self) -> None:
        holder = self.etcd.holder
        current = self.nodes.get(holder or "")
        if current is not None and not current.runs:
            # It runs out while nobody renews it; the silent one's own deadline is over by then.
            current.authority.possession = False
            current.authority.renewing = False
        for node in self.nodes.values():
            node.authority.renewing = self.nodes.get(self.etcd.holder or "", node).runs

    def take(self, node: Node) -> None:
        insync = self.etcd.insync or {}
        if not node.runs or not self.etcd.quorum or insync.get(node.name) != node.authority.name:
            return
        holder = self.nodes.get(self.etcd.holder or "")
        if holder is node:
            node.authority.possession = True
            return
        if holder is not None and holder.authority.possession:
            return
        self.etcd.holder = node.name
        node.authority.possession = True

    def promote(self, node: Node) -> None:
        if not node.runs or node.role == "Primary" or not node.authority.holds():
            return
        found = promotion([node.device()], ["data"], node.name, node.authority.name, node.authority.insync())
        if found.what != "go":
            return
        if node.connected:
            if not self.session() or node.peer.role == "Primary":
                return
        elif self.ask(node) not in (PEER_OUTDATED, PEER_FENCED, 3, 5):
            return
        node.role = "Primary"
        self.log.append(f"{node.name} promoted")
        missing = self.acknowledged - node.writes
        if missing:
            raise AssertionError(f"{node.name} was promoted without {sorted(missing)}")

    def watch(self, node: Node) -> None:
        if not node.runs:
            return
        only = set(self.etcd.insync or {}) == {node.name} and not node.device().peer_whole
        if node.disk == "Diskless" and not only and not node.authority.name.startswith("gone"):
            node.authority.call_copies(f"gone-{node.name}-{self.number}")
        if self.etcd.quorum:
            self.etcd.offers[node.name] = node.authority.name
        if not node.authority.holds():
            return
        offered = self.etcd.offers.get(node.peer.name, "")
        found = redundancy([node.device()], node.peer.name, node.authority.insync(), offered)
        # The order arrives at some later moment.
        node.pending = None if found.order is None else (found.order, offered)

    def commit(self, node: Node) -> None:
        pending, node.pending = node.pending, None
        if pending is None or not node.runs:
            return
        try:
            if pending[0] == "alone":
                node.authority.alone()
            else:
                node.authority.together(pending[1])
        except Refused as refused:
            self.log.append(str(refused))

    # ---- what happens

    def step(self) -> None:
        node = self.random.choice(list(self.nodes.values()))
        events: Sequence[Any] = (
            ("write", 12, lambda: self.write(node)),
            ("notice", 4, self.notice),
            ("reconnect", 6, self.reconnect),
            ("take", 4, lambda: self.take(node)),
            ("promote", 5, lambda: self.promote(node)),
            ("watch", 5, lambda: self.watch(node)),
            ("commit", 10, lambda: self.commit(node)),
            ("power cut", 1, lambda: self.cut(node)),
            ("boot", 6, lambda: self.boot(node)),
            ("network cut", 1, lambda: self.set_network(False)),
            ("network back", 4, lambda: self.set_network(True)),
            ("quorum lost", 1, lambda: self.set_quorum(False)),
            ("quorum back", 4, lambda: self.set_quorum(True)),
            ("pause", 1, lambda: self.pause(node)),
            ("resume", 6, lambda: self.resume(node)),
            ("demote", 2, lambda: self.demote(node)),
            ("reboot", 3, lambda: self.reboot_stuck(node)),
            ("disk fails", 0.15, lambda: self.lose_disk(node)),
        )
        name, _weight, act = self.random.choices(events, [weight for _name, weight, _act in events])[0]
        self.log.append(f"{name} {node.name}")
        act()
        self.lease()
        able = [each for each in self.nodes.values() if self.could_acknowledge(each)]
        if len(able) > 1:
            raise AssertionError("both nodes could acknowledge a write")

    def could_acknowledge(self, node: Node) -> bool:
        if not node.runs or node.role != "Primary" or node.suspended:
            return False
        return self.session() if node.connected else True

    def cut(self, node: Node) -> None:
        node.power, node.paused, node.role, node.suspended, node.connected = False, False, "Secondary", False, False
        node.authority.possession, node.pending = False, None
        if node.disk in ("UpToDate",):
            node.disk = "Consistent"

    def boot(self, node: Node) -> None:
        """With its disk, also one that failed before: as old as it was then."""
        if not node.power and node.disk == "Diskless":
            node.disk = "Consistent"
        node.power = True

    def reboot_stuck(self, node: Node) -> None:
        """Whose writes wait for ever is switched off and on, by somebody or by fencing."""
        if node.runs and node.suspended:
            self.cut(node)
            self.boot(node)

    def lose_disk(self, node: Node) -> None:
        """The watcher sees it before anything else happens; what is between the two is in docs/drbd.md."""
        if node.runs and node.disk != "Diskless":
            node.disk = "Diskless"
            self.watch(node)

    def set_network(self, there: bool) -> None:
        self.network = there

    def set_quorum(self, there: bool) -> None:
        self.etcd.quorum = there
        if not there:
            for node in self.nodes.values():
                # Without a quorum a holder ends, unless it is alone in the list.
                if set(self.etcd.insync or {}) != {node.name}:
                    node.authority.possession = False

    def pause(self, node: Node) -> None:
        if node.power:
            node.paused = True

    def resume(self, node: Node) -> None:
        if node.paused:
            node.paused = False
            # Its clock went on: the deadline is over.
            node.authority.possession = False
            self.notice_of(node)

    def notice_of(self, node: Node) -> None:
        """While it stood still its peer has given the connection up."""
        if node.connected and not node.peer.connected:
            node.connected = False
            if node.role == "Primary":
                node.suspended = True
                self.ask(node)

    def demote(self, node: Node) -> None:
        if node.runs and node.role == "Primary" and not node.suspended:
            node.role = "Secondary"


def run(seed: int, answer: Optional[Callable[..., int]] = None) -> World:
    world = World(seed, answer)
    with mock.patch("drbd.record.audit"):
        for _ in range(STEPS):
            try:
                world.step()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}\n" + "\n".join(world.log)) from None
    return world


class Schedules(unittest.TestCase):
    def test_nothing_acknowledged_is_lost_and_no_two_acknowledge(self) -> None:
        promoted = acknowledged = 0
        for seed in range(SCHEDULES):
            world = run(seed)
            promoted += sum(line.endswith("promoted") for line in world.log)
            acknowledged += len(world.acknowledged)
        # It is no proof if nothing happens.
        self.assertGreater(promoted, SCHEDULES // 2)
        self.assertGreater(acknowledged, 2 * SCHEDULES)

    def breaks(self, answer: Callable[..., int]) -> None:
        for seed in range(5_000):
            try:
                run(seed, answer)
            except AssertionError:
                return
        self.fail("what is wrong went unnoticed")

    def test_a_handler_that_says_the_peer_is_down_is_found_out(self) -> None:
        self.breaks(lambda *_: 5)

    def test_a_handler_that_trusts_fencing_without_the_list_is_found_out(self) -> None:
        def trusting(_settings: Any, authority: FakeAuthority, *_rest: Any) -> int:
            return PEER_FENCED if authority.holds() else 20

        self.breaks(trusting)

    def test_a_copy_that_was_given_up_and_keeps_its_name_is_found_out(self) -> None:
        with mock.patch.object(FakeAuthority, "call_copies"):
            self.breaks(fence.answer)

    def overtaken(self, locked: bool) -> World:
        """The watcher has seen both copies equal; before it says so the connection ends, and the primary goes on."""
        world = World(0, locked=locked)
        a, b = world.nodes["a"], world.nodes["b"]
        world.etcd.insync, world.etcd.offers["b"] = {"a": "copy-a"}, "copy-b"
        with mock.patch("drbd.record.audit"):
            world.take(a)
            world.promote(a)
            world.watch(a)
            self.assertEqual(a.pending, ("together", "copy-b"))
            world.set_network(False)
            world.notice()
            world.write(a)
            self.assertEqual(world.acknowledged, {1})
            world.commit(a)
            world.cut(a)
            world.lease()
            world.take(b)
            world.promote(b)
        return world

    def test_the_handler_waits_for_what_the_watcher_is_about_to_say(self) -> None:
        world = self.overtaken(locked=True)
        self.assertEqual(world.etcd.insync, {"a": "copy-a"})
        self.assertNotIn("b promoted", world.log)
        with self.assertRaisesRegex(AssertionError, "b was promoted without"):
            self.overtaken(locked=False)


if __name__ == "__main__":
    unittest.main()
