"""The rules: from what a node knows, per VIP, to whether its gate is closed, and why.

Pure: no clock, no files, no sockets. Times are seconds of one clock (CLOCK_BOOTTIME on a server, virtual in the tests).
A rule closes a gate only on fresh positive evidence; with no evidence the pair behaves as plain VRRP does. Every veto
carries the moment at which it expires if nobody renews it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Tuple

NEVER = float("-inf")

# A beacon proves that VRRP is blind when it was received later than the next advert was due, by this margin (seconds):
# both are stamped by the kernel of the receiver, so it covers the jitter of the sender alone (docs/arbitration.md).
OVERDUE_MARGIN = 0.020
# After a takeover the former owner's last word may still say "held"; it counts as a conflict only after this (seconds).
CONFLICT_SETTLE = 0.060
# Two beacons that state the conflict, this far apart at least: one late packet is no conflict.
CONFLICT_PERSIST = 0.040
# Renewed while the hold at boot lasts (seconds): longer than evidence, since boot is when a node is busiest.
HOLD_LEASE = 1.0
# How long a planned hand-over may take before it is called off (seconds).
YIELD_DEADLINE = 2.0
# After a hand-over that was called off, or that came back, automatic ones wait (seconds), doubling up to the maximum.
BACKOFF_FIRST = 30.0
BACKOFF_MAX = 600.0
# keepalived that says MASTER and has no address for longer than this (seconds) lost it to somebody else.
ADDRESS_GONE = 0.020
# A state of keepalived that stays unknown for this long (seconds) is asked for, by closing the gate for a moment.
STATE_UNKNOWN = 0.300
# A node that an operator switched away from is not handed its preferred VIP back for this long (seconds).
STAY = 3600.0
# A gateway that did not answer for this long counts as lost (seconds); probes go out every 0.5 s.
GATEWAY_LOST = 2.0


class Gate(enum.IntEnum):
    """State of a gate as the beacon carries it. READY: closed, no reason left, lets the peer go first."""

    OPEN = 0
    CLOSED = 1
    READY = 2


@dataclass(frozen=True)
class VipSettings:
    name: str
    # "a", "b" or None: no preference
    preferred: Optional[str]


@dataclass(frozen=True)
class Settings:
    """Seconds throughout; `node` and `peer` are "a" and "b"."""

    node: str
    peer: str
    vips: Tuple[VipSettings, ...]
    # keepalived keeps the VIP of the node with the higher heartbeat address when two owners of equal priority meet
    # (RFC 9568 §6.4.3); the arbiter decides alike.
    wins_conflict: bool
    digest: str
    advert: float = 0.1
    priority: int = 253
    beacon: float = 0.020
    silence: float = 0.150
    evidence: float = 0.200
    hold: float = 45.0
    service_dead: float = 2.0
    failback: float = 10.0

    @property
    def master_down(self) -> float:
        """Silence after which a backup takes over (RFC 9568 §6.1)."""
        return 3 * self.advert + (256 - self.priority) * self.advert / 256


@dataclass(frozen=True)
class PeerVip:
    """What the peer says of one VIP."""

    held: bool = False
    state: str = "unknown"
    gate: Gate = Gate.OPEN
    # seconds since it saw our advert; None: never
    advert_age: Optional[float] = None
    # an operator switched it away from there: it is not to come home by itself
    declines: bool = False


@dataclass(frozen=True)
class Word:
    """What the peer says of itself: the payload of a beacon."""

    vips: Mapping[str, PeerVip] = field(default_factory=dict)
    digest: str = ""
    maintenance: bool = False
    # keepalived: "running", "stopped" or "hung"
    keepalived: str = "running"
    # HAProxy: "ok", "dead", or "none" when the pair has none or nothing is known yet
    service: str = "none"
    # gateway of the public network: "ok", "lost" or "none"
    gateway: str = "none"
    public_up: bool = True
    # an apply is changing this node
    applying: bool = False


@dataclass
class Own:
    """What this node observes of itself, handed to `decide`."""

    maintenance: bool = False
    keepalived: str = "running"
    service: str = "none"
    gateway: str = "none"
    public_up: bool = True
    applying: bool = False


@dataclass(frozen=True)
class Verdict:
    closed: bool
    reason: str = ""
    # the veto expires at this moment, whoever is alive to renew it
    until: float = NEVER
    ready: bool = False

    @property
    def gate(self) -> Gate:
        if not self.closed:
            return Gate.OPEN
        return Gate.READY if self.ready else Gate.CLOSED


OPEN = Verdict(False)


@dataclass
class Yield:
    """A hand-over under way: the gate is closed until the peer has the VIP, or until the deadline."""

    reason: str
    started: float
    deadline: float
    automatic: bool
    stay: bool = False


@dataclass
class VipMemory:
    """What is remembered of one VIP. Observations, not decisions: the decision is made anew each time."""

    held: bool = False
    held_since: float = NEVER
    lost_at: float = NEVER
    state: str = "unknown"
    state_since: float = NEVER
    # last advert of the peer with a priority above 0, by the kernel's receive stamp
    advert_at: float = NEVER
    # last beacon of the peer that said "held"
    peer_held_at: float = NEVER
    peer_free_at: float = NEVER
    conflict_since: Optional[float] = None
    turn_since: Optional[float] = None
    verdict: Verdict = OPEN
    yielding: Optional[Yield] = None
    peer_fit_since: Optional[float] = None
    retry_at: float = NEVER
    backoff: float = BACKOFF_FIRST
    gone_home_at: float = NEVER
    declines_until: float = NEVER


@dataclass(frozen=True)
class Event:
    """Something that happened and that an operator may read about, besides the verdict."""

    vip: str
    kind: str
    text: str


class Rules:
    """One per node. Feed it observations, ask it to decide; it neither sleeps nor acts."""

    def __init__(self, settings: Settings, started: float, settled: bool) -> None:
        """`settled`: the links were already judged since boot (the arbiter restarts on a running node)."""
        self.settings = settings
        # Before the first decision: what opens at boot opens by turns.
        first = OPEN if settled else Verdict(True, "hold until the peer is heard", started + HOLD_LEASE)
        self.vips: Dict[str, VipMemory] = {vip.name: VipMemory(verdict=first) for vip in settings.vips}
        self.own = Own()
        self.word: Optional[Word] = None
        self.word_at = NEVER
        self.link_up_since: Dict[str, Optional[float]] = {}
        self.settled = settled
        self.started = started
        self.gateway_lost_since: Optional[float] = None
        # keepalived of this node runs since about then
        self.running_since = NEVER
        self.peer_running_since = NEVER
        self.events: List[Event] = []

    # ---- observations

    def link(self, network: str, up: bool, now: float) -> None:
        before = self.link_up_since.get(network)
        if up and before is None:
            self.link_up_since[network] = now
        elif not up:
            self.link_up_since[network] = None
            if self.link_up_since and all(since is None for since in self.link_up_since.values()):
                self.settled = False

    def advert(self, vip: str, priority: int, received: float) -> None:
        """An advert of the peer; priority 0 says that it gives the VIP up."""
        memory = self.vips[vip]
        if priority > 0:
            memory.advert_at = max(memory.advert_at, received)
        else:
            memory.peer_held_at = NEVER

    def heard(self, word: Word, received: float) -> None:
        """An authentic beacon of the peer, newer than every earlier one on its network."""
        if received < self.word_at:
            return
        self.word = word
        self.word_at = received
        if word.keepalived != "running":
            self.peer_running_since = received
        if any(since is not None for since in self.link_up_since.values()) or not self.link_up_since:
            self.settled = True
        for name, said in word.vips.items():
            memory = self.vips.get(name)
            if memory is None:
                continue
            if said.held:
                memory.peer_held_at = received
            else:
                memory.peer_free_at = received
                memory.peer_held_at = NEVER

    def holding(self, vip: str, held: bool, state: str, now: float) -> None:
        """Whether the address is on an interface of this node, and keepalived's state."""
        memory = self.vips[vip]
        if held and not memory.held:
            memory.held_since = now
            memory.declines_until = NEVER
            if now - memory.gone_home_at < 60.0:
                # it came back soon after we gave it away: whatever the reason was, do not play ping-pong
                memory.retry_at = now + memory.backoff
                memory.backoff = min(memory.backoff * 2, BACKOFF_MAX)
        if memory.held and not held:
            memory.lost_at = now
        if state != memory.state or memory.state_since == NEVER:
            memory.state_since = now
        memory.held = held
        memory.state = state

    # ---- requests

    def fresh(self, now: float) -> bool:
        return self.word is not None and now - self.word_at < self.settings.evidence

    def unfit(self, vip: str, now: float, lenient: bool = False) -> Optional[str]:
        """Why the peer cannot take this VIP now; None when it can. `lenient`: even if it does not hear our adverts."""
        word = self.word
        if word is None or not self.fresh(now):
            return "the peer is not heard"
        said = word.vips.get(vip)
        if said is None:
            return "the peer does not know this VIP"
        if word.maintenance:
            return "the peer is in maintenance"
        if word.keepalived != "running":
            return f"keepalived on the peer is {word.keepalived}"
        if not word.public_up:
            return "the public link of the peer is down"
        if word.digest != self.settings.digest:
            return "the peer has another configuration (router ids, addresses or advert interval)"
        if word.service == "dead":
            return "HAProxy on the peer does not answer"
        if word.gateway == "lost" and self.own.gateway == "ok":
            return "the peer does not reach the gateway"
        if said.held:
            return "the peer holds it already"
        if lenient:
            return None
        if said.advert_age is None or said.advert_age > self.settings.silence:
            return "the peer does not hear the VRRP adverts of this node"
        if said.gate is not Gate.OPEN:
            return "the gate of the peer is closed"
        if said.state != "backup":
            return f"keepalived on the peer is in state {said.state}"
        return None

    def hand_over(
        self, vip: str, reason: str, now: float, deadline: float = YIELD_DEADLINE, stay: bool = False
    ) -> Optional[str]:
        """Starts a planned hand-over; the reason of a refusal, or None when it is under way. `stay`: for an hour it
        does not come home by itself."""
        memory = self.vips[vip]
        if memory.yielding is not None:
            return None
        if not memory.held:
            return "this node does not hold it"
        refusal = self.unfit(vip, now)
        if refusal is None:
            memory.yielding = Yield(reason, now, now + deadline, automatic=False, stay=stay)
        return refusal

    # ---- decision

    def decide(self, now: float) -> Dict[str, Verdict]:
        """The verdict per VIP at this moment. Idempotent: call it as often as something changes."""
        self._age(now)
        return {name: self._decide(name, memory, now) for name, memory in self.vips.items()}

    def take_events(self) -> List[Event]:
        events, self.events = self.events, []
        return events

    def _age(self, now: float) -> None:
        settings = self.settings
        if not self.settled and any(
            since is not None and now - since >= settings.hold for since in self.link_up_since.values()
        ):
            self.settled = True
        if self.own.keepalived == "stopped":
            self.running_since = now
        if self.own.gateway != "lost":
            self.gateway_lost_since = None
        elif self.gateway_lost_since is None:
            self.gateway_lost_since = now

    def _decide(self, name: str, memory: VipMemory, now: float) -> Verdict:
        self._consider_yield(name, memory, now)
        verdict = self._giving(name, memory, now) or (
            self._holder(name, memory, now) if memory.held else self._bystander(memory, now)
        )
        if verdict is None:
            verdict = self._open(name, memory, now)
        if verdict.reason != "peer goes first":
            memory.turn_since = None
        memory.verdict = verdict
        return verdict

    def _consider_yield(self, name: str, memory: VipMemory, now: float) -> None:
        """Reasons to give a VIP away without being asked: always to a peer that can take it, never into the void."""
        if not memory.held or memory.yielding is not None:
            memory.peer_fit_since = None
            return
        if now < memory.retry_at or self.own.applying or (self.word is not None and self.word.applying):
            memory.peer_fit_since = None
            return
        word = self.word
        fit = word is not None and self.unfit(name, now, lenient=True) is None
        if fit and word is not None and word.service == "ok" and self.own.service == "dead":
            self._start_yield(memory, "HAProxy does not answer", now)
            return
        lost = self.gateway_lost_since is not None and now - self.gateway_lost_since >= GATEWAY_LOST
        if fit and word is not None and word.gateway == "ok" and lost:
            self._start_yield(memory, "gateway not reachable", now)
            return
        said = word.vips.get(name) if word is not None else None
        wanted = self._preferred(name) == self.settings.peer and said is not None and not said.declines
        if wanted and not self.own.maintenance and self.unfit(name, now) is None:
            if memory.peer_fit_since is None:
                memory.peer_fit_since = now
            if now - memory.peer_fit_since >= self.settings.failback:
                memory.gone_home_at = now
                self._start_yield(memory, "failback to the preferred node", now)
        else:
            memory.peer_fit_since = None

    @staticmethod
    def _start_yield(memory: VipMemory, reason: str, now: float) -> None:
        memory.yielding = Yield(reason, now, now + YIELD_DEADLINE, automatic=True)

    def _giving(self, name: str, memory: VipMemory, now: float) -> Optional[Verdict]:
        under_way = memory.yielding
        if under_way is None:
            return None
        if not memory.held and self.fresh(now) and memory.peer_held_at > under_way.started:
            memory.yielding = None
            if under_way.stay:
                memory.declines_until = now + STAY
            self.events.append(Event(name, "handed-over", under_way.reason))
            return None
        if now >= under_way.deadline:
            memory.yielding = None
            if under_way.automatic:
                memory.retry_at = now + memory.backoff
                memory.backoff = min(memory.backoff * 2, BACKOFF_MAX)
            self.events.append(Event(name, "called-off", f"{under_way.reason}: the peer did not take over in time"))
            return OPEN
        return Verdict(True, under_way.reason, under_way.deadline)

    def _holder(self, name: str, memory: VipMemory, now: float) -> Optional[Verdict]:
        """This node has the VIP. Only one thing takes it away here: the peer has it, too, and is to keep it."""
        word = self.word
        said = None if word is None else word.vips.get(name)
        # An address that the peer has without being MASTER is a leftover, which the peer's arbiter removes.
        conflict = (
            said is not None
            and said.state == "master"
            and self.fresh(now)
            and memory.peer_held_at > memory.held_since + CONFLICT_SETTLE
            and now - memory.peer_held_at < self.settings.evidence
        )
        if not conflict or word is None:
            if memory.conflict_since is not None:
                memory.conflict_since = None
                self.events.append(Event(name, "conflict-ended", "this node kept the VIP"))
            return OPEN
        if memory.conflict_since is None:
            memory.conflict_since = memory.peer_held_at
            self.events.append(Event(name, "conflict", "both nodes hold the VIP"))
        if self.settings.wins_conflict or word.keepalived == "hung":
            return OPEN
        if memory.peer_held_at - memory.conflict_since < CONFLICT_PERSIST:
            return OPEN
        return Verdict(True, "conflict: the peer keeps it", memory.peer_held_at + self.settings.evidence)

    def _bystander(self, memory: VipMemory, now: float) -> Optional[Verdict]:
        """This node has not the VIP: reasons to stay away from it."""
        settings = self.settings
        memory.conflict_since = None
        if self.own.maintenance:
            return Verdict(True, "maintenance", now + HOLD_LEASE)
        if not self.settled:
            return Verdict(True, "hold until the peer is heard", now + HOLD_LEASE)
        held_at = memory.peer_held_at
        if now - held_at < settings.evidence:
            if (
                now - memory.advert_at > settings.silence
                and held_at > memory.advert_at + settings.advert + OVERDUE_MARGIN
            ):
                return Verdict(True, "VRRP is blind, the peer is active", held_at + settings.evidence)
            if self.word is not None and self.word.digest != settings.digest:
                return Verdict(True, "the peer is active with another configuration", held_at + settings.evidence)
        if not self.own.public_up:
            return Verdict(True, "public link down", now + HOLD_LEASE)
        if memory.state == "master" and now - max(memory.lost_at, memory.state_since) > ADDRESS_GONE:
            return Verdict(True, "its address was removed", now + settings.evidence)
        if (
            memory.state == "unknown"
            and self.own.keepalived == "running"
            and STATE_UNKNOWN < now - memory.state_since < 2 * HOLD_LEASE
        ):
            return Verdict(True, "keepalived is asked for its state", now + settings.evidence)
        return None

    def _open(self, name: str, memory: VipMemory, now: float) -> Verdict:
        """No reason to be closed. Gates open one node at a time, or both nodes would count VRRP's timer alike."""
        settings = self.settings
        if not memory.verdict.closed:
            return OPEN
        word = self.word
        if word is None or not self.fresh(now):
            return OPEN
        said = word.vips.get(name)
        if said is None or said.held or word.digest != settings.digest:
            return OPEN
        favoured = (self._preferred(name) or "a") == settings.node
        if now - self.running_since < 4 * settings.beacon:
            # keepalived of this node does not run yet, or has just started with a closed gate: in this instant the
            # peer may decide to open because it did not. Its next beacons tell.
            return self._turn(now)
        if word.keepalived != "running" or word.maintenance or word.service == "dead":
            return OPEN
        if memory.turn_since is None:
            memory.turn_since = now
        waited = now - memory.turn_since
        if waited >= 2 * settings.master_down + 10 * settings.beacon:
            return OPEN
        running = said.gate is Gate.OPEN and said.state == "backup" and word.public_up
        if favoured and not running and said.gate is not Gate.OPEN:
            return OPEN
        # Its link may have come up, its gate opened or its keepalived started this instant: the next beacons say so.
        known = min(waited, now - self.peer_running_since) >= 4 * settings.beacon
        if not running and said.gate is not Gate.READY and known:
            return OPEN
        return self._turn(now)

    def _turn(self, now: float) -> Verdict:
        return Verdict(True, "peer goes first", now + self.settings.evidence, ready=True)

    def _preferred(self, name: str) -> Optional[str]:
        return next((vip.preferred for vip in self.settings.vips if vip.name == name), None)

    def next_check(self, now: float) -> float:
        """The moment until which, without a new observation, no verdict changes by time alone (at most 50 ms ahead)."""
        soonest = now + 0.050
        for memory in self.vips.values():
            for moment in (memory.advert_at + self.settings.silence, memory.advert_at + self.settings.advert):
                if now < moment < soonest:
                    soonest = moment
            if memory.yielding is not None and now < memory.yielding.deadline < soonest:
                soonest = memory.yielding.deadline
        return soonest


class Progress:
    """Tells a hung process from a starved one, by what the kernel counts of it. Fed every 50 to 100 ms.

    A process makes progress when it gives up the processor by itself (voluntary context switches): keepalived does so
    at each advert, and whenever its gate file is written. How long it may make none depends on what it is doing.
    """

    # seconds without progress after which a process counts as hung, by its state in /proc (proc_pid_stat(5))
    STOPPED = 0.5
    # asleep though it was woken, or waiting for a disk
    ASLEEP = 1.5
    # wants the processor and does not get it: overload, judged far more patiently
    STARVED = 5.0

    def __init__(self) -> None:
        self.pid = 0
        self.switches = -1
        self.cpu_then = 0.0
        self.since = NEVER
        self.seen = NEVER

    def feed(self, now: float, pid: int, switches: int, state: str, cpu: float) -> str:
        """`running` or `hung`. `cpu`: seconds of processor time that the process has used so far."""
        looked_away = now - self.seen > self.STOPPED / 2
        self.seen = now
        if pid != self.pid or switches != self.switches or looked_away:
            self.pid, self.switches, self.since, self.cpu_then = pid, switches, now, cpu
            return "running"
        still = now - self.since
        if state in "TtZX":
            patience = self.STOPPED
        elif state == "R" and cpu - self.cpu_then < 0.5 * still:
            patience = self.STARVED
        else:
            patience = self.ASLEEP
        return "hung" if still > patience else "running"

    def needs_waking(self, now: float) -> bool:
        """True when it has been quiet so long that it should be given a reason to run."""
        return now - self.since > self.STOPPED / 3
