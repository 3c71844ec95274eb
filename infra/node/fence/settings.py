"""Reads /etc/hotpair/fencing.json, which hotpair writes: who the peer is and which agent shoots it. Seconds throughout.

The agent's options, secrets among them, are in a file of their own that root alone reads; the agent alone gets them.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from typing import Any, List, Mapping, Tuple

SETTINGS_PATH = "/etc/hotpair/fencing.json"
STATE_PATH = "/var/lib/hotpair/fence.json"
AUDIT_PATH = "/var/log/hotpair/audit.log"
RUN = "/run/hotpair"
VERSION = 1
OPTION = re.compile(r"[a-z0-9_]+=[\x20-\x7e]*")


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
    agent: str
    # what runs it, without options
    command: Tuple[str, ...]
    # file with the agent's options, `name=value` lines
    options: str
    # names of options whose values are shown nowhere
    secrets: Tuple[str, ...]
    # after this long without a confirmation the peer counts as not fenced
    timeout: float
    # the promotion waits until the peer is confirmed off
    required: bool = False
    # Places on this server; tests move them.
    run: str = RUN
    state: str = STATE_PATH
    audit: str = AUDIT_PATH


def load(path: str = "") -> Settings:
    path = path or os.environ.get("HOTPAIR_FENCE_SETTINGS", SETTINGS_PATH)
    try:
        with open(path, encoding="utf-8") as file:
            raw = json.load(file)
    except FileNotFoundError:
        raise SettingsError(
            f"{path} does not exist: this pair has no fencing; describe it as hotpair:fencing"
        ) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}; apply the pair's configuration again (hotpair up)") from None
    try:
        return parse(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{path}: not understood ({error!r}); apply the configuration again (hotpair up)") from None


def parse(raw: Mapping[str, Any]) -> Settings:
    if raw["version"] != VERSION:
        raise ValueError(f"version {raw['version']}, expected {VERSION}")
    node, peer = str(raw["node"]["id"]), str(raw["peer"]["id"])
    if sorted((node, peer)) != ["a", "b"]:
        raise ValueError(f'node and peer are "{node}" and "{peer}", expected "a" and "b"')
    command = tuple(str(word) for word in raw["command"])
    timeout = float(raw["timeout"])
    if not command or not timeout > 0:
        raise ValueError("command is empty, or timeout is not positive")
    paths = raw.get("paths", {})
    return Settings(
        pair=str(raw["pair"]),
        node=node,
        name=str(raw["node"]["name"]),
        peer=peer,
        peer_name=str(raw["peer"]["name"]),
        agent=str(raw["agent"]),
        command=command,
        options=str(raw["options"]),
        secrets=tuple(str(name) for name in raw["secrets"]),
        timeout=timeout,
        required=bool(raw.get("required", False)),
        run=str(paths.get("run", RUN)),
        state=str(paths.get("state", STATE_PATH)),
        audit=str(paths.get("audit", AUDIT_PATH)),
    )


def read_options(settings: Settings) -> str:
    """The agent's options as it reads them. Raises SettingsError, which shows no value."""
    try:
        with open(settings.options, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise SettingsError(f"{error}; apply the pair's configuration again (hotpair up)") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not OPTION.fullmatch(line):
            raise SettingsError(f"{settings.options}: line {number} is not name=value (not shown)")
        if line.split("=", 1)[0] == "action":
            raise SettingsError(f'{settings.options}: line {number} sets "action", which hotpair-fence does')
    return text if text.endswith("\n") or not text else f"{text}\n"


def complaints(settings: Settings) -> List[str]:
    """What would keep this node from shooting; empty when nothing does."""
    found: List[str] = []
    program = settings.command[0]
    if not os.access(program, os.X_OK):
        found.append(f"{program} cannot be started: is the package of {settings.agent} installed?")
    try:
        read_options(settings)
        mode = stat.S_IMODE(os.stat(settings.options).st_mode)
        if mode & 0o077:
            found.append(f"{settings.options} has mode {mode:04o}: others than root could read it; expected 0600")
    except SettingsError as error:
        found.append(str(error))
    return found
