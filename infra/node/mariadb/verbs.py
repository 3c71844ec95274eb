"""What systemd, an operator, and hotpair on his behalf call on a server. Each verb says in one line why it refuses.
Exit codes: 0 done, 1 refused or failed, 2 wrong input, 3 not to be promoted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from . import authority, channel, config, gtid, primary, provision, server, start, state, switch, watch
from .config import Config
from .primary import Refusal
from .rules import Role
from .wire import Connection, ServerError, Unreachable

DIVERGED_FOLDER = f"{state.STATE_DIRECTORY}/diverged"
# A file of the watch that is older was written by none that runs.
STATUS_VALID = 10.0
READABLE_LINES = 40


# ---- status


def status(settings: Config) -> Dict[str, Any]:
    """Everything about this node's server; times in milliseconds. Answers without the server or the watch, too."""
    here = state.data()
    watched = state.read_json(state.WATCH_PATH)
    if watched is not None and state.boottime() - float(watched.get("at", 0)) > STATUS_VALID:
        watched = None
    found: Dict[str, Any] = {
        "version": 1,
        "node": settings.name,
        "at": round(time.time() * 1000),
        "state": "unknown",
        "role": here.role.value,
        "holdsLease": authority.holds(),
        "incarnation": authority.incarnation() or None,
        "promotions": list(here.promotions),
        "server": None,
        "replication": None,
        "semiSync": None,
        "insync": None if watched is None else watched["insync"],
        "redundancy": None if watched is None else watched["redundancy"],
        "lagMs": None if watched is None else watched["lagMs"],
        "provisioning": None if watched is None else watched["provisioning"],
        "handingOver": primary.handed_over() is not None,
        "watch": watched is not None,
        "problems": [],
    }
    try:
        with Connection(settings.socket, 0.5) as connection:
            seen = server.seen(connection)
            found["server"] = {
                "pid": connection.server_pid,
                "version": connection.version,
                "incarnation": server.running_incarnation(connection.server_pid),
                "readOnly": server.read_only(connection),
                "position": server.position(connection),
            }
            found["semiSync"] = server.semi_sync(connection)
            if seen.configured:
                found["replication"] = {
                    "source": seen.source,
                    "receiving": seen.io_running,
                    "applying": seen.sql_running,
                    "received": seen.received,
                    "error": seen.io_error or seen.sql_error,
                }
    except (Unreachable, ServerError) as error:
        waiting = state.read_json(state.WAITING_PATH)
        said = (
            f"the server does not answer: {error}"
            if waiting is None
            else f"the server is not started: {waiting['reason']}"
        )
        found["problems"].append(said)
    found["state"] = _state(found, watched)
    found["problems"] += _problems(settings, found, watched)
    return found


def _state(found: Mapping[str, Any], watched: Optional[Mapping[str, Any]]) -> str:
    rejoin = None if watched is None else watched.get("rejoin")
    if found["server"] is None:
        if found["provisioning"] and "step" in found["provisioning"]:
            return "provisioning"
        if found["role"] == "new":
            return "new"
        return "waiting" if os.path.exists(state.WAITING_PATH) else "down"
    if found["handingOver"]:
        return "handing over"
    if not found["server"]["readOnly"]:
        return "primary" if found["holdsLease"] else "writable without lease"
    if rejoin is not None:
        return str(rejoin["what"])
    replication = found["replication"]
    if replication is None:
        return "read-only"
    return "replica" if replication["receiving"] == "Yes" and replication["applying"] == "Yes" else "not replicating"


def _problems(settings: Config, found: Mapping[str, Any], watched: Optional[Mapping[str, Any]]) -> List[str]:
    said: List[str] = []
    if watched is None:
        said.append("hotpair-mariadb-watch does not run: a lost replica would stop all writes. systemctl start it")
        return said
    if watched.get("trouble"):
        said.append(str(watched["trouble"]))
    if watched.get("heartbeat"):
        said.append(f"heartbeat rows: {watched['heartbeat']}")
    rejoin = watched.get("rejoin")
    if rejoin is not None:
        said.append(
            f"{rejoin['what']}: {rejoin['reason']}. See: hotpair-mariadb diverged; then: hotpair-mariadb recover"
        )
    failed = (watched.get("provisioning") or {}).get("failed")
    if failed:
        said.append(f"no copy of {settings.peer_name}'s data: {failed}")
    if found["state"] == "primary" and found["insync"] is not None and settings.peer not in found["insync"]:
        said.append(f"not redundant: only this node holds every write ({found['redundancy']})")
    return said


def describe(found: Mapping[str, Any]) -> str:
    lines = [f"{found['node']}: {found['state']}"]
    running = found["server"]
    if running is not None:
        lines.append(
            f"  server {running['version']}, pid {running['pid']}, "
            f"{'read-only' if running['readOnly'] else 'writable'}, at {running['position'] or 'the beginning'}"
        )
    lines.append(
        f"  data of a {found['role']}, incarnation {found['incarnation'] or 'none'}"
        f"{', holds the lease' if found['holdsLease'] else ''}"
    )
    replication = found["replication"]
    if replication is not None:
        lag = "" if found["lagMs"] is None else f", {found['lagMs']} ms behind"
        lines.append(
            f"  follows {replication['source']}: receiving {replication['receiving']}, "
            f"applying {replication['applying']}{lag}"
        )
    if found["insync"] is not None:
        lines.append(f"  in sync: {', '.join(sorted(found['insync'])) or 'nobody'} ({found['redundancy']})")
    progress = found["provisioning"]
    if progress and "step" in progress:
        lines.append(f"  copying: {progress['step']} {progress_text(progress)}")
    lines += [f"  ! {problem}" for problem in found["problems"]]
    return "\n".join(lines)


def progress_text(progress: Mapping[str, Any]) -> str:
    done, total = int(progress.get("bytes", 0)), int(progress.get("total", 0))
    share = f" of about {total >> 20} MB" if total else ""
    return f"{done >> 20} MB{share}, {progress.get('seconds', 0)} s"


# ---- divergence


def diverged(settings: Config) -> str:
    """What this node's logs hold beyond the point that both nodes share, saved to a file. Changes nothing."""
    own, followed = _own_position(settings)
    try:
        peer = channel.ask(settings, {"verb": "status"}, 3.0)
    except channel.NoAnswer as error:
        raise Refusal(f"{settings.peer_name} does not answer, so it is not known what it holds: {error}") from None
    promotions = [str(each) for each in peer.get("promotions", [])]
    common = common_point(own, followed, promotions, str(peer.get("position", "")))
    logs = _logs(settings)
    if not logs:
        raise Refusal(f"{settings.data_directory} has no binary logs (binlog.*)")
    os.makedirs(DIVERGED_FOLDER, mode=0o700, exist_ok=True)
    path = f"{DIVERGED_FOLDER}/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.sql"
    arguments = ["mariadb-binlog", "--no-defaults", "--verbose"]
    if common:
        arguments.append(f"--start-position={common}")
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        result = subprocess.run(
            [*arguments, *logs], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, text=True, check=False
        )
    if result.returncode != 0:
        raise Refusal(
            f"mariadb-binlog: {result.stderr.strip().splitlines()[-1] if result.stderr.strip() else 'failed'}"
        )
    rows, transactions = 0, 0
    shown: List[str] = []
    theirs = True
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("### INSERT", "### UPDATE", "### DELETE")):
                # Heartbeat rows are nobody's data.
                theirs = f"`{server.SCHEMA}`.`heartbeat`" not in line
                rows += theirs
            if line.startswith("### ") and theirs and len(shown) < READABLE_LINES:
                shown.append(line.rstrip())
            transactions += "GTID " in line and line.startswith("#")
    head = [
        f"this node is at {own or 'the beginning'}, {settings.peer_name} at {peer.get('position') or 'the beginning'}; "
        f"both share everything up to {common or 'the beginning'}",
        f"beyond that, this node holds {transactions} transactions with {rows} changed rows, saved in {path}",
        f"to give them up and take {settings.peer_name}'s data: hotpair-mariadb recover --discard {settings.name}",
    ]
    return "\n".join([*head, *shown])


def common_point(own: str, followed: str, promotions: Sequence[str], peers: str) -> str:
    """The furthest point that is known to be part of both histories: what this node applied of the peer's; or where the
    peer was last promoted, if this node was there."""
    if followed and gtid.reaches(gtid.parse(peers), gtid.parse(followed)):
        return followed
    for point in reversed(promotions):
        if gtid.reaches(gtid.parse(own), gtid.parse(point)):
            return point
    return ""


def _own_position(settings: Config) -> Tuple[str, str]:
    """Of this node's server: everything it has, and what it applied as a replica; empty if it follows nobody."""
    try:
        with Connection(settings.socket, 1.0) as connection:
            followed = ""
            if server.seen(connection).configured:
                followed = connection.value("SELECT @@global.gtid_slave_pos")
            return server.position(connection), followed
    except (Unreachable, ServerError) as error:
        raise Refusal(f"this node's server does not answer: {error}") from None


def _logs(settings: Config) -> List[str]:
    index = os.path.join(settings.data_directory, "binlog.index")
    try:
        with open(index, encoding="utf-8") as file:
            return [os.path.join(settings.data_directory, line.strip()) for line in file if line.strip()]
    except OSError:
        return []


def copy(settings: Config, consent: Optional[str]) -> str:
    """`provision` without consent, for a node without data; `recover` with it, typed: the name of the node that gives
    its data up."""
    if authority.holds():
        raise Refusal("this node holds the lease: its data is the pair's")
    if consent is None and provision.holds_data(settings.data_directory):
        raise Refusal(
            f"{settings.data_directory} holds data. To replace it by a copy of {settings.peer_name}'s: "
            f"hotpair-mariadb recover --discard {settings.name}"
        )
    if consent is not None and consent != settings.name:
        raise Refusal(
            f"this replaces all data of {settings.name} by a copy of {settings.peer_name}'s. "
            f"Nothing was changed; consent is: hotpair-mariadb recover --discard {settings.name}"
        )
    said: Dict[str, Any] = {}
    note = provision.measure(said)
    shown = [0.0]

    def progress(step: str, done: int, total: int) -> None:
        note(step, done, total)
        if time.monotonic() - shown[0] > 1.0 or done == 0:
            shown[0] = time.monotonic()
            print(f"{step}: {progress_text(said)}", file=sys.stderr, flush=True)

    try:
        with provision.exclusively():
            state.audit(
                settings.name, state.data().role.value, "provisioning", f"copying {settings.peer_name}, by hand"
            )
            provision.take(settings, progress)
    except provision.Failed as error:
        raise Refusal(str(error)) from None
    state.audit(settings.name, "provisioning", "replica", f"copied in {said.get('seconds', 0)} s")
    return f"copied {settings.peer_name}'s data in {said.get('seconds', 0)} s; the server starts and follows it"


# ---- asked by hotpair-apply


def may_restart(settings: Config) -> str:
    """Whether a restart of this node's server costs nothing: a replica of a primary that is well, or no data."""
    if authority.holds():
        raise Refusal("this node holds the lease: hand over first (hotpair switch)")
    if state.data().role is Role.NEW:
        return "there is no data yet"
    try:
        answer = channel.ask(settings, {"verb": "status"}, 2.0)
    except channel.NoAnswer as error:
        raise Refusal(
            f"{settings.peer_name} does not answer ({error}): "
            "what this node has not applied yet would be lost by a restart"
        ) from None
    if answer.get("primary") is not True:
        raise Refusal(f"{settings.peer_name} is not the primary: after a restart neither node could be promoted")
    return f"{settings.peer_name} is the primary"


def healthy(settings: Config) -> str:
    """The server answers, or waits for something that is not this node's to give."""
    here = state.data()
    if here.role is Role.NEW:
        return "no data yet"
    try:
        with Connection(settings.socket, 1.0) as connection:
            return f"the server answers ({connection.version})"
    except (Unreachable, ServerError) as error:
        waiting = state.read_json(state.WAITING_PATH)
        if waiting is not None:
            return f"the server is not started: {waiting['reason']}"
        raise Refusal(f"the server does not answer: {error}. See: journalctl -u hotpair-mariadb") from None


def reload(settings: Config) -> str:
    """Certificates, for new connections. A server that is not there reads them when it starts."""
    try:
        with Connection(settings.socket, 1.0) as connection:
            # As any FLUSH it would go to the binary log, and a replica that writes something of its own has diverged.
            connection.do("FLUSH NO_WRITE_TO_BINLOG SSL", 10.0)
    except Unreachable:
        return "the server does not run"
    return "certificates read again"


def check() -> str:
    settings = config.load()
    config.passwords()
    return f"node {settings.node} of pair {settings.pair}: port {settings.port}, role port {settings.role_port}"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hotpair-mariadb", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("start", help="become the server (hotpair-mariadb.service)")
    verbs.add_parser("stop", help="ExecStop= of the server: in order, if it is a replica")
    verbs.add_parser("promote", help="take writes, and stay (hotpair-mariadb-primary.service)")
    verbs.add_parser("demote", help="take none any more (its ExecStop=)")
    verbs.add_parser("watch", help="heartbeats, redundancy, rejoin, role (hotpair-mariadb-watch.service)")
    shown = verbs.add_parser("status", help="what this node's server is, and what is wrong")
    shown.add_argument("--json", action="store_true", help="for programs")
    switching = verbs.add_parser("switch-out", help="before a switch: no more writes here, all of them on the peer")
    switching.add_argument("--undo", action="store_true", help="no switch follows: take writes again")
    verbs.add_parser("provision", help="copy the peer's data to a node that has none")
    verbs.add_parser("diverged", help="what this node holds that the peer does not, saved to a file")
    recovering = verbs.add_parser("recover", help="give this node's data up and copy the peer's")
    recovering.add_argument("--discard", metavar="NODE", default="", help="consent: the name of this node")
    verbs.add_parser("may-restart", help="whether a restart of the server costs nobody anything")
    verbs.add_parser("healthy", help="whether the server answers, or rightly does not")
    verbs.add_parser("reload", help="ExecReload= of the server: read certificates again")
    verbs.add_parser("check", help="read the configuration and say whether it is understood")
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.verb == "check":
            print(check())
            return 0
        settings = config.load()
        if options.verb == "start":
            start.main(settings)
        if options.verb == "stop":
            return start.stop(settings)
        if options.verb == "promote":
            return primary.promote(settings)
        if options.verb == "demote":
            return primary.demote(settings)
        if options.verb == "watch":
            return watch.main(settings)
        if options.verb == "status":
            found = status(settings)
            print(json.dumps(found) if options.json else describe(found))
        elif options.verb == "switch-out":
            if options.undo:
                switch.call_off(settings, "the switch was called off")
            else:
                print(switch.switch_out(settings))
        elif options.verb == "provision":
            print(copy(settings, None))
        elif options.verb == "recover":
            print(copy(settings, options.discard))
        elif options.verb == "diverged":
            print(diverged(settings))
        elif options.verb == "reload":
            print(reload(settings))
        elif options.verb == "may-restart":
            print(may_restart(settings))
        elif options.verb == "healthy":
            print(healthy(settings))
        return 0
    except (Refusal, authority.Refused, server.Failed, Unreachable, ServerError, TimeoutError) as refusal:
        print(f"hotpair-mariadb: {refusal}", file=sys.stderr)
        return 1
    except config.ConfigError as error:
        print(f"hotpair-mariadb: {error}", file=sys.stderr)
        return 2
