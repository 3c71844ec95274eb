"""A promotion by force, where it can be judged without a cluster: which peer counts as off."""

import json
import os
import socket
import tempfile
import unittest
from dataclasses import replace
from typing import Any

from lease.epoch import Refusal, _refuse_a_living_peer
from lease.etcd import now
from lease.settings import Settings, parse

MEMBERS = dict.fromkeys(("a", "b", "witness"), "https://127.0.0.1:1")
TIMES = {
    "renewal": 0.1,
    "rpcTimeout": 0.2,
    "deadline": 0.8,
    "takeover": 1.5,
    "watchdog": 0.8,
    "stopTimeout": 0.2,
    "drift": 0.001,
    "margin": 0.05,
}


class Living(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.fenced = os.path.join(folder.name, "fence.json")
        self.settings: Settings = parse(
            {
                "version": 1,
                "pair": "shop",
                "node": {"id": "a", "name": "node-a"},
                "peer": {"id": "b", "name": "node-b"},
                "witness": {"name": "witness"},
                "endpoints": MEMBERS,
                "ca": "",
                "certificate": "",
                "key": "",
                "lease": TIMES,
                "writers": [],
                "paths": {"fence": self.fenced},
            }
        )

    def shot(self, **changes: Any) -> None:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        last = {"outcome": "confirmed", "boot": boot, "endedAt": now() - 5, **changes}
        with open(self.fenced, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "last": last, "test": None}, file)

    def refused(self) -> None:
        with self.assertRaisesRegex(Refusal, "node-b answers at 127.0.0.1: it is not off"):
            _refuse_a_living_peer(self.settings)

    def test_a_closed_port_is_an_answer(self) -> None:
        self.refused()

    def test_so_is_an_open_one(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
            self.settings = replace(self.settings, endpoints={**self.settings.endpoints, "b": ("127.0.0.1", port)})
            self.refused()

    def test_a_peer_that_was_just_confirmed_off_is_off_whoever_answers_in_its_place(self) -> None:
        self.shot()
        _refuse_a_living_peer(self.settings)

    def test_nothing_less_than_that_counts(self) -> None:
        for changes in (
            {"outcome": "unconfirmed"},
            {"outcome": "acknowledged"},
            {"outcome": "running", "endedAt": None},
            {"endedAt": now() - 61},
            {"endedAt": now() + 5},
            {"boot": "another"},
        ):
            self.shot(**changes)
            self.refused()
        with open(self.fenced, "w", encoding="utf-8") as file:
            file.write("{")
        self.refused()


if __name__ == "__main__":
    unittest.main()
