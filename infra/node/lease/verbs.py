"""What an operator, hotpair and other units call on a server. Every verb is quick; each says in one line why not.
Exit codes: 0 done, 1 refused or failed, 2 wrong input.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import sys
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import epoch, journal
from .etcd import EtcdError, Identity, ask_all, describe, member_of, now
from .hold import SOCKET, read_seen
from .judge import Sight, judge, superseded
from .record import (
    EPOCH,
    INSYNC,
    LOOK,
    NO_DATA,
    READ,
    SEQ,
    Answer,
    Compare,
    Record,
    Request,
    insync_text,
    lists_no_data,
)
from .settings import (
    INCARNATION,
    Settings,
    SettingsError,
    chain_stop,
    complaints,
    load,
    read_epoch,
    read_incarnation,
    write_durably,
)
from .writers import Writers


class Refusal(Exception):
    """One line: why not, and what to do."""


def ask(settings: Settings, request: Mapping[str, Any], timeout: float) -> Optional[Dict[str, Any]]:
    """The holder's answer; None when no `hold` runs on this node. Raises TimeoutError when it hangs."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        try:
            sock.connect(os.path.join(settings.run, SOCKET))
            sock.sendall(json.dumps(request).encode() + b"\n")
        except (FileNotFoundError, ConnectionRefusedError, BrokenPipeError):
            return None
        text = b""
        while not text.endswith(b"\n"):
            data = sock.recv(65536)
            if not data:
                return None
            text += data
        answer = json.loads(text)
        return answer if isinstance(answer, dict) else None
    except (socket.timeout, BlockingIOError):
        raise TimeoutError("hotpair-lease does not answer") from None
    except ConnectionResetError:
        return None
    finally:
        sock.close()


def command(settings: Settings, verb: str, argument: str = "", timeout: float = 5.0) -> str:
    """For what only the holder can do."""
    try:
        answer = ask(settings, {"verb": verb, "argument": argument, "timeout": timeout}, timeout + 2.0)
    except TimeoutError:
        raise Refusal("hotpair-lease hangs; systemd ends it within a second") from None
    if answer is None:
        raise Refusal("this node does not hold the lease: hotpair-lease.service is not running here")
    if answer.get("error"):
        raise Refusal(str(answer["error"]))
    return str(answer.get("text", ""))


# ---- status


def status(settings: Settings) -> Dict[str, Any]:
    """Times in seconds. `why` and `todo` say whether this node could take the lease now, and if not, what to do."""
    hung = False
    try:
        said = ask(settings, {"verb": "status"}, 0.5)
    except TimeoutError:
        said, hung = None, True
    daemon = None if said is None else said.get("status")
    found = ask_all(settings, READ, settings.timing.patience)
    answers = [answer.record for answer in found.values() if isinstance(answer, Answer)]
    quorum = bool(answers)
    looks = found if quorum else ask_all(settings, LOOK, settings.timing.patience)
    records = [answer.record for answer in looks.values() if isinstance(answer, Answer)]
    record = max(records, key=lambda each: (each.epoch, each.seq_mod), default=None)
    incarnation, here = read_incarnation(settings), _epoch(settings)
    listed = None if record is None else record.insync
    if settings.keeps_data and lists_no_data(listed):
        listed = None
    holding = journal.published(settings.run) > now()
    verdict, why, todo = _verdict(settings, record, incarnation, here, quorum, holding, hung, daemon)
    return {
        "version": 1,
        "pair": settings.pair,
        "node": settings.node,
        "holding": holding,
        "hung": hung,
        "verdict": verdict,
        "why": why,
        "todo": todo,
        "daemon": daemon,
        "quorum": quorum,
        "members": {
            name: {"host": settings.host(name), "error": str(looks[name]) if not _fine(looks[name]) else ""}
            for name in settings.endpoints
        },
        "holder": None if record is None else record.holder_node,
        "seq": None if record is None else record.seq,
        "insync": None if listed is None else dict(listed),
        "epoch": {"here": here, "etcd": None if record is None else record.epoch},
        "incarnation": incarnation or None,
    }


def _fine(answer: Any) -> bool:
    return isinstance(answer, Answer)


def _epoch(settings: Settings) -> Optional[int]:
    try:
        return read_epoch(settings)
    except SettingsError:
        return None


def _verdict(
    settings: Settings,
    record: Optional[Record],
    incarnation: str,
    here: Optional[int],
    quorum: bool,
    holding: bool,
    hung: bool,
    daemon: Optional[Mapping[str, Any]],
) -> List[str]:
    if hung:
        return ["hung", "hotpair-lease does not answer", "systemd ends it within a second; journalctl -u hotpair-lease"]
    if holding:
        without = daemon is not None and daemon.get("withoutQuorum")
        if without:
            return [
                "holding",
                "no quorum of etcd's members; going on, since only this node is in sync and nobody else may start",
                "bring the members back before this node is restarted: without quorum it could not start again",
            ]
        return ["holding", "this node may write", ""]
    if here is None:
        return ["barred", f"{settings.epoch_path} is not understood", "write this node's epoch into it, one number"]
    if record is None or not quorum:
        return [
            "barred",
            "no quorum: fewer than two of etcd's members answer",
            f"bring two of {', '.join(settings.host(name) for name in settings.endpoints)} together again; if the peer "
            f"is off and stays off: hotpair promote --node {settings.node} --i-know-the-peer-is-down",
        ]
    sight = Sight()
    seen = read_seen(settings)
    if seen is not None:
        sight.credit(seen)
    sight.saw(record, now())
    verdict = judge(settings.node, record, incarnation, here, sight.since, now(), settings.timing.takeover)
    if verdict.kind in ("take", "wait") and seen is not None and seen.highest_epoch > max(here, record.epoch):
        verdict = superseded(settings.node, seen.highest_epoch, here)
    if verdict.kind == "take":
        return ["free", f"{verdict.why}; this node would take it when it becomes active", ""]
    if verdict.kind == "wait":
        return ["standby", verdict.why, ""]
    return [verdict.kind, verdict.why, verdict.todo]


def describe_status(found: Mapping[str, Any]) -> str:
    lines = [f"node {found['node']} of pair {found['pair']}: {found['verdict']}: {found['why']}"]
    if found["todo"]:
        lines.append(f"  to do: {found['todo']}")
    lines.append(f"holder: {found['holder'] or 'nobody'} (renewal {found['seq']})")
    insync = found["insync"]
    listed = "not enrolled" if insync is None else ", ".join(f"{key} ({insync[key]})" for key in sorted(insync))
    if found["incarnation"] == NO_DATA:
        lines.append("in sync: the pair keeps no data")
    else:
        lines.append(f"in sync: {listed or 'nobody'}; this node's data: {found['incarnation'] or 'none'}")
    lines.append(f"epoch: {found['epoch']['here']} here, {found['epoch']['etcd']} in etcd")
    for name, member in found["members"].items():
        lines.append(f"member {name} ({member['host']}): {member['error'] or 'answers'}")
    return "\n".join(lines)


# ---- what changes something


def check() -> str:
    settings = load()
    wrong = complaints(settings)
    if wrong:
        raise SettingsError("\n".join(wrong))
    timing = settings.timing
    worst = max(timing.deadline, timing.rpc_timeout + timing.watchdog)
    return (
        f"node {settings.node} of pair {settings.pair}: {timing.takeover:g} s × (1 − {timing.drift:g}) > {worst:g} + "
        f"{chain_stop(settings):g} + {timing.margin:g} s"
    )


def commit(settings: Settings, request: Request) -> Answer:
    """At the first member that answers; Refusal when none does. Only for requests that may be carried out twice."""
    found = ask_all(settings, request, settings.timing.patience)
    answers = [answer for answer in found.values() if isinstance(answer, Answer)]
    if not answers:
        raise Refusal("no quorum of etcd's members answers: " + "; ".join(describe(found)))
    return next((answer for answer in answers if answer.succeeded), answers[0])


def enroll(settings: Settings) -> str:
    incarnation = read_incarnation(settings)
    if not incarnation:
        raise Refusal(f"{settings.incarnation_path} is absent: this node has no data yet; provision it first")
    if incarnation == NO_DATA:
        raise Refusal("the pair keeps no data: the first node that takes the lease enrols both")
    # A list from the time when the pair kept no data is none.
    before = commit(settings, READ).record
    request = Request(
        compares=(Compare(INSYNC, "mod", before.insync_mod if lists_no_data(before.insync) else 0),),
        puts=(
            (INSYNC, insync_text({settings.node: incarnation})),
            (EPOCH, str(read_epoch(settings))),
            (SEQ, "1"),
        ),
    )
    answer = commit(settings, request)
    listed = dict(answer.record.insync or {})
    if answer.succeeded or listed == {settings.node: incarnation}:
        return f"enrolled: in sync is node {settings.node} ({incarnation}) alone"
    raise Refusal(f"the pair is enrolled already, in sync: {', '.join(sorted(listed)) or 'nobody'}")


def incarnation(settings: Settings, value: Optional[str]) -> str:
    if value is None:
        return read_incarnation(settings)
    if not INCARNATION.fullmatch(value):
        raise SettingsError(f'incarnation "{value}": expected up to 128 letters, digits and . _ : + -')
    write_durably(settings.incarnation_path, f"{value}\n")
    return value


def _offer_key(settings: Settings, node: str) -> str:
    # Not below the pair's own prefix, whose keys the rules of the lease are about.
    return base64.b64encode(f"/hotpair-offers/{settings.pair}/{node}".encode()).decode()


def _gateway(settings: Settings, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
    """At the first member that answers; Refusal when none does."""
    identity = Identity(settings.ca, settings.certificate, settings.key)
    errors: List[str] = []
    for name in settings.endpoints:
        member = member_of(settings, name, identity)
        try:
            return member.call(path, body, settings.timing.patience)
        except EtcdError as error:
            errors.append(f"{name}: {error}")
        finally:
            member.close()
    raise Refusal("no member of etcd answers: " + "; ".join(errors))


def offer(settings: Settings) -> str:
    """For the holder on the other node, which lists this node's data by that name once it holds every write."""
    value = read_incarnation(settings)
    if not value:
        raise Refusal(f"{settings.incarnation_path} is absent: this node's data has no name to offer")
    encoded = base64.b64encode(value.encode()).decode()
    _gateway(settings, "/v3/kv/put", {"key": _offer_key(settings, settings.node), "value": encoded})
    return value


def offered(settings: Settings) -> str:
    """What the peer says that its data is called; empty: it has said nothing."""
    said = _gateway(settings, "/v3/kv/range", {"key": _offer_key(settings, settings.peer)})
    entries = said.get("kvs") or []
    return base64.b64decode(entries[0].get("value", "")).decode() if entries else ""


def release(settings: Settings) -> str:
    return command(settings, "release")


def stopped(settings: Settings) -> str:
    """ExecStopPost= of the holder: it ended in some way. Whatever writes must not go on without it."""
    journal.publish(settings.run, 0.0)
    if os.environ.get("SERVICE_RESULT", "") == "success":
        return "released in order"
    writers = Writers(settings.writers)
    until = now() + settings.timing.stop_timeout
    writers.kill()
    while not writers.gone(settings.writers) and now() < until:
        writers.kill()
        time.sleep(0.002)
    if not writers.gone(settings.writers):
        raise Refusal("WRITERS STILL ALIVE after cgroup.kill: " + ", ".join(settings.writers))
    return "the writers were killed: " + ", ".join(settings.writers)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hotpair-lease", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("hold", help="the holder (hotpair-lease.service)")
    verbs.add_parser("observe", help="the observer (hotpair-quorum.service)")
    verbs.add_parser("check", help="read the settings and say whether they are understood and safe")
    shown = verbs.add_parser("status", help="who may write, what this node could do now, and why not more")
    shown.add_argument("--json", action="store_true", help="for programs")
    verbs.add_parser("alone", help="holder: take the peer off the list of nodes in sync; done once committed")
    adding = verbs.add_parser("together", help="holder: put the peer on the list, with the incarnation of its data")
    adding.add_argument("incarnation", metavar="INCARNATION")
    naming = verbs.add_parser("incarnation", help="show or set the incarnation of this node's data")
    naming.add_argument("value", nargs="?", metavar="VALUE")
    verbs.add_parser("enroll", help="a new pair, once: this node's data is what counts")
    verbs.add_parser("offer", help="say in etcd what this node's data is called, so that the holder can list it")
    verbs.add_parser("offered", help="what the other node says that its data is called")
    verbs.add_parser("release", help="holder: stop the writers, then give the lease back")
    promoting = verbs.add_parser("promoting", help="a unit's last question before it writes: is the lease held?")
    promoting.add_argument("unit", metavar="UNIT")
    demoted = verbs.add_parser("demoted", help="a unit's word that it runs and writes no longer: it is not killed")
    demoted.add_argument("unit", metavar="UNIT")
    verbs.add_parser("stopped", help="ExecStopPost= of the holder")
    forcing = verbs.add_parser("force", help="start a new epoch with this node's data: the peer's is given up")
    forcing.add_argument(epoch.CONSENT, action="store_true", dest="consent", help="it is off, and stays off")
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.verb == "check":
            print(check())
            return 0
        settings = load()
        if options.verb == "status":
            found = status(settings)
            print(json.dumps(found) if options.json else describe_status(found))
        elif options.verb in ("alone", "release"):
            print(command(settings, options.verb))
        elif options.verb == "together":
            if not INCARNATION.fullmatch(options.incarnation):
                raise SettingsError(f'incarnation "{options.incarnation}" is not one')
            print(command(settings, "together", options.incarnation))
        elif options.verb in ("promoting", "demoted"):
            print(command(settings, options.verb, options.unit, timeout=1.0))
        elif options.verb == "incarnation":
            print(incarnation(settings, options.value))
        elif options.verb == "enroll":
            print(enroll(settings))
        elif options.verb == "offer":
            print(offer(settings))
        elif options.verb == "offered":
            print(offered(settings))
        elif options.verb == "stopped":
            print(stopped(settings))
        elif options.verb == "force":
            print(epoch.force(settings, options.consent))
        return 0
    except (Refusal, epoch.Refusal, EtcdError) as refusal:
        print(f"hotpair-lease: {refusal}", file=sys.stderr)
        return 1
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"hotpair-lease: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hotpair-lease: {error}", file=sys.stderr)
        return 1
