"""What this node knows of the pair's authority (three etcd members, the lease, `insync`), and how sure of it it may be.

Pure: fed with the observer's reports and with the deadline of this node's own lease; seconds of CLOCK_BOOTTIME.
Knowledge ages. An observer that has stopped reporting says nothing of what is silent, only of what it last saw.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Optional, Tuple

NEVER = float("-inf")

# The observer reports at every change and at least every 0.1 s; three missed reports, and a whole interval of the lease
# where that is longer, and it counts as silent (seconds).
OBSERVER_SILENT = 0.350
# A renewal is read by the observer and passed on within this time (seconds): its own interval and the way here.
PASSED_ON = 0.100
# Two nodes that lose the quorum at the same moment notice it this far apart at most (seconds).
NOTICED_ALIKE = 0.250


@dataclass(frozen=True)
class Authority:
    """Of /etc/hotpair/arbiter.json, as the lease has it; seconds."""

    witness: str
    # R: time between renewals
    renewal: float = 0.1
    # D: the holder stops this long after its last acknowledged renewal
    deadline: float = 0.8
    # T: a challenger takes the lease this long after the last renewal that it saw
    takeover: float = 1.5


@dataclass(frozen=True)
class Report:
    """One datagram of the observer (hotpair-quorum.service). Moments are of this node's CLOCK_BOOTTIME."""

    # "a", "b", or None: nobody holds the lease
    holder: Optional[str]
    # when this node first saw the newest renewal, from either member; NEVER: none seen
    renewed_at: float
    # nodes known to hold every acknowledged write; None: the key does not exist or was never read
    insync: Optional[Tuple[str, ...]]
    quorum_at: float
    witness_at: float
    epoch: int
    # when this node's own member last answered with a quorum; an observer of an earlier release does not say
    own_at: float = NEVER


def parse(datagram: bytes) -> Optional[Report]:
    """None: not understood."""
    try:
        said = json.loads(datagram)
        if said["v"] != 1 or said["holder"] not in ("a", "b", None):
            return None
        insync = said["insync"]
        return Report(
            holder=said["holder"],
            renewed_at=_moment(said["renewed_at"]),
            insync=None if insync is None else tuple(sorted(str(node) for node in insync)),
            quorum_at=_moment(said["quorum_at"]),
            witness_at=_moment(said["witness_at"]),
            epoch=int(said["epoch"]),
            own_at=_moment(said.get("own_at")),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _moment(value: Optional[float]) -> float:
    return NEVER if value is None else float(value)


class Quorum:
    def __init__(self, authority: Authority, node: str, peer: str, evidence: float, master_down: float) -> None:
        """`evidence`: how long a beacon proves something; `master_down`: VRRP's timer, which runs once the gate is open
        (seconds)."""
        self.authority = authority
        self._node = node
        self._peer = peer
        # What a peer that is not heard any more last said of itself, by beacon or renewal, counts until VRRP's timer
        # ends with T: nothing that holds state could start here before, and an owner that is still there has that long
        # to show itself, through elections and the start of its lease.
        self.peer_evidence = max(evidence + authority.renewal + PASSED_ON, authority.takeover - master_down)
        # Less than T by far: who is cut off lets go before the other takes over.
        self.witness_evidence = max(evidence + PASSED_ON, authority.deadline)
        self.report: Optional[Report] = None
        self.report_at = NEVER
        # until then this node holds the lease, by the deadline that its own holder wrote down
        self.lease_until = NEVER

    def heard(self, report: Report, now: float) -> None:
        self.report = report
        self.report_at = now

    # ---- what is known

    def observed(self, now: float) -> bool:
        return now - self.report_at < max(OBSERVER_SILENT, self.authority.renewal)

    def mine(self, now: float) -> bool:
        """This node holds the lease."""
        return now < self.lease_until

    def quorate(self, now: float) -> bool:
        """This node reached the quorum within the lease's deadline."""
        return self.observed(now) and self.report is not None and now - self.report.quorum_at < self.authority.deadline

    def lost(self, now: float) -> bool:
        """The observer lives and says that this node has not reached the quorum for so long that the peer, did it lose
        it at the same moment, would have noticed."""
        since = NEVER if self.report is None else self.report.quorum_at
        return self.observed(now) and now - since >= self.authority.deadline + NOTICED_ALIKE

    def sees_witness(self, now: float) -> bool:
        return self.observed(now) and self.report is not None and now - self.report.witness_at < self.witness_evidence

    @property
    def witness_at(self) -> float:
        return NEVER if self.report is None else self.report.witness_at

    def witness_silent(self, now: float) -> bool:
        """It answered before and does not any more; a silent observer is no silent witness."""
        return self.observed(now) and self.witness_at != NEVER and not self.sees_witness(now)

    def peer_renews_until(self, since: float = NEVER) -> float:
        """Until when the peer's renewals prove that it is active; NEVER: they do not. `since`: not older ones."""
        report = self.report
        if report is None or report.holder != self._peer or report.renewed_at <= since:
            return NEVER
        return report.renewed_at + self.peer_evidence

    def listed(self, node: str) -> Optional[bool]:
        """Whether `insync` lists a node; None: not known, or there is no such list yet. It changes by quorum alone."""
        report = self.report
        return None if report is None or report.insync is None else node in report.insync

    @property
    def alone(self) -> bool:
        """`insync` is this node alone: whoever else lives, nobody else may start."""
        return self.report is not None and self.report.insync == (self._node,)
