"""The verbs that units, the driver and an operator call: what they ask, what they refuse, what they remember."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import time
import unittest
from typing import Any, Dict, List
from unittest import mock

from drbd import kernel, record, verbs, watch
from drbd.rules import Device
from drbd.settings import SettingsError, load

from .world import Etcd, FakeAuthority, device, settings


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(f"{self.folder}/run")
        self.here = settings(self.folder, {"data": f"{self.folder}/data", "files": f"{self.folder}/files"})
        self.devices: List[Device] = [device("data"), device("files")]
        self.told: List[str] = []
        self.answers: Dict[str, kernel.Said] = {}
        self.etcd = Etcd(insync={"a": "one", "b": "two"}, holder="a")
        for patch in (
            mock.patch.dict(os.environ, {"HOTPAIR_AUDIT": f"{self.folder}/audit.log", "DRBD_RESOURCE": "data"}),
            mock.patch("sys.stderr"),
            mock.patch.object(kernel, "order", self.tell),
            mock.patch.object(kernel, "run", self.run_program),
            mock.patch.object(kernel, "look", lambda _settings: self.devices),
            mock.patch.object(kernel, "load", lambda: "8.4.11"),
            mock.patch.object(kernel, "version", lambda: "8.4.11"),
            mock.patch("drbd.authority.Authority", lambda _settings: FakeAuthority(self.etcd)),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def tell(self, *words: str, **_: Any) -> str:
        self.told.append(" ".join(words))
        return ""

    def run_program(self, command: List[str], _timeout: float = 0.0) -> kernel.Said:
        self.told.append(" ".join(command))
        return self.answers.get(" ".join(command), kernel.Said(0, ""))

    def set_up(self, *names: str) -> None:
        for name in names:
            with open(f"{self.folder}/{name}", "w", encoding="ascii"):
                pass
        record.write(self.here, record.SET_UP, {name: {"disk": f"{self.folder}/{name}"} for name in names})


class Attaching(Case):
    def test_only_what_was_set_up_here_is_brought_up(self) -> None:
        self.set_up("data")
        said = verbs.attach(self.here)
        self.assertEqual(self.told, ["adjust data"])
        self.assertIn("never set up here: files (hotpair-drbd prepare)", said)
        self.assertEqual(os.readlink(f"{self.folder}/run/drbd/drbd.conf"), f"{self.folder}/dialects/8.4/drbd.conf")

    def test_a_disk_that_the_boot_has_not_found_yet_is_waited_for(self) -> None:
        self.set_up("data", "files")
        os.unlink(f"{self.folder}/files")

        def wait(_: float) -> None:
            self.assertEqual(self.told, [])
            self.set_up("files")

        with mock.patch.object(time, "sleep", wait):
            verbs.attach(self.here)
        self.assertEqual(self.told, ["adjust data", "adjust files"])

    def test_a_kernel_without_the_driver_is_said(self) -> None:
        with mock.patch.object(kernel, "load", side_effect=kernel.KernelError("the kernel has no DRBD")):
            self.assertRaises(kernel.KernelError, verbs.attach, self.here)

    def test_what_goes_down_on_purpose_is_marked_meanwhile(self) -> None:
        marker = f"{self.folder}/run/{watch.DETACHING}"
        seen: List[bool] = []

        def tell(*words: str, **_: Any) -> str:
            seen.append(os.path.exists(marker))
            return self.tell(*words)

        with mock.patch.object(kernel, "order", tell):
            verbs.detach(self.here)
        self.assertEqual((self.told, seen), (["down data", "down files"], [True, True]))
        self.assertFalse(os.path.exists(marker))


class Checking(Case):
    def refused(self, **changes: Any) -> str:
        here = settings(self.folder, name=os.uname().nodename, **changes)
        with self.assertRaises(SettingsError) as caught:
            verbs.check(here, f"{self.folder}/others/*.res")
        return str(caught.exception)

    def test_a_server_that_calls_itself_otherwise(self) -> None:
        with self.assertRaisesRegex(SettingsError, "hostnamectl set-hostname node-of-the-stack-file"):
            verbs.check(settings(self.folder, name="node-of-the-stack-file"), f"{self.folder}/others/*.res")

    def test_resources_that_would_no_longer_be_found(self) -> None:
        os.mkdir(f"{self.folder}/others")
        with open(f"{self.folder}/others/mine.res", "w", encoding="ascii"):
            pass
        self.assertIn(f"{self.folder}/others/mine.res", self.refused())

    def test_a_service_that_would_start_by_itself(self) -> None:
        self.answers["systemctl is-enabled app.service"] = kernel.Said(0, "enabled")
        volume = self.here.volumes[0].__class__("data", "ext4", "/srv/data", "srv-data.mount", ("app.service",))
        self.assertIn("systemctl disable app.service", self.refused(volumes=(volume,)))

    def test_and_otherwise_says_what_is_what(self) -> None:
        here = settings(self.folder, name=os.uname().nodename)
        self.assertIn("as /dev/drbd0", verbs.check(here, f"{self.folder}/others/*.res"))


class FileSystems(Case):
    CHECK = "fsck.ext4 -p /dev/drbd0"

    def test_what_was_corrected_is_mounted(self) -> None:
        for code in (0, 1):
            self.answers[self.CHECK] = kernel.Said(code, "recovering journal")
            self.assertEqual(verbs.fsck(self.here, "data"), "recovering journal")

    def test_what_needs_a_person_is_not(self) -> None:
        for code in (2, 4, 8):
            self.answers[self.CHECK] = kernel.Said(code, "UNEXPECTED INCONSISTENCY")
            with self.assertRaisesRegex(verbs.Refusal, "UNEXPECTED INCONSISTENCY"):
                verbs.fsck(self.here, "data")

    def test_xfs_is_left_to_its_mount(self) -> None:
        volume = self.here.volumes[0].__class__("data", "xfs", "/srv/data", "srv-data.mount", ())
        verbs.fsck(settings(self.folder, volumes=(volume,)), "data")
        self.assertEqual(self.told, [])

    def test_a_service_starts_with_the_lease_alone(self) -> None:
        self.assertEqual(verbs.may_start(self.here), "the lease is held")
        self.etcd.holder = "b"
        with self.assertRaises(verbs.Refusal):
            verbs.may_start(self.here)


class Switching(Case):
    def test_when_the_peer_holds_everything(self) -> None:
        self.assertEqual(verbs.switch_out(self.here), "node-b holds every write")
        # Also away from a node whose disk is gone.
        self.devices = [device("data", role="Primary", disk="Diskless"), device("files", role="Primary")]
        self.assertEqual(verbs.switch_out(self.here), "node-b holds every write")

    def test_and_not_otherwise(self) -> None:
        for changes in ({"connection": "WFConnection"}, {"peer_disk": "Inconsistent"}):
            self.devices = [device("data"), device("files", **changes)]
            with self.assertRaisesRegex(verbs.Refusal, "does not hold every write of files"):
                verbs.switch_out(self.here)


class Comparing(Case):
    def test_on_the_node_that_writes_one_after_the_other(self) -> None:
        with mock.patch.object(time, "sleep"):
            self.assertIn("both copies are equal: data, files", verbs.verify(self.here))
        self.assertEqual(self.told, ["verify data", "verify files"])

    def test_what_differs_is_remembered_and_an_error(self) -> None:
        def tell(*words: str, **_: Any) -> str:
            if words == ("verify", "data"):
                self.devices = [device("data", out_of_sync=16), device("files")]
            return ""

        with mock.patch.object(time, "sleep"), mock.patch.object(kernel, "order", tell):
            self.assertRaisesRegex(verbs.Refusal, "both copies differ: data", verbs.verify, self.here)
        self.assertIn("data", record.read(self.here, record.DIFFERENT))

    def test_not_on_the_other_node_and_not_while_they_are_apart(self) -> None:
        self.devices = [device("data", connection="WFConnection"), device("files")]
        self.assertRaisesRegex(verbs.Refusal, "not comparable now: data", verbs.verify, self.here)
        self.etcd.holder = "b"
        self.assertIn("the other one compares", verbs.verify(self.here))
        self.assertEqual(self.told, [])


class Telling(Case):
    def status(self) -> Dict[str, Any]:
        with open(f"{self.folder}/run/{watch.STATUS}", "w", encoding="utf-8") as file:
            json.dump({"at": time.clock_gettime(time.CLOCK_BOOTTIME), "trouble": "", "reason": ""}, file)
        return verbs.status(self.here)

    def test_a_whole_standby_has_nothing_to_say(self) -> None:
        self.set_up("data", "files")
        found = self.status()
        self.assertEqual((found["state"], found["problems"]), ("replica", []))
        self.assertIn("node-a: replica (driver 8.4.11)", verbs.describe(found))

    def test_since_when_a_split_brain_is_and_how_much_differs(self) -> None:
        self.set_up("data", "files")
        verbs.note(self.here, record.SPLIT_BRAIN, "split brain")
        since = record.read(self.here, record.SPLIT_BRAIN)["data"]
        # The driver says it again at every meeting: the first time counts.
        verbs.note(self.here, record.SPLIT_BRAIN, "split brain")
        self.assertEqual(record.read(self.here, record.SPLIT_BRAIN)["data"], since)
        self.devices = [device("data", connection="StandAlone", out_of_sync=128), device("files")]
        said = "\n".join(self.status()["problems"])
        self.assertIn(f"data: split brain since {since}; the copies differ in at least 128 KiB", said)

    def test_what_is_not_as_it_should_be(self) -> None:
        self.set_up("data")
        self.devices = [device("data", role="Primary", connection="SyncSource", peer_disk="Inconsistent", done=41.0)]
        found = self.status()
        said = "\n".join(found["problems"])
        self.assertEqual(found["state"], "new")
        self.assertIn("files was never set up here: hotpair-drbd prepare", said)
        self.assertIn("data: not redundant, node-b's copy is Inconsistent, 41 % copied", said)
        self.devices = [device("data", role="Primary", suspended=True, connection="WFConnection")]
        self.assertIn("data: writes wait", "\n".join(self.status()["problems"]))

    def test_a_watcher_that_does_not_look_is_missed(self) -> None:
        self.set_up("data", "files")
        self.assertIn("hotpair-drbd-watch does not run", "\n".join(verbs.status(self.here)["problems"]))

    def test_a_service_that_does_not_run_on_its_volume(self) -> None:
        self.set_up("data")
        volume = self.here.volumes[0].__class__(
            "data", "ext4", "/srv/data", "srv-data.mount", ("db.service", "a.service")
        )
        self.here = settings(self.folder, volumes=(volume,))
        self.answers["systemctl is-active db.service a.service"] = kernel.Said(3, "failed\nactive")
        self.assertEqual(self.status()["problems"], [])
        with mock.patch("os.path.ismount", lambda path: path == "/srv/data"):
            found = self.status()["problems"]
        self.assertEqual(found, ["db.service on /srv/data is failed: journalctl -u db.service -n 50"])

    def test_devices_that_are_down_are_not_healthy_and_ones_never_set_up_are(self) -> None:
        self.devices = []
        self.assertEqual(verbs.healthy(self.here), "new")
        self.set_up("data", "files")
        self.assertRaisesRegex(verbs.Refusal, "data is not attached", verbs.healthy, self.here)


class Commands(Case):
    def main(self, *words: str) -> int:
        path = f"{self.folder}/drbd.json"
        raw = {
            "version": 1,
            "pair": "disks",
            "node": {"id": "a", "name": "node-a"},
            "peer": {"id": "b", "name": "node-b"},
            "resources": [{"name": "data", "minor": 0, "disk": f"{self.folder}/data", "metadata": None}],
            "volumes": [],
            "paths": {"run": f"{self.folder}/run", "state": f"{self.folder}/state", "dialects": self.folder},
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(raw, file)
        with mock.patch.dict(os.environ, {"HOTPAIR_DRBD_SETTINGS": path}), contextlib.redirect_stdout(io.StringIO()):
            return verbs.main(words)

    def test_exit_codes(self) -> None:
        self.assertEqual(self.main("status", "--json"), 0)
        self.assertEqual(self.main("recover", "--discard", "node-a"), 1)
        with mock.patch.dict(os.environ, {"HOTPAIR_DRBD_SETTINGS": "/nowhere.json"}):
            self.assertEqual(verbs.main(["status"]), 2)
        with self.assertRaises(SystemExit) as caught:
            self.main("no-such-verb")
        self.assertEqual(caught.exception.code, 2)

    def test_the_settings_are_the_ones_that_hotpair_writes(self) -> None:
        golden = os.path.join(os.path.dirname(__file__), "../../services/golden/drbd/b/etc/hotpair/drbd.json")
        found = load(golden)
        self.assertEqual((found.node, found.peer_name), ("b", "node-a"))
        self.assertEqual([each.device for each in found.resources], ["/dev/drbd0", "/dev/drbd1"])
        self.assertEqual(found.resources[1].metadata, "/dev/vg/files-meta")
        self.assertEqual(found.volumes[0].units, ("shop-db.service", "shop.service"))


if __name__ == "__main__":
    unittest.main()
