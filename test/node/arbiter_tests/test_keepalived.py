"""The end of keepalived, with processes of its name and descent: who hears of it when, and what happens to its VIPs."""

import os
import select
import shutil
import subprocess
import tempfile
import time
import unittest
from types import SimpleNamespace
from typing import Any, List, cast
from unittest import mock

from arbiter import keepalived as module
from arbiter import kernel
from arbiter.config import Config
from arbiter.keepalived import Keepalived
from arbiter.loop import Loop

VIP = SimpleNamespace(name="web", address="192.0.2.100")


class Ends(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        for program, name in (("/bin/sh", "keepalived"), ("/bin/sleep", "keepalived_vrrp")):
            shutil.copy(os.path.realpath(program), f"{directory}/{name}")
        pid_file = f"{directory}/vrrp.pid"
        # The parent stays: a shell would become its last command.
        script = f"{directory}/keepalived_vrrp 60 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"
        self.main = subprocess.Popen([f"{directory}/keepalived", "-c", script])
        self.addCleanup(self.main.wait)
        self.addCleanup(self.main.kill)
        deadline = time.monotonic() + 30
        while not os.path.exists(pid_file):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)
        with open(pid_file, encoding="ascii") as file:
            self.vrrp = int(file.read())
        self.addCleanup(self.end, self.vrrp)
        self.patch(module, "VRRP_PIDS", (pid_file,))
        # What it is set to is the machine's business.
        self.patch(kernel, "prioritise", lambda _pid, _priority: None)
        self.removed: List[str] = []
        self.patch(kernel, "remove_address", self.removed.append)
        self.told: List[str] = []
        self.loop = Loop()
        self.keepalived = Keepalived(
            cast(Config, SimpleNamespace(vips=[VIP])),
            self.loop,
            cast(Any, SimpleNamespace(held_on={"web": {2}})),
            cast(Any, SimpleNamespace(touch=lambda _name: None)),
            cast(Any, SimpleNamespace(log=self.told.append)),
            self.look,
        )
        self.look()
        self.assertEqual((self.keepalived.condition, self.removed), ("running", []))

    def patch(self, where: object, name: str, value: object) -> None:
        patched = mock.patch.object(where, name, value)
        patched.start()
        self.addCleanup(patched.stop)

    def end(self, pid: int) -> None:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass

    def look(self) -> None:
        self.keepalived.probe(kernel.boottime())
        self.keepalived.remove_stale(kernel.boottime())

    def test_a_vrrp_process_whose_parent_was_killed_owns_nothing_any_more(self) -> None:
        os.kill(self.main.pid, 9)
        self.main.wait()
        self.assertFalse(self.keepalived.lives())
        self.loop.wait(30)
        self.assertEqual((self.keepalived.condition, self.removed), ("stopped", ["192.0.2.100"]))
        # still there, and no reason to believe it again
        os.kill(self.vrrp, 0)
        self.look()
        self.assertEqual(self.keepalived.condition, "stopped")
        self.assertFalse(self.keepalived.lives())

    def test_a_vrrp_process_that_is_killed_owns_nothing_any_more(self) -> None:
        os.kill(self.vrrp, 9)
        self.loop.wait(30)
        self.assertEqual((self.keepalived.condition, self.removed), ("stopped", ["192.0.2.100"]))

    def test_both_ends_heard_of_at_once_are_one_end(self) -> None:
        # Both are over before the loop looks.
        vrrp = os.pidfd_open(self.vrrp)
        self.addCleanup(os.close, vrrp)
        os.kill(self.vrrp, 9)
        os.kill(self.main.pid, 9)
        self.main.wait()
        self.assertEqual(select.select([vrrp], [], [], 30)[0], [vrrp])
        self.loop.wait(30)
        self.assertEqual((self.keepalived.condition, self.removed), ("stopped", ["192.0.2.100"]))

    def test_nothing_is_heard_of_one_that_lives(self) -> None:
        self.loop.wait(0.05)
        self.look()
        self.assertTrue(self.keepalived.lives())
        self.assertEqual((self.keepalived.condition, self.removed), ("running", []))


if __name__ == "__main__":
    unittest.main()
