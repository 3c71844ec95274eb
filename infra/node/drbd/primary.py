"""`promote` and `demote`: what makes this node's devices the ones that are written, and what ends that.

Promotion asks the driver and never forces it. Demotion frees what is still mounted, ends whoever holds it, and says
so when the driver does not let go: a node that stays primary keeps the other one from being promoted.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Callable, Iterator, List, Sequence, Tuple

from . import record
from .authority import Authority, Refused
from .kernel import KernelError, order, run
from .rules import Device, promotion, refused_for_good
from .settings import Settings

REFUSED = 3
AGAIN = 0.1
# The driver refuses while the handler is undecided or the peer lets go; longer than that means that it stays so
# (seconds).
PATIENCE = 45.0
# Of the unit's own TimeoutStopSec=10s.
LET_GO_WITHIN = 8.0

Look = Callable[[], Sequence[Device]]
Order = Callable[..., str]


def promote(
    settings: Settings, authority: Authority, look: Look, tell: Order = order, patience: float = PATIENCE
) -> int:
    """Runs as hotpair-drbd-primary.service. 0: every device is primary. 1: the lease went away. 3: refused for good."""
    names = [resource.name for resource in settings.resources]
    until = time.monotonic() + patience
    waiting = ""
    while authority.holds():
        try:
            devices = look()
            found = promotion(devices, names, settings.node, authority.incarnation(), authority.insync())
            reason = found.reason
            if found.what == "done":
                record.audit(settings, "secondary", "primary", ", ".join(names))
                return 0
            if found.what == "refuse":
                return _refused(settings, authority, reason)
            if found.what == "go":
                for device in devices:
                    if device.role != "Primary":
                        tell("primary", device.name)
                # What the tools say is not what counts: the roles are looked at again.
                continue
        except KernelError as error:
            reason = str(error)
            if refused_for_good(reason):
                return _refused(settings, authority, reason)
            if time.monotonic() >= until:
                return _refused(settings, authority, f"for {patience:g} s: {reason}")
        if reason != waiting:
            print(f"hotpair-drbd: waiting: {reason}", flush=True)
            waiting = reason
        time.sleep(AGAIN)
    print("hotpair-drbd: not promoted: this node does not hold the lease", flush=True)
    return 1


def _refused(settings: Settings, authority: Authority, reason: str) -> int:
    """Final for this node: nothing is forced. The lease is given back, so that the other node may be asked."""
    record.audit(settings, "secondary", "refused", reason)
    try:
        authority.release()
    except Refused as error:
        print(f"hotpair-drbd: {error}", flush=True)
    return REFUSED


def demote(settings: Settings, look: Look, tell: Order = order, within: float = LET_GO_WITHIN) -> int:
    """Exit code 1 when a device is still primary afterwards."""
    until = time.monotonic() + within
    said = ""
    while True:
        try:
            primary = [device.name for device in look() if device.role == "Primary"]
        except KernelError as error:
            primary, said = [], str(error)
        if not primary and not said:
            return 0
        for volume in settings.volumes:
            if volume.resource in primary and os.path.ismount(volume.mount_point):
                ended = end_holders(volume.mount_point)
                if ended:
                    record.audit(settings, "mounted", "held", f"{volume.mount_point}: killed {', '.join(ended)}")
                run(["umount", volume.mount_point], max(0.2, min(2.0, until - time.monotonic())))
        for name in primary:
            try:
                tell("secondary", name, timeout=max(0.5, min(3.0, until - time.monotonic())))
                said = ""
            except KernelError as error:
                said = str(error)
        try:
            if not any(device.role == "Primary" for device in look()):
                return 0
        except KernelError as error:
            said = str(error)
        if time.monotonic() >= until:
            break
        time.sleep(AGAIN)
    record.audit(
        settings,
        "primary",
        "STILL PRIMARY",
        f"{', '.join(primary) or 'unknown'}: {said}; while the nodes are connected the other one cannot be promoted: "
        "switch this one off",
    )
    return 1


def end_holders(mount_point: str, proc: str = "/proc") -> List[str]:
    """Kills every process that keeps the file system busy; returns them as `name (pid)`."""
    ended: List[str] = []
    for pid, name in holders(mount_point, proc):
        try:
            os.kill(pid, signal.SIGKILL)
            ended.append(f"{name} ({pid})")
        except OSError:
            pass
    return ended


def holders(mount_point: str, proc: str = "/proc") -> Iterator[Tuple[int, str]]:
    """Processes with a working directory, a root, a program or an open file below the mount point."""
    inside = mount_point.rstrip("/") + "/"

    def below(link: str) -> bool:
        try:
            target = os.readlink(link)
        except OSError:
            return False
        return target == mount_point or target.startswith(inside)

    for entry in os.listdir(proc):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        base = os.path.join(proc, entry)
        try:
            opened = [os.path.join(base, "fd", each) for each in os.listdir(os.path.join(base, "fd"))]
        except OSError:
            opened = []
        if any(below(link) for link in (*(os.path.join(base, each) for each in ("cwd", "root", "exe")), *opened)):
            try:
                with open(os.path.join(base, "comm"), encoding="utf-8", errors="replace") as file:
                    name = file.read().strip()
            except OSError:
                name = "a process"
            yield int(entry), name
