"""What hotpair was asked to set up on this node (infra/services/network.ts writes it). The server is not asked here."""

import json
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

PATH = "/etc/hotpair/network.json"
DIRECTORY = "/etc/systemd/network/"
PREFIX = DIRECTORY + "05-hotpair-"


@dataclass(frozen=True)
class Card:
    """A network card, by the name of its interface or by its permanent MAC address."""

    id: str
    ssh: bool
    """Its owner accepts that SSH comes over it."""


@dataclass(frozen=True)
class Device:
    """An interface that gets a file of its own: a bond, a VLAN, or a card."""

    name: str
    kind: str
    """`bond`, `vlan` or `card`."""
    mtu: int
    address: Optional[str]
    """With its prefix length; none where others stand on it."""
    cards: Tuple[str, ...]
    """Members of a bond."""
    ssh: bool
    miimon: int = 0
    """Of a bond, in milliseconds."""
    primary: Optional[str] = None
    """One of its cards."""


@dataclass(frozen=True)
class Reach:
    """Whom this node talks to over a network, whoever sets that up."""

    network: str
    address: str
    """This node's own, without prefix length."""
    peer: str
    mtu: int
    port: int
    """Where the peer's SSH server listens: the answer of any TCP port says how long its packets may be."""


@dataclass(frozen=True)
class Settings:
    files: Tuple[str, ...]
    cards: Tuple[Card, ...]
    devices: Tuple[Device, ...]
    reach: Tuple[Reach, ...]
    gateway: Optional[str]
    vips: Tuple[str, ...]
    """Without prefix length."""


def parse(text: str) -> Settings:
    """Raises ValueError, KeyError or TypeError for what infra/services/network.ts cannot have written."""
    raw = json.loads(text)
    if raw["version"] != 1:
        raise ValueError(f"version {raw['version']} of {PATH} is not known here")

    def device(one: Any) -> Device:
        return Device(
            one["name"],
            one["kind"],
            one["mtu"],
            one["address"],
            tuple(one["cards"]),
            one["ssh"],
            one["miimon"],
            one["primary"],
        )

    return Settings(
        tuple(raw["files"]),
        tuple(Card(one["id"], one["ssh"]) for one in raw["cards"]),
        tuple(device(one) for one in raw["devices"]),
        tuple(Reach(one["network"], one["address"], one["peer"], one["mtu"], one["port"]) for one in raw["reach"]),
        raw["gateway"],
        tuple(raw["vips"]),
    )


def made(settings: Settings) -> List[Device]:
    """Devices that exist because hotpair asked for them."""
    return [device for device in settings.devices if device.kind != "card"]
