"""Reads /etc/hotpair/address.json, which hotpair writes: what is moved, how, and from where. Seconds throughout."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Mapping, Tuple

from aws.access import TIMEOUT, Access, access

SETTINGS_PATH = "/etc/hotpair/address.json"
STATE_PATH = "/run/hotpair/address.state.json"
VERSION = 1
METHODS = ("secondary-ip", "elastic-ip", "route", "dns")


class SettingsError(Exception):
    """A file that is missing or not understood; the message names it and says what to do."""


@dataclass(frozen=True)
class Settings:
    pair: str
    node: str
    method: str
    # region, endpoints, longest wait for one answer
    access: Access
    # the public interface, whose addresses and network interface in AWS are meant
    interface: str
    # the pair's VIPs, plain: they are on this node while it is active
    vips: Tuple[str, ...]
    # elastic-ip: this node's private address, with which the Elastic IP is associated; dns: what the record says
    own: str
    # dns
    hosted_zone: str
    record: str
    ttl: int
    # what the estimate counts with: after this long without success, somebody should know
    within: float
    state: str = STATE_PATH


def load(path: str = "") -> Settings:
    path = path or os.environ.get("HOTPAIR_ADDRESS_SETTINGS", SETTINGS_PATH)
    try:
        with open(path, encoding="utf-8") as file:
            raw = json.load(file)
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist: this pair is not in AWS") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}; apply the pair's configuration again (hotpair up)") from None
    try:
        return parse(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{path}: not understood ({error!r}); apply the configuration again (hotpair up)") from None


def parse(raw: Mapping[str, Any]) -> Settings:
    if raw["version"] != VERSION:
        raise ValueError(f"version {raw['version']}, expected {VERSION}")
    method, vips = str(raw["method"]), tuple(str(address) for address in raw["vips"])
    if method not in METHODS or not vips:
        raise ValueError(f"method {method} is none of {', '.join(METHODS)}, or there is no VIP")
    endpoints = {str(name): str(url) for name, url in raw.get("endpoints", {}).items()}
    return Settings(
        pair=str(raw["pair"]),
        node=str(raw["node"]),
        method=method,
        access=access(str(raw["region"]), endpoints, float(raw.get("timeout", TIMEOUT))),
        interface=str(raw["interface"]),
        vips=vips,
        own=str(raw["own"]),
        hosted_zone=str(raw["hostedZone"]),
        record=str(raw["record"]),
        ttl=int(raw["ttl"]),
        within=float(raw["within"]),
        state=str(raw.get("state", STATE_PATH)),
    )
