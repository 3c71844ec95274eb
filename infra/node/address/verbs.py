"""What an operator, hotpair and a unit call on a server. Exit codes: 0 done, 1 refused or failed, 2 wrong input."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import time
from typing import Any, Dict, Mapping, Sequence

from aws.calls import CallError
from aws.metadata import Metadata, MetadataError
from aws.request import Unreachable

from . import keep
from .move import Address, mac_of
from .settings import Settings, SettingsError, load


def hold(settings: Settings) -> int:
    """hotpair-address.service, while this node is the active one."""
    metadata = Metadata(settings.access)
    address = Address(settings, metadata, mac_of(settings.interface))

    def say(line: str) -> None:
        print(line, flush=True)

    keeper = keep.Keeper(settings, metadata, address, lambda: keep.held_vips(settings), say)

    def end(*_: object) -> None:
        # Out of a call that is under way, too: whoever ends the role does not wait for AWS.
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    with contextlib.suppress(SystemExit):
        keeper.run()
    keeper.leave("told to end: the address is left where it is")
    return 0


# A new role's rights are known everywhere after some seconds (IAM user guide, troubleshooting: eventual consistency).
PREFLIGHT_PAUSE = 3.0


def preflight(settings: Settings, wait: float) -> int:
    """Whether the node's role may make the call, without moving anything; asked again for `wait` seconds."""
    metadata = Metadata(settings.access)
    until = time.monotonic() + wait
    while True:
        try:
            print(prove(settings, metadata))
            return 0
        except (CallError, MetadataError, Unreachable):
            if time.monotonic() + PREFLIGHT_PAUSE > until:
                raise
            metadata.forget_credentials()
            time.sleep(PREFLIGHT_PAUSE)


def prove(settings: Settings, metadata: Metadata) -> str:
    if settings.method in ("secondary-ip", "dns"):
        # Neither has a dry run; that there are credentials at all is what can be known.
        metadata.credentials()
        return f"{settings.method} has no dry run: this node has a role; whether it may move the address is not proven"
    started = time.monotonic()
    try:
        Address(settings, metadata, mac_of(settings.interface)).bring(settings.vips, dry=True)
    except CallError as error:
        if error.kind != "dry":
            raise
        return f"{settings.method}: allowed, answered after {time.monotonic() - started:.3f} s"
    raise MetadataError(f"{settings.method}: a dry run was carried out as if it were none")


# Of one answer of the metadata: who asks for the state waits for no more.
STATUS_TIMEOUT = 0.5


def status(settings: Settings) -> Dict[str, Any]:
    """AddressStatus of infra/model/status.ts."""
    found: Dict[str, Any] = {"state": "never moved", "at": 0, "vips": [], "attempts": 0, "elapsedMs": 0, "error": None}
    try:
        with open(settings.state, encoding="utf-8") as file:
            found.update(json.load(file))
    except (OSError, ValueError):
        pass
    try:
        metadata = Metadata(dataclasses.replace(settings.access, timeout=STATUS_TIMEOUT))
        reached = Address(settings, metadata, mac_of(settings.interface)).reached()
    except (MetadataError, Unreachable):
        reached = None
    return {"method": settings.method, **found, "reached": reached}


def describe(found: Mapping[str, Any]) -> str:
    """Status for a person on the server itself."""
    said = {
        "here": "AWS sends clients here",
        "moving": "AWS is being told to send clients here",
        "left": "this node does not move the address",
    }.get(found["state"], "this node has never moved the address")
    calls = f", {found['attempts']} calls in {found['elapsedMs'] / 1000:.3f} s" if found["attempts"] else ""
    reached = f", by {found['reached']}" if found["reached"] else ""
    error = f": {found['error']}" if found["error"] else ""
    return f"{found['method']}: {said}{reached}{calls}{error}"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hotpair-address", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("check", help="read the settings and say whether they are understood")
    verbs.add_parser("hold", help="hotpair-address.service: keep the address here while this node is active")
    asking = verbs.add_parser("preflight", help="ask AWS whether this node may move the address; moves nothing")
    asking.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="ask again for so long")
    telling = verbs.add_parser("status", help="whether AWS sends clients here, and what the last move took")
    telling.add_argument("--json", action="store_true", help="as JSON")
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        settings = load()
        if options.verb == "check":
            print(f"{settings.node} moves {', '.join(settings.vips)} by {settings.method} in {settings.access.region}")
            return 0
        if options.verb == "status":
            found = status(settings)
            print(json.dumps(found) if options.json else describe(found))
            return 0
        return hold(settings) if options.verb == "hold" else preflight(settings, options.wait)
    except SettingsError as error:
        print(f"hotpair-address: {error}", file=sys.stderr)
        return 2
    except (CallError, MetadataError, Unreachable, OSError) as error:
        print(f"hotpair-address: {error}", file=sys.stderr)
        return 1
