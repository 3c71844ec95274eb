"""The act: power off, and a status that confirms it, within the stated time. Nothing else proves it."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict

from . import agent, record
from .right import now, taking
from .settings import Settings, read_options

# Between two attempts, and between two looks at a power supply that takes its time (seconds).
PAUSE = 0.5
# Of the stated time, what an `off` that hangs must leave for the look whether it worked.
RESERVE = 0.25
# A new role's rights are known everywhere after some seconds (IAM user guide, troubleshooting: eventual consistency).
PREFLIGHT_PAUSE = 3.0
# The agent whose `monitor` says whether it may switch the peer off. Others' say at most that somebody answers.
PROVEN = "aws"


def peer(settings: Settings, by: str, why: str, may_go_on: Callable[[], str]) -> Dict[str, Any]:
    """Shoots. `by`: "takeover" or "operator". Outcome: "confirmed", or "unconfirmed" with what kept it from it."""
    options = read_options(settings)
    with record.Lock(settings):
        began = now()
        until = began + settings.timeout
        entry: Dict[str, Any] = {
            "outcome": "running",
            "by": by,
            "why": why,
            "at": record.milliseconds(),
            "elapsedMs": 0,
            "boot": record.boot_id(),
            "taking": taking(settings) if by == "takeover" else None,
            "endedAt": None,
            "detail": "",
        }
        record.write(settings, last=entry)
        confirmed, detail = _off(settings, options, until, may_go_on)
        ended = now()
        entry["outcome"] = "confirmed" if confirmed else "unconfirmed"
        entry["detail"] = detail
        entry["elapsedMs"] = round((ended - began) * 1000)
        entry["endedAt"] = round(ended, 3)
        record.write(settings, last=entry)
        became = "off" if confirmed else "not confirmed off"
        record.audit(
            settings, "unknown", became, f"{settings.agent} after {entry['elapsedMs']} ms, by {by}: {why}; {detail}"
        )
        return entry


def until_confirmed(settings: Settings, why: str, may_go_on: Callable[[], str]) -> Dict[str, Any]:
    """Shoots again and again: until the peer is confirmed off, the operator says that it is down, or this node may not
    go on."""
    began = now()

    def refused() -> str:
        return "the operator says that it is down" if record.acknowledged_since(settings, began) else may_go_on()

    while True:
        try:
            entry = peer(settings, "takeover", why, refused)
        except record.Busy:
            # An operator shoots already; afterwards this look is quick.
            if may_go_on():
                raise
            time.sleep(PAUSE)
            continue
        if entry["outcome"] == "confirmed":
            return entry
        if record.acknowledged_since(settings, began):
            entry.update(outcome="acknowledged", detail=f"the operator says that it is down; before: {entry['detail']}")
            record.write(settings, last=entry)
            record.audit(settings, "not confirmed off", "acknowledged", "the operator says that it is down")
            return entry
        if may_go_on():
            return entry
        time.sleep(PAUSE)


def _off(settings: Settings, options: str, until: float, may_go_on: Callable[[], str]) -> tuple[bool, str]:
    detail = ""
    while now() < until:
        latest = until - RESERVE * (until - now())
        off = agent.run(settings, options, "off", latest, may_go_on)
        # Whatever the agent says of the act: the state counts.
        state = agent.run(settings, options, "status", until, may_go_on)
        if state.power == "off":
            return True, "its power is off"
        refused = may_go_on()
        if refused:
            return False, refused
        # The last attempt is often cut short; the one before it says more.
        if not detail or (off.code is not None and state.code is not None):
            detail = f"off: {off.text}; status: {state.power or state.text}"
        time.sleep(max(0.0, min(PAUSE, until - now())))
    return False, f"not confirmed within {settings.timeout:g} s: {detail}"


def preflight(settings: Settings, wait: float) -> agent.Said:
    """Asks an agent that knows it whether this node may switch the peer off; asks again for `wait` seconds."""
    options = read_options(settings)
    until = now() + wait
    while True:
        said = agent.run(settings, options, "monitor", now() + settings.timeout)
        if said.code == 0 or now() + PREFLIGHT_PAUSE > until:
            return said
        time.sleep(PREFLIGHT_PAUSE)


def test(settings: Settings) -> Dict[str, Any]:
    """Asks the agent for the peer's power state, and one that knows whether it may shoot; shoots nobody."""
    options = read_options(settings)
    began = now()
    until = began + settings.timeout
    state = agent.run(settings, options, "status", until)
    may = agent.run(settings, options, "monitor", until) if state.power and settings.agent == PROVEN else None
    if may is not None and may.code != 0:
        state = may
    entry = {
        "ok": state.power is not None,
        "power": state.power,
        "at": record.milliseconds(),
        "elapsedMs": round((now() - began) * 1000),
        "detail": "" if state.power is not None else state.text,
    }
    record.write(settings, test=entry)
    return entry
