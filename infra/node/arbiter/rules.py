"""The rules: from what a node knows, per VIP, to whether its gate is closed, and why.

Pure: no clock, no files, no sockets. Times are seconds of one clock (CLOCK_BOOTTIME on a server, virtual in the tests).
A rule closes a gate only on fresh positive evidence; with no evidence the pair behaves as plain VRRP does. Every veto
carries the moment at which it expires if nobody renews it.

Two gates, one rule set. Without an authority (no witness) the gate is fast: it closes only while VRRP is blind and the
peer is active. With one it is strict: closed for as long as the peer is known to be active, by its beacons or by the
renewals of its lease, or this node is known to be the one that must not be (docs/arbitration.md).
"""

from __future__ import annotations

from typing import Dict, List, Optional

from .memory import BACKOFF_FIRST, BACKOFF_MAX, OPEN, Event, Own, Verdict, VipMemory, Yield
from .quorum import NEVER, Quorum
from .settings import Settings
from .word import Gate, Standing, Word

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
# A VIP that went home and is here again within this time (seconds) came back; one that stayed longer was well at home.
CAME_BACK = 60.0
# keepalived that says MASTER and has no address for longer than this (seconds) lost it to somebody else.
ADDRESS_GONE = 0.020
# A state of keepalived that stays unknown for this long (seconds) is asked for, by closing the gate for a moment.
STATE_UNKNOWN = 0.300
# A node that an operator switched away from is not handed its preferred VIP back for this long (seconds).
STAY = 3600.0
# Peer and witness fell silent together when their last words are no further apart than this (seconds).
TOGETHER = 1.0
# A node that did not run for this long (frozen, paused), or for half an advert interval where that is longer, looks
# around before it goes on as an owner (seconds).
STOOD_STILL = 0.500
# How long a demoted node waits for the peer's gate to open before it yields anyway (seconds).
PEER_OPENS = 0.300
# An owner with the lease that lost its VIP to a peer that just woke up has it back within this time (seconds): measured
# 2 ms, and the peer's adverts tell it apart after one interval.
BACK_AGAIN = 0.250
# What a peer says of a hand-over counts this long (seconds): between its adverts' end and the VIP's arrival here.
INVITED = 1.0
# A gateway that did not answer for this long counts as lost (seconds); probes go out every 0.5 s.
GATEWAY_LOST = 2.0


class Rules:
    """One per node. Feed it observations, ask it to decide; it neither sleeps nor acts."""

    def __init__(self, settings: Settings, started: float, settled: bool) -> None:
        """`settled`: the links were already judged since boot (the arbiter restarts on a running node)."""
        self.settings = settings
        # Before the first decision: what opens at boot opens by turns.
        first = OPEN if settled else Verdict(True, "hold until the peer is heard", started + HOLD_LEASE)
        self.vips: Dict[str, VipMemory] = {vip.name: VipMemory(verdict=first) for vip in settings.vips}
        self.own = Own()
        authority = settings.authority
        self.quorum = (
            None
            if authority is None
            else Quorum(authority, settings.node, settings.peer, settings.evidence, settings.master_down)
        )
        self.decided_at = NEVER
        # when it last let a VIP go to a peer that it may not hear
        self.let_go_at = NEVER
        # until then a node that stood still looks around
        self.looking_until = NEVER
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
            if said.yields:
                memory.invited_until = received + INVITED
            elif said.held:
                memory.invited_until = NEVER
            if said.held:
                memory.peer_held_at = received
            else:
                memory.peer_free_at = received
                memory.peer_held_at = NEVER

    def holding(self, vip: str, held: bool, state: str, now: float) -> None:
        """Whether the address is on an interface of this node, and keepalived's state."""
        memory = self.vips[vip]
        closed_since = memory.closed_since
        if state == "unknown" and not held and closed_since is not None and now - closed_since >= STATE_UNKNOWN:
            # An arbiter that starts behind a closed gate hears of no change: there is none.
            state = "fault"
        if held and not memory.held:
            memory.held_since = now
            memory.declines_until = NEVER
            if now - memory.gone_home_at < CAME_BACK:
                # whatever the reason was, do not play ping-pong
                memory.retry_at = now + memory.backoff
                memory.backoff = min(memory.backoff * 2, BACKOFF_MAX)
            elif memory.gone_home_at != NEVER:
                memory.backoff = BACKOFF_FIRST
            memory.gone_home_at = NEVER
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
        refusal = self._unfit_to_hold(word)
        if refusal is not None:
            return refusal
        if said.held:
            return "the peer holds it already"
        if self.quorum is not None:
            refusal = self._unfit_for_state(self.quorum, word, now)
            if refusal is not None:
                return refusal
        if lenient:
            return None
        if said.advert_age is None or said.advert_age > self.settings.silence:
            return "the peer does not hear the VRRP adverts of this node"
        if said.gate is not Gate.OPEN and not said.standby:
            return "the gate of the peer is closed"
        if said.state != "backup" and not (said.standby and said.state == "fault"):
            return f"keepalived on the peer is in state {said.state}"
        return None

    def _unfit_to_hold(self, word: Word) -> Optional[str]:
        """Why the peer could not hold any VIP, by what it says of itself."""
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
        return None

    def _unfit_for_state(self, quorum: Quorum, word: Word, now: float) -> Optional[str]:
        """Why the peer could not serve what holds state."""
        standing = word.standing
        if standing is None:
            return "the peer does not know of the quorum: is hotpair of the same release there?"
        if standing.lease:
            return None
        if not standing.quorum:
            return "the peer does not reach the quorum"
        # While this node reaches the quorum it knows as well as the peer does; otherwise what it knows may be old.
        listed = quorum.listed(self.settings.peer) if quorum.quorate(now) else standing.insync
        if listed is None:
            return "it is not known whether the peer is in sync"
        if not listed or standing.insync is False:
            return "the peer is not in sync: it lacks acknowledged writes"
        return None

    def may_not_serve(self, now: float) -> Optional[str]:
        """Why what holds state could not be promoted on this node right now; None when it could, or is."""
        quorum = self.quorum
        if quorum is None or quorum.mine(now):
            return None
        report = quorum.report
        if report is None or not quorum.observed(now):
            return "the observer of the quorum is silent"
        if report.insync is not None and self.settings.node not in report.insync:
            return (
                "this node is not in sync: it may lack acknowledged writes" if report.insync else "no node is in sync"
            )
        if not quorum.quorate(now):
            return f"no quorum: neither the peer nor the witness {quorum.authority.witness} answers for etcd"
        if report.holder == self.settings.peer:
            return "the peer holds the lease"
        if self.own.maintenance:
            return "this node is in maintenance"
        return None

    def serving(self, now: float) -> bool:
        """Whether what hangs on the active node is to run here: it has a VIP, and is not handing it over. With an
        authority also when it is about to have one: what runs then waits for the lease, and is there when it comes."""
        if self.quorum is None:
            return any(memory.held for memory in self.vips.values())
        return any(
            memory.yielding is None
            if memory.held
            else now < memory.invited_until or self._is_back(memory, now) or self._is_next(memory, now)
            for memory in self.vips.values()
        )

    def _is_next(self, memory: VipMemory, now: float) -> bool:
        """The owner fell silent, by beacons and renewals, and this node, which is in sync, counts VRRP's timer."""
        quorum = self.quorum
        return (
            quorum is not None
            and not self.fresh(now)
            and not memory.verdict.closed
            and memory.state == "backup"
            and now - memory.peer_held_at < quorum.peer_evidence + quorum.authority.takeover
            and quorum.quorate(now)
            and quorum.listed(self.settings.node) is True
        )

    def _is_back(self, memory: VipMemory, now: float) -> bool:
        """The VIP went a moment ago for no reason of this node's own, which holds the lease: an owner that wakes up
        says so by VRRP before it knows better, and keepalived here gives way. Nothing that writes is ended for that."""
        return (
            self.quorum is not None
            and self.quorum.mine(now)
            and now - memory.lost_at < BACK_AGAIN
            and memory.yielding is None
            and (memory.verdict.standby or not memory.verdict.closed)
            and self.own.keepalived == "running"
            and self.own.public_up
        )

    def hand_over(
        self, vip: str, reason: str, now: float, deadline: Optional[float] = None, stay: bool = False
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
            self._start_yield(memory, reason, now, automatic=False, deadline=deadline, stay=stay)
        return refusal

    def home_in(self, vip: str, now: float) -> Optional[float]:
        """How long (seconds) a VIP stays here at least before it goes home to the peer by itself, because its last way
        there failed or was soon undone; None: nothing of the kind keeps it."""
        memory = self.vips[vip]
        waits = memory.held and self._preferred(vip) == self.settings.peer and now < memory.retry_at
        return memory.retry_at - now if waits else None

    # ---- decision

    def decide(self, now: float) -> Dict[str, Verdict]:
        """The verdict per VIP at this moment. Idempotent: call it as often as something changes."""
        self._age(now)
        return {name: self._decide(name, memory, now) for name, memory in self.vips.items()}

    def standing(self, now: float) -> Optional[Standing]:
        """What this node says of itself and the authority; None: it has none."""
        quorum = self.quorum
        if quorum is None:
            return None
        return Standing(
            lease=quorum.mine(now),
            quorum=quorum.quorate(now),
            witness=quorum.sees_witness(now),
            insync=quorum.listed(self.settings.node),
        )

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
        if self.decided_at != NEVER and now - self.decided_at >= max(STOOD_STILL, settings.advert / 2):
            self.looking_until = now + settings.evidence
        self.decided_at = now
        if self.own.gateway != "lost":
            self.gateway_lost_since = None
        elif self.gateway_lost_since is None:
            self.gateway_lost_since = now

    def _decide(self, name: str, memory: VipMemory, now: float) -> Verdict:
        self._consider_yield(name, memory, now)
        verdict = self._giving(name, memory, now) or (
            self._holder(name, memory, now) if memory.held else self._bystander(name, memory, now)
        )
        if verdict is None:
            verdict = self._open(name, memory, now)
        if verdict.reason != "peer goes first":
            memory.turn_since = None
        if not verdict.closed:
            memory.closed_since = None
        elif memory.closed_since is None:
            memory.closed_since = now
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
        useless = self._cannot_serve(now)
        if fit and useless is not None:
            self._start_yield(memory, useless, now)
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

    def _cannot_serve(self, now: float) -> Optional[str]:
        """Why what holds state cannot run here, though it can on a peer that is fit; None: it can, or nobody knows."""
        quorum = self.quorum
        if quorum is None or quorum.mine(now):
            return None
        if quorum.lost(now) and not quorum.alone:
            return "this node lost the quorum, the peer has it"
        if quorum.observed(now) and quorum.listed(self.settings.node) is False:
            return "this node is not in sync, the peer is"
        return None

    def _start_yield(
        self,
        memory: VipMemory,
        reason: str,
        now: float,
        automatic: bool = True,
        deadline: Optional[float] = None,
        stay: bool = False,
    ) -> None:
        stateful = self.quorum is not None
        usual = self.settings.hand_over if stateful else YIELD_DEADLINE
        memory.yielding = Yield(
            reason, now, now + (usual if deadline is None else deadline), automatic, stay, demoting=stateful
        )

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
            why = (
                "what writes here did not stop in time" if under_way.demoting else "the peer did not take over in time"
            )
            self.events.append(Event(name, "called-off", f"{under_way.reason}: {why}"))
            if self.quorum is None:
                return OPEN
            # There may be reasons to stay away that came up meanwhile.
            if not memory.held:
                self.let_go_at = now
            return None
        if under_way.demoting:
            if memory.held and not self._demoted(name, under_way, now):
                # The VIP stays, and with it the adverts: the peer's gate is open by now, and it takes over in the skew.
                return self._holder(name, memory, now)
            under_way.demoting = False
            under_way.deadline = min(under_way.deadline, now + YIELD_DEADLINE)
        return Verdict(True, under_way.reason, under_way.deadline)

    def _demoted(self, name: str, under_way: Yield, now: float) -> bool:
        if self.quorum is not None and self.quorum.mine(now):
            return False
        said = None if self.word is None else self.word.vips.get(name)
        stands_by = said is not None and said.gate is Gate.OPEN and said.state == "backup"
        return stands_by or now - under_way.started >= PEER_OPENS

    def _holder(self, name: str, memory: VipMemory, now: float) -> Optional[Verdict]:
        """This node has the VIP. It loses it here when the peer has it, too, and is to keep it; with an authority also
        when this node is the one that is cut off, or that slept while the peer took over."""
        quorum = self.quorum
        if quorum is not None:
            verdict = self._cut_off(quorum, now) or self._overtaken(quorum, memory, now)
            if verdict is not None:
                return verdict
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
        if self._wins(word, now) or word.keepalived == "hung":
            return OPEN
        if memory.peer_held_at - memory.conflict_since < CONFLICT_PERSIST:
            return OPEN
        return Verdict(True, "conflict: the peer keeps it", memory.peer_held_at + self.settings.evidence)

    def _wins(self, word: Word, now: float) -> bool:
        """Which of two owners stays: the holder of the lease, else the one with the quorum, else as VRRP decides.
        keepalived comes to the same end, since the lease raises its priority."""
        own, theirs = self.standing(now), word.standing
        if own is not None and theirs is not None:
            if own.lease != theirs.lease:
                return own.lease
            if own.quorum != theirs.quorum:
                return own.quorum
        return self.settings.wins_conflict

    def _cut_off(self, quorum: Quorum, now: float) -> Optional[Verdict]:
        """Peer and witness are silent, and the peer heard the witness to the last: it is this node that is cut off.
        Assumes that they do not fail together, which is why a witness in the failure domain of a node is refused."""
        word = self.word
        if word is None or self.fresh(now) or not quorum.witness_silent(now) or quorum.alone:
            return None
        if abs(self.word_at - quorum.witness_at) <= TOGETHER:
            self.let_go_at = now
            return Verdict(True, "cut off: peer and witness fell silent together", now + HOLD_LEASE)
        if word.standing is not None and word.standing.witness:
            self.let_go_at = now
            return Verdict(
                True, "cut off: the peer heard the witness to the last, this node does not", now + HOLD_LEASE
            )
        return None

    def _overtaken(self, quorum: Quorum, memory: VipMemory, now: float) -> Optional[Verdict]:
        if quorum.mine(now):
            return None
        if now < self.looking_until:
            return Verdict(True, "this node stood still, the peer may have taken over", self.looking_until)
        # What the peer says of itself counts more than what its renewals let suppose.
        until = NEVER if self.fresh(now) else quorum.peer_renews_until(memory.held_since + CONFLICT_SETTLE)
        return Verdict(True, "the peer renews its lease", until) if now < until else None

    def _strict(self, name: str, memory: VipMemory, quorum: Quorum, now: float) -> Optional[Verdict]:
        """The strict gate, of a node that has not the VIP."""
        settings = self.settings
        verdict = self._cut_off(quorum, now)
        if verdict is not None:
            return verdict
        until = memory.peer_held_at + quorum.peer_evidence
        if now < until and not self._invited(name, now):
            reason = "the peer is active" if self.fresh(now) else "the peer was active to its last word"
            return Verdict(True, reason, until, standby=True)
        # What the peer says of itself counts more than what its renewals let suppose.
        until = NEVER if self.fresh(now) else quorum.peer_renews_until()
        if now < until:
            return Verdict(True, "the peer renews its lease", until, standby=True)
        until = NEVER if self.fresh(now) or quorum.mine(now) else self.let_go_at + 2 * quorum.authority.takeover
        if now < until and not quorum.alone:
            return Verdict(True, "let go: looks whether the peer has taken over", until)
        if quorum.listed(settings.node) is False and self._peer_may_serve(name, quorum, now):
            return Verdict(True, "not in sync: only the peer may serve", now + HOLD_LEASE)
        fit = self.fresh(now) and self.unfit(name, now, lenient=True) is None
        if fit and quorum.lost(now) and not quorum.alone and not quorum.mine(now):
            return Verdict(True, "the peer has the quorum, this node does not", now + settings.evidence)
        return None

    def _invited(self, name: str, now: float) -> bool:
        """The peer hands this VIP over: meanwhile the gate is the fast one, so that its last advert is enough."""
        said = None if self.word is None else self.word.vips.get(name)
        return said is not None and said.yields and now - self.word_at < 5 * self.settings.beacon

    def _peer_may_serve(self, name: str, quorum: Quorum, now: float) -> bool:
        """A peer that is in sync may go on alone, seen by nobody. Only its own word that it cannot says otherwise."""
        if quorum.listed(self.settings.peer) is not True:
            return False
        word = self.word
        if word is None or not self.fresh(now):
            return True
        said = word.vips.get(name)
        if said is not None and said.held:
            return True
        knows = word.standing is None or word.standing.insync is not False
        return knows and self._unfit_to_hold(word) is None

    def _bystander(self, name: str, memory: VipMemory, now: float) -> Optional[Verdict]:
        """This node has not the VIP: reasons to stay away from it."""
        settings = self.settings
        memory.conflict_since = None
        if self.own.maintenance:
            return Verdict(True, "maintenance", now + HOLD_LEASE)
        if not self.settled:
            return Verdict(True, "hold until the peer is heard", now + HOLD_LEASE)
        if self.quorum is not None:
            verdict = self._strict(name, memory, self.quorum, now)
            if verdict is not None:
                return verdict
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
        if self.quorum is not None:
            for moment in (
                *(memory.verdict.until for memory in self.vips.values()),
                self.quorum.lease_until,
                self.quorum.witness_at + self.quorum.witness_evidence,
                self.word_at + self.settings.evidence,
                self.word_at + 5 * self.settings.beacon,
            ):
                if now < moment < soonest:
                    soonest = moment
        return soonest
