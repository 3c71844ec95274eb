"""Runs one action of a fence agent, as the agents of the fence-agents project want it: options on standard input, one
`name=value` each, and for `status` exit code 0 for on and 2 for off (ClusterLabs, FenceAgentAPI.md).

An agent never outlives its time or the right to run it: its whole process group is killed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import IO, Callable, Optional

from .right import now
from .settings import Settings

# How often the right to go on is looked at (seconds): the lease is renewed every 100 ms.
LOOK = 0.02
_SHOWN = 300


@dataclass(frozen=True)
class Said:
    # None: it was ended by us or by a signal
    code: Optional[int]
    # last words, for a person; no secret is in it
    text: str

    @property
    def power(self) -> Optional[str]:
        """Of the action `status`: "on" or "off"; None: it does not know."""
        return {0: "on", 2: "off"}.get(self.code if self.code is not None else -1)


def run(settings: Settings, options: str, action: str, until: float, may_go_on: Callable[[], str] = lambda: "") -> Said:
    """`until`: CLOCK_BOOTTIME. `may_go_on` answers with why not; it is asked again and again; a no ends the agent."""
    why = may_go_on()
    if why:
        return Said(None, why)
    if now() >= until:
        return Said(None, "no time was left")
    try:
        with _memory() as said:
            with _memory(f"{options}action={action}\n") as given:
                process = subprocess.Popen(
                    settings.command,
                    stdin=given,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
                )
            why = _watch(process, until, may_go_on)
            said.seek(0)
            words = said.read().decode("utf-8", "replace")
    except OSError as error:
        return Said(None, str(error))
    shown = _without_secrets(" ".join(words.split()), settings, options)[-_SHOWN:]
    if why:
        return Said(None, f"{why}{': ' + shown if shown else ''}")
    return Said(process.returncode if process.returncode >= 0 else None, shown or f"exit code {process.returncode}")


def _watch(process: subprocess.Popen[bytes], until: float, may_go_on: Callable[[], str]) -> str:
    """Until the agent ends; why it was killed, if it was."""
    while True:
        try:
            process.wait(LOOK)
            return ""
        except subprocess.TimeoutExpired:
            why = may_go_on() or ("it did not end in time" if now() >= until else "")
            if why:
                _kill(process)
                return why


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass
    process.wait()


def _memory(text: str = "") -> IO[bytes]:
    """A file in memory: neither an agent that does not read its input nor a full disk holds anybody up, and nothing
    secret is on a disk."""
    file = os.fdopen(os.memfd_create("agent", os.MFD_CLOEXEC), "w+b")
    file.write(text.encode())
    file.seek(0)
    return file


def _without_secrets(words: str, settings: Settings, options: str) -> str:
    """An agent that fails may show what it was given."""
    given = dict(line.split("=", 1) for line in options.splitlines())
    values = sorted((given[name] for name in settings.secrets if given.get(name)), key=len, reverse=True)
    return re.sub("|".join(re.escape(value) for value in values), "…", words) if values else words
