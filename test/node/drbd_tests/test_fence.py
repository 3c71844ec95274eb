"""The fence-peer handler: every answer, and what it never answers."""

from __future__ import annotations

import itertools
import os
import tempfile
import unittest
from typing import Dict, List, Optional, Tuple
from unittest import mock

from drbd import fence
from drbd.rules import PEER_FENCED, PEER_IS_PRIMARY, PEER_OUTDATED, UNDECIDED, Device, LeaseSeen, fence_answer

from .world import Etcd, FakeAuthority, device, settings

BOTH = {"a": "one", "b": "two"}
APART = {"connection": "WFConnection", "peer_role": "Unknown", "peer_disk": "DUnknown"}


class Handler(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        patch = mock.patch.dict(os.environ, {"HOTPAIR_AUDIT": f"{self.folder.name}/audit.log"})
        patch.start()
        self.addCleanup(patch.stop)
        silence = mock.patch("sys.stderr")
        silence.start()
        self.addCleanup(silence.stop)
        self.etcd = Etcd(insync=dict(BOTH), holder="a")
        self.authority = FakeAuthority(self.etcd)
        self.devices = [device(role="Primary", **APART)]

    def answer(self, patience: float = 0.0) -> int:
        return fence.answer(settings(self.folder.name), self.authority, lambda: self.devices, "data", patience)

    def test_the_holder_takes_its_peer_off_the_list_and_then_goes_on(self) -> None:
        self.assertEqual(self.answer(), PEER_OUTDATED)
        self.assertEqual(self.etcd.insync, {"a": "one"})
        self.assertEqual(self.etcd.orders, ["a alone"])

    def test_with_the_peer_confirmed_off_too(self) -> None:
        self.authority.confirmed_off = True
        self.assertEqual(self.answer(), PEER_FENCED)
        self.assertEqual(self.etcd.insync, {"a": "one"})

    def test_confirmed_off_is_no_substitute_for_the_list(self) -> None:
        self.authority.confirmed_off = True
        self.etcd.quorum = False
        self.assertEqual(self.answer(), UNDECIDED)
        self.assertEqual(self.etcd.insync, BOTH)

    def test_who_was_alone_already_goes_on_without_a_quorum(self) -> None:
        self.etcd.insync, self.etcd.quorum = {"a": "one"}, False
        self.assertEqual(self.answer(), PEER_OUTDATED)

    def test_a_paused_primary_whose_peer_took_over_is_told_so(self) -> None:
        self.etcd.holder = "b"
        self.assertEqual(self.answer(), PEER_IS_PRIMARY)
        self.assertEqual(self.etcd.insync, BOTH)

    def test_also_when_the_peer_went_on_and_is_silent_now(self) -> None:
        self.etcd.holder, self.etcd.insync, self.authority.renewing = "b", {"b": "two"}, False
        self.assertEqual(self.answer(), PEER_IS_PRIMARY)

    def test_a_name_that_is_left_of_a_dead_holder_says_nothing(self) -> None:
        self.etcd.holder, self.authority.renewing = "b", False
        self.assertEqual(self.answer(), UNDECIDED)

    def test_nobody_holds_it_or_nobody_answers(self) -> None:
        for holder, quorum in itertools.product((None, "a", "b"), (True, False)):
            self.etcd.holder, self.etcd.quorum = holder, quorum
            self.authority.possession = self.authority.renewing = False
            self.assertEqual(self.answer(), UNDECIDED, (holder, quorum))

    def test_a_copy_that_is_gone_or_old_never_goes_on_alone(self) -> None:
        for disk in ("Diskless", "Failed", "Inconsistent", "Outdated", "DUnknown", "Attaching"):
            self.devices = [device(role="Primary", disk=disk, **APART)]
            self.assertEqual(self.answer(), UNDECIDED, disk)
        self.assertEqual(self.etcd.insync, BOTH)

    def test_one_bad_copy_speaks_for_all_resources(self) -> None:
        self.devices = [device(role="Primary", **APART), device("files", role="Primary", disk="Diskless")]
        self.assertEqual(self.answer(), UNDECIDED)
        self.assertEqual(self.etcd.insync, BOTH)

    def test_it_waits_for_an_election(self) -> None:
        self.etcd.quorum = False
        asked = []

        def look() -> List[Device]:
            asked.append(1)
            self.etcd.quorum = len(asked) > 2
            return self.devices

        self.assertEqual(fence.answer(settings(self.folder.name), self.authority, look, "data", 5.0), PEER_OUTDATED)

    def test_every_answer_is_written_down(self) -> None:
        self.answer()
        with open(f"{self.folder.name}/audit.log", encoding="utf-8") as file:
            self.assertIn('"to":"fence-peer 4"', file.read())

    def test_a_defect_is_no_answer(self) -> None:
        from drbd import verbs

        with mock.patch("drbd.authority.Authority", side_effect=RuntimeError("no settings")):
            self.assertEqual(verbs.fence_peer(settings(self.folder.name)), UNDECIDED)


class Everything(unittest.TestCase):
    """The whole table: what is known, in every combination."""

    def test_going_on_needs_the_lease_the_commit_and_whole_copies_and_5_is_never_said(self) -> None:
        disks = ("UpToDate", "Consistent", "Outdated", "Inconsistent", "Diskless")
        other = {"a": "other", "b": "two"}
        lists: Tuple[Optional[Dict[str, str]], ...] = (None, {}, {"a": "one"}, {"b": "two"}, BOTH, other)
        seen = 0
        for mine, holder, renewed, insync, quorum, disk, committed, fenced in itertools.product(
            (True, False), (None, "a", "b"), (True, False), lists, (True, False), disks, (True, False), (True, False)
        ):
            lease = LeaseSeen(mine=mine, holder=holder, renewed=renewed, insync=insync, quorum=quorum)
            found = fence_answer("a", "one", [device(disk=disk)], lease, committed, fenced)
            seen += 1
            self.assertIn(found.code, (None, PEER_OUTDATED, PEER_IS_PRIMARY, PEER_FENCED, UNDECIDED))
            self.assertNotEqual(found.code, 5)
            if found.code in (PEER_OUTDATED, PEER_FENCED):
                self.assertTrue(mine and committed and disk in ("UpToDate", "Consistent"))
            if found.code == PEER_IS_PRIMARY:
                self.assertTrue(not mine and quorum and holder == "b")
        self.assertEqual(seen, 2 * 3 * 2 * 6 * 2 * 5 * 2 * 2)


if __name__ == "__main__":
    unittest.main()
