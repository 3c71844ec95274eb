"""The rules: from what etcd answered, and when, to what this node may do.

What they are about stands beside them: timing, record (what etcd has), judge (may this node take it?) and actions.
Pure: no clock, no files, no sockets. Times are seconds of this node's CLOCK_BOOTTIME (virtual in the tests). `Lease` is
fed with answers, orders and the time, and says what to do next as a list of actions; `hold` carries them out.

Two rules make the lease safe, whatever the network does:
- the holder counts its deadline D from *before* it sent the last renewal that was acknowledged;
- a challenger counts T from *after* it first saw that renewal, and takes over by one compare-and-swap of the holder,
  the counter, the list of nodes in sync and the epoch, as it saw them.
So T × (1 − drift) > max(D, RPC timeout + watchdog) + S + margin keeps two nodes from writing at once (docs/lease.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Set, Tuple

from .actions import Action, Adopt, Exit, Kill, Log, Notify, Publish, Reply, Send, Taken
from .judge import Seen, Sight, Verdict, judge, superseded
from .record import (
    EPOCH,
    HOLDER,
    INSYNC,
    LOOK,
    NO_DATA,
    READ,
    SEQ,
    Answer,
    Compare,
    Record,
    Request,
    beginning,
    insync_text,
)
from .timing import Timing

# A challenger asks this often (seconds).
POLL = 0.05
# After a failure the next member is asked after this pause (seconds).
RETRY = 0.02
# A member that failed is asked last for this long (seconds).
SHUN = 1.0
# A holder asks the peer's member this often whether a new epoch began there (seconds); without quorum, every member.
EPOCH_LOOK = 1.0
EPOCH_LOOK_ALONE = 0.5
# Before it takes the lease a node has asked the peer's member about its epoch not longer ago than this (seconds).
EPOCH_HEARD = 3.0
# A unit that said it no longer writes must be followed by the release within this time (seconds); later it counts as
# writing again, so that a forgotten word kills a database too often and never too seldom.
DEMOTED_VALID = 10.0
# After the writers were killed at the deadline, how long the holder goes on looking at them before it ends (seconds).
LAST_LOOK = 5.0


@dataclass
class _Sent:
    at: float
    member: str
    kind: str
    request: Request


@dataclass
class _Order:
    number: int
    wanted: Dict[str, str]
    until: float
    ticket: Optional[int] = None


class Lease:
    """One process of the holder, from campaign to release. Its name in etcd, `me`, is used by no other process ever."""

    def __init__(
        self,
        node: str,
        me: str,
        timing: Timing,
        members: Tuple[str, ...],
        writers: Tuple[str, ...],
        incarnation: str,
        epoch: int,
    ) -> None:
        """`members`: in the order of preference, this node's own first."""
        self.node = node
        self.peer = "b" if node == "a" else "a"
        self.me = me
        self.timing = timing
        self.members = members
        self.writers = writers
        self.incarnation = incarnation
        self.epoch = epoch
        # campaign, hold, release, lost, done
        self.phase = "campaign"
        self.sight = Sight()
        self.verdict: Optional[Verdict] = None
        # of the last answer that proves possession; its insync is what etcd has, since the holder alone changes it
        self.record = Record()
        self.deadline = 0.0
        self.stopping = False
        self.reason = ""
        self._demoted: Dict[str, float] = {}
        self._unsettled: Set[int] = set()
        self._orders: List[_Order] = []
        self._sent: Dict[int, _Sent] = {}
        self._ticket = 0
        self._seq = 0
        self._send_at = 0.0
        self._look_at = 0.0
        self._solo_fed_at = 0.0
        self._overtime = False
        self._failed_at: Dict[str, float] = {}
        self._peer_asked_at = float("-inf")
        self._highest_epoch = epoch
        self._lost_at = 0.0
        self._maybe_mine = False
        self._taken_from = ""

    # ---- what the daemon asks

    @property
    def solo(self) -> bool:
        """Nobody else may start: etcd lists this node alone, and no request that would change that is under way."""
        insync = self.record.insync
        return insync is not None and set(insync) == {self.node} and self.record.insync_mod not in self._unsettled

    def holds(self, now: float) -> bool:
        return self.phase == "hold" and (now < self.deadline or self.solo)

    def must_be_gone(self, now: float) -> Tuple[str, ...]:
        """Units whose processes must all have ended before the lease is released; empty while it is not to be."""
        if self.phase == "lost":
            return self.writers
        if self.phase != "hold" or not self.stopping:
            return ()
        return tuple(unit for unit in self.writers if now - self._demoted.get(unit, -DEMOTED_VALID) >= DEMOTED_VALID)

    def wake(self, now: float) -> float:
        """When `tick` is to be called next, if nothing happens before."""
        if self.phase == "done":
            return now
        moments = [now + POLL]
        # While every member owes an answer nothing can be sent, and an answer or its absence wakes us anyway.
        if self.phase != "lost" and self._free(now) is not None and not self._taking():
            moments.append(self._due())
        if self.phase == "hold":
            if self.solo:
                moments.append(self._solo_fed_at + self.timing.renewal)
            else:
                moments.append(self.deadline)
        if self.stopping or self.phase == "lost":
            moments.append(now + 0.005)
        moments.extend(order.until for order in self._orders)
        return max(now, min(moments))

    def status(self, now: float) -> Dict[str, Any]:
        verdict = self.verdict
        return {
            "phase": self.phase,
            "me": self.me,
            "holds": self.holds(now),
            "stopping": self.stopping,
            "alone": self.phase == "hold" and self.solo,
            "withoutQuorum": self.phase == "hold" and now >= self.deadline,
            "deadlineIn": round(self.deadline - now, 3) if self.phase == "hold" else None,
            # Units that promote ask for it, and cannot wait for a look at all members. None: not known at this moment.
            "insync": dict(self.record.insync)
            if self.phase == "hold" and self.record.insync is not None and self.record.insync_mod not in self._unsettled
            else None,
            "verdict": None if verdict is None or self.phase != "campaign" else verdict.kind,
            "why": self.reason or ("" if verdict is None else verdict.why),
            "todo": "" if verdict is None or self.phase != "campaign" else verdict.todo,
        }

    # ---- what happens

    def tick(self, now: float, gone: bool = False) -> List[Action]:
        """`gone`: every unit of `must_be_gone` has no process left."""
        actions: List[Action] = []
        for ticket, sent in list(self._sent.items()):
            if now - sent.at > 10 * self.timing.rpc_timeout:
                self._failed(ticket, sent, now)
        if self.phase == "hold" and now >= self.deadline and not self.solo:
            self._lose(now, f"no renewal acknowledged for {self.timing.deadline:g} s", actions)
        if self.phase == "campaign":
            self._campaign(now, actions)
        elif self.phase == "hold":
            self._hold(now, gone, actions)
        elif self.phase == "release":
            self._release(now, actions)
        elif self.phase == "lost":
            if gone or now - self._lost_at >= LAST_LOOK:
                actions.append(Log("the writers have ended" if gone else "WRITERS STILL ALIVE after cgroup.kill"))
                actions.append(Exit(1))
                self.phase = "done"
            else:
                actions.append(Kill())
        return actions

    def facts(self, incarnation: str, epoch: int) -> None:
        """What the files say, read anew during a campaign."""
        if self.phase == "campaign":
            self.incarnation, self.epoch = incarnation, epoch

    def credit(self, seen: Seen) -> None:
        """What the observer has seen: T need not be counted anew, nor the peer be asked again."""
        self.sight.credit(seen)
        self._peer_asked_at = max(self._peer_asked_at, seen.peer_asked_at)
        self._highest_epoch = max(self._highest_epoch, seen.highest_epoch)

    def answered(self, ticket: int, now: float, answer: Answer) -> List[Action]:
        if ticket in self._sent and answer.record.epoch < self.epoch:
            # A member that was left behind in an old epoch: what it says is not of this authority.
            return self.failed(ticket, now)
        sent = self._sent.pop(ticket, None)
        if sent is None:
            return []
        self._failed_at.pop(sent.member, None)
        self._highest_epoch = max(self._highest_epoch, answer.record.epoch)
        if sent.member == self.peer:
            self._peer_asked_at = now
        actions: List[Action] = []
        if self.phase == "campaign":
            self._heard(sent, now, answer, actions)
        elif self.phase == "hold":
            self._held(ticket, sent, now, answer, actions)
        elif self.phase == "release" and sent.kind == "release":
            # Done, or the holder was another one already.
            actions += [Log("released"), Exit(0)]
            self.phase = "done"
        return actions + self.tick_after(now)

    def failed(self, ticket: int, now: float) -> List[Action]:
        """No answer in time, or an error."""
        sent = self._sent.get(ticket)
        if sent is not None:
            self._failed(ticket, sent, now)
        return self.tick_after(now)

    def tick_after(self, now: float) -> List[Action]:
        """After an event: what is due already, except what waits for the writers' end."""
        return self.tick(now) if self.phase in ("campaign", "hold", "release") and not self.stopping else []

    def stop(self, now: float) -> List[Action]:
        """By SIGTERM or an operator's `release`: the writers first, then the lease."""
        if self.stopping:
            return []
        self.stopping = True
        actions: List[Action] = []
        if self.phase == "campaign":
            if self._maybe_mine or self._taking():
                self._begin_release(now, actions)
            else:
                actions.append(Exit(0))
                self.phase = "done"
        elif self.phase == "hold" and self.must_be_gone(now):
            actions.append(Kill())
        return actions

    def order(self, number: int, verb: str, argument: str, now: float, timeout: float) -> List[Action]:
        """`alone`, `together` (argument: the peer's incarnation), `promoting` and `demoted` (argument: a unit)."""
        if not self.holds(now):
            return [Reply(number, "this node does not hold the lease")]
        if verb in ("promoting", "demoted"):
            if argument not in self.writers:
                return [Reply(number, f'"{argument}" is no writer of this pair ({", ".join(self.writers)})')]
            if verb == "demoted":
                self._demoted[argument] = now
                return [Reply(number, "", "noted: it no longer writes")]
            if self.stopping:
                return [Reply(number, "the lease is being released")]
            self._demoted.pop(argument, None)
            return [Reply(number, "", "the lease is held")]
        mine = (self.record.insync or {}).get(self.node, self.incarnation)
        wanted = {self.node: mine}
        if verb == "together":
            if self.stopping:
                return [Reply(number, "the lease is being released")]
            if now >= self.deadline:
                return [Reply(number, "no quorum: the members of etcd do not answer; try again when they do")]
            wanted[self.peer] = argument
        elif verb != "alone":
            return [Reply(number, f'"{verb}" is not understood')]
        self._orders.append(_Order(number, wanted, now + timeout))
        return self.tick(now)

    # ---- campaign

    def _campaign(self, now: float, actions: List[Action]) -> None:
        if self._taking():
            return
        if now - self._peer_asked_at > EPOCH_HEARD / 2 and not self._busy(self.peer):
            self._send(self.peer, "look", LOOK, now, actions)
        if now < self._due():
            return
        member = self._free(now)
        if member is not None:
            self._send(member, "read", READ, now, actions)
            self._send_at = now + POLL

    def _taking(self) -> bool:
        return any(sent.kind == "take" for sent in self._sent.values())

    def _due(self) -> float:
        """When something is to be sent next."""
        if self.phase == "campaign" and self.verdict is not None and self.verdict.kind == "wait":
            return min(self._send_at, max(self.verdict.until, self._send_at - POLL + RETRY))
        return self._send_at

    def _heard(self, sent: _Sent, now: float, answer: Answer, actions: List[Action]) -> None:
        record = answer.record
        if sent.kind == "take":
            self._maybe_mine = False
            if answer.succeeded and now <= sent.at + self.timing.rpc_timeout:
                self._acquire(sent, now, answer, actions)
                return
            if answer.succeeded:
                # READY starts the watchdog's time, which must not begin later than RPC timeout after the sending: take
                # it again, from the same node.
                self._maybe_mine = True
            self.sight.saw(record, now)
            self._send_at = now
            return
        self.sight.saw(record, now)
        known = self.sight.record
        if known is None or (known.holder_mod, known.seq_mod) != (record.holder_mod, record.seq_mod):
            return
        if sent.kind == "look":
            return
        verdict = judge(self.node, record, self.incarnation, self.epoch, self.sight.since, now, self.timing.takeover)
        if verdict.kind == "take" and self._highest_epoch > max(self.epoch, record.epoch):
            verdict = superseded(self.node, self._highest_epoch, self.epoch)
        elif verdict.kind == "take" and now - self._peer_asked_at > EPOCH_HEARD:
            verdict = Verdict("wait", f"asking node {self.peer}'s member for its epoch", until=now)
        if self.verdict is None or (verdict.kind, verdict.todo) != (self.verdict.kind, self.verdict.todo):
            actions.append(Log(f"campaign: {verdict.kind}: {verdict.why}" + (f"; {verdict.todo}" * bool(verdict.todo))))
            actions.append(Notify(f"STATUS={verdict.kind}: {verdict.why}"))
        self.verdict = verdict
        if verdict.kind == "adopt":
            self.epoch = record.epoch
            actions.append(Adopt(record.epoch))
            self._send_at = now
        elif verdict.kind == "take" and not self._taking():
            self._seq = record.seq + 1
            if record.holder != self.me:
                self._taken_from = record.holder_node or ""
            request = Request(
                compares=(
                    Compare(HOLDER, "mod", record.holder_mod),
                    Compare(SEQ, "mod", record.seq_mod),
                    Compare(INSYNC, "mod", record.insync_mod),
                    Compare(EPOCH, "mod", record.epoch_mod),
                ),
                puts=((HOLDER, self.me), (SEQ, str(self._seq)), *self._enrolment(record)),
            )
            self._send(sent.member, "take", request, now, actions)

    def _enrolment(self, record: Record) -> Tuple[Tuple[str, str], ...]:
        """Of a pair without data nobody says which node's data counts: both are in sync with the first lease."""
        both = beginning(self.node, self.incarnation)
        if self.incarnation != NO_DATA or record.insync == both:
            return ()
        return ((INSYNC, insync_text(both)), *(((EPOCH, str(self.epoch)),) if record.epoch_mod == 0 else ()))

    def _acquire(self, sent: _Sent, now: float, answer: Answer, actions: List[Action]) -> None:
        self.phase = "hold"
        self.record = answer.record
        self.deadline = sent.at + self.timing.deadline
        self._send_at = sent.at + self.timing.renewal
        self._solo_fed_at = now
        why = self.verdict.why if self.verdict is not None else ""
        actions += [
            Log(f"acquired as {self.me} in epoch {self.epoch}: {why}"),
            Publish(self.deadline),
            # Before READY: what systemd starts then reads it.
            Taken(self._taken_from),
            Notify("READY=1\nWATCHDOG=1\nSTATUS=holding"),
        ]

    # ---- hold

    def _hold(self, now: float, gone: bool, actions: List[Action]) -> None:
        if self.stopping and (gone or not self.must_be_gone(now)):
            self._begin_release(now, actions)
            return
        if self.stopping:
            actions.append(Kill())
        if self.solo and now >= self._solo_fed_at + self.timing.renewal:
            # Nobody else may start, so possession needs no answer, and the watchdog sees only that this process lives.
            # The request that ends this is a renewal itself: whoever may start then counts T from it.
            self._solo_fed_at = now
            actions += [Publish(max(self.deadline, now + self.timing.deadline)), Notify("WATCHDOG=1")]
        overtime = now >= self.deadline
        if overtime != self._overtime:
            self._overtime = overtime
            text = "no quorum; going on, since nobody else may start" if overtime else "quorum is back"
            actions += [Log(text), Notify(f"STATUS=holding{': ' + text if overtime else ''}")]
        if now >= self._look_at:
            self._look_at = now + (EPOCH_LOOK_ALONE if overtime else EPOCH_LOOK)
            for asked in self.members:
                if (asked == self.peer or (overtime and asked != self.node)) and not self._busy(asked):
                    self._send(asked, "look", LOOK, now, actions)
        self._carry_out_orders(now, actions)
        if now >= self._send_at:
            member = self._free(now)
            if member is not None:
                self._send(member, "renewal", self._renewal(), now, actions)
                self._send_at = now + self.timing.renewal

    def _renewal(self, *puts: Tuple[str, str], compares: Tuple[Compare, ...] = ()) -> Request:
        self._seq += 1
        return Request(
            compares=(Compare(HOLDER, "value", self.me), Compare(EPOCH, "mod", self.record.epoch_mod), *compares),
            puts=(*puts, (SEQ, str(self._seq))),
        )

    def _held(self, ticket: int, sent: _Sent, now: float, answer: Answer, actions: List[Action]) -> None:
        record = answer.record
        if record.epoch > self.epoch:
            self._lose(now, f"epoch {record.epoch} began: a promotion of the other node was forced", actions)
            return
        if sent.kind == "look":
            if record.holder_mod > self.record.holder_mod and record.holder != self.me:
                self._lose(now, f'the holder is "{record.holder}"', actions)
            return
        if record.holder != self.me:
            if sent.kind in ("renewal", "insync"):
                self._lose(now, f'the holder is "{record.holder}"', actions)
            return
        if sent.kind == "read":
            return
        # Revisions only grow: an answer that was overtaken says nothing new about insync.
        if record.seq_mod >= self.record.seq_mod:
            self._unsettled = {mod for mod in self._unsettled if mod >= record.insync_mod}
            self.record = record
        if answer.succeeded:
            self.deadline = max(self.deadline, sent.at + self.timing.deadline)
            actions.append(Publish(self.deadline))
            # An answer that was late, or was read late, feeds nobody: the watchdog's time starts RPC timeout after the
            # sending at the latest.
            if now - sent.at <= self.timing.rpc_timeout:
                extend = f"\nEXTEND_TIMEOUT_USEC={round(self.timing.watchdog * 1e6)}" if self.stopping else ""
                actions.append(Notify("WATCHDOG=1" + extend))
        for order in list(self._orders):
            if order.ticket == ticket:
                order.ticket = None
                if answer.succeeded:
                    self._done(order, actions)

    def _carry_out_orders(self, now: float, actions: List[Action]) -> None:
        for order in list(self._orders):
            if now >= order.until:
                self._orders.remove(order)
                actions.append(Reply(order.number, "not committed in time: no quorum of etcd's members answered"))
        if not self._orders:
            return
        order = self._orders[0]
        if order.ticket is not None:
            return
        settled = self.record.insync_mod not in self._unsettled
        if settled and self.record.insync is not None and dict(self.record.insync) == order.wanted:
            self._done(order, actions)
            return
        member = self._free(now)
        if member is None or now < self._send_at - self.timing.renewal + RETRY:
            return
        # From here on nobody knows which list etcd has, until an answer tells: the rule of D counts again.
        self._unsettled.add(self.record.insync_mod)
        request = self._renewal(
            (INSYNC, insync_text(order.wanted)), compares=(Compare(INSYNC, "mod", self.record.insync_mod),)
        )
        actions.append(Publish(self.deadline))
        order.ticket = self._send(member, "insync", request, now, actions)
        self._send_at = now + self.timing.renewal

    def _done(self, order: _Order, actions: List[Action]) -> None:
        self._orders.remove(order)
        listed = ", ".join(f"{node} ({incarnation})" for node, incarnation in sorted(order.wanted.items()))
        actions += [Log(f"in sync now: {listed}"), Reply(order.number, "", f"in sync: {listed}")]

    # ---- the end

    def _lose(self, now: float, why: str, actions: List[Action]) -> None:
        self.phase = "lost"
        self.reason = why
        self._lost_at = now
        actions += [Kill(), Publish(0.0), Log(f"LOST: {why}; the writers were killed"), Notify(f"STATUS=lost: {why}")]
        self._refuse_orders("the lease was lost: " + why, actions)

    def _refuse_orders(self, why: str, actions: List[Action]) -> None:
        actions += [Reply(order.number, why) for order in self._orders]
        self._orders.clear()

    def _begin_release(self, now: float, actions: List[Action]) -> None:
        self._refuse_orders("the lease is being released", actions)
        self.phase = "release"
        self._lost_at = now
        self._send_at = now
        actions.append(Publish(0.0))
        self._release(now, actions)

    def _release(self, now: float, actions: List[Action]) -> None:
        if now - self._lost_at >= self.timing.deadline:
            actions += [Log("the release was not acknowledged; the peer waits for the lease to end"), Exit(0)]
            self.phase = "done"
            return
        member = self._free(now)
        if member is None or now < self._send_at:
            return
        self._seq += 1
        request = Request((Compare(HOLDER, "value", self.me),), ((HOLDER, ""), (SEQ, str(self._seq))))
        self._send(member, "release", request, now, actions)
        self._send_at = now + self.timing.renewal

    # ---- members

    def _busy(self, member: str) -> bool:
        return any(sent.member == member for sent in self._sent.values())

    def _free(self, now: float) -> Optional[str]:
        """The member to ask next: none that still owes an answer; those that failed lately come last."""
        candidates = [member for member in self.members if not self._busy(member)]
        if not candidates:
            return None
        shunned = {member for member in candidates if now - self._failed_at.get(member, -SHUN) < SHUN}
        well = [member for member in candidates if member not in shunned]
        return well[0] if well else min(candidates, key=lambda member: self._failed_at[member])

    def _send(self, member: str, kind: str, request: Request, now: float, actions: List[Action]) -> int:
        self._ticket += 1
        self._sent[self._ticket] = _Sent(now, member, kind, request)
        actions.append(Send(self._ticket, member, request))
        return self._ticket

    def _failed(self, ticket: int, sent: _Sent, now: float) -> None:
        del self._sent[ticket]
        self._failed_at[sent.member] = now
        if sent.member == self.peer:
            self._peer_asked_at = now
        if sent.kind == "take":
            # It may have been carried out all the same.
            self._maybe_mine = True
        for order in self._orders:
            if order.ticket == ticket:
                order.ticket = None
        self._send_at = min(self._send_at, now + RETRY)
