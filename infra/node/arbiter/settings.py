"""What the pair was told about itself: names, nodes, times. Pure; config reads it from its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from .quorum import Authority

# Longest planned hand-over of a pair whose lease is quicker (seconds).
HAND_OVER = 5.0


@dataclass(frozen=True)
class VipSettings:
    name: str
    # "a", "b" or None: no preference
    preferred: Optional[str]


@dataclass(frozen=True)
class Settings:
    """Seconds throughout; `node` and `peer` are "a" and "b"."""

    node: str
    peer: str
    vips: Tuple[VipSettings, ...]
    # keepalived keeps the VIP of the node with the higher heartbeat address when two owners of equal priority meet
    # (RFC 9568 §6.4.3); the arbiter decides alike.
    wins_conflict: bool
    digest: str
    advert: float = 0.1
    priority: int = 253
    beacon: float = 0.020
    silence: float = 0.150
    evidence: float = 0.200
    hold: float = 45.0
    service_dead: float = 2.0
    failback: float = 10.0
    # None: no witness, so the fast gate
    authority: Optional[Authority] = None

    @property
    def hand_over(self) -> float:
        """A planned hand-over is called off after this long (seconds). What writes is stopped first; a slow pair has
        a slow lease."""
        return HAND_OVER if self.authority is None else max(HAND_OVER, self.authority.takeover)

    @property
    def master_down(self) -> float:
        """Silence after which a backup takes over (RFC 9568 §6.1)."""
        return 3 * self.advert + (256 - self.priority) * self.advert / 256
