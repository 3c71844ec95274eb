"""What an operator, hotpair, units and the driver call on a server. Each verb says in one line why it refuses.

Exit codes: 0 done, 1 refused or failed, 2 wrong input; `fence-peer` has the driver's own (rules.py), `promote` 3
where this node may not be promoted.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import authority, fence, kernel, primary, record, recover, setup, watch
from .rules import UNDECIDED, Device, needs_its_peer
from .settings import Settings, SettingsError, load

DRBD_CONF = "/etc/drbd.conf"
OTHERS = "/etc/drbd.d/*.res"
# Where /etc/drbd.conf looks for the dialect in use.
LINK = "drbd/drbd.conf"
# A disk that a boot finds after this unit has started (seconds); within the unit's own TimeoutStartSec=60s.
DISKS_WITHIN = 30.0
# Longest hand-over that `switch-out` allows to begin: the peer must have everything at once.
STALE = 5.0


class Refusal(Exception):
    """One line: why not, and what to do."""


def look(settings: Settings) -> Sequence[Device]:
    return kernel.look(settings)


# ---- hotpair-drbd.service


def attach(settings: Settings) -> str:
    """Finds out which dialect this kernel's driver speaks, and brings up what was set up here. Promotes nothing."""
    driver = kernel.load()
    dialect = kernel.dialect_of(driver)
    point(settings, dialect)
    done = record.read(settings, record.SET_UP)
    known = [each.name for each in settings.resources if each.name in done]
    await_disks(settings, known)
    for name in known:
        kernel.order("adjust", name)
    waiting = [each.name for each in settings.resources if each.name not in done]
    text = f"driver {driver}; up: {', '.join(known) or 'nothing'}"
    if waiting:
        text += f"; never set up here: {', '.join(waiting)} (hotpair-drbd prepare)"
    return text


def await_disks(settings: Settings, names: Sequence[str], within: float = DISKS_WITHIN) -> None:
    """What is still missing then, the driver's tools say themselves."""
    until = time.monotonic() + within
    needed = [path for name in names for path in (settings.resource(name).disk, settings.resource(name).metadata)]
    while any(path is not None and not os.path.exists(path) for path in needed) and time.monotonic() < until:
        time.sleep(0.1)


def point(settings: Settings, dialect: str) -> None:
    """/etc/drbd.conf includes what this link names."""
    link = os.path.join(settings.run, LINK)
    os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
    target = os.path.join(settings.dialects, dialect, "drbd.conf")
    try:
        os.unlink(link + ".new")
    except FileNotFoundError:
        pass
    os.symlink(target, link + ".new")
    os.replace(link + ".new", link)


def detach(settings: Settings) -> str:
    """At a shutdown. The peer hears of it, so that it need not ask."""
    marker = os.path.join(settings.run, watch.DETACHING)
    with open(marker, "w", encoding="ascii"):
        pass
    try:
        names = [device.name for device in look(settings)]
        for name in names:
            kernel.order("down", name, timeout=20.0)
        return f"down: {', '.join(names) or 'nothing was up'}"
    finally:
        os.unlink(marker)


def adjust(settings: Settings) -> str:
    """Settings that changed, while the devices are in use."""
    done = record.read(settings, record.SET_UP)
    names = [each.name for each in settings.resources if each.name in done]
    for name in names:
        kernel.order("adjust", name)
    return f"adjusted: {', '.join(names) or 'nothing is set up'}"


# ---- what the driver calls


def fence_peer(settings: Settings) -> int:
    """Whatever goes wrong here is no word about the peer."""
    try:
        return fence.answer(
            settings,
            authority.Authority(settings),
            lambda: look(settings),
            os.environ.get("DRBD_RESOURCE", "a resource"),
        )
    except Exception as error:  # the driver would take an exit code for an answer
        print(f"hotpair-drbd: fence-peer: {error!r}", file=sys.stderr)
        return UNDECIDED


def note(settings: Settings, name: str, what: str) -> str:
    """`split-brain` and `out-of-sync`: written down with the moment; resolved by nobody but a person, or a resync."""
    resource = os.environ.get("DRBD_RESOURCE", "")
    noted = record.read(settings, name)
    if resource not in noted:
        record.write(settings, name, {**noted, resource: record.now_text()})
        record.audit(settings, "equal", what, resource)
    return f"{what}: {resource}"


# ---- on the way to a volume


def may_start(settings: Settings) -> str:
    """ExecStartPre= of whatever runs on a volume."""
    if not authority.Authority(settings).holds():
        raise Refusal("this node does not hold the lease: what runs on a volume runs on the active node")
    return "the lease is held"


def fsck(settings: Settings, name: str) -> str:
    volume = next((each for each in settings.volumes if each.resource == name), None)
    if volume is None:
        raise SettingsError(f'"{name}" carries no volume of this pair')
    device = settings.resource(name).device
    if volume.file_system != "ext4":
        return f"{device}: {volume.file_system} replays its own log when it is mounted"
    said = kernel.run(["fsck.ext4", "-p", device], 24 * 3_600.0)
    # e2fsck(8): 0 nothing was wrong, 1 errors were corrected, 2 corrected and a reboot is wanted; from 4 on they are
    # left.
    if said.code > 1:
        raise Refusal(
            f"{device}: the file system has errors that need a person (exit code {said.code}): "
            f"{kernel.short(said.text)}; "
            f"on this node: fsck.ext4 {device}"
        )
    return kernel.short(said.text) or f"{device}: clean"


# ---- asked by hotpair


def status(settings: Settings) -> Dict[str, Any]:
    """DatabaseStatus of infra/model/status.ts, and more."""
    problems: List[str] = []
    devices: Sequence[Device] = ()
    try:
        devices = look(settings)
    except kernel.KernelError as error:
        problems.append(str(error))
    done = record.read(settings, record.SET_UP)
    for resource in settings.resources:
        if resource.name not in done:
            problems.append(f"{resource.name} was never set up here: hotpair-drbd prepare (docs/drbd.md#first-set-up)")
        elif resource.name not in {device.name for device in devices}:
            problems.append(
                f"{resource.name} is not attached: systemctl restart hotpair-drbd; journalctl -u hotpair-drbd; where "
                "its disk was replaced: hotpair-drbd prepare"
            )
    for device in devices:
        problems += _wrong(settings, device)
    problems += _not_running(settings)
    for name, since in record.read(settings, record.SPLIT_BRAIN).items():
        lacks = next((device.out_of_sync for device in devices if device.name == name), 0)
        problems.append(
            f"{name}: split brain since {since}; the copies differ in at least {lacks} KiB as seen from here, and stay "
            "apart until you decide whose is given up: hotpair-drbd recover (docs/drbd.md#split-brain)"
        )
    for name, since in record.read(settings, record.DIFFERENT).items():
        problems.append(
            f"{name}: both copies differed when compared at {since}; drbdadm disconnect and connect copies it anew"
        )
    watched = _watched(settings)
    if watched is None:
        problems.append(
            "hotpair-drbd-watch does not run: who is in sync is not kept true. systemctl start hotpair-drbd-watch"
        )
    elif watched.get("trouble"):
        problems.append(str(watched["trouble"]))
    return {
        "version": 1,
        "node": settings.name,
        "state": _state(settings, devices, done),
        "lagMs": None,
        "driver": kernel.version() or None,
        "devices": [
            {
                "name": device.name,
                "role": device.role,
                "disk": device.disk,
                "connection": device.connection,
                "peerRole": device.peer_role,
                "peerDisk": device.peer_disk,
                "suspended": device.suspended,
                "donePercent": device.done,
                "outOfSyncKiB": device.out_of_sync,
            }
            for device in devices
        ],
        "problems": problems,
    }


def _state(settings: Settings, devices: Sequence[Device], done: Mapping[str, Any]) -> str:
    """`primary` and `replica` as everybody above knows them; otherwise what keeps this node from being either."""
    if len(done) < len(settings.resources):
        return "new"
    if len(devices) < len(settings.resources):
        return "down"
    if all(device.role == "Primary" for device in devices):
        return "primary"
    if any(device.role == "Primary" for device in devices):
        return "letting go"
    if needs_its_peer(devices):
        return "resyncing" if any(device.done is not None for device in devices) else "not promotable"
    return "replica" if all(device.connected for device in devices) else "not replicating"


def _wrong(settings: Settings, device: Device) -> List[str]:
    said: List[str] = []
    if device.suspended:
        said.append(
            f"{device.name}: writes wait, since nobody could say whether the peer has gone on (hotpair-lease status)"
        )
    if device.disk in ("Diskless", "Failed"):
        said.append(f"{device.name}: this node's disk is gone; reads and writes go to {settings.peer_name}'s")
    elif device.disk in ("Inconsistent", "Outdated"):
        share = "" if device.done is None else f", {device.done:g} % copied"
        said.append(f"{device.name}: this node's copy is {device.disk}{share}")
    if device.connection == "StandAlone":
        said.append(
            f"{device.name}: it does not look for its peer; hotpair-drbd-watch connects it within some seconds, unless "
            "there is a split brain"
        )
    elif not device.connected:
        said.append(f"{device.name}: not connected to {settings.peer_name} ({device.connection})")
    elif device.role == "Primary" and device.peer_disk != "UpToDate":
        share = "" if device.done is None else f", {device.done:g} % copied"
        said.append(f"{device.name}: not redundant, {settings.peer_name}'s copy is {device.peer_disk}{share}")
    return said


def _not_running(settings: Settings) -> List[str]:
    """Services on the volumes that are mounted here; systemd brings back what died, and leaves what was refused."""
    said: List[str] = []
    for volume in settings.volumes:
        if not volume.units or not os.path.ismount(volume.mount_point):
            continue
        states = kernel.run(["systemctl", "is-active", *volume.units], 5.0).text.splitlines()
        said += [
            f"{unit} on {volume.mount_point} is {state}: journalctl -u {unit} -n 50"
            for unit, state in zip(volume.units, states)
            if state != "active"
        ]
    return said


def _watched(settings: Settings) -> Optional[Dict[str, Any]]:
    try:
        with open(os.path.join(settings.run, watch.STATUS), encoding="utf-8") as file:
            said = json.load(file)
        return said if time.clock_gettime(time.CLOCK_BOOTTIME) - float(said["at"]) < STALE else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def describe(found: Mapping[str, Any]) -> str:
    lines = [f"{found['node']}: {found['state']} (driver {found['driver'] or 'not loaded'})"]
    for device in found["devices"]:
        done = "" if device["donePercent"] is None else f", {device['donePercent']:g} %"
        lines.append(
            f"  {device['name']}: {device['role']}, {device['disk']}; {device['connection']}{done}; "
            f"peer {device['peerRole']}, {device['peerDisk']}"
        )
    lines += [f"  ! {problem}" for problem in found["problems"]]
    return "\n".join(lines)


def healthy(settings: Settings) -> str:
    """What is set up is attached; what is not was never touched."""
    found = status(settings)
    if found["state"] == "down":
        raise Refusal("; ".join(found["problems"]))
    return str(found["state"])


def switch_out(settings: Settings) -> str:
    """Before a switch: the peer has everything. The demotion itself is the unit's, in its order."""
    apart = [device.name for device in look(settings) if not device.peer_whole]
    if apart:
        raise Refusal(f"{settings.peer_name} does not hold every write of {', '.join(apart)}; hotpair-drbd status")
    return f"{settings.peer_name} holds every write"


def verify(settings: Settings) -> str:
    """On the node that writes, one resource after the other; what differs is noted by the driver's own handler."""
    if not authority.Authority(settings).holds():
        return "this node does not hold the lease: the other one compares"
    devices = look(settings)
    apart = [device.name for device in devices if not device.equal]
    if apart:
        raise Refusal(f"not comparable now: {', '.join(apart)}")
    record.write(settings, record.DIFFERENT, None)
    for device in devices:
        kernel.order("verify", device.name)
        while True:
            time.sleep(2.0)
            now = next((each for each in look(settings) if each.name == device.name), None)
            if now is None or now.connection not in ("VerifyS", "VerifyT"):
                break
        if now is not None and now.out_of_sync > 0:
            record.write(
                settings, record.DIFFERENT, {**record.read(settings, record.DIFFERENT), device.name: record.now_text()}
            )
            record.audit(settings, "equal", "different", f"{device.name}: {now.out_of_sync} KiB differ")
    different = record.read(settings, record.DIFFERENT)
    if different:
        raise Refusal(f"both copies differ: {', '.join(different)}; drbdadm disconnect and connect copies it anew")
    return f"both copies are equal: {', '.join(device.name for device in devices)}"


def check(settings: Settings, others: str = OTHERS) -> str:
    wrong: List[str] = []
    name = os.uname().nodename
    if name != settings.name:
        wrong.append(
            f'this server calls itself "{name}", and DRBD finds its own part of the configuration by that name, which '
            f'is "{settings.name}" in the stack file: hostnamectl set-hostname {settings.name}'
        )
    found = sorted(glob.glob(others))
    if found:
        wrong.append(
            f"this server has DRBD resources of its own ({', '.join(found)}), which would not be found: take them "
            "away, or describe them as hotpair:drbd"
        )
    for unit in (unit for volume in settings.volumes for unit in volume.units):
        state = kernel.run(["systemctl", "is-enabled", unit], 10.0).text.splitlines()
        if state[:1] == ["enabled"]:
            wrong.append(f"{unit} is enabled, and would start on both nodes at every boot: systemctl disable {unit}")
    if wrong:
        raise SettingsError("\n".join(wrong))
    names = ", ".join(f"{each.name} ({each.disk} as {each.device})" for each in settings.resources)
    return f"node {settings.node} of pair {settings.pair}: {names}"


def describe_probe(settings: Settings) -> str:
    lines: List[str] = []
    for resource, disk, metadata in setup.look_at(settings):
        for found in (disk, metadata):
            if found is not None:
                lines.append(f"{resource.name}: {found.path}: {found.kind}: {found.what} ({found.size} bytes)")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hotpair-drbd", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("check", help="read the settings and say whether they fit this server")
    shown = verbs.add_parser("status", help="how the devices are, and what is wrong")
    shown.add_argument("--json", action="store_true", help="for programs")
    verbs.add_parser("probe", help="what is on the disks; changes nothing")
    preparing = verbs.add_parser(
        "prepare", help="first set-up of this node: metadata on empty disks, and on those you name"
    )
    preparing.add_argument("--adopt", metavar="DISK", action="append", default=[], help="what is on it stays")
    preparing.add_argument("--wipe", metavar="DISK", action="append", default=[], help="what is on it is given up")
    preparing.add_argument(
        "--read-all", action="store_true", help="read the disks; all zeros on both need no first copy"
    )
    verbs.add_parser("begin", help="once, on the node whose data counts, when both are prepared")
    verbs.add_parser("attach", help="hotpair-drbd.service: find the dialect, bring the devices up")
    verbs.add_parser("detach", help="its ExecStop=")
    verbs.add_parser("adjust", help="its ExecReload=")
    verbs.add_parser("promote", help="hotpair-drbd-primary.service: write the devices here")
    verbs.add_parser("demote", help="its ExecStopPost=: no longer")
    checking = verbs.add_parser("fsck", help="before a volume is mounted")
    checking.add_argument("resource", metavar="RESOURCE")
    verbs.add_parser("may-start", help="ExecStartPre= of what runs on a volume: is the lease held?")
    verbs.add_parser("watch", help="hotpair-drbd-watch.service: who is in sync")
    verbs.add_parser("verify", help="compare both copies, block by block")
    verbs.add_parser("fence-peer", help="the driver's question whether this node may go on without its peer")
    verbs.add_parser("split-brain", help="the driver's word that the copies were written apart")
    verbs.add_parser("out-of-sync", help="the driver's word that the copies differ")
    recovering = verbs.add_parser("recover", help="after a split brain: what this node holds; or give it up")
    recovering.add_argument("--discard", metavar="NODE", default="", help="consent: the name of this node")
    switching = verbs.add_parser("switch-out", help="before a switch: does the peer have everything?")
    switching.add_argument("--undo", action="store_true", help="no switch follows")
    verbs.add_parser("healthy", help="whether the devices are attached, or rightly not")
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        return _run(options, load())
    except (
        Refusal,
        recover.Refusal,
        setup.Refusal,
        authority.Refused,
        kernel.KernelError,
    ) as refusal:
        for line in str(refusal).splitlines():
            print(f"hotpair-drbd: {line}", file=sys.stderr)
        return 1
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"hotpair-drbd: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hotpair-drbd: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, settings: Settings) -> int:
    verb = options.verb
    if verb == "fence-peer":
        return fence_peer(settings)
    if verb == "promote":
        return primary.promote(settings, authority.Authority(settings), lambda: look(settings))
    if verb == "demote":
        return primary.demote(settings, lambda: look(settings))
    if verb == "watch":
        return watch.main(settings, authority.Authority(settings), lambda: look(settings))
    if verb == "status":
        found = status(settings)
        print(json.dumps(found) if options.json else describe(found))
        return 0
    print(_said(verb, options, settings))
    return 0


def _said(verb: str, options: argparse.Namespace, settings: Settings) -> str:
    if verb == "check":
        return check(settings)
    if verb == "probe":
        return describe_probe(settings)
    if verb == "prepare":
        done = setup.prepare(settings, authority.Authority(settings), options.adopt, options.wipe, options.read_all)
        return "\n".join(done)
    if verb == "begin":
        return "\n".join(setup.begin(settings, authority.Authority(settings), lambda: look(settings)))
    if verb == "attach":
        return attach(settings)
    if verb == "detach":
        return detach(settings)
    if verb == "adjust":
        return adjust(settings)
    if verb == "fsck":
        return fsck(settings, options.resource)
    if verb == "may-start":
        return may_start(settings)
    if verb == "verify":
        return verify(settings)
    if verb == "recover":
        asked = authority.Authority(settings)
        if options.discard:
            return "\n".join(recover.discard(settings, asked, lambda: look(settings), options.discard))
        return "\n".join(recover.show(settings, asked, look(settings)))
    if verb == "split-brain":
        return note(settings, record.SPLIT_BRAIN, "split brain")
    if verb == "out-of-sync":
        return note(settings, record.DIFFERENT, "different")
    if verb == "switch-out":
        return "nothing to undo" if options.undo else switch_out(settings)
    return healthy(settings)
