"""What a node says of itself to its peer, 50 times a second; beacon puts it into bytes. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Mapping, Optional


class Gate(enum.IntEnum):
    """State of a gate as the beacon carries it. READY: closed, no reason left, lets the peer go first."""

    OPEN = 0
    CLOSED = 1
    READY = 2


@dataclass(frozen=True)
class PeerVip:
    """What the peer says of one VIP."""

    held: bool = False
    state: str = "unknown"
    gate: Gate = Gate.OPEN
    # seconds since it saw our advert; None: never
    advert_age: Optional[float] = None
    # an operator switched it away from there: it is not to come home by itself
    declines: bool = False
    # its gate is closed for no other reason than that this node is active
    standby: bool = False
    # it is handing this VIP over to this node
    yields: bool = False


@dataclass(frozen=True)
class Standing:
    """What a node says of itself and the authority."""

    # it holds the lease
    lease: bool = False
    # it reaches the quorum
    quorum: bool = False
    # it hears the witness
    witness: bool = False
    # `insync` lists it; None: not known there
    insync: Optional[bool] = None


@dataclass(frozen=True)
class Word:
    """What the peer says of itself: the payload of a beacon."""

    vips: Mapping[str, PeerVip] = field(default_factory=dict)
    digest: str = ""
    maintenance: bool = False
    # keepalived: "running", "stopped" or "hung"
    keepalived: str = "running"
    # HAProxy: "ok", "dead", or "none" when the pair has none or nothing is known yet
    service: str = "none"
    # gateway of the public network: "ok", "lost" or "none"
    gateway: str = "none"
    public_up: bool = True
    # an apply is changing this node
    applying: bool = False
    # None: the peer has no authority, or is of a release that knows none
    standing: Optional[Standing] = None
