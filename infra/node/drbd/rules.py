"""Every decision of hotpair-drbd, as functions of what is known: no kernel, no etcd, no clock, no file.

The promise behind all of them: a node that the key `insync` lists, with the incarnation of its copies, holds every
write that was acknowledged (protocol C; what A and B leave out is in docs/drbd.md). So a primary goes on without
its peer only once the peer is off that list, and a copy that was given up loses its incarnation before anybody can
ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Container, Mapping, Optional, Sequence, Tuple

# ---- what the driver says of one resource on this node

# States in which both sides talk to each other (drbd.conf(5) calls them connection or replication states).
APART = ("StandAlone", "Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError")
APART_WAITING = ("WFConnection", "WFReportParams", "Connecting", "TearDown")
# Disk states with a copy that may be served; `Consistent`: whether it is the newest is not known yet.
SERVABLE = ("UpToDate", "Consistent")
GONE = ("Diskless", "Failed", "Detaching")


@dataclass(frozen=True)
class Device:
    name: str
    # "Primary", "Secondary", "Unknown"
    role: str
    # "UpToDate", "Consistent", "Outdated", "Inconsistent", "Diskless", …
    disk: str
    # "Connected", "SyncSource", "WFConnection", "StandAlone", …; driver 9's connection state, or replication state
    connection: str
    peer_role: str
    peer_disk: str
    # writes wait for the fence-peer handler
    suspended: bool = False
    # of a resync or verification, in percent; None: none is under way
    done: Optional[float] = None
    # what the peer lacks, in KiB
    out_of_sync: int = 0

    @property
    def connected(self) -> bool:
        return self.connection not in (*APART, *APART_WAITING)

    @property
    def peer_whole(self) -> bool:
        """The peer holds every write, and gets every further one; also where this node's own disk is gone."""
        return self.connected and self.peer_disk == "UpToDate"

    @property
    def equal(self) -> bool:
        """Both copies are the same, and every write goes to both."""
        return self.connected and self.disk == "UpToDate" and self.peer_disk == "UpToDate"


# ---- the fence-peer handler

# drbd.conf(5), fence-peer; what each means to the driver was measured (docs/drbd.md#the-fence-peer-handler).
PEER_OUTDATED = 4
PEER_IS_PRIMARY = 6
PEER_FENCED = 7
UNDECIDED = 20


@dataclass(frozen=True)
class LeaseSeen:
    """What the lease says, as far as this node can see it at this moment."""

    # this node holds it, by the deadline on disk
    mine: bool
    # read with a quorum; None: no quorum answered
    holder: Optional[str] = None
    # the holder's counter moved while this node looked
    renewed: bool = False
    # node to incarnation; None: not known
    insync: Optional[Mapping[str, str]] = None
    quorum: bool = False


@dataclass(frozen=True)
class Fencing:
    code: Optional[int]
    reason: str


def needs_its_peer(devices: Sequence[Device]) -> str:
    """Why this node must not go on without its peer, whatever the lease says; empty: all its copies may be served. The
    list `insync` speaks for all resources at once, so one bad copy here makes the peer's copies the ones that count."""
    for device in devices:
        if device.disk not in SERVABLE:
            return f"this node's copy of {device.name} is {device.disk}: the peer's is the one that counts"
    return "" if devices else "this node has no device attached"


def fence_answer(
    node: str, incarnation: str, devices: Sequence[Device], lease: LeaseSeen, committed: bool, fenced: bool
) -> Fencing:
    """What the driver is told; a code of None: not yet, ask again. `devices`: all of this node's.

    `committed`: by this node, as the lease's holder, `insync` lists it alone. `fenced`: the peer was confirmed off
    since this node took the lease. 7 says no more to the driver than 4, and is never said in place of the commit: a
    peer that is off comes back, and would be promoted if it were still listed.
    """
    wrong = needs_its_peer(devices)
    if lease.mine:
        if wrong:
            return Fencing(UNDECIDED, wrong)
        if not committed:
            return Fencing(None, "the peer is not off the list insync yet")
        if fenced:
            return Fencing(PEER_FENCED, "the peer is off the list insync, and confirmed off")
        return Fencing(PEER_OUTDATED, "the peer is off the list insync")
    if lease.quorum and lease.holder is not None and lease.holder != node:
        if lease.insync is not None and lease.insync.get(node) != (incarnation or None):
            return Fencing(PEER_IS_PRIMARY, "the peer holds the lease and has gone on without this node")
        if lease.renewed:
            return Fencing(PEER_IS_PRIMARY, "the peer holds the lease and renews it")
        return Fencing(None, "the peer holds the lease, and is not seen renewing it")
    if lease.quorum:
        return Fencing(None, "this node does not hold the lease, and nobody else does")
    return Fencing(None, "no quorum says who holds the lease")


# ---- promotion


@dataclass(frozen=True)
class Promotion:
    # "go", "wait", "refuse", "done"
    what: str
    reason: str


def promotion(
    devices: Sequence[Device], expected: Sequence[str], node: str, incarnation: str, insync: Optional[Mapping[str, str]]
) -> Promotion:
    """Whether all devices may become primary. What DRBD would refuse is refused before, with a better reason."""
    missing = [name for name in expected if name not in {device.name for device in devices}]
    if missing:
        return Promotion("wait", f"not attached: {', '.join(missing)}")
    if insync is None:
        return Promotion("wait", "the list insync is not known at this moment")
    if not incarnation or insync.get(node) != incarnation:
        return Promotion("refuse", "this node's copies are not the ones that insync lists")
    for device in devices:
        if device.role == "Primary":
            continue
        if device.disk not in SERVABLE:
            return Promotion("refuse", f"{device.name}: this node's copy is {device.disk}")
    for device in devices:
        if device.connected and device.peer_role == "Primary":
            return Promotion("wait", f"{device.name}: the peer has not let go of it yet")
    if all(device.role == "Primary" for device in devices):
        return Promotion("done", "all devices are primary")
    return Promotion("go", "this node holds the lease, and insync lists its copies")


# What drbdsetup says when the driver refuses for good, and when only for now (drbd's drbd_strings.c).
FINAL = ("Need access to UpToDate data",)
PASSING = (
    "Multiple primaries not allowed",
    "Refusing to be Primary while peer is not outdated",
    "Peer may not become primary",
)


def refused_for_good(said: str) -> bool:
    """Whether a refusal of `drbdadm primary` is one that waiting cannot change."""
    return any(words in said for words in FINAL) and not any(words in said for words in PASSING)


# ---- who is in sync


@dataclass(frozen=True)
class Redundancy:
    # "alone": take the peer off the list; "together": put it on; None: as it is
    order: Optional[str]
    reason: str


def redundancy(devices: Sequence[Device], peer: str, insync: Optional[Mapping[str, str]], offered: str) -> Redundancy:
    """For the holder of the lease. `offered`: the incarnation that the peer gives its copies; empty: it gives none."""
    if insync is None or not devices:
        return Redundancy(None, "not known")
    different = [device for device in devices if not device.peer_whole]
    if different:
        device = different[0]
        reason = f"{device.name}: {device.connection}, the peer's copy is {device.peer_disk}"
        # A copy of this node's that is gone must not be left as the only one that is listed; and before the promotion
        # it is the handler's to say.
        if peer in insync and not needs_its_peer(devices) and any(each.role == "Primary" for each in devices):
            return Redundancy("alone", reason)
        return Redundancy(None, reason)
    if not offered:
        return Redundancy(None, "the peer has not said what its copies are called")
    if insync.get(peer) != offered:
        return Redundancy("together", "the peer holds every write")
    return Redundancy(None, "the peer holds every write, and is listed")


def given_up(before: Mapping[str, str], devices: Sequence[Device]) -> Tuple[str, ...]:
    """Resources whose copy on this node ended while it ran. `before`: disk states by name, at the last look."""
    return tuple(
        device.name
        for device in devices
        if device.disk in GONE
        and before.get(device.name, "") not in ("", *GONE, "Attaching", "Negotiating", "DUnknown")
    )


def forsaken(devices: Sequence[Device], split: Container[str], holds: bool) -> Tuple[str, ...]:
    """Resources that look for their peer no longer, and may. The driver stops for good at what a moment brings about: a
    primary that the other node has overtaken comes back and is refused, and so the survivor would never find the node
    that is started after that. `split`: resources written apart, as far as this node knows; those stay apart. A primary
    without the lease is the one that was overtaken: it had better be left alone."""
    return tuple(
        device.name
        for device in devices
        if device.connection == "StandAlone" and device.name not in split and (device.role != "Primary" or holds)
    )
