"""The daemon of hotpair-quorum.service, on both nodes, always: watches the lease without taking part in it.

It tells the arbiter what it sees (a datagram at every change and every 100 ms), and writes down when it first saw the
present renewal, so that a campaign need not count T from its own beginning. This node's member and the witness's are
asked in parallel, each over connections of their own: one that hangs never delays what the other says.

What the unit must say (templates/lease/): Type=notify, NotifyAccess=main, WatchdogSec=1s, Restart=always,
RestartSec=100ms, StartLimitIntervalSec=0, OOMScoreAdjust=-900, CPUWeight=1000, RuntimeDirectory=hotpair,
RuntimeDirectoryPreserve=yes. Restarting it moves nothing.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from typing import Any, Dict, Optional, Tuple

from . import journal
from .etcd import EtcdError, Identity, member_of, now
from .hold import write_seen
from .judge import Seen, Sight
from .record import LOOK, NO_DATA, READ, Record, Request, lists_no_data
from .settings import Settings, SettingsError, load, read_epoch, read_incarnation

ARBITER_SOCKET = "quorum.sock"
# At least this often (seconds), by contract with the arbiter.
EVERY = 0.1
# The peer's member is asked this often (seconds): only for an epoch that it began by force.
PEER_EVERY = 1.0
VERSION = 1

# Who was asked, whether the answer proves quorum, when it came, and what it said; None: no answer.
_Report = Tuple[str, bool, float, Optional[Record], str]


def main() -> int:
    try:
        settings = load()
    except SettingsError as error:
        print(f"hotpair-lease: {error}", file=sys.stderr)
        return 2
    os.makedirs(settings.run, mode=0o755, exist_ok=True)
    return Observer(settings).run()


class View:
    """What is known so far; pure."""

    def __init__(self, epoch: int) -> None:
        self.sight = Sight()
        self.quorum_at: Optional[float] = None
        self.witness_at: Optional[float] = None
        # when this node's own member last answered with a quorum: it is there, up to date and votes
        self.own_at: Optional[float] = None
        self.peer_asked_at = 0.0
        # the highest that any member told
        self.epoch = epoch

    def report(self, member: str, quorum: bool, at: float, record: Optional[Record]) -> bool:
        """True when the arbiter is to hear of it at once."""
        if member == "peer":
            self.peer_asked_at = at
        if record is None:
            return False
        if member == "witness":
            self.witness_at = at
        if record.epoch < self.epoch:
            # left behind in an old epoch: alive, and of no authority
            return False
        if quorum:
            self.quorum_at = at
        if quorum and member == "local":
            self.own_at = at
        news = record.epoch > self.epoch
        self.epoch = record.epoch
        return self.sight.saw(record, at) or news

    def seen(self) -> Seen:
        record = self.sight.record or Record()
        return Seen(
            epoch=record.epoch,
            holder_mod=record.holder_mod,
            seq_mod=record.seq_mod,
            since=self.sight.since,
            peer_asked_at=self.peer_asked_at,
            highest_epoch=self.epoch,
        )

    def datagram(self, node: str, incarnation: str) -> Dict[str, Any]:
        """`node` is this one. It counts as in sync only with the data that it has now, as a campaign of it would."""
        record = self.sight.record or Record()
        listed = record.insync or {}
        if incarnation != NO_DATA:
            listed = {} if lists_no_data(listed) else listed
        return {
            "v": VERSION,
            "holder": record.holder_node,
            "seq": record.seq,
            "renewed_at": round(self.sight.since, 6),
            "insync": sorted(name for name in listed if name != node or incarnation in (NO_DATA, listed[name])),
            "quorum_at": self.quorum_at,
            "witness_at": self.witness_at,
            "own_at": self.own_at,
            "epoch": self.epoch,
        }


class Observer:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = journal.Log()
        self.systemd = journal.Systemd()
        self.reports: queue.SimpleQueue[_Report] = queue.SimpleQueue()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setblocking(False)
        self.stopping = False
        try:
            epoch = read_epoch(settings)
        except SettingsError as error:
            self.log(str(error))
            epoch = 1
        self.view = View(epoch)
        self.errors: Dict[Tuple[str, bool], str] = {}

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        journal.stay_in_memory()
        pace = self.settings.timing.renewal / 2
        identity = Identity(self.settings.ca, self.settings.certificate, self.settings.key)
        for member, name, request, every in (
            ("local", self.settings.node, READ, pace),
            ("witness", "witness", LOOK, pace),
            ("witness", "witness", READ, pace),
            ("peer", self.settings.peer, LOOK, PEER_EVERY),
        ):
            threading.Thread(
                target=self._read, args=(member, name, request, every, identity), name=f"{member}", daemon=True
            ).start()
        self.systemd.notify("READY=1")
        told = 0.0
        while not self.stopping:
            news = False
            try:
                wait = max(0.0, told + EVERY - now())
                report: Optional[_Report] = self.reports.get(timeout=wait) if wait > 0 else self.reports.get_nowait()
            except queue.Empty:
                report = None
            if report is not None:
                news = self._take(report)
            if news or now() >= told + EVERY:
                told = now()
                self._tell()
                self.systemd.notify("WATCHDOG=1")
        return 0

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _take(self, report: _Report) -> bool:
        member, quorum, at, record, error = report
        before = self.errors.get((member, quorum), "")
        if error != before:
            what = f"{member} member, {'with' if quorum else 'without'} quorum"
            self.log(f"{what}: {error or 'answers'}")
            self.errors[(member, quorum)] = error
        epoch, record_before = self.view.epoch, self.view.sight.record
        news = self.view.report(member, quorum, at, record)
        if self.view.epoch > epoch:
            self.log(f"epoch {self.view.epoch} began: a promotion was forced")
        known = self.view.sight.record
        if known != record_before or member == "peer":
            write_seen(self.settings, self.view.seen())
        if known is not None and known != record_before:
            if record_before is None or known.holder != record_before.holder:
                self.log(f'holder: "{known.holder}"')
            if record_before is None or known.insync != record_before.insync:
                self.log(f"in sync: {', '.join(sorted(known.insync or {})) or 'nobody'}")
        return news

    def _tell(self) -> None:
        said = self.view.datagram(self.settings.node, read_incarnation(self.settings))
        text = json.dumps(said, separators=(",", ":")).encode()
        try:
            self.socket.sendto(text, os.path.join(self.settings.run, ARBITER_SOCKET))
        except OSError:
            pass

    def _read(self, member: str, name: str, request: Request, every: float, identity: Identity) -> None:
        connection = member_of(self.settings, name, identity)
        quorum = not request.serializable
        while not self.stopping:
            started = now()
            try:
                answer = connection.ask(request, self.settings.timing.rpc_timeout)
                self.reports.put((member, quorum, now(), answer.record, ""))
            except EtcdError as error:
                self.reports.put((member, quorum, now(), None, str(error)))
            except Exception as error:
                connection.close()
                self.reports.put((member, quorum, now(), None, repr(error)))
            time.sleep(max(0.005, every - (now() - started)))
