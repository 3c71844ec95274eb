#!/usr/bin/env python3
"""One node for the tests of the lease against a real etcd: plays systemd for the holder, the observer and a writer.

    lease-host.py SETTINGS NAMESPACE UNIT LOG

The holder runs as hotpair-lease.service would: READY=1 starts the writer, the watchdog kills, ExecStopPost= runs, and
then the holder is started again. The writer stands in the cgroup of UNIT and writes its clock into LOG.UNIT every
millisecond. Standard input takes `pid`, `stop` and `quit`; standard output says what happened, one JSON line each.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "infra/node/hotpair-lease")
WRITER = """
import os, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
while True:
    os.write(log, b"%.6f\\n" % time.clock_gettime(time.CLOCK_BOOTTIME))
    time.sleep(0.001)
"""


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def cgroup_of(unit: str) -> str:
    """As lease.writers looks for it, where systemd knows of no such unit."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        root = next(line.split()[4] for line in file if " - cgroup2 " in line)
    return os.path.join(root, "system.slice", unit)


class Host:
    def __init__(self, settings: str, namespace: str, unit: str, log: str) -> None:
        self.environment = {**os.environ, "HOTPAIR_LEASE_SETTINGS": settings}
        with open(settings, encoding="utf-8") as file:
            said = json.load(file)
        self.run = said["paths"]["run"]
        self.watchdog = said["lease"]["watchdog"]
        os.makedirs(self.run, exist_ok=True)
        self.namespace = namespace
        self.log = f"{log}.{unit}"
        self.group = cgroup_of(unit)
        os.makedirs(self.group, exist_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(self.run, "notify"))
        self.arbiter = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.arbiter.bind(os.path.join(self.run, "quorum.sock"))
        self.environment["NOTIFY_SOCKET"] = os.path.join(self.run, "notify")
        self.holder: Optional[subprocess.Popen[bytes]] = None
        self.observer: Optional[subprocess.Popen[bytes]] = None
        self.writer: Optional[subprocess.Popen[bytes]] = None
        self.fed = 0.0
        self.ready = False
        self.start_at = 0.0
        self.seen = ""
        self.wanted = True

    def say(self, what: str, **more: Any) -> None:
        print(json.dumps({"at": round(now(), 6), "what": what, **more}), flush=True)

    def command(self, *words: str) -> List[str]:
        # Not `ip netns exec`: it mounts a /sys without the cgroups.
        # The priority is the units'.
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}", "nice", "-n", "-15"]
        return [*enter, sys.executable, "-B", PROGRAM, *words]

    def loop(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.notify, selectors.EVENT_READ)
        selector.register(self.arbiter, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        quiet: Dict[str, Any] = {**self.environment}
        del quiet["NOTIFY_SOCKET"]
        self.observer = subprocess.Popen(self.command("observe"), env=quiet, start_new_session=True)
        while True:
            for key, _ in selector.select(0.005):
                if key.fileobj is self.notify:
                    self.heard(self.notify.recv(4096).decode())
                elif key.fileobj is self.arbiter:
                    self.told(json.loads(self.arbiter.recv(4096)))
                elif not self.ordered(sys.stdin.readline().strip()):
                    return
            self.supervise()

    def heard(self, text: str) -> None:
        if "WATCHDOG=1" in text:
            self.fed = now()
        if "READY=1" in text and not self.ready:
            self.ready = True
            self.say("ready")
            self.writer = subprocess.Popen([sys.executable, "-c", WRITER, self.log], preexec_fn=self.enter)

    def enter(self) -> None:
        with open(os.path.join(self.group, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write(str(os.getpid()))

    def told(self, datagram: Dict[str, Any]) -> None:
        seen = json.dumps({key: datagram[key] for key in ("holder", "insync", "epoch")})
        if seen != self.seen:
            self.seen = seen
            self.say("observed", datagram=datagram)

    def ordered(self, order: str) -> bool:
        if order == "pid":
            self.say("pid", pid=None if self.holder is None else self.holder.pid)
        elif order == "stop" and self.holder is not None:
            self.wanted = False
            self.holder.send_signal(signal.SIGTERM)
        elif order == "start":
            self.wanted = True
        elif order in ("quit", ""):
            self.wanted = False
            for process in (self.holder, self.observer, self.writer):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
            os.rmdir(self.group)
            return False
        return True

    def supervise(self) -> None:
        if self.writer is not None and self.writer.poll() is not None:
            self.say("writer ended")
            self.writer = None
        if self.holder is None:
            if self.wanted and now() >= self.start_at and self.writer is None:
                self.ready = False
                self.holder = subprocess.Popen(self.command("hold"), env=self.environment, start_new_session=True)
        elif self.holder.poll() is not None:
            code = self.holder.returncode
            self.holder = None
            self.say("ended", code=code)
            environment = {**self.environment, "SERVICE_RESULT": "success" if code == 0 else "signal"}
            subprocess.run(self.command("stopped"), env=environment, check=False, stdout=subprocess.DEVNULL)
            if self.writer is not None:
                # What is bound to the unit is stopped with it.
                self.writer.kill()
                self.writer.wait()
            self.start_at = now() + 0.1
        elif self.ready and now() - self.fed > self.watchdog:
            self.say("watchdog")
            self.holder.kill()
            self.holder.wait()


if __name__ == "__main__":
    Host(*sys.argv[1:5]).loop()
