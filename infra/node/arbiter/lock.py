"""The pair-wide apply lock: at most one change at a time on the two nodes together.

A node claims with a token; the peer, when it is heard, must concede. Both claims travel in beacons; when both nodes
claim at once, node `a` goes first. A lock expires, so that a killed apply does not keep it. Pure; times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

# What is granted survives a restart of the arbiter here, as the daemon and the verbs write it.
LOCK_PATH = "/run/hotpair/lock.json"
# Longer than any apply takes; an apply that goes on asks again with its token.
LIFETIME = 900.0


@dataclass
class Claim:
    token: str
    granted: bool
    expires: float


class PairLock:
    def __init__(self, node: str, claim: Optional[Claim] = None) -> None:
        """`claim`: the lock that this node had before its arbiter was restarted."""
        self.node = node
        self.claim = claim
        self._peer_claim: Optional[Tuple[str, bool]] = None
        self._peer_concedes: Optional[str] = None
        self._peer_heard = False

    def peer(self, heard: bool, claim: Optional[Tuple[str, bool]], concedes: Optional[str]) -> None:
        """What the peer says of the lock; a peer that is not heard has no say."""
        self._peer_heard = heard
        self._peer_claim = claim if heard else None
        self._peer_concedes = concedes if heard else None

    @property
    def concedes(self) -> Optional[str]:
        """Token of the peer's claim that this node accepts."""
        if self._peer_claim is None:
            return None
        token, granted = self._peer_claim
        mine = self.claim
        if mine is None or mine.token == token:
            return token
        if mine.granted:
            return None
        return token if granted or self.node != "a" else None

    def request(self, token: str, now: float) -> bool:
        """Claims, or renews what was granted. True: granted. Ask `advance` later otherwise."""
        self.advance(now)
        if self.claim is None:
            self.claim = Claim(token, False, now + LIFETIME)
        if self.claim.token != token:
            return False
        if self.claim.granted:
            self.claim.expires = now + LIFETIME
        return self.advance(now) and self.claim is not None and self.claim.token == token

    def advance(self, now: float) -> bool:
        """True when this node has the lock."""
        mine = self.claim
        if mine is not None and now >= mine.expires:
            self.claim = mine = None
        if mine is None:
            return False
        if not mine.granted:
            peer = self._peer_claim
            free = peer is None or peer[0] == mine.token or not peer[1]
            if not self._peer_heard or (free and self._peer_concedes == mine.token):
                mine.granted = True
        return mine.granted

    def release(self, token: str) -> bool:
        """False when this node's claim is another one's; nothing to release is fine."""
        if self.claim is not None and self.claim.token != token:
            return False
        self.claim = None
        return True

    def withdraw(self, token: str) -> None:
        """Gives up waiting."""
        if self.claim is not None and self.claim.token == token and not self.claim.granted:
            self.claim = None

    def holder(self) -> Optional[str]:
        """Whose claim stands in the way, for messages."""
        if self._peer_claim is not None:
            return f"the peer ({self._peer_claim[0]})"
        if self.claim is not None:
            return f"this node ({self.claim.token})"
        return None
