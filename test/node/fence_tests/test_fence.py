"""Who is shot by whom, when, and what is said of it. The agent is a real program that behaves as the agents of the
fence-agents project do: options on standard input, exit code 2 of `status` for off."""

import contextlib
import io
import json
import os
import socket
import stat
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, Dict, Iterator, List, Optional

from fence import record, right, verbs
from fence.lab import main as lab
from fence.settings import Settings, SettingsError, complaints, load, read_options

# A power controller in a file: `power` on or off, `log` with every action, `slow` seconds for an off, `broken`.
AGENT = """#!{python}
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
options = dict(line.rstrip("\\n").split("=", 1) for line in sys.stdin)
with open(here + "/log", "a") as log:
    log.write(json.dumps([sys.argv[1:], options]) + "\\n")
def has(name):
    return os.path.exists(here + "/" + name)
if has("broken"):
    sys.exit("cannot log in with password " + options["password"])
if options["action"] == "off":
    if has("slow"):
        time.sleep(30)
    if not has("stuck"):
        open(here + "/off", "w").close()
elif options["action"] == "status":
    sys.exit(2 if has("off") else 0)
"""
SECRET = "sesame-open"


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.here = self._folder.name
        self.addCleanup(self._folder.cleanup)
        agent = os.path.join(self.here, "agent")
        with open(agent, "w", encoding="utf-8") as file:
            file.write(AGENT.format(python=sys.executable))
        os.chmod(agent, 0o755)
        with open(self.path("options"), "w", encoding="utf-8") as file:
            file.write(f"ip=198.51.100.9\npassword={SECRET}\n")
        os.chmod(self.path("options"), 0o600)
        written = {
            "version": 1,
            "pair": "shop",
            "node": {"id": "a", "name": "node-a"},
            "peer": {"id": "b", "name": "node-b"},
            "agent": "fence_test",
            "command": [agent],
            "options": self.path("options"),
            "secrets": ["password"],
            "timeout": 3,
            "paths": {"run": self.here, "state": self.path("state.json"), "audit": self.path("audit.log")},
        }
        with open(self.path("fencing.json"), "w", encoding="utf-8") as file:
            json.dump(written, file)
        os.environ["HOTPAIR_FENCE_SETTINGS"] = self.path("fencing.json")
        os.environ["HOTPAIR_ARBITER_SOCKET"] = self.path("arbiter.sock")
        self.settings: Settings = load()

    def path(self, name: str) -> str:
        return os.path.join(self.here, name)

    def put(self, name: str, text: str = "") -> None:
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def holds(self, seconds: float) -> None:
        self.put("holder", f"{right.now() + seconds:.3f}\n")

    def run_verb(self, *words: str) -> "tuple[int, str, str]":
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = verbs.main(words)
        return code, out.getvalue(), err.getvalue()

    def actions(self) -> List[str]:
        try:
            with open(self.path("log"), encoding="utf-8") as file:
                return [json.loads(line)[1]["action"] for line in file]
        except FileNotFoundError:
            return []

    def last(self) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(self.run_verb("status", "--json")[1])["last"]
        return found

    def audited(self) -> List[Dict[str, Any]]:
        with open(self.path("audit.log"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]


class Shooting(Case):
    def test_the_holder_shoots_and_confirms(self) -> None:
        self.holds(60)
        code, out, _ = self.run_verb("peer", "--json")
        self.assertEqual(code, 0)
        said = json.loads(out)
        self.assertEqual((said["outcome"], said["by"]), ("confirmed", "operator"))
        self.assertEqual(self.actions(), ["off", "status"])
        self.assertEqual(self.last()["elapsedMs"], said["elapsedMs"])
        entry = self.audited()[-1]
        self.assertEqual((entry["vip"], entry["to"]), ("fencing", "off"))

    def test_nobody_else_does(self) -> None:
        for deadline in (None, 0.0, -1.0, right.MARGIN / 2):
            if deadline is not None:
                self.holds(deadline)
            code, _, err = self.run_verb("peer")
            self.assertEqual(code, 1)
            self.assertRegex(err, "only its holder may shoot node-b")
        self.assertEqual(self.actions(), [])
        self.assertFalse(os.path.exists(self.path("state.json")))

    def test_an_operator_who_says_that_it_is_down_may(self) -> None:
        code, out, _ = self.run_verb("peer", verbs.CONSENT)
        self.assertEqual(code, 0, out)
        self.assertEqual(self.last()["why"], "the operator says that it is down")

    def test_a_lease_that_ends_meanwhile_ends_the_agent(self) -> None:
        self.put("slow")
        self.holds(0.6)
        began = time.monotonic()
        code, out, _ = self.run_verb("peer")
        self.assertEqual(code, 1)
        self.assertLess(time.monotonic() - began, 1.5)
        self.assertRegex(out, "NOT confirmed off .*lease")
        self.assertFalse(os.path.exists(self.path("off")))

    def test_a_lease_that_is_renewed_lets_it_go_on(self) -> None:
        stop = threading.Event()

        def renew() -> None:
            while not stop.wait(0.05):
                right_now = right.now() + 0.8
                with open(self.path("holder.new"), "w", encoding="ascii") as file:
                    file.write(f"{right_now:.3f}\n")
                os.replace(self.path("holder.new"), self.path("holder"))

        self.put("stuck")
        self.holds(0.8)
        renewing = threading.Thread(target=renew)
        renewing.start()
        # It reads a holder file that is replaced all the time; only the time that was stated ends it.
        code, out, _ = self.run_verb("peer")
        stop.set()
        renewing.join()
        self.assertEqual(code, 1)
        self.assertRegex(out, r"not confirmed within 3 s: off: exit code 0; status: on")
        self.assertGreater(self.actions().count("off"), 1)

    def test_an_off_that_hangs_leaves_time_for_a_look(self) -> None:
        self.holds(60)
        self.put("slow")
        self.put("off")
        code, _, _ = self.run_verb("peer")
        self.assertEqual(code, 0)
        self.assertLess(self.last()["elapsedMs"], 3_000)

    def test_one_at_a_time(self) -> None:
        self.holds(60)
        with record.Lock(self.settings):
            code, _, err = self.run_verb("peer")
        self.assertEqual((code, self.actions()), (1, []))
        self.assertRegex(err, "shoots already")

    def test_options_come_on_standard_input_and_are_shown_nowhere(self) -> None:
        self.holds(60)
        self.put("broken")
        code, out, err = self.run_verb("peer")
        self.assertEqual(code, 1)
        with open(self.path("log"), encoding="utf-8") as file:
            argv, options = json.loads(file.readline())
        self.assertEqual((argv, options["password"]), ([], SECRET))
        with open(self.path("state.json"), encoding="utf-8") as file:
            state = file.read()
        self.assertIn("cannot log in", state)
        for text in (out, err, state, json.dumps(self.audited())):
            self.assertNotIn(SECRET, text)


class Takeover(Case):
    def arbiter(self, peer: Optional[Dict[str, Any]]) -> None:
        """Answers once, as hotpair-arbiter does."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(self.path("arbiter.sock"))
        server.listen(1)

        def answer() -> None:
            caller, _ = server.accept()
            with caller:
                caller.recv(4096)
                caller.sendall(json.dumps({"arbiter": {}, "peer": peer}).encode() + b"\n")
            server.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)

    def word(self, lease: Optional[bool] = False, age: Optional[int] = 20) -> Dict[str, Any]:
        return {"heardMsAgo": {"heartbeat": age, "public": None}, "lease": lease}

    def taken(self, origin: str) -> "tuple[int, str]":
        self.holds(60)
        self.put("taken", f"{origin}\n")
        code, out, _ = self.run_verb("takeover")
        return code, out

    def test_a_peer_that_gave_the_lease_back_is_not_shot(self) -> None:
        code, out = self.taken("")
        self.assertEqual((code, self.actions()), (0, []))
        self.assertRegex(out, "node-b is not shot: the lease was free")

    def test_nor_is_anybody_when_it_was_this_nodes_own(self) -> None:
        self.assertEqual((self.taken("a")[0], self.actions()), (0, []))

    def test_a_peer_that_says_nothing_is_shot(self) -> None:
        code, _ = self.taken("b")
        self.assertEqual((code, self.actions()), (0, ["off", "status"]))
        self.assertEqual(self.last()["by"], "takeover")

    def test_it_is_shot_once_for_each_time_that_the_lease_is_taken(self) -> None:
        self.taken("b")
        os.unlink(self.path("off"))
        self.assertIn("not shot: it was for this already: confirmed", self.run_verb("takeover")[1])
        self.assertEqual(self.actions(), ["off", "status"])
        time.sleep(0.02)
        self.taken("b")
        self.assertEqual(self.actions(), 2 * ["off", "status"])

    def test_a_peer_that_runs_and_says_that_it_stopped_is_not_shot(self) -> None:
        self.arbiter(self.word())
        code, out = self.taken("b")
        self.assertEqual((code, self.actions()), (0, []))
        self.assertRegex(out, r"says that it does not hold the lease \(20 ms ago\)")

    def test_old_words_and_others_prove_nothing(self) -> None:
        for said in (
            self.word(age=201),
            self.word(age=None),
            self.word(lease=True),
            self.word(lease=None),
            None,
        ):
            self.assertEqual(right.peer_runs_without({"peer": said}), "", said)
        self.assertEqual(right.peer_runs_without(None), "")
        self.assertEqual(right.peer_runs_without({}), "")

    def test_an_attempt_that_was_interrupted_is_taken_up_again(self) -> None:
        entry = {
            "outcome": "running",
            "by": "takeover",
            "boot": record.boot_id(),
            "elapsedMs": 0,
            "why": "",
            "detail": "",
        }
        record.write(self.settings, last=entry)
        self.assertEqual(self.last()["outcome"], "unconfirmed")
        self.assertEqual((self.taken("a")[0], self.actions()), (0, ["off", "status"]))
        record.write(self.settings, last={**entry, "boot": "another"})
        self.assertEqual((self.taken("a")[0], self.actions()), (0, ["off", "status"]))

    def test_without_the_lease_nobody_is_shot(self) -> None:
        self.put("taken", "b\n")
        code, out, _ = self.run_verb("takeover")
        self.assertEqual((code, self.actions()), (1, []))
        self.assertRegex(out, "NOT confirmed off .*does not hold the lease")

    def test_a_promotion_that_waits_goes_on_when_the_operator_says_so(self) -> None:
        self.holds(60)
        self.put("taken", "b\n")
        self.put("stuck")
        said: List[Any] = []
        waiting = threading.Thread(target=lambda: said.append(verbs.takeover(load(), True)))
        with contextlib.redirect_stderr(io.StringIO()):
            waiting.start()
            while "status" not in self.actions():
                time.sleep(0.02)
            self.assertEqual(verbs.main(["acknowledge"]), 1)
            with contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(verbs.main(["acknowledge", verbs.CONSENT]), 0)
            waiting.join(10)
        self.assertEqual(said[0]["outcome"], "acknowledged")
        self.assertEqual(self.last()["outcome"], "acknowledged")
        self.assertEqual([entry["to"] for entry in self.audited()], ["not confirmed off", "acknowledged"])

    def test_a_promotion_that_waits_lets_an_operators_shot_end_first(self) -> None:
        self.holds(60)
        self.put("taken", "b\n")
        said: List[Any] = []
        waiting = threading.Thread(target=lambda: said.append(verbs.takeover(load(), True)))
        with contextlib.redirect_stderr(io.StringIO()):
            with record.Lock(self.settings):
                waiting.start()
                time.sleep(0.2)
                self.assertEqual(self.actions(), [])
            waiting.join(10)
        self.assertEqual(said[0]["outcome"], "confirmed")


class Testing(Case):
    def test_it_tells_the_power_and_shoots_nobody(self) -> None:
        code, out, _ = self.run_verb("test", "--json")
        self.assertEqual((code, json.loads(out)["power"], self.actions()), (0, "on", ["status"]))
        self.put("off")
        self.assertEqual(json.loads(self.run_verb("test", "--json")[1])["power"], "off")
        self.put("broken")
        code, out, _ = self.run_verb("test")
        self.assertEqual(code, 1)
        self.assertRegex(out, "does not tell node-b's power: cannot log in with password …")
        self.assertEqual(self.run_verb("status")[1].splitlines()[0], "node-b by fence_test: never shot")

    def test_settings_and_options_are_checked(self) -> None:
        self.assertEqual(complaints(self.settings), [])
        os.chmod(self.path("options"), 0o640)
        self.assertRegex(complaints(self.settings)[0], "mode 0640")
        os.chmod(self.path("agent"), stat.S_IRUSR)
        if os.geteuid() == 0:
            self.assertRegex(complaints(self.settings)[0], "cannot be started: is the package of fence_test installed")
        for wrong in ("action=off\n", f"password {SECRET}\n"):
            self.put("options", wrong)
            with self.assertRaises(SettingsError) as raised:
                read_options(self.settings)
            self.assertNotIn(SECRET, str(raised.exception))
        os.environ["HOTPAIR_FENCE_SETTINGS"] = self.path("absent.json")
        self.assertEqual(self.run_verb("status")[0], 2)


class Lab(unittest.TestCase):
    """The agent for machines of the lab, against a switch that is a thread."""

    @contextlib.contextmanager
    def switch(self, answer: Dict[str, Any], heard: List[Any]) -> Iterator[int]:
        server = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            caller, _ = server.accept()
            with caller:
                heard.append(json.loads(caller.recv(4096)))
                caller.sendall(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(5)
        server.close()

    def ask(self, answer: Dict[str, Any], action: str) -> "tuple[int, Any]":
        heard: List[Any] = []
        with self.switch(answer, heard) as port:
            given = f"ip=127.0.0.1\nport={port}\nkey=k\nplug=node-b\naction={action}\n"
            before = sys.stdin
            sys.stdin = io.StringIO(given)
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    code = lab()
            finally:
                sys.stdin = before
        return code, heard[0]

    def test_exit_codes_are_those_of_every_agent(self) -> None:
        self.assertEqual(self.ask({"power": "on"}, "status")[0], 0)
        self.assertEqual(self.ask({"power": "off"}, "status")[0], 2)
        self.assertEqual(self.ask({"error": "no such host"}, "status")[0], 1)
        self.assertEqual(self.ask({"power": "off"}, "off"), (0, {"key": "k", "host": "node-b", "action": "off"}))
        self.assertEqual(self.ask({"power": "off"}, "monitor")[1]["action"], "status")


if __name__ == "__main__":
    unittest.main()
