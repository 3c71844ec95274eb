"""Reads /etc/hotpair/arbiter.json, which hotpair writes: who this node is, who its peer is, what they share.

Milliseconds in the file (field names say so), seconds in the code. Nothing secret is in it: keys have their own file.
"""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from .quorum import Authority
from .settings import Settings, VipSettings

CONFIG_PATH = "/etc/hotpair/arbiter.json"
KEY_PATH = "/etc/hotpair/beacon.key"
MAINTENANCE_PATH = "/var/lib/hotpair/maintenance"
CONFIG_VERSION = 1


class ConfigError(Exception):
    """A file that is missing or not understood; the message names it and says what to do."""


@dataclass(frozen=True)
class Network:
    name: str
    interface: str
    address: str
    peer: str


@dataclass(frozen=True)
class Vip:
    name: str
    address: str
    prefix: int
    # the public interface; with `vmac` the address stands on a macvlan on top of it
    interface: str
    router_id: int
    preferred: Optional[str]


@dataclass(frozen=True)
class Config:
    pair: str
    node: str
    name: str
    peer: str
    peer_name: str
    networks: Tuple[Network, ...]
    port: int
    vips: Tuple[Vip, ...]
    gateway: Optional[str]
    haproxy_socket: Optional[str]
    # program that says how this node's database is, as JSON; None: there is none
    database: Optional[str]
    # program that says how the last shot at the peer ended, as JSON; None: this pair has no fencing
    fencing: Optional[str]
    # program that says where AWS sends clients, as JSON; None: this pair is not there
    address: Optional[str]
    # program that says how the networks are that hotpair sets up, as JSON; None: they are the server's own
    managed: Optional[str]
    # systemd units that `status` reports
    units: Tuple[str, ...]
    settings: Settings

    def network(self, name: str) -> Network:
        return next(network for network in self.networks if network.name == name)


def load(path: str = CONFIG_PATH) -> Config:
    try:
        with open(path, encoding="utf-8") as file:
            raw = json.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; apply the pair's configuration first (hotpair up)") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}; apply the pair's configuration again (hotpair up)") from None
    try:
        return parse(raw)
    except (KeyError, TypeError, ValueError, StopIteration, OSError) as error:
        raise ConfigError(f"{path}: not understood ({error!r}); apply the configuration again (hotpair up)") from None


def parse(raw: Dict[str, Any]) -> Config:
    if raw["version"] != CONFIG_VERSION:
        raise ValueError(f"version {raw['version']}, expected {CONFIG_VERSION}")
    networks = tuple(
        Network(entry["name"], entry["interface"], entry["address"], entry["peer"]) for entry in raw["networks"]
    )
    vips = tuple(
        Vip(
            entry["name"],
            entry["address"],
            int(entry["prefix"]),
            entry["interface"],
            int(entry["routerId"]),
            entry["preferred"],
        )
        for entry in raw["vips"]
    )
    said = raw.get("authority")
    authority = (
        None
        if said is None
        else Authority(said["witness"], *(said[name] / 1000 for name in ("renewalMs", "deadlineMs", "takeoverMs")))
    )
    heartbeat = next(network for network in networks if network.name == "heartbeat")
    settings = Settings(
        node=raw["node"]["id"],
        peer=raw["peer"]["id"],
        vips=tuple(VipSettings(vip.name, vip.preferred) for vip in vips),
        wins_conflict=socket.inet_aton(heartbeat.address) > socket.inet_aton(heartbeat.peer),
        digest=shared_digest(raw),
        advert=raw["advertMs"] / 1000,
        priority=int(raw["priority"]),
        beacon=raw["beaconMs"] / 1000,
        silence=raw["silenceMs"] / 1000,
        evidence=raw["evidenceMs"] / 1000,
        hold=raw["holdMs"] / 1000,
        service_dead=raw["serviceDeadMs"] / 1000,
        failback=raw["failbackMs"] / 1000,
        authority=authority,
    )
    return Config(
        pair=raw["pair"],
        node=raw["node"]["id"],
        name=raw["node"]["name"],
        peer=raw["peer"]["id"],
        peer_name=raw["peer"]["name"],
        networks=networks,
        port=int(raw["port"]),
        vips=vips,
        gateway=raw["gateway"],
        haproxy_socket=raw["haproxySocket"],
        database=raw.get("database"),
        fencing=raw.get("fencing"),
        address=raw.get("address"),
        managed=raw.get("managed"),
        units=tuple(raw["units"]),
        settings=settings,
    )


def shared_digest(raw: Dict[str, Any]) -> str:
    """Over what both nodes must have alike for VRRP to be one protocol: advert interval, router ids, addresses."""
    shared = {
        "advertMs": raw["advertMs"],
        "vips": [[vip["name"], vip["address"], vip["prefix"], vip["routerId"]] for vip in raw["vips"]],
    }
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:12]
