"""What the suites share: settings for files in a temporary directory, devices in words, an authority without etcd."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional

from drbd.authority import Authority, Refused
from drbd.rules import Device, LeaseSeen
from drbd.settings import Resource, Settings, Volume


def device(name: str = "data", **changes: Any) -> Device:
    """Connected, equal, secondary on both sides; changed as said."""
    usual: Dict[str, Any] = {
        "name": name,
        "role": "Secondary",
        "disk": "UpToDate",
        "connection": "Connected",
        "peer_role": "Secondary",
        "peer_disk": "UpToDate",
    }
    return Device(**{**usual, **changes})


def settings(folder: str, disks: Optional[Dict[str, str]] = None, **changes: Any) -> Settings:
    disks = {"data": f"{folder}/data"} if disks is None else disks
    usual: Dict[str, Any] = {
        "pair": "disks",
        "node": "a",
        "name": "node-a",
        "peer": "b",
        "peer_name": "node-b",
        "resources": tuple(
            Resource(name=name, minor=minor, disk=disk, metadata=None)
            for minor, (name, disk) in enumerate(disks.items())
        ),
        "volumes": tuple(
            Volume(resource=name, file_system="ext4", mount_point=f"{folder}/mnt", mount_unit="mnt.mount", units=())
            for name in disks
        ),
        "run": f"{folder}/run",
        "state": f"{folder}/state",
        "dialects": f"{folder}/dialects",
    }
    return Settings(**{**usual, **changes})


class Etcd:
    """The keys of the pair, and who may say what about them."""

    def __init__(self, insync: Optional[Dict[str, str]] = None, holder: Optional[str] = None) -> None:
        self.insync = insync
        self.holder = holder
        self.offers: Dict[str, str] = {}
        self.quorum = True
        self.orders: List[str] = []


class FakeAuthority(Authority):
    """drbd.authority.Authority, without sockets and files."""

    def __init__(self, etcd: Etcd, node: str = "a", incarnation: str = "one") -> None:
        self.etcd = etcd
        self.node = node
        self.name = incarnation
        self.renewing = True
        self.confirmed_off = False
        self.locked = False
        # the holder's own view of its deadline
        self.possession = True
        self.handed_over: List[str] = []
        self.hand_over_error = ""

    def holds(self) -> bool:
        return self.etcd.holder == self.node and self.possession

    def incarnation(self) -> str:
        return self.name

    def seen(self) -> LeaseSeen:
        if not self.etcd.quorum:
            return LeaseSeen(mine=self.holds())
        return LeaseSeen(
            mine=self.holds(),
            holder=self.etcd.holder,
            renewed=self.renewing and self.etcd.holder not in (None, self.node),
            insync=None if self.etcd.insync is None else dict(self.etcd.insync),
            quorum=True,
        )

    def seen_as_holder(self) -> LeaseSeen:
        return LeaseSeen(mine=self.holds(), holder=self.node)

    def fenced(self) -> bool:
        return self.confirmed_off

    def insync(self) -> Optional[Dict[str, str]]:
        return None if self.etcd.insync is None else dict(self.etcd.insync)

    @contextlib.contextmanager
    def exclusively(self, timeout: float = 10.0) -> Iterator[None]:
        del timeout
        if self.locked:
            raise AssertionError("the lock is held already")
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    def alone(self, timeout: float = 2.0) -> None:
        del timeout
        self._commit("alone", {self.node: (self.etcd.insync or {}).get(self.node, self.name)})

    def together(self, incarnation: str) -> None:
        mine = (self.etcd.insync or {}).get(self.node, self.name)
        self._commit("together", {self.node: mine, "b" if self.node == "a" else "a": incarnation})

    def _commit(self, verb: str, wanted: Dict[str, str]) -> None:
        if not self.holds():
            raise Refused(f"hotpair-lease {verb}: this node does not hold the lease")
        if not self.etcd.quorum and self.etcd.insync != wanted:
            raise Refused(f"hotpair-lease {verb}: no quorum")
        self.etcd.insync = wanted
        self.etcd.orders.append(f"{self.node} {verb}")

    def release(self) -> None:
        self.etcd.holder = None
        self.etcd.orders.append(f"{self.node} release")

    def enroll(self) -> str:
        if self.etcd.insync is not None:
            raise Refused("the pair is enrolled already")
        self.etcd.insync = {self.node: self.name}
        return f"enrolled: in sync is node {self.node} ({self.name}) alone"

    def call_copies(self, incarnation: str) -> None:
        self.name = incarnation

    def offer(self) -> None:
        if not self.etcd.quorum:
            raise Refused("no member of etcd answers")
        self.etcd.offers[self.node] = self.name

    def offered(self) -> str:
        return self.etcd.offers.get("b" if self.node == "a" else "a", "")

    def hand_over(self, reason: str, timeout: float = 5.0) -> None:
        del timeout
        if self.hand_over_error:
            raise Refused(self.hand_over_error)
        self.handed_over.append(reason)
