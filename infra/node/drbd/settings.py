"""Reads /etc/hotpair/drbd.json, which hotpair writes: which resources this node has, and what is mounted on them.

DRBD's own configuration is in files of its own (/etc/hotpair/drbd), in the dialects of both drivers.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

SETTINGS_PATH = "/etc/hotpair/drbd.json"
DIALECTS_PATH = "/etc/hotpair/drbd"
STATE_PATH = "/var/lib/hotpair/drbd"
RUN = "/run/hotpair"
VERSION = 1


class SettingsError(Exception):
    """A file that is missing or not understood; the message names it and says what to do."""


@dataclass(frozen=True)
class Resource:
    name: str
    minor: int
    # this node's disk
    disk: str
    # this node's device for metadata; None: at the end of the disk
    metadata: Optional[str]

    @property
    def device(self) -> str:
        return f"/dev/drbd{self.minor}"


@dataclass(frozen=True)
class Volume:
    resource: str
    file_system: str
    mount_point: str
    mount_unit: str
    # services that run on it
    units: Tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    pair: str
    # "a" or "b"
    node: str
    name: str
    peer: str
    peer_name: str
    resources: Tuple[Resource, ...]
    volumes: Tuple[Volume, ...]
    # Places on this server; tests move them.
    run: str = RUN
    state: str = STATE_PATH
    dialects: str = DIALECTS_PATH

    def resource(self, name: str) -> Resource:
        for resource in self.resources:
            if resource.name == name:
                return resource
        raise SettingsError(
            f'"{name}" is not a resource of this pair ({", ".join(each.name for each in self.resources)})'
        )


def load(path: str = "") -> Settings:
    path = path or os.environ.get("HOTPAIR_DRBD_SETTINGS", SETTINGS_PATH)
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
    node, peer = str(raw["node"]["id"]), str(raw["peer"]["id"])
    if sorted((node, peer)) != ["a", "b"]:
        raise ValueError(f'node and peer are "{node}" and "{peer}", expected "a" and "b"')
    paths = raw.get("paths", {})
    return Settings(
        pair=str(raw["pair"]),
        node=node,
        name=str(raw["node"]["name"]),
        peer=peer,
        peer_name=str(raw["peer"]["name"]),
        resources=tuple(
            Resource(
                name=str(each["name"]),
                minor=int(each["minor"]),
                disk=str(each["disk"]),
                metadata=None if each["metadata"] is None else str(each["metadata"]),
            )
            for each in raw["resources"]
        ),
        volumes=tuple(
            Volume(
                resource=str(each["resource"]),
                file_system=str(each["fileSystem"]),
                mount_point=str(each["mountPoint"]),
                mount_unit=str(each["mountUnit"]),
                units=tuple(str(unit) for unit in each["units"]),
            )
            for each in raw["volumes"]
        ),
        run=str(paths.get("run", RUN)),
        state=str(paths.get("state", STATE_PATH)),
        dialects=str(paths.get("dialects", DIALECTS_PATH)),
    )
