"""What the two nodes tell each other: authenticated datagrams, sent every few milliseconds over every network.

Wire format, version 1: magic `HPB`, version byte, network byte, key id (4), HMAC-SHA256 (32) over everything else, then
JSON. A receiver of another version that knows the magic reads what it understands: unknown fields are ignored, missing
ones have defaults. A beacon proves who sent it (key), that it is not an old one (session and sequence number), and over
which network it came (network byte under the HMAC, and the socket's interface).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .word import Gate, PeerVip, Standing, Word

MAGIC = b"HPB"
WIRE_VERSION = 1
NETWORKS = ("public", "heartbeat", "storage")
_HEAD = struct.Struct("!3sBB4s")
_MAC = 32
MAX_BYTES = 1400


@dataclass(frozen=True)
class Key:
    """A shared secret; its id follows from it, so that both nodes name it alike whatever their files call it."""

    secret: bytes
    id: bytes

    @staticmethod
    def of(secret: bytes) -> Key:
        return Key(secret, hmac.digest(secret, b"hotpair key id", "sha256")[:4])


def parse_keys(text: str) -> List[Key]:
    """Lines `LABEL HEX`, newest first; raises ValueError with what is wrong, never with the key."""
    keys: List[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            secret = bytes.fromhex(words[1]) if len(words) == 2 else b""
        except ValueError:
            secret = b""
        if len(secret) < 16:
            raise ValueError(f"line {number}: expected `LABEL HEX` with at least 32 hexadecimal digits")
        keys.append(Key.of(secret))
    if not keys:
        raise ValueError("no key in it")
    return keys


@dataclass(frozen=True)
class Beacon:
    node: str
    # microseconds since 1970 at the sender's start, never decreasing: orders beacons across restarts
    session: int
    sequence: int
    word: Word
    # ids of the keys that the sender accepts, newest first
    keys: Tuple[bytes, ...]
    # milliseconds since the sender heard the receiver, per network; None: never
    hears: Mapping[str, Optional[int]]
    # pair-wide apply lock: the sender's claim (token, granted) and the token of the receiver's that it concedes
    claim: Optional[Tuple[str, bool]] = None
    concedes: Optional[str] = None


def encode_payload(beacon: Beacon) -> bytes:
    word = beacon.word
    message: Dict[str, Any] = {
        "n": beacon.node,
        "se": beacon.session,
        "q": beacon.sequence,
        "d": word.digest,
        "m": int(word.maintenance),
        "ka": word.keepalived,
        "ha": word.service,
        "gw": word.gateway,
        "pu": int(word.public_up),
        "ap": int(word.applying),
        "v": {
            name: [
                int(vip.held),
                vip.state,
                int(vip.gate),
                None if vip.advert_age is None else round(vip.advert_age * 1000),
                int(vip.declines),
                int(vip.standby),
                int(vip.yields),
            ]
            for name, vip in word.vips.items()
        },
        "k": [key.hex() for key in beacon.keys],
        "h": beacon.hears,
    }
    standing = word.standing
    if standing is not None:
        insync = None if standing.insync is None else int(standing.insync)
        message["au"] = [int(standing.lease), int(standing.quorum), int(standing.witness), insync]
    if beacon.claim is not None:
        message["lk"] = [beacon.claim[0], int(beacon.claim[1])]
    if beacon.concedes is not None:
        message["lc"] = beacon.concedes
    return json.dumps(message, separators=(",", ":")).encode()


def seal(payload: bytes, network: str, key: Key) -> bytes:
    head = _HEAD.pack(MAGIC, WIRE_VERSION, NETWORKS.index(network), key.id)
    return head + hmac.digest(key.secret, head + payload, "sha256") + payload


def unseal(datagram: bytes, network: str, keys: Sequence[Key]) -> Optional[Beacon]:
    """The beacon, or None when it is not authentic, not of this network, or not understood."""
    if len(datagram) < _HEAD.size + _MAC or len(datagram) > MAX_BYTES:
        return None
    head = datagram[: _HEAD.size]
    magic, _version, network_index, key_id = _HEAD.unpack(head)
    if magic != MAGIC or network_index != NETWORKS.index(network):
        return None
    payload = datagram[_HEAD.size + _MAC :]
    mac = datagram[_HEAD.size : _HEAD.size + _MAC]
    for key in keys:
        if key.id == key_id and hmac.compare_digest(hmac.digest(key.secret, head + payload, "sha256"), mac):
            return _decode(payload)
    return None


def _decode(payload: bytes) -> Optional[Beacon]:
    try:
        message = json.loads(payload)
        vips = {}
        for name, said in message.get("v", {}).items():
            age = said[3]
            vips[str(name)] = PeerVip(
                held=bool(said[0]),
                state=str(said[1]),
                gate=Gate(int(said[2])),
                advert_age=None if age is None else float(age) / 1000,
                declines=len(said) > 4 and bool(said[4]),
                standby=len(said) > 5 and bool(said[5]),
                yields=len(said) > 6 and bool(said[6]),
            )
        standing = message.get("au")
        word = Word(
            vips=vips,
            digest=str(message.get("d", "")),
            maintenance=bool(message.get("m", 0)),
            keepalived=str(message.get("ka", "running")),
            service=str(message.get("ha", "none")),
            gateway=str(message.get("gw", "none")),
            public_up=bool(message.get("pu", 1)),
            applying=bool(message.get("ap", 0)),
            standing=None if standing is None else _standing(standing),
        )
        claim = message.get("lk")
        concedes = message.get("lc")
        return Beacon(
            node=str(message["n"]),
            session=int(message["se"]),
            sequence=int(message["q"]),
            word=word,
            keys=tuple(bytes.fromhex(key) for key in message.get("k", ())),
            hears={str(name): None if age is None else int(age) for name, age in message.get("h", {}).items()},
            claim=None if claim is None else (str(claim[0]), bool(claim[1])),
            concedes=None if concedes is None else str(concedes),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def _standing(said: Sequence[Any]) -> Standing:
    return Standing(bool(said[0]), bool(said[1]), bool(said[2]), None if said[3] is None else bool(said[3]))


class Replay:
    """Refuses what was said before. Order is (session, sequence); per network each must be newer than the last."""

    def __init__(self, session: int = 0, sequence: int = 0) -> None:
        """Starts from the newest that is known from before a restart, so that recordings are refused from the start."""
        self.newest: Tuple[int, int] = (session, sequence)
        self._by_network: Dict[str, Tuple[int, int]] = dict.fromkeys(NETWORKS, self.newest)

    def admit(self, network: str, beacon: Beacon) -> Optional[bool]:
        """None: refuse. False: authentic, but its content is already known from another network. True: news."""
        order = (beacon.session, beacon.sequence)
        if order <= self._by_network[network] or beacon.session < self.newest[0]:
            return None
        self._by_network[network] = order
        if order <= self.newest:
            return False
        self.newest = order
        return True


class Keyring:
    """Chooses the key to send with: the newest that the peer accepts; while the peer is silent, each in turn."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = list(keys)
        self._accepted: Optional[Tuple[bytes, ...]] = None
        self._turn = 0

    @property
    def ids(self) -> Tuple[bytes, ...]:
        return tuple(key.id for key in self.keys)

    def peer_accepts(self, ids: Optional[Tuple[bytes, ...]]) -> None:
        self._accepted = ids

    def sending(self) -> Key:
        if self._accepted is not None:
            for key in self.keys:
                if key.id in self._accepted:
                    return key
        self._turn += 1
        return self.keys[self._turn % len(self.keys)]

    def digest(self) -> str:
        """For status: which keys are accepted, without saying them."""
        return hashlib.sha256(b"".join(self.ids)).hexdigest()[:8]
