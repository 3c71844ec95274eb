"""The running arbiter: one loop that observes, asks the rules, carries out, and tells the peer.

Everything in the loop is non-blocking and takes microseconds; what can be slow is the scribe's. Observation is of facts
(addresses on interfaces, adverts, processes), continuously; keepalived's notifications only make it faster.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import stat
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from . import beacon, config, gate, kernel
from .lock import Claim, PairLock
from .rules import NEVER, Event, Gate, PeerVip, Progress, Rules, Verdict, Word
from .scribe import Scribe

RUN = "/run/hotpair"
SOCKET_PATH = f"{RUN}/arbiter.sock"
FIFO_PATH = f"{RUN}/vrrp.fifo"
SETTLED_PATH = f"{RUN}/settled"
LOCK_PATH = f"{RUN}/lock.json"
PEER_SEEN_RUN = f"{RUN}/peer-seen"
PEER_SEEN_DISK = "/var/lib/hotpair/peer-seen"
SESSION_PATH = "/var/lib/hotpair/beacon-session"
KEEPALIVED_PIDS = ("/run/keepalived.pid", "/run/keepalived/keepalived.pid")
VRRP_PIDS = ("/run/vrrp.pid", "/run/keepalived/vrrp.pid")
ACTIVE_TARGET = "hotpair-active.target"

# A VIP that keepalived says it does not own, while it lives, is removed after this (seconds).
STALE_ALIVE = 0.100
HAPROXY_INTERVAL = 0.2
HAPROXY_TIMEOUT = 0.5
ADMIN_TIMEOUT = 0.5
GATEWAY_INTERVAL = 0.5
# The answer to an ARP claim of a third host, at most this often (seconds): RFC 5227 §2.4 warns of ARP storms
DEFEND_INTERVAL = 0.2

STATES = {"MASTER": "master", "BACKUP": "backup", "FAULT": "fault", "STOP": "stopped", "DELETED": "stopped"}


@dataclass
class Waiting:
    """A command whose answer takes time."""

    connection: socket.socket
    deadline: float
    # the answer, once there is one
    check: Callable[[float], Optional[Dict[str, Any]]]
    on_timeout: Callable[[], Dict[str, Any]]


class Haproxy:
    """Asks HAProxy's socket again and again whether it lives, without ever waiting for it."""

    def __init__(self, path: str, dead_after: float) -> None:
        self.path = path
        self.dead_after = dead_after
        self.answered_at: Optional[float] = None
        self.asked_since: Optional[float] = None
        self._socket: Optional[socket.socket] = None
        self._asked_at = NEVER

    def step(self, now: float) -> str:
        """`ok`, `dead`, or `none` while nothing is known yet."""
        if self.asked_since is None:
            self.asked_since = now
        self._poll(now)
        if self._socket is None and now - self._asked_at >= HAPROXY_INTERVAL:
            self._ask(now)
        silent = now - (self.answered_at if self.answered_at is not None else self.asked_since)
        if silent >= self.dead_after:
            return "dead"
        return "ok" if self.answered_at is not None else "none"

    def _ask(self, now: float) -> None:
        self._asked_at = now
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.connect(self.path)
            sock.send(b"show version\n")
        except OSError:
            # not there, refused, or its backlog is full: no answer in any case
            sock.close()
            return
        self._socket = sock

    def _poll(self, now: float) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            answered = bool(sock.recv(1024))
        except BlockingIOError:
            if now - self._asked_at < HAPROXY_TIMEOUT:
                return
            answered = False
        except OSError:
            answered = False
        if answered:
            self.answered_at = now
        sock.close()
        self._socket = None


class Arbiter:
    def __init__(self, settings: config.Config, keys: List[beacon.Key]) -> None:
        now = kernel.boottime()
        self.config = settings
        self.started = now
        self.scribe = Scribe()
        self.gatekeeper = gate.Gatekeeper({vip.name: vip.address for vip in settings.vips})
        kernel.prioritise(0, 10)
        kernel.stay_in_memory()
        self.keyring = beacon.Keyring(keys)
        self.session = self._new_session()
        self.sequence = 0
        self.replay = beacon.Replay(*_peer_seen())
        self.rules = Rules(settings.settings, now, settled=os.path.exists(SETTLED_PATH))
        self.lock = PairLock(settings.node, _saved_claim(now))
        self.progress = Progress()
        self.haproxy = (
            None
            if settings.haproxy_socket is None
            else Haproxy(settings.haproxy_socket, settings.settings.service_dead)
        )

        self.selector = selectors.DefaultSelector()
        self.netlink = kernel.Netlink()
        self.selector.register(self.netlink.socket, selectors.EVENT_READ, self._on_netlink)
        self.listener = self._listen()
        self.selector.register(self.listener, selectors.EVENT_READ, self._on_connect)
        self.fifo = -1
        self.fifo_inode = 0
        self.fifo_rest = b""
        self.beacons: Dict[str, socket.socket] = {}
        self.vrrp: Optional[socket.socket] = None
        self.arp: Dict[str, socket.socket] = {}
        self.gateway: Optional[socket.socket] = None
        self.indexes: Dict[str, int] = {}
        self.macs: Dict[int, bytes] = {}
        self.held_on: Dict[str, Set[int]] = {vip.name: set() for vip in settings.vips}

        self.heard_at: Dict[str, float] = {}
        self.refused_at = NEVER
        self.last_beacon: Optional[beacon.Beacon] = None
        self.reported: Dict[str, Optional[str]] = {vip.name: None for vip in settings.vips}
        self.told_state: Dict[str, str] = {vip.name: "unknown" for vip in settings.vips}
        self.told_at: Dict[str, float] = {vip.name: now for vip in settings.vips}
        self.states: Dict[str, str] = {}
        self.verdicts: Dict[str, Verdict] = {}
        self.priority_zero_at: Dict[str, float] = {}
        self.stale_since: Dict[str, float] = {}
        self.claimed: Dict[str, Tuple[float, str]] = {}
        self.defended_at = NEVER
        self.garp_at: Dict[str, List[float]] = {}
        self.keepalived = "stopped"
        self.killed_at = NEVER
        self.watched_pid = 0
        self.searched_at = NEVER
        self.found_pid = 0
        self.death = -1
        self.target_active: Optional[bool] = None
        self.target_told_at = NEVER
        self.gateway_asked_at = NEVER
        self.gateway_seen_at: Optional[float] = None
        self.gateway_since = now
        self.waiting: List[Waiting] = []
        self.requests: Dict[int, bytes] = {}
        self._lock_said: Tuple[Optional[Tuple[str, bool]], Optional[str]] = (None, None)
        self._saved_newest: Tuple[int, int] = (0, 0)
        self._saved_at = NEVER
        self.changed = True
        self.stopping = False
        self.announced_ready = False

    # ---- life

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        # what keepalived wrote while nobody listened is read and counted as what it is: the past
        self._look()
        self._every_second(kernel.boottime())
        next_beacon = next_probe = next_second = 0.0
        settings = self.config.settings
        gc.collect()
        gc.freeze()
        while not self.stopping:
            now = kernel.boottime()
            if now >= next_probe:
                next_probe = now + 0.050
                self._probe(now)
                sd_notify("WATCHDOG=1")
            if now >= next_second:
                next_second = now + 1.0
                self._every_second(now)
            self._decide(kernel.boottime())
            if now >= next_beacon or self.changed:
                next_beacon = max(next_beacon + settings.beacon, now + settings.beacon / 2)
                self.changed = False
                self._send()
            if not self.announced_ready:
                self.announced_ready = True
                sd_notify("READY=1")
            until = min(next_beacon, next_probe, self.rules.next_check(now))
            for key, _ in self.selector.select(max(0.0, until - kernel.boottime())):
                key.data(key.fileobj)
            self._answer(kernel.boottime())
        sd_notify("STOPPING=1")

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.stopping = True

    # ---- observing

    def _look(self) -> None:
        """Reads links and addresses anew, whatever was heard of them before."""
        now = kernel.boottime()
        self._open_fifo()
        links = kernel.links()
        by_name = {link.name: link for link in links}
        self.macs = {link.index: link.mac for link in links}
        for network in self.config.networks:
            link = by_name.get(network.interface)
            self._link_state(network, link, now)
        for held in self.held_on.values():
            held.clear()
        for address in kernel.addresses():
            self._address(address, gone=False)
        self._open_sockets()

    def _link_state(self, network: config.Network, link: Optional[kernel.Link], now: float) -> None:
        up = link is not None and link.up
        before = self.rules.link_up_since.get(network.name)
        self.rules.link(network.name, up, now)
        if (before is not None) != up:
            self.changed = True
        if network.name == "public":
            self.rules.own.public_up = up
        index = link.index if link is not None else 0
        if self.indexes.get(network.name) != index:
            # another interface under the same name: sockets bound to the old one are deaf
            self.indexes[network.name] = index
            self._close_sockets(network.name)

    def _address(self, address: kernel.Address, gone: bool) -> None:
        for vip in self.config.vips:
            if vip.address != address.address:
                continue
            held = self.held_on[vip.name]
            if gone:
                held.discard(address.index)
            elif address.index not in held:
                held.add(address.index)
                self._open_arp(vip, address.index)
            self.changed = True

    def _on_netlink(self, _source: object) -> None:
        changes = self.netlink.changes()
        if changes is None:
            self._look()
            return
        now = kernel.boottime()
        for change in changes:
            if change.address is not None:
                self._address(change.address, change.gone)
            link = change.link
            if link is None:
                continue
            if not change.gone:
                self.macs[link.index] = link.mac
            for network in self.config.networks:
                if network.interface == link.name:
                    self._link_state(network, None if change.gone else link, now)
        self._open_sockets()

    def _open_sockets(self) -> None:
        for network in self.config.networks:
            if not self.indexes.get(network.name):
                continue
            try:
                if network.name not in self.beacons:
                    sock = kernel.beacon_socket(network.interface, network.address, self.config.port)
                    self.beacons[network.name] = sock
                    self.selector.register(sock, selectors.EVENT_READ, self._beacon_reader(network))
                if network.name == "heartbeat" and self.vrrp is None:
                    self.vrrp = kernel.vrrp_socket(network.interface)
                    self.selector.register(self.vrrp, selectors.EVENT_READ, self._on_advert)
                if network.name == "public" and self.config.gateway is not None and self.gateway is None:
                    self.gateway = kernel.arp_socket(network.interface, self.config.gateway)
                    self.selector.register(self.gateway, selectors.EVENT_READ, self._on_gateway)
            except OSError as error:
                self.scribe.log(f"{network.interface}: {error}; trying again")

    def _close_sockets(self, network: str) -> None:
        gone: List[socket.socket] = []
        if network in self.beacons:
            gone.append(self.beacons.pop(network))
        if network == "heartbeat" and self.vrrp is not None:
            gone.append(self.vrrp)
            self.vrrp = None
        if network == "public" and self.gateway is not None:
            gone.append(self.gateway)
            self.gateway = None
        for sock in gone:
            self.selector.unregister(sock)
            sock.close()

    def _beacon_reader(self, network: config.Network) -> Callable[[Any], None]:
        def read(sock: socket.socket) -> None:
            for _ in range(64):
                try:
                    got = kernel.receive(sock)
                except OSError:
                    return
                if got is None:
                    return
                datagram, source, received = got
                if source == network.peer:
                    self._hear(network.name, datagram, received)

        return read

    def _hear(self, network: str, datagram: bytes, received: float) -> None:
        said = beacon.unseal(datagram, network, self.keyring.keys)
        if said is None or said.node != self.config.peer:
            self._refuse(network, "it is not authentic: does the peer have another key (/etc/hotpair/beacon.key)?")
            return
        admitted = self.replay.admit(network, said)
        if admitted is None:
            if said.session < self.replay.newest[0]:
                self._refuse(
                    network,
                    "it is from an earlier start of the peer. If the peer was reinstalled or its clock set back: "
                    f"rm {PEER_SEEN_RUN} {PEER_SEEN_DISK}; systemctl restart hotpair-arbiter",
                )
            return
        self.heard_at[network] = received
        if not admitted:
            return
        self.last_beacon = said
        self.keyring.peer_accepts(said.keys)
        self.rules.heard(said.word, received)
        if (said.claim, said.concedes) != self._lock_said:
            self._lock_said = (said.claim, said.concedes)
            self.changed = True

    def _refuse(self, network: str, why: str) -> None:
        """Says so, at most every 10 s: the two nodes do not understand each other, or a third one is at work."""
        now = kernel.boottime()
        if now - self.refused_at >= 10.0:
            self.refused_at = now
            self.scribe.log(f"a beacon on the {network} network is refused: {why}")

    def _on_advert(self, sock: Any) -> None:
        peer = self.config.network("heartbeat").peer
        for _ in range(64):
            try:
                got = kernel.receive(sock)
            except OSError:
                return
            if got is None:
                return
            packet, _source, received = got
            advert = kernel.parse_advert(packet)
            if advert is None or advert.source != peer:
                continue
            for vip in self.config.vips:
                if vip.router_id == advert.router_id:
                    self.rules.advert(vip.name, advert.priority, received)
                    if advert.priority == 0:
                        self.priority_zero_at[vip.name] = received

    # ---- keepalived's notifications

    def _open_fifo(self) -> None:
        """keepalived writes to the pipe that it finds; when it made one itself, it is another one each time."""
        try:
            inode = os.stat(FIFO_PATH).st_ino
        except FileNotFoundError:
            os.mkfifo(FIFO_PATH, 0o600)
            inode = os.stat(FIFO_PATH).st_ino
        if self.fifo >= 0 and inode == self.fifo_inode:
            return
        if self.fifo >= 0:
            self.selector.unregister(self.fifo)
            os.close(self.fifo)
        # read and write, so that it does not end when keepalived does
        self.fifo = os.open(FIFO_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(self.fifo).st_mode):
            raise config.ConfigError(f"{FIFO_PATH} is not a named pipe; remove it")
        self.fifo_inode = inode
        self.selector.register(self.fifo, selectors.EVENT_READ, self._on_fifo)

    def _on_fifo(self, _source: object) -> None:
        try:
            data = os.read(self.fifo, 65536)
        except BlockingIOError:
            return
        lines = (self.fifo_rest + data).split(b"\n")
        self.fifo_rest = lines.pop()[-256:]
        now = kernel.boottime()
        for line in lines:
            # INSTANCE "web" MASTER 253
            words = line.decode(errors="replace").split()
            if len(words) < 3 or words[0] != "INSTANCE":
                continue
            name, state = words[1].strip('"'), STATES.get(words[2])
            if name in self.told_state and state is not None:
                self.told_state[name] = state
                self.told_at[name] = now
                self.changed = True

    # ---- probes

    def _probe(self, now: float) -> None:
        own = self.rules.own
        own.maintenance = os.path.exists(config.MAINTENANCE_PATH)
        own.keepalived = self._probe_keepalived(now)
        own.applying = self.lock.advance(now)
        if self.haproxy is not None:
            own.service = self.haproxy.step(now)
        if self.gateway is not None:
            self._probe_gateway(now)
        self._remove_stale(now)
        for name, moments in list(self.garp_at.items()):
            if moments and now >= moments[0]:
                moments.pop(0)
                self._announce(name)

    def _probe_keepalived(self, now: float) -> str:
        process = self._find_keepalived(now)
        before = self.keepalived
        self._watch_death(process)
        if process is None or process.state in "ZX":
            self.keepalived = "stopped"
        else:
            self.keepalived = self.progress.feed(now, process.pid, process.switches, process.state, process.cpu)
            if self.keepalived == "hung":
                self._kill_keepalived(now, process.pid)
            elif self.progress.needs_waking(now):
                for vip in self.config.vips:
                    self.gatekeeper.touch(vip.name)
        if self.keepalived != before:
            self.changed = True
            if self.keepalived == "stopped":
                for name in self.told_state:
                    self.told_state[name] = "stopped"
                    self.told_at[name] = now
            elif before == "stopped":
                for name, state in self.told_state.items():
                    if state == "stopped":
                        self.told_state[name] = "unknown"
        return self.keepalived

    def _find_keepalived(self, now: float) -> Optional[kernel.Process]:
        """By its pid file; where there is none, by its name: what runs must not be taken for dead."""
        pid = kernel.pid_from(*VRRP_PIDS)
        if pid == 0 and (now - self.searched_at >= 1.0 or any(self.held_on.values())):
            self.searched_at = now
            self.found_pid = kernel.child_process("keepalived")
        return kernel.process(pid or self.found_pid, "keepalived")

    def _watch_death(self, process: Optional[kernel.Process]) -> None:
        """The end of keepalived's VRRP process is heard of at once; a new one gets its priority."""
        pid = 0 if process is None or process.state in "ZX" else process.pid
        if pid == self.watched_pid:
            return
        self.watched_pid = pid
        if self.death >= 0:
            self.selector.unregister(self.death)
            os.close(self.death)
            self.death = -1
        if pid == 0:
            return
        try:
            self.death = os.pidfd_open(pid)
            self.selector.register(self.death, selectors.EVENT_READ, lambda _: self._probe(kernel.boottime()))
        except OSError:
            # gone already, or a kernel before 5.3: the regular look finds it
            pass
        kernel.prioritise(pid, 20)

    def _kill_keepalived(self, now: float, vrrp_pid: int) -> None:
        """A hung owner can neither serve VRRP nor give the VIP up: it is killed, and its end takes the VIP along."""
        if now - self.killed_at < 1.0:
            return
        self.killed_at = now
        self.scribe.log("keepalived hangs: killing it; systemd starts it again, without the VIP")
        main = kernel.process(kernel.pid_from(*KEEPALIVED_PIDS), "keepalived")
        for pid in {vrrp_pid, main.pid if main is not None else vrrp_pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _remove_stale(self, now: float) -> None:
        for vip in self.config.vips:
            disowned = self.keepalived == "stopped" or (
                self.keepalived == "running" and self.told_state[vip.name] in ("backup", "fault", "stopped")
            )
            if not self.held_on[vip.name] or not disowned:
                self.stale_since.pop(vip.name, None)
                continue
            since = self.stale_since.setdefault(vip.name, now)
            if self.keepalived == "stopped" or now - since >= STALE_ALIVE:
                # Dead, its VIP must not outlive it: systemd's ExecStopPost does the same, some milliseconds later.
                self.stale_since.pop(vip.name, None)
                self.scribe.log(f"{vip.name}: {vip.address} is here, but keepalived does not own it: removed")
                kernel.remove_address(vip.address)

    def _probe_gateway(self, now: float) -> None:
        sock, gateway = self.gateway, self.config.gateway
        if sock is None or gateway is None:
            return
        if now - self.gateway_asked_at >= GATEWAY_INTERVAL:
            self.gateway_asked_at = now
            public = self.config.network("public")
            mac = self.macs.get(self.indexes.get("public", 0), b"")
            try:
                if len(mac) == 6:
                    kernel.ask(sock, mac, public.address, gateway)
            except OSError:
                pass
        if self.gateway_seen_at is not None and now - self.gateway_seen_at < 2 * GATEWAY_INTERVAL:
            self.rules.own.gateway = "ok"
        elif now - self.gateway_since >= 4 * GATEWAY_INTERVAL:
            self.rules.own.gateway = "lost"

    def _on_gateway(self, sock: Any) -> None:
        try:
            while True:
                sock.recv(64)
                self.gateway_seen_at = kernel.boottime()
        except OSError:
            return

    def _every_second(self, now: float) -> None:
        self._look()
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                raise RuntimeError("the gatekeeper is gone") from None
            if pid == self.gatekeeper.pid:
                raise RuntimeError("the gatekeeper died")
            if pid == 0:
                break
        if self.rules.settled and not os.path.exists(SETTLED_PATH):
            _touch(SETTLED_PATH)
        elif not self.rules.settled and os.path.exists(SETTLED_PATH):
            os.unlink(SETTLED_PATH)
        if self.replay.newest != self._saved_newest:
            text = f"{self.replay.newest[0]} {self.replay.newest[1]}\n"
            self.scribe.order(save=PEER_SEEN_RUN, text=text)
            if self.replay.newest[0] != self._saved_newest[0] or now - self._saved_at > 60.0:
                self._saved_at = now
                self.scribe.order(save=PEER_SEEN_DISK, text=text)
            self._saved_newest = self.replay.newest
        if self.last_beacon is not None and now - max(self.heard_at.values(), default=NEVER) > 1.0:
            self.keyring.peer_accepts(None)
        self._reconcile_target(now)

    def _reconcile_target(self, now: float) -> None:
        active = any(self.held_on.values())
        if active != self.target_active or now - self.target_told_at > 10.0:
            self.target_active = active
            self.target_told_at = now
            self.scribe.order(systemctl=["start" if active else "stop", ACTIVE_TARGET])

    # ---- deciding and acting

    def _decide(self, now: float) -> None:
        rules = self.rules
        heard = rules.fresh(now)
        said = self.last_beacon
        self.lock.peer(heard, said.claim if said is not None else None, said.concedes if said is not None else None)
        for vip in self.config.vips:
            held = bool(self.held_on[vip.name])
            state = self._state(vip.name, held)
            rules.holding(vip.name, held, state, now)
        for name, verdict in rules.decide(now).items():
            before = self.verdicts.get(name)
            self.verdicts[name] = verdict
            if verdict.closed:
                self.gatekeeper.close_until(name, verdict.until)
            else:
                self.gatekeeper.open(name)
            if before is None or (before.gate, before.reason) != (verdict.gate, verdict.reason):
                self.changed = True
                age = now - rules.vips[name].advert_at
                silent = f" (last advert of the peer {age * 1000:.0f} ms ago)" if age < 60.0 else ""
                self.scribe.log(f"{name}: gate {'closed: ' + verdict.reason if verdict.closed else 'open'}{silent}")
        for event in rules.take_events():
            self._on_event(event, now)
        self._record(now)
        if any(self.held_on.values()) != self.target_active:
            self._reconcile_target(now)

    def _state(self, name: str, held: bool) -> str:
        """keepalived's state of one VIP, from facts first: its last word counts where it fits them."""
        if self.keepalived == "stopped":
            return "stopped"
        told = self.told_state[name]
        return "master" if held and told == "unknown" else told

    def _on_event(self, event: Event, now: float) -> None:
        self.scribe.log(f"{event.vip}: {event.kind}: {event.text}")
        if event.kind == "conflict-ended":
            # neighbours may have learnt the peer's hardware address in between
            self.garp_at[event.vip] = [now, now + 0.5, now + 2.0]

    def _record(self, now: float) -> None:
        """Every change of state, with its reason, into the audit file."""
        for vip in self.config.vips:
            state = self.rules.vips[vip.name].state
            before = self.reported[vip.name]
            if state == before:
                continue
            reason = "the arbiter started" if before is None else self._reason(vip.name, before, state, now)
            self.reported[vip.name] = state
            self.changed = True
            entry = {
                "at": round(time.time() * 1000),
                "vip": vip.name,
                "from": before or "unknown",
                "to": state,
                "reason": reason,
            }
            self.scribe.order(audit=entry, log=f"{vip.name}: {entry['from']} -> {state}: {reason}")

    def _reason(self, name: str, before: str, state: str, now: float) -> str:
        memory, own = self.rules.vips[name], self.rules.own
        verdict = self.verdicts.get(name)
        if state == "stopped":
            return "maintenance" if own.maintenance else "keepalived stopped or died"
        if state == "master":
            if now - self.priority_zero_at.get(name, NEVER) < 1.0:
                return "the peer gave it up (advert with priority 0)"
            if memory.advert_at == NEVER:
                return "no advert of the peer since the start"
            return f"no advert of the peer for {max(0.0, now - memory.advert_at) * 1000:.0f} ms"
        if state == "fault":
            if not own.public_up:
                return "public link down"
            return verdict.reason if verdict is not None and verdict.closed else "keepalived reports a fault"
        if before == "stopped":
            return "keepalived started"
        if before == "master":
            return "keepalived gave it up: the peer has it, or its address was removed"
        return "the gate is open again" if before == "fault" else "keepalived stands by"

    # ---- the VIP's neighbours

    def _open_arp(self, vip: config.Vip, index: int) -> None:
        """Watches, on the interface that has the VIP, for others that claim it."""
        old = self.arp.pop(vip.name, None)
        if old is not None:
            self.selector.unregister(old)
            old.close()
        try:
            name = socket.if_indextoname(index)
            sock = kernel.arp_socket(name, vip.address)
        except OSError:
            return
        self.arp[vip.name] = sock
        self.selector.register(sock, selectors.EVENT_READ, self._arp_reader(vip))

    def _arp_reader(self, vip: config.Vip) -> Callable[[Any], None]:
        def read(sock: socket.socket) -> None:
            try:
                while True:
                    frame, (_, _, kind, _, _) = sock.recvfrom(64)
                    if kind != socket.PACKET_OUTGOING:
                        self._on_claim(vip, frame)
            except OSError:
                return

        return read

    def _on_claim(self, vip: config.Vip, frame: bytes) -> None:
        """Somebody answers for a VIP that this node holds: neighbours are told again whose it is."""
        mac = frame[22:28]
        now = kernel.boottime()
        held = self.held_on[vip.name]
        if not held or mac in (self.macs.get(index) for index in held):
            return
        if now - self.rules.vips[vip.name].held_since < 0.1:
            # the former owner's last packet
            return
        text = mac.hex(":")
        told_at, told_mac = self.claimed.get(vip.name, (NEVER, ""))
        if told_mac != text or now - told_at > 10.0:
            self.claimed[vip.name] = (now, text)
            reason = f"another host claims {vip.address}: {text}; defended by gratuitous ARP"
            entry = {
                "at": round(time.time() * 1000),
                "vip": vip.name,
                "from": "master",
                "to": "master",
                "reason": reason,
            }
            self.scribe.order(audit=entry, log=f"{vip.name}: {reason}")
        if now - self.defended_at >= DEFEND_INTERVAL:
            self.defended_at = now
            self._announce(vip.name)
            # once more when the other one is through with its own series
            self.garp_at[vip.name] = [now + 0.5, now + 2.0]

    def _announce(self, name: str) -> None:
        sock = self.arp.get(name)
        vip = next(vip for vip in self.config.vips if vip.name == name)
        for index in self.held_on[name]:
            mac = self.macs.get(index, b"")
            if sock is not None and len(mac) == 6:
                try:
                    kernel.announce(sock, mac, vip.address)
                except OSError:
                    pass

    # ---- beacons

    def _word(self, now: float) -> Word:
        own, settings = self.rules.own, self.config.settings
        vips = {}
        for name, memory in self.rules.vips.items():
            verdict = self.verdicts.get(name)
            vips[name] = PeerVip(
                held=memory.held,
                state=memory.state,
                gate=verdict.gate if verdict is not None else Gate.CLOSED,
                advert_age=None if memory.advert_at == NEVER else max(0.0, now - memory.advert_at),
                declines=now < memory.declines_until,
            )
        return Word(
            vips=vips,
            digest=settings.digest,
            maintenance=own.maintenance,
            keepalived=own.keepalived,
            service=own.service,
            gateway=own.gateway,
            public_up=own.public_up,
            applying=own.applying,
        )

    def _send(self) -> None:
        now = kernel.boottime()
        self.sequence += 1
        claim = self.lock.claim
        hears: Dict[str, Optional[int]] = {}
        for network in self.config.networks:
            at = self.heard_at.get(network.name)
            hears[network.name] = None if at is None else round((now - at) * 1000)
        payload = beacon.encode_payload(
            beacon.Beacon(
                node=self.config.node,
                session=self.session,
                sequence=self.sequence,
                word=self._word(now),
                keys=self.keyring.ids,
                hears=hears,
                claim=None if claim is None else (claim.token, claim.granted),
                concedes=self.lock.concedes,
            )
        )
        key = self.keyring.sending()
        for network in self.config.networks:
            sock = self.beacons.get(network.name)
            if sock is None:
                continue
            try:
                sock.sendto(beacon.seal(payload, network.name, key), (network.peer, self.config.port))
            except OSError:
                # link down, no route, no buffer: the peer judges by what arrives
                pass

    def _new_session(self) -> int:
        """Larger than every earlier one of this node, also when its clock was set back."""
        try:
            with open(SESSION_PATH, encoding="ascii") as file:
                before = int(file.read())
        except (OSError, ValueError):
            before = 0
        session = max(before + 1, time.time_ns() // 1000)
        self.scribe.order(save=SESSION_PATH, text=f"{session}\n")
        return session

    # ---- commands

    def _listen(self) -> socket.socket:
        try:
            os.unlink(SOCKET_PATH)
        except FileNotFoundError:
            pass
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)
        try:
            sock.bind(SOCKET_PATH)
        finally:
            os.umask(mask)
        sock.listen(16)
        return sock

    def _on_connect(self, _source: object) -> None:
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self.requests[connection.fileno()] = b""
        self.selector.register(connection, selectors.EVENT_READ, self._on_request)

    def _on_request(self, connection: Any) -> None:
        number = connection.fileno()
        try:
            data = connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        text = self.requests.get(number, b"") + data
        self.requests[number] = text
        if b"\n" not in text and data and len(text) < 8192:
            return
        self.selector.unregister(connection)
        del self.requests[number]
        if b"\n" not in text:
            connection.close()
            return
        try:
            request = json.loads(text)
            answer = self._command(request, connection)
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            answer = {"error": f"not understood: {error!r}"}
        if answer is not None:
            _reply(connection, answer)

    def _command(self, request: Dict[str, Any], connection: socket.socket) -> Optional[Dict[str, Any]]:
        now = kernel.boottime()
        what = request["command"]
        if what == "status":
            return self._status(now)
        if what == "switch":
            return self._switch(request, connection, now)
        if what == "lock":
            return self._lock_command(request, connection, now)
        if what == "unlock":
            done = self.lock.release(request["token"])
            self._save_claim()
            self.changed = True
            return {"done": True} if done else {"error": f"the lock is held by {self.lock.holder()}"}
        return {"error": f"no such command: {what}"}

    def _switch(self, request: Dict[str, Any], connection: socket.socket, now: float) -> Optional[Dict[str, Any]]:
        wanted = request.get("vip")
        if wanted is not None and wanted not in self.rules.vips:
            return {"error": f"there is no VIP {wanted}; VIPs: {', '.join(self.rules.vips)}"}
        names = [name for name, memory in self.rules.vips.items() if memory.held and wanted in (None, name)]
        if not names:
            return {"error": f"{self.config.name} does not hold {wanted or 'any VIP'}"}
        refusals = [f"{name}: {why}" for name in names for why in [self.rules.unfit(name, now)] if why is not None]
        if refusals:
            return {"error": "; ".join(refusals)}
        wait = min(60.0, max(0.1, float(request.get("wait", 5.0))))
        for name in names:
            reason, stay = str(request.get("reason", "switch")), bool(request.get("stay", False))
            self.rules.hand_over(name, reason, now, min(wait, 5.0), stay)
        self._decide(now)
        self._send()

        def check(_now: float) -> Optional[Dict[str, Any]]:
            memories = [self.rules.vips[name] for name in names]
            if any(memory.yielding is not None for memory in memories):
                return None
            back = [name for name in names if self.rules.vips[name].held or not self._peer_holds(name)]
            if back:
                return {"error": f"called off: {self.config.peer_name} did not take over {', '.join(back)}"}
            took = (kernel.boottime() - now) * 1000
            return {"done": True, "vips": names, "tookMs": round(took, 1)}

        self.waiting.append(
            Waiting(connection, now + wait + 1.0, check, lambda: {"error": "no outcome within the time given"})
        )
        return None

    def _peer_holds(self, name: str) -> bool:
        word = self.rules.word
        said = None if word is None else word.vips.get(name)
        return said is not None and said.held

    def _lock_command(self, request: Dict[str, Any], connection: socket.socket, now: float) -> Optional[Dict[str, Any]]:
        token = str(request["token"])
        wait = min(3600.0, max(0.0, float(request.get("wait", 0.0))))

        def check(at: float) -> Optional[Dict[str, Any]]:
            if not self.lock.request(token, at):
                return None
            self._save_claim()
            heard = self.rules.fresh(at)
            return {"done": True, "peer": "conceded" if heard else "not heard"}

        def give_up() -> Dict[str, Any]:
            holder = self.lock.holder()
            self.lock.withdraw(token)
            return {"error": f"the apply lock is held by {holder}"}

        answer = check(now)
        self.changed = True
        if answer is not None:
            return answer
        # the peer needs a moment to concede, even when nobody wants to wait
        self.waiting.append(Waiting(connection, now + max(wait, 0.5), check, give_up))
        return None

    def _save_claim(self) -> None:
        claim = self.lock.claim
        granted = claim is not None and claim.granted
        text = json.dumps({"token": claim.token, "expires": claim.expires}) if claim is not None and granted else "{}"
        # at once, and on tmpfs: an apply restarts this very process
        try:
            with open(LOCK_PATH, "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            self.scribe.log(f"{LOCK_PATH}: {error}")

    def _answer(self, now: float) -> None:
        for waiting in list(self.waiting):
            answer = waiting.check(now)
            if answer is None and now >= waiting.deadline:
                answer = waiting.on_timeout()
            if answer is not None:
                self.waiting.remove(waiting)
                _reply(waiting.connection, answer)

    def _status(self, now: float) -> Dict[str, Any]:
        said = self.last_beacon
        peer: Optional[Dict[str, Any]] = None
        if said is not None:
            word = said.word
            adverts = {name: _ago(now, memory.advert_at) for name, memory in self.rules.vips.items()}
            peer = {
                "heardMsAgo": {n.name: _ago(now, self.heard_at.get(n.name, NEVER)) for n in self.config.networks},
                "advertMsAgo": adverts,
                "vips": [{"name": name, "held": vip.held, "state": vip.state} for name, vip in word.vips.items()],
                "healthy": (
                    self.rules.fresh(now)
                    and word.keepalived == "running"
                    and word.public_up
                    and word.service != "dead"
                    and word.gateway != "lost"
                ),
                "maintenance": word.maintenance,
            }
        return {
            "arbiter": {
                "running": True,
                "sinceMs": round((now - self.started) * 1000),
                "sharedDigest": self.config.settings.digest,
            },
            "peer": peer,
            "vips": {
                name: {
                    "state": memory.state,
                    "gate": {"closed": verdict.closed, "reason": verdict.reason},
                }
                for name, memory in self.rules.vips.items()
                for verdict in [self.verdicts[name]]
            },
            "keepalived": self.keepalived,
            "haproxy": self.rules.own.service,
        }


def _ago(now: float, at: float) -> Optional[int]:
    return None if at == NEVER else max(0, round((now - at) * 1000))


def _reply(connection: socket.socket, answer: Dict[str, Any]) -> None:
    try:
        connection.send(json.dumps(answer).encode() + b"\n")
    except OSError:
        pass
    connection.close()


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _peer_seen() -> Tuple[int, int]:
    newest = (0, 0)
    for path in (PEER_SEEN_RUN, PEER_SEEN_DISK):
        try:
            with open(path, encoding="ascii") as file:
                session, sequence = (int(word) for word in file.read().split())
            newest = max(newest, (session, sequence))
        except (OSError, ValueError):
            continue
    return newest


def _saved_claim(now: float) -> Optional[Claim]:
    try:
        with open(LOCK_PATH, encoding="ascii") as file:
            saved = json.load(file)
        claim = Claim(str(saved["token"]), True, float(saved["expires"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return claim if now < claim.expires else None


def sd_notify(text: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)
    except OSError:
        pass


def main() -> int:
    try:
        settings = config.load()
        with open(config.KEY_PATH, encoding="ascii") as file:
            keys = beacon.parse_keys(file.read())
        os.makedirs(RUN, exist_ok=True)
        os.makedirs(os.path.dirname(SESSION_PATH), exist_ok=True)
        arbiter = Arbiter(settings, keys)
    except config.ConfigError as error:
        print(f"hotpair-arbiter: {error}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"hotpair-arbiter: {config.KEY_PATH}: {error}", file=sys.stderr)
        return 2
    arbiter.run()
    return 0
