"""What is asked of etcd, of the lease's holder and of the arbiter, over the sockets that they have: a member of etcd
that is made here, with TLS and keys; a holder and an arbiter that answer what they are told to.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, Tuple

from drbd import fence
from drbd.authority import Authority, Refused
from drbd.rules import PEER_IS_PRIMARY, PEER_OUTDATED, UNDECIDED
from lease import settings as lease_settings
from lease.etcd import now

from .world import device, settings

PREFIX = "/hotpair/disks/"


class Member(BaseHTTPRequestHandler):
    """/v3/kv/range and /v3/kv/put of etcd's JSON gateway, over the server's `keys`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        store: Dict[str, Tuple[str, int]] = self.server.keys  # type: ignore[attr-defined]
        key = base64.b64decode(body["key"]).decode()
        if self.path == "/v3/kv/put":
            store[key] = (
                base64.b64decode(body["value"]).decode(),
                max((each[1] for each in store.values()), default=0) + 1,
            )
            answer: Dict[str, Any] = {}
        else:
            end = base64.b64decode(body["range_end"]).decode() if "range_end" in body else key + "\0"
            answer = {
                "kvs": [
                    {"key": _text(each), "value": _text(value), "mod_revision": str(revision)}
                    for each, (value, revision) in sorted(store.items())
                    if key <= each < end
                ]
            }
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


class Socket:
    """A daemon's socket: one line in, the prepared answer out; what it was asked is kept."""

    def __init__(self, path: str, answer: Any) -> None:
        self.asked: List[Dict[str, Any]] = []
        self.answer = answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller:
                text = b""
                while not text.endswith(b"\n"):
                    text += caller.recv(65536)
                request = json.loads(text)
                self.asked.append(request)
                answer = self.answer(request) if callable(self.answer) else self.answer
                caller.sendall(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        self._socket.close()


@unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificates")
class OverSockets(unittest.TestCase):
    pems: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.pems = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.pems.cleanup)
        subprocess.run(
            [
                *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
                *["-days", "2", "-subj", "/CN=member", "-addext", "subjectAltName=IP:127.0.0.1"],
                *["-keyout", f"{cls.pems.name}/key", "-out", f"{cls.pems.name}/pem"],
            ],
            check=True,
            capture_output=True,
        )

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(f"{self.folder}/run")
        self.keys: Dict[str, Tuple[str, int]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Member)
        self.server.daemon_threads = True
        self.server.keys = self.keys  # type: ignore[attr-defined]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.pems.name}/pem", f"{self.pems.name}/key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        port = self.server.server_address[1]
        seconds = {"renewal": 0.02, "rpcTimeout": 0.2, "deadline": 0.8, "takeover": 2, "watchdog": 0.8}
        self.authority = Authority(
            lease_settings.parse(
                {
                    "version": 1,
                    "pair": "disks",
                    "node": {"id": "a", "name": "node-a"},
                    "peer": {"id": "b", "name": "node-b"},
                    "witness": {"name": "witness"},
                    # One member answers; the others are not there.
                    "endpoints": {
                        "a": f"https://127.0.0.1:{port}",
                        "b": "https://127.0.0.1:1",
                        "witness": "https://127.0.0.1:1",
                    },
                    "ca": f"{self.pems.name}/pem",
                    "certificate": f"{self.pems.name}/pem",
                    "key": f"{self.pems.name}/key",
                    "lease": {**seconds, "stopTimeout": 0.2, "drift": 0.001, "margin": 0.05},
                    "writers": [],
                    "paths": {
                        "run": f"{self.folder}/run",
                        "incarnation": f"{self.folder}/incarnation",
                        "epoch": f"{self.folder}/epoch",
                        "fence": f"{self.folder}/fence.json",
                    },
                }
            )
        )

    def say(self, **keys: str) -> None:
        for key, value in keys.items():
            self.keys[PREFIX + key] = (value, max((each[1] for each in self.keys.values()), default=0) + 1)

    def holder(self, seconds: float) -> None:
        with open(f"{self.folder}/run/holder", "w", encoding="ascii") as file:
            file.write(f"{now() + seconds:.3f}\n")

    def listen(self, name: str, answer: Any) -> Socket:
        found = Socket(f"{self.folder}/run/{name}", answer)
        self.addCleanup(found.close)
        return found


class Asked(OverSockets):
    def test_copies_are_called_in_etcd_beside_the_leases_keys(self) -> None:
        self.assertEqual(self.authority.offered("b"), "")
        self.authority.offer("20260101-one")
        self.assertEqual(self.keys["/hotpair-drbd/disks/a"][0], "20260101-one")
        self.assertEqual(self.authority.offered("a"), "20260101-one")
        # The lease reads everything below its own prefix, and must not find this there.
        self.assertNotIn(PREFIX, next(iter(self.keys)))

    def test_copies_get_their_name_on_disk(self) -> None:
        self.assertEqual(self.authority.incarnation(), "")
        self.authority.call_copies("20260101-one")
        self.assertEqual(self.authority.incarnation(), "20260101-one")

    def test_possession_is_a_deadline(self) -> None:
        self.assertFalse(self.authority.holds())
        self.holder(5.0)
        self.assertTrue(self.authority.holds())
        self.holder(-0.1)
        self.assertFalse(self.authority.holds())

    def test_a_peer_that_renews_is_told_from_a_name_that_is_left(self) -> None:
        self.say(holder="b/1", seq="7", insync='{"a":"one","b":"two"}', epoch="1")
        seen = self.authority.seen()
        self.assertEqual((seen.holder, seen.renewed, seen.quorum, seen.mine), ("b", False, True, False))
        self.assertEqual(seen.insync, {"a": "one", "b": "two"})
        stop = threading.Event()

        def renew() -> None:
            number = 8
            while not stop.wait(0.005):
                self.say(seq=str(number))
                number += 1

        threading.Thread(target=renew, daemon=True).start()
        try:
            self.assertTrue(self.authority.seen().renewed)
        finally:
            stop.set()

    def test_nobody_answers(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.assertFalse(self.authority.seen().quorum)
        self.assertIsNone(self.authority.insync())
        with self.assertRaises(Refused):
            self.authority.offer("one")

    def test_orders_go_to_the_holder_and_its_refusal_is_passed_on(self) -> None:
        with self.assertRaisesRegex(Refused, "does not hold the lease"):
            self.authority.alone()
        holder = self.listen("lease.sock", {"text": "in sync: a"})
        self.authority.alone()
        self.authority.together("two")
        self.assertEqual([each["verb"] for each in holder.asked], ["alone", "together"])
        self.assertEqual(holder.asked[1]["argument"], "two")
        holder.answer = {"error": "not committed in time"}
        with self.assertRaisesRegex(Refused, "not committed in time"):
            self.authority.alone()

    def test_one_at_a_time_changes_the_list(self) -> None:
        with self.authority.exclusively():
            began = time.monotonic()
            with self.assertRaisesRegex(Refused, "does not end"), self.authority.exclusively(timeout=0.05):
                self.fail("two at once")
            self.assertGreaterEqual(time.monotonic() - began, 0.05)
        with self.authority.exclusively(timeout=0.05):
            pass

    def test_the_holder_knows_the_list_best(self) -> None:
        self.say(insync='{"a":"one","b":"two"}')
        self.assertEqual(self.authority.insync(), {"a": "one", "b": "two"})
        self.listen("lease.sock", {"status": {"insync": {"a": "one"}}})
        self.assertEqual(self.authority.insync(), {"a": "one"})

    def test_a_hand_over_is_the_arbiters_and_its_refusal_is_passed_on(self) -> None:
        with self.assertRaisesRegex(Refused, "does not answer"):
            self.authority.hand_over("why")
        arbiter = self.listen("arbiter.sock", {"vips": ["web"], "tookMs": 3})
        self.authority.hand_over("the disk failed")
        self.assertEqual(arbiter.asked[0]["command"], "switch")
        self.assertEqual(arbiter.asked[0]["reason"], "the disk failed")
        arbiter.answer = {"error": "the peer is not fit"}
        with self.assertRaisesRegex(Refused, "the peer is not fit"):
            self.authority.hand_over("why")

    def test_a_peer_counts_as_off_for_this_taking_of_the_lease_alone(self) -> None:
        self.assertFalse(self.authority.fenced())
        with open(f"{self.folder}/run/taken", "w", encoding="ascii") as file:
            file.write("b\n")
        taking = str(os.stat(f"{self.folder}/run/taken").st_mtime_ns)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        for last, expected in (
            ({"outcome": "confirmed", "taking": taking, "boot": boot}, True),
            ({"outcome": "unconfirmed", "taking": taking, "boot": boot}, False),
            ({"outcome": "confirmed", "taking": "1", "boot": boot}, False),
            ({"outcome": "confirmed", "taking": taking, "boot": "another"}, False),
            (None, False),
        ):
            with open(f"{self.folder}/fence.json", "w", encoding="utf-8") as file:
                json.dump({"last": last}, file)
            self.assertEqual(self.authority.fenced(), expected, last)


class Handler(OverSockets):
    """The handler from its exit code down to the sockets."""

    def answer(self, patience: float = 0.0) -> int:
        os.environ["HOTPAIR_AUDIT"] = f"{self.folder}/audit.log"
        self.addCleanup(os.environ.pop, "HOTPAIR_AUDIT", None)
        devices = [device(role="Primary", connection="WFConnection", peer_role="Unknown", peer_disk="DUnknown")]
        here = settings(self.folder)
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
            return fence.answer(here, self.authority, lambda: devices, "data", patience)

    def test_the_holder_goes_on_when_its_peer_is_off_the_list(self) -> None:
        self.holder(30.0)
        holder = self.listen("lease.sock", {"text": "in sync: a"})
        self.assertEqual(self.answer(), PEER_OUTDATED)
        self.assertEqual([each["verb"] for each in holder.asked], ["alone"])

    def test_it_stays_where_it_is_while_that_cannot_be_committed(self) -> None:
        self.holder(30.0)
        self.listen("lease.sock", {"error": "no quorum"})
        self.assertEqual(self.answer(), UNDECIDED)

    def test_who_was_overtaken_is_told_so(self) -> None:
        self.authority.call_copies("one")
        self.say(holder="b/9", seq="1", insync='{"b":"two"}', epoch="1")
        began = time.monotonic()
        self.assertEqual(self.answer(), PEER_IS_PRIMARY)
        self.assertLess(time.monotonic() - began, 5.0)

    def test_without_anybody_to_ask_nothing_is_decided(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.assertEqual(self.answer(), UNDECIDED)


if __name__ == "__main__":
    unittest.main()
