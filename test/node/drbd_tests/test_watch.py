"""The watcher: who is on the list while devices come and go, and a copy that was given up."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any, List
from unittest import mock

from drbd import record
from drbd.authority import Refused
from drbd.kernel import KernelError
from drbd.rules import Device
from drbd.watch import DETACHING, Watch

from .world import Etcd, FakeAuthority, device, settings


class Watching(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(f"{self.folder}/run")
        for patch in (
            mock.patch.dict(os.environ, {"HOTPAIR_AUDIT": f"{self.folder}/audit.log"}),
            mock.patch("sys.stderr"),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.here = settings(self.folder)
        self.etcd = Etcd(insync={"a": "one"}, holder="a")
        self.etcd.offers["b"] = "two"
        self.authority = FakeAuthority(self.etcd)
        self.devices: List[Device] = [device(role="Primary")]
        self.orders: List[str] = []
        self.order_error = ""
        self.watch = Watch(self.here, self.authority, lambda: self.devices, self.tell)
        self.now = 0.0

    def tell(self, *words: str, timeout: float) -> str:
        # The watcher has to be back before systemd misses it.
        self.assertLess(timeout, 30.0)
        self.orders.append(" ".join(words))
        if self.order_error:
            raise KernelError(self.order_error)
        return ""

    def step(self, *devices: Device) -> None:
        if devices:
            self.devices = list(devices)
        self.now += 0.5
        self.watch.step(self.now)

    def test_a_peer_that_has_caught_up_is_listed(self) -> None:
        self.step(device(role="Primary", connection="SyncSource", peer_disk="Inconsistent"))
        self.assertEqual(self.etcd.insync, {"a": "one"})
        self.step(device(role="Primary"))
        self.assertEqual(self.etcd.insync, {"a": "one", "b": "two"})
        self.step()
        self.assertEqual(self.etcd.orders, ["a together"])

    def test_a_peer_whose_disk_failed_is_taken_off(self) -> None:
        self.step()
        self.step(device(role="Primary", peer_disk="Diskless"))
        self.assertEqual(self.etcd.insync, {"a": "one"})

    def test_it_looks_again_before_it_says_so(self) -> None:
        looks: List[int] = []

        def look() -> List[Device]:
            looks.append(1)
            return [device(role="Primary")] if len(looks) == 1 else [device(role="Primary", connection="WFConnection")]

        self.watch.look = look
        self.step()
        self.assertEqual(len(looks), 2)
        self.assertEqual(self.etcd.orders, [])

    def test_who_does_not_hold_the_lease_orders_nothing(self) -> None:
        self.etcd.holder = "b"
        self.step()
        self.assertEqual(self.etcd.orders, [])
        self.assertEqual(self.etcd.offers["a"], "one")

    def test_a_copy_that_ended_gets_another_name_and_the_peer_takes_over(self) -> None:
        self.step()
        self.step(device(role="Primary", disk="Diskless"))
        self.assertNotEqual(self.authority.name, "one")
        self.assertEqual(self.etcd.offers["a"], self.authority.name)
        self.assertEqual(len(self.authority.handed_over), 1)
        # The peer's copy is the one that counts, and stays on the list.
        self.assertIn("b", self.etcd.insync or {})
        name = self.authority.name
        self.step()
        self.assertEqual(self.authority.name, name)

    def test_a_name_that_could_not_be_given_is_tried_again(self) -> None:
        self.step()
        with mock.patch.object(FakeAuthority, "call_copies", side_effect=Refused("disk full")):
            self.step(device(role="Primary", disk="Diskless"))
        self.assertEqual(self.authority.name, "one")
        self.step()
        self.assertNotEqual(self.authority.name, "one")

    def test_the_only_copy_keeps_its_name(self) -> None:
        self.step(device(role="Primary", connection="WFConnection", peer_disk="DUnknown"))
        self.step(device(role="Primary", connection="WFConnection", peer_disk="DUnknown", disk="Diskless"))
        self.assertEqual(self.authority.name, "one")
        self.assertEqual(self.authority.handed_over, [])

    def test_where_the_peer_has_caught_up_and_is_not_listed_yet_it_is_listed(self) -> None:
        self.step(device(role="Primary", connection="SyncSource", peer_disk="Inconsistent"))
        self.step(device(role="Primary", disk="Diskless"))
        self.assertNotEqual(self.authority.name, "one")
        # Now it is the one with all writes, and listed, so that it can take over.
        self.assertEqual((self.etcd.insync or {}).get("b"), "two")
        self.assertEqual(len(self.authority.handed_over), 1)

    def test_where_the_peer_cannot_take_over_it_is_said(self) -> None:
        self.authority.hand_over_error = "the peer is not fit"
        self.step()
        self.step(device(role="Primary", disk="Failed"))
        with open(f"{self.folder}/audit.log", encoding="utf-8") as file:
            self.assertIn("no hand-over: the peer is not fit", file.read())
        # And asked for again, not at every look.
        self.authority.hand_over_error = ""
        self.step()
        self.assertEqual(self.authority.handed_over, [])
        self.now += 10.0
        self.step()
        self.assertEqual(len(self.authority.handed_over), 1)

    def test_a_disk_that_is_taken_down_on_purpose_is_not_given_up(self) -> None:
        self.step()
        with open(f"{self.folder}/run/{DETACHING}", "w", encoding="ascii"):
            pass
        self.step(device(disk="Diskless"))
        self.assertEqual(self.authority.name, "one")

    def test_a_split_brain_is_over_when_both_copies_are_equal(self) -> None:
        record.write(self.here, record.SPLIT_BRAIN, {"data": "2026-01-01T00:00:00Z"})
        self.step(device(role="Primary", connection="StandAlone", peer_disk="DUnknown"))
        self.assertEqual(record.read(self.here, record.SPLIT_BRAIN), {"data": "2026-01-01T00:00:00Z"})
        self.step(device(role="Primary"))
        self.assertEqual(record.read(self.here, record.SPLIT_BRAIN), {})

    def test_copies_that_differed_are_equal_when_what_differed_was_copied(self) -> None:
        record.write(self.here, record.DIFFERENT, {"data": "2026-01-01T00:00:00Z"})
        self.step(device(out_of_sync=8))
        self.step(device(connection="SyncTarget", disk="Inconsistent", out_of_sync=4))
        self.assertEqual(record.read(self.here, record.DIFFERENT), {"data": "2026-01-01T00:00:00Z"})
        self.step(device())
        self.assertEqual(record.read(self.here, record.DIFFERENT), {})

    def stand_alone(self, seconds: int, **changes: Any) -> None:
        for _ in range(2 * seconds):
            self.step(device(connection="StandAlone", peer_disk="DUnknown", **changes))

    def audited(self) -> str:
        with open(f"{self.folder}/audit.log", encoding="utf-8") as file:
            return file.read()

    def test_who_stands_alone_looks_for_its_peer_again(self) -> None:
        self.stand_alone(9, role="Primary")
        self.assertEqual(self.orders, [])
        self.stand_alone(13, role="Primary")
        self.assertEqual(self.orders, ["connect data", "connect data"])
        # Refused for as long as the overtaken primary is there: said once.
        self.assertEqual(self.audited().count("standing alone"), 1)
        self.step(device(role="Primary"))
        self.stand_alone(11, role="Primary")
        self.assertEqual(len(self.orders), 3)
        self.assertEqual(self.audited().count("standing alone"), 2)

    def test_somebody_who_disconnects_and_connects_is_not_disturbed(self) -> None:
        self.stand_alone(9)
        self.step(device(connection="WFConnection", peer_disk="DUnknown"))
        self.stand_alone(9)
        self.assertEqual(self.orders, [])

    def test_a_split_brain_stays_apart(self) -> None:
        record.write(self.here, record.SPLIT_BRAIN, {"data": "2026-01-01T00:00:00Z"})
        self.stand_alone(30)
        self.assertEqual(self.orders, [])

    def test_devices_that_are_taken_down_are_not_connected(self) -> None:
        with open(f"{self.folder}/run/{DETACHING}", "w", encoding="ascii"):
            pass
        self.stand_alone(30)
        self.assertEqual(self.orders, [])

    def test_a_driver_that_does_not_connect_is_said(self) -> None:
        self.order_error = "drbdadm connect data: Failure"
        self.stand_alone(11)
        self.assertIn("NOT CONNECTED", self.audited())
        self.assertEqual(self.audited().count("NOT CONNECTED"), 1)


if __name__ == "__main__":
    unittest.main()
