"""The times of the lease, and the rule that makes them safe (docs/lease.md). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List


@dataclass(frozen=True)
class Timing:
    """Seconds; names as in `hotpair:pair.authority.lease`."""

    renewal: float = 0.1
    rpc_timeout: float = 0.2
    deadline: float = 0.8
    takeover: float = 1.5
    watchdog: float = 0.8
    stop_timeout: float = 0.2
    drift: float = 0.001
    margin: float = 0.05

    @property
    def patience(self) -> float:
        """Longest wait of a person's command for one member, its first connection included."""
        return max(1.0, self.rpc_timeout)


def broken_rules(timing: Timing, chain_stop: float, election: float = 0.3) -> List[str]:
    """`chain_stop` is S, the summed stop times of the chain (seconds); `election` is etcd's election timeout."""
    found: List[str] = []
    worst = max(timing.deadline, timing.rpc_timeout + timing.watchdog)
    if not timing.takeover * (1 - timing.drift) > worst + chain_stop + timing.margin:
        need = (worst + chain_stop + timing.margin) / (1 - timing.drift)
        found.append(
            f"takeover {timing.takeover:g} s is too short: T × (1 − drift) must be more than max(D, RPC timeout + "
            f"watchdog) + S + margin = {worst:g} + {chain_stop:g} + {timing.margin:g} s, so more than {need:.3f} s"
        )
    if not timing.deadline > 2 * election + timing.renewal:
        found.append(
            f"deadline {timing.deadline:g} s is too short: it must be more than 2 × election timeout + renewal "
            f"interval = {2 * election + timing.renewal:g} s, or an election of etcd stops the service"
        )
    return found
