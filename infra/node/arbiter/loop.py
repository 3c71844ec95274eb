"""What the arbiter's one loop waits for: descriptors, each with what is to be done when there is something to read.

Also the mark that something changed which the peer should hear of before the next regular beacon. No rule belongs here.
"""

from __future__ import annotations

import selectors
from typing import Any, Callable


class Loop:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.changed = True

    def watch(self, source: Any, read: Callable[[Any], None]) -> None:
        """`read` is called with `source` whenever it has something to read; it must not wait."""
        self._selector.register(source, selectors.EVENT_READ, read)

    def forget(self, source: Any) -> None:
        self._selector.unregister(source)

    def wait(self, seconds: float) -> None:
        """One source's `read` may forget another that has something to read, too: that one is not read any more."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            if self._selector.get_map().get(key.fd) is key:
                key.data(key.fileobj)
