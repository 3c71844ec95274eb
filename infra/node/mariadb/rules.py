"""Every decision of hotpair-mariadb, as functions of what is known: no server, no clock, no file.

The promise behind all of them: a node that the key `insync` lists, with the incarnation of the server that runs there,
holds every write that a client was told is stored. It may hold the last of them only in its relay log, which no restart
of the server and no restart of its replication threads survives (docs/mariadb.md#incarnation).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Mapping, Optional, Sequence, Tuple

from . import gtid

# ---- what the disk says about this node's data


class Role(Enum):
    # no data that hotpair knows of
    NEW = "new"
    # was promoted; everything it acknowledged is in its own binary log, on disk
    PRIMARY = "primary"
    # follows; the newest of what it acknowledged may be in its relay log only
    REPLICA = "replica"


@dataclass(frozen=True)
class Authority:
    """What the lease says, as far as this node can see it."""

    # this node holds the lease, by the deadline on disk
    mine: bool
    # the peer holds it, freshly seen; False also when nobody answers
    peers: bool
    # node to incarnation; None: unknown (no answer); empty: known to be empty
    insync: Optional[Mapping[str, str]]
    # this node holds it, and hands over: its server ended
    giving: bool = False


class Start(Enum):
    # keep transactions that were prepared and not acknowledged: this server goes on as the primary
    AS_PRIMARY = "MASTER"
    # cut them off the binary log: another server has the right to write
    AS_REPLICA = "SLAVE"
    WAIT = "WAIT"


@dataclass(frozen=True)
class StartDecision:
    start: Start
    reason: str


def renews_at_start(role: Role) -> bool:
    """Whether a start of the server, whatever it is for, must begin with a new incarnation.

    A replica's restart throws its unapplied relay log away. A primary's own log is on disk (sync_binlog=1), so that a
    restarted primary holds what it held: with a new incarnation it could not come back after both nodes lost power.
    """
    return role is not Role.PRIMARY


def start_decision(role: Role, node: str, incarnation: str, authority: Authority) -> StartDecision:
    """How to start the server, or to wait for the lease to say so.

    Truncating (AS_REPLICA) may cut off transactions that the peer acknowledged and that this server had not committed
    yet. So it is right only when nobody can ever count on this copy again: the peer has the right to write and has
    taken this node's incarnation out of `insync`. Not truncating (AS_PRIMARY) keeps transactions that nobody
    acknowledged; on any server but the one that goes on as primary they make it diverge.
    """
    if authority.mine and authority.giving:
        # Going on as the primary would keep what nobody acknowledged, and the peer is about to be promoted without it.
        return StartDecision(Start.WAIT, "the server ended; the peer is asked to take over")
    if authority.mine:
        return StartDecision(Start.AS_PRIMARY, "this node holds the lease")
    if not authority.peers:
        return StartDecision(Start.WAIT, "nobody is known to hold the lease")
    if authority.insync is None:
        return StartDecision(Start.WAIT, "the peer holds the lease, but the key insync could not be read")
    if authority.insync.get(node) == incarnation and incarnation != "":
        return StartDecision(
            Start.WAIT, "the peer holds the lease, but still counts on this node's data: it is being promoted"
        )
    return StartDecision(Start.AS_REPLICA, f"the peer holds the lease; this node was a {role.value} before")


# ---- promotion


@dataclass(frozen=True)
class ReplicationSeen:
    """SHOW SLAVE STATUS, as far as decisions need it."""

    configured: bool
    source: str = ""
    io_running: str = "No"
    sql_running: str = "No"
    io_errno: int = 0
    io_error: str = ""
    sql_errno: int = 0
    sql_error: str = ""
    # what the relay log holds, applied or not
    received: str = ""
    # whether the IO thread exists, connected or not
    io_thread: bool = False


@dataclass(frozen=True)
class PromotionInput:
    node: str
    role: Role
    # of the server process that runs now; None: not started by hotpair-mariadb
    server_incarnation: Optional[str]
    insync: Optional[Mapping[str, str]]
    replication: ReplicationSeen
    # id of the session of the thread that applies, as noted when replication was started; None: it never was
    applier_noted: Optional[str]
    applier_now: Optional[str]


class PromotionWay(Enum):
    # wait for the relay log to be applied, then stop replication
    APPLY = "apply"
    # nothing is left in a relay log
    OPEN = "open"
    REFUSE = "refuse"


@dataclass(frozen=True)
class PromotionDecision:
    way: PromotionWay
    reason: str


def promotion_decision(seen: PromotionInput) -> PromotionDecision:
    """Whether the server that runs now holds every acknowledged write, and what must happen before it may take more."""
    if seen.insync is None:
        return PromotionDecision(PromotionWay.REFUSE, "the key insync could not be read")
    listed = seen.insync.get(seen.node)
    if listed is None:
        return PromotionDecision(
            PromotionWay.REFUSE,
            "this node is not listed in insync: the peer has acknowledged writes that this node does not have",
        )
    if seen.server_incarnation is None:
        return PromotionDecision(PromotionWay.REFUSE, "the server was not started by hotpair-mariadb.service")
    if seen.server_incarnation != listed:
        return PromotionDecision(
            PromotionWay.REFUSE,
            f"the server was restarted since (incarnation {seen.server_incarnation}, insync lists {listed}): "
            "writes that it had acknowledged and not applied yet are gone from here",
        )
    replication = seen.replication
    if not replication.configured:
        return PromotionDecision(PromotionWay.OPEN, "this server follows nobody")
    if seen.applier_noted is None and not replication.io_thread and replication.sql_running == "No":
        return PromotionDecision(PromotionWay.OPEN, "replication was not started since the server was")
    if seen.applier_noted is not None and seen.applier_noted != seen.applier_now:
        return PromotionDecision(
            PromotionWay.REFUSE,
            "replication was stopped or restarted by hand: writes that were acknowledged and not applied may be gone",
        )
    if replication.sql_running != "Yes":
        return PromotionDecision(
            PromotionWay.REFUSE,
            "the replica cannot apply what it has acknowledged "
            f"(error {replication.sql_errno}: {replication.sql_error})",
        )
    return PromotionDecision(PromotionWay.APPLY, "replication runs")


# ---- rejoin


@dataclass(frozen=True)
class PeerSeen:
    """What the peer says of itself over the channel between the nodes."""

    node: str
    # writable and holding the lease
    primary: bool
    incarnation: Optional[str]
    position: str
    # positions at which the peer was promoted, oldest first, each with what its peer was called then
    promotions: Tuple[str, ...]


class Rejoin(Enum):
    FOLLOW = "follow"
    # no data here: take all of it from the peer
    PROVISION = "provision"
    # more, or other, transactions than the peer has
    DIVERGED = "diverged"
    # the peer no longer keeps the logs that this node would need
    TOO_OLD = "too old"
    WAIT = "wait"


@dataclass(frozen=True)
class RejoinDecision:
    rejoin: Rejoin
    reason: str
    transactions: Tuple[str, ...] = ()


# What a server answers that cannot send what was asked for (ER_MASTER_FATAL_ERROR_READING_BINLOG).
FATAL_READING = 1236
PURGED = ("purged", "could not find gtid state", "not find")
OTHER_HISTORY = ("not in the master's binlog", "diverged", "not in the binlog")


def rejoin_decision(own: str, own_server: int, peer: PeerSeen) -> RejoinDecision:
    """Whether this node's data is a beginning of the peer's. `own`: everything that this server ever logged or applied.

    Transactions with this server's own number that lie beyond the point at which the peer took over are ones that
    nobody acknowledged and that the start did not cut off. The peer's own check while connecting sees the rest.
    """
    if not peer.primary:
        return RejoinDecision(Rejoin.WAIT, "the peer is not the primary yet")
    here = gtid.parse(own)
    beyond = gtid.beyond(here, gtid.parse(peer.position))
    if beyond:
        return RejoinDecision(
            Rejoin.DIVERGED,
            f"this node is at {own}, the primary only at {peer.position}",
            tuple(str(each) for each in beyond),
        )
    for point in peer.promotions[-1:]:
        ahead = tuple(str(each) for each in gtid.beyond(here, gtid.parse(point)) if each.server == own_server)
        if ahead:
            return RejoinDecision(
                Rejoin.DIVERGED, f"this node wrote on after the peer was promoted at {point or 'the beginning'}", ahead
            )
    return RejoinDecision(Rejoin.FOLLOW, "this node's data is a beginning of the primary's")


def connection_verdict(replication: ReplicationSeen) -> Optional[RejoinDecision]:
    """What the primary's refusal means; None: no refusal that a retry could not heal."""
    if replication.io_errno != FATAL_READING:
        return None
    text = replication.io_error.lower()
    if any(words in text for words in OTHER_HISTORY):
        return RejoinDecision(Rejoin.DIVERGED, replication.io_error)
    if any(words in text for words in PURGED):
        return RejoinDecision(Rejoin.TOO_OLD, replication.io_error)
    return RejoinDecision(Rejoin.DIVERGED, replication.io_error)


# ---- redundancy, seen from the primary


class Step(Enum):
    NONE = "none"
    # remove the peer from insync; then, and only then, SEMI_SYNC_OFF
    ALONE = "alone"
    SEMI_SYNC_OFF = "semi-sync off"
    SEMI_SYNC_ON = "semi-sync on"
    # the peer has everything: add it to insync
    TOGETHER = "together"


@dataclass(frozen=True)
class Timing:
    # a commit that waits this long for its acknowledgement means that the replica is lost
    loss: float = 1.0
    # no session of the replica on this server for this long means the same
    disconnected: float = 0.3
    # how far behind a replica may be for commits to begin to wait for it
    near: float = 1.0
    # catch-up after commits began to wait must end within this
    catch_up: float = 3.0


@dataclass(frozen=True)
class ReplicaSeen:
    """The peer as a replica, by its own words; every field of one answer of one server process."""

    incarnation: str
    following: bool
    io_running: bool
    sql_running: bool
    sql_errno: int
    lag: Optional[float]
    position: str


@dataclass(frozen=True)
class PrimarySeen:
    node: str
    peer: str
    insync: Optional[Mapping[str, str]]
    semi_sync: bool
    # how long the oldest write waits for its acknowledgement; 0: none waits
    waiting: float
    # how long no session of the replica has been connected; 0: one is
    unconnected: float
    replica: Optional[ReplicaSeen]
    # position of this server after commits began to wait for the replica; None: they do not, or it is not known
    goal: Optional[str]
    # how long they have
    since_semi_sync: float


@dataclass(frozen=True)
class StepDecision:
    step: Step
    reason: str
    incarnation: str = ""


def redundancy_step(seen: PrimarySeen, timing: Timing) -> StepDecision:
    """The one next step towards what can be had: both nodes in insync and commits that wait, or this node alone.

    Order is everything: commits wait *before* the peer is listed, and the peer is unlisted *before* they stop waiting.
    """
    if seen.insync is None:
        return StepDecision(Step.NONE, "the key insync could not be read")
    listed = seen.insync.get(seen.peer)
    lost = _lost(seen, timing)
    if listed is not None:
        if not seen.semi_sync:
            return StepDecision(Step.ALONE, "commits did not wait for the peer although insync lists it")
        if lost is not None:
            return StepDecision(Step.ALONE, lost)
        if seen.replica is not None and seen.replica.incarnation != listed:
            return StepDecision(Step.ALONE, "the replica's server was restarted")
        if seen.replica is not None and seen.replica.sql_errno != 0:
            return StepDecision(
                Step.ALONE, f"the replica cannot apply what it receives (error {seen.replica.sql_errno})"
            )
        return StepDecision(Step.NONE, "redundant")
    replica = seen.replica
    good = replica is not None and replica.following and replica.io_running and replica.sql_running
    if seen.semi_sync:
        if lost is not None:
            return StepDecision(Step.SEMI_SYNC_OFF, lost)
        if not good or replica is None:
            return StepDecision(Step.SEMI_SYNC_OFF, "no replica follows")
        if seen.goal is not None and gtid.reaches(gtid.parse(replica.position), gtid.parse(seen.goal)):
            return StepDecision(Step.TOGETHER, f"the replica has applied {seen.goal}", replica.incarnation)
        if seen.since_semi_sync > timing.catch_up:
            return StepDecision(Step.SEMI_SYNC_OFF, "the replica did not catch up in time")
        return StepDecision(Step.NONE, "the replica catches up")
    if good and replica is not None and seen.unconnected == 0 and replica.lag is not None and replica.lag < timing.near:
        return StepDecision(Step.SEMI_SYNC_ON, "the replica is near")
    return StepDecision(Step.NONE, "alone")


def _lost(seen: PrimarySeen, timing: Timing) -> Optional[str]:
    if not seen.semi_sync:
        return None
    if seen.waiting > timing.loss:
        return f"a write has waited {seen.waiting:.2f} s for the replica's acknowledgement"
    if seen.unconnected > timing.disconnected:
        return f"the replica has not been connected for {seen.unconnected:.2f} s"
    return None


# ---- what HAProxy is told


@dataclass(frozen=True)
class ServingSeen:
    holds_lease: bool
    # promoted and not about to hand over; None: the server does not answer
    writable: Optional[bool]
    lag: Optional[float]
    replicating: bool


def takes_writes(seen: ServingSeen) -> Tuple[bool, str]:
    if not seen.holds_lease:
        return False, "replica: this node does not hold the lease"
    if seen.writable is None:
        return False, "the server does not answer"
    if not seen.writable:
        return False, "read-only: not promoted yet, or handing over"
    return True, "primary"


def takes_reads(seen: ServingSeen, longest_lag: Optional[float]) -> Tuple[bool, str]:
    """A replica that is near enough. Where there is none, HAProxy sends reads to the primary by itself."""
    if longest_lag is None:
        return False, "reads of the replica are not configured"
    if takes_writes(seen)[0]:
        return False, "primary"
    if not seen.replicating or seen.lag is None:
        return False, "not replicating: how old the data is is not known"
    if seen.lag > longest_lag:
        return False, f"{seen.lag * 1000:.0f} ms behind, more than {longest_lag * 1000:.0f} ms"
    return True, f"replica, {seen.lag * 1000:.0f} ms behind"


def lag_of(heartbeats: Sequence[Tuple[float, float]], now: float) -> Optional[float]:
    """Lag from heartbeat rows as (written at, by the primary's clock; offset of that clock to this node's).

    The newest row that was applied says how old the data is: at most the interval between rows too much, never too
    little by more than half of the round trip in which the offset was measured.
    """
    if not heartbeats:
        return None
    written, offset = max(heartbeats)
    return max(0.0, now + offset - written)
