"""Notices that the server on a volume hangs, and kills it, so that systemd starts it again.

A server that ended, or refuses, is nothing to this: systemd starts it again by itself, and one that says no is alive.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Callable, NoReturn

from .wire import Connection, ServerError, Unreachable

SETTINGS_PATH = "/etc/hotpair/mariadb.json"
# What is asked reads and writes nothing; a server that does not answer it for this long hangs (seconds).
HUNG = 5.0
LOOK_EVERY = 1.0
# Where nobody listens, or everybody is refused.
AGAIN = 1.0


def main(path: str = SETTINGS_PATH) -> NoReturn:
    with open(path, encoding="utf-8") as file:
        settings = json.load(file)

    def kill() -> None:
        subprocess.run(
            ["systemctl", "kill", "--signal=SIGKILL", settings["unit"]], stdin=subprocess.DEVNULL, check=False
        )

    while True:
        why = watch(settings["socket"])
        print(f"hotpair-mariadb-volume-watch: the server hangs and is killed: {why}", file=sys.stderr, flush=True)
        kill()
        time.sleep(AGAIN)


def watch(path: str, hung: float = HUNG, every: float = LOOK_EVERY, sleep: Callable[[float], None] = time.sleep) -> str:
    """Returns when the server at this socket hangs, with what it did not answer."""
    while True:
        asked = time.monotonic()
        try:
            with Connection(path, hung) as connection:
                while True:
                    # Raises at once when the server ends the session.
                    connection.idle(every)
                    asked = time.monotonic()
                    connection.do("DO 1", hung)
        except ServerError:
            sleep(AGAIN)
        except Unreachable as error:
            if time.monotonic() - asked >= hung:
                return str(error)
            sleep(AGAIN)
