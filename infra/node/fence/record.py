"""What is remembered of fencing: the state file, one JSON object, and a line in the audit file beside the arbiter's.

Neither may hold a shot up: a full disk costs the record, not the shot.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from typing import Any, Dict, Mapping, Optional

from .settings import Settings

AUDIT_BYTES = 1_000_000
AUDIT_OLD = 4


def boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def milliseconds() -> int:
    """Unix time."""
    return round(time.time() * 1000)


def read(settings: Settings) -> Dict[str, Any]:
    """`last`: the last shot, `test`: the last test; null: never."""
    try:
        with open(settings.state, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        found = {}
    if not isinstance(found, dict):
        found = {}
    return {"last": found.get("last"), "test": found.get("test")}


def write(settings: Settings, **changed: Mapping[str, Any]) -> None:
    """Replaces `last` or `test`; after a crash the file is the old one or the new one."""
    text = json.dumps({"version": 1, **read(settings), **changed}, separators=(",", ":")) + "\n"
    temporary = f"{settings.state}.new"
    try:
        os.makedirs(os.path.dirname(settings.state), mode=0o755, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, settings.state)
    except OSError as error:
        print(f"hotpair-fence: {settings.state}: {error}", file=sys.stderr)


def audit(settings: Settings, was: str, becomes: str, reason: str) -> None:
    """One line of the audit file; also in the journal."""
    print(f"{settings.peer_name}: {was} -> {becomes}: {reason}", file=sys.stderr, flush=True)
    entry = {
        "at": milliseconds(),
        "node": settings.name,
        "vip": "fencing",
        "from": was,
        "to": becomes,
        "reason": reason,
    }
    line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
    path = settings.audit
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        try:
            if os.stat(path).st_size + len(line) > AUDIT_BYTES:
                for number in range(AUDIT_OLD, 0, -1):
                    older = path if number == 1 else f"{path}.{number - 1}"
                    if os.path.exists(older):
                        os.replace(older, f"{path}.{number}")
        except FileNotFoundError:
            pass
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"hotpair-fence: {path}: {error}", file=sys.stderr)


def acknowledge(settings: Settings, at: float) -> None:
    """The operator says that the peer is down. `at`: CLOCK_BOOTTIME; a reboot forgets it."""
    path = os.path.join(settings.run, "fence.acknowledged")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(f"{at:.3f}\n")
    os.replace(path + ".new", path)


def acknowledged_since(settings: Settings, began: float) -> bool:
    try:
        with open(os.path.join(settings.run, "fence.acknowledged"), encoding="ascii") as file:
            return float(file.read()) >= began
    except (OSError, ValueError):
        return False


class Busy(Exception):
    """Another process of this node shoots already."""


class Lock:
    """One shot at a time; it ends with the process."""

    def __init__(self, settings: Settings) -> None:
        self._path = os.path.join(settings.run, "fence.lock")
        self._descriptor: Optional[int] = None

    def __enter__(self) -> Lock:
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise Busy("another hotpair-fence shoots already; hotpair-fence status") from None
        self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def shooting(settings: Settings) -> bool:
    """Whether a process of this node is at it right now."""
    try:
        with Lock(settings):
            return False
    except Busy:
        return True
    except OSError:
        return False


def status(settings: Settings) -> Dict[str, Any]:
    """FencingStatus of infra/model/status.ts."""
    found = read(settings)
    last = found["last"]
    if isinstance(last, dict) and last.get("outcome") == "running" and not shooting(settings):
        last = {**last, "outcome": "unconfirmed", "detail": "it was interrupted before the peer was confirmed off"}
    return {"version": 1, "agent": settings.agent, "peer": settings.peer, "last": last, "test": found["test"]}
