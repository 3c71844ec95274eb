"""What hotpair-apply, systemd and a person call: one function per verb, each with its exit code."""

import json
import os
import sys
from typing import Callable, Dict, List, Optional, Sequence

from . import change, owner, reach
from .host import Host
from .settings import PATH, Settings, parse

USAGE = """usage: hotpair-network check    whether hotpair may set these networks up (before anything is changed)
       hotpair-network up       makes systemd-networkd read its files, and waits until they hold
       hotpair-network back     takes the change that is under way back; nothing outside of one
       hotpair-network verify   whether everybody answers who did before, and packets of the stated size arrive
       hotpair-network status [--json]
                                what is set up, what is missing, which cards of a bond carry"""


def main(arguments: Sequence[str], host: Optional[Host] = None) -> int:
    verbs: Dict[str, Callable[[Host], List[str]]] = {"check": check, "up": up, "back": back, "verify": verify}
    if list(arguments) not in [*([verb] for verb in [*verbs, "status"]), ["status", "--json"]]:
        print(USAGE, file=sys.stderr)
        return 2
    host = host or Host()
    try:
        if arguments[0] == "status":
            return status(host, "--json" in arguments)
        found = verbs[arguments[0]](host)
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = [str(error)]
    for line in found:
        print(line)
    return 1 if found else 0


def settings_of(host: Host) -> Settings:
    text = host.read(PATH)
    if text is None:
        raise OSError(f"{PATH} is missing: hotpair up")
    return parse(text)


def check(host: Host) -> List[str]:
    return owner.problems(host, settings_of(host))


def up(host: Host) -> List[str]:
    os.makedirs(change.RUN, exist_ok=True)
    return change.up(host, settings_of(host))


def back(host: Host) -> List[str]:
    return change.back(host)


def verify(host: Host) -> List[str]:
    return reach.problems(host, settings_of(host))


def status(host: Host, as_json: bool) -> int:
    settings = settings_of(host)
    lacking = change.missing(host, settings)
    problems = [*lacking, *reach.spares(host, settings), *reach.pending(host, settings)]
    if as_json:
        print(json.dumps({"version": 1, "problems": problems}))
        return 1 if lacking else 0
    for device in settings.devices:
        what = f"{device.name}: {device.kind}, MTU {device.mtu}" + (f", {device.address}" if device.address else "")
        bond = host.read(f"/proc/net/bonding/{device.name}")
        print(what)
        for line in bond.splitlines() if bond is not None else []:
            if line.startswith(("Currently Active Slave:", "Slave Interface:", "MII Status:")):
                print(f"  {line}")
    for line in problems:
        print(f"! {line}")
    return 1 if lacking else 0
