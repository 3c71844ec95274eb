"""The fence-peer handler: the driver has suspended all writes, or is about to promote, and asks what is known of its
peer.

The answer is the lease's. Until there is one the writes wait; an answer that nobody can give is "undecided", which
leaves them suspended. Never 5 ("the peer is down"), which would let both nodes write.
"""

from __future__ import annotations

import time
from typing import Callable, Sequence

from . import record
from .authority import Authority, Refused
from .rules import UNDECIDED, Device, Fencing, fence_answer, needs_its_peer
from .settings import Settings

# A holder without a majority has lost the lease within D, and its peer has taken it within T and a moment: twice the
# longest of what a stack file may say for a failover (seconds). Nothing is gained by waiting longer.
PATIENCE = 30.0
AGAIN = 0.1


def answer(
    settings: Settings,
    authority: Authority,
    look: Callable[[], Sequence[Device]],
    resource: str,
    patience: float = PATIENCE,
) -> int:
    """The exit code for the driver. `look`: this node's devices, as they are now."""
    until = time.monotonic() + patience
    last = Fencing(None, "nothing is known")
    while True:
        last = _ask(settings, authority, look())
        if last.code is not None or time.monotonic() >= until:
            break
        time.sleep(AGAIN)
    code = UNDECIDED if last.code is None else last.code
    record.audit(settings, f"{resource} without its peer", f"fence-peer {code}", last.reason)
    return code


def _ask(settings: Settings, authority: Authority, devices: Sequence[Device]) -> Fencing:
    node = settings.node
    if authority.holds() and not needs_its_peer(devices):
        try:
            # Its time is the lease's: a holder that cannot commit it loses the lease meanwhile. And after whatever the
            # watcher is about to say of the same list.
            with authority.exclusively():
                authority.alone()
            committed, why = True, ""
        except Refused as refused:
            committed, why = False, str(refused)
        # The commit proves the possession: the order is a renewal of the lease itself.
        seen = authority.seen_as_holder() if committed or authority.holds() else authority.seen()
        found = fence_answer(node, authority.incarnation(), devices, seen, committed, committed and authority.fenced())
        return Fencing(found.code, why) if found.code is None and why else found
    return fence_answer(node, authority.incarnation(), devices, authority.seen(), False, False)
