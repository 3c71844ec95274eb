"""Promotion and demotion against a driver that is made here: what is asked, what is final, what is freed."""

from __future__ import annotations

import os
import subprocess
import tempfile
import unittest
from typing import Any, List
from unittest import mock

from drbd import primary, verbs
from drbd.kernel import KernelError
from drbd.rules import Device

from .world import Etcd, FakeAuthority, device, settings


class Driver:
    """Devices by name, and what was said to them."""

    def __init__(self, *devices: Device) -> None:
        self.devices = {each.name: each for each in devices}
        self.told: List[str] = []
        self.refusals: List[str] = []

    def look(self) -> List[Device]:
        return list(self.devices.values())

    def tell(self, verb: str, name: str, **_: Any) -> str:
        self.told.append(f"{verb} {name}")
        if self.refusals:
            raise KernelError(self.refusals.pop(0))
        role = "Primary" if verb == "primary" else "Secondary"
        self.devices[name] = Device(**{**self.devices[name].__dict__, "role": role})
        return ""


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.here = settings(self.folder, {"data": "/x", "files": "/y"})
        self.etcd = Etcd(insync={"a": "one", "b": "two"}, holder="a")
        self.authority = FakeAuthority(self.etcd)
        self.driver = Driver(device("data"), device("files"))
        for patch in (
            mock.patch.dict(os.environ, {"HOTPAIR_AUDIT": f"{self.folder}/audit.log"}),
            mock.patch("sys.stderr"),
            mock.patch("sys.stdout"),
            mock.patch.object(primary, "AGAIN", 0.0),
        ):
            patch.start()
            self.addCleanup(patch.stop)


class Promote(Case):
    def promote(self, patience: float = 0.2) -> int:
        return primary.promote(self.here, self.authority, self.driver.look, self.driver.tell, patience)

    def test_all_devices_and_never_by_force(self) -> None:
        self.assertEqual(self.promote(), 0)
        self.assertEqual(self.driver.told, ["primary data", "primary files"])

    def test_not_without_the_lease(self) -> None:
        self.etcd.holder = "b"
        self.assertEqual(self.promote(), 1)
        self.assertEqual(self.driver.told, [])

    def test_what_the_driver_refuses_is_final_and_the_lease_goes_back(self) -> None:
        self.driver.refusals = ["0: State change failed: (-2) Need access to UpToDate data"]
        self.assertEqual(self.promote(), primary.REFUSED)
        self.assertEqual(self.driver.told, ["primary data"])
        self.assertEqual(self.etcd.orders, ["a release"])

    def test_copies_that_are_not_listed_are_not_even_tried(self) -> None:
        self.etcd.insync = {"b": "two"}
        self.assertEqual(self.promote(), primary.REFUSED)
        self.assertEqual(self.driver.told, [])

    def test_a_peer_that_lets_go_is_waited_for(self) -> None:
        busy = device("data", peer_role="Primary")
        self.driver.devices["data"] = busy
        looks: List[int] = []
        real = self.driver.look

        def look() -> List[Device]:
            looks.append(1)
            if len(looks) == 3:
                self.driver.devices["data"] = device("data")
            return real()

        self.assertEqual(primary.promote(self.here, self.authority, look, self.driver.tell, 5.0), 0)
        self.assertGreaterEqual(len(looks), 3)

    def test_a_refusal_that_passes_is_tried_again(self) -> None:
        self.driver.refusals = ["0: State change failed: (-1) Multiple primaries not allowed by config"]
        self.assertEqual(self.promote(5.0), 0)
        self.assertEqual(self.driver.told, ["primary data", "primary data", "primary files"])

    def test_one_that_does_not_pass_is_final_in_the_end(self) -> None:
        self.driver.refusals = [
            "0: State change failed: (-7) Refusing to be Primary while peer is not outdated"
        ] * 10_000
        self.assertEqual(self.promote(0.05), primary.REFUSED)
        self.assertEqual(self.etcd.orders, ["a release"])

    def test_a_word_that_was_not_kept_is_seen(self) -> None:
        def lying(verb: str, name: str, **_: Any) -> str:
            self.driver.told.append(f"{verb} {name}")
            self.authority.possession = len(self.driver.told) < 6
            return ""

        self.assertEqual(primary.promote(self.here, self.authority, self.driver.look, lying, 5.0), 1)


class Demote(Case):
    def demote(self, within: float = 0.2) -> int:
        return primary.demote(self.here, self.driver.look, self.driver.tell, within)

    def test_nothing_to_do(self) -> None:
        self.assertEqual(self.demote(), 0)
        self.assertEqual(self.driver.told, [])

    def test_all_devices(self) -> None:
        self.driver = Driver(device("data", role="Primary"), device("files", role="Primary"))
        self.assertEqual(self.demote(), 0)
        self.assertEqual(self.driver.told, ["secondary data", "secondary files"])

    def test_a_device_that_stays_primary_is_an_error_that_is_written_down(self) -> None:
        self.driver = Driver(device("data", role="Primary"))
        self.driver.refusals = ["0: State change failed: (-12) Device is held open by someone"] * 10_000
        self.assertEqual(self.demote(0.05), 1)
        with open(f"{self.folder}/audit.log", encoding="utf-8") as file:
            said = file.read()
        self.assertIn("STILL PRIMARY", said)
        self.assertIn("held open", said)

    def test_whoever_holds_the_file_system_is_ended(self) -> None:
        os.mkdir(f"{self.folder}/mnt")
        with subprocess.Popen(["sleep", "60"], cwd=f"{self.folder}/mnt") as holder:
            try:
                found = dict(primary.holders(f"{self.folder}/mnt"))
                self.assertEqual(found.get(holder.pid), "sleep")
                self.assertNotIn(os.getpid(), found)
                ended = primary.end_holders(f"{self.folder}/mnt")
                self.assertEqual(ended, [f"sleep ({holder.pid})"])
                self.assertEqual(holder.wait(5), -9)
            finally:
                holder.kill()

    def test_who_is_beside_it_is_left_alone(self) -> None:
        os.mkdir(f"{self.folder}/mnt")
        os.mkdir(f"{self.folder}/mnt-other")
        with subprocess.Popen(["sleep", "60"], cwd=f"{self.folder}/mnt-other") as other:
            try:
                self.assertEqual(list(primary.holders(f"{self.folder}/mnt")), [])
            finally:
                other.kill()


class Status(Case):
    def state(self, *devices: Device, done: Any = ("data", "files")) -> str:
        return verbs._state(self.here, devices, dict.fromkeys(done))

    def test_in_the_words_that_everybody_above_knows(self) -> None:
        both = (device("data"), device("files"))
        self.assertEqual(self.state(*both), "replica")
        self.assertEqual(self.state(*(device(each.name, role="Primary") for each in both)), "primary")
        self.assertEqual(self.state(both[0], device("files", role="Primary")), "letting go")
        self.assertEqual(self.state(both[0]), "down")
        self.assertEqual(self.state(*both, done=("data",)), "new")
        self.assertEqual(self.state(both[0], device("files", disk="Inconsistent", done=3.0)), "resyncing")
        self.assertEqual(self.state(both[0], device("files", disk="Outdated")), "not promotable")
        self.assertEqual(self.state(both[0], device("files", connection="StandAlone")), "not replicating")


if __name__ == "__main__":
    unittest.main()
