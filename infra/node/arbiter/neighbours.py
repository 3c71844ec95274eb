"""The public network's neighbours: tells them whose a VIP is, notices others that claim one, asks the gateway."""

from __future__ import annotations

import socket
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import config, kernel
from .interfaces import Interfaces
from .loop import Loop
from .quorum import NEVER
from .scribe import Scribe

GATEWAY_INTERVAL = 0.5
# The answer to an ARP claim of a third host, at most this often (seconds): RFC 5227 §2.4 warns of ARP storms
DEFEND_INTERVAL = 0.2
# The former owner's last packet may come this long after the VIP did (seconds)
FORMER_OWNER = 0.1


class Neighbours:
    def __init__(
        self,
        settings: config.Config,
        loop: Loop,
        interfaces: Interfaces,
        scribe: Scribe,
        owner_lives: Callable[[], bool],
        now: float,
    ) -> None:
        """`owner_lives`: whether this node's keepalived lives now; without it no VIP is this node's to defend."""
        self._owner_lives = owner_lives
        self._config = settings
        self._loop = loop
        self._interfaces = interfaces
        self._scribe = scribe
        self._arp: Dict[str, socket.socket] = {}
        self._gateway: Optional[socket.socket] = None
        self._asked_at = NEVER
        self._seen_at: Optional[float] = None
        self._since = now
        self._claimed: Dict[str, Tuple[float, str]] = {}
        self._defended_at = NEVER
        self._held_since: Dict[str, float] = {}
        # moments at which a VIP is announced again
        self._garp_at: Dict[str, List[float]] = {}

    # ---- whose a VIP is

    def watch(self, vip: config.Vip, index: int) -> None:
        """Watches, on the interface that has the VIP, for others that claim it."""
        self._held_since[vip.name] = kernel.boottime()
        old = self._arp.pop(vip.name, None)
        if old is not None:
            self._loop.forget(old)
            old.close()
        try:
            name = socket.if_indextoname(index)
            sock = kernel.arp_socket(name, vip.address)
        except OSError:
            return
        self._arp[vip.name] = sock
        self._loop.watch(sock, self._arp_reader(vip))

    def announce_again(self, vip: str, now: float) -> None:
        """Neighbours may have learnt another hardware address in between."""
        self._garp_at[vip] = [now, now + 0.5, now + 2.0]

    def step(self, now: float) -> None:
        for name, moments in list(self._garp_at.items()):
            if moments and now >= moments[0]:
                moments.pop(0)
                self._announce(name)

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
        held = self._interfaces.held_on[vip.name]
        if not held or mac in (self._interfaces.macs.get(index) for index in held):
            return
        if not self._owner_lives():
            # The peer has taken it already, and clients must find it there.
            return
        taken_at = self._held_since.get(vip.name, NEVER)
        if now - taken_at < FORMER_OWNER:
            self._garp_at[vip.name] = [taken_at + FORMER_OWNER]
            return
        text = mac.hex(":")
        told_at, told_mac = self._claimed.get(vip.name, (NEVER, ""))
        if told_mac != text or now - told_at > 10.0:
            self._claimed[vip.name] = (now, text)
            reason = f"another host claims {vip.address}: {text}; defended by gratuitous ARP"
            entry = {
                "at": round(time.time() * 1000),
                "vip": vip.name,
                "from": "master",
                "to": "master",
                "reason": reason,
            }
            self._scribe.order(audit=entry, log=f"{vip.name}: {reason}")
        if now - self._defended_at >= DEFEND_INTERVAL:
            self._defended_at = now
            self._announce(vip.name)
            # once more when the other one is through with its own series
            self._garp_at[vip.name] = [now + 0.5, now + 2.0]

    def _announce(self, name: str) -> None:
        sock = self._arp.get(name)
        vip = next(vip for vip in self._config.vips if vip.name == name)
        for index in self._interfaces.held_on[name]:
            mac = self._interfaces.macs.get(index, b"")
            if sock is not None and len(mac) == 6:
                try:
                    kernel.announce(sock, mac, vip.address)
                except OSError:
                    pass

    # ---- the gateway

    def open_gateway(self, network: config.Network) -> None:
        """Raises OSError; does nothing when the pair has no gateway or it is watched already."""
        if self._config.gateway is not None and self._gateway is None:
            self._gateway = kernel.arp_socket(network.interface, self._config.gateway)
            self._loop.watch(self._gateway, self._on_gateway)

    def close_gateway(self) -> None:
        if self._gateway is not None:
            self._loop.forget(self._gateway)
            self._gateway.close()
            self._gateway = None

    def gateway(self, now: float) -> Optional[str]:
        """`ok`, `lost`, or None: nothing new is known of it."""
        sock, gateway = self._gateway, self._config.gateway
        if sock is None or gateway is None:
            return None
        if now - self._asked_at >= GATEWAY_INTERVAL:
            self._asked_at = now
            mac = self._interfaces.mac_of("public")
            try:
                if len(mac) == 6:
                    kernel.ask(sock, mac, self._config.network("public").address, gateway)
            except OSError:
                pass
        if self._seen_at is not None and now - self._seen_at < 2 * GATEWAY_INTERVAL:
            return "ok"
        return "lost" if now - self._since >= 4 * GATEWAY_INTERVAL else None

    def _on_gateway(self, sock: Any) -> None:
        try:
            while True:
                sock.recv(64)
                self._seen_at = kernel.boottime()
        except OSError:
            return
