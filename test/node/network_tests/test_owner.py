"""What belongs to somebody else is found, and named; a server's owner reads all of it at once."""

import unittest

from network.owner import problems

from .server import FILES, HERE, OURS, SET_UP, SETTINGS, Server, link


class Owner(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server()
        for path in FILES:
            self.server.files[path] = "text"

    def found(self) -> str:
        return "\n".join(problems(self.server, SETTINGS))

    def test_cards_that_nobody_has_may_be_taken(self) -> None:
        self.assertEqual(self.found(), "")

    def test_a_card_that_is_not_there_is_named_with_those_that_are(self) -> None:
        del self.server.here["eth3"]
        self.assertIn("eth3: this server has no such network card (it has eth0, eth2)", self.found())

    def test_a_file_of_the_owner_refuses_until_he_has_removed_it(self) -> None:
        mine = "/etc/systemd/network/20-mine.network"
        self.server.files[mine] = "[Match]\nName=eth*\n"
        self.server.managed_by("eth2", mine)
        self.assertRegex(self.found(), f"^eth2: {mine} sets it up. Remove that file, and do not reload")
        # Which is what systemd-networkd goes on to say.
        del self.server.files[mine]
        self.assertEqual(self.found(), "")

    def test_ifupdown_is_found_in_both_of_its_places(self) -> None:
        self.server.files["/etc/network/interfaces"] = "auto lo eth3\niface lo inet loopback\n"
        self.server.files["/etc/network/interfaces.d/two"] = "  iface eth2 inet static\n    address 1.2.3.4/24\n"
        self.assertRegex(self.found(), r"eth2: /etc/network/interfaces\.d/two sets it up \(ifupdown\)")
        self.assertRegex(self.found(), r"eth3: /etc/network/interfaces sets it up \(ifupdown\)")

    def test_a_name_that_only_begins_like_a_card_is_another_one(self) -> None:
        self.server.files["/etc/network/interfaces"] = "auto eth20\niface eth20 inet dhcp\n# iface eth2 inet dhcp\n"
        self.assertEqual(self.found(), "")

    def test_network_manager_is_asked_where_it_is(self) -> None:
        self.server.codes["nmcli -g GENERAL.NM-MANAGED device show eth2"] = 0
        self.assertRegex(self.found(), "eth2: NetworkManager has it")

    def test_without_systemd_networkd_nothing_is_set_up(self) -> None:
        self.server.codes["systemctl is-active --quiet systemd-networkd.service"] = 3
        self.assertRegex(self.found(), "systemd-networkd.service does not run here")
        del self.server.codes["systemctl is-active --quiet systemd-networkd.service"]
        self.server.codes["systemctl is-enabled --quiet systemd-networkd.service"] = 1
        self.assertRegex(self.found(), "would not run after a reboot")

    def test_a_bond_of_somebody_else_is_not_taken_over(self) -> None:
        self.server.wire(link("bond0", 7, kind="bond"))
        self.assertRegex(self.found(), "bond0: exists, and was not made by systemd-networkd")
        self.server.wire(link("bond0", 7, kind="bridge"))
        self.assertRegex(self.found(), "bond0: an interface of this name exists already, and is no bond")

    def test_a_member_of_another_bond_stays_there(self) -> None:
        self.server.wire(link("eth2", 3, master="br0"))
        self.assertRegex(self.found(), "eth2: is a member of br0")

    def test_what_hotpair_set_up_itself_is_no_obstacle(self) -> None:
        self.server.wire(*SET_UP)
        for name in ("bond0", "bond0.10", "eth2", "eth3"):
            self.server.managed_by(name, f"{OURS}{name}.network")
        self.assertEqual(self.found(), "")

    def test_the_network_over_which_ssh_comes_is_not_changed(self) -> None:
        self.server.sessions = [(HERE, "198.18.2.1")]
        self.assertRegex(self.found(), "eth2: SSH comes to this server over it, now")

    def test_ssh_over_it_does_not_matter_when_nothing_changes(self) -> None:
        self.server.sessions = [(HERE, "198.18.2.1")]
        self.server.files["/var/lib/hotpair/manifest"] = "".join(
            f"file 0644 root root plain reload hotpair-network.service digest-of-text {path}\n" for path in FILES
        )
        self.assertEqual(self.found(), "")
        self.server.files[FILES[0]] = "another text"
        self.assertRegex(self.found(), "SSH comes to this server over it")

    def test_ssh_over_another_network_does_not_matter(self) -> None:
        self.server.sessions = [("192.0.2.11", "192.0.2.1")]
        self.assertEqual(self.found(), "")
