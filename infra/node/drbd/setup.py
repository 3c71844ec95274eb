"""First set-up: `prepare` on both nodes, then `begin` on the one whose data counts. It never destroys: a disk with
anything on it is refused with what was found, unless its owner names it, one disk at a time.

    prepare                       disks that are empty get DRBD's metadata
    prepare --adopt DISK          the file system on it stays, where there is room for the metadata
    prepare --wipe DISK           what is on it is given up
    prepare --read-all            disks are read from end to end; where both are all zeros, nothing need be copied
    begin                         this node's copies count: the pair's list of nodes in sync begins with it
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from . import probe, record
from .authority import Authority, Refused
from .kernel import KernelError, order, run
from .rules import Device
from .settings import Resource, Settings

Order = Callable[..., str]
CONNECTED_WITHIN = 15.0
# udev looks at a device whenever it was written or promoted, and holds it open meanwhile (seconds).
LET_GO_WITHIN = 15.0


class Refusal(Exception):
    """One line for each disk: what was found, and what to do."""


@dataclass(frozen=True)
class Step:
    resource: Resource
    # "create": metadata; "keep": it is there already
    act: str
    # a disk or metadata device whose signatures are removed first
    wipe: Tuple[str, ...]
    found: str


def look_at(settings: Settings) -> List[Tuple[Resource, probe.Found, Optional[probe.Found]]]:
    return [
        (each, probe.probe(each.disk), None if each.metadata is None else probe.probe(each.metadata))
        for each in settings.resources
    ]


def decide(settings: Settings, adopt: Sequence[str], wipe: Sequence[str]) -> List[Step]:
    """What would be done with each disk. Raises Refusal with everything that stands against it; changes nothing."""
    done = record.read(settings, record.SET_UP)
    against: List[str] = []
    steps: List[Step] = []
    named = set()
    for resource, disk, metadata in look_at(settings):
        named |= {resource.disk, resource.metadata}
        if resource.name in done and _has_metadata(disk, metadata):
            continue
        step, wrong = _one(settings, resource, disk, metadata, adopt, wipe)
        against += [f"{resource.name}: {each}" for each in wrong]
        if step is not None:
            steps.append(step)
    for path in (*adopt, *wipe):
        if path not in named:
            against.append(f"{path} is no disk of this pair on {settings.name}")
    if against:
        raise Refusal("\n".join([*against, "nothing was changed"]))
    return steps


def _has_metadata(disk: probe.Found, metadata: Optional[probe.Found]) -> bool:
    """Whether what was set up is still there; a disk that was replaced under its name has none."""
    return disk.kind in ("drbd", "in use") or (metadata is not None and metadata.kind in ("drbd", "in use"))


def _one(
    settings: Settings,
    resource: Resource,
    disk: probe.Found,
    metadata: Optional[probe.Found],
    adopt: Sequence[str],
    wipe: Sequence[str],
) -> Tuple[Optional[Step], List[str]]:
    wrong: List[str] = []
    wiped: List[str] = []
    act = "create"
    for found in (disk, metadata):
        if found is None:
            continue
        if found.kind == "absent":
            wrong.append(f"{found.path}: {found.what}")
        elif found.kind == "in use":
            wrong.append(f"{found.path} is in use ({found.what}); unmount it, and take away what is built on it")
        elif found.path in wipe and found.path in adopt:
            wrong.append(f"{found.path} is named by --adopt and by --wipe")
        elif found.kind == "empty":
            continue
        elif found.path in wipe:
            wiped.append(found.path)
        elif found.path in adopt and found is disk:
            if found.kind == "drbd":
                act = "keep"
            else:
                wrong += _adoptable(settings, resource, found)
        elif found.kind == "drbd" and found is metadata and resource.disk in adopt:
            act = "keep"
        else:
            keep = (
                f"; to keep it: --adopt {found.path}" if found is disk and found.kind in ("file system", "drbd") else ""
            )
            wrong.append(f"{found.path} holds {found.what}{keep}; to give it up: --wipe {found.path}")
    if wrong:
        return None, wrong
    return Step(resource, act, tuple(wiped), disk.what), []


def _adoptable(settings: Settings, resource: Resource, disk: probe.Found) -> List[str]:
    """Why a disk's file system cannot stay where it is."""
    if disk.kind != "file system":
        return [f"{disk.path} holds {disk.what}, which is no file system; only one can be adopted"]
    wanted = next((each.file_system for each in settings.volumes if each.resource == resource.name), "")
    if wanted and wanted != disk.file_system:
        return [f"{disk.path} holds {disk.file_system}, and the stack file says {wanted}"]
    if resource.metadata is not None:
        return []
    used = probe.file_system_bytes(disk.path, disk.file_system)
    room = probe.metadata_bytes(disk.size)
    if used is None or used + room > disk.size:
        size = "an unknown size" if used is None else f"{used} bytes"
        return [
            f"{disk.path}: its file system has {size} of {disk.size}, and internal metadata needs {room} at the end; "
            f"shrink it to {(disk.size - room) // 4096 * 4} KiB (ext4: resize2fs; xfs cannot shrink), or give the "
            "metadata a device of its own"
        ]
    return []


def prepare(
    settings: Settings,
    authority: Authority,
    adopt: Sequence[str] = (),
    wipe: Sequence[str] = (),
    read_all: bool = False,
    tell: Order = order,
) -> List[str]:
    """One line per thing done. Raises Refusal, KernelError or Refused."""
    steps = decide(settings, adopt, wipe)
    if not steps:
        return ["every resource is set up already; nothing was changed"]
    said: List[str] = []
    zeros = read_all and len(steps) == len(settings.resources)
    done: Dict[str, Dict[str, str]] = dict(record.read(settings, record.SET_UP))
    for step in steps:
        for path in step.wipe:
            answer = run(["wipefs", "--all", path], 60.0)
            if answer.code != 0:
                raise KernelError(f"wipefs {path}: {answer.text}")
            record.audit(settings, "foreign", "wiped", path)
        # Before there is metadata: it is not zeros.
        zeros = zeros and step.act == "create" and probe.all_zeros(step.resource.disk)
        if step.act == "create":
            tell("create-md", "--force", step.resource.name)
        done[step.resource.name] = {"disk": step.resource.disk, "at": record.now_text(), "found": step.found}
        kept = "its metadata was there already" if step.act == "keep" else "it has metadata now"
        said.append(f"{step.resource.name}: {step.resource.disk} ({step.found} was found): {kept}")
    # New copies have a new name: nobody counts on them by an old one. On disk before the record of the set-up.
    authority.call_copies(record.new_incarnation(zeros))
    record.write(settings, record.SET_UP, done)
    for step in steps:
        tell("up", step.resource.name)
    try:
        authority.offer()
    except Refused as error:
        said.append(f"{error}; hotpair-drbd-watch says it later")
    if zeros:
        said.append("every disk is all zeros from end to end")
    if authority.insync() is None:
        said.append(
            "then: the same on the other node; when both are prepared, on the node whose data counts: "
            "hotpair-drbd begin"
        )
    else:
        # A unit that failed at the boot takes nothing down at the next shutdown.
        said.append(f"{settings.peer_name}'s copy comes now: hotpair-drbd status; then: systemctl start hotpair-drbd")
    return said


def begin(
    settings: Settings,
    authority: Authority,
    look: Callable[[], Sequence[Device]],
    tell: Order = order,
    make: Callable[[str, str], None] = lambda device, kind: make_file_system(device, kind),
) -> List[str]:
    """This node's copies count from now on. Raises Refusal when anything says that they do not."""
    seen = authority.seen()
    if not seen.quorum:
        raise Refusal("no quorum of etcd's members answers; first: hotpair authority status")
    if seen.insync is not None:
        raise Refusal(f"the pair has begun already, in sync: {', '.join(sorted(seen.insync)) or 'nobody'}")
    devices = _connected(settings, look)
    for device in devices:
        if device.role == "Primary" or device.peer_role == "Primary":
            raise Refusal(f"{device.name} is in use already: it is primary on one of the nodes")
    try:
        theirs = authority.offered()
    except Refused as error:
        raise Refusal(str(error)) from None
    mine = authority.incarnation()
    same = mine.endswith("+zeros") and theirs.endswith("+zeros")
    said: List[str] = []
    for device in devices:
        if device.disk == "UpToDate" and device.peer_disk == "UpToDate":
            said.append(f"{device.name}: both copies are equal already")
            continue
        if device.peer_disk == "UpToDate":
            raise Refusal(
                f"{device.name}: {settings.peer_name}'s copy is UpToDate and this node's is {device.disk}; begin there"
            )
        if same and device.disk == "Inconsistent" and device.peer_disk == "Inconsistent":
            tell("new-current-uuid", "--clear-bitmap", f"{device.name}/0")
            said.append(f"{device.name}: both disks are all zeros, nothing is copied")
        else:
            # Not a promotion of the pair: nobody can hold a lease yet, and it ends below.
            tell("primary", "--force", device.name)
            _let_go(device.name, tell)
            said.append(f"{device.name}: {settings.peer_name} gets a copy of {device.disk} data; hotpair-drbd status")
    for volume in settings.volumes:
        resource = settings.resource(volume.resource)
        tell("primary", resource.name)
        try:
            found = probe.probe(resource.device)
            if found.kind == "empty":
                make(resource.device, volume.file_system)
                said.append(f"{resource.name}: {volume.file_system} made on {resource.device}")
            elif found.file_system != volume.file_system:
                raise Refusal(
                    f"{resource.name}: {resource.device} holds {found.what}, and the stack file says "
                    f"{volume.file_system}"
                )
        finally:
            _let_go(resource.name, tell)
    try:
        said.append(authority.enroll())
    except Refused as error:
        raise Refusal(str(error)) from None
    record.audit(settings, "prepared", "begun", "; ".join(said))
    return said


def _let_go(name: str, tell: Order) -> None:
    """Raises KernelError when somebody holds the device for longer than a look."""
    until = time.monotonic() + LET_GO_WITHIN
    while True:
        try:
            tell("secondary", name)
            return
        except KernelError:
            if time.monotonic() >= until:
                raise
        time.sleep(0.2)


def make_file_system(device: str, kind: str) -> None:
    """Only on a device that was found empty."""
    quiet = ["-q"] if kind == "ext4" else ["-q", "-K"]
    answer = run([f"mkfs.{kind}", *quiet, device], 3_600.0)
    if answer.code != 0:
        raise KernelError(f"mkfs.{kind} {device}: {answer.text}")


def _connected(settings: Settings, look: Callable[[], Sequence[Device]]) -> Sequence[Device]:
    done = record.read(settings, record.SET_UP)
    missing = [each.name for each in settings.resources if each.name not in done]
    if missing:
        raise Refusal(f"not prepared on this node: {', '.join(missing)}; first, on both nodes: hotpair-drbd prepare")
    until = time.monotonic() + CONNECTED_WITHIN
    while True:
        devices = look()
        apart = [device.name for device in devices if not device.connected]
        if not apart and len(devices) == len(settings.resources):
            return devices
        if time.monotonic() >= until:
            raise Refusal(
                f"not connected to {settings.peer_name}: {', '.join(apart) or 'no device is attached'}; is it prepared "
                "there, and is the network there? journalctl -k | grep drbd"
            )
        time.sleep(0.2)
