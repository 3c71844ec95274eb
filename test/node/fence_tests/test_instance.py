"""Fencing by AWS: which instance is stopped, what counts as off, what a role that may not says; against a stand-in."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest
from typing import Any, Dict, List
from unittest import mock

from address_tests.cloud import Cloud

from fence import instance, right, verbs

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
PROGRAM = os.path.join(ROOT, "infra", "node", "hotpair-fence")


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.cloud = Cloud()
        self.addCleanup(self.cloud.close)
        quick = mock.patch.object(instance, "PAUSE", 0.01)
        quick.start()
        self.addCleanup(quick.stop)

    @property
    def options(self) -> str:
        given = {
            "endpoint_ec2": self.cloud.url,
            "endpoint_metadata": self.cloud.url,
            "pair": "cloud",
            "plug": "b",
            "region": "eu-central-1",
        }
        return "".join(f"{name}={value}\n" for name, value in given.items())

    def ask(self, action: str) -> "tuple[int, str]":
        said = io.StringIO()
        given = io.StringIO(f"{self.options}action={action}\n")
        with mock.patch.object(sys, "stdin", given), contextlib.redirect_stdout(said):
            code = instance.main()
        return code, said.getvalue()

    def asked(self) -> List[str]:
        return [call["Action"] + (" dry" if "DryRun" in call else "") for call in self.cloud.calls]


class Agent(Case):
    def test_stops_the_peer_alone_at_once_and_waits_until_it_is_off(self) -> None:
        self.cloud.looks_until_off = 2
        self.assertEqual(self.ask("off"), (0, "i-b: stopped\n"))
        self.assertEqual(self.cloud.instances["i-a"], ("a", "running"))
        (stop,) = [call for call in self.cloud.calls if call["Action"] == "StopInstances"]
        # Nobody waits for the shutdown of a machine that is frozen.
        expected = {"InstanceId.1": "i-b", "Force": "true", "SkipOsShutdown": "true"}
        self.assertEqual({name: stop[name] for name in expected}, expected)
        self.assertNotIn("InstanceId.2", stop)

    def test_off_is_what_aws_calls_stopped_or_terminated_and_nothing_on_the_way_there(self) -> None:
        for state, code in (
            ("pending", 0),
            ("running", 0),
            ("stopping", 0),
            ("shutting-down", 0),
            ("stopped", 2),
            ("terminated", 2),
        ):
            self.cloud.instances["i-b"] = ("b", state)
            self.cloud.looks_until_off = 9
            self.assertEqual(self.ask("status"), (code, f"i-b: {state}\n"))
        self.assertEqual(set(self.asked()), {"DescribeInstances"})

    def test_one_that_is_off_already_is_not_stopped_again(self) -> None:
        self.cloud.instances["i-b"] = ("b", "stopped")
        self.assertEqual(self.ask("off")[0], 0)
        self.assertEqual(self.asked(), ["DescribeInstances"])

    def test_the_server_that_was_exchanged_does_not_stand_for_its_successor(self) -> None:
        self.cloud.instances["i-b"] = ("b", "terminated")
        self.cloud.instances["i-new"] = ("b", "running")
        self.assertEqual(self.ask("status"), (0, "i-new: running\n"))
        self.assertEqual(self.ask("off"), (0, "i-new: stopped\n"))

    def test_who_is_not_found_is_not_off(self) -> None:
        del self.cloud.instances["i-b"]
        self.assertEqual(self.ask("status"), (1, "AWS: there is no instance with the peer's tags\n"))
        self.assertEqual(self.ask("off")[0], 1)

    def test_two_that_look_alike_are_left_alone(self) -> None:
        self.cloud.instances["i-copy"] = ("b", "running")
        code, said = self.ask("off")
        self.assertEqual(code, 1)
        self.assertIn("i-b, i-copy have the tags of cloud's node b", said)
        self.assertEqual(self.asked(), ["DescribeInstances"])

    def test_a_call_that_is_throttled_while_it_waits_costs_one_look(self) -> None:
        self.cloud.looks_until_off = 3
        looks = iter([False, False, True])

        def throttle(_: float) -> None:
            if next(looks, False):
                self.cloud.faults.append((503, "RequestLimitExceeded"))

        with mock.patch("fence.instance.time.sleep", throttle):
            code, said = self.ask("off")
        self.assertEqual((code, said), (0, "AWS: RequestLimitExceeded: on order\ni-b: stopped\n"))

    def test_monitor_proves_the_right_and_stops_nobody(self) -> None:
        code, said = self.ask("monitor")
        self.assertEqual(code, 0)
        self.assertRegex(said, r"^i-b: running; this node may stop it, answered after \d\.\d{3} s$")
        self.assertEqual(self.asked(), ["DescribeInstances", "StopInstances dry"])
        self.assertEqual(self.cloud.instances["i-b"], ("b", "running"))

    def test_a_peer_that_is_gone_proves_nothing_and_blocks_nothing(self) -> None:
        self.cloud.instances["i-b"] = ("b", "terminated")
        self.assertEqual(self.ask("monitor")[0], 0)
        self.assertEqual(self.asked(), ["DescribeInstances"])

    def test_it_switches_nobody_on(self) -> None:
        code, said = self.ask("on")
        self.assertEqual((code, self.asked()), (1, []))
        self.assertIn("expected off, status or monitor", said)

    def test_without_a_role_or_an_answer_it_knows_nothing(self) -> None:
        self.cloud.role = False
        self.assertEqual(self.ask("status"), (1, "AWS: the instance has no role, so it may not call AWS\n"))


class Fence(Case):
    """hotpair-fence with this agent as a program of its own."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.here = folder.name
        for name, text in (("options", self.options), ("holder", f"{right.now() + 60:.3f}\n")):
            with open(os.path.join(self.here, name), "w", encoding="utf-8") as file:
                file.write(text)
        os.chmod(os.path.join(self.here, "options"), 0o600)
        paths = {"run": self.here, "state": f"{self.here}/state.json", "audit": f"{self.here}/audit.log"}
        written: Dict[str, object] = {
            "version": 1,
            "pair": "cloud",
            "node": {"id": "a", "name": "cloud-a"},
            "peer": {"id": "b", "name": "cloud-b"},
            "agent": "aws",
            "command": [sys.executable, "-B", PROGRAM, "aws"],
            "options": f"{self.here}/options",
            "secrets": [],
            "paths": paths,
        }
        self.settings = written
        self.within(10)
        settings = mock.patch.dict(os.environ, {"HOTPAIR_FENCE_SETTINGS": f"{self.here}/fencing.json"})
        settings.start()
        self.addCleanup(settings.stop)

    def within(self, seconds: int) -> None:
        """What is promised of a shot."""
        with open(f"{self.here}/fencing.json", "w", encoding="utf-8") as file:
            json.dump({**self.settings, "timeout": seconds}, file)

    def shoot(self) -> "tuple[int, Dict[str, Any], str]":
        """Exit code, what is remembered of the shot, and the line of it in the audit file."""
        code, _ = self.run_verb("peer")
        with open(f"{self.here}/state.json", encoding="utf-8") as file:
            last = json.load(file)["last"]
        with open(f"{self.here}/audit.log", encoding="utf-8") as file:
            (line,) = file.read().splitlines()
        return code, last, line

    def run_verb(self, *words: str) -> "tuple[int, str]":
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = verbs.main(words)
        return code, said.getvalue()

    def test_the_holder_shoots_and_aws_confirms(self) -> None:
        code, said = self.run_verb("peer", "--json")
        self.assertEqual((code, json.loads(said)["outcome"]), (0, "confirmed"))
        self.assertEqual(self.cloud.instances, {"i-a": ("a", "running"), "i-b": ("b", "stopped")})

    def test_throttled_and_with_a_key_that_expires_it_tries_again_and_the_peer_is_off(self) -> None:
        stops = iter([(503, "RequestLimitExceeded"), (400, "ExpiredToken")])
        original = self.cloud.carry_out

        def carry_out(fields: Dict[str, str]) -> "tuple[int, str]":
            return original(fields) if fields["Action"] != "StopInstances" else next(stops, None) or original(fields)

        with mock.patch.object(self.cloud, "carry_out", carry_out):
            code, last, line = self.shoot()
        self.assertEqual((code, last["outcome"], last["detail"]), (0, "confirmed", "its power is off"))
        self.assertEqual(self.asked().count("StopInstances"), 3)
        self.assertEqual((json.loads(line)["from"], json.loads(line)["to"]), ("unknown", "off"))

    def test_what_aws_refuses_to_the_end_is_tried_again_within_the_stated_time_and_counts_as_not_confirmed(
        self,
    ) -> None:
        self.within(3)
        for fault, said in (("throttled", "RequestLimitExceeded"), ("denied", "UnauthorizedOperation"), ("silent", "")):
            with self.subTest(fault):
                self.cloud.calls.clear()
                self.cloud.faults = [(503, "RequestLimitExceeded")] * 99 if fault == "throttled" else []
                self.cloud.denied = "StopInstances" if fault == "denied" else ""
                self.cloud.silence = 9.0 if fault == "silent" else 0.0
                code, last, line = self.shoot()
                os.unlink(f"{self.here}/audit.log")
                self.assertEqual((code, last["outcome"]), (1, "unconfirmed"))
                self.assertRegex(last["detail"], f"^not confirmed within 3 s: off: .*{said}.*; status: ")
                self.assertLess(last["elapsedMs"], 6000)
                # Two looks and a call each time, half a second apart.
                self.assertLessEqual(len(self.cloud.calls), 18)
                self.assertEqual(json.loads(line)["to"], "not confirmed off")
                self.assertEqual(self.cloud.instances["i-b"], ("b", "running"))

    def test_a_role_that_may_not_stop_the_peer_is_found_by_the_test_and_before_the_set_up_is_done(self) -> None:
        self.assertEqual(self.run_verb("test")[0], 0)
        code, said = self.run_verb("preflight")
        self.assertEqual(code, 0)
        self.assertIn("i-b: running; this node may stop it", said)
        self.cloud.denied = "StopInstances"
        for verb in ("test", "preflight"):
            code, said = self.run_verb(verb)
            self.assertEqual(code, 1)
            self.assertIn("UnauthorizedOperation", said)
        self.assertEqual(self.cloud.instances["i-b"], ("b", "running"))


if __name__ == "__main__":
    unittest.main()
