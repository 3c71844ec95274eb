"""Promotion, redundancy and lost copies: each rule by itself, in words."""

from __future__ import annotations

import unittest

from drbd.rules import forsaken, given_up, promotion, redundancy, refused_for_good

from .world import device

BOTH = {"a": "one", "b": "two"}


class Promotion(unittest.TestCase):
    def decide(self, *devices: object, insync: object = BOTH, incarnation: str = "one") -> str:
        return promotion(devices, ["data"], "a", incarnation, insync).what  # type: ignore[arg-type]

    def test_a_whole_copy_that_is_listed(self) -> None:
        self.assertEqual(self.decide(device()), "go")
        self.assertEqual(self.decide(device(disk="Consistent", connection="WFConnection")), "go")

    def test_it_is_done_when_it_is_primary(self) -> None:
        self.assertEqual(self.decide(device(role="Primary")), "done")

    def test_it_waits_for_a_peer_that_has_not_let_go(self) -> None:
        self.assertEqual(self.decide(device(peer_role="Primary")), "wait")

    def test_it_waits_for_devices_and_for_the_list(self) -> None:
        self.assertEqual(self.decide(), "wait")
        self.assertEqual(self.decide(device(), insync=None), "wait")

    def test_copies_that_are_not_listed_are_refused(self) -> None:
        self.assertEqual(self.decide(device(), insync={"b": "two"}), "refuse")
        self.assertEqual(self.decide(device(), incarnation="another"), "refuse")
        self.assertEqual(self.decide(device(), incarnation=""), "refuse")

    def test_copies_that_are_old_or_gone_are_refused(self) -> None:
        for disk in ("Outdated", "Inconsistent", "Diskless", "Failed", "DUnknown"):
            self.assertEqual(self.decide(device(disk=disk)), "refuse", disk)

    def test_what_the_driver_says(self) -> None:
        self.assertTrue(refused_for_good("0: State change failed: (-2) Need access to UpToDate data"))
        self.assertFalse(refused_for_good("0: State change failed: (-1) Multiple primaries not allowed by config"))
        self.assertFalse(
            refused_for_good("0: State change failed: (-7) Refusing to be Primary while peer is not outdated")
        )
        self.assertFalse(refused_for_good("drbdadm primary: no answer within 130 s"))


class WhoIsInSync(unittest.TestCase):
    def order(self, *devices: object, insync: object = BOTH, offered: str = "two") -> object:
        return redundancy(devices, "b", insync, offered).order  # type: ignore[arg-type]

    def test_equal_copies_are_listed_once(self) -> None:
        self.assertIsNone(self.order(device(role="Primary")))
        self.assertEqual(self.order(device(role="Primary"), insync={"a": "one"}), "together")

    def test_new_copies_of_the_peer_are_listed_by_their_new_name(self) -> None:
        self.assertEqual(self.order(device(role="Primary"), offered="three"), "together")
        self.assertIsNone(self.order(device(role="Primary"), insync={"a": "one"}, offered=""))

    def test_a_peer_that_lost_its_disk_or_its_connection_is_taken_off(self) -> None:
        for changes in ({"peer_disk": "Diskless"}, {"peer_disk": "Inconsistent"}, {"connection": "WFConnection"}):
            self.assertEqual(self.order(device(role="Primary", **changes)), "alone", changes)

    def test_one_of_two_resources_is_enough(self) -> None:
        behind = device("files", role="Primary", connection="SyncSource", peer_disk="Inconsistent")
        self.assertEqual(self.order(device(role="Primary"), behind), "alone")
        self.assertIsNone(self.order(device(role="Primary"), behind, insync={"a": "one"}))

    def test_who_has_no_copy_of_its_own_keeps_its_peer_on_the_list(self) -> None:
        self.assertIsNone(self.order(device(role="Primary", disk="Diskless", connection="WFConnection")))

    def test_and_lists_it_when_it_holds_everything(self) -> None:
        gone = device(role="Primary", disk="Diskless")
        self.assertEqual(self.order(gone, insync={"a": "one"}), "together")
        self.assertIsNone(self.order(gone))

    def test_before_the_promotion_it_is_the_handlers_to_say(self) -> None:
        self.assertIsNone(self.order(device(connection="WFConnection", peer_disk="DUnknown")))

    def test_what_is_not_known_changes_nothing(self) -> None:
        self.assertIsNone(self.order(device(role="Primary", connection="WFConnection"), insync=None))
        self.assertIsNone(self.order())


class LostCopies(unittest.TestCase):
    def test_a_disk_that_failed_while_it_ran(self) -> None:
        self.assertEqual(given_up({"data": "UpToDate"}, [device(disk="Diskless")]), ("data",))
        self.assertEqual(given_up({"data": "Inconsistent"}, [device(disk="Failed")]), ("data",))

    def test_a_disk_that_was_never_seen_is_not_given_up(self) -> None:
        self.assertEqual(given_up({}, [device(disk="Diskless")]), ())
        self.assertEqual(given_up({"data": "Diskless"}, [device(disk="Diskless")]), ())
        self.assertEqual(given_up({"data": "Attaching"}, [device(disk="Diskless")]), ())

    def test_a_copy_that_is_only_old_is_not_given_up(self) -> None:
        self.assertEqual(given_up({"data": "UpToDate"}, [device(disk="Outdated")]), ())


class Forsaken(unittest.TestCase):
    def test_who_stands_alone_may_look_for_its_peer(self) -> None:
        alone = device(connection="StandAlone", peer_disk="DUnknown")
        self.assertEqual(forsaken([alone, device("files", connection="WFConnection")], {}, False), ("data",))
        self.assertEqual(forsaken([device(role="Primary", connection="StandAlone")], {}, True), ("data",))

    def test_what_was_written_apart_stays_apart(self) -> None:
        alone = device(connection="StandAlone", peer_disk="DUnknown")
        self.assertEqual(forsaken([alone], {"data": "2026-01-01T00:00:00Z"}, False), ())

    def test_a_primary_that_was_overtaken_is_left_alone(self) -> None:
        self.assertEqual(forsaken([device(role="Primary", connection="StandAlone")], {}, False), ())


if __name__ == "__main__":
    unittest.main()
