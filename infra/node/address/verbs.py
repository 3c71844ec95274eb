"""What an operator, hotpair and a unit call on a server. Exit codes: 0 done, 1 refused or failed, 2 wrong input."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from typing import Sequence

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

    keeper = keep.Keeper(settings, metadata, address, lambda: keep.holds_vip(settings), say)
    signal.signal(signal.SIGTERM, lambda *_: keeper.stop())
    keeper.run()
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
        Address(settings, metadata, mac_of(settings.interface)).bring(dry=True)
    except CallError as error:
        if error.kind != "dry":
            raise
        return f"{settings.method}: allowed, answered after {time.monotonic() - started:.3f} s"
    raise MetadataError(f"{settings.method}: a dry run was carried out as if it were none")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hotpair-address", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("check", help="read the settings and say whether they are understood")
    verbs.add_parser("hold", help="hotpair-address.service: keep the address here while this node is active")
    asking = verbs.add_parser("preflight", help="ask AWS whether this node may move the address; moves nothing")
    asking.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="ask again for so long")
    verbs.add_parser("status", help="the last move, as JSON")
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        settings = load()
        if options.verb == "check":
            print(f"{settings.node} moves {', '.join(settings.vips)} by {settings.method} in {settings.access.region}")
            return 0
        if options.verb == "status":
            try:
                with open(settings.state, encoding="utf-8") as file:
                    print(json.dumps(json.load(file)))
            except (OSError, ValueError):
                print(json.dumps({"method": settings.method, "state": "never moved"}))
            return 0
        return hold(settings) if options.verb == "hold" else preflight(settings, options.wait)
    except SettingsError as error:
        print(f"hotpair-address: {error}", file=sys.stderr)
        return 2
    except (CallError, MetadataError, Unreachable, OSError) as error:
        print(f"hotpair-address: {error}", file=sys.stderr)
        return 1
