"""What the observer makes of the members' answers."""

import unittest
from typing import Dict, List, Optional

from lease.observe import View
from lease.record import NO_DATA, Record


class OwnMember(unittest.TestCase):
    def test_counts_only_by_its_own_answers_with_a_quorum(self) -> None:
        view = View(1)
        view.report("witness", True, 1.0, Record())
        self.assertEqual((view.quorum_at, view.own_at), (1.0, None))
        # down, hung, or learning: no answer
        view.report("local", True, 2.0, None)
        self.assertIsNone(view.own_at)
        view.report("local", True, 3.0, Record())
        view.report("local", False, 4.0, Record())
        self.assertEqual(view.datagram("a", "x")["own_at"], 3.0)

    def test_is_none_while_it_is_of_an_epoch_that_is_over(self) -> None:
        view = View(2)
        view.report("local", True, 1.0, Record(epoch=1))
        self.assertIsNone(view.own_at)


class InSync(unittest.TestCase):
    def seen(self, insync: Optional[Dict[str, str]], incarnation: str) -> List[str]:
        view = View(1)
        view.report("local", True, 1.0, Record(insync=insync))
        listed: List[str] = view.datagram("a", incarnation)["insync"]
        return listed

    def test_is_whoever_is_listed_and_this_node_with_the_data_that_it_has_now(self) -> None:
        self.assertEqual(self.seen({"a": "one", "b": "two"}, "one"), ["a", "b"])
        self.assertEqual(self.seen({"a": "one", "b": "two"}, "another"), ["b"])
        self.assertEqual(self.seen(None, "one"), [])

    def test_without_data_is_whoever_is_listed(self) -> None:
        self.assertEqual(self.seen({"a": NO_DATA, "b": NO_DATA}, NO_DATA), ["a", "b"])
        self.assertEqual(self.seen({"a": "one", "b": "two"}, NO_DATA), ["a", "b"])

    def test_is_nobody_where_the_list_is_from_before_there_was_data(self) -> None:
        self.assertEqual(self.seen({"a": NO_DATA, "b": NO_DATA}, ""), [])


if __name__ == "__main__":
    unittest.main()
