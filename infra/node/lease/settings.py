"""Reads /etc/hotpair/lease.json, which hotpair writes: who this node is, where the members are, the lease's timing.

Seconds throughout. Nothing secret is in it; the private key has a file of its own. What a unit of systemd must say for
the timing to hold is written in hold.py.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Tuple
from urllib.parse import urlsplit

from .record import NO_DATA
from .timing import Timing, broken_rules

SETTINGS_PATH = "/etc/hotpair/lease.json"
INCARNATION_PATH = "/var/lib/hotpair/incarnation"
RUN = "/run/hotpair"
FENCE_PATH = "/var/lib/hotpair/fence.json"
ETCD_PROGRAM = "/usr/lib/hotpair/hotpair-etcd"
VERSION = 1
MEMBERS = ("a", "b", "witness")
# What an incarnation may look like; it stands in etcd, in a file and in messages.
INCARNATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")


class SettingsError(Exception):
    """A file that is missing or not understood; the message names it and says what to do."""


@dataclass(frozen=True)
class Settings:
    pair: str
    # "a" or "b"
    node: str
    name: str
    peer: str
    peer_name: str
    witness_name: str
    # member ("a", "b", "witness") to (host, port)
    endpoints: Mapping[str, Tuple[str, int]]
    ca: str
    certificate: str
    key: str
    timing: Timing
    # systemd units that write, in the order in which they are killed
    writers: Tuple[str, ...]
    # whether there is anything that a node could lack
    keeps_data: bool = True
    # Places on this server; tests move them.
    run: str = RUN
    incarnation_path: str = INCARNATION_PATH
    epoch_path: str = ""
    # makes this node's member a cluster of its own (`PROGRAM PAIR new-epoch`)
    etcd_program: str = ETCD_PROGRAM
    # what hotpair-fence remembers of its last shot, where the pair has fencing
    fence_path: str = FENCE_PATH

    @property
    def prefix(self) -> str:
        """Of every key of this pair."""
        return f"/hotpair/{self.pair}/"

    @property
    def etcd_unit(self) -> str:
        return f"hotpair-etcd-{self.pair}.service"

    @property
    def data(self) -> str:
        return f"/var/lib/hotpair/etcd/{self.pair}"

    def host(self, member: str) -> str:
        """What an operator calls the host of a member."""
        return {self.node: self.name, self.peer: self.peer_name, "witness": self.witness_name}[member]


def load(path: str = "") -> Settings:
    path = path or os.environ.get("HOTPAIR_LEASE_SETTINGS", SETTINGS_PATH)
    try:
        with open(path, encoding="utf-8") as file:
            raw = json.load(file)
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist; apply the pair's configuration first (hotpair up)") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}; apply the pair's configuration again (hotpair up)") from None
    try:
        return parse(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{path}: not understood ({error!r}); apply the configuration again (hotpair up)") from None


def parse(raw: Dict[str, Any]) -> Settings:
    if raw["version"] != VERSION:
        raise ValueError(f"version {raw['version']}, expected {VERSION}")
    lease = raw["lease"]
    timing = Timing(
        renewal=float(lease["renewal"]),
        rpc_timeout=float(lease["rpcTimeout"]),
        deadline=float(lease["deadline"]),
        takeover=float(lease["takeover"]),
        watchdog=float(lease["watchdog"]),
        stop_timeout=float(lease["stopTimeout"]),
        drift=float(lease["drift"]),
        margin=float(lease["margin"]),
    )
    node, peer = str(raw["node"]["id"]), str(raw["peer"]["id"])
    if sorted((node, peer)) != ["a", "b"]:
        raise ValueError(f'node and peer are "{node}" and "{peer}", expected "a" and "b"')
    paths = raw.get("paths", {})
    pair = str(raw["pair"])
    return Settings(
        pair=pair,
        node=node,
        name=str(raw["node"]["name"]),
        peer=peer,
        peer_name=str(raw["peer"]["name"]),
        witness_name=str(raw["witness"]["name"]),
        endpoints={member: _endpoint(raw["endpoints"][member]) for member in MEMBERS},
        ca=str(raw["ca"]),
        certificate=str(raw["certificate"]),
        key=str(raw["key"]),
        timing=timing,
        writers=tuple(str(unit) for unit in raw["writers"]),
        keeps_data=bool(raw.get("keepsData", True)),
        run=str(paths.get("run", RUN)),
        incarnation_path=str(paths.get("incarnation", INCARNATION_PATH)),
        fence_path=str(paths.get("fence", FENCE_PATH)),
        etcd_program=str(paths.get("etcd", ETCD_PROGRAM)),
        epoch_path=str(paths.get("epoch", f"/var/lib/hotpair/etcd/{pair}.epoch")),
    )


def _endpoint(url: str) -> Tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None or parts.port is None:
        raise ValueError(f'endpoint "{url}" is not https://HOST:PORT')
    return parts.hostname, parts.port


def chain_stop(settings: Settings) -> float:
    """S: the stop times of the chain, summed: the lease's own unit and every unit that writes."""
    return settings.timing.stop_timeout * (1 + len(settings.writers))


def complaints(settings: Settings) -> List[str]:
    """What would make this node unsafe or useless as a holder; empty when nothing does."""
    found = list(broken_rules(settings.timing, chain_stop(settings)))
    for path in (settings.ca, settings.certificate, settings.key):
        if not os.access(path, os.R_OK):
            found.append(f"{path} cannot be read; apply the pair's configuration again (hotpair up)")
    for unit in settings.writers:
        if not unit.endswith(".service"):
            found.append(f'writers: "{unit}" is not the full name of a service unit')
    return found


def read_incarnation(settings: Settings) -> str:
    """Of this node's data; empty when it has none yet, NO_DATA when the pair keeps none."""
    if not settings.keeps_data:
        return NO_DATA
    try:
        with open(settings.incarnation_path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def read_epoch(settings: Settings) -> int:
    """The epoch that this node's data and etcd member belong to; 1 when no file says otherwise."""
    try:
        with open(settings.epoch_path, encoding="ascii") as file:
            return int(file.read().strip())
    except FileNotFoundError:
        return 1
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{settings.epoch_path}: {error}; it must hold one number. Find the pair's epoch with "
            f"`hotpair-lease status` on the other node before writing it"
        ) from None


def write_durably(path: str, text: str, mode: int = 0o644) -> None:
    """Replaces a small file; after a crash it is the old one or the new one."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
