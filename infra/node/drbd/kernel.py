"""The driver and its tools on this server: which dialect it speaks, how its devices are, and the words that change
them.

Driver 8.4 tells its states in /proc/drbd, driver 9 through `drbdsetup status --json`; both are read here into the
same shape. Nothing is decided here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .rules import Device
from .settings import Settings

PROC = "/proc/drbd"
DRBDADM = "/usr/sbin/drbdadm"
DRBDSETUP = "/usr/sbin/drbdsetup"
# Longest wait for one order, in seconds: the tools end slow ones themselves after two minutes.
ORDER_TIMEOUT = 130.0
LOOK_TIMEOUT = 5.0


class KernelError(Exception):
    """The driver or its tools said no, in their own words."""


@dataclass(frozen=True)
class Said:
    code: int
    text: str


def version(path: str = PROC) -> str:
    """Of the driver that runs, e.g. `8.4.11`; empty: none does."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.match(r"version:\s*(\d+\.\d+[.\d]*)", file.readline())
    except OSError:
        return ""
    return found.group(1) if found is not None else ""


def dialect_of(driver: str) -> str:
    """The configuration that a driver of this version reads. Raises KernelError for one that is unknown."""
    if driver.startswith("8.4"):
        return "8.4"
    if driver.startswith("9."):
        return "9"
    raise KernelError(f"DRBD's driver is of version {driver or 'unknown'}; hotpair knows 8.4 and 9")


def load() -> str:
    """The driver's version, loaded if it was not. Raises KernelError."""
    if not version():
        said = run(["modprobe", "drbd"], 30.0)
        if said.code != 0:
            raise KernelError(f"the kernel {os.uname().release} has no DRBD: {said.text}")
    return version()


# ---- states


def look(settings: Settings, driver: Optional[str] = None) -> Tuple[Device, ...]:
    """The pair's resources that are attached or connected here, in the order of the settings. Raises KernelError."""
    driver = version() if driver is None else driver
    if not driver:
        return ()
    if driver.startswith("8."):
        try:
            with open(PROC, encoding="utf-8", errors="replace") as file:
                found = read_proc(file.read(), {each.minor: each.name for each in settings.resources})
        except OSError as error:
            raise KernelError(f"{PROC}: {error.strerror}") from None
    else:
        said = run([DRBDSETUP, "status", "--json"], LOOK_TIMEOUT)
        if said.code != 0:
            raise KernelError(f"drbdsetup status: {said.text}")
        found = read_status(said.text, [each.name for each in settings.resources])
    return tuple(found[each.name] for each in settings.resources if each.name in found)


# ` 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----`; the last word has `s` where writes are
# suspended
_LINE = re.compile(r"\s*(\d+): cs:(\w+) ro:(\w+)/(\w+) ds:(\w+)/(\w+)(?:\s+\w\s+(\S+))?")
_OOS = re.compile(r"\boos:(\d+)")
_DONE = re.compile(r"(?:sync'ed|verified):\s*([\d.]+)%")


def read_proc(text: str, names: Mapping[int, str]) -> Dict[str, Device]:
    """/proc/drbd of driver 8.4; `names`: of the pair's resources, by minor number. Minors not in use are left out."""
    found: Dict[str, Device] = {}
    current: Optional[str] = None
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is not None:
            minor, connection, role, peer_role, disk, peer_disk, flags = match.groups()
            current = names.get(int(minor))
            if current is not None:
                found[current] = Device(
                    name=current,
                    role=role,
                    disk=disk,
                    connection=connection,
                    peer_role=peer_role,
                    peer_disk=peer_disk,
                    # The first letter; a later `s` is about the activity log (drbd_proc.c).
                    suspended=(flags or "").startswith("s"),
                )
            continue
        if re.match(r"\s*\d+: ", line):
            current = None
        if current is None:
            continue
        oos, done = _OOS.search(line), _DONE.search(line)
        if oos is not None:
            found[current] = _with(found[current], out_of_sync=int(oos.group(1)))
        if done is not None:
            found[current] = _with(found[current], done=float(done.group(1)))
    return found


def _with(device: Device, **changes: Any) -> Device:
    return Device(**{**device.__dict__, **changes})


def read_status(text: str, names: Sequence[str]) -> Dict[str, Device]:
    """`drbdsetup status --json` of driver 9: one peer, one volume per resource. Raises KernelError."""
    try:
        said = json.loads(text or "[]")
        found: Dict[str, Device] = {}
        for resource in said:
            name = str(resource["name"])
            if name not in names:
                continue
            volume = resource["devices"][0]
            connections = resource.get("connections") or [{}]
            peer = connections[0]
            peer_volume = (peer.get("peer_devices") or [{}])[0]
            connection = str(peer.get("connection-state", "StandAlone"))
            replication = str(peer_volume.get("replication-state", "Off"))
            busy = replication not in ("Off", "Established")
            found[name] = Device(
                name=name,
                role=str(resource["role"]),
                disk=str(volume["disk-state"]),
                connection=replication if connection == "Connected" and busy else connection,
                peer_role=str(peer.get("peer-role", "Unknown")),
                peer_disk=str(peer_volume.get("peer-disk-state", "DUnknown")),
                suspended=bool(resource.get("suspended", False)),
                done=float(peer_volume["percent-in-sync"]) if busy and "percent-in-sync" in peer_volume else None,
                out_of_sync=int(peer_volume.get("out-of-sync", 0)),
            )
        return found
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise KernelError(f"drbdsetup status --json is not understood: {error!r}") from None


# ---- orders


def run(command: Sequence[str], timeout: float = ORDER_TIMEOUT) -> Said:
    try:
        result = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return Said(124, f"{os.path.basename(command[0])} {' '.join(command[1:3])}: no answer within {timeout:g} s")
    except OSError as error:
        return Said(127, f"{command[0]}: {error.strerror}")
    text = result.stdout if result.returncode == 0 else (result.stderr or result.stdout)
    return Said(result.returncode, text.strip())


def order(*words: str, timeout: float = ORDER_TIMEOUT) -> str:
    """`drbdadm WORDS`. Raises KernelError with its last words."""
    said = run([DRBDADM, *words], timeout)
    if said.code != 0:
        raise KernelError(f"drbdadm {' '.join(words)}: {short(said.text) or f'exit code {said.code}'}")
    return said.text


def short(text: str) -> str:
    """What drbdadm says without the usage and the command line that it repeats."""
    lines: List[str] = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.startswith(("Command '", 'Command "')) and "terminated with exit code" not in line
    ]
    return "; ".join(lines[-3:])
