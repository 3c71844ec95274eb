"""The daemon of hotpair-drbd-watch.service, on both nodes, always: keeps `insync` true while the devices change.

The holder of the lease adds its peer once both copies are equal, and removes it when they are not (the fence-peer
handler is faster where a connection ends; this one sees a peer that lost its disk). Each node says what its copies
are called, and gives a copy that ended a new name before anybody can ask for the old one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from typing import Callable, Dict, NoReturn, Optional, Sequence

from . import record
from .authority import Authority, Refused
from .kernel import KernelError
from .rules import GONE, Device, given_up, redundancy
from .settings import Settings

# Between two looks (seconds): reading /proc/drbd costs nothing, starting drbdsetup for driver 9 some milliseconds.
LOOK_EVERY = 0.5
# What this node's copies are called is said again this often, in case that etcd was made anew (seconds).
OFFER_EVERY = 30.0
# A hand-over that was refused is asked for again this often (seconds).
ASK_EVERY = 10.0
# While `detach` takes the devices down on purpose.
DETACHING = "drbd.detaching"
STATUS = "drbd.status"

Look = Callable[[], Sequence[Device]]


class Watch:
    """One node's; `step` is one look."""

    def __init__(self, settings: Settings, authority: Authority, look: Look) -> None:
        self.settings = settings
        self.authority = authority
        self.look = look
        self.disks: Dict[str, str] = {}
        self.offered_at = -OFFER_EVERY
        self.compared_at = -OFFER_EVERY
        self.asked_at = -ASK_EVERY
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
        self._split_brain(devices)
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

    def _split_brain(self, devices: Sequence[Device]) -> None:
        """Over as soon as both copies are equal again."""
        noted = record.read(self.settings, record.SPLIT_BRAIN)
        over = [name for name in noted if any(device.name == name and device.equal for device in devices)]
        if over:
            record.write(
                self.settings, record.SPLIT_BRAIN, {name: since for name, since in noted.items() if name not in over}
            )
            record.audit(self.settings, "split brain", "equal", ", ".join(over))


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
