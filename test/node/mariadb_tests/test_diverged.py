"""Where two histories part."""

import unittest

from mariadb.verbs import common_point


class CommonPoint(unittest.TestCase):
    def test_a_replica_shares_what_it_applied(self) -> None:
        self.assertEqual(common_point("0-12-53", "0-11-52", ["0-11-9"], "0-11-80"), "0-11-52")

    def test_an_old_primary_shares_what_the_new_one_was_promoted_at(self) -> None:
        self.assertEqual(common_point("0-11-107", "", ["0-11-50", "0-11-105"], "0-12-120"), "0-11-105")
        # it was not there any more when the peer was promoted the second time
        self.assertEqual(common_point("0-11-80", "", ["0-11-50", "0-11-105"], "0-12-120"), "0-11-50")

    def test_strangers_share_nothing_that_is_known(self) -> None:
        self.assertEqual(common_point("0-11-7", "", ["0-12-30"], "0-12-40"), "")
        self.assertEqual(common_point("0-11-7", "0-11-7", [], "0-12-3"), "")
