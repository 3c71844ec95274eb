"""What is asked of hotpair-lease, its holder and hotpair-arbiter, by the words and sockets that they have: a program, a
holder and an arbiter are made here, that answer what they are told to.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
import unittest
from typing import Any, Dict, List

from drbd import fence
from drbd.authority import Authority, Refused
from drbd.rules import PEER_IS_PRIMARY, PEER_OUTDATED, UNDECIDED

from .world import device, settings

# hotpair-lease, as far as it is asked. SEQ in its status is a number that moves while a file says so.
PROGRAM = """#!/bin/sh
cd {folder}
echo "$*" >> asked
[ ! -e fails ] || {{ cat fails >&2; exit 1; }}
case $1 in
  status) number=7; [ ! -e renewing ] || number=$(wc -l < asked); sed "s/SEQ/$number/" status ;;
  incarnation) echo "$2" > incarnation ;;
  offered) cat offered ;;
  enroll) echo "enrolled" ;;
esac
"""


class Socket:
    """A daemon's socket: one line in, the prepared answer out; what it was asked is kept."""

    def __init__(self, path: str, answer: Dict[str, Any]) -> None:
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
                self.asked.append(json.loads(text))
                caller.sendall(json.dumps(self.answer).encode() + b"\n")

    def close(self) -> None:
        self._socket.close()


class OverSockets(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(f"{self.folder}/run")
        self.write("hotpair-lease", PROGRAM.format(folder=self.folder))
        os.chmod(f"{self.folder}/hotpair-lease", 0o755)
        self.here = settings(self.folder)
        self.authority = Authority(
            self.here, f"{self.folder}/hotpair-lease", f"{self.folder}/incarnation", f"{self.folder}/fence.json"
        )

    def write(self, name: str, text: str) -> None:
        with open(f"{self.folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def says(self, holder: str, insync: Dict[str, str], quorum: bool = True) -> None:
        status = {"holder": holder, "seq": "SEQ", "insync": insync, "quorum": quorum}
        self.write("status", json.dumps(status) + "\n")

    def asked(self) -> List[str]:
        with open(f"{self.folder}/asked", encoding="utf-8") as file:
            return file.read().splitlines()

    def holder(self, seconds: float) -> None:
        self.write("run/holder", f"{time.clock_gettime(time.CLOCK_BOOTTIME) + seconds:.3f}\n")

    def listen(self, name: str, answer: Dict[str, Any]) -> Socket:
        found = Socket(f"{self.folder}/run/{name}", answer)
        self.addCleanup(found.close)
        return found


class Asked(OverSockets):
    def test_copies_get_their_name_on_disk_and_offer_it(self) -> None:
        self.assertEqual(self.authority.incarnation(), "")
        self.authority.call_copies("20260101-one")
        self.assertEqual(self.authority.incarnation(), "20260101-one")
        self.authority.offer()
        self.write("offered", "20260101-two\n")
        self.assertEqual(self.authority.offered(), "20260101-two")
        self.assertEqual(self.authority.enroll(), "enrolled")
        self.assertEqual(self.asked(), ["incarnation 20260101-one", "offer", "offered", "enroll"])

    def test_a_name_that_is_not_on_disk_is_no_name(self) -> None:
        self.write("hotpair-lease", "#!/bin/sh\n")
        with self.assertRaisesRegex(Refused, "does not hold what hotpair-lease said it wrote"):
            self.authority.call_copies("one")

    def test_what_the_program_refuses_is_passed_on_in_its_words(self) -> None:
        self.write("fails", "hotpair-lease: no member of etcd answers\n")
        with self.assertRaisesRegex(Refused, "no member of etcd answers"):
            self.authority.offer()

    def test_possession_is_a_deadline(self) -> None:
        self.assertFalse(self.authority.holds())
        self.holder(5.0)
        self.assertTrue(self.authority.holds())
        self.holder(-0.1)
        self.assertFalse(self.authority.holds())

    def test_a_peer_that_renews_is_told_from_a_name_that_is_left(self) -> None:
        self.says("b", {"a": "one", "b": "two"})
        seen = self.authority.seen()
        self.assertEqual((seen.holder, seen.renewed, seen.quorum, seen.mine), ("b", False, True, False))
        self.assertEqual(seen.insync, {"a": "one", "b": "two"})
        self.write("renewing", "")
        self.assertTrue(self.authority.seen().renewed)

    def test_without_a_quorum_nothing_is_known(self) -> None:
        self.says("b", {"b": "two"}, quorum=False)
        self.assertEqual(self.authority.seen().holder, None)
        self.assertFalse(self.authority.seen().quorum)
        self.assertIsNone(self.authority.insync())

    def test_orders_go_to_the_holder_and_its_refusal_is_passed_on(self) -> None:
        with self.assertRaisesRegex(Refused, "its holder does not answer here"):
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
        self.says("a", {"a": "one", "b": "two"})
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
        self.write("run/taken", "b\n")
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
            self.write("fence.json", json.dumps({"last": last}))
            self.assertEqual(self.authority.fenced(), expected, last)


class Handler(OverSockets):
    """The handler from its exit code down to the sockets."""

    def answer(self) -> int:
        os.environ["HOTPAIR_AUDIT"] = f"{self.folder}/audit.log"
        self.addCleanup(os.environ.pop, "HOTPAIR_AUDIT", None)
        devices = [device(role="Primary", connection="WFConnection", peer_role="Unknown", peer_disk="DUnknown")]
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
            return fence.answer(self.here, self.authority, lambda: devices, "data", 0.0)

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
        self.says("b", {"b": "two"})
        self.assertEqual(self.answer(), PEER_IS_PRIMARY)

    def test_without_anybody_to_ask_nothing_is_decided(self) -> None:
        self.write("fails", "hotpair-lease: no quorum\n")
        self.assertEqual(self.answer(), UNDECIDED)


if __name__ == "__main__":
    unittest.main()
