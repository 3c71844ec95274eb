"""May this node take the lease? From what etcd has, this node's data and when it saw what, to a verdict and its reason.

Pure, as rules is: no clock, no files, no sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .record import NO_DATA, Record, lists_no_data


@dataclass(frozen=True)
class Verdict:
    """`kind`: "take", "wait" (until `until`), "adopt" (the new epoch enrolled this node) or "barred"."""

    kind: str
    why: str
    # what an operator can do about it; empty when nothing is to be done
    todo: str = ""
    until: float = 0.0


def judge(
    node: str, record: Record, incarnation: str, epoch: int, seen_at: float, now: float, takeover: float
) -> Verdict:
    """`seen_at`: when this node first saw this holder with this counter."""
    lacks = _lacks(node, record, incarnation, epoch)
    if lacks is not None:
        return lacks
    if record.epoch < epoch:
        return Verdict(
            "barred",
            f"these members are of epoch {record.epoch}, this node is of epoch {epoch}: a promotion was forced, and "
            f"members of the old epoch have come back",
            "stop the old members and enrol them again: docs/lease.md, Forced promotion",
        )
    if record.epoch > epoch:
        return Verdict("adopt", f"epoch {record.epoch} enrolled this node with its present incarnation")
    holder = record.holder_node
    if holder is None:
        return Verdict("take", "nobody holds it")
    if holder == node:
        return Verdict("take", "held by an earlier process of this node")
    until = seen_at + takeover
    if now >= until:
        return Verdict("take", f"node {holder} has not renewed for {now - seen_at:.3f} s")
    return Verdict("wait", f"node {holder} renewed {now - seen_at:.3f} s ago", until=until)


def _lacks(node: str, record: Record, incarnation: str, epoch: int) -> Optional[Verdict]:
    """Why this node may lack what was acknowledged; None: it has everything."""
    peer = "b" if node == "a" else "a"
    if incarnation == NO_DATA and record.insync != {}:
        # Whoever takes the lease writes the list. An empty one closes the authority, whatever the pair keeps.
        behind = record.epoch > epoch and (record.insync or {}).get(node) != NO_DATA
        return superseded(node, record.epoch, epoch) if behind else None
    if record.insync is None or lists_no_data(record.insync):
        return Verdict(
            "barred",
            "the pair is not enrolled: etcd has no list of nodes in sync",
            "once, on the node whose data is to be kept: hotpair-lease enroll",
        )
    listed = ", ".join(sorted(record.insync)) or "no node"
    if not incarnation:
        return Verdict(
            "barred",
            "this node's data has no incarnation: it was never provisioned here",
            f"provision it from node {peer}, which then lists it as in sync",
        )
    if record.epoch > epoch and record.insync.get(node) != incarnation:
        return superseded(node, record.epoch, epoch)
    if node not in record.insync:
        return Verdict(
            "barred",
            f"not in sync: etcd lists {listed}, so node {peer} may have acknowledged writes that this node lacks",
            f"bring node {peer} back and let this one catch up; if it is gone for good, `hotpair promote --node {node} "
            f"--i-know-the-peer-is-down` starts with the data of this node and loses what only node {peer} has",
        )
    if record.insync[node] != incarnation:
        return Verdict(
            "barred",
            f'not in sync: etcd lists incarnation "{record.insync[node]}" of this node, its data is "{incarnation}", '
            f"restarted or replaced since",
            f"bring node {peer} back and let this one catch up; if it is gone for good, `hotpair promote --node {node} "
            f"--i-know-the-peer-is-down` starts with the data of this node",
        )
    return None


@dataclass(frozen=True)
class Seen:
    """What the observer of this boot has watched already, on the same clock."""

    epoch: int
    holder_mod: int
    seq_mod: int
    # when it first saw this holder with this counter
    since: float
    # when it last asked the peer's member, whether or not it answered, and the highest epoch that any member told
    peer_asked_at: float
    highest_epoch: int


def superseded(node: str, newest: int, epoch: int) -> Verdict:
    return Verdict(
        "barred",
        f"epoch {newest} began, this node is of epoch {epoch}: the other node was promoted by force meanwhile",
        f"take node {node} in again: docs/lease.md, Forced promotion",
    )


class Sight:
    """When this node first saw the holder with its present counter: the start of T."""

    def __init__(self) -> None:
        self.record: Optional[Record] = None
        self.since = 0.0
        self._credit: Optional[Seen] = None

    def credit(self, seen: Seen) -> None:
        self._credit = seen

    def saw(self, record: Record, now: float) -> bool:
        """True when it is news. An answer older than what is known is none; each epoch counts its revisions anew."""
        known = self.record
        if known is not None and known.epoch == record.epoch:
            if record.seq_mod < known.seq_mod or record.holder_mod < known.holder_mod:
                return False
            if (record.holder_mod, record.seq_mod) == (known.holder_mod, known.seq_mod):
                self.record = record
                self._apply_credit(record)
                return record != known
        elif known is not None and record.epoch < known.epoch:
            return False
        self.record = record
        self.since = now
        self._apply_credit(record)
        return True

    def _apply_credit(self, record: Record) -> None:
        seen = self._credit
        if seen is not None and (seen.epoch, seen.holder_mod, seen.seq_mod) == (
            record.epoch,
            record.holder_mod,
            record.seq_mod,
        ):
            self.since = min(self.since, seen.since)
