"""What hotpair-drbd remembers: on disk, what was set up here and what nobody has resolved yet; and the audit file.

Every file is replaced as a whole: after a crash it is the old one or the new one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Dict, Mapping, Optional

from .settings import Settings

AUDIT_PATH = "/var/log/hotpair/audit.log"
AUDIT_BYTES = 1_000_000
AUDIT_OLD = 4
SET_UP = "set-up.json"
SPLIT_BRAIN = "split-brain.json"
DIFFERENT = "different.json"


def now_text() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def new_incarnation(zeros: bool = False) -> str:
    """Never the same twice: time to read, chance to tell apart. `zeros`: every disk was read and holds nothing."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(4).hex()}{'+zeros' if zeros else ''}"


def read(settings: Settings, name: str) -> Dict[str, Any]:
    try:
        with open(os.path.join(settings.state, name), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(settings: Settings, name: str, what: Optional[Mapping[str, Any]]) -> None:
    """On disk when this returns; None or nothing in it removes the file."""
    path = os.path.join(settings.state, name)
    os.makedirs(settings.state, mode=0o755, exist_ok=True)
    if not what:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        return
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, json.dumps(dict(what)).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(f"{path}.new", path)
    folder = os.open(settings.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def audit(settings: Settings, was: str, becomes: str, reason: str, path: str = "") -> None:
    """One line of /var/log/hotpair/audit.log, beside the arbiter's; also in the journal. Never fails its caller."""
    path = path or os.environ.get("HOTPAIR_AUDIT", AUDIT_PATH)
    print(f"{was} -> {becomes}: {reason}", file=sys.stderr, flush=True)
    entry = {
        "at": round(time.time() * 1000),
        "node": settings.name,
        "vip": "drbd",
        "from": was,
        "to": becomes,
        "reason": reason,
    }
    line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
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
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"audit: {error}", file=sys.stderr, flush=True)
