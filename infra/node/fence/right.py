"""May this node shoot, and does it have to? Both are read from files and the arbiter's socket, when they count.

The lease's holder writes its deadline down with every renewal, and at its acquisition whom it took the lease from.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from .settings import Settings

# A holder whose deadline is nearer than this does not begin, and stops what it began (seconds).
MARGIN = 0.1
# A peer heard within this time is heard: ten beacons (seconds).
HEARD = 0.2
_ARBITER_ANSWERS = 0.3


def now() -> float:
    """CLOCK_BOOTTIME: the clock of the lease's deadline."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def deadline(run: str) -> float:
    try:
        with open(os.path.join(run, "holder"), encoding="ascii") as file:
            return float(file.read())
    except (OSError, ValueError):
        return 0.0


def not_the_holder(settings: Settings) -> str:
    """Why this node may not shoot at this moment; empty: it may."""
    left = deadline(settings.run) - now()
    if left >= MARGIN:
        return ""
    return "this node does not hold the lease" if left <= 0 else f"its lease ends in {left:.3f} s"


@dataclass(frozen=True)
class Need:
    # why the peer must be shot, or why not
    why: str
    needed: bool


def need(settings: Settings, unfinished: bool) -> Need:
    """After this node took the lease. `unfinished`: an earlier process began to shoot and did not end."""
    taken = _taken(settings)
    if taken is None or taken == "":
        return Need("the lease was free: the peer gave it back in order, or never had it", False)
    if taken == settings.node and not unfinished:
        return Need("the lease was this node's own before", False)
    said = _arbiter()
    proof = peer_runs_without(said)
    if proof:
        return Need(proof, False)
    if taken == settings.node:
        return Need("an earlier attempt of this node was interrupted", True)
    return Need(f"{settings.peer_name} did not give the lease back, and does not say that it stopped", True)


def peer_runs_without(said: Optional[Mapping[str, Any]]) -> str:
    """The peer's own word, authenticated and fresh, that it runs and does not hold the lease: a machine that stands
    still says nothing. Empty: there is no such word."""
    try:
        peer = said["peer"] if said is not None else None
        if peer is None or peer["lease"] is not False:
            return ""
        ages = [age for age in peer["heardMsAgo"].values() if age is not None]
        if ages and min(ages) <= HEARD * 1000:
            return f"the peer runs and says that it does not hold the lease ({min(ages)} ms ago)"
    except (KeyError, TypeError, AttributeError):
        pass
    return ""


def taking(settings: Settings) -> str:
    """A name for this taking of the lease, different for each; empty: not known."""
    try:
        return str(os.stat(os.path.join(settings.run, "taken")).st_mtime_ns)
    except OSError:
        return ""


def _taken(settings: Settings) -> Optional[str]:
    """Node that held the lease before this one took it; empty: nobody; None: not known."""
    try:
        with open(os.path.join(settings.run, "taken"), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _arbiter(path: str = "") -> Optional[Dict[str, Any]]:
    path = path or os.environ.get("HOTPAIR_ARBITER_SOCKET", "/run/hotpair/arbiter.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_ARBITER_ANSWERS)
        try:
            sock.connect(path)
            sock.sendall(b'{"command":"status"}\n')
            text = b""
            while not text.endswith(b"\n"):
                data = sock.recv(65536)
                if not data:
                    return None
                text += data
            answer = json.loads(text)
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) else None
