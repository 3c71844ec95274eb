"""What runs on a node calls AWS as somebody else understands it: signatures, requests and answers judged by moto; and
each role, which may do what the stack declares, may do exactly what is called."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.parse
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple
from unittest import mock

from address.move import Address
from address.settings import parse
from aws import calls
from aws.calls import CallError
from aws.metadata import Metadata
from fence import instance

from .account import MAC, Account, Node, judged

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
# Kinds of resources, by what their ids begin with.
KINDS = {
    "eni": "network-interface",
    "eipalloc": "elastic-ip",
    "i": "instance",
    "rtb": "route-table",
    "zone": "hostedzone",
}
METHODS = ("secondary-ip", "elastic-ip", "route", "dns")


def declared() -> Dict[str, Dict[str, List[Dict[str, Any]]]]:
    """By method and node: what the stack lets the node's role do, resources by their names in the stack."""
    with open(os.environ["HOTPAIR_TEST_RIGHTS"], encoding="utf-8") as file:
        rights: Dict[str, Dict[str, List[Dict[str, Any]]]] = json.load(file)
    return rights


RIGHTS = declared()


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.account = Account()
        # Every call as it goes out: its action, and what it names.
        self.asked: List[Tuple[str, List[str]]] = []
        original = calls._call

        def record(access: Any, metadata: Any, url: str, body: bytes, kind: str, service: str, region: str) -> bytes:
            text = urllib.parse.unquote(body.decode())
            if service == "ec2":
                action = dict(urllib.parse.parse_qsl(body.decode()))["Action"]
                named = re.findall(r"=((?:eni|eipalloc|i|rtb)-[0-9a-f]+)", text)
            else:
                action, named = "ChangeResourceRecordSets", [f"zone-{re.findall(r'hostedzone/(.*?)/', url)[0]}"]
            self.asked.append((f"{service}:{action}", named))
            return original(access, metadata, url, body, kind, service, region)

        recording = mock.patch.object(calls, "_call", record)
        recording.start()
        self.addCleanup(recording.stop)

    def statements(self, case: str, node: str) -> List[Dict[str, Any]]:
        """With the resources' real names."""
        arns = self.account.arns()
        text = json.dumps(RIGHTS[case][node])
        return list(json.loads(re.sub(r"<([\w-]+)>", lambda found: arns[found[1]], text)))

    def node(self, node: str, statements: Sequence[Mapping[str, Any]]) -> Node:
        made = Node(self.account, node, statements)
        self.addCleanup(made.close)
        return made

    def address(self, node: Node, method: str) -> Callable[[], None]:
        """Brings it to a node."""
        settings = parse(node.settings(method))
        address = Address(settings, Metadata(settings.access), MAC)
        return lambda: address.bring(settings.vips)

    def fence(self, node: Node, peer: str, action: str) -> Tuple[int, str]:
        said = io.StringIO()
        given = io.StringIO(f"{node.options(peer)}action={action}\n")
        with mock.patch.object(sys, "stdin", given), contextlib.redirect_stdout(said):
            code = instance.main()
        return code, said.getvalue()

    def named_in(self, statements: Sequence[Mapping[str, Any]], action: str) -> List[str]:
        """Resources that they allow an action on."""
        resources = [statement["Resource"] for statement in statements if action in statement["Action"]]
        return [name for each in resources for name in ([each] if isinstance(each, str) else each)]

    def assert_fits(self, statements: Sequence[Mapping[str, Any]]) -> None:
        """Everything that was asked for is allowed, on what it was asked for; and nothing else is."""
        allowed = [action for statement in statements for action in statement["Action"]]
        self.assertEqual(sorted({action for action, _ in self.asked}), sorted(allowed))
        for action, names in self.asked:
            resources = self.named_in(statements, action)
            if resources == ["*"]:
                continue
            # AWS looks at some of what a call names: for each kind that the role names, at the very one.
            judged_by = {
                name: [each for each in resources if f":{KINDS[name.split('-')[0]]}/" in each] for name in names
            }
            self.assertTrue(any(judged_by.values()), f"{action} {names}: {resources}")
            for name, same in judged_by.items():
                self.assertTrue(
                    not same or any(each.endswith(id_of(name)) for each in same), f"{action} {name}: {same}"
                )


def id_of(name: str) -> str:
    """A zone's has no beginning that tells its kind."""
    return name[len("zone-") :] if name.startswith("zone-") else f"/{name}"


def without(statements: Sequence[Mapping[str, Any]], action: str) -> List[Mapping[str, Any]]:
    """Without this one. A statement that allows nothing is none."""
    left = [{**each, "Action": [one for one in each["Action"] if one != action]} for each in statements]
    return [each for each in left if each["Action"]] or [{"Effect": "Deny", "Action": ["ec2:RunInstances"]}]


class Moving(Case):
    def test_each_way_moves_the_address_between_the_nodes_with_the_declared_rights(self) -> None:
        for method in METHODS:
            rights = {node: self.statements(method, node) for node in ("a", "b")}
            nodes = {node: self.node(node, rights[node]) for node in ("a", "b")}
            for owner in ("a", "b", "a"):
                with self.subTest(method, owner=owner):
                    self.asked.clear()
                    bring = self.address(nodes[owner], method)
                    with judged():
                        bring()
                        # Again, as the keeper does.
                        bring()
                    # moto leaves an address that is reassigned where it was, too.
                    owners = [owner, "ab"] if method == "secondary-ip" else [owner]
                    self.assertIn(self.account.owner(method), owners)
                    self.assert_fits(rights[owner])

    def test_no_right_is_there_for_nothing(self) -> None:
        for method in METHODS:
            rights = self.statements(method, "b")
            for action in [action for statement in rights for action in statement["Action"]]:
                node = self.node("b", without(rights, action))
                bring = self.address(node, method)
                with self.subTest(method, action=action), judged(), self.assertRaises(CallError) as raised:
                    bring()
                self.assertEqual(raised.exception.kind, "denied")

    def test_a_signature_that_is_not_the_roles_is_not_accepted(self) -> None:
        node = self.node("a", self.statements("elastic-ip", "a"))
        node.given["SecretAccessKey"] = "somebody-elses"
        bring = self.address(node, "elastic-ip")
        with judged(), self.assertRaises(CallError):
            bring()
        self.assertEqual(self.account.owner("elastic-ip"), "")

    def test_the_preflight_proves_the_right_and_moves_nothing(self) -> None:
        # moto knows no dry run of ReplaceRoute.
        for rights, code in ((self.statements("elastic-ip", "b"), 0), (without([], ""), 1)):
            node = self.node("b", rights)
            with judged():
                said = self.preflight(node, "elastic-ip")
            self.assertEqual(said.returncode, code, said.stdout + said.stderr)
        self.assertEqual(self.account.owner("elastic-ip"), "")

    def preflight(self, node: Node, method: str) -> subprocess.CompletedProcess[str]:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(node.settings(method), file)
            file.flush()
            return subprocess.run(
                [sys.executable, "-B", os.path.join(ROOT, "infra/node/hotpair-address"), "preflight"],
                env={**os.environ, "HOTPAIR_ADDRESS_SETTINGS": file.name},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )


class Fencing(Case):
    def test_the_peer_is_stopped_and_nobody_else_with_the_declared_rights(self) -> None:
        rights = self.statements("fencing", "a")
        node = self.node("a", rights)
        with judged():
            self.assertEqual(self.fence(node, "b", "monitor")[0], 0)
            self.assertEqual(self.fence(node, "b", "status"), (0, f"{self.account.instances['b']}: running\n"))
            self.assertEqual(self.fence(node, "b", "off")[0], 0)
            self.assertEqual(self.fence(node, "b", "status")[0], 2)
        self.assertEqual((self.account.state("a"), self.account.state("b")), ("running", "stopped"))
        self.assert_fits(rights)

    def test_no_right_is_there_for_nothing(self) -> None:
        rights = self.statements("fencing", "a")
        for action in [action for statement in rights for action in statement["Action"]]:
            node = self.node("a", without(rights, action))
            for verb in ("monitor", "off"):
                with self.subTest(action, verb=verb), judged():
                    code, said = self.fence(node, "b", verb)
                self.assertEqual(code, 1, said)
        self.assertEqual(self.account.state("b"), "running")


if __name__ == "__main__":
    unittest.main()
