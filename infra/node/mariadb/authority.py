"""Asks hotpair-lease: who may write, whose data counts. The lease decides; this module only carries words."""

from __future__ import annotations

import json
import os
import socket
from typing import Any, Dict, Mapping, Optional

from .rules import Authority
from .state import boottime, giving

PROGRAM = "/usr/lib/hotpair/hotpair-lease"
# Of the holder, which runs on one node alone: the same words without a program's start.
SOCKET_PATH = "/run/hotpair/lease.sock"
ARBITER_PATH = "/run/hotpair/arbiter.sock"
# CLOCK_BOOTTIME, in seconds, until which this node holds the lease; 0 or no file: it does not.
HOLDER_PATH = "/run/hotpair/holder"
INCARNATION_PATH = "/var/lib/hotpair/incarnation"
UNIT = "hotpair-mariadb.service"


class Refused(Exception):
    """hotpair-lease did not do it, in its own words."""


def holds() -> bool:
    """Whether this node holds the lease at this moment, by the deadline that its holder keeps on disk."""
    try:
        with open(HOLDER_PATH, encoding="ascii") as file:
            return float(file.read().strip() or 0) > boottime()
    except (OSError, ValueError):
        return False


def incarnation() -> str:
    """Of this node's data; empty when it has none yet."""
    try:
        with open(INCARNATION_PATH, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def write_incarnation(value: str) -> None:
    """On disk when this returns; nobody who asks later gets the old one. Raises Refused."""
    _call("incarnation", value)
    if incarnation() != value:
        raise Refused(f"{INCARNATION_PATH} does not hold what hotpair-lease said it wrote")


def status(timeout: float = 10.0) -> Optional[Dict[str, Any]]:
    """What the lease knows; None when it does not answer."""
    try:
        found = json.loads(_call("status", "--json", timeout=timeout))
    except (Refused, ValueError):
        return None
    return found if isinstance(found, dict) else None


def insync_of(found: Optional[Mapping[str, Any]]) -> Optional[Dict[str, str]]:
    """The nodes that hold every acknowledged write, with the incarnation of their data; None: not known."""
    listed = None if found is None else found.get("insync")
    if not isinstance(listed, dict):
        return None
    return {str(node): str(value) for node, value in listed.items()}


def insync() -> Optional[Dict[str, str]]:
    """As insync_of, asked now; on the holder in a millisecond."""
    answer = _ask(SOCKET_PATH, {"verb": "status"}, 0.5)
    said = None if answer is None else answer.get("status")
    found = insync_of(said) if isinstance(said, dict) else None
    return found if found is not None else insync_of(status())


class Watcher:
    """Looks at the lease from outside. The peer counts as the holder only once it is seen renewing: a dead node's name
    stays in etcd until somebody takes over."""

    def __init__(self, node: str, peer: str) -> None:
        self._node, self._peer = node, peer
        self._seq: Optional[object] = None
        self._fresh = False

    def look(self) -> Authority:
        mine = holds()
        found = status()
        if found is not None:
            seq = found.get("seq")
            self._fresh = self._seq is not None and seq != self._seq
            self._seq = seq
        holder = None if found is None else found.get("holder")
        return Authority(
            mine=mine or holds(),
            peers=holder == self._peer and self._fresh,
            insync=insync_of(found),
            giving=giving(),
        )


def alone() -> None:
    """Takes the peer out of insync. Committed when this returns. Raises Refused."""
    _order("alone")


def together(peers_incarnation: str) -> None:
    """Adds the peer's data to insync. Raises Refused."""
    _order("together", peers_incarnation)


def promoting() -> None:
    """Says that this node's server is about to take writes. Raises Refused without the lease."""
    _order("promoting", UNIT)


def demoted() -> None:
    """Says that the server runs on and no longer writes, so that it need not be killed. Raises Refused."""
    _order("demoted", UNIT)


def enroll() -> None:
    """Begins the pair's list of nodes in sync with this node. Raises Refused."""
    _call("enroll")


def release() -> None:
    """Gives the lease back. Raises Refused."""
    _call("release")


def hand_over(reason: str, timeout: float) -> None:
    """Asks hotpair-arbiter to let the peer take over, which ends what writes here. Raises Refused: the peer cannot."""
    answer = _ask(ARBITER_PATH, {"command": "switch", "wait": timeout, "reason": reason}, timeout + 3.0)
    if answer is None:
        raise Refused("hotpair-arbiter does not run")
    if answer.get("error"):
        raise Refused(str(answer["error"]))


def _order(verb: str, argument: str = "", timeout: float = 3.0) -> None:
    answer = _ask(SOCKET_PATH, {"verb": verb, "argument": argument, "timeout": timeout}, timeout + 1.0)
    if answer is None:
        # Not there: the program knows how to say why.
        _call(verb, *([argument] if argument else []))
    elif answer.get("error"):
        raise Refused(f"hotpair-lease {verb}: {answer['error']}")


def _ask(path: str, request: Mapping[str, Any], timeout: float) -> Optional[Dict[str, Any]]:
    """The answer of the process that listens there; None when there is none. Raises Refused when it hangs."""
    text = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(timeout)
            sock.connect(path)
            sock.sendall(json.dumps(dict(request)).encode() + b"\n")
            while not text.endswith(b"\n"):
                more = sock.recv(65536)
                if not more:
                    return None
                text += more
        answer = json.loads(text)
    except socket.timeout:
        raise Refused(f"no answer at {path}") from None
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def _call(*arguments: str, timeout: float = 30.0) -> str:
    # Only here: on the way of a promotion everything is asked over the socket.
    import subprocess

    try:
        result = subprocess.run(
            [PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Refused(f"hotpair-lease {arguments[0]}: {error}") from None
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise Refused(f"hotpair-lease {arguments[0]}: {said[-1] if said else f'exit code {result.returncode}'}")
    return result.stdout
