"""Two nodes in virtual time: keepalived as VRRP defines it, the real rules, networks that lose and delay packets, and
processors that let everybody wait a little. With an authority also a witness, a lease that is renewed while a majority
is reached, and elections that interrupt it. No claim about the daemons themselves, which the lab tests make; the claim
is about the rules, over more schedules than a lab can run.
"""

import heapq
import random
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Tuple

from arbiter.quorum import NEVER, Authority, Report
from arbiter.rules import Rules
from arbiter.settings import Settings, VipSettings
from arbiter.word import Gate, PeerVip, Word

NETWORKS = ("heartbeat", "public", "storage")
VIP = "web"
# From a signal to the end of keepalived's VIP, by ExecStopPost or by the arbiter (seconds)
REMOVAL = (0.010, 0.150)
HANG_NOTICED = (0.5, 0.7)
# The lease: R, D, T of docs/lease.md, the observer's interval, the stop of what writes, an election (seconds)
RENEWAL, DEADLINE, TAKEOVER = 0.1, 0.8, 1.5
OBSERVE = 0.05
DEMOTION = (0.010, 0.150)
ELECTION = (0.05, 0.6)


@dataclass
class Keepalived:
    state: str = "backup"
    timer: int = 0
    hung: bool = False
    running: bool = False


@dataclass
class Node:
    name: str
    rules: Rules
    keepalived: Keepalived = field(default_factory=Keepalived)
    vip: bool = False
    gate_closed: bool = False
    gate_until: float = 0.0
    alive: bool = False
    arbiter: bool = False
    public_up: bool = True
    last_sent: Optional[Tuple[object, ...]] = None
    generation: int = 0
    # what hangs on the active node is to run here
    serving: bool = False
    lease_until: float = NEVER
    demoting: bool = False
    observer: bool = True
    # the newest renewal that it saw, and when
    seen: Tuple[str, int] = ("", 0)
    boots: int = 0
    seen_at: float = NEVER
    quorum_at: float = NEVER
    witness_at: float = NEVER


class Simulation:
    def __init__(
        self,
        seed: int,
        preferred: Optional[str] = None,
        hold: float = 45.0,
        authority: Optional[Authority] = None,
        **settings: float,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.queue: List[Tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.cut: Dict[Tuple[str, str], bool] = {}
        self.owners_log: List[Tuple[float, str, bool]] = []
        self.two_owners = 0.0
        self.two_since: Optional[float] = None
        self.settings = settings
        self.preferred = preferred
        self.hold = hold
        self.authority = authority
        self.witness = True
        # nodes whose way to every other member of etcd is cut, and to no one else
        self.etcd_cut: Dict[str, bool] = {}
        self.election_until = NEVER
        self.holder = ""
        self.seq = 0
        self.insync: Tuple[str, ...] = ("a", "b")
        # (when, node, took it or let it go)
        self.lease_log: List[Tuple[float, str, bool]] = []
        self.nodes = {name: self._node(name) for name in "ab"}
        self.jitter = 0.002

    def _rules(self, name: str, settled: bool) -> Rules:
        rules = Rules(
            Settings(
                node=name,
                peer="b" if name == "a" else "a",
                vips=(VipSettings(VIP, self.preferred),),
                wins_conflict=name == "b",
                digest="one",
                hold=self.hold,
                authority=self.authority,
                **self.settings,  # type: ignore[arg-type]
            ),
            self.now,
            settled,
        )
        for network in NETWORKS:
            rules.link(network, True, self.now)
        return rules

    def _node(self, name: str) -> Node:
        return Node(name, self._rules(name, settled=False))

    # ---- time

    def at(self, delay: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.queue, (self.now + delay, self.count, what))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.queue and self.queue[0][0] <= end:
            self.now, _, what = heapq.heappop(self.queue)
            what()
        self.now = end

    def late(self) -> float:
        """A process wakes up a little after it could: mostly at once, sometimes much later."""
        return min(0.040, self.random.expovariate(1 / self.jitter))

    # ---- nodes

    def boot(self, name: str, delay: float = 0.0) -> None:
        node = self.nodes[name]
        node.alive = node.arbiter = node.public_up = True
        node.generation += 1
        node.rules = self._rules(name, settled=False)
        node.vip = False
        node.gate_closed, node.gate_until = True, self.now + delay + 1.0
        node.keepalived = Keepalived(running=False, state="stopped")
        self.at(delay + 0.01, lambda: self._tick(node, node.generation))
        self.at(delay + 0.05 + self.late(), lambda: self.start_keepalived(name))
        node.serving, node.lease_until, node.demoting = False, NEVER, False
        if self.authority is not None:
            booted = node.boots = node.boots + 1
            self.at(delay + 0.5, lambda: self._observe(node, booted))
            self.at(delay + 0.5, lambda: self._hold_lease(node, booted))

    def power_cut(self, name: str) -> None:
        node = self.nodes[name]
        node.alive = node.arbiter = False
        node.generation += 1
        node.boots += 1
        node.lease_until = NEVER
        self._topology_changed()
        node.keepalived = Keepalived(running=False, state="stopped")
        self._set_vip(node, False)

    def stop_arbiter(self, name: str) -> None:
        node = self.nodes[name]
        node.arbiter = False
        node.generation += 1
        self._write_gate(node, False)

    def start_arbiter(self, name: str) -> None:
        node = self.nodes[name]
        node.arbiter = True
        node.generation += 1
        node.rules = self._rules(name, settled=True)
        self._tick(node, node.generation)

    def set_public(self, name: str, up: bool) -> None:
        node = self.nodes[name]
        node.public_up = up
        node.rules.link("public", up, self.now)
        node.rules.own.public_up = up
        self._fault_changed(node)

    def drop(self, source: str, network: str, lost: bool) -> None:
        """`network` may be "witness": between this node and the witness, both ways."""
        if self.cut.get((source, network), False) != lost:
            self.cut[(source, network)] = lost
            if network in ("public", "witness"):
                self._topology_changed()

    def cut_between(self, lost: bool) -> None:
        """All three networks between the nodes, both ways."""
        for name in "ab":
            for network in NETWORKS:
                self.drop(name, network, lost)

    def set_witness(self, alive: bool) -> None:
        self.witness = alive
        self._topology_changed()

    def cut_etcd(self, name: str, lost: bool) -> None:
        self.etcd_cut[name] = lost
        self._topology_changed()

    def _set_vip(self, node: Node, held: bool) -> None:
        if node.vip == held:
            return
        node.vip = held
        self.owners_log.append((self.now, node.name, held))
        both = all(one.vip for one in self.nodes.values())
        if both and self.two_since is None:
            self.two_since = self.now
        elif not both and self.two_since is not None:
            self.two_owners += self.now - self.two_since
            self.two_since = None

    def owners(self) -> List[str]:
        return [name for name, node in self.nodes.items() if node.vip]

    # ---- keepalived

    def start_keepalived(self, name: str) -> None:
        node = self.nodes[name]
        if not node.alive or node.keepalived.running:
            return
        node.keepalived = Keepalived(state="init", running=True)
        self._fault_changed(node)

    def kill_keepalived(self, name: str) -> None:
        node = self.nodes[name]
        node.keepalived = Keepalived(running=False, state="stopped")
        generation = node.generation
        self.at(self.random.uniform(*REMOVAL), lambda: self._removed(node, generation))
        self.at(self.random.uniform(0.2, 0.6), lambda: self.start_keepalived(name))

    def _removed(self, node: Node, generation: int) -> None:
        if node.alive and node.generation == generation and node.keepalived.state != "master":
            self._set_vip(node, False)
            self._changed(node)

    def hang_keepalived(self, name: str) -> None:
        node = self.nodes[name]
        node.keepalived.hung = True
        generation = node.generation

        def noticed() -> None:
            if node.generation == generation and node.keepalived.hung:
                self.kill_keepalived(name)

        if node.arbiter:
            self.at(self.random.uniform(*HANG_NOTICED), noticed)

    def _fault_changed(self, node: Node) -> None:
        vrrp = node.keepalived
        if not node.alive or not vrrp.running or vrrp.hung:
            return
        fault = node.gate_closed or not node.public_up
        if fault and vrrp.state != "fault":
            was = vrrp.state
            vrrp.state = "fault"
            vrrp.timer += 1
            if was == "master":
                self._advert(node, 0)
                self.at(0.0003, lambda: self._gone(node))
        elif not fault and vrrp.state in ("fault", "init"):
            vrrp.state = "backup"
            self._arm(node, node.rules.settings.master_down)
        self._changed(node)

    def _gone(self, node: Node) -> None:
        if node.keepalived.state != "master":
            self._set_vip(node, False)
            self._changed(node)

    def _arm(self, node: Node, delay: float) -> None:
        vrrp = node.keepalived
        vrrp.timer += 1
        mine = vrrp.timer
        self.at(delay + self.late() / 4, lambda: self._expired(node, vrrp, mine))

    def _expired(self, node: Node, vrrp: Keepalived, mine: int) -> None:
        if node.keepalived is not vrrp or vrrp.timer != mine or vrrp.hung or not node.alive:
            return
        if vrrp.state == "backup":
            vrrp.state = "master"
            self._advert(node, self._priority(node))
            self._set_vip(node, True)
            self._changed(node)
        if vrrp.state == "master":
            self._advert(node, self._priority(node))
            self._arm(node, node.rules.settings.advert)

    def _advert(self, node: Node, priority: int) -> None:
        peer = self._peer(node)
        if self.cut.get((node.name, "heartbeat")):
            return
        self.at(0.0001 + self.late() / 20, lambda: self._advert_arrives(peer, priority))

    def _advert_arrives(self, node: Node, priority: int) -> None:
        if not node.alive:
            return
        if node.arbiter:
            received, generation = self.now, node.generation

            def read() -> None:
                if node.arbiter and node.generation == generation:
                    node.rules.advert(VIP, priority, received)

            self.at(self.late(), read)
        vrrp = node.keepalived
        if not vrrp.running or vrrp.hung:
            return
        settings = node.rules.settings
        if vrrp.state == "backup":
            self._arm(node, settings.master_down if priority else settings.master_down - 3 * settings.advert)
        elif vrrp.state == "master" and self._yields_to(node, priority):
            vrrp.state = "backup"
            self._set_vip(node, False)
            self._arm(node, settings.master_down)
            self._changed(node)
        elif vrrp.state == "master":
            self._advert(node, self._priority(node))

    def _priority(self, node: Node) -> int:
        """The lease raises it by one: `lease.priority`, kept by the arbiter."""
        return 254 if node.arbiter and node.lease_until > self.now else 253

    def _yields_to(self, node: Node, priority: int) -> bool:
        own = self._priority(node)
        return priority > own or (priority == own and not node.rules.settings.wins_conflict)

    # ---- the authority

    def _topology_changed(self) -> None:
        """Now and then the leader of etcd is on the wrong side, and for an election nobody renews anything."""
        if self.authority is not None and self.random.random() < 0.5:
            self.election_until = max(self.election_until, self.now + self.random.uniform(*ELECTION))

    def _reaches_witness(self, node: Node) -> bool:
        cut = self.cut.get((node.name, "witness")) or self.etcd_cut.get(node.name)
        return self.witness and node.public_up and not cut

    def _reaches_member(self, node: Node) -> bool:
        """Of the peer: over the public network, which TCP needs in both directions."""
        peer = self._peer(node)
        cut = any(self.cut.get((name, "public")) or self.etcd_cut.get(name) for name in "ab")
        return peer.alive and node.public_up and peer.public_up and not cut

    def _majority(self, node: Node) -> bool:
        reached = self._reaches_witness(node) or self._reaches_member(node)
        return node.alive and reached and self.now >= self.election_until

    def _observe(self, node: Node, booted: int) -> None:
        if not node.alive or node.boots != booted:
            return
        self.at(OBSERVE + self.late(), lambda: self._observe(node, booted))
        if not node.observer:
            return
        majority = self._majority(node)
        if majority:
            node.quorum_at = self.now
        if self._reaches_witness(node):
            node.witness_at = self.now
        if (majority or self._reaches_witness(node)) and node.seen != (self.holder, self.seq):
            node.seen, node.seen_at = (self.holder, self.seq), self.now
        holder = node.seen[0]
        insync = self.insync if node.quorum_at != NEVER else None
        report = Report(
            holder or None, node.seen_at if holder else NEVER, insync, node.quorum_at, node.witness_at, epoch=1
        )

        def read() -> None:
            if node.alive and node.boots == booted and node.arbiter and node.rules.quorum is not None:
                node.rules.quorum.heard(report, self.now)
                self._decide(node, node.generation)

        self.at(self.late(), read)

    def _hold_lease(self, node: Node, booted: int) -> None:
        if not node.alive or node.boots != booted:
            return
        self.at(RENEWAL + self.late() / 4, lambda: self._hold_lease(node, booted))
        self._lease_step(node, booted)

    def _lease_step(self, node: Node, booted: int) -> None:
        if not node.alive or node.boots != booted:
            return
        majority, mine = self._majority(node), self.holder == node.name
        if not node.serving:
            if (mine or node.lease_until > self.now) and not node.demoting:
                self._demote(node, booted)
            if not (mine and majority and node.demoting):
                return
        if not majority or node.name not in self.insync:
            return
        free = self.holder == "" or (node.seen == (self.holder, self.seq) and self.now - node.seen_at >= TAKEOVER)
        if mine or free:
            if not mine:
                self.lease_log.append((self.now, node.name, True))
            self.holder, self.seq = node.name, self.seq + 1
            node.lease_until = self.now + DEADLINE

    def _demote(self, node: Node, booted: int) -> None:
        """What writes stops first; then the lease is given up."""
        node.demoting = True

        def stopped() -> None:
            if not node.alive or node.boots != booted:
                return
            node.demoting, node.lease_until = False, NEVER
            if self._majority(node) and self.holder == node.name:
                self.holder, self.seq = "", self.seq + 1
                self.lease_log.append((self.now, node.name, False))
            self._changed(node)

        self.at(self.random.uniform(*DEMOTION), stopped)

    # ---- arbiter

    def _peer(self, node: Node) -> Node:
        return self.nodes["b" if node.name == "a" else "a"]

    def _changed(self, node: Node) -> None:
        """The kernel notified the arbiter of an address or a link."""
        generation = node.generation
        self.at(self.late(), lambda: self._decide(node, generation))

    def _tick(self, node: Node, generation: int) -> None:
        if not node.arbiter or node.generation != generation:
            return
        self._decide(node, generation)
        self._beacon(node)
        self.at(node.rules.settings.beacon + self.late() / 4, lambda: self._tick(node, generation))

    def _decide(self, node: Node, generation: int) -> None:
        if not node.arbiter or node.generation != generation:
            return
        rules = node.rules
        vrrp = node.keepalived
        rules.own.keepalived = "running" if vrrp.running and not vrrp.hung else "hung" if vrrp.running else "stopped"
        state = "master" if node.vip else vrrp.state if vrrp.running else "stopped"
        if rules.quorum is not None:
            rules.quorum.lease_until = node.lease_until
        rules.holding(VIP, node.vip, state, self.now)
        verdict = rules.decide(self.now)[VIP]
        serving = rules.serving(self.now)
        if node.serving != serving:
            # systemd starts and stops the chain
            node.serving, booted = serving, node.boots
            self.at(self.random.uniform(0.005, 0.030), lambda: self._lease_step(node, booted))
        if verdict.closed:
            node.gate_until = verdict.until
            self.at(max(0.0, verdict.until - self.now) + 0.001, lambda: self._expire(node))
        self._write_gate(node, verdict.closed)
        said = (node.vip, state, verdict.gate, rules.own.keepalived, rules.vips[VIP].yielding is None)
        if said != node.last_sent:
            self._beacon(node)
        check = rules.next_check(self.now)
        self.at(check - self.now + 0.0001 + self.late() / 4, lambda: self._check(node, generation, check))

    def _check(self, node: Node, generation: int, check: float) -> None:
        # one pending wake-up at a time, as select() has
        if node.generation == generation and node.rules.next_check(check - 0.00001) >= check:
            rules = node.rules
            before = rules.vips[VIP].verdict
            verdict = rules.decide(self.now)[VIP]
            if verdict != before:
                self._decide(node, generation)

    def _expire(self, node: Node) -> None:
        if node.alive and node.gate_closed and self.now >= node.gate_until:
            self._write_gate(node, False)

    def _write_gate(self, node: Node, closed: bool) -> None:
        if closed == node.gate_closed:
            return
        node.gate_closed = closed
        self.at(0.0002 + self.late() / 4, lambda: self._fault_changed(node))

    def _beacon(self, node: Node) -> None:
        rules = node.rules
        memory = rules.vips[VIP]
        state = "master" if node.vip else node.keepalived.state if node.keepalived.running else "stopped"
        age = None if memory.advert_at == float("-inf") else self.now - memory.advert_at
        gate = memory.verdict.gate if node.arbiter else Gate.OPEN
        yields = memory.yielding is not None
        node.last_sent = (node.vip, state, gate, rules.own.keepalived, not yields)
        declines, standby = self.now < memory.declines_until, memory.verdict.standby
        word = Word(
            vips={VIP: PeerVip(node.vip, state, gate, age, declines, standby, yields)},
            digest=rules.settings.digest,
            maintenance=rules.own.maintenance,
            keepalived=rules.own.keepalived,
            service=rules.own.service,
            gateway=rules.own.gateway,
            public_up=node.public_up,
            standing=rules.standing(self.now),
        )
        peer = self._peer(node)
        for network in NETWORKS:
            if self.cut.get((node.name, network)):
                continue
            if network == "public" and not (node.public_up and peer.public_up):
                continue
            self.at(0.0001 + self.late() / 20, lambda: self._hear(peer, word))

    def _hear(self, node: Node, word: Word) -> None:
        if not node.alive or not node.arbiter:
            return
        received, generation = self.now, node.generation

        def read() -> None:
            if node.arbiter and node.generation == generation:
                node.rules.heard(word, received)
                self._decide(node, generation)

        self.at(self.late(), read)
