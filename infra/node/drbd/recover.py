"""Split brain: what each side holds, and giving one side's copy up, by the typed word of whoever is responsible.

Nothing here runs by itself. The copies were written apart, both stay as they are, and no software knows whose writes
the world has seen.
"""

from __future__ import annotations

from typing import Callable, List, Sequence

from . import record
from .authority import Authority, Refused
from .kernel import KernelError, order
from .rules import Device
from .settings import Settings

Order = Callable[..., str]


class Refusal(Exception):
    """One line: why not, and what to do."""


def apart(settings: Settings, devices: Sequence[Device]) -> List[Device]:
    """Resources that the driver found written apart, or that no longer look for their peer."""
    noted = record.read(settings, record.SPLIT_BRAIN)
    return [device for device in devices if device.connection == "StandAlone" or device.name in noted]


def show(settings: Settings, authority: Authority, devices: Sequence[Device], tell: Order = order) -> List[str]:
    """What this node holds; the other one says the rest. Changes nothing."""
    found = apart(settings, devices)
    if not found:
        return ["nothing is apart here"]
    noted = record.read(settings, record.SPLIT_BRAIN)
    lines: List[str] = []
    for device in found:
        since = f" since {noted[device.name]}" if device.name in noted else ""
        lines.append(
            f"{device.name}: apart{since}; {device.role}, {device.disk}; at least {device.out_of_sync} KiB here are "
            f"not known to be on {settings.peer_name}"
        )
        try:
            lines += [f"  {line}" for line in tell("show-gi", device.name).splitlines() if line.strip()]
        except KernelError as error:
            lines.append(f"  {error}")
    holding = "holds" if authority.holds() else "does not hold"
    lines.append(f"this node {holding} the lease; the same on {settings.peer_name}: hotpair-drbd recover")
    lines.append(
        "to give this node's copy up, after saving what is needed of it: "
        f"hotpair-drbd recover --discard {settings.name}"
    )
    return lines


def discard(
    settings: Settings, authority: Authority, look: Callable[[], Sequence[Device]], consent: str, tell: Order = order
) -> List[str]:
    """This node's copy becomes one of the peer's. Raises Refusal, having changed nothing, or KernelError."""
    devices = look()
    found = apart(settings, devices)
    if consent != settings.name:
        raise Refusal(
            f"this gives up what {settings.name} alone holds. Nothing was changed; consent is: "
            f"hotpair-drbd recover --discard {settings.name}"
        )
    if not found:
        raise Refusal("nothing is apart here: there is nothing to give up")
    if authority.holds():
        raise Refusal(f"this node holds the lease: its copy is the pair's; give {settings.peer_name}'s up, there")
    insync = authority.insync()
    if insync is None:
        raise Refusal("it is not known whose copy counts: no quorum of etcd's members answers")
    if settings.peer not in insync:
        raise Refusal(
            f"insync does not list {settings.peer_name}: its copy is not known to hold what was acknowledged; see on "
            "both nodes: hotpair-lease status"
        )
    busy = [device.name for device in found if device.role == "Primary"]
    if busy:
        raise Refusal(f"{', '.join(busy)} is primary here; first: systemctl stop hotpair-active.target")
    # From here on nobody counts on this copy, whatever becomes of the rest.
    authority.call_copies(record.new_incarnation())
    record.audit(settings, "split brain", "given up", f"{', '.join(device.name for device in found)}, by hand")
    try:
        authority.offer()
    except Refused as error:
        print(f"{error}; hotpair-drbd-watch says it later", flush=True)
    for device in found:
        if device.connection != "StandAlone":
            tell("disconnect", device.name)
        tell("connect", "--discard-my-data", device.name)
    names = " ".join(device.name for device in found)
    return [
        f"given up: {names}; {settings.peer_name}'s copy comes now: hotpair-drbd status",
        f"if {settings.peer_name} does not look for its peer (StandAlone), there: drbdadm connect {names}",
    ]
