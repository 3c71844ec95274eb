"""Two nodes, their processes, clocks and writers, and an etcd of three members, in virtual time.

The real rules run here. Everything around them is hostile: requests and answers are delayed, lost and overtaken,
members freeze and answer reads from an old state, links are cut in one direction, processes are paused and killed,
machines lose power, and no two clocks run alike. Stops take as long as they may. The claim that the tests make is about
the rules.
"""

import heapq
import random
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Mapping, Optional, Set, Tuple

from lease.actions import Action, Exit, Kill, Notify, Publish, Reply, Send
from lease.judge import Seen, Sight
from lease.record import EPOCH, INSYNC, LOOK, READ, Answer, Record, Request, insync_text, record_of
from lease.rules import Lease
from lease.timing import Timing

MEMBERS = ("a", "b", "witness")
WRITER = "database.service"
# What a daemon needs to be scheduled; the rule's margin is for this (seconds).
SCHEDULING = 0.015
INCARNATIONS = {"a": "one", "b": "two"}

Keys = Dict[str, Tuple[str, int]]


class Etcd:
    """One history of the keys; members that lag behind it; a majority that is needed for everything but a look."""

    def __init__(self, world: "World", insync: Mapping[str, str]) -> None:
        self.world = world
        self.revision = 1
        self.keys: Keys = {INSYNC: (insync_text(insync), 1), EPOCH: ("1", 1)}
        self.local: Dict[str, Keys] = {name: dict(self.keys) for name in MEMBERS}
        self.frozen: Set[str] = set()
        self.down: Set[str] = set()
        # no leader until then
        self.electing = 0.0

    def quorum(self, member: str) -> bool:
        reached = [
            other
            for other in MEMBERS
            if other == member
            or (
                other not in self.frozen | self.down
                and self.world.linked(member, other)
                and self.world.linked(other, member)
            )
        ]
        return len(reached) >= 2 and self.world.now >= self.electing

    def serve(self, member: str, request: Request) -> Optional[Answer]:
        if request.serializable:
            return Answer(True, record_of(self.local[member]))
        if not self.quorum(member):
            return None
        fine = True
        for compare in request.compares:
            value, mod = self.keys.get(compare.key, ("", 0))
            fine &= (mod if compare.target == "mod" else value) == compare.expected
        if fine and request.puts:
            self.revision += 1
            for key, text in request.puts:
                self.keys[key] = (text, self.revision)
        self.local[member] = dict(self.keys)
        self._spread(dict(self.keys))
        return Answer(fine, record_of(self.keys))

    def _spread(self, keys: Keys) -> None:
        for name in MEMBERS:
            if name in self.frozen | self.down or not self.quorum(name):
                continue

            def apply(name: str = name) -> None:
                if max(mod for _, mod in self.local[name].values()) < max(mod for _, mod in keys.values()):
                    self.local[name] = keys

            self.world.after(self.world.random.uniform(0, 0.05), apply)


@dataclass
class Node:
    name: str
    rate: float
    # of its clock at virtual time 0; a boot begins it anew
    offset: float
    process: Optional[Lease] = None
    sight: Sight = field(default_factory=Sight)
    observed_peer_at: float = 0.0
    # counts processes, so that what was meant for a dead one is dropped
    generation: int = 0
    powered: bool = True
    paused_until: float = 0.0
    watchdog_at: float = 0.0
    ready: bool = False
    writing: bool = False
    writing_since: float = 0.0
    stopping_writer: bool = False
    starts: int = 0
    # counts what the process waits for: only the last one wakes it
    wakes: int = 0


class World:
    def __init__(
        self,
        seed: int,
        timing: Timing,
        chain_stop: float,
        insync: Optional[Mapping[str, str]] = None,
        lease: Callable[..., Lease] = Lease,
        feed_always: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.timing = timing
        self.chain_stop = chain_stop
        self.lease = lease
        self.feed_always = feed_always
        self.now = 0.0
        self.queue: List[Tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.cut: Set[Tuple[str, str]] = set()
        self.loss = 0.0
        self.slow = 0.004
        self.etcd = Etcd(self, INCARNATIONS if insync is None else insync)
        self.overlap = 0.0
        self.overlap_at: Optional[float] = None
        self.served = 0.0
        self.log: List[str] = []
        # One clock as fast as allowed, the other as slow: which is which, the seed decides.
        rates = [1.0, 1.0 - timing.drift]
        self.random.shuffle(rates)
        self.nodes = {
            name: Node(name, rate, self.random.uniform(10, 1000)) for name, rate in zip("ab", rates, strict=False)
        }
        for node in self.nodes.values():
            self._boot(node)

    # ---- time

    def after(self, delay: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.queue, (self.now + max(0.0, delay), self.count, what))

    def local(self, node: Node) -> float:
        return node.offset + self.now * node.rate

    def run(self, until: float) -> None:
        while self.queue and self.queue[0][0] <= until:
            at, _, what = heapq.heappop(self.queue)
            self.now = at
            what()
        self.now = until

    def say(self, text: str) -> None:
        self.log.append(f"{self.now:9.4f} {text}")

    # ---- network

    def linked(self, source: str, target: str) -> bool:
        return source == target or (source, target) not in self.cut

    def _travels(self, source: str, target: str) -> Optional[float]:
        """How long a message takes; None: lost."""
        if not self.linked(source, target) or self.random.random() < self.loss:
            return None
        return self.random.expovariate(1 / self.slow) if source != target else self.random.uniform(0, 0.001)

    def ask(
        self, source: str, member: str, request: Request, done: Callable[[Optional[Answer]], None], timeout: float
    ) -> None:
        """`done` is called once: with an answer, or with None when `timeout` is over."""
        open_until = self.now + timeout
        finished: List[bool] = []

        def finish(answer: Optional[Answer]) -> None:
            if not finished:
                finished.append(True)
                done(answer)

        def arrive() -> None:
            if member in self.etcd.down:
                finish(None)
            elif member in self.etcd.frozen:
                # It is read when the member goes on, however long that takes: a request is never taken back.
                self.after(0.05, arrive)
            elif not request.serializable and not self.etcd.quorum(member):
                if self.now < open_until + 5.0:
                    self.after(0.05, arrive)
            else:
                # From proposal to commit.
                self.after(self.random.expovariate(1 / self.slow) if request.puts else 0.0, commit)

        def commit() -> None:
            if member in self.etcd.down or member in self.etcd.frozen:
                self.after(0.05, arrive)
                return
            answer = self.etcd.serve(member, request)
            if answer is None:
                self.after(0.05, arrive)
                return
            back = self._travels(member, source)
            if back is not None and self.now + back <= open_until:
                self.after(back, lambda: finish(answer))

        way = self._travels(source, member)
        if way is not None:
            self.after(way, arrive)
        self.after(timeout, lambda: finish(None))

    # ---- a node

    def _boot(self, node: Node) -> None:
        node.powered = True
        node.offset = self.random.uniform(5, 50) - self.now * node.rate
        node.sight = Sight()
        node.observed_peer_at = float("-inf")
        boot = node.starts
        self._observe(node, node.name, READ, boot)
        self._observe(node, "witness", LOOK, boot)
        self._observe(node, "b" if node.name == "a" else "a", LOOK, boot)
        self._start(node)

    def _observe(self, node: Node, member: str, request: Request, boot: int) -> None:
        peer = "b" if node.name == "a" else "a"

        def done(answer: Optional[Answer]) -> None:
            if not node.powered or node.starts != boot:
                return
            if member == peer:
                node.observed_peer_at = self.local(node)
            if answer is not None:
                node.sight.saw(answer.record, self.local(node))
            pause = 1.0 if member == peer else self.timing.renewal / 2
            self.after(pause, lambda: self._observe(node, member, request, boot))

        if node.powered and node.starts == boot:
            self.ask(node.name, member, request, done, self.timing.rpc_timeout)

    def _start(self, node: Node) -> None:
        if not node.powered or node.process is not None:
            return
        if node.writing or node.stopping_writer:
            # systemd starts nothing before the stop has ended.
            self.after(0.05, lambda: self._start(node))
            return
        node.generation += 1
        node.process = self.lease(
            node=node.name,
            me=f"{node.name}/{node.generation}",
            timing=self.timing,
            members=(node.name, "witness", "b" if node.name == "a" else "a"),
            writers=(WRITER,),
            incarnation=INCARNATIONS[node.name],
            epoch=1,
        )
        node.ready = False
        node.paused_until = 0.0
        self.say(f"{node.name} starts")
        self._step(node, node.generation, lambda lease, now: lease.tick(now))

    def _step(self, node: Node, generation: int, event: Callable[[Lease, float], List[Action]]) -> None:
        """Runs an event of the process, as soon as it is scheduled."""

        def run() -> None:
            lease = node.process
            if lease is None or node.generation != generation:
                return
            if self.now < node.paused_until:
                self.after(node.paused_until - self.now, run)
                return
            actions = event(lease, self.local(node))
            self._carry_out(node, generation, actions)
            if node.process is lease:
                gone = not node.writing
                must = lease.must_be_gone(self.local(node))
                self._carry_out(node, generation, lease.tick(self.local(node), bool(must) and gone))
            if node.process is lease:
                wait = (lease.wake(self.local(node)) - self.local(node)) / node.rate
                node.wakes += 1
                wakes = node.wakes

                def wake() -> None:
                    if node.wakes == wakes:
                        self._step(node, generation, lambda each, now: each.tick(now))

                self.after(max(wait, 0.0005), wake)

        self.after(self.random.uniform(0, SCHEDULING) if self.random.random() < 0.1 else 0.0001, run)

    def _carry_out(self, node: Node, generation: int, actions: List[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send(node, generation, action)
            elif isinstance(action, Kill):
                self._stop_writer(node)
            elif isinstance(action, Notify):
                if "WATCHDOG=1" in action.text:
                    node.watchdog_at = self.local(node)
                if "READY=1" in action.text:
                    node.ready = True
                    self.say(f"{node.name} holds the lease")
                    self._watch(node, generation)
                    self.after(self.random.uniform(0, 0.02), lambda: self._promote(node, generation))
            elif isinstance(action, Exit):
                self.say(f"{node.name} ends with {action.code}")
                self._ended(node)
            elif isinstance(action, (Publish, Reply)):
                pass

    def _send(self, node: Node, generation: int, send: Send) -> None:
        def done(answer: Optional[Answer]) -> None:
            def event(lease: Lease, now: float) -> List[Action]:
                seen = node.sight.record or Record()
                lease.credit(
                    Seen(
                        seen.epoch,
                        seen.holder_mod,
                        seen.seq_mod,
                        node.sight.since,
                        node.observed_peer_at,
                        seen.epoch,
                    )
                )
                return lease.failed(send.ticket, now) if answer is None else lease.answered(send.ticket, now, answer)

            self._step(node, generation, event)

        self.ask(node.name, send.member, send.request, done, self.timing.rpc_timeout)

    def _watch(self, node: Node, generation: int) -> None:
        """systemd's watchdog: not paused with the process."""
        if node.generation != generation or node.process is None:
            return
        if self.feed_always and self.now >= node.paused_until:
            node.watchdog_at = self.local(node)
        left = node.watchdog_at + self.timing.watchdog - self.local(node)
        if left <= 0:
            self.say(f"{node.name}: watchdog")
            self._ended(node)
        else:
            self.after(left / node.rate + 0.0001, lambda: self._watch(node, generation))

    def _promote(self, node: Node, generation: int) -> None:
        if node.process is None or node.generation != generation or not node.ready or node.stopping_writer:
            return
        self.say(f"{node.name} WRITES")
        self._account()
        node.writing = True
        node.writing_since = self.now

    def _stop_writer(self, node: Node) -> None:
        node.ready = False
        if node.stopping_writer:
            return
        if not node.writing:
            return
        node.stopping_writer = True
        # As slow as the rule allows, most of the time.
        delay = self.chain_stop * self.random.choice((1.0, 1.0, self.random.random()))
        starts = node.starts

        def stopped() -> None:
            if node.starts == starts and node.stopping_writer:
                self._silence(node)

        self.after(delay, stopped)

    def _silence(self, node: Node) -> None:
        self._account()
        node.writing = False
        node.stopping_writer = False
        self.say(f"{node.name} writes no longer")

    def _ended(self, node: Node) -> None:
        """The holder's process is gone, however: systemd stops the chain, then somebody starts it again."""
        node.process = None
        node.generation += 1
        self._stop_writer(node)
        self.after(self.random.uniform(0.05, 0.3), lambda: self._start(node))

    def _account(self) -> None:
        """Adds up overlap and service up to now."""
        writing = [node for node in self.nodes.values() if node.writing]
        if writing:
            since = max(node.writing_since for node in writing)
            if len(writing) == 2:
                self.overlap += self.now - since
                if self.overlap_at is None and self.now > since:
                    self.overlap_at = since
            self.served += self.now - since
            for node in writing:
                node.writing_since = self.now

    def overlapping(self) -> float:
        self._account()
        return self.overlap

    # ---- faults; each ends by itself

    def kill(self, node: Node) -> None:
        if node.process is not None:
            self.say(f"{node.name}: kill -9")
            self._ended(node)

    def pause(self, node: Node, seconds: float) -> None:
        self.say(f"{node.name}: paused for {seconds:.3f}")
        node.paused_until = max(node.paused_until, self.now + seconds)

    def power_cut(self, node: Node, seconds: float) -> None:
        if not node.powered:
            return
        self.say(f"{node.name}: power cut")
        node.powered = False
        node.starts += 1
        node.process = None
        node.generation += 1
        node.ready = False
        self._silence(node)
        self.etcd.down.add(node.name)

        def back() -> None:
            self.say(f"{node.name}: power is back")
            self.etcd.down.discard(node.name)
            self._boot(node)

        self.after(seconds, back)

    def freeze(self, member: str, seconds: float) -> None:
        self.say(f"member {member}: frozen for {seconds:.3f}")
        self.etcd.frozen.add(member)
        self.elect()
        self.after(seconds, lambda: self.etcd.frozen.discard(member))

    def elect(self) -> None:
        if self.random.random() < 0.5:
            self.etcd.electing = max(self.etcd.electing, self.now + self.random.uniform(0.3, 0.65))

    def sever(self, pairs: List[Tuple[str, str]], seconds: float) -> None:
        self.say(f"cut {pairs} for {seconds:.3f}")
        self.cut |= set(pairs)
        self.elect()

        def heal() -> None:
            self.cut -= set(pairs)
            self.elect()

        self.after(seconds, heal)

    def order(self, node: Node, verb: str) -> None:
        argument = INCARNATIONS["b" if node.name == "a" else "a"] if verb == "together" else ""
        self.say(f"{node.name}: {verb}")
        self._step(node, node.generation, lambda lease, now: lease.order(self.count, verb, argument, now, 5.0))

    def stop(self, node: Node) -> None:
        self.say(f"{node.name}: asked to stop")
        self._step(node, node.generation, lambda lease, now: lease.stop(now))

    def random_fault(self) -> None:
        pick = self.random
        node = self.nodes[pick.choice("ab")]
        length = pick.choice((pick.uniform(0.05, 0.5), pick.uniform(0.5, 1.5), pick.uniform(1.5, 4.0)))
        member = pick.choice(MEMBERS)
        ends = pick.sample(MEMBERS, 2)
        kind = pick.randrange(12)
        if kind == 0:
            self.kill(node)
        elif kind in (1, 2):
            self.pause(node, length)
        elif kind == 3:
            self.power_cut(node, length + 0.5)
        elif kind == 4:
            self.freeze(member, length)
        elif kind == 5:
            self.sever([(ends[0], ends[1])], length)
        elif kind == 6:
            self.sever([(ends[0], ends[1]), (ends[1], ends[0])], length)
        elif kind == 7:
            other = [name for name in MEMBERS if name != member]
            self.sever([(member, name) for name in other] + [(name, member) for name in other], length)
        elif kind == 8:
            before, self.loss = self.loss, pick.uniform(0.05, 0.6)
            self.after(length, lambda: setattr(self, "loss", before))
        elif kind == 9:
            before, self.slow = self.slow, pick.uniform(0.01, 0.3)
            self.after(length, lambda: setattr(self, "slow", 0.004))
        elif kind == 10:
            self.order(node, pick.choice(("alone", "together")))
        else:
            self.stop(node)


def schedule(world: World, seconds: float, between: float = 0.6) -> World:
    """A run with faults at random moments, often more than one at a time."""

    def fault() -> None:
        world.random_fault()
        world.after(world.random.expovariate(1 / between), fault)

    world.after(2.5, fault)
    world.run(seconds)
    return world
