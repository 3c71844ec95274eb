"""What hotpair-mariadb remembers: on disk, what this node's data is; until the next reboot, what runs; the audit file.

Every file is replaced as a whole: after a crash it is the old one or the new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from .rules import Role

STATE_DIRECTORY = "/var/lib/hotpair/mariadb"
STATE_PATH = f"{STATE_DIRECTORY}/state.json"
RUN = "/run/hotpair"
# by `start`, just before it becomes the server
SERVER_PATH = f"{RUN}/mariadb.server"
# by whoever starts replication
REPLICATION_PATH = f"{RUN}/mariadb.replication"
# by `switch-out`: the server is read-only, its last write is on the peer
HANDED_OVER_PATH = f"{RUN}/mariadb.handed-over"
# by `promote`, while this server takes writes
PROMOTED_PATH = f"{RUN}/mariadb.promoted"
# by `promote`, once its server died or hung: until when the peer may take over (seconds since boot)
GIVING_PATH = f"{RUN}/mariadb.giving"
# by `start`, while it waits: for what
WAITING_PATH = f"{RUN}/mariadb.waiting"
LOCK_PATH = f"{RUN}/mariadb.lock"
WATCH_PATH = f"{RUN}/mariadb.status"
AUDIT_PATH = "/var/log/hotpair/audit.log"
# 1 MB holds some 8,000 state changes; with four old files a flapping night does not push out the day before.
AUDIT_BYTES = 1_000_000
AUDIT_OLD = 4
PROMOTIONS_KEPT = 100


def boottime() -> float:
    """Seconds since boot, suspension included: the clock of every deadline that the lease writes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Data:
    role: Role
    # positions at which this node was promoted, oldest first
    promotions: Tuple[str, ...]


def giving() -> bool:
    """Whether this node's server ended as the primary's, and the peer is being asked to take over."""
    noted = read_json(GIVING_PATH)
    return noted is not None and float(noted.get("until", 0)) > boottime()


def read_json(path: str) -> Optional[Dict[str, Any]]:
    """The object in a file; None when there is none or it is not understood."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: str, what: Mapping[str, Any], mode: int = 0o644) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    temporary = f"{path}.new"
    durable = not path.startswith("/run/")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, json.dumps(what).encode() + b"\n")
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    if durable:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def data() -> Data:
    """What this node's data is. A file that cannot be read counts as a replica's: the least that can be relied on."""
    if not os.path.exists(STATE_PATH):
        return Data(Role.NEW, ())
    raw = read_json(STATE_PATH)
    try:
        if raw is None:
            raise ValueError
        return Data(Role(raw["role"]), tuple(str(each) for each in raw["promotions"]))
    except (KeyError, TypeError, ValueError):
        return Data(Role.REPLICA, ())


def save(what: Data) -> None:
    """On disk when this returns."""
    write_json(
        STATE_PATH, {"version": 1, "role": what.role.value, "promotions": list(what.promotions[-PROMOTIONS_KEPT:])}
    )


def new_incarnation() -> str:
    """Never the same twice: time to read, chance to tell apart."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(4).hex()}"


@contextmanager
def changing(timeout: float = 5.0) -> Iterator[None]:
    """One at a time changes what the server is. Raises TimeoutError."""
    descriptor = os.open(LOCK_PATH, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(f"another hotpair-mariadb is at work ({LOCK_PATH})") from None
                time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def audit(node: str, was: str, now: str, reason: str) -> None:
    """One line of /var/log/hotpair/audit.log, beside the arbiter's; also in the journal. Never fails its caller."""
    print(f"{was} -> {now}: {reason}", file=sys.stderr, flush=True)
    entry = {"at": round(time.time() * 1000), "node": node, "vip": "mariadb", "from": was, "to": now, "reason": reason}
    line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
    try:
        os.makedirs(os.path.dirname(AUDIT_PATH), mode=0o755, exist_ok=True)
        try:
            if os.stat(AUDIT_PATH).st_size + len(line) > AUDIT_BYTES:
                for number in range(AUDIT_OLD, 0, -1):
                    older = AUDIT_PATH if number == 1 else f"{AUDIT_PATH}.{number - 1}"
                    if os.path.exists(older):
                        os.replace(older, f"{AUDIT_PATH}.{number}")
        except FileNotFoundError:
            pass
        descriptor = os.open(AUDIT_PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"audit: {error}", file=sys.stderr, flush=True)
