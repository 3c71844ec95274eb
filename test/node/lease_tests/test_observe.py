"""What the observer makes of the members' answers."""

import unittest

from lease.observe import View
from lease.record import Record


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


if __name__ == "__main__":
    unittest.main()
