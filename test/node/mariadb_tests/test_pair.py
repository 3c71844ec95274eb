"""The promise, over random schedules: whoever is promoted holds every write that a client was told is stored.

Two servers are modelled by what was measured of the real ones (docs/mariadb.md): a replica acknowledges what is in its
relay log, and loses what it has not applied when its server or its replication restarts; a primary's own log survives.
The decisions are the real ones. Each broken rule, one at a time, must lose a write: otherwise the model proves nothing.
"""

import random
import unittest
from typing import Callable, Dict, List, Optional

from mariadb import rules
from mariadb.rules import (
    Authority,
    PrimarySeen,
    PromotionInput,
    PromotionWay,
    ReplicaSeen,
    ReplicationSeen,
    Role,
    Start,
    Step,
    Timing,
)


class Server:
    def __init__(self, node: str) -> None:
        self.node = node
        self.up = True
        self.role = Role.NEW
        self.incarnation = ""
        # what its running process was started under
        self.running = ""
        # writes that are on disk, in order; written ones that wait for an acknowledgement included
        self.log: List[int] = []
        self.relay: List[int] = []
        self.following = False
        self.applier = 0
        self.noted: Optional[int] = None
        self.semi_sync = False
        self.goal: Optional[int] = None


class Pair:
    """Server a begins as the primary, b as a replica that is in sync."""

    def __init__(self, seed: int, broken: str = "") -> None:
        self.random = random.Random(seed)
        self.broken = broken
        self.count = 0
        self.servers: Dict[str, Server] = {"a": Server("a"), "b": Server("b")}
        self.insync: Dict[str, str] = {}
        self.holder: Optional[str] = "a"
        self.written = 0
        self.acknowledged: List[int] = []
        # writes that their primary still owes an answer for
        self.waiting: List[int] = []
        self.lost: List[int] = []
        self.promotions = 0
        a, b = self.servers["a"], self.servers["b"]
        self.renew(a)
        a.role, a.running = Role.PRIMARY, a.incarnation
        self.insync = {"a": a.incarnation}
        self.renew(b)
        b.running = b.incarnation
        self.follow(b)
        a.semi_sync = True
        self.insync["b"] = b.incarnation

    def renew(self, server: Server) -> None:
        self.count += 1
        server.incarnation = f"i{self.count}"

    def follow(self, server: Server) -> None:
        if self.broken != "follow keeps the incarnation":
            self.renew(server)
        server.running = server.incarnation
        server.role, server.following, server.relay = Role.REPLICA, True, []
        server.applier += 1
        server.noted = server.applier

    def primary(self) -> Optional[Server]:
        server = self.servers[self.holder] if self.holder else None
        return server if server is not None and server.up and server.role is Role.PRIMARY else None

    def replica_of(self, primary: Server) -> Server:
        return self.servers["b" if primary.node == "a" else "a"]

    # ---- what happens

    def write(self) -> None:
        primary = self.primary()
        if primary is None:
            return
        self.written += 1
        primary.log.append(self.written)
        if primary.semi_sync:
            self.waiting.append(self.written)
        else:
            self.acknowledged.append(self.written)

    def receive(self) -> None:
        primary = self.primary()
        if primary is None:
            return
        replica = self.replica_of(primary)
        if not (replica.up and replica.following):
            return
        have = len(replica.log) + len(replica.relay)
        for each in primary.log[have : have + self.random.randint(1, 5)]:
            replica.relay.append(each)
            if each in self.waiting:
                self.waiting.remove(each)
                self.acknowledged.append(each)

    def apply(self) -> None:
        for server in self.servers.values():
            if server.up and server.following and server.relay:
                server.log.append(server.relay.pop(0))

    def kill(self) -> None:
        server = self.servers[self.random.choice("ab")]
        if self.holder == server.node:
            self.waiting.clear()
        server.up, server.following, server.relay, server.noted = False, False, [], None
        server.semi_sync = False

    def lose_lease(self) -> None:
        # Its holder is killed, by its own deadline, before anybody else may hold it.
        if self.holder is not None:
            self.waiting.clear()
            server = self.servers[self.holder]
            server.up, server.semi_sync = False, False
            self.holder = None

    def start(self) -> None:
        for server in self.servers.values():
            if server.up:
                continue
            peer = "b" if server.node == "a" else "a"
            if rules.renews_at_start(server.role) and self.broken != "a restart keeps the incarnation":
                self.renew(server)
            decision = rules.start_decision(
                server.role,
                server.node,
                server.incarnation,
                Authority(self.holder == server.node, self.holder == peer, dict(self.insync)),
            )
            if decision.start is Start.WAIT:
                continue
            if decision.start is Start.AS_REPLICA:
                if server.role is not Role.REPLICA:
                    self.renew(server)
                    server.role = Role.REPLICA
                # the tail that nobody acknowledged to a client, or that this server had not committed yet
                other = self.servers[peer]
                shared = 0
                while shared < min(len(server.log), len(other.log)) and server.log[shared] == other.log[shared]:
                    shared += 1
                del server.log[max(shared - self.random.randint(0, 1), 0) :]
            server.up, server.running, server.following = True, server.incarnation, False

    def by_hand(self) -> None:
        """Somebody stops replication and starts it again."""
        for server in self.servers.values():
            if server.up and server.following:
                server.relay = []
                server.applier += 1

    def acquire(self) -> None:
        if self.holder is not None:
            return
        for server in self.random.sample(list(self.servers.values()), 2):
            if self.insync.get(server.node) == server.incarnation:
                self.holder = server.node
                return

    def promote(self) -> None:
        if self.holder is None:
            return
        server = self.servers[self.holder]
        if not server.up or (server.role is Role.PRIMARY and server.semi_sync):
            return
        decision = rules.promotion_decision(
            PromotionInput(
                server.node,
                server.role,
                server.running,
                dict(self.insync),
                ReplicationSeen(
                    server.following,
                    "peer",
                    "Connecting" if server.following else "No",
                    "Yes" if server.following else "No",
                    io_thread=server.following,
                ),
                None if server.noted is None else str(server.noted),
                str(server.applier) if server.following else None,
            )
        )
        if decision.way is PromotionWay.REFUSE and self.broken != "refusals are ignored":
            self.holder = None
            return
        if decision.way is PromotionWay.APPLY and self.broken != "replication is stopped at once":
            server.log += server.relay
        self.insync = {server.node: self.insync.get(server.node, server.incarnation)}
        server.following, server.relay, server.role, server.semi_sync, server.goal = (
            False,
            [],
            Role.PRIMARY,
            False,
            None,
        )
        self.promotions += 1
        have = set(server.log)
        self.lost += [each for each in self.acknowledged if each not in have]

    def rejoin(self) -> None:
        primary = self.primary()
        if primary is None:
            return
        replica = self.replica_of(primary)
        if replica.up and not replica.following and replica.log == primary.log[: len(replica.log)]:
            self.follow(replica)

    def watch(self) -> None:
        primary = self.primary()
        if primary is None:
            return
        replica = self.replica_of(primary)
        seen = None
        if replica.up:
            seen = ReplicaSeen(
                replica.running,
                replica.following,
                replica.following,
                replica.following,
                0,
                0.1,
                f"0-1-{len(replica.log)}",
            )
        if self.random.random() < 0.2:
            seen = None
        connected = replica.up and replica.following
        decision = rules.redundancy_step(
            PrimarySeen(
                primary.node,
                replica.node,
                dict(self.insync),
                primary.semi_sync,
                2.0 if self.waiting and self.random.random() < 0.1 else 0.0,
                0.0 if connected else 1.0,
                seen,
                None if primary.goal is None else f"0-1-{primary.goal}",
                0.0,
            ),
            Timing(),
        )
        step = decision.step
        if step is Step.ALONE:
            if self.broken != "alone without telling etcd":
                self.insync = {primary.node: self.insync[primary.node]}
            self.open(primary)
        elif step is Step.SEMI_SYNC_OFF:
            self.open(primary)
        elif step is Step.SEMI_SYNC_ON:
            primary.semi_sync, primary.goal = True, len(primary.log)
            if self.broken == "listed before it has caught up":
                self.insync[replica.node] = replica.running
        elif step is Step.TOGETHER:
            self.insync[replica.node] = decision.incarnation

    def open(self, primary: Server) -> None:
        primary.semi_sync, primary.goal = False, None
        self.acknowledged += self.waiting
        self.waiting.clear()

    def run(self, steps: int) -> None:
        often: List[Callable[[], None]] = [self.write, self.write, self.receive, self.apply, self.watch, self.watch]
        healing: List[Callable[[], None]] = [self.start, self.acquire, self.promote, self.rejoin]
        faults: List[Callable[[], None]] = [self.kill, self.lose_lease, self.by_hand]
        for _ in range(steps):
            dice = self.random.random()
            what = faults if dice < 0.03 else healing if dice < 0.35 else often
            self.random.choice(what)()


BROKEN = (
    "a restart keeps the incarnation",
    "refusals are ignored",
    "replication is stopped at once",
    "alone without telling etcd",
    "listed before it has caught up",
)


class Promise(unittest.TestCase):
    def test_no_acknowledged_write_is_lost(self) -> None:
        promotions = 0
        for seed in range(120):
            pair = Pair(seed)
            pair.run(600)
            self.assertEqual(pair.lost, [], f"seed {seed}")
            promotions += pair.promotions
        self.assertGreater(promotions, 300)

    def test_every_rule_is_needed(self) -> None:
        for rule in BROKEN:
            with self.subTest(rule):
                lost = 0
                for seed in range(400):
                    pair = Pair(seed, rule)
                    pair.run(600)
                    lost += bool(pair.lost)
                    if lost:
                        break
                self.assertGreater(lost, 0)


if __name__ == "__main__":
    unittest.main()
