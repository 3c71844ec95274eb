"""A change notes what was, and its way back leads there: after a check that failed, after a reboot in its midst."""

import json
import unittest

from network import change

from .server import FILES, HERE, OURS, PEER, SET_UP, SETTINGS, Server, link

VIP = "198.18.2.100/24"


class Change(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server()
        for path in FILES:
            self.server.files[path] = "new"
        self.server.wire(link("eth2", 3, f"{HERE}/24", VIP))
        self.server.neighbours[PEER] = 1500

    def networkd_sets_up(self) -> None:
        self.server.wire(*SET_UP)
        for name in ("bond0", "bond0.10"):
            self.server.managed_by(name, f"{OURS}{name}.network")

    def networkd_takes_away(self) -> None:
        """What it does when no file says anything of the cards any more."""
        self.server.wire(link("eth2", 3, mtu=9000), link("eth3", 4, mtu=9000))

    def try_first(self) -> None:
        self.server.armed(*(f"new {path}" for path in FILES))
        self.server.after_reload = self.networkd_sets_up
        self.assertEqual(change.up(self.server, SETTINGS), [])

    def reloads(self) -> int:
        return self.server.ran.count("systemctl reload systemd-networkd.service")

    def test_outside_of_a_change_nothing_is_touched(self) -> None:
        self.networkd_sets_up()
        self.assertEqual(change.up(self.server, SETTINGS), [])
        self.assertEqual(change.back(self.server), [])
        self.assertEqual(self.reloads(), 0)

    def test_at_boot_it_waits_and_then_says_what_is_missing(self) -> None:
        self.assertIn("bond0 does not exist", change.up(self.server, SETTINGS))
        self.assertGreaterEqual(self.server.clock, change.PATIENCE)

    def test_a_change_notes_what_was_but_never_a_vip(self) -> None:
        self.try_first()
        noted = json.loads(self.server.files[change.RECORD])
        eth2 = next(one for one in noted["links"] if one["name"] == "eth2")
        self.assertEqual(eth2["addresses"], [f"{HERE}/24"])
        self.assertEqual((eth2["mtu"], eth2["master"]), (1500, None))
        self.assertEqual(noted["answered"], [[HERE, PEER]])
        self.assertEqual(noted["large"], [])
        self.assertEqual(self.reloads(), 1)

    def test_the_way_back_of_a_first_change(self) -> None:
        self.try_first()
        self.server.after_reload = self.networkd_takes_away
        self.server.ran.clear()
        change.back(self.server)
        self.assertEqual([path for path in FILES if path in self.server.files], [])
        deleted = [line for line in self.server.ran if line.startswith("ip link delete")]
        self.assertEqual(deleted, ["ip link delete bond0.10", "ip link delete bond0"])
        self.assertIn("ip link set eth2 mtu 1500", self.server.ran)
        self.assertIn(f"ip addr add {HERE}/24 brd + dev eth2", self.server.ran)
        self.assertNotIn(f"ip addr add {VIP} brd + dev eth2", self.server.ran)
        reloaded = self.server.ran.index("systemctl reload systemd-networkd.service")
        self.assertLess(reloaded, self.server.ran.index("ip link set eth2 mtu 1500"))

    def test_the_way_back_of_a_later_change(self) -> None:
        self.networkd_sets_up()
        path = f"{OURS}bond0.10.netdev"
        self.server.armed(f"change {path}")
        self.server.files["/etc/systemd/network/.05-hotpair-bond0.10.netdev.hotpair-old"] = "old"
        change.up(self.server, SETTINGS)
        self.assertEqual((self.server.files[path], self.reloads()), ("new", 1))
        # As systemd does it for a rollback: the same verb again.
        self.assertEqual(change.up(self.server, SETTINGS), [])
        self.assertEqual((self.server.files[path], self.reloads()), ("old", 2))
        self.assertEqual([line for line in self.server.ran if line.startswith("ip link delete")], [])

    def test_what_networkd_leaves_as_it_was_is_set_without_an_interruption(self) -> None:
        self.networkd_sets_up()
        self.server.wire(link("eth4", 5, master="bond0"))
        timers = "/sys/class/net/bond0/bonding/"
        self.server.files.update({timers + "miimon": "200\n", timers + "primary": "eth2\n"})
        change.up(self.server, SETTINGS)
        self.assertEqual(self.server.files[timers + "miimon"], "100\n")
        self.assertIn("ip link set eth4 nomaster", self.server.ran)
        self.assertNotIn("ip link set eth3 nomaster", self.server.ran)

    def test_a_file_that_did_not_change_stays(self) -> None:
        self.networkd_sets_up()
        self.server.armed(f"change {OURS}bond0.network")
        change.back(self.server)
        self.assertEqual(len([path for path in FILES if path in self.server.files]), len(FILES))

    def test_after_a_reboot_in_its_midst_a_change_is_taken_back(self) -> None:
        self.networkd_sets_up()
        self.server.armed(*(f"new {path}" for path in FILES))
        del self.server.files["/run/hotpair/work.abc/pid"]
        self.assertEqual(change.up(self.server, SETTINGS), [])
        self.assertEqual([path for path in FILES if path in self.server.files], [])
        self.assertIn("ip link delete bond0", self.server.ran)
        self.assertNotIn(change.RECORD, self.server.files)

    def test_a_note_of_an_earlier_change_counts_no_more(self) -> None:
        self.try_first()
        self.assertIsNotNone(change.before(self.server))
        self.server.stamps["/var/lib/hotpair/undo/list"] = "another"
        self.assertIsNone(change.before(self.server))

    def test_a_device_that_nobody_asks_for_any_more_goes(self) -> None:
        self.networkd_sets_up()
        self.server.wire(link("bond0.20", 9, kind="vlan"), link("bond9", 10, kind="bond"))
        self.server.managed_by("bond0.20", f"{OURS}bond0.20.network")
        self.server.managed_by("bond9", "/etc/systemd/network/20-mine.network")
        self.server.armed(f"gone {OURS}bond0.20.netdev")
        change.up(self.server, SETTINGS)
        deleted = [line for line in self.server.ran if line.startswith("ip link delete")]
        self.assertEqual(deleted, ["ip link delete bond0.20"])

    def test_what_is_wrong_is_said_in_full(self) -> None:
        self.server.wire(link("bond0", 7, mtu=1500, kind="bond"), link("eth3", 4, master="bond0"))
        self.assertEqual(
            change.missing(self.server, SETTINGS),
            [
                "bond0 has MTU 1500 instead of 9000",
                "eth2 is no member of bond0",
                "bond0.10 does not exist",
            ],
        )
