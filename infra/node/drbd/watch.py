"""The daemon of hotpair-drbd-watch.service, on both nodes, always: keeps `insync` true while the devices change.

The holder of the lease adds its peer once both copies are equal, and removes it when they are not (the fence-peer
handler is faster where a connection ends; this one sees a peer that lost its disk). Each node says what its copies
are called, gives a copy that ended a new name before anybody can ask for the old one, and looks for its peer again
where the driver has stopped to.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from typing import Callable, Dict, NoReturn, Optional, Sequence, Set

from . import record
from .authority import Authority, Refused
from .kernel import KernelError, order
from .rules import GONE, Device, forsaken, given_up, redundancy
from .settings import Settings

# Between two looks (seconds): reading /proc/drbd costs nothing, starting drbdsetup for driver 9 some milliseconds.
LOOK_EVERY = 0.5
# What this node's copies are called is said again this often, in case that etcd was made anew (seconds).
OFFER_EVERY = 30.0
# A hand-over that was refused is asked for again this often (seconds).
ASK_EVERY = 10.0
# From when the driver looks for its peer no longer until it is told to, and from one such word to the next (seconds):
# longer than somebody's `disconnect` and `connect` one after the other.
CONNECT_AFTER = 10.0
CONNECT_TIMEOUT = 10.0
# While `detach` takes the devices down on purpose.
DETACHING = "drbd.detaching"
STATUS = "drbd.status"

Look = Callable[[], Sequence[Device]]
Order = Callable[..., str]


class Watch:
    """One node's; `step` is one look."""

    def __init__(self, settings: Settings, authority: Authority, look: Look, tell: Order = order) -> None:
        self.settings = settings
        self.authority = authority
        self.look = look
        self.tell = tell
        self.disks: Dict[str, str] = {}
        self.offered_at = -OFFER_EVERY
        self.compared_at = -OFFER_EVERY
        self.asked_at = -ASK_EVERY
        # Since when each stands alone, or was last told to connect; and those of which that was written down.
        self.forsaken: Dict[str, float] = {}
        self.connecting: Set[str] = set()
        self.trouble = ""
        self.reason = ""

    def step(self, now: float) -> None:
        self.trouble = ""
        try:
            devices = self.look()
        except KernelError as error:
            self.trouble = str(error)
            return
        settled = self._own_copies(devices)
        self._offer(now)
        self._redundancy(now, devices)
        self._hand_over(now, devices)
        self._resolved(devices)
        self._look_for_peer(now, devices)
        if settled:
            self.disks = {device.name: device.disk for device in devices}

    def _own_copies(self, devices: Sequence[Device]) -> bool:
        """A copy that ended while it ran is not what `insync` lists any more, whatever its disk says later. False: it
        must be tried again at the next look."""
        if os.path.exists(os.path.join(self.settings.run, DETACHING)):
            return True
        ended = given_up(self.disks, devices)
        if not ended:
            return True
        # Only the holder hears this at once; on the other node nothing may delay the new name.
        insync = self.authority.insync() if self.authority.holds() else None
        lost = [device for device in devices if device.name in ended]
        if insync is not None and set(insync) == {self.settings.node} and not any(each.peer_whole for each in lost):
            # Nobody else has anything newer: what this disk holds is what the pair has, if it ever works again.
            record.audit(self.settings, "attached", "the only copy is gone", ", ".join(ended))
            return True
        try:
            self.authority.call_copies(record.new_incarnation())
        except Refused as error:
            self.trouble = str(error)
            record.audit(self.settings, "attached", "NOT RENAMED", f"{', '.join(ended)}: {error}")
            return False
        self.offered_at = -OFFER_EVERY
        record.audit(self.settings, "attached", "given up", f"{', '.join(ended)}: the disk failed or was detached")
        return True

    def _hand_over(self, now: float, devices: Sequence[Device]) -> None:
        """A primary whose disk is gone serves from its peer's: the peer had better serve itself."""
        gone = [device.name for device in devices if device.disk in GONE and device.role == "Primary"]
        if not gone or not self.authority.holds() or not all(each.peer_whole for each in devices):
            return
        if now - self.asked_at < ASK_EVERY:
            return
        self.asked_at = now
        try:
            self.authority.hand_over(f"the disk of {self.settings.name} failed ({', '.join(gone)})")
        except Refused as error:
            record.audit(self.settings, "given up", "primary without a copy", f"no hand-over: {error}")

    def _offer(self, now: float) -> None:
        if now - self.offered_at < OFFER_EVERY or not self.authority.incarnation():
            return
        try:
            self.authority.offer()
            self.offered_at = now
        except Refused as error:
            self.trouble = str(error)

    def _redundancy(self, now: float, devices: Sequence[Device]) -> None:
        if not self.authority.holds() or len(devices) < len(self.settings.resources):
            return
        peer = self.settings.peer
        try:
            insync = self.authority.insync()
            # A program's start, so not at every look: while the peer is listed, only in case of new copies there.
            offered = "" if insync is None else insync.get(peer, "")
            whole = all(each.peer_whole for each in devices)
            if whole and insync is not None and (peer not in insync or now - self.compared_at >= OFFER_EVERY):
                offered = self.authority.offered()
                self.compared_at = now
            found = redundancy(devices, peer, insync, offered)
            self.reason = found.reason
            if found.order is None:
                return
            # The handler must not say "go on alone" between the look and the order: the list that it took the peer off
            # would then name it again, without the writes that went on. It waits for this, and this looks again.
            with self.authority.exclusively():
                if redundancy(self.look(), peer, self.authority.insync(), offered).order != found.order:
                    return
                if found.order == "alone":
                    self.authority.alone()
                else:
                    self.authority.together(offered)
            record.audit(self.settings, "insync", found.order, found.reason)
        except (Refused, KernelError) as error:
            self.trouble = str(error)

    def _resolved(self, devices: Sequence[Device]) -> None:
        """Over as soon as both copies are equal again; what a verification found stays counted until it was copied."""
        for name, was in ((record.SPLIT_BRAIN, "split brain"), (record.DIFFERENT, "different")):
            noted = record.read(self.settings, name)
            over = {each.name for each in devices if each.name in noted and each.equal and each.out_of_sync == 0}
            if over:
                record.write(self.settings, name, {each: since for each, since in noted.items() if each not in over})
                record.audit(self.settings, was, "equal", ", ".join(sorted(over)))

    def _look_for_peer(self, now: float, devices: Sequence[Device]) -> None:
        self.connecting -= {device.name for device in devices if device.connected}
        if os.path.exists(os.path.join(self.settings.run, DETACHING)):
            return
        split = record.read(self.settings, record.SPLIT_BRAIN)
        names = forsaken(devices, split, self.authority.holds())
        self.forsaken = {name: self.forsaken.get(name, now) for name in names}
        for name in [name for name, since in self.forsaken.items() if now - since >= CONNECT_AFTER]:
            self.forsaken[name] = now
            try:
                self.tell("connect", name, timeout=CONNECT_TIMEOUT)
                becomes, reason = "connecting", f"{name}: no split brain is known here"
            except KernelError as error:
                becomes, reason = "NOT CONNECTED", str(error)
            if name not in self.connecting:
                self.connecting.add(name)
                record.audit(self.settings, "standing alone", becomes, reason)


def _stop(*_: object) -> NoReturn:
    sys.exit(0)


def main(settings: Settings, authority: Authority, look: Look) -> int:
    signal.signal(signal.SIGTERM, _stop)
    watch = Watch(settings, authority, look)
    said: Optional[str] = None
    notify("READY=1")
    while True:
        watch.step(time.monotonic())
        publish(settings, watch)
        if watch.trouble != said:
            said = watch.trouble
            if said:
                print(f"hotpair-drbd: {said}", file=sys.stderr, flush=True)
        notify("WATCHDOG=1")
        time.sleep(LOOK_EVERY)


def notify(text: str) -> None:
    """To systemd (sd_notify(3)); nothing without it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
            sock.sendall(text.encode())
        except OSError:
            pass


def publish(settings: Settings, watch: Watch) -> None:
    """For `status`: when it last looked, and what is wrong."""
    path = os.path.join(settings.run, STATUS)
    text = {"at": time.clock_gettime(time.CLOCK_BOOTTIME), "trouble": watch.trouble, "reason": watch.reason}
    try:
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(text, file)
        os.replace(path + ".new", path)
    except OSError:
        pass
