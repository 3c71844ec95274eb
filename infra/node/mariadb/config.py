"""Reads /etc/hotpair/mariadb.json, which hotpair writes: who this node is, who its peer is, where their servers are.

Milliseconds in the file (field names say so), seconds in the code. The only secret, the password of replication, has a
file of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from .rules import Timing

CONFIG_PATH = "/etc/hotpair/mariadb.json"
PASSWORD_PATH = "/etc/hotpair/mariadb/replication.password"
CONFIG_VERSION = 1


class ConfigError(Exception):
    """A file that is missing or not understood; the message names it and says what to do."""


@dataclass(frozen=True)
class Config:
    pair: str
    node: str
    name: str
    peer: str
    peer_name: str
    port: int
    role_port: int
    # where HAProxy asks for the role: this node's address on the network of the clients
    role_address: str
    # on the network that replication uses
    address: str
    peer_address: str
    server_id: int
    data_directory: str
    socket: str
    # of mariadbd itself
    defaults: str
    # longest lag with which the replica takes reads; None: it takes none
    longest_lag: Optional[float]
    adopt: bool
    # certificate authority, certificate and key of this node, as the server's user can read them
    ca: str
    certificate: str
    key: str
    heartbeat: float
    timing: Timing


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
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not understood ({error!r}); apply the configuration again (hotpair up)") from None


def parse(raw: Dict[str, Any]) -> Config:
    if raw["version"] != CONFIG_VERSION:
        raise ValueError(f"version {raw['version']}, expected {CONFIG_VERSION}")
    longest = raw["longestLagMs"]
    return Config(
        pair=raw["pair"],
        node=raw["node"]["id"],
        name=raw["node"]["name"],
        peer=raw["peer"]["id"],
        peer_name=raw["peer"]["name"],
        port=int(raw["port"]),
        role_port=int(raw["rolePort"]),
        role_address=raw["roleAddress"],
        address=raw["address"],
        peer_address=raw["peerAddress"],
        server_id=int(raw["serverId"]),
        data_directory=raw["dataDirectory"],
        socket=raw["socket"],
        defaults=raw["defaults"],
        longest_lag=None if longest is None else longest / 1000,
        adopt=bool(raw["adopt"]),
        ca=raw["tls"]["ca"],
        certificate=raw["tls"]["certificate"],
        key=raw["tls"]["key"],
        heartbeat=raw["heartbeatMs"] / 1000,
        timing=Timing(
            loss=raw["replicaLossMs"] / 1000,
            disconnected=raw["replicaDisconnectedMs"] / 1000,
        ),
    )


def passwords(path: str = PASSWORD_PATH) -> Tuple[str, ...]:
    """Of replication, newest first; two while a rotation is under way. Raises ConfigError."""
    found: Dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                words = line.split()
                if len(words) == 2 and words[0] in ("current", "previous"):
                    found[words[0]] = words[1]
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; apply the configuration again (hotpair up)") from None
    if "current" not in found:
        raise ConfigError(f"{path}: no line `current PASSWORD`; apply the configuration again (hotpair up)")
    return tuple(found[word] for word in ("current", "previous") if word in found)
