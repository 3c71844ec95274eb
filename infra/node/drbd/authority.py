"""What the lease says, and what it is asked to do. It alone decides; this module carries words.

The holder's own program is beside this package (lease/); only what the lease has no word for is here: each node says in
etcd, under a key of its own, what its copies are called, so that the holder can list them once they are equal.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import socket
import time
from typing import Any, Dict, Iterator, Mapping, Optional

from lease import journal
from lease import settings as lease_settings
from lease import verbs as lease_verbs
from lease.etcd import EtcdError, Identity, ask_all, member_of, now
from lease.rules import READ, Answer

from .rules import LeaseSeen

ARBITER = "arbiter.sock"
LOCK = "drbd.insync.lock"
PATIENCE = 1.0


class Refused(Exception):
    """The lease or the arbiter did not do it, in their own words."""


class Authority:
    """Of one node. Tests have one of their own."""

    def __init__(self, settings: lease_settings.Settings) -> None:
        self.settings = settings

    # ---- what is known

    def holds(self) -> bool:
        """By the deadline that the holder keeps on disk."""
        return journal.published(self.settings.run) > now()

    def incarnation(self) -> str:
        return lease_settings.read_incarnation(self.settings)

    def seen(self) -> LeaseSeen:
        """Asks every member, twice where somebody else seems to hold it: a dead node's name stays there."""
        mine = self.holds()
        first = self._read()
        if first is None:
            return LeaseSeen(mine=self.holds())
        holder = first.holder_node
        renewed = False
        if not mine and holder is not None and holder != self.settings.node:
            time.sleep(3 * self.settings.timing.renewal)
            second = self._read()
            if second is not None:
                renewed = second.seq_mod != first.seq_mod and second.holder_node == holder
                first, holder = second, second.holder_node
        return LeaseSeen(
            mine=self.holds(),
            holder=holder,
            renewed=renewed,
            insync=None if first.insync is None else dict(first.insync),
            quorum=True,
        )

    def seen_as_holder(self) -> LeaseSeen:
        """Without asking anybody: by the deadline on disk alone."""
        return LeaseSeen(mine=self.holds(), holder=self.settings.node)

    def fenced(self) -> bool:
        """The peer was confirmed off since this node took the lease."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                boot = file.read().strip()
            with open(self.settings.fence_path, encoding="utf-8") as file:
                last = json.load(file).get("last") or {}
            taking = str(os.stat(os.path.join(self.settings.run, "taken")).st_mtime_ns)
            return bool(
                last.get("outcome") == "confirmed" and last.get("taking") == taking and last.get("boot") == boot
            )
        except (OSError, ValueError, AttributeError):
            return False

    def insync(self) -> Optional[Dict[str, str]]:
        """As the holder knows it, or else as a quorum says."""
        try:
            said = lease_verbs.ask(self.settings, {"verb": "status"}, 0.5)
        except TimeoutError:
            said = None
        listed = None if said is None else (said.get("status") or {}).get("insync")
        if isinstance(listed, dict):
            return {str(node): str(value) for node, value in listed.items()}
        found = self._read()
        return None if found is None or found.insync is None else dict(found.insync)

    def _read(self) -> Any:
        answers = [each.record for each in ask_all(self.settings, READ, PATIENCE).values() if isinstance(each, Answer)]
        return max(answers, key=lambda record: (record.epoch, record.seq_mod), default=None)

    # ---- what is ordered

    @contextlib.contextmanager
    def exclusively(self, timeout: float = 10.0) -> Iterator[None]:
        """One at a time changes what `insync` says. Raises Refused."""
        descriptor = os.open(os.path.join(self.settings.run, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise Refused("another hotpair-drbd changes the list insync, and does not end") from None
                    time.sleep(0.005)
            yield
        finally:
            os.close(descriptor)

    def alone(self, timeout: float = 2.0) -> None:
        """The peer is off the list insync, committed, when this returns. Raises Refused."""
        self._order("alone", timeout=timeout)

    def together(self, incarnation: str) -> None:
        self._order("together", incarnation)

    def release(self) -> None:
        """Gives the lease back. Raises Refused."""
        self._order("release")

    def _order(self, verb: str, argument: str = "", timeout: float = 3.0) -> None:
        try:
            lease_verbs.command(self.settings, verb, argument, timeout)
        except lease_verbs.Refusal as refusal:
            raise Refused(f"hotpair-lease {verb}: {refusal}") from None

    def enroll(self) -> str:
        """Begins the pair's list with this node. Raises Refused."""
        try:
            return lease_verbs.enroll(self.settings)
        except (lease_verbs.Refusal, EtcdError) as refusal:
            raise Refused(str(refusal)) from None

    def call_copies(self, incarnation: str) -> None:
        """On disk when this returns."""
        lease_verbs.incarnation(self.settings, incarnation)

    def hand_over(self, reason: str, timeout: float = 5.0) -> None:
        """Asks the arbiter to let the peer take over. Raises Refused: the peer cannot."""
        request = {"command": "switch", "wait": timeout, "reason": reason}
        answer = _talk(os.path.join(self.settings.run, ARBITER), request, timeout + 3.0)
        if answer is None:
            raise Refused("hotpair-arbiter does not answer")
        if answer.get("error"):
            raise Refused(str(answer["error"]))

    # ---- what each node's copies are called

    def offer(self, incarnation: str) -> None:
        """Says in etcd what this node's copies are called. Raises Refused."""
        self._call("/v3/kv/put", {"key": _text(self._key(self.settings.node)), "value": _text(incarnation)})

    def offered(self, node: str) -> str:
        """What that node's copies are called; empty: it has none. Raises Refused."""
        said = self._call("/v3/kv/range", {"key": _text(self._key(node))})
        entries = said.get("kvs") or []
        return base64.b64decode(entries[0].get("value", "")).decode() if entries else ""

    def _key(self, node: str) -> str:
        # Not below the lease's own prefix, whose keys are its alone.
        return f"/hotpair-drbd/{self.settings.pair}/{node}"

    def _call(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        identity = Identity(self.settings.ca, self.settings.certificate, self.settings.key)
        errors = []
        for name in self.settings.endpoints:
            member = member_of(self.settings, name, identity)
            try:
                return member.call(path, body, PATIENCE)
            except EtcdError as error:
                errors.append(f"{name}: {error}")
            finally:
                member.close()
        raise Refused(f"no member of etcd answers: {'; '.join(errors)}")


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _talk(path: str, request: Mapping[str, Any], timeout: float) -> Optional[Dict[str, Any]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(path)
            sock.sendall(json.dumps(dict(request)).encode() + b"\n")
            text = b""
            while not text.endswith(b"\n"):
                more = sock.recv(65536)
                if not more:
                    return None
                text += more
            answer = json.loads(text)
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) else None


def load() -> Authority:
    """Raises lease.settings.SettingsError."""
    return Authority(lease_settings.load())
