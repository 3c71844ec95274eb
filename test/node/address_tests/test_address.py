"""Moving the address: each way of it, what AWS may answer, two nodes at once: fault, expectation, deadline."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Callable, Dict, List, Optional, Sequence

from address.keep import Keeper
from address.move import Address
from address.settings import Settings, SettingsError, load, parse
from aws import sign
from aws.calls import CallError
from aws.metadata import Credentials, Metadata, MetadataError
from aws.request import Unreachable

from .cloud import NODES, OWN, PUBLIC, Cloud

VIPS = ("198.18.0.100",)
DIRECTORY = os.path.dirname(os.path.abspath(__file__))
# The keeper's own clock and sleep run this much faster than those of AWS's stand-in.
FASTER = 5.0
PROGRAM = os.path.join(DIRECTORY, "..", "..", "..", "infra", "node", "hotpair-address")


def written(cloud: Cloud, method: str, node: str = "a") -> Dict[str, object]:
    return {
        "version": 1,
        "pair": "cloud",
        "node": f"cloud-{node}",
        "method": method,
        "region": "eu-central-1",
        "interface": "lo",
        "vips": ["10.20.0.100" if method == "secondary-ip" else "198.18.0.100"],
        "own": {"elastic-ip": OWN[node], "dns": "203.0.113.11"}.get(method, ""),
        "hostedZone": "Z1",
        "record": "shop.example.net",
        "ttl": 5,
        "within": 10,
        "timeout": 0.5,
        "endpoints": {"metadata": cloud.url, "ec2": cloud.url, "route53": cloud.url},
        # A file of its own, in a directory that ends with the cloud: it is replaced as a whole.
        "state": os.path.join(cloud.directory, f"state-{node}"),
    }


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.cloud = Cloud()
        self.addCleanup(self.cloud.close)
        self.lines: List[str] = []

    def settings(self, method: str, node: str = "a") -> Settings:
        return parse(written(self.cloud, method, node))

    def address(self, method: str, node: str = "a") -> Address:
        settings = self.settings(method, node)
        return Address(settings, Metadata(settings.access), NODES[node])

    def keep(
        self, settings: Settings, metadata: Metadata, node: str, entitled: Callable[[], bool]
    ) -> Callable[[], None]:
        """Keeps the address until what it returns is called."""
        address = Address(settings, metadata, NODES[node])
        ended = threading.Event()

        def sleep(seconds: float) -> None:
            if ended.wait(seconds / FASTER):
                raise SystemExit

        keeper = Keeper(
            settings,
            metadata,
            address,
            lambda: settings.vips if entitled() else (),
            self.lines.append,
            clock=lambda: time.monotonic() * FASTER,
            sleep=sleep,
        )
        thread = threading.Thread(target=keeper.run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)
        self.addCleanup(ended.set)
        return ended.set

    def keeper(self, method: str, node: str, entitled: Callable[[], bool]) -> Callable[[], None]:
        settings = self.settings(method, node)
        return self.keep(settings, Metadata(settings.access), node, entitled)

    def until(self, holds: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                self.fail(f"not within {seconds} s; calls {self.cloud.calls}; said {self.lines}")
            time.sleep(0.01)


class Signature(unittest.TestCase):
    def test_is_the_one_of_awss_own_test_suite(self) -> None:
        """post-x-www-form-urlencoded of the Signature Version 4 test suite."""
        headers = sign.signed(
            "POST",
            "https://example.amazonaws.com/",
            b"Param1=value1",
            "application/x-www-form-urlencoded",
            "service",
            "us-east-1",
            Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "", 0),
            1440938160,
        )
        self.assertEqual(headers["x-amz-date"], "20150830T123600Z")
        self.assertIn(
            "SignedHeaders=content-type;host;x-amz-date, "
            "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            headers["authorization"],
        )


class Move(Case):
    def test_each_way_brings_the_address_here_and_is_idempotent(self) -> None:
        for method in ("elastic-ip", "secondary-ip", "route"):
            with self.subTest(method):
                self.cloud.owner = "b"
                address, vips = self.address(method), self.settings(method).vips
                self.assertEqual(address.is_here(vips), None if method == "route" else False)
                address.bring(vips)
                address.bring(vips)
                self.assertEqual(self.cloud.owner, "a")
                self.assertEqual(address.is_here(vips), None if method == "route" else True)

    def test_an_elastic_ip_goes_to_the_private_address_that_is_its_own(self) -> None:
        self.address("elastic-ip").bring(VIPS)
        call = self.cloud.calls[-1]
        expected = {
            "Action": "AssociateAddress",
            "AllocationId": "eipalloc-1",
            "NetworkInterfaceId": "eni-a",
            "PrivateIpAddress": "10.20.0.12",
            "AllowReassociation": "true",
        }
        self.assertEqual({name: call[name] for name in expected}, expected)

    def test_a_record_says_this_nodes_address_with_its_ttl(self) -> None:
        self.address("dns").bring(VIPS)
        for part in ("<Action>UPSERT</Action>", "<Name>shop.example.net</Name>", "<TTL>5</TTL>", "203.0.113.11"):
            self.assertIn(part, self.cloud.record)

    def test_a_dry_run_moves_nothing_and_says_that_it_may(self) -> None:
        self.cloud.owner = "b"
        for method in ("elastic-ip", "route"):
            with self.assertRaises(CallError) as raised:
                self.address(method).bring(VIPS, dry=True)
            self.assertEqual(raised.exception.kind, "dry")
        self.assertEqual(self.cloud.owner, "b")

    def test_what_aws_may_answer_is_told_apart(self) -> None:
        for fault, kind in (
            ((503, "RequestLimitExceeded"), "throttled"),
            ((503, "Unavailable"), "throttled"),
            ((403, "UnauthorizedOperation"), "denied"),
            ((400, "RequestExpired"), "expired"),
            ((400, "InvalidAllocationID.NotFound"), "refused"),
        ):
            self.cloud.faults = [fault]
            with self.assertRaises(CallError) as raised:
                self.address("elastic-ip").bring(VIPS)
            self.assertEqual(raised.exception.kind, kind)
            self.assertIn(fault[1], str(raised.exception))

    def test_silence_ends_at_its_deadline(self) -> None:
        self.cloud.silence = 2
        started = time.monotonic()
        with self.assertRaises(Unreachable):
            self.address("elastic-ip").bring(VIPS)
        self.assertLess(time.monotonic() - started, 1)

    def test_without_a_role_it_is_said_so(self) -> None:
        self.cloud.role = False
        with self.assertRaisesRegex(MetadataError, "no role"):
            self.address("elastic-ip").bring(VIPS)

    def test_one_token_serves_many_questions(self) -> None:
        address = self.address("elastic-ip")
        for _ in range(5):
            address.bring(VIPS)
            address.is_here(VIPS)
        self.assertEqual(self.cloud.tokens, 1)


class Keeping(Case):
    def test_nobody_is_called_while_this_node_is_not_the_owner(self) -> None:
        self.cloud.owner = "b"
        self.keeper("elastic-ip", "a", lambda: False)
        time.sleep(0.2)
        self.assertEqual((self.cloud.calls, self.cloud.owner), ([], "b"))
        self.assertEqual(self.lines, ["this node does not hold the VIP: the address is left where it is"])

    def test_the_owner_has_the_address_at_once(self) -> None:
        self.cloud.owner = "b"
        self.keeper("elastic-ip", "a", lambda: True)
        self.until(lambda: self.cloud.owner == "a", 1)
        self.until(lambda: bool(self.lines), 1)
        self.assertRegex(self.lines[0], r"elastic-ip: the address is at this node, acknowledged after 0\.\d+ s")

    def test_throttled_calls_are_repeated_ever_more_slowly_and_succeed(self) -> None:
        self.cloud.faults = [(503, "RequestLimitExceeded")] * 3
        started = time.monotonic()
        self.keeper("elastic-ip", "a", lambda: True)
        self.until(lambda: self.cloud.owner == "a", 6)
        # 0.2, 0.8 and 2 s of pauses.
        self.assertGreater((time.monotonic() - started) * FASTER, 2.9)
        self.assertEqual(len(self.cloud.calls), 4)
        self.assertIn("not moved yet: RequestLimitExceeded", self.lines[0])

    def test_a_role_whose_key_changes_under_way_goes_on_with_the_new_one(self) -> None:
        settings = self.settings("elastic-ip")
        metadata = Metadata(settings.access)
        metadata.credentials()
        self.cloud.keys.append("AKIA2")
        self.keep(settings, metadata, "a", lambda: True)
        self.until(lambda: self.cloud.owner == "a", 2)
        self.assertEqual([call["key"] for call in self.cloud.calls], ["AKIA1", "AKIA2"])
        self.assertIn("ExpiredToken", self.lines[0])

    def test_one_line_says_why_however_often_it_is_tried(self) -> None:
        self.cloud.faults = [(403, "UnauthorizedOperation")] * 50
        self.keeper("elastic-ip", "a", lambda: True)
        self.until(lambda: len(self.cloud.calls) >= 4, 3)
        self.assertEqual(self.lines, ["the address is not moved yet: UnauthorizedOperation: on order"])

    def test_what_takes_longer_than_promised_is_said_aloud_once(self) -> None:
        self.cloud.faults = [(400, "InvalidAllocationID.NotFound")] * 50
        settings = parse({**written(self.cloud, "elastic-ip"), "within": 0.3})
        self.keep(settings, Metadata(settings.access), "a", lambda: True)
        self.until(lambda: any("NOT moved after" in line for line in self.lines), 3)
        calls = len(self.cloud.calls)
        self.until(lambda: len(self.cloud.calls) > calls, 4)
        self.assertEqual(sum("NOT moved after" in line for line in self.lines), 1)

    def test_an_endpoint_that_does_not_answer_is_tried_until_it_does(self) -> None:
        self.cloud.silence = 1.0
        self.keeper("elastic-ip", "a", lambda: True)
        self.until(lambda: any("not moved yet" in line for line in self.lines), 2)
        self.cloud.silence = 0.0
        self.until(lambda: self.cloud.owner == "a", 5)

    def test_what_cannot_be_reached_at_all_is_tried_ever_more_slowly_and_then_has_the_address(self) -> None:
        """The endpoint, or the metadata service, refuses to be spoken to at once."""
        for name in ("ec2", "metadata"):
            with self.subTest(name), socket.socket() as nobody:
                nobody.bind(("127.0.0.1", 0))
                self.lines.clear()
                self.cloud.owner = ""
                endpoints = {**self.settings("elastic-ip").access.endpoints}
                there = endpoints[name]
                endpoints[name] = f"http://127.0.0.1:{nobody.getsockname()[1]}"
                access = dataclasses.replace(self.settings("elastic-ip").access, endpoints=endpoints)
                settings = dataclasses.replace(self.settings("elastic-ip"), access=access)
                end = self.keep(settings, Metadata(access), "a", lambda: True)
                # 0.1, 0.2, 0.4, 0.8 and 1.6 s of pauses, and then 2 s each.
                time.sleep(5 / FASTER)
                with open(settings.state, encoding="utf-8") as file:
                    said = json.load(file)
                self.assertEqual((said["state"], len(self.lines)), ("moving", 1))
                self.assertIn("Connection refused", said["error"])
                self.assertTrue(3 <= said["attempts"] <= 7, said)
                endpoints[name] = there
                self.until(lambda: self.cloud.owner == "a", 3)
                end()

    def test_no_call_begins_once_the_role_has_ended(self) -> None:
        owner = ["a"]
        self.keeper("route", "a", lambda: owner[0] == "a")
        self.until(lambda: self.cloud.owner == "a", 1)
        owner[0] = "nobody"
        # The role is looked at every half second, and a route that is here for the first time after one.
        time.sleep(0.7 / FASTER)
        self.cloud.owner = "b"
        calls = len(self.cloud.calls)
        time.sleep(1.5 / FASTER)
        self.assertEqual((self.cloud.owner, len(self.cloud.calls)), ("b", calls))

    def test_two_owners_by_turns_leave_the_address_with_the_last(self) -> None:
        owner = ["a"]
        self.keeper("elastic-ip", "a", lambda: owner[0] == "a")
        self.keeper("elastic-ip", "b", lambda: owner[0] == "b")
        for node in ("a", "b", "a", "b"):
            owner[0] = node
            self.until(lambda node=node: self.cloud.owner == node, 2)  # type: ignore[misc]
            # As long as the loser needs to look at its interfaces again.
            time.sleep(0.8 / FASTER)
        self.assertEqual(self.cloud.owner, "b")

    def test_a_late_call_of_the_old_owner_is_put_right(self) -> None:
        """It arrived after the new owner's: the route is asserted again after one second."""
        self.keeper("route", "b", lambda: True)
        self.until(lambda: self.cloud.owner == "b", 1)
        self.cloud.owner = "a"
        self.until(lambda: self.cloud.owner == "b", 3)

    def test_of_two_vips_each_node_moves_the_one_that_it_holds_and_both_when_it_holds_both(self) -> None:
        settings = parse({**written(self.cloud, "route"), "vips": ["198.18.0.100", "198.18.0.101"]})
        held = settings.vips[:1]
        asked: List[Sequence[str]] = []

        class Noted(Address):
            def bring(self, vips: Sequence[str], dry: bool = False) -> None:
                del dry
                asked.append(vips)

        def sleep(seconds: float) -> None:
            nonlocal held
            clock[0] += seconds
            if clock[0] > 20:
                raise SystemExit
            if clock[0] > 10:
                held = settings.vips

        clock = [0.0]
        metadata = Metadata(settings.access)
        noted = Noted(settings, metadata, NODES["a"])
        keeper = Keeper(settings, metadata, noted, lambda: held, self.lines.append, lambda: clock[0], sleep)
        with self.assertRaises(SystemExit):
            keeper.run()
        self.assertEqual(asked[0], ("198.18.0.100",))
        self.assertEqual(asked[-1], ("198.18.0.100", "198.18.0.101"))
        self.assertEqual(asked, sorted(asked, key=len))
        with open(settings.state, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["vips"], ["198.18.0.100", "198.18.0.101"])


class Simulated(Address):
    """One of which only AWS could say where it is, kept for five minutes of a clock that nothing but waiting moves."""

    def __init__(self, settings: Settings, lines: List[str]) -> None:
        self._now = 0.0
        self.brought: List[int] = []
        metadata = Metadata(settings.access)
        super().__init__(settings, metadata, NODES["a"])
        with contextlib.suppress(SystemExit):
            Keeper(settings, metadata, self, lambda: settings.vips, lines.append, lambda: self._now, self._wait).run()

    def _wait(self, seconds: float) -> None:
        self._now += seconds
        if self._now > 300:
            raise SystemExit

    def bring(self, vips: Sequence[str], dry: bool = False) -> None:
        del vips, dry
        self.brought.append(round(self._now))


class Asserting(Case):
    def test_a_route_is_asserted_ever_more_seldom_and_without_a_word(self) -> None:
        brought = Simulated(self.settings("route"), self.lines).brought
        self.assertEqual(brought[:6], [0, 1, 3, 8, 18, 28])
        self.assertLess(len(brought), 35)
        self.assertEqual(len(self.lines), 1, self.lines)

    def test_a_record_is_asserted_about_once_a_minute(self) -> None:
        brought = Simulated(self.settings("dns"), self.lines).brought
        self.assertGreater(len(brought), 3)
        for one, later in zip(brought, brought[1:]):
            self.assertTrue(60 <= later - one <= 70, brought)


class OnLoopback(Cloud):
    """For programs that are told that `lo` is their public interface: it is node a's, of another cloud."""

    def __init__(self, of: Cloud) -> None:
        self._of = of
        super().__init__()

    def metadata(self, path: str) -> Optional[str]:
        self.owner = self._of.owner
        return super().metadata(path.replace("00:00:00:00:00:00", NODES["a"]))


class Program(Case):
    def on_loopback(self) -> OnLoopback:
        cloud = OnLoopback(self.cloud)
        self.addCleanup(cloud.close)
        return cloud

    def run_program(self, settings: Dict[str, object], *arguments: str) -> subprocess.CompletedProcess[str]:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(settings, file)
            file.flush()
            return subprocess.run(
                [sys.executable, "-B", PROGRAM, *arguments],
                env={**os.environ, "HOTPAIR_ADDRESS_SETTINGS": file.name},
                capture_output=True,
                text=True,
                check=False,
                timeout=20,
            )

    def test_checks_its_settings(self) -> None:
        said = self.run_program(written(self.cloud, "route"), "check")
        self.assertEqual((said.returncode, said.stdout), (0, "cloud-a moves 198.18.0.100 by route in eu-central-1\n"))
        wrong = self.run_program({**written(self.cloud, "route"), "method": "carrier-pigeon"}, "check")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("apply the configuration again", wrong.stderr)
        with self.assertRaisesRegex(SettingsError, "this pair is not in AWS"):
            load("/nonexistent/address.json")

    def status(self, settings: Dict[str, object]) -> Dict[str, object]:
        found: Dict[str, object] = json.loads(self.run_program(settings, "status", "--json").stdout)
        return found

    def test_says_that_nothing_was_moved_yet(self) -> None:
        settings = {**written(self.cloud, "route"), "state": "/nonexistent/state"}
        expected = {"method": "route", "state": "never moved", "at": 0, "vips": [], "attempts": 0, "elapsedMs": 0}
        self.assertEqual(self.status(settings), {**expected, "error": None, "reached": None})
        said = self.run_program(settings, "status")
        self.assertEqual(said.stdout, "route: this node has never moved the address\n")

    def test_says_what_keeps_it_from_moving(self) -> None:
        self.cloud.faults = [(403, "UnauthorizedOperation")] * 50
        self.keeper("elastic-ip", "a", lambda: True)
        self.until(lambda: len(self.cloud.calls) >= 3, 3)
        found = self.status(written(self.cloud, "elastic-ip"))
        self.assertEqual((found["state"], found["vips"]), ("moving", ["198.18.0.100"]))
        self.assertIn("UnauthorizedOperation", str(found["error"]))

    def test_status_names_the_elastic_ip_that_is_here_and_no_other(self) -> None:
        settings = {**written(self.cloud, "elastic-ip"), "endpoints": {"metadata": self.on_loopback().url}}
        self.assertIsNone(self.status(settings)["reached"])
        self.cloud.owner = "a"
        self.assertEqual(self.status(settings)["reached"], PUBLIC)

    def test_told_to_end_it_gives_up_a_call_that_is_under_way(self) -> None:
        cloud = self.on_loopback()
        cloud.silence = 5
        settings = {**written(cloud, "route"), "vips": ["127.0.0.1"], "timeout": 10}
        path = os.path.join(cloud.directory, "address.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        running = subprocess.Popen(
            [sys.executable, "-B", PROGRAM, "hold"],
            env={**os.environ, "HOTPAIR_ADDRESS_SETTINGS": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(running.kill)
        self.until(lambda: bool(cloud.calls), 5)
        told = time.monotonic()
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=5)
        self.assertEqual((running.returncode, said), (0, "told to end: the address is left where it is\n"))
        self.assertLess(time.monotonic() - told, 1.0)
        self.assertEqual(self.status(settings)["state"], "left")

    def test_preflight_says_what_it_could_prove_and_fails_without_a_role(self) -> None:
        allowed = self.run_program(written(self.cloud, "dns"), "preflight")
        self.assertEqual(allowed.returncode, 0)
        self.assertIn("not proven", allowed.stdout)
        self.cloud.role = False
        said = self.run_program(written(self.cloud, "dns"), "preflight")
        self.assertEqual(said.returncode, 1)
        self.assertIn("no role", said.stderr)


if __name__ == "__main__":
    unittest.main()
