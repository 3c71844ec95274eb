"""What an operator, and hotpair on his behalf, calls on a server. Every verb is quick; each says in one line why it
refuses. Exit codes: 0 done, 1 refused or failed, 2 wrong input.

Facts come from the kernel, so that `status` and `role` answer also while the arbiter hangs or is not running.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import beacon, config, gate, kernel
from .control import SOCKET_PATH
from .keepalived import MAIN_PIDS, VRRP_PIDS
from .lock import LOCK_PATH
from .scribe import AUDIT_PATH

MANIFEST_PATH = "/var/lib/hotpair/manifest"
LAST_CHANGES = 20
# How long HAProxy's socket is waited for (seconds)
ADMIN_TIMEOUT = 0.5
# Longest hand-over of a database before a switch: it gives itself up to 2 s for each of its two waits (seconds).
HAND_OVER_TIMEOUT = 10.0
STATUS_TIMEOUT = 2.0


class Refusal(Exception):
    """One line: why not, and what to do."""


def ask(request: Mapping[str, Any], timeout: float) -> Optional[Dict[str, Any]]:
    """The arbiter's answer; None when nobody listens. Raises TimeoutError when it hangs."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        try:
            sock.connect(SOCKET_PATH)
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
        raise TimeoutError("the arbiter does not answer") from None
    except ConnectionResetError:
        return None
    finally:
        sock.close()


def command(request: Mapping[str, Any], timeout: float) -> Dict[str, Any]:
    """As `ask`, for what only a living arbiter can do."""
    try:
        answer = ask(request, timeout)
    except TimeoutError:
        raise Refusal("the arbiter hangs; systemd restarts it within a second, try again") from None
    if answer is None:
        raise Refusal("the arbiter is not running: systemctl status hotpair-arbiter")
    if "error" in answer:
        raise Refusal(str(answer["error"]))
    return answer


# ---- status


def status(settings: config.Config) -> Dict[str, Any]:
    """NodeStatus of infra/model/status.ts."""
    hung = False
    try:
        said = ask({"command": "status"}, 0.3)
    except TimeoutError:
        said, hung = None, True
    present = {found.address for found in kernel.addresses()}
    units = unit_states(settings.units)
    keepalived = next((unit for unit in units if unit["name"] == "keepalived"), None)
    vips = []
    for vip in settings.vips:
        held = vip.address in present
        known = None if said is None else said["vips"].get(vip.name)
        closed = gate.read_gate(vip.name)
        vips.append(
            {
                "name": vip.name,
                "address": f"{vip.address}/{vip.prefix}",
                "held": held,
                "state": known["state"] if known is not None else _state_without_arbiter(held, keepalived),
                "gate": {
                    "closed": bool(closed),
                    "reason": known["gate"]["reason"] if known is not None and closed else "",
                    **({"standby": True} if known is not None and closed and known["gate"].get("standby") else {}),
                },
                **({"homeInMs": known["homeInMs"]} if known is not None and "homeInMs" in known else {}),
            }
        )
    for unit in units:
        if unit["name"] == "hotpair-arbiter" and hung and unit["state"] == "running":
            unit["state"], unit["detail"] = "hung", "its socket does not answer"
    backends = _backends(settings.haproxy_socket, units)
    return {
        "version": 1,
        "node": settings.name,
        "at": round(time.time() * 1000),
        "uptimeMs": round(kernel.boottime() * 1000),
        "vips": vips,
        "daemons": units,
        "arbiter": None if said is None else said["arbiter"],
        "peer": None if said is None else said["peer"],
        "maintenance": os.path.exists(config.MAINTENANCE_PATH),
        "lastChanges": last_changes(),
        "backends": backends,
        "manifest": _manifest(),
        **({} if settings.settings.authority is None else {"authority": None if said is None else said["authority"]}),
        **({} if settings.database is None else {"database": _said_by(settings.database)}),
        **({} if settings.fencing is None else {"fencing": _said_by(settings.fencing)}),
        **({} if settings.address is None else {"address": _said_by(settings.address)}),
        **({} if settings.managed is None else {"managed": _said_by(settings.managed)}),
    }


def _state_without_arbiter(held: bool, keepalived: Optional[Mapping[str, Any]]) -> str:
    if held:
        return "master"
    return "stopped" if keepalived is not None and keepalived["state"] in ("stopped", "failed") else "unknown"


def unit_states(names: Sequence[str]) -> List[Dict[str, Any]]:
    """DaemonStatus per unit, from systemd and from /proc: a stopped process is `active` to systemd."""
    shown: Dict[str, Dict[str, str]] = {}
    try:
        output = subprocess.run(
            ["systemctl", "show", "--no-pager", "-p", "Id,LoadState,ActiveState,SubState,MainPID,Result", *names],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        output = ""
    for block in output.split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in fields:
            shown[fields["Id"]] = fields
    found: List[Dict[str, Any]] = []
    for name in names:
        fields = shown.get(name if "." in name else f"{name}.service", {})
        active, sub = fields.get("ActiveState", ""), fields.get("SubState", "")
        pid = int(fields.get("MainPID", "0") or 0)
        if active in ("active", "reloading"):
            state, detail = "running", f"pid {pid}"
            if any(_stopped(each) for each in _pids(name, pid)):
                state, detail = "hung", "its process is stopped"
        elif active == "failed":
            state, detail = "failed", fields.get("Result", "")
        elif active == "activating" and sub == "auto-restart":
            state, detail = "failed", f"systemd starts it again ({fields.get('Result', '')})"
        elif fields.get("LoadState") == "not-found":
            state, detail = "stopped", "not installed"
        else:
            state, detail = "stopped", sub or "systemd does not answer"
        found.append(
            {"name": name[: -len(".service")] if name.endswith(".service") else name, "state": state, "detail": detail}
        )
    return found


def _pids(name: str, main: int) -> List[int]:
    if name.startswith("keepalived"):
        return [kernel.pid_from(*MAIN_PIDS) or main, kernel.pid_from(*VRRP_PIDS)]
    return [main]


def _stopped(pid: int) -> bool:
    found = kernel.process(pid, "") if pid else None
    return found is not None and found.state in "Tt"


def last_changes(path: str = AUDIT_PATH, count: int = LAST_CHANGES) -> List[Dict[str, Any]]:
    lines: List[bytes] = []
    for each in (f"{path}.1", path):
        try:
            with open(each, "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 300 * count))
                lines += file.read().splitlines()
        except OSError:
            continue
    found = []
    for line in lines[-count:]:
        try:
            entry = json.loads(line)
            found.append({key: entry[key] for key in ("at", "vip", "from", "to", "reason")})
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _backends(path: Optional[str], units: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """HAProxy's view of its servers; marks HAProxy as hung when it runs and does not answer."""
    if path is None:
        return []
    unit = next((unit for unit in units if unit["name"] == "haproxy"), None)
    text = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(ADMIN_TIMEOUT)
            sock.connect(path)
            sock.sendall(b"show stat -1 4 -1\n")
            while True:
                data = sock.recv(65536)
                if not data:
                    break
                text += data
    except OSError as error:
        if unit is not None and unit["state"] == "running":
            unit["state"], unit["detail"] = "hung", f"its socket does not answer: {error}"
        return []
    lines = text.decode(errors="replace").lstrip("# ").splitlines()
    if not lines:
        return []
    columns = lines[0].split(",")
    found = []
    for line in lines[1:]:
        row = dict(zip(columns, line.split(",")))
        if row.get("svname") in (None, "FRONTEND", "BACKEND"):
            continue
        said = row.get("status", "")
        check = row.get("last_chk", "") or row.get("check_status", "")
        found.append(
            {
                "backend": row.get("pxname", ""),
                "server": row.get("svname", ""),
                "up": said.startswith("UP") or said == "no check",
                "detail": f"{said}, {check}".rstrip(", "),
            }
        )
    return found


def _said_by(program: str) -> Optional[Dict[str, Any]]:
    """What a room's own program says of it; None: it does not answer in time."""
    try:
        said = subprocess.run(
            [program, "status", "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STATUS_TIMEOUT,
            check=False,
        )
        answer = json.loads(said.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return answer if isinstance(answer, dict) else None


def _manifest() -> Optional[Dict[str, Any]]:
    try:
        with open(MANIFEST_PATH, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return None
    fields: Dict[str, str] = {}
    for line in text.splitlines():
        words = line.split(None, 1)
        if len(words) == 2 and words[0] in ("resource", "digest", "applied"):
            fields[words[0]] = words[1].strip()
    if "resource" not in fields:
        return None
    applied = fields.get("applied", "0")
    return {
        "resource": fields["resource"],
        "digest": fields.get("digest", ""),
        "appliedAt": int(applied) if applied.isdigit() else 0,
    }


def describe(found: Mapping[str, Any]) -> str:
    """Status for a person on the server itself."""
    lines = [f"{found['node']}{' (maintenance)' if found['maintenance'] else ''}"]
    for vip in found["vips"]:
        gate_text = f", gate closed: {vip['gate']['reason'] or 'no reason known'}" if vip["gate"]["closed"] else ""
        lines.append(
            f"  VIP {vip['name']} {vip['address']}: {'held' if vip['held'] else 'not held'}, {vip['state']}{gate_text}"
        )
    for daemon in found["daemons"]:
        lines.append(f"  {daemon['name']}: {daemon['state']} ({daemon['detail']})")
    if found["arbiter"] is None:
        lines.append("  the arbiter does not answer: a cut of the heartbeat network would now make two owners")
    peer = found["peer"]
    if peer is not None:
        heard = ", ".join(
            f"{name} {'never' if age is None else f'{age} ms ago'}" for name, age in peer["heardMsAgo"].items()
        )
        lines.append(f"  peer {'healthy' if peer['healthy'] else 'NOT healthy'}, heard: {heard}")
    if "authority" in found:
        lines.append(f"  {_describe_authority(found['authority'])}")
    database = found.get("database")
    if database is not None:
        lines.append(f"  database: {database.get('state')}")
        lines += [f"    {problem}" for problem in database.get("problems", [])]
    shot = (found.get("fencing") or {}).get("last")
    if shot is not None:
        lines.append(f"  fencing: {shot['outcome']} after {shot['elapsedMs']} ms by {shot['by']}: {shot['why']}")
    address = found.get("address")
    if address is not None:
        error = f" ({address['error']})" if address["error"] else ""
        lines.append(f"  address in AWS: {address['state']}{error}")
    lines += [f"  networks: {problem}" for problem in (found.get("managed") or {}).get("problems", [])]
    for backend in found["backends"]:
        lines.append(
            f"  backend {backend['backend']}/{backend['server']}: "
            f"{'up' if backend['up'] else 'DOWN'} ({backend['detail']})"
        )
    for change in found["lastChanges"][-5:]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(change["at"] / 1000))
        lines.append(f"  {when} {change['vip']}: {change['from']} -> {change['to']}: {change['reason']}")
    return "\n".join(lines)


def _describe_authority(known: Optional[Mapping[str, Any]]) -> str:
    if known is None:
        return "the observer of the quorum is silent: systemctl status hotpair-quorum"

    def ago(age: Optional[int]) -> str:
        return "never" if age is None else f"{age} ms ago"

    holder = "this node" if known["holding"] else known["holder"] or "nobody"
    insync = "not known" if known["insync"] is None else " and ".join(known["insync"]) or "nobody"
    return (
        f"lease: {holder}, renewed {ago(known['renewedMsAgo'])}; quorum {ago(known['quorumMsAgo'])}, "
        f"witness {ago(known['witnessMsAgo'])}; in sync: {insync}; epoch {known['epoch']}"
        + (f"; may not be promoted: {known['blocked']}" if known["blocked"] else "")
    )


# ---- verbs


def held_vips(settings: config.Config) -> List[str]:
    present = {found.address for found in kernel.addresses()}
    return [vip.name for vip in settings.vips if vip.address in present]


def check() -> str:
    """Reads what the service reads, so that a file with mistakes is refused before it is installed."""
    config.load()
    try:
        with open(config.KEY_PATH, encoding="ascii") as file:
            beacon.parse_keys(file.read())
    except (OSError, ValueError) as error:
        raise config.ConfigError(f"{config.KEY_PATH}: {error}") from None
    return "the configuration is understood"


def ping() -> str:
    command({"command": "status"}, 1.0)
    return "the arbiter answers"


def role(settings: config.Config) -> str:
    return "active" if held_vips(settings) else "standby"


def switch(vip: Optional[str], wait: float, reason: str = "switch", stay: bool = False) -> str:
    request = {"command": "switch", "vip": vip, "wait": wait, "reason": reason, "stay": stay}
    settings = config.load()
    database = settings.database if held_vips(settings) else None
    patience = max(wait, settings.settings.hand_over) + 3.0
    if database is None:
        answer = command(request, patience)
        return f"{', '.join(answer['vips'])}: the peer took over in {answer['tookMs']} ms"
    # First every write to the peer; what follows then ends a server that takes none any more.
    said = _tell(database, "switch-out")
    try:
        answer = command(request, patience)
    except Refusal:
        _tell(database, "switch-out", "--undo")
        raise
    return f"{said}; {', '.join(answer['vips'])}: the peer took over in {answer['tookMs']} ms"


def _tell(program: str, *words: str) -> str:
    """What the database's own program answers. Raises Refusal with its reason."""
    try:
        result = subprocess.run(
            [program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HAND_OVER_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Refusal(f"{program} {words[0]}: {error}") from None
    lines = (result.stdout if result.returncode == 0 else result.stderr).strip().splitlines()
    if result.returncode != 0:
        raise Refusal(lines[-1] if lines else f"{program} {words[0]} ended with exit code {result.returncode}")
    return lines[-1] if lines else ""


def maintenance(settings: config.Config, on: bool, keep: bool) -> str:
    if not on:
        if os.path.exists(config.MAINTENANCE_PATH):
            os.unlink(config.MAINTENANCE_PATH)
        _systemctl("start", "keepalived.service")
        return f"{settings.name} takes part again"
    done = []
    if held_vips(settings) and not keep:
        try:
            done.append(switch(None, 5.0, "maintenance"))
        except Refusal as refusal:
            raise Refusal(
                f"{settings.name} holds {', '.join(held_vips(settings))} and cannot hand over: {refusal}; "
                f"repair the peer, or park this node as it is with --keep (it then goes on serving, and nothing moves)"
            ) from None
    os.makedirs(os.path.dirname(config.MAINTENANCE_PATH), exist_ok=True)
    with open(config.MAINTENANCE_PATH, "w", encoding="ascii") as file:
        file.write(f"{round(time.time())}\n")
        file.flush()
        os.fsync(file.fileno())
    if held_vips(settings):
        return f"{settings.name} is parked as it is: it goes on serving, nothing moves"
    _systemctl("stop", "keepalived.service")
    return "; ".join([*done, f"{settings.name} is parked: nothing is promoted here"])


def _systemctl(verb: str, unit: str) -> None:
    try:
        result = subprocess.run(
            ["systemctl", verb, unit], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refusal(f"systemctl {verb} {unit} did not end within 60 s") from None
    if result.returncode != 0:
        raise Refusal(f"systemctl {verb} {unit}: {result.stderr.strip() or 'failed'}")


def lock(token: str, wait: float) -> str:
    try:
        answer = ask({"command": "lock", "token": token, "wait": wait}, wait + 2.0)
    except TimeoutError:
        answer = None
    if answer is None:
        # no arbiter yet, or not now: this node alone is locked, by the same file that the arbiter reads at its start
        _lock_without_arbiter(token, wait)
        return "locked on this node alone: the arbiter is not running"
    if "error" in answer:
        raise Refusal(str(answer["error"]))
    return f"locked; the peer: {answer['peer']}"


def _lock_without_arbiter(token: str, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        now = kernel.boottime()
        try:
            with open(LOCK_PATH, encoding="ascii") as file:
                saved = json.load(file)
            other = saved.get("token") if float(saved.get("expires", 0)) > now else None
        except (OSError, ValueError, AttributeError):
            other = None
        if other in (None, token):
            os.makedirs(os.path.dirname(LOCK_PATH), exist_ok=True)
            with open(LOCK_PATH, "w", encoding="ascii") as file:
                json.dump({"token": token, "expires": now + 900.0}, file)
            return
        if time.monotonic() >= deadline:
            raise Refusal(f"the apply lock is held by this node ({other})")
        time.sleep(0.1)


def unlock(token: str) -> str:
    try:
        answer = ask({"command": "unlock", "token": token}, 2.0)
    except TimeoutError:
        answer = None
    if answer is None:
        try:
            with open(LOCK_PATH, encoding="ascii") as file:
                saved = json.load(file)
            if saved.get("token") == token:
                os.unlink(LOCK_PATH)
        except (OSError, ValueError, AttributeError):
            pass
        return "unlocked on this node"
    if "error" in answer:
        raise Refusal(str(answer["error"]))
    return "unlocked"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hotpair-arbiter", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("run", help="the service itself (started by systemd)")
    shown = verbs.add_parser("status", help="what this node is, holds, hears and did last")
    shown.add_argument("--json", action="store_true", help="for programs")
    verbs.add_parser("role", help="`active` when this node holds a VIP, else `standby`")
    switching = verbs.add_parser("switch", help="hand the VIPs of this node over to the peer")
    switching.add_argument("--vip", help="only this one")
    switching.add_argument("--wait", type=float, default=5.0, metavar="SECONDS", help="call it off after this long (5)")
    switching.add_argument(
        "--stay", action="store_true", help="a preferred node does not get it back by itself for an hour"
    )
    parking = verbs.add_parser("maintenance", help="park this node, or take it back")
    parking.add_argument("what", choices=("on", "off"))
    parking.add_argument("--keep", action="store_true", help="park it as it is, also while it holds a VIP")
    locking = verbs.add_parser("lock", help="take the pair-wide apply lock")
    locking.add_argument("--token", required=True)
    locking.add_argument("--wait", type=float, default=0.0, metavar="SECONDS")
    verbs.add_parser("check", help="read the configuration and say whether it is understood")
    verbs.add_parser("ping", help="ask the arbiter whether it lives")
    unlocking = verbs.add_parser("unlock", help="release it")
    unlocking.add_argument("--token", required=True)
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.verb == "lock":
            print(lock(options.token, options.wait))
            return 0
        if options.verb == "unlock":
            print(unlock(options.token))
            return 0
        if options.verb == "switch":
            print(switch(options.vip, options.wait, stay=options.stay))
            return 0
        if options.verb in ("check", "ping"):
            print(check() if options.verb == "check" else ping())
            return 0
        settings = config.load()
        if options.verb == "role":
            print(role(settings))
        elif options.verb == "status":
            found = status(settings)
            print(json.dumps(found) if options.json else describe(found))
        elif options.verb == "maintenance":
            print(maintenance(settings, options.what == "on", options.keep))
        return 0
    except Refusal as refusal:
        print(f"hotpair-arbiter: {refusal}", file=sys.stderr)
        return 1
    except config.ConfigError as error:
        print(f"hotpair-arbiter: {error}", file=sys.stderr)
        return 2
