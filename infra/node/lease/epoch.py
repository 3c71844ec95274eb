"""Starts a new epoch by force: the operator says that the peer is off, and this node goes on with what it has.

The old authority is left behind, not repaired. Where a quorum of it still answers, nobody is in sync there from then
on, so that it can never let anybody write. Then this node's member becomes a cluster of its own under a new token
(hotpair-etcd), in which this node alone is in sync. Members of the old epoch ask the others for their epoch before they
start, and stay away; what this cannot cover is written in docs/lease.md.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from typing import Any, Dict, List, Optional

from . import journal
from .etcd import EtcdError, ask_all, member_of, now
from .record import (
    EPOCH,
    HOLDER,
    INSYNC,
    LOOK,
    NO_DATA,
    READ,
    SEQ,
    Answer,
    Compare,
    Record,
    Request,
    beginning,
    insync_text,
)
from .settings import Settings, read_epoch, read_incarnation

CONSENT = "--i-know-the-peer-is-down"
# For a stop and a start of the member, as hotpair-etcd waits for it (seconds).
_MEMBER_STARTS = 60.0


class Refusal(Exception):
    """One line: why not, and what to do."""


def force(settings: Settings, consent: bool) -> str:
    if journal.published(settings.run) > now():
        raise Refusal("this node holds the lease already; nothing needs to be forced")
    incarnation = read_incarnation(settings)
    if not incarnation:
        raise Refusal(f"{settings.incarnation_path} is absent: this node has no data to go on with")
    here = read_epoch(settings)
    known = _known(settings)
    if _left_half_way(settings, here):
        return _seed(settings, incarnation, here)
    if not consent:
        raise Refusal(f"{_describe(settings, known, incarnation)}. To go on without it: hotpair-lease force {CONSENT}")
    _refuse_a_living_peer(settings)
    quorum = _quorum(settings)
    if quorum is not None:
        _refuse_a_renewed_lease(settings, quorum)
        _close(settings)
    _new_cluster(settings)
    return _seed(settings, incarnation, read_epoch(settings))


def _known(settings: Settings) -> Optional[Record]:
    """The newest that any member tells, without quorum if need be."""
    records = [
        answer.record
        for answer in ask_all(settings, LOOK, settings.timing.patience).values()
        if isinstance(answer, Answer)
    ]
    return max(records, key=lambda record: (record.epoch, record.seq_mod), default=None)


def _describe(settings: Settings, known: Optional[Record], incarnation: str) -> str:
    if known is None:
        return "no member of etcd answers: what the peer acknowledged last is not known and may be lost"
    listed = dict(known.insync or {})
    if listed.get(settings.node) == incarnation:
        loss = "this node was in sync when that was written: it has every write acknowledged until then"
    elif settings.node in listed:
        loss = "this node's data was restarted or replaced since it was in sync: acknowledged writes may be lost"
    else:
        loss = f"this node was NOT in sync: what node {settings.peer} acknowledged since then is lost"
    return (
        f"as far as this node knows (epoch {known.epoch}, renewal {known.seq}): "
        f"holder {known.holder_node or 'nobody'}, in sync {', '.join(sorted(listed)) or 'nobody'}; {loss}"
    )


def _quorum(settings: Settings) -> Optional[Record]:
    for answer in ask_all(settings, READ, settings.timing.patience).values():
        if isinstance(answer, Answer):
            return answer.record
    return None


# A confirmation by fencing is as good as silence for this long (seconds): nobody has switched the peer on again since.
_FENCED_FOR = 60.0


def _fenced(settings: Settings) -> bool:
    """Whether the peer was just confirmed off by its power controller (hotpair-fence)."""
    try:
        with open(settings.fence_path, encoding="utf-8") as file:
            last = json.load(file)["last"]
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return (
            last["outcome"] == "confirmed"
            and last["boot"] == boot
            and 0.0 <= now() - float(last["endedAt"]) <= _FENCED_FOR
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _refuse_a_living_peer(settings: Settings) -> None:
    """A host that is off answers nothing, not even that a port is closed. Somebody else may answer in its place,
    so what its power controller says counts more."""
    if _fenced(settings):
        return
    endpoint = settings.endpoints[settings.peer]
    try:
        socket.create_connection(endpoint, timeout=settings.timing.patience).close()
    except ConnectionRefusedError:
        pass
    except OSError:
        return
    raise Refusal(
        f"{settings.peer_name} answers at {endpoint[0]}: it is not off. Switch it off, or cut its power, and try again"
    )


def _refuse_a_renewed_lease(settings: Settings, before: Record) -> None:
    if not before.holder:
        return
    time.sleep(settings.timing.takeover)
    after = _quorum(settings)
    if after is None or after.seq_mod != before.seq_mod:
        raise Refusal(f"node {before.holder_node} renews the lease: it is not off. Switch it off and try again")


def _close(settings: Settings) -> None:
    """In the old authority nobody is in sync from now on: whoever comes back there cannot begin."""
    before = _quorum(settings)
    if before is None or before.insync == {}:
        return
    request = Request(
        compares=(
            Compare(HOLDER, "mod", before.holder_mod),
            Compare(SEQ, "mod", before.seq_mod),
            Compare(INSYNC, "mod", before.insync_mod),
        ),
        puts=((INSYNC, insync_text({})), (HOLDER, "")),
    )
    said = ask_all(settings, request, settings.timing.patience)
    if any(isinstance(answer, Answer) and answer.succeeded for answer in said.values()):
        return
    after = _quorum(settings)
    if after is None or after.insync != {}:
        raise Refusal("the old authority changed in the meantime; look at hotpair-lease status and try again")


def _new_cluster(settings: Settings) -> None:
    """Leaves the other members behind. Writes the epoch file before the member starts."""
    command = [settings.etcd_program, settings.pair, "new-epoch"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_MEMBER_STARTS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Refusal(f"{' '.join(command)}: {error}; the same command again finishes it") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Refusal(f"{' '.join(command)}: {said[-1] if said else 'failed'}; the same command again finishes it")


def _left_half_way(settings: Settings, here: int) -> bool:
    """A new cluster of this node's own that has no keys yet: a `force` was interrupted here."""
    if here == 1:
        return False
    member = member_of(settings, settings.node)
    try:
        said = member.call("/v3/cluster/member/list", {"linearizable": True}, settings.timing.patience)
        empty = member.ask(READ, settings.timing.patience).record.epoch_mod == 0
    except EtcdError:
        return False
    finally:
        member.close()
    members: List[Dict[str, Any]] = said.get("members", [])
    return len(members) == 1 and empty


def _seed(settings: Settings, incarnation: str, epoch: int) -> str:
    member = member_of(settings, settings.node)
    listed = beginning(settings.node, incarnation)
    request = Request(
        compares=(Compare(EPOCH, "mod", 0),),
        puts=((EPOCH, str(epoch)), (INSYNC, insync_text(listed)), (HOLDER, ""), (SEQ, "1")),
    )
    try:
        answer = member.ask(request, settings.timing.patience)
    except EtcdError as error:
        raise Refusal(f"this node's member of the new epoch: {error}; the same command again finishes it") from None
    finally:
        member.close()
    if answer.record.epoch != epoch or dict(answer.record.insync or {}) != listed:
        raise Refusal("this node's member has other keys than a new epoch's; look at hotpair-lease status")
    alone = (
        "the pair keeps no data" if incarnation == NO_DATA else f"in sync is node {settings.node} ({incarnation}) alone"
    )
    return (
        f"epoch {epoch} began: {alone}. Take the witness and node "
        f"{settings.peer} in again as soon as they are back: hotpair authority restore"
    )
