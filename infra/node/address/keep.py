"""Keeps the address here while this node is the pair's owner, and calls nobody when it is not.

The role is read from the interfaces before every single call: the VIP is on this node, by keepalived's hand, with the
arbiter's consent. A call that was under way when the role ended can still arrive after the peer's; the peer looks again
after one, two and five seconds, and then at least every ten.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any, Callable, Dict

from aws.calls import CallError
from aws.metadata import Metadata, MetadataError
from aws.request import Unreachable

from .move import Address
from .settings import Settings

# Between two attempts: as quick as the first fault allows, and no burden when it lasts. Twice as long when throttled.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
# Until the next look at an address that is here; the last one again and again.
LOOKS = (1.0, 2.0, 5.0, 10.0)
# A change that AWS has acknowledged shows in the metadata some seconds later.
METADATA_LAGS = 10.0
# Route 53 takes five requests a second of a whole account (its quotas): its record is written again once a minute.
RECORD_AGAIN = 60.0
# Of waiting for the VIP, which costs nobody anything.
LOOK_FOR_ROLE = 0.05


def holds_vip(settings: Settings) -> bool:
    """Whether the kernel has one of the pair's addresses on the public interface."""
    told = subprocess.run(
        ["ip", "-o", "-4", "address", "show", "dev", settings.interface], capture_output=True, text=True, check=False
    )
    words = told.stdout.split()
    return any(f"{address}/" in word for address in settings.vips for word in words)


class Keeper:
    def __init__(
        self,
        settings: Settings,
        metadata: Metadata,
        address: Address,
        entitled: Callable[[], bool],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._metadata = metadata
        self._address = address
        self._entitled = entitled
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._said = ""
        self._stopped = False

    def stop(self) -> None:
        """No call begins after this."""
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            if not self._entitled():
                self._once("this node does not hold the VIP: the address is left where it is")
                self._sleep(LOOK_FOR_ROLE)
                continue
            if self._bring():
                self._watch()

    def _once(self, line: str) -> None:
        if line != self._said:
            self._say(line)
            self._said = line

    def _may_go_on(self) -> bool:
        return not self._stopped and self._entitled()

    def _bring(self) -> bool:
        """Until AWS has acknowledged it; false when the role ended before."""
        started, pause, attempts, late = self._clock(), FIRST_PAUSE, 0, False
        while self._may_go_on():
            attempts += 1
            try:
                self._address.bring()
                elapsed = self._clock() - started
                self._once(f"{self._settings.method}: the address is at this node, acknowledged after {elapsed:.3f} s")
                self._record({"state": "here", "attempts": attempts, "elapsedMs": round(elapsed * 1000)})
                return True
            except CallError as error:
                if error.kind == "expired":
                    self._metadata.forget_credentials()
                if error.kind == "throttled":
                    pause = min(LONGEST_PAUSE, pause * 2)
                why = str(error)
            except (Unreachable, MetadataError) as error:
                why = str(error)
            self._once(f"the address is not moved yet: {why}")
            elapsed = self._clock() - started
            if elapsed > self._settings.within and not late:
                late = True
                self._say(
                    f"the address is NOT moved after {elapsed:.1f} s, more than the {self._settings.within:g} s "
                    "that the estimate counts with; still trying"
                )
            self._record({"state": "moving", "attempts": attempts, "elapsedMs": round(elapsed * 1000), "error": why})
            self._sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
        return False

    def _watch(self) -> None:
        """Until the address is known to be elsewhere, is to be asserted again, or the role has ended."""
        acknowledged = self._clock()
        looks = iter(LOOKS)
        wait = LOOKS[0]
        while True:
            wait = next(looks, wait)
            if not self._wait(wait):
                return
            try:
                here = self._address.is_here()
            except (Unreachable, MetadataError) as error:
                self._once(f"cannot look where the address is: {error}")
                continue
            age = self._clock() - acknowledged
            if here is None:
                # Said again, it is either true already or made true.
                if self._settings.method != "dns" or age >= RECORD_AGAIN:
                    return
            elif not here and age >= METADATA_LAGS:
                self._once("the address is not at this node any more, which holds the VIP: bringing it back")
                return

    def _wait(self, seconds: float) -> bool:
        """False as soon as the role has ended."""
        until = self._clock() + seconds
        while self._clock() < until:
            if not self._may_go_on():
                return False
            self._sleep(min(0.5, max(0.0, until - self._clock())))
        return self._may_go_on()

    def _record(self, found: Dict[str, Any]) -> None:
        """For `status`; a disk that is full keeps nobody from moving the address."""
        entry = {"method": self._settings.method, "at": round(time.time() * 1000), **found}
        new = f"{self._settings.state}.new"
        try:
            with open(new, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            os.replace(new, self._settings.state)
        except OSError:
            pass
