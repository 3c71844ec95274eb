"""The daemon of hotpair-lease.service: campaigns for the lease, holds it, and stops what writes when it ends.

The main thread alone runs the rules; each member of etcd has a thread and a connection of its own, and every answer is
an event in one queue. So the deadline is kept also when every member hangs.

What the unit must say (templates/lease/):
    Type=notify, NotifyAccess=main            READY=1 is sent once the lease is acquired, not before
    TimeoutStartSec=infinity                  a challenger waits as long as it must
    WatchdogSec=<watchdog>, WatchdogSignal=SIGKILL   fed by acknowledged renewals alone
    TimeoutStopSec=<stopTimeout>              each acknowledged renewal extends it while writers are still ending
    ExecStopPost=/usr/lib/hotpair/lease-stopped WRITERS     kills the writers if the process ended in any other way
    StartLimitIntervalSec=0, OOMScoreAdjust=-900, CPUWeight=1000, Nice=-15
    RuntimeDirectory=hotpair, RuntimeDirectoryPreserve=yes
    After= of the etcd unit and of hotpair-quorum.service; no Restart=: what hangs on the lease is started anew with it,
    as one chain, by whoever starts hotpair-active.target
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import queue
import signal
import sys
import uuid
from typing import Any, Dict, List, Optional, Tuple

from . import journal
from .actions import Action, Adopt, Exit, Kill, Log, Notify, Publish, Reply, Send, Taken
from .etcd import Identity, Worker, member_of, now
from .judge import Seen
from .record import Answer
from .rules import Lease
from .settings import (
    MEMBERS,
    Settings,
    SettingsError,
    complaints,
    load,
    read_epoch,
    read_incarnation,
    write_durably,
)
from .writers import Writers

SEEN = "lease.seen"
SOCKET = "lease.sock"
# How long an order may take to be committed, unless the caller says otherwise (seconds).
ORDER_TIMEOUT = 5.0

_Event = Tuple[Any, ...]


def main() -> int:
    try:
        settings = load()
        wrong = complaints(settings)
    except SettingsError as error:
        print(f"hotpair-lease: {error}", file=sys.stderr)
        return 2
    if wrong:
        print("\n".join(f"hotpair-lease: {line}" for line in wrong), file=sys.stderr)
        return 2
    os.makedirs(settings.run, mode=0o755, exist_ok=True)
    lock = os.open(os.path.join(settings.run, "lease.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("hotpair-lease: another `hotpair-lease hold` runs on this node", file=sys.stderr)
        return 1
    # Before there is a second thread: each one inherits it.
    journal.run_first()
    return Daemon(settings).run()


class Daemon:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = journal.Log()
        self.systemd = journal.Systemd()
        self.writers = Writers(settings.writers)
        self.events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self.numbers = itertools.count(1)
        self.waiting: Dict[int, queue.SimpleQueue[Dict[str, Any]]] = {}
        self.exit: Optional[int] = None
        self.killed_at: Optional[float] = None
        self.errors: Dict[str, str] = {}
        self.tickets: Dict[int, str] = {}
        others = [name for name in ("witness", settings.peer) if name in MEMBERS]
        self.lease = Lease(
            node=settings.node,
            me=f"{settings.node}/{uuid.uuid4().hex[:8]}",
            timing=settings.timing,
            members=(settings.node, *others),
            writers=settings.writers,
            incarnation=read_incarnation(settings),
            epoch=read_epoch(settings),
        )
        identity = Identity(settings.ca, settings.certificate, settings.key)
        self.workers = {
            name: Worker(member_of(settings, name, identity), settings.timing.rpc_timeout, self._done, name)
            for name in self.lease.members
        }

    def _done(self, ticket: int, answer: Optional[Answer], error: str) -> None:
        self.events.put(("answer", ticket, answer, error))

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.events.put(("stop",)))
        journal.stay_in_memory()
        journal.publish(self.settings.run, 0.0)
        # While nothing is urgent: where the cgroups are. Later the answer of systemd is not waited for.
        self.writers.find()
        journal.Control(os.path.join(self.settings.run, SOCKET), self._serve)
        self.log(f"campaign as {self.lease.me}, epoch {self.lease.epoch}")
        self._carry_out(self.lease.tick(now()))
        while self.exit is None:
            wait = self.lease.wake(now()) - now()
            event: Optional[_Event] = None
            try:
                event = self.events.get(timeout=wait) if wait > 0 else self.events.get_nowait()
            except queue.Empty:
                pass
            if event is not None:
                self._carry_out(self._happened(event))
            if self.exit is None:
                must = self.lease.must_be_gone(now())
                gone = bool(must) and self.writers.gone(must)
                self._carry_out(self.lease.tick(now(), gone))
        self.log.drain(0.1)
        return self.exit

    def _happened(self, event: _Event) -> List[Action]:
        kind = event[0]
        if kind == "answer":
            _, ticket, answer, error = event
            member = self.tickets.pop(ticket, "")
            if answer is None:
                if self.errors.get(member) != error:
                    self.log(f"member {member}: {error}")
                self.errors[member] = error
                return self.lease.failed(ticket, now())
            if self.errors.pop(member, None) is not None:
                self.log(f"member {member}: answers again")
            if self.lease.phase == "campaign":
                self._facts()
            return self.lease.answered(ticket, now(), answer)
        if kind == "stop":
            self.log("asked to stop")
            return self.lease.stop(now())
        _, number, verb, argument, timeout = event
        if verb == "status":
            self._reply(number, {"status": self.lease.status(now()), "members": dict(self.errors)})
            return []
        if verb == "release":
            self._reply(number, {"text": "releasing: the writers first, then the lease"})
            return self.lease.stop(now())
        return self.lease.order(number, verb, argument, now(), timeout)

    def _facts(self) -> None:
        """What may have changed on disk during a campaign, and what the observer has seen of the holder."""
        try:
            self.lease.facts(read_incarnation(self.settings), read_epoch(self.settings))
        except SettingsError as error:
            self.log(str(error))
        seen = read_seen(self.settings)
        if seen is not None:
            self.lease.credit(seen)

    def _carry_out(self, actions: List[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.tickets[action.ticket] = action.member
                self.workers[action.member].send(action.ticket, action.request)
            elif isinstance(action, Kill):
                self.writers.kill(self.lease.must_be_gone(now()))
                if self.killed_at is None:
                    self.killed_at = now()
                    self.log(f"killed: {', '.join(self.lease.must_be_gone(now()))}")
            elif isinstance(action, Publish):
                journal.publish(self.settings.run, action.until)
            elif isinstance(action, Taken):
                journal.publish_taken(self.settings.run, action.origin)
            elif isinstance(action, Notify):
                self.systemd.notify(action.text)
            elif isinstance(action, Log):
                self.log(action.text)
            elif isinstance(action, Reply):
                self._reply(action.order, {"error": action.error} if action.error else {"text": action.text})
            elif isinstance(action, Adopt):
                try:
                    write_durably(self.settings.epoch_path, f"{action.epoch}\n")
                except OSError as error:
                    self.log(f"{self.settings.epoch_path}: {error}")
            elif isinstance(action, Exit):
                self.exit = action.code

    # ---- the socket's side, in threads of their own

    def _serve(self, request: Dict[str, Any]) -> Dict[str, Any]:
        verb, argument = str(request.get("verb", "")), str(request.get("argument", ""))
        timeout = min(60.0, float(request.get("timeout", ORDER_TIMEOUT)))
        number = next(self.numbers)
        mailbox: queue.SimpleQueue[Dict[str, Any]] = queue.SimpleQueue()
        self.waiting[number] = mailbox
        self.events.put(("order", number, verb, argument, timeout))
        try:
            return mailbox.get(timeout=timeout + 1.0)
        except queue.Empty:
            return {"error": "the holder did not answer in time"}
        finally:
            self.waiting.pop(number, None)

    def _reply(self, number: int, answer: Dict[str, Any]) -> None:
        mailbox = self.waiting.get(number)
        if mailbox is not None:
            mailbox.put(answer)


def read_seen(settings: Settings) -> Optional[Seen]:
    """As the observer of this boot wrote it."""
    try:
        with open(os.path.join(settings.run, SEEN), encoding="ascii") as file:
            said = json.load(file)
        seen = Seen(
            epoch=int(said["epoch"]),
            holder_mod=int(said["holderMod"]),
            seq_mod=int(said["seqMod"]),
            since=float(said["since"]),
            peer_asked_at=float(said["peerAskedAt"]),
            highest_epoch=int(said["highestEpoch"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seen if max(seen.since, seen.peer_asked_at) <= now() else None


def write_seen(settings: Settings, seen: Seen) -> None:
    path = os.path.join(settings.run, SEEN)
    text = {
        "epoch": seen.epoch,
        "holderMod": seen.holder_mod,
        "seqMod": seen.seq_mod,
        "since": seen.since,
        "peerAskedAt": seen.peer_asked_at,
        "highestEpoch": seen.highest_epoch,
    }
    try:
        with open(path + ".new", "w", encoding="ascii") as file:
            json.dump(text, file)
        os.replace(path + ".new", path)
    except OSError:
        pass
