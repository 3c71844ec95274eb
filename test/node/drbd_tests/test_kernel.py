"""What both drivers say, read into the same shape; and which configuration a driver reads."""

from __future__ import annotations

import json
import tempfile
import unittest
from typing import Any

from drbd import kernel, verbs

from .world import settings

# As driver 8.4 writes it (drbd_proc.c); resyncs and verifications have lines of their own.
PROC = """version: 8.4.11 (api:1/proto:86-101)
srcversion: 0123456789ABCDEF0123456
 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r----s
    ns:104 nr:0 dw:104 dr:2273 al:1 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
 1: cs:SyncSource ro:Secondary/Primary ds:UpToDate/Inconsistent C r-----
    ns:524132 nr:0 dw:0 dr:524132 al:8 bm:0 lo:0 pe:2 ua:0 ap:0 ep:1 wo:f oos:131072
	[==================>.] sync'ed: 97.1% (15404/524236)K
	finish: 0:00:00 speed: 41,940 (41,940) K/sec
 2: cs:Unconfigured
 7: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s-----
    ns:0 nr:0 dw:8 dr:0 al:1 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:8
"""


def status(**changes: Any) -> str:
    """As `drbdsetup status --json` of driver 9."""
    peer = {
        "peer-node-id": 1,
        "name": "node-b",
        "connection-state": "Connected",
        "congested": False,
        "peer-role": "Secondary",
        "peer_devices": [
            {
                "volume": 0,
                "replication-state": "Established",
                "peer-disk-state": "UpToDate",
                "out-of-sync": 0,
                "percent-in-sync": 100.00,
            }
        ],
    }
    resource = {
        "name": "data",
        "node-id": 0,
        "role": "Primary",
        "suspended": False,
        "devices": [{"volume": 0, "minor": 0, "disk-state": "UpToDate", "client": False, "quorum": True}],
        "connections": [peer],
    }
    peer_device = changes.pop("peer_device", {})
    peer["peer_devices"][0].update(peer_device)  # type: ignore[index]
    for key, value in changes.items():
        (resource if key in resource else peer)[key.replace("_", "-") if key not in resource else key] = value
    return json.dumps([resource])


class Driver84(unittest.TestCase):
    def setUp(self) -> None:
        self.found = kernel.read_proc(PROC, {0: "data", 1: "files", 2: "third", 7: "alone"})

    def test_equal(self) -> None:
        data = self.found["data"]
        self.assertEqual((data.role, data.disk, data.peer_disk), ("Primary", "UpToDate", "UpToDate"))
        self.assertTrue(data.equal)
        self.assertFalse(data.suspended)
        self.assertIsNone(data.done)

    def test_a_resync_with_its_progress(self) -> None:
        files = self.found["files"]
        self.assertTrue(files.connected)
        self.assertFalse(files.equal)
        self.assertEqual((files.done, files.out_of_sync, files.peer_role), (97.1, 131072, "Primary"))

    def test_a_minor_that_is_not_in_use_is_no_device(self) -> None:
        self.assertNotIn("third", self.found)

    def test_writes_that_wait(self) -> None:
        alone = self.found["alone"]
        self.assertFalse(alone.connected)
        self.assertTrue(alone.suspended)
        self.assertEqual(alone.out_of_sync, 8)

    def test_others_are_left_out(self) -> None:
        self.assertEqual(list(kernel.read_proc(PROC, {0: "data"})), ["data"])


class Driver9(unittest.TestCase):
    def read(self, **changes: Any) -> Any:
        return kernel.read_status(status(**changes), ["data"])["data"]

    def test_equal(self) -> None:
        self.assertTrue(self.read().equal)

    def test_a_resync_with_its_progress(self) -> None:
        found = self.read(
            peer_device={
                "replication-state": "SyncSource",
                "peer-disk-state": "Inconsistent",
                "percent-in-sync": 41.5,
                "out-of-sync": 1024,
            }
        )
        self.assertEqual((found.connection, found.done, found.out_of_sync), ("SyncSource", 41.5, 1024))
        self.assertTrue(found.connected)
        self.assertFalse(found.equal)

    def test_apart(self) -> None:
        for state in ("Connecting", "StandAlone", "Unconnected", "NetworkFailure"):
            found = self.read(connection_state=state, peer_device={"replication-state": "Off"})
            self.assertFalse(found.connected, state)

    def test_writes_that_wait(self) -> None:
        self.assertTrue(self.read(suspended=True).suspended)

    def test_what_is_not_understood_is_said(self) -> None:
        for text in ("[{}]", '[{"name": "data"}]', "no json"):
            with self.assertRaises(kernel.KernelError):
                kernel.read_status(text, ["data"])


class Dialects(unittest.TestCase):
    def test_by_version(self) -> None:
        self.assertEqual(kernel.dialect_of("8.4.11"), "8.4")
        self.assertEqual(kernel.dialect_of("9.2.12"), "9")
        for unknown in ("", "8.3.16", "10.0"):
            with self.assertRaises(kernel.KernelError):
                kernel.dialect_of(unknown)

    def test_the_version_is_the_drivers_own(self) -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(PROC)
            file.flush()
            self.assertEqual(kernel.version(file.name), "8.4.11")
        self.assertEqual(kernel.version("/nowhere/drbd"), "")

    def test_the_link_changes_with_the_driver(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            import os

            here = settings(folder)
            for dialect in ("8.4", "9"):
                verbs.point(here, dialect)
                link = f"{folder}/run/drbd/drbd.conf"
                self.assertEqual(os.readlink(link), f"{folder}/dialects/{dialect}/drbd.conf")

    def test_what_drbdadm_repeats_is_left_out(self) -> None:
        said = (
            "0: State change failed: (-2) Need access to UpToDate data\n"
            "Command 'drbdsetup-84 primary 0' terminated with exit code 17"
        )
        self.assertEqual(kernel.short(said), "0: State change failed: (-2) Need access to UpToDate data")


if __name__ == "__main__":
    unittest.main()
