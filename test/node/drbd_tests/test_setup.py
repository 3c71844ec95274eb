"""First set-up, on disks that are files: whatever is on one is refused until its owner names it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unittest
from typing import Any, List
from unittest import mock

from drbd import probe, record, setup
from drbd.kernel import KernelError
from drbd.rules import Device
from drbd.settings import Resource, Settings

from .world import Etcd, FakeAuthority, device, settings

MB = 1024 * 1024
SIZE = 64 * MB


def never(device: str, kind: str) -> None:
    raise AssertionError(f"{kind} on {device}")


def disk(path: str, size: int = SIZE) -> str:
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def ext4(path: str, blocks: str = "") -> str:
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-L", "shop", path, *([blocks] if blocks else [])], check=True, capture_output=True
    )
    return path


def write_metadata(path: str, magic: str = "8374026b") -> None:
    """The superblock that drbdmeta 9.22 wrote behind 64 MiB, for driver 8.4; with another magic number for 9."""
    block = bytes.fromhex("00" * 15 + "04" + "00" * 40 + "00000080" + magic + "00000050ffffffc000000101ffffffb8")
    with open(path, "r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(block)


@unittest.skipUnless(all(shutil.which(each) for each in ("blkid", "wipefs", "mkfs.ext4")), "util-linux and e2fsprogs")
class OnFiles(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = disk(f"{self.folder}/data")
        self.here: Settings = settings(self.folder)
        self.etcd = Etcd()
        self.authority = FakeAuthority(self.etcd, incarnation="")
        self.told: List[str] = []
        environment = mock.patch.dict(os.environ, {"HOTPAIR_AUDIT": f"{self.folder}/audit.log"})
        environment.start()
        self.addCleanup(environment.stop)
        silence = mock.patch("sys.stderr")
        silence.start()
        self.addCleanup(silence.stop)

    def tell(self, *words: str, **_: Any) -> str:
        self.told.append(" ".join(words))
        if words[0] == "create-md":
            resource = self.here.resource(words[-1])
            write_metadata(resource.metadata or resource.disk)
        return ""

    def prepare(self, **options: Any) -> List[str]:
        return setup.prepare(self.here, self.authority, tell=self.tell, **options)

    def refused(self, **options: Any) -> str:
        before = self.content()
        with self.assertRaises(setup.Refusal) as caught:
            self.prepare(**options)
        self.assertEqual(self.told, [])
        self.assertEqual(self.content(), before)
        self.assertEqual(self.authority.name, "")
        self.assertIn("nothing was changed", str(caught.exception))
        return str(caught.exception)

    def content(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read()


class Probe(OnFiles):
    def test_empty(self) -> None:
        self.assertEqual(probe.probe(self.path), probe.Found(self.path, "empty", "nothing", SIZE))

    def test_a_file_system_with_its_label(self) -> None:
        found = probe.probe(ext4(self.path))
        self.assertEqual((found.kind, found.what, found.file_system), ("file system", 'ext4 (label "shop")', "ext4"))

    def test_a_partition_table(self) -> None:
        # One Linux partition from sector 2048 on, and the signature of a master boot record.
        with open(self.path, "r+b") as file:
            file.seek(446)
            file.write(bytes([0, 0, 2, 0, 0x83, 0, 2, 0]) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little"))
            file.seek(510)
            file.write(b"\x55\xaa")
        found = probe.probe(self.path)
        self.assertEqual(found.kind, "other")
        self.assertIn("dos", found.what)

    def test_data_that_nobody_knows_at_either_end(self) -> None:
        for at in (4096, SIZE - 512):
            disk(self.path)
            with open(self.path, "r+b") as file:
                file.seek(at)
                file.write(b"mine")
            self.assertEqual(probe.probe(self.path).what, "data that neither blkid nor wipefs knows", at)

    def test_metadata_of_drbd(self) -> None:
        for magic in ("8374026b", "8374026d"):
            disk(self.path)
            write_metadata(self.path, magic)
            self.assertEqual(probe.probe(self.path).kind, "drbd", magic)
            said = self.refused()
            self.assertIn(f"{self.path} holds metadata of DRBD; to keep it: --adopt", said)

    def test_metadata_that_are_there_are_kept_if_their_owner_says_so(self) -> None:
        with mock.patch("drbd.probe.probe", return_value=probe.Found(self.path, "drbd", "metadata of DRBD", SIZE)):
            self.prepare(adopt=[self.path])
        self.assertEqual(self.told, ["up data"])

    def test_a_disk_that_is_not_there(self) -> None:
        self.assertEqual(probe.probe(f"{self.folder}/none").kind, "absent")

    def test_zeros_from_end_to_end(self) -> None:
        self.assertTrue(probe.all_zeros(self.path))
        with open(self.path, "r+b") as file:
            file.seek(SIZE // 2)
            file.write(b"x")
        self.assertFalse(probe.all_zeros(self.path))
        # The quick look does not see it, and does not claim to.
        self.assertEqual(probe.probe(self.path).kind, "empty")


class Prepare(OnFiles):
    def test_an_empty_disk_gets_metadata_and_a_name_of_its_own(self) -> None:
        said = self.prepare()
        self.assertEqual(self.told, ["create-md --force data", "up data"])
        self.assertNotEqual(self.authority.name, "")
        self.assertEqual(self.etcd.offers, {"a": self.authority.name})
        self.assertFalse(self.authority.name.endswith("+zeros"))
        self.assertIn("then: the same on the other node", said[-1])

    def test_once(self) -> None:
        self.prepare()
        name, self.told = self.authority.name, []
        self.assertEqual(self.prepare(), ["every resource is set up already; nothing was changed"])
        self.assertEqual((self.told, self.authority.name), ([], name))

    def test_another_disk_in_the_same_place_is_set_up_anew(self) -> None:
        self.prepare()
        name, self.told = self.authority.name, []
        disk(self.path)
        self.etcd.insync = {"b": "two"}
        said = self.prepare()
        self.assertEqual(self.told, ["create-md --force data", "up data"])
        self.assertNotEqual(self.authority.name, name)
        # The pair has begun long ago: nothing is to be begun again.
        self.assertIn("node-b's copy comes now", said[-1])

    def test_a_file_system_is_refused_with_what_it_is_and_both_ways_out(self) -> None:
        ext4(self.path)
        said = self.refused()
        self.assertIn(f'{self.path} holds ext4 (label "shop")', said)
        self.assertIn(f"to keep it: --adopt {self.path}", said)
        self.assertIn(f"to give it up: --wipe {self.path}", said)

    def test_a_file_system_without_room_for_metadata_is_not_adopted(self) -> None:
        ext4(self.path)
        self.assertRegex(
            self.refused(adopt=[self.path]), r"internal metadata needs \d+ at the end; shrink it to \d+ KiB"
        )

    def test_one_that_was_shrunk_is_adopted_and_unchanged(self) -> None:
        room = probe.metadata_bytes(SIZE)
        ext4(self.path, f"{(SIZE - room) // 1024}K")
        before = self.content()
        self.prepare(adopt=[self.path])
        self.assertEqual(self.told, ["create-md --force data", "up data"])
        self.assertEqual(self.content()[: SIZE - room], before[: SIZE - room])

    def test_one_with_metadata_elsewhere_is_adopted_whole(self) -> None:
        ext4(self.path)
        meta = disk(f"{self.folder}/meta", MB)
        self.here = settings(self.folder, resources=(Resource("data", 0, self.path, meta),))
        self.prepare(adopt=[self.path])
        self.assertEqual(self.told, ["create-md --force data", "up data"])

    def test_the_metadata_device_is_looked_at_too(self) -> None:
        meta = ext4(disk(f"{self.folder}/meta", 8 * MB))
        self.here = settings(self.folder, resources=(Resource("data", 0, self.path, meta),))
        said = self.refused()
        self.assertIn(f"{meta} holds ext4", said)
        self.assertNotIn(f"--adopt {meta}", said)

    def test_another_file_system_than_the_stack_file_says_is_not_adopted(self) -> None:
        ext4(self.path)
        volume = self.here.volumes[0].__class__("data", "xfs", "/mnt", "mnt.mount", ())
        self.here = settings(self.folder, volumes=(volume,))
        self.assertIn("holds ext4, and the stack file says xfs", self.refused(adopt=[self.path]))

    def test_consent_to_lose_it_is_for_one_disk(self) -> None:
        ext4(self.path)
        other = ext4(disk(f"{self.folder}/files"))
        self.here = settings(self.folder, {"data": self.path, "files": other})
        said = self.refused(wipe=[self.path])
        self.assertIn(f"{other} holds ext4", said)
        self.assertNotIn(f"{self.path} holds", said)

    def test_what_is_named_is_wiped_and_noted(self) -> None:
        ext4(self.path)
        self.prepare(wipe=[self.path])
        self.assertEqual(probe.probe(self.path).file_system, "")
        self.assertEqual(self.told, ["create-md --force data", "up data"])
        with open(f"{self.folder}/audit.log", encoding="utf-8") as file:
            self.assertIn('"to":"wiped"', file.read())

    def test_a_disk_that_is_named_and_is_not_the_pairs(self) -> None:
        self.assertIn("/dev/sdz is no disk of this pair", self.refused(wipe=["/dev/sdz"]))

    def test_everything_against_it_at_once(self) -> None:
        ext4(self.path)
        self.here = settings(self.folder, {"data": self.path, "files": f"{self.folder}/none"})
        said = self.refused()
        self.assertIn("data:", said)
        self.assertIn("files:", said)

    def test_zeros_are_only_claimed_when_all_was_read(self) -> None:
        self.prepare(read_all=True)
        self.assertTrue(self.authority.name.endswith("+zeros"))

    def test_a_byte_in_the_middle_is_found_by_reading_all(self) -> None:
        with open(self.path, "r+b") as file:
            file.seek(SIZE // 2)
            file.write(b"x")
        self.prepare(read_all=True)
        self.assertFalse(self.authority.name.endswith("+zeros"))

    def test_a_failure_in_the_middle_is_not_taken_for_done(self) -> None:
        def failing(*_words: str, **_: Any) -> str:
            raise OSError("no space")

        with self.assertRaises(OSError):
            setup.prepare(self.here, self.authority, tell=failing)
        self.assertEqual(record.read(self.here, record.SET_UP), {})
        self.assertEqual(self.authority.name, "")


class Begin(OnFiles):
    def setUp(self) -> None:
        super().setUp()
        record.write(self.here, record.SET_UP, {"data": {"disk": self.path}})
        self.authority.name = "mine"
        self.etcd.offers["b"] = "theirs"
        self.devices: List[Device] = [device(disk="Inconsistent", peer_disk="Inconsistent")]
        self.made: List[str] = []

    def begin(self) -> List[str]:
        def make(path: str, kind: str) -> None:
            self.made.append(f"{kind} {path}")

        with mock.patch("drbd.probe.probe", return_value=probe.Found("/dev/drbd0", "empty", "nothing", SIZE)):
            return setup.begin(self.here, self.authority, lambda: self.devices, self.tell, make)

    def refused(self, **_: Any) -> str:
        with self.assertRaises(setup.Refusal) as caught:
            self.begin()
        self.assertEqual(self.told, [])
        self.assertIsNone(self.etcd.insync if self.etcd.insync != {"b": "theirs"} else None)
        return str(caught.exception)

    def test_the_peer_gets_a_copy_and_the_list_begins_here(self) -> None:
        self.begin()
        self.assertEqual(self.told[:2], ["primary --force data", "secondary data"])
        self.assertEqual(self.told[-1], "secondary data")
        self.assertEqual(self.made, ["ext4 /dev/drbd0"])
        self.assertEqual(self.etcd.insync, {"a": "mine"})

    def test_a_device_that_udev_looks_at_is_let_go_of_a_moment_later(self) -> None:
        held = ["a look after the promotion", "a look at the new file system"]

        def tell(*words: str, **_: Any) -> str:
            if words[0] == "secondary" and held:
                raise KernelError(f"drbdadm secondary data: Device is held open by someone: {held.pop()}")
            return self.tell(*words)

        with mock.patch("drbd.probe.probe", return_value=probe.Found("/dev/drbd0", "empty", "nothing", SIZE)):
            setup.begin(self.here, self.authority, lambda: self.devices, tell, lambda *_: None)
        self.assertEqual((held, self.told[-1], self.etcd.insync), ([], "secondary data", {"a": "mine"}))

    def test_two_disks_of_zeros_need_no_copy(self) -> None:
        self.authority.name, self.etcd.offers["b"] = "mine+zeros", "theirs+zeros"
        self.begin()
        self.assertEqual(self.told[0], "new-current-uuid --clear-bitmap data/0")
        self.assertNotIn("primary --force data", self.told)

    def test_one_disk_of_zeros_does(self) -> None:
        self.authority.name = "mine+zeros"
        self.begin()
        self.assertEqual(self.told[0], "primary --force data")

    def test_a_pair_that_has_begun_does_not_begin_again(self) -> None:
        self.etcd.insync = {"b": "theirs"}
        self.assertIn("has begun already, in sync: b", self.refused())

    def test_where_the_peer_has_the_data_it_begins_there(self) -> None:
        self.devices = [device(disk="Inconsistent", peer_disk="UpToDate")]
        self.assertIn("begin there", self.refused())

    def test_nothing_is_begun_without_a_quorum(self) -> None:
        self.etcd.quorum = False
        self.assertIn("no quorum", self.refused())

    def test_nor_while_a_device_is_in_use(self) -> None:
        self.devices = [device(peer_role="Primary")]
        self.assertIn("is in use already", self.refused())

    def test_nor_before_this_node_is_prepared(self) -> None:
        record.write(self.here, record.SET_UP, None)
        self.assertIn("not prepared on this node: data", self.refused())

    def test_nor_apart(self) -> None:
        self.devices = [device(connection="WFConnection", peer_disk="DUnknown")]
        with mock.patch.object(setup, "CONNECTED_WITHIN", 0.0):
            self.assertIn("not connected to node-b: data", self.refused())

    def test_data_that_is_there_is_kept(self) -> None:
        found = probe.Found("/dev/drbd0", "file system", "ext4", SIZE, "ext4")
        with mock.patch("drbd.probe.probe", return_value=found):
            setup.begin(self.here, self.authority, lambda: self.devices, self.tell, never)
        self.assertEqual(self.made, [])

    def test_and_nothing_is_made_over_what_is_not_known(self) -> None:
        found = probe.Found("/dev/drbd0", "other", "LVM2_member", SIZE)
        with mock.patch("drbd.probe.probe", return_value=found), self.assertRaises(setup.Refusal):
            setup.begin(self.here, self.authority, lambda: self.devices, self.tell, never)
        self.assertIsNone(self.etcd.insync)
        self.assertEqual(self.told[-1], "secondary data")


if __name__ == "__main__":
    unittest.main()
