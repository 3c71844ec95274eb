"""Keeps the address here while this node is the pair's owner, and calls nobody when it is not.

The role is read from the interfaces before every single call: the VIP is on this node, by keepalived's hand, with the
arbiter's consent. Of two VIPs, a node moves the one that it holds. A call that was under way when the role ended can
still arrive after the peer's; the peer looks again after one, two and five seconds, and then at least every ten.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any, Callable, Dict, Tuple

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


def held_vips(settings: Settings) -> Tuple[str, ...]:
    """Those of the pair's addresses that the kernel has on the public interface."""
    told = subprocess.run(
        ["ip", "-o", "-4", "address", "show", "dev", settings.interface], capture_output=True, text=True, check=False
    )
    words = told.stdout.split()
    return tuple(address for address in settings.vips if any(word.startswith(f"{address}/") for word in words))


class Keeper:
    def __init__(
        self,
        settings: Settings,
        metadata: Metadata,
        address: Address,
        held: Callable[[], Tuple[str, ...]],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._metadata = metadata
        self._address = address
        self._held = held
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._said = ""
        self._looks = iter(LOOKS)

    def run(self) -> None:
        """Until the process ends."""
        # What AWS has acknowledged in this role.
        asserted: Tuple[str, ...] = ()
        while True:
            held = self._held()
            if held:
                kept = self._bring(held, held == asserted) and self._watch(held)
                asserted = held if kept else ()
            else:
                asserted = ()
                self.leave("this node does not hold the VIP: the address is left where it is")
                self._sleep(LOOK_FOR_ROLE)
            if not asserted:
                self._looks = iter(LOOKS)

    def leave(self, line: str) -> None:
        """For `status`: what this node has done with the address is over."""
        if line != self._said:
            self._record({"state": "left"})
            self._once(line)

    def _once(self, line: str) -> None:
        if line != self._said:
            self._say(line)
            self._said = line

    def _bring(self, held: Tuple[str, ...], again: bool) -> bool:
        """Until AWS has acknowledged it; false when the role ended or changed before. `again`: it has in this role, and
        success is nothing new."""
        started, pause, attempts, late = self._clock(), FIRST_PAUSE, 0, False

        def record(state: str, **more: Any) -> None:
            elapsed = round((self._clock() - started) * 1000)
            self._record({"state": state, "vips": held, "attempts": attempts, "elapsedMs": elapsed, **more})

        if not again:
            record("moving")
        while self._held() == held:
            attempts += 1
            try:
                self._address.bring(held)
                if not again or attempts > 1:
                    elapsed = self._clock() - started
                    self._once(
                        f"{self._settings.method}: the address is at this node, acknowledged after {elapsed:.3f} s"
                    )
                    record("here")
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
            record("moving", error=why)
            self._sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
        return False

    def _watch(self, held: Tuple[str, ...]) -> bool:
        """Until the address is to be asserted again, since only AWS itself could say where it is: then true. False when
        it is known to be elsewhere, or the role has ended or changed: from then on it is looked at often again."""
        acknowledged = self._clock()
        while True:
            if not self._wait(held, next(self._looks, LOOKS[-1])):
                return False
            try:
                here = self._address.is_here(held)
            except (Unreachable, MetadataError) as error:
                self._once(f"cannot look where the address is: {error}")
                continue
            age = self._clock() - acknowledged
            if here is None:
                # Said again, it is either true already or made true.
                if self._settings.method != "dns" or age >= RECORD_AGAIN:
                    return True
            elif not here and age >= METADATA_LAGS:
                self._once("the address is not at this node any more, which holds the VIP: bringing it back")
                return False

    def _wait(self, held: Tuple[str, ...], seconds: float) -> bool:
        """False as soon as the role has ended or changed."""
        until = self._clock() + seconds
        while self._clock() < until:
            if self._held() != held:
                return False
            self._sleep(min(0.5, max(0.0, until - self._clock())))
        return self._held() == held

    def _record(self, found: Dict[str, Any]) -> None:
        """For `status`; a disk that is full keeps nobody from moving the address."""
        entry = {"at": round(time.time() * 1000), **found}
        new = f"{self._settings.state}.new"
        try:
            with open(new, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            os.replace(new, self._settings.state)
        except OSError:
            pass
