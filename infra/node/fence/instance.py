"""A fence agent for servers in AWS: stops the peer's instance, by the role of the one that this runs on. It is called
as every other agent is, with `name=value` lines on standard input: region, pair, plug (the peer's id), action.

Its role may stop that one instance and start none. `monitor` asks whether it may, by a dry run.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Dict, Optional
from xml.etree import ElementTree

from aws.access import Access, access
from aws.calls import CallError, ec2
from aws.metadata import Metadata, MetadataError
from aws.request import Unreachable

# As every agent's exit codes (ClusterLabs, FenceAgentAPI.md).
ON, FAILED, OFF = 0, 1, 2
# Between two looks at an instance that is stopping (seconds).
PAUSE = 1.0
# Amazon EC2 user guide, instance life cycle: the machine is gone. While it is `stopping` or `shutting-down`, it is not.
_GONE = ("stopped", "terminated")


class Unclear(Exception):
    """Which instance the peer is cannot be said; the message says why."""


@dataclass(frozen=True)
class Instance:
    id: str
    state: str

    @property
    def off(self) -> bool:
        return self.state in _GONE


class Peer:
    """All methods raise CallError, MetadataError, Unreachable, Unclear."""

    def __init__(self, options: Dict[str, str]) -> None:
        self._pair, self._plug = options["pair"], options["plug"]
        others = {name[len("endpoint_") :]: url for name, url in options.items() if name.startswith("endpoint_")}
        self._access: Access = access(options["region"], others)
        self._metadata = Metadata(self._access)

    def find(self) -> Optional[Instance]:
        """By its tags, which the stack writes. None: AWS knows none."""
        filters = {"hotpair:pair": self._pair, "hotpair:node": self._plug}
        parameters: Dict[str, str] = {}
        for number, (tag, value) in enumerate(filters.items(), 1):
            parameters[f"Filter.{number}.Name"] = f"tag:{tag}"
            parameters[f"Filter.{number}.Value.1"] = value
        found = _instances(ec2(self._access, self._metadata, "DescribeInstances", parameters))
        # One that was exchanged is still shown for an hour, beside its successor.
        there = [each for each in found if not each.off] or [each for each in found if each.state == "stopped"]
        if len(there) > 1:
            raise Unclear(f"{', '.join(each.id for each in there)} have the tags of {self._pair}'s node {self._plug}")
        return there[0] if there else next(iter(found), None)

    def stop(self, instance: Instance, dry: bool = False) -> None:
        # A machine that is frozen never shuts down by itself, and nothing that it would still write is wanted.
        how = {"InstanceId.1": instance.id, "Force": "true", "SkipOsShutdown": "true"}
        ec2(self._access, self._metadata, "StopInstances", how, dry)


def _instances(answer: bytes) -> list[Instance]:
    try:
        root = ElementTree.fromstring(answer)
    except ElementTree.ParseError as error:
        raise Unclear(f"AWS's answer is not understood: {error}") from None
    return [
        Instance(item.findtext("{*}instanceId", ""), item.findtext("{*}instanceState/{*}name", ""))
        for item in root.iterfind("{*}reservationSet/{*}item/{*}instancesSet/{*}item")
    ]


def main() -> int:
    options: Dict[str, str] = {}
    for line in sys.stdin:
        name, separator, value = line.rstrip("\n").partition("=")
        if separator:
            options[name] = value
    action = options.get("action", "")
    try:
        if action not in ("off", "status", "monitor"):
            raise Unclear(f'action "{action}": expected off, status or monitor')
        return act(Peer(options), action)
    except KeyError as error:
        print(f"the option {error} is missing")
    except (CallError, MetadataError, Unreachable, Unclear) as error:
        print(f"AWS: {error}")
    return FAILED


def act(peer: Peer, action: str) -> int:
    instance = peer.find()
    if action == "monitor":
        return may_stop(peer, instance)
    if instance is None:
        # Gone for more than an hour, or never made, or not known yet: no proof that nothing runs.
        raise Unclear("there is no instance with the peer's tags")
    if action == "off" and not instance.off:
        peer.stop(instance)
        instance = wait_until_off(peer, instance)
    print(f"{instance.id}: {instance.state}")
    return OFF if action == "status" and instance.off else ON


def wait_until_off(peer: Peer, instance: Instance) -> Instance:
    """For as long as whoever called lets it."""
    while not instance.off:
        time.sleep(PAUSE)
        try:
            instance = peer.find() or instance
        except (CallError, Unreachable, MetadataError) as error:
            print(f"AWS: {error}", flush=True)
    return instance


def may_stop(peer: Peer, instance: Optional[Instance]) -> int:
    if instance is None or instance.state == "terminated":
        print("there is no instance to stop: whether this node may is not proven")
        return ON
    started = time.monotonic()
    try:
        peer.stop(instance, dry=True)
    except CallError as error:
        if error.kind != "dry":
            raise
        took = time.monotonic() - started
        print(f"{instance.id}: {instance.state}; this node may stop it, answered after {took:.3f} s")
        return ON
    raise Unclear("a dry run was carried out as if it were none")
