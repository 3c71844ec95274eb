"""What an operator, hotpair and a unit call on a server. Exit codes: 0 done, 1 refused, failed or not confirmed, 2
wrong input.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Dict, Mapping, Sequence

from . import record, right, shoot
from .settings import Settings, SettingsError, complaints, load

CONSENT = "--i-know-the-peer-is-down"


class Refusal(Exception):
    """One line: why not, and what to do."""


def peer(settings: Settings, consent: bool) -> Dict[str, Any]:
    why = right.not_the_holder(settings)
    if why and not consent:
        raise Refusal(f"{why}: only its holder may shoot {settings.peer_name}")
    if consent:
        return shoot.peer(settings, "operator", "the operator says that it is down", lambda: "")
    return shoot.peer(settings, "operator", "asked to", lambda: right.not_the_holder(settings))


def acknowledge(settings: Settings, consent: bool) -> str:
    if not consent:
        raise Refusal(f"only for an operator who knows that {settings.peer_name} is off: {CONSENT}")
    record.acknowledge(settings, right.now())
    return f"noted: {settings.peer_name} is down, by the operator's word"


def takeover(settings: Settings, until_confirmed: bool) -> Dict[str, Any]:
    """hotpair-fence.service, once this node has the lease."""
    last = record.read(settings)["last"]
    if not isinstance(last, dict) or last.get("boot") != record.boot_id():
        last = {}
    interrupted = last.get("outcome") == "running"
    if last and not interrupted and last.get("taking") == right.taking(settings):
        # A peer that was switched on again meanwhile must not be shot for the same reason twice.
        return {"outcome": "not needed", "why": f"it was for this already: {last['outcome']}"}
    found = right.need(settings, interrupted)
    if not found.needed:
        return {"outcome": "not needed", "why": found.why}

    def may_go_on() -> str:
        return right.not_the_holder(settings)

    if until_confirmed:
        return shoot.until_confirmed(settings, found.why, may_go_on)
    return shoot.peer(settings, "takeover", found.why, may_go_on)


def describe(settings: Settings, entry: Mapping[str, Any]) -> str:
    if entry["outcome"] == "not needed":
        return f"{settings.peer_name} is not shot: {entry['why']}"
    took = f"after {entry['elapsedMs']} ms"
    if entry["outcome"] == "confirmed":
        return f"{settings.peer_name} is confirmed off {took}"
    if entry["outcome"] == "acknowledged":
        return f"{settings.peer_name} is down by the operator's word, {took}"
    return f"{settings.peer_name} is NOT confirmed off {took}: {entry['detail']}"


def describe_status(settings: Settings, found: Mapping[str, Any]) -> str:
    last, tested = found["last"], found["test"]
    shot = "never shot" if last is None else f"{last['outcome']} after {last['elapsedMs']} ms: {last['why']}"
    detail = "" if last is None or not last["detail"] else f" ({last['detail']})"
    proof = "never tested" if tested is None else f"power {tested['power']}" if tested["ok"] else tested["detail"]
    return f"{settings.peer_name} by {settings.agent}: {shot}{detail}\nlast test: {proof}"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hotpair-fence", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("check", help="read the settings and say whether they are understood")
    shooting = verbs.add_parser("peer", help="holder of the lease: switch the other node off, and confirm it")
    shooting.add_argument(CONSENT, action="store_true", dest="consent", help="as part of a forced promotion")
    shooting.add_argument("--json", action="store_true", help="for programs")
    testing = verbs.add_parser("test", help="ask the agent for the other node's power state; shoots nobody")
    testing.add_argument("--json", action="store_true", help="for programs")
    asking = verbs.add_parser("preflight", help="agent aws: ask whether this node may switch the other one off")
    asking.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="ask again for so long")
    shown = verbs.add_parser("status", help="the last shot and the last test")
    shown.add_argument("--json", action="store_true", help="for programs")
    taking = verbs.add_parser("takeover", help="hotpair-fence.service: shoot, if the peer kept the lease")
    taking.add_argument("--until-confirmed", action="store_true", help="again and again: a promotion waits for it")
    noting = verbs.add_parser("acknowledge", help="end the wait for a confirmation, by the operator's word")
    noting.add_argument(CONSENT, action="store_true", dest="consent", help="it is off, and stays off")
    verbs.add_parser("lab", help="the agent for machines of the lab")
    return top


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        settings = load()
        if options.verb == "check":
            wrong = complaints(settings)
            if wrong:
                raise SettingsError("\n".join(wrong))
            print(f"{settings.name} shoots {settings.peer_name} by {settings.agent} within {settings.timeout:g} s")
            return 0
        if options.verb == "status":
            found = record.status(settings)
            print(json.dumps(found) if options.json else describe_status(settings, found))
            return 0
        if options.verb == "test":
            tested = shoot.test(settings)
            text = (
                f"{settings.agent} tells {settings.peer_name}'s power after {tested['elapsedMs']} ms: {tested['power']}"
            )
            failed = f"{settings.agent} does not tell {settings.peer_name}'s power: {tested['detail']}"
            print(json.dumps(tested) if options.json else text if tested["ok"] else failed)
            return 0 if tested["ok"] else 1
        if options.verb == "preflight":
            said = shoot.preflight(settings, options.wait)
            print(said.text)
            return 0 if said.code == 0 else 1
        if options.verb == "acknowledge":
            print(acknowledge(settings, options.consent))
            return 0
        if options.verb == "takeover":
            entry = takeover(settings, options.until_confirmed)
        else:
            entry = peer(settings, options.consent)
        as_json = options.verb == "peer" and options.json
        print(json.dumps(entry) if as_json else describe(settings, entry), flush=True)
        return 0 if entry["outcome"] in ("confirmed", "acknowledged", "not needed") else 1
    except (Refusal, record.Busy) as refusal:
        print(f"hotpair-fence: {refusal}", file=sys.stderr)
        return 1
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"hotpair-fence: {line}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hotpair-fence: {error}", file=sys.stderr)
        return 1
