"""The running arbiter: one loop that observes, asks the rules, carries out, and tells the peer.

Everything in the loop is non-blocking and takes microseconds; what can be slow is the scribe's. Observation is of facts
(addresses on interfaces, adverts, processes), continuously; keepalived's notifications only make it faster. Each kind
of observation has a room of its own; here is what becomes of it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from typing import Any, Dict, List, Optional

from . import beacon, config, gate, kernel
from .control import Control, Waiting
from .exchange import Exchange
from .gate import RUN
from .haproxy import Haproxy
from .interfaces import Interfaces
from .keepalived import Keepalived
from .lock import LOCK_PATH, Claim, PairLock
from .loop import Loop
from .memory import Event, Verdict
from .neighbours import Neighbours
from .observer import Observer
from .quorum import NEVER, Quorum
from .rules import Rules
from .scribe import Scribe
from .settings import HAND_OVER
from .word import Gate, PeerVip, Word

SETTLED_PATH = f"{RUN}/settled"
ACTIVE_TARGET = "hotpair-active.target"

PROBE_INTERVAL = 0.050
# The target is told again what it is to be, though nothing changed (seconds)
TARGET_AGAIN = 10.0
# The same while this node ought to hold the lease and does not, or the other way round: a start is refused while a stop
# is under way, and the chain ends when the lease is lost (seconds; two renewals of the lease, where that is longer)
CHAIN_AGAIN = 0.5


class Arbiter:
    def __init__(self, settings: config.Config, keys: List[beacon.Key]) -> None:
        now = kernel.boottime()
        self.config = settings
        self.started = now
        # These two are processes of their own, begun before anything is open that they would inherit.
        self.scribe = Scribe()
        addresses = {vip.name: vip.address for vip in settings.vips}
        if settings.settings.authority is not None:
            addresses[gate.LEASE] = ""
        self.gatekeeper = gate.Gatekeeper(addresses)
        kernel.prioritise(0, 10)
        kernel.stay_in_memory()
        self.rules = Rules(settings.settings, now, settled=os.path.exists(SETTLED_PATH))
        self.lock = PairLock(settings.node, _saved_claim(now))

        self.loop = Loop()
        self.interfaces = Interfaces(settings, self._on_link, self._on_replaced, self._on_address)
        self.loop.watch(self.interfaces.netlink, self._on_netlink)
        self.exchange = Exchange(settings, keys, self.loop, self.scribe, self.rules.heard)
        self.keepalived = Keepalived(
            settings,
            self.loop,
            self.interfaces,
            self.gatekeeper,
            self.scribe,
            lambda: self._probe(kernel.boottime()),
        )
        self.neighbours = Neighbours(settings, self.loop, self.interfaces, self.scribe, self.keepalived.lives, now)
        self.haproxy = (
            None
            if settings.haproxy_socket is None
            else Haproxy(settings.haproxy_socket, settings.settings.service_dead)
        )
        self.observer = None if self.rules.quorum is None else Observer(self.loop, self.rules.quorum, self.scribe)
        commands = {
            "status": lambda _request, _connection: self._status(kernel.boottime()),
            "switch": self._switch,
            "lock": self._take_lock,
            "unlock": self._release_lock,
        }
        self.control = Control(self.loop, commands)
        self.vrrp: Optional[socket.socket] = None

        self.reported: Dict[str, Optional[str]] = {vip.name: None for vip in settings.vips}
        self.verdicts: Dict[str, Verdict] = {}
        self.priority_zero_at: Dict[str, float] = {}
        self.target_active: Optional[bool] = None
        self.target_told_at = NEVER
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
                next_probe = now + max(PROBE_INTERVAL, settings.beacon / 4)
                self._probe(now)
                sd_notify("WATCHDOG=1")
            if now >= next_second:
                next_second = now + 1.0
                self._every_second(now)
            self._decide(kernel.boottime())
            if now >= next_beacon or self.loop.changed:
                next_beacon = max(next_beacon + settings.beacon, now + settings.beacon / 2)
                self.loop.changed = False
                self._send()
            if not self.announced_ready:
                self.announced_ready = True
                sd_notify("READY=1")
            until = min(next_beacon, next_probe, self.rules.next_check(now))
            self.loop.wait(until - kernel.boottime())
            self.control.answer(kernel.boottime())
        sd_notify("STOPPING=1")

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.stopping = True

    # ---- observing

    def _look(self) -> None:
        self.keepalived.open_fifo()
        self.interfaces.look()
        self._open_sockets()

    def _on_netlink(self, _source: object) -> None:
        self.interfaces.follow()
        self._open_sockets()

    def _on_link(self, network: config.Network, up: bool) -> None:
        before = self.rules.link_up_since.get(network.name)
        self.rules.link(network.name, up, kernel.boottime())
        if (before is not None) != up:
            self.loop.changed = True
        if network.name == "public":
            self.rules.own.public_up = up

    def _on_replaced(self, network: str) -> None:
        self.exchange.close(network)
        if network == "heartbeat" and self.vrrp is not None:
            self.loop.forget(self.vrrp)
            self.vrrp.close()
            self.vrrp = None
        if network == "public":
            self.neighbours.close_gateway()

    def _on_address(self, vip: config.Vip, index: Optional[int]) -> None:
        self.loop.changed = True
        if index is not None:
            self.neighbours.watch(vip, index)

    def _open_sockets(self) -> None:
        for network in self.config.networks:
            if not self.interfaces.indexes.get(network.name):
                continue
            try:
                self.exchange.open(network)
                if network.name == "heartbeat" and self.vrrp is None:
                    self.vrrp = kernel.vrrp_socket(network.interface)
                    self.loop.watch(self.vrrp, self._on_advert)
                if network.name == "public":
                    self.neighbours.open_gateway(network)
            except OSError as error:
                self.scribe.log(f"{network.interface}: {error}; trying again")

    def _on_advert(self, sock: Any) -> None:
        peer = self.config.network("heartbeat").peer
        for packet, _source, received in kernel.drain(sock):
            advert = kernel.parse_advert(packet)
            if advert is None or advert.source != peer:
                continue
            for vip in self.config.vips:
                if vip.router_id == advert.router_id:
                    self.rules.advert(vip.name, advert.priority, received)
                    if advert.priority == 0:
                        self.priority_zero_at[vip.name] = received

    def _probe(self, now: float) -> None:
        own = self.rules.own
        own.maintenance = os.path.exists(config.MAINTENANCE_PATH)
        self.keepalived.probe(now)
        own.keepalived = self.keepalived.condition
        own.applying = self.lock.advance(now)
        if self.haproxy is not None:
            own.service = self.haproxy.step(now)
        own.gateway = self.neighbours.gateway(now) or own.gateway
        self.keepalived.remove_stale(now)
        self.neighbours.step(now)

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
        self.exchange.remember(now)
        # Not before the first decision: what this node holds is not known until then, and a stop would end what writes.
        if self.target_active is not None and now - self.target_told_at > TARGET_AGAIN:
            self._tell_target(now)
        if self.observer is not None:
            self.observer.complain(now)

    # ---- deciding and acting

    def _decide(self, now: float) -> None:
        rules = self.rules
        if self.observer is not None:
            self._read_lease(self.observer, now)
        heard = rules.fresh(now)
        said = self.exchange.last
        self.lock.peer(heard, said.claim if said is not None else None, said.concedes if said is not None else None)
        for vip in self.config.vips:
            held = bool(self.interfaces.held_on[vip.name])
            rules.holding(vip.name, held, self.keepalived.state(vip.name, held), now)
        for name, verdict in rules.decide(now).items():
            before = self.verdicts.get(name)
            self.verdicts[name] = verdict
            if verdict.closed:
                self.gatekeeper.close_until(name, verdict.until)
            else:
                self.gatekeeper.open(name)
            if before is None or (before.gate, before.reason) != (verdict.gate, verdict.reason):
                self.loop.changed = True
                age = now - rules.vips[name].advert_at
                silent = f" (last advert of the peer {age * 1000:.0f} ms ago)" if age < 60.0 else ""
                self.scribe.log(f"{name}: gate {'closed: ' + verdict.reason if verdict.closed else 'open'}{silent}")
        for event in rules.take_events():
            self._on_event(event, now)
        self._record(now)
        active = rules.serving(now)
        quorum = rules.quorum
        again = CHAIN_AGAIN if quorum is None else max(CHAIN_AGAIN, 2 * quorum.authority.renewal)
        amiss = quorum is not None and active != quorum.mine(now) and now - self.target_told_at > again
        if active != self.target_active or amiss:
            self._tell_target(now)

    def _read_lease(self, observer: Observer, now: float) -> None:
        until = observer.read_lease(now)
        if until > now:
            self.gatekeeper.close_until(gate.LEASE, until)
        else:
            self.gatekeeper.open(gate.LEASE)

    def _tell_target(self, now: float) -> None:
        self.target_active = self.rules.serving(now)
        self.target_told_at = now
        if self.target_active:
            self.scribe.order(systemctl=["start", ACTIVE_TARGET])
        elif self.rules.quorum is None:
            self.scribe.order(systemctl=["stop", ACTIVE_TARGET])
        else:
            # A start may be waiting for the lease: the stop replaces it, and nothing replaces the stop.
            self.scribe.order(systemctl=["stop", ACTIVE_TARGET], mode="replace-irreversibly")

    def _on_event(self, event: Event, now: float) -> None:
        self.scribe.log(f"{event.vip}: {event.kind}: {event.text}")
        if event.kind == "conflict-ended":
            self.neighbours.announce_again(event.vip, now)

    def _record(self, now: float) -> None:
        """Every change of state, with its reason, into the audit file."""
        for vip in self.config.vips:
            state = self.rules.vips[vip.name].state
            before = self.reported[vip.name]
            if state == before:
                continue
            reason = "the arbiter started" if before is None else self._reason(vip.name, before, state, now)
            self.reported[vip.name] = state
            self.loop.changed = True
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

    # ---- what the peer is told

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
                standby=verdict is not None and verdict.standby,
                yields=memory.yielding is not None,
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
            standing=self.rules.standing(now),
        )

    def _send(self) -> None:
        self.exchange.send(self._word(kernel.boottime()), self.lock)

    # ---- commands

    def _switch(self, request: Dict[str, Any], connection: socket.socket) -> Optional[Dict[str, Any]]:
        now = kernel.boottime()
        wanted = request.get("vip")
        if wanted is not None and wanted not in self.rules.vips:
            return {"error": f"there is no VIP {wanted}; VIPs: {', '.join(self.rules.vips)}"}
        names = [name for name, memory in self.rules.vips.items() if memory.held and wanted in (None, name)]
        if not names:
            return {"error": f"{self.config.name} does not hold {wanted or 'any VIP'}"}
        refusals = [f"{name}: {why}" for name in names for why in [self.rules.unfit(name, now)] if why is not None]
        if refusals:
            return {"error": "; ".join(refusals)}
        longest = self.rules.settings.hand_over
        asked = max(0.1, float(request.get("wait", HAND_OVER)))
        # Whoever would wait for a quick pair waits for a slow one, too.
        wait = asked if asked < HAND_OVER else max(min(asked, 60.0), longest)
        for name in names:
            reason, stay = str(request.get("reason", "switch")), bool(request.get("stay", False))
            self.rules.hand_over(name, reason, now, min(wait, longest), stay)
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

        self.control.wait(
            Waiting(connection, now + wait + 1.0, check, lambda: {"error": "no outcome within the time given"})
        )
        return None

    def _peer_holds(self, name: str) -> bool:
        word = self.rules.word
        said = None if word is None else word.vips.get(name)
        return said is not None and said.held

    def _take_lock(self, request: Dict[str, Any], connection: socket.socket) -> Optional[Dict[str, Any]]:
        now = kernel.boottime()
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
        self.loop.changed = True
        if answer is not None:
            return answer
        # the peer needs a moment to concede, even when nobody wants to wait
        self.control.wait(Waiting(connection, now + max(wait, 0.5), check, give_up))
        return None

    def _release_lock(self, request: Dict[str, Any], _connection: socket.socket) -> Dict[str, Any]:
        done = self.lock.release(request["token"])
        self._save_claim()
        self.loop.changed = True
        return {"done": True} if done else {"error": f"the lock is held by {self.lock.holder()}"}

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

    def _status(self, now: float) -> Dict[str, Any]:
        said = self.exchange.last
        peer: Optional[Dict[str, Any]] = None
        if said is not None:
            word = said.word
            adverts = {name: _ago(now, memory.advert_at) for name, memory in self.rules.vips.items()}
            heard_at = self.exchange.heard_at
            peer = {
                "heardMsAgo": {n.name: _ago(now, heard_at.get(n.name, NEVER)) for n in self.config.networks},
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
                # By its own clock; null: it has no lease, or is of a release that says nothing of it.
                "lease": None if word.standing is None else word.standing.lease,
            }
        quorum = self.rules.quorum
        return {
            **({} if quorum is None else {"authority": _authority(quorum, self.rules.may_not_serve(now), now)}),
            "arbiter": {
                "running": True,
                "sinceMs": round((now - self.started) * 1000),
                "sharedDigest": self.config.settings.digest,
            },
            "peer": peer,
            "vips": {
                name: {
                    "state": memory.state,
                    "gate": {
                        "closed": verdict.closed,
                        "reason": verdict.reason,
                        **({"standby": True} if verdict.standby else {}),
                    },
                    **({} if home_in is None else {"homeInMs": round(home_in * 1000)}),
                }
                for name, memory in self.rules.vips.items()
                for verdict, home_in in [(self.verdicts[name], self.rules.home_in(name, now))]
            },
            "keepalived": self.keepalived.condition,
            "haproxy": self.rules.own.service,
        }


def _authority(quorum: Quorum, blocked: Optional[str], now: float) -> Optional[Dict[str, Any]]:
    """AuthorityStatus of infra/model/status.ts; None: the observer is silent."""
    report = quorum.report
    if report is None or not quorum.observed(now):
        return None
    return {
        "holding": quorum.mine(now),
        "holder": report.holder,
        "renewedMsAgo": _ago(now, report.renewed_at),
        "quorumMsAgo": _ago(now, report.quorum_at),
        "witnessMsAgo": _ago(now, report.witness_at),
        "memberMsAgo": _ago(now, report.own_at),
        "insync": None if report.insync is None else list(report.insync),
        "epoch": report.epoch,
        "blocked": blocked,
    }


def _ago(now: float, at: float) -> Optional[int]:
    return None if at == NEVER else max(0, round((now - at) * 1000))


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


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
        arbiter = Arbiter(settings, keys)
    except config.ConfigError as error:
        print(f"hotpair-arbiter: {error}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"hotpair-arbiter: {config.KEY_PATH}: {error}", file=sys.stderr)
        return 2
    arbiter.run()
    return 0
