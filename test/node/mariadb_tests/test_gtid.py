"""Positions: what is part of what."""

import unittest

from mariadb import gtid


class Positions(unittest.TestCase):
    def test_text_and_back(self) -> None:
        self.assertEqual(gtid.show(gtid.parse("1-12-7,0-11-105")), "0-11-105,1-12-7")
        self.assertEqual(gtid.parse(""), {})
        self.assertEqual(gtid.show({}), "")

    def test_nonsense_is_refused(self) -> None:
        for text in ("0-11", "a-b-c", "0-11-5 0-11-6", "'; DROP"):
            with self.assertRaises(ValueError, msg=text):
                gtid.parse(text)

    def test_a_position_reaches_what_is_before_it(self) -> None:
        here = gtid.parse("0-11-105,1-12-7")
        self.assertTrue(gtid.reaches(here, gtid.parse("0-12-100")))
        self.assertTrue(gtid.reaches(here, gtid.parse("")))
        self.assertFalse(gtid.reaches(here, gtid.parse("0-11-106")))
        self.assertFalse(gtid.reaches(here, gtid.parse("2-11-1")))

    def test_beyond_names_what_the_other_lacks(self) -> None:
        limit = gtid.parse("0-11-105")
        self.assertEqual(gtid.beyond(gtid.parse("0-11-105"), limit), ())
        self.assertEqual(gtid.beyond(gtid.parse("0-11-99"), limit), ())
        self.assertEqual([str(each) for each in gtid.beyond(gtid.parse("0-11-107"), limit)], ["0-11-107"])
        # same number, other author: another transaction
        self.assertEqual([str(each) for each in gtid.beyond(gtid.parse("0-12-105"), limit)], ["0-12-105"])
        self.assertEqual([str(each) for each in gtid.beyond(gtid.parse("5-11-1"), limit)], ["5-11-1"])

    def test_behind_counts_transactions(self) -> None:
        self.assertEqual(gtid.behind(gtid.parse("0-11-100"), gtid.parse("0-11-105,1-11-2")), 7)
        self.assertEqual(gtid.behind(gtid.parse("0-11-110"), gtid.parse("0-11-105")), 0)
