"""What the rules tell the holder to do. Pure data; hold carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from .record import Request


@dataclass(frozen=True)
class Send:
    ticket: int
    member: str
    request: Request


@dataclass(frozen=True)
class Kill:
    """All units that write, now."""


@dataclass(frozen=True)
class Publish:
    """Possession until this moment, for units and monitors; 0: none."""

    until: float


@dataclass(frozen=True)
class Taken:
    """Node that held the lease before it was taken; empty: nobody. For what has to know whether it was given back."""

    origin: str


@dataclass(frozen=True)
class Notify:
    """To systemd."""

    text: str


@dataclass(frozen=True)
class Adopt:
    """Write the epoch file."""

    epoch: int


@dataclass(frozen=True)
class Reply:
    order: int
    error: str
    text: str = ""


@dataclass(frozen=True)
class Log:
    text: str


@dataclass(frozen=True)
class Exit:
    code: int


Action = Union[Send, Kill, Publish, Taken, Notify, Adopt, Reply, Log, Exit]
