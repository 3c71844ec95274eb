"""What the rules know of this node and remember of each VIP, and the verdict that they come to. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .quorum import NEVER
from .word import Gate

# After a hand-over that was called off, or that came back, automatic ones wait (seconds), doubling up to the maximum.
BACKOFF_FIRST = 30.0
BACKOFF_MAX = 600.0


@dataclass
class Own:
    """What this node observes of itself, handed to `decide`."""

    maintenance: bool = False
    keepalived: str = "running"
    service: str = "none"
    gateway: str = "none"
    public_up: bool = True
    applying: bool = False


@dataclass(frozen=True)
class Verdict:
    closed: bool
    reason: str = ""
    # the veto expires at this moment, whoever is alive to renew it
    until: float = NEVER
    ready: bool = False
    # closed for no other reason than that the peer is active: as it should be, on a standby
    standby: bool = False

    @property
    def gate(self) -> Gate:
        if not self.closed:
            return Gate.OPEN
        return Gate.READY if self.ready else Gate.CLOSED


OPEN = Verdict(False)


@dataclass
class Yield:
    """A hand-over under way: the gate is closed until the peer has the VIP, or until the deadline."""

    reason: str
    started: float
    deadline: float
    automatic: bool
    stay: bool = False
    # what writes on this node is being stopped, and the lease released; the VIP goes after that
    demoting: bool = False


@dataclass
class VipMemory:
    """What is remembered of one VIP. Observations, not decisions: the decision is made anew each time."""

    held: bool = False
    held_since: float = NEVER
    lost_at: float = NEVER
    state: str = "unknown"
    state_since: float = NEVER
    # last advert of the peer with a priority above 0, by the kernel's receive stamp
    advert_at: float = NEVER
    # last beacon of the peer that said "held"
    peer_held_at: float = NEVER
    peer_free_at: float = NEVER
    conflict_since: Optional[float] = None
    turn_since: Optional[float] = None
    verdict: Verdict = OPEN
    closed_since: Optional[float] = None
    yielding: Optional[Yield] = None
    peer_fit_since: Optional[float] = None
    retry_at: float = NEVER
    backoff: float = BACKOFF_FIRST
    gone_home_at: float = NEVER
    declines_until: float = NEVER
    # until then the peer hands this VIP over, by its last word about it
    invited_until: float = NEVER


@dataclass(frozen=True)
class Event:
    """Something that happened and that an operator may read about, besides the verdict."""

    vip: str
    kind: str
    text: str
