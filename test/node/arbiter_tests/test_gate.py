"""A veto is carried out, and it ends: by its deadline, by the death of the arbiter, by its hanging."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Optional

from arbiter import gate, kernel

# A VIP that no machine has: closing must not fail because there is nothing to remove.
ADDRESS = "192.0.2.1"


class Gatekeeper(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="hotpair-gate-")
        self.keeper = gate.Gatekeeper({"web": ADDRESS}, self.directory)
        self.addCleanup(self.cleanup)

    def cleanup(self) -> None:
        os.close(self.keeper._write_end)
        os.waitpid(self.keeper.pid, 0)
        for name in os.listdir(self.directory):
            os.unlink(f"{self.directory}/{name}")
        os.rmdir(self.directory)

    def wait(self, closed: Optional[bool], within: float) -> bool:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if gate.read_gate("web", self.directory) is closed:
                return True
            time.sleep(0.005)
        return False

    def test_it_closes_and_opens_by_itself_at_the_deadline(self) -> None:
        self.keeper.close_until("web", kernel.boottime() + 0.3)
        self.assertTrue(self.wait(True, 2))
        self.assertTrue(self.wait(False, 5))

    def test_it_opens_when_told(self) -> None:
        self.keeper.close_until("web", kernel.boottime() + 60)
        self.assertTrue(self.wait(True, 2))
        self.keeper.open("web")
        self.assertTrue(self.wait(False, 2))

    def test_a_renewal_keeps_it_closed(self) -> None:
        for _ in range(5):
            self.keeper.close_until("web", kernel.boottime() + 2.0)
            time.sleep(0.05)
        self.assertTrue(self.wait(True, 1))

    def test_the_address_is_gone_before_keepalived_hears_of_it(self) -> None:
        # Told first, keepalived sends its farewell first, and the peer has the address while it is still here.
        read_end, write_end = os.pipe()
        os.write(write_end, f"web {kernel.boottime() + 60:.3f}\n".encode())
        os.close(write_end)
        seen = []

        def remove(address: str) -> None:
            seen.append((address, gate.read_gate("web", self.directory)))

        gate._keep(read_end, {"web": ADDRESS}, self.directory, kernel.boottime, remove)
        os.close(read_end)
        self.assertEqual(seen, [(ADDRESS, None)])
        self.assertTrue(gate.read_gate("web", self.directory))

    def test_a_touch_writes_what_was_there(self) -> None:
        self.keeper.close_until("web", kernel.boottime() + 60)
        self.assertTrue(self.wait(True, 2))
        self.keeper.touch("web")
        time.sleep(0.1)
        self.assertIs(gate.read_gate("web", self.directory), True)


class ArbiterGone(unittest.TestCase):
    PROGRAM = """
import sys, time
from arbiter import gate, kernel
keeper = gate.Gatekeeper({"web": "192.0.2.1"}, sys.argv[1])
keeper.close_until("web", kernel.boottime() + float(sys.argv[2]))
print("closed", flush=True)
time.sleep(60)
"""

    def vetoing(self, number: int, veto: float) -> float:
        """Seconds until the gate is open after a signal to the process that closed it."""
        with tempfile.TemporaryDirectory(prefix="hotpair-gate-") as directory:
            child = subprocess.Popen(
                [sys.executable, "-B", "-c", self.PROGRAM, directory, str(veto)], stdout=subprocess.PIPE, text=True
            )
            try:
                (child.stdout or self.fail("no output")).readline()
                deadline = time.monotonic() + 2
                while gate.read_gate("web", directory) is not True and time.monotonic() < deadline:
                    time.sleep(0.005)
                self.assertIs(gate.read_gate("web", directory), True)
                child.send_signal(number)
                at = time.monotonic()
                while gate.read_gate("web", directory) is not False and time.monotonic() < at + 10:
                    time.sleep(0.005)
                return time.monotonic() - at
            finally:
                child.kill()
                child.communicate()

    def test_killed(self) -> None:
        self.assertLess(self.vetoing(signal.SIGKILL, 60), 5)

    def test_hung(self) -> None:
        took = self.vetoing(signal.SIGSTOP, 0.5)
        self.assertLess(took, 5)
