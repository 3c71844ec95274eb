"""Giving a copy up: by the typed name of its node, where it does not count, and under a new name from then on."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any, Dict, List
from unittest import mock

from drbd import record, recover
from drbd.rules import Device

from .world import Etcd, FakeAuthority, device, settings

APART: Dict[str, Any] = {
    "connection": "StandAlone",
    "peer_role": "Unknown",
    "peer_disk": "DUnknown",
    "out_of_sync": 4096,
}


class Recover(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.here = settings(folder.name)
        self.etcd = Etcd(insync={"b": "two"}, holder="b")
        self.authority = FakeAuthority(self.etcd)
        self.devices: List[Device] = [device(**APART)]
        self.told: List[str] = []
        for patch in (
            mock.patch.dict(os.environ, {"HOTPAIR_AUDIT": f"{folder.name}/audit.log"}),
            mock.patch("sys.stderr"),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def tell(self, *words: str, **_: Any) -> str:
        self.told.append(" ".join(words))
        return "UpToDate:1234:5678"

    def discard(self, consent: str = "node-a") -> List[str]:
        return recover.discard(self.here, self.authority, lambda: self.devices, consent, self.tell)

    def refused(self, consent: str = "node-a") -> str:
        with self.assertRaises(recover.Refusal) as caught:
            self.discard(consent)
        self.assertEqual((self.told, self.authority.name), ([], "one"))
        return str(caught.exception)

    def test_what_this_node_holds(self) -> None:
        record.write(self.here, record.SPLIT_BRAIN, {"data": "2026-01-01T00:00:00Z"})
        said = "\n".join(recover.show(self.here, self.authority, self.devices, self.tell))
        self.assertIn("data: apart since 2026-01-01T00:00:00Z", said)
        self.assertIn("at least 4096 KiB here are not known to be on node-b", said)
        self.assertIn("UpToDate:1234:5678", said)
        self.assertIn("recover --discard node-a", said)
        self.assertEqual(self.told, ["show-gi data"])

    def test_where_nothing_is_apart(self) -> None:
        self.devices = [device()]
        self.assertEqual(recover.show(self.here, self.authority, self.devices, self.tell), ["nothing is apart here"])
        self.assertIn("nothing is apart", self.refused())

    def test_the_copy_gets_another_name_and_takes_the_peers_data(self) -> None:
        self.discard()
        self.assertNotEqual(self.authority.name, "one")
        self.assertEqual(self.etcd.offers["a"], self.authority.name)
        self.assertEqual(self.told, ["connect --discard-my-data data"])

    def test_one_that_still_looks_for_its_peer_is_disconnected_first(self) -> None:
        record.write(self.here, record.SPLIT_BRAIN, {"data": "2026-01-01T00:00:00Z"})
        self.devices = [device(connection="WFConnection")]
        self.discard()
        self.assertEqual(self.told, ["disconnect data", "connect --discard-my-data data"])

    def test_consent_is_this_nodes_name(self) -> None:
        for other in ("node-b", "yes", "NODE-A"):
            self.assertIn("recover --discard node-a", self.refused(other))

    def test_not_the_copy_of_the_leases_holder(self) -> None:
        self.etcd.holder = "a"
        self.assertIn("this node holds the lease", self.refused())

    def test_not_while_it_is_written(self) -> None:
        self.devices = [device(**{**APART, "role": "Primary"})]
        self.assertIn("is primary here", self.refused())

    def test_not_when_the_other_one_is_not_known_to_count(self) -> None:
        self.etcd.insync = {"a": "one"}
        self.assertIn("insync does not list node-b", self.refused())
        self.etcd.insync = None
        self.assertIn("not known whose copy counts", self.refused())


if __name__ == "__main__":
    unittest.main()
