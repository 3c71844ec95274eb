"""Global transaction ids as positions: `0-11-105,1-12-7` is one last transaction per domain.

In strict mode (gtid_strict_mode) a domain's sequence numbers only ever grow, whoever writes, so that two positions can
be compared by number alone. Nothing here talks to a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple


@dataclass(frozen=True)
class Transaction:
    domain: int
    server: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.domain}-{self.server}-{self.sequence}"


Position = Dict[int, Transaction]


def parse(text: str) -> Position:
    """`0-11-105,1-12-7` by domain; empty text is the empty position. Raises ValueError."""
    found: Position = {}
    for each in text.replace("\n", "").split(","):
        if not each.strip():
            continue
        domain, server, sequence = (int(number) for number in each.strip().split("-"))
        found[domain] = Transaction(domain, server, sequence)
    return found


def show(position: Position) -> str:
    return ",".join(str(position[domain]) for domain in sorted(position))


def reaches(position: Position, goal: Position) -> bool:
    """True when every transaction up to `goal` is part of `position`."""
    return all(domain in position and position[domain].sequence >= goal[domain].sequence for domain in goal)


def beyond(position: Position, limit: Position) -> Tuple[Transaction, ...]:
    """The last transaction of every domain in which `position` goes further than `limit`, or went elsewhere."""
    found = []
    for domain in sorted(position):
        own, other = position[domain], limit.get(domain)
        if other is None or own.sequence > other.sequence or (own.sequence == other.sequence and own != other):
            found.append(own)
    return tuple(found)


def behind(position: Position, goal: Position) -> int:
    """How many transactions `position` lacks to be at `goal`; what it has in addition does not count."""
    lacking = 0
    for domain, transaction in goal.items():
        own = position.get(domain)
        lacking += max(0, transaction.sequence - (own.sequence if own is not None else 0))
    return lacking
