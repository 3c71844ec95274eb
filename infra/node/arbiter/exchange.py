"""Beacons out and in: one socket per network, what is sent and sealed, what is heard and believed.

What a beacon proves is in `beacon`; what follows from it is the rules' business.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import beacon, config, kernel
from .gate import RUN
from .lock import PairLock
from .loop import Loop
from .quorum import NEVER
from .scribe import Scribe
from .word import Word

PEER_SEEN_RUN = f"{RUN}/peer-seen"
PEER_SEEN_DISK = "/var/lib/hotpair/peer-seen"
SESSION_PATH = "/var/lib/hotpair/beacon-session"


class Exchange:
    def __init__(
        self,
        settings: config.Config,
        keys: List[beacon.Key],
        loop: Loop,
        scribe: Scribe,
        on_word: Callable[[Word, float], None],
    ) -> None:
        """`on_word`: called with what the peer says, and when the kernel received it; once per beacon."""
        self._config = settings
        self._loop = loop
        self._scribe = scribe
        self._on_word = on_word
        self._keyring = beacon.Keyring(keys)
        self._session = self._new_session()
        self._sequence = 0
        self._replay = beacon.Replay(*_peer_seen())
        self._sockets: Dict[str, socket.socket] = {}
        # per network: when the last authentic beacon came
        self.heard_at: Dict[str, float] = {}
        self.last: Optional[beacon.Beacon] = None
        self._refused_at = NEVER
        self._saved_newest: Tuple[int, int] = (0, 0)
        self._saved_at = NEVER

    def open(self, network: config.Network) -> None:
        """Raises OSError; does nothing when it is open."""
        if network.name not in self._sockets:
            sock = kernel.beacon_socket(network.interface, network.address, self._config.port)
            self._sockets[network.name] = sock
            self._loop.watch(sock, self._reader(network))

    def close(self, network: str) -> None:
        sock = self._sockets.pop(network, None)
        if sock is not None:
            self._loop.forget(sock)
            sock.close()

    def send(self, word: Word, lock: PairLock) -> None:
        now = kernel.boottime()
        self._sequence += 1
        claim = lock.claim
        hears: Dict[str, Optional[int]] = {}
        for network in self._config.networks:
            at = self.heard_at.get(network.name)
            hears[network.name] = None if at is None else round((now - at) * 1000)
        payload = beacon.encode_payload(
            beacon.Beacon(
                node=self._config.node,
                session=self._session,
                sequence=self._sequence,
                word=word,
                keys=self._keyring.ids,
                hears=hears,
                claim=None if claim is None else (claim.token, claim.granted),
                concedes=lock.concedes,
            )
        )
        key = self._keyring.sending()
        for network in self._config.networks:
            sock = self._sockets.get(network.name)
            if sock is None:
                continue
            try:
                sock.sendto(beacon.seal(payload, network.name, key), (network.peer, self._config.port))
            except OSError:
                # link down, no route, no buffer: the peer judges by what arrives
                pass

    def remember(self, now: float) -> None:
        """Once a second: saves what must not be believed twice, and tries other keys when the peer is silent."""
        newest = self._replay.newest
        if newest != self._saved_newest:
            text = f"{newest[0]} {newest[1]}\n"
            self._scribe.order(save=PEER_SEEN_RUN, text=text)
            if newest[0] != self._saved_newest[0] or now - self._saved_at > 60.0:
                self._saved_at = now
                self._scribe.order(save=PEER_SEEN_DISK, text=text)
            self._saved_newest = newest
        if self.last is not None and now - max(self.heard_at.values(), default=NEVER) > 1.0:
            self._keyring.peer_accepts(None)

    def _reader(self, network: config.Network) -> Callable[[Any], None]:
        def read(sock: socket.socket) -> None:
            for datagram, source, received in kernel.drain(sock):
                if source == network.peer:
                    self._hear(network.name, datagram, received)

        return read

    def _hear(self, network: str, datagram: bytes, received: float) -> None:
        said = beacon.unseal(datagram, network, self._keyring.keys)
        if said is None or said.node != self._config.peer:
            self._refuse(network, "it is not authentic: does the peer have another key (/etc/hotpair/beacon.key)?")
            return
        admitted = self._replay.admit(network, said)
        if admitted is None:
            if said.session < self._replay.newest[0]:
                self._refuse(
                    network,
                    "it is from an earlier start of the peer. If the peer was reinstalled or its clock set back: "
                    f"rm {PEER_SEEN_RUN} {PEER_SEEN_DISK}; systemctl restart hotpair-arbiter",
                )
            return
        self.heard_at[network] = received
        if not admitted:
            return
        before = (None, None) if self.last is None else (self.last.claim, self.last.concedes)
        self.last = said
        self._keyring.peer_accepts(said.keys)
        self._on_word(said.word, received)
        if (said.claim, said.concedes) != before:
            self._loop.changed = True

    def _refuse(self, network: str, why: str) -> None:
        """Says so, at most every 10 s: the two nodes do not understand each other, or a third one is at work."""
        now = kernel.boottime()
        if now - self._refused_at >= 10.0:
            self._refused_at = now
            self._scribe.log(f"a beacon on the {network} network is refused: {why}")

    def _new_session(self) -> int:
        """Larger than every earlier one of this node, also when its clock was set back."""
        os.makedirs(os.path.dirname(SESSION_PATH), exist_ok=True)
        try:
            with open(SESSION_PATH, encoding="ascii") as file:
                before = int(file.read())
        except (OSError, ValueError):
            before = 0
        session = max(before + 1, time.time_ns() // 1000)
        self._scribe.order(save=SESSION_PATH, text=f"{session}\n")
        return session


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
