"""Watches on one server of a pair with state whether its database or its replicated disk could acknowledge a write, who
holds the lease and who is in sync, for a drill. Independent of hotpair's daemons: it reads the kernel, the database and
etcd itself.

Sent over SSH, run as `python3 -u -c 'exec(...)' SECONDS LOOK_MS database PORT` or `... disk MINOR...`. Beside observer.py, in
a process of its own, so that the watch over the addresses is never late for a database that does not answer. Writes one
JSON object per line on standard output, times in nanoseconds of CLOCK_REALTIME as strings:
  {"hello": at, "boot": id}      once
  {"state": at, "lease": bool, ...}   at every change
       lease    the deadline in /run/hotpair/holder has not passed (CLOCK_BOOTTIME)
    of a database:
       run      there is a database process
       stopped  it is stopped by a signal
       listen   its port accepts connections
       ro       @@global.read_only as it last answered since it started; null: it has not answered yet
       semi     whether its commits wait for the other server's acknowledgement, as it last answered; null as above
    of a disk:
       primary  a device is primary and its writes are not suspended
       joined   every such device is connected to the other node's
       heard    a device of this node is connected to the other node's
  {"insync": at, "revision": n, "nodes": ["a", "b"]}   at every change of the key, as this node's nearest member has it
  {"alive": at, "late": ns}      every 200 ms, with the longest delay of a look since the last one
Ends when standard input closes, when nobody reads, or after SECONDS.
"""

import base64
import http.client
import json
import os
import re
import select
import ssl
import subprocess
import sys
import time

PORT_EVERY = 3
PROCESS_EVERY = 10
HOLDER = "/run/hotpair/holder"
LEASE = "/etc/hotpair/lease.json"
DATABASE = "/etc/hotpair/mariadb.json"
CLIENT = ["mariadb", "--batch", "--skip-column-names", "--unbuffered", "--connect-timeout=2"]
QUESTION = b"SELECT IF(@@global.read_only, 1, 0), IF(@@global.rpl_semi_sync_master_enabled, 1, 0);\n"
INSYNC_SECONDS = 0.1


def say(record):
    # Whole lines, unbuffered, shorter than PIPE_BUF: two processes may write. A reader that is gone ends us here.
    os.write(1, (json.dumps(record, separators=(",", ":")) + "\n").encode())


def held():
    """Whether this node holds the lease, by the deadline that its holder wrote."""
    try:
        with open(HOLDER, encoding="ascii") as file:
            return float(file.read().split()[0]) > time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, ValueError, IndexError):
        return False


def process():
    """Number of the database's process; None when there is none. hotpair's own is preferred to any other."""
    found = None
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/comm", encoding="ascii", errors="replace") as file:
                if file.read().strip() != "mariadbd":
                    continue
            with open(f"/proc/{name}/cgroup", encoding="utf-8", errors="replace") as file:
                ours = "hotpair-mariadb" in file.read()
        except OSError:
            continue
        if ours:
            return int(name)
        found = int(name)
    return found


def condition(pid):
    """Letter of proc_pid_stat(5), e.g. "T" for stopped; None when the process is gone or dead."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            letter = file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
    return None if letter in "ZXx" else letter


def listens(port):
    """Whether somebody listens on the TCP port, of either family (proc_net_tcp: state 0A)."""
    wanted = f":{port:04X}"
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path, encoding="ascii") as file:
                for line in file:
                    words = line.split()
                    if len(words) > 3 and words[3] == "0A" and words[1].endswith(wanted):
                        return True
        except OSError:
            pass
    return False


def socket_option():
    try:
        with open(DATABASE, encoding="utf-8") as file:
            return ["--socket=" + json.load(file)["socket"]]
    except (OSError, ValueError, KeyError):
        return []


class Database:
    """One open client over the local socket, asked again and again; never waited for."""

    def __init__(self):
        self.child = None
        self.asked = False
        self.pending = b""
        self.last_try = 0

    def ask(self):
        """Starts a question unless one is open; the answer comes through `answers`."""
        if self.child is None:
            now = time.monotonic_ns()
            if now - self.last_try < 50_000_000:
                return
            self.last_try = now
            try:
                self.child = subprocess.Popen(
                    CLIENT + socket_option(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                    # The client is no observer: it must not run ahead of everybody.
                    preexec_fn=lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
                )
            except OSError:
                return
            os.set_blocking(self.child.stdout.fileno(), False)
            self.asked, self.pending = False, b""
        if not self.asked:
            try:
                os.write(self.child.stdin.fileno(), QUESTION)
                self.asked = True
            except OSError:
                self.forget()

    def answers(self):
        """The latest answer that has come, as (read-only, waits for acknowledgements); None when none has. Raises EOFError
        when it went away."""
        if self.child is None:
            return None
        try:
            data = os.read(self.child.stdout.fileno(), 4096)
        except BlockingIOError:
            return None
        if not data:
            self.forget()
            raise EOFError
        self.pending += data
        if b"\n" not in self.pending:
            return None
        *lines, self.pending = self.pending.split(b"\n")
        self.asked = False
        read_only, waits = lines[-1].split(b"\t")
        return read_only != b"0", waits == b"1"

    def forget(self):
        if self.child is None:
            return
        self.child.kill()
        for pipe in (self.child.stdin, self.child.stdout):
            pipe.close()
        self.child.wait()
        self.child = None

    def descriptors(self):
        return [] if self.child is None else [self.child.stdout.fileno()]


def watch_insync(parent):
    """In a process of its own, since an authority that does not answer would hold up everything else."""
    try:
        with open(LEASE, encoding="utf-8") as file:
            settings = json.load(file)
    except (OSError, ValueError):
        return
    context = ssl.create_default_context(cafile=settings["ca"])
    context.check_hostname = False
    context.load_cert_chain(settings["certificate"], settings["key"])
    own = settings["node"]["id"]
    order = [own, "witness", settings["peer"]["id"]]
    endpoints = [settings["endpoints"][name] for name in order if name in settings["endpoints"]]
    key = base64.b64encode(f"/hotpair/{settings['pair']}/insync".encode()).decode()
    question = json.dumps({"key": key, "serializable": True})
    last, connection, turn = None, None, 0
    while os.getppid() == parent:
        try:
            if connection is None:
                host = endpoints[turn % len(endpoints)].split("://")[-1].rstrip("/")
                connection = http.client.HTTPSConnection(host, timeout=1, context=context)
            connection.request("POST", "/v3/kv/range", question)
            answer = json.loads(connection.getresponse().read())
            at = time.time_ns()
            kvs = answer.get("kvs", [])
            revision = int(kvs[0]["mod_revision"]) if kvs else 0
            nodes = sorted(json.loads(base64.b64decode(kvs[0]["value"]))) if kvs else []
            if (revision, nodes) != last:
                last = (revision, nodes)
                say({"insync": str(at), "revision": revision, "nodes": nodes})
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            if connection is not None:
                connection.close()
            connection, turn = None, turn + 1
        time.sleep(INSYNC_SECONDS)


class DatabaseStore:
    """A MariaDB server: the process, its port, and what it answers when it is asked."""

    def __init__(self, port):
        self.port = int(port)
        self.client = Database()
        self.pid, self.listen, self.turn = None, False, 0
        self.read_only, self.semi = None, None

    def descriptors(self):
        return self.client.descriptors()

    def hear(self):
        """What has come since the last look; never waits."""
        try:
            answer = self.client.answers()
            if answer is not None:
                self.read_only, self.semi = answer
        except EOFError:
            pass
        self.letter = None if self.pid is None else condition(self.pid)

    def look(self):
        self.letter = None if self.pid is None else condition(self.pid)
        if self.letter is None and (self.pid is not None or self.turn % PROCESS_EVERY == 0):
            # What the old one may still have said is not the new one's word.
            self.client.forget()
            self.pid, self.read_only, self.semi = process(), None, None
            self.letter = None if self.pid is None else condition(self.pid)
        if self.turn % PORT_EVERY == 0 or self.letter is None:
            self.listen = self.letter is not None and listens(self.port)
        if self.letter is not None and self.letter not in "Tt":
            self.client.ask()
        self.turn += 1

    def state(self):
        runs = self.letter is not None
        return {
            "run": runs,
            "listen": runs and self.listen,
            "ro": self.read_only,
            "semi": self.semi,
            "stopped": self.letter in ("T", "t"),
        }


DRBD = "/proc/drbd"
# ` 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----`: the last word begins with `s` where writes are
# suspended (drbd_proc.c of driver 8.4)
DEVICE = re.compile(r"\s*(\d+): cs:(\w+) ro:(\w+)/\w+ ds:\S+(?:\s+\w\s+(\S+))?")
# drbd.conf(5), "connection states": everything else has an established connection
APART = {
    "Unconfigured",
    "StandAlone",
    "Disconnecting",
    "Unconnected",
    "Timeout",
    "BrokenPipe",
    "NetworkFailure",
    "ProtocolError",
    "TearDown",
    "WFConnection",
    "WFReportParams",
    "Connecting",
}


def devices():
    """(minor, is primary and writes, is connected) of every device that is configured; None: there is no driver."""
    try:
        with open(DRBD, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    if not text.startswith("version: 8."):
        return devices_of_9()
    found = []
    for line in text.splitlines():
        match = DEVICE.match(line)
        if match is not None:
            minor, connection, role, flags = match.groups()
            found.append((int(minor), role == "Primary" and not (flags or "").startswith("s"), connection not in APART))
    return found


def devices_of_9():
    """The same of driver 9, which tells /proc nothing: drbdsetup-status(8)."""
    try:
        said = subprocess.run(["drbdsetup", "status", "--json"], stdout=subprocess.PIPE, timeout=2, check=True).stdout
        found = []
        for resource in json.loads(said):
            writes = resource["role"] == "Primary" and not resource.get("suspended", False)
            joined = any(each["connection-state"] == "Connected" for each in resource.get("connections", []))
            found += [(int(each["minor"]), writes, joined) for each in resource["devices"]]
        return found
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


class DiskStore:
    """Replicated devices, by their minor numbers."""

    def __init__(self, *minors):
        self.minors = {int(minor) for minor in minors}
        self.found = []

    def descriptors(self):
        return []

    def hear(self):
        pass

    def look(self):
        self.found = [each for each in devices() or [] if each[0] in self.minors]

    def state(self):
        writing = [joined for _, writes, joined in self.found if writes]
        return {
            "primary": bool(writing),
            "joined": all(writing),
            "heard": any(joined for _, _, joined in self.found),
        }


def main():
    lifetime, look_ns = float(sys.argv[1]), int(sys.argv[2]) * 1_000_000
    store = {"database": DatabaseStore, "disk": DiskStore}[sys.argv[3]](*sys.argv[4:])
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        say({"hello": str(time.time_ns()), "boot": file.read().strip()})
    parent = os.getpid()
    if os.fork() == 0:
        try:
            watch_insync(parent)
        finally:
            os._exit(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        try:
            os.nice(-19)
        except OSError:
            pass
    end = time.monotonic() + lifetime
    before = None
    next_look = time.monotonic_ns()
    next_alive, worst = next_look, 0
    store.look()
    while time.monotonic() < end:
        wait = max(0, next_look - time.monotonic_ns())
        ready, _, _ = select.select([0, *store.descriptors()], [], [], wait / 1e9)
        if 0 in ready and not os.read(0, 4096):
            return
        store.hear()
        now = time.monotonic_ns()
        if now >= next_look:
            worst = max(worst, now - next_look)
            # No look is made up for: what was missed is in `late`.
            next_look = now + look_ns
            store.look()
        state = {"lease": held(), **store.state()}
        if state != before:
            before = state
            say({"state": str(time.time_ns()), **state})
        if now >= next_alive:
            say({"alive": str(time.time_ns()), "late": worst})
            next_alive, worst = now + 200_000_000, 0


try:
    main()
except (BrokenPipeError, KeyboardInterrupt):
    pass
