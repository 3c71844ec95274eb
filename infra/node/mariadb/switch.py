"""`switch-out`: hands over in order. No more writes here, all of them on the peer, before anything else moves."""

from __future__ import annotations

import os
import time

from . import authority, channel, server, state
from .config import Config
from .primary import Refusal
from .wire import Connection, ServerError, Unreachable

# A switch that does not follow its switch-out within this time is called off.
SWITCH_VALID = 8.0
# Longest wait for writes under way, and then for the peer to apply the last one.
CLOSE_TIMEOUT = 2.0
APPLY_TIMEOUT = 2.0


def switch_out(config: Config) -> str:
    """Prepares a switch: no more writes here, the last one applied by the peer. Undone if anything is against it."""
    if not authority.holds():
        raise Refusal("this node does not hold the lease: there is nothing to hand over")
    insync = authority.insync()
    if insync is None or config.peer not in insync:
        raise Refusal(f"{config.peer_name} is not in sync: it would not be promoted (hotpair-mariadb status)")
    try:
        with state.changing(), Connection(config.socket) as connection:
            if server.read_only(connection):
                raise Refusal("this server takes no writes already")
            began = time.monotonic()
            # Before anything changes: a peer that does not answer would leave the pair read-only for nothing.
            peers = channel.ask(config, {"verb": "status"}, 1.0)
            if peers.get("incarnation") != insync[config.peer] or not peers.get("following"):
                raise Refusal(f"{config.peer_name} does not follow this server (hotpair-mariadb status)")
            server.close_to_writes(connection, config.socket, CLOSE_TIMEOUT)
            try:
                point = server.position(connection)
                answer = channel.ask(
                    config, {"verb": "wait", "position": point, "timeout": APPLY_TIMEOUT}, APPLY_TIMEOUT + 1.0
                )
                if answer.get("reached") is not True:
                    raise Refusal(f"{config.peer_name} did not apply {point} within {APPLY_TIMEOUT:g} s")
                ended = server.end_clients(connection)
                state.write_json(
                    state.HANDED_OVER_PATH,
                    {
                        "pid": connection.server_pid,
                        "position": point,
                        "until": state.boottime() + SWITCH_VALID,
                    },
                )
            except BaseException:
                server.open_to_writes(connection)
                raise
    except channel.NoAnswer as error:
        raise Refusal(f"{config.peer_name} does not answer: {error}") from None
    except (server.Failed, Unreachable, ServerError, TimeoutError) as error:
        raise Refusal(str(error)) from None
    took = (time.monotonic() - began) * 1000
    state.audit(
        config.name, "primary", "handing over", f"read-only at {point}, {ended} clients ended, in {took:.0f} ms"
    )
    return f"read-only at {point}; {config.peer_name} has applied it ({took:.0f} ms)"


def call_off(config: Config, reason: str) -> None:
    """Takes writes again after a switch-out that no switch followed."""
    with state.changing(), Connection(config.socket) as connection:
        if authority.holds() and os.path.exists(state.PROMOTED_PATH):
            authority.promoting()
            server.open_to_writes(connection)
            state.audit(config.name, "handing over", "primary", reason)
        state.forget(state.HANDED_OVER_PATH)
