"""`promote` and `demote`: what makes this node's server the one that takes writes, and what ends that.

Little is imported here, on purpose: a failover waits for this process to start.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import NoReturn, Optional

from . import authority, server, state
from .config import Config, passwords
from .rules import PromotionInput, PromotionWay, Role, promotion_decision
from .wire import Connection, ServerError, Unreachable

REFUSED = 3
# Where the server does not answer yet, it is asked again this often.
ASK_EVERY = 0.01
LOOK_EVERY = 0.1
# A server that does not answer for this long hangs: what it does not answer reads and writes nothing (seconds).
HUNG = 5.0
# The peer takes over within this time, or the arbiter calls it off (seconds).
HAND_OVER = 5.0
# The relay log of a replica that is listed in insync is short; one that takes longer is reported and waited for.
APPLY_ROUND = 5.0


class Refusal(Exception):
    """One line: why not, and what to do."""


class Lost(Exception):
    """The lease, or the server, went away meanwhile."""


class Stopped(Exception):
    """By SIGTERM: systemd ends this unit, and with it this node's time as the primary."""


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


def promote(config: Config) -> int:
    """Runs as hotpair-mariadb-primary.service, for as long as the lease is held. READY=1 once writes are taken.

    Told to end, it demotes by itself: another program would have to be started, in a time that has none to spare.
    """
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _promote(config)
    except Stopped:
        return demote(config)


def _promote(config: Config) -> int:
    try:
        connection = promoted(config)
    except Refusal as refusal:
        state.audit(config.name, "replica", "refused", str(refusal))
        try:
            authority.release()
        except authority.Refused as error:
            print(error, file=sys.stderr, flush=True)
        return REFUSED
    except (Lost, server.Failed, authority.Refused, ServerError, Unreachable, TimeoutError) as error:
        print(f"hotpair-mariadb: not promoted: {error}", file=sys.stderr, flush=True)
        return 1
    notify("READY=1\nSTATUS=primary")
    while True:
        try:
            connection.idle(LOOK_EVERY)
            connection.do("DO 1", HUNG)
        except Unreachable as error:
            return _server_lost(config, str(error))


def _server_lost(config: Config, why: str) -> int:
    """It died, or hangs and is killed. The peer, which has everything that was acknowledged, is there sooner than this
    server has recovered; where the peer cannot take over, the server starts again here and is promoted anew."""
    # In this order: the server that systemd starts must not go on as the primary while the peer becomes it.
    state.write_json(state.GIVING_PATH, {"until": state.boottime() + HAND_OVER + 1.0})
    state.forget(state.PROMOTED_PATH)
    server.kill_server()
    state.audit(config.name, "primary", "down", f"the server ended or hung: {why}")
    try:
        # Before this returns, this unit is stopped.
        authority.hand_over(f"the database of {config.name} ended or hung", HAND_OVER)
    except authority.Refused as error:
        state.audit(config.name, "down", "starting", f"{config.peer_name} does not take over: {error}")
    state.forget(state.GIVING_PATH)
    return 1


def promoted(config: Config) -> Connection:
    """The whole order. Raises Refusal when this node's data may lack an acknowledged write, Lost without the lease."""
    began = time.monotonic()
    connection = await_server(config)
    with state.changing():
        if resumed(connection):
            return connection
        insync = authority.insync()
        found = server.seen(connection)
        if found.configured and found.io_thread and found.sql_running == "No" and found.sql_errno:
            # While receiving goes on, a new start of the applying thread keeps the relay log.
            connection.do("START SLAVE SQL_THREAD")
            server.note_replication(connection.server_pid, server.applier(connection) or "")
            found = server.seen(connection)
        decision = promotion_decision(
            PromotionInput(
                node=config.node,
                role=state.data().role,
                server_incarnation=server.running_incarnation(connection.server_pid),
                insync=insync,
                replication=found,
                applier_noted=server.noted_applier(connection.server_pid),
                applier_now=server.applier(connection),
            )
        )
        if decision.way is PromotionWay.REFUSE:
            raise Refusal(decision.reason)
        if decision.way is PromotionWay.APPLY:
            # The other way round, or in one step, unapplied writes would be thrown away.
            while not server.apply_received(connection, APPLY_ROUND):
                if not authority.holds():
                    raise Lost("the lease was lost while the relay log was applied")
                if server.seen(connection).sql_running != "Yes":
                    raise Refusal(f"the relay log cannot be applied: {server.seen(connection).sql_error}")
        applied = time.monotonic()
        # Not one write may be acknowledged here before nobody counts on the peer's copy any more.
        if insync is None or set(insync) != {config.node}:
            authority.alone()
        server.set_semi_sync(connection, False)
        point = server.position(connection)
        here = state.data()
        state.save(state.Data(Role.PRIMARY, (*here.promotions, point)))
        state.forget(state.HANDED_OVER_PATH)
        authority.promoting()
        if not authority.holds():
            raise Lost("the lease was lost during the promotion")
        # Before the first write, so that whatever ends this process ends the server, too.
        state.write_json(state.PROMOTED_PATH, {"pid": connection.server_pid, "position": point})
        server.open_to_writes(connection)
        took = time.monotonic() - began
        if found.configured:
            # Only now: it waits for the dead primary, and nothing is left that it could do.
            connection.do("STOP SLAVE", 10.0)
            connection.do("RESET SLAVE ALL", 5.0)
        try:
            server.prepare_primary(connection, (config.address, config.peer_address), passwords())
        except ServerError as error:
            print(f"accounts of replication: {error}", file=sys.stderr, flush=True)
    state.audit(
        config.name,
        here.role.value,
        "primary",
        f"promoted at {point or 'the beginning'} in {took * 1000:.0f} ms "
        f"(relay log applied after {(applied - began) * 1000:.0f} ms): {decision.reason}",
    )
    return connection


def resumed(connection: Connection) -> bool:
    """Whether this very server takes writes already: only the process that watched over it had ended."""
    noted = state.read_json(state.PROMOTED_PATH)
    if noted is None or noted.get("pid") != connection.server_pid or not authority.holds():
        return False
    return handed_over() is not None or not server.read_only(connection)


def await_server(config: Config) -> Connection:
    """A session with the server as soon as it answers. Raises Lost when the lease goes before."""
    while True:
        if not authority.holds():
            raise Lost("this node does not hold the lease")
        try:
            return Connection(config.socket)
        except (Unreachable, ServerError):
            time.sleep(ASK_EVERY)


def demote(config: Config) -> int:
    """The primary's end. A server that handed over in order runs on; any other is killed, since a commit of its may be
    waiting for an acknowledgement, and every gentle end would tell that client OK."""
    if not os.path.exists(state.PROMOTED_PATH):
        # Not promoted yet: what a replica received and has not applied would be lost for nothing.
        return 0
    state.forget(state.PROMOTED_PATH)
    pid = handed_over()
    if pid is not None:
        try:
            with Connection(config.socket, 0.1) as connection:
                if connection.server_pid == pid and server.read_only(connection):
                    authority.demoted()
                    state.audit(
                        config.name, "primary", "demoted", "handed over in order; the server runs on, read-only"
                    )
                    return 0
        except (Unreachable, ServerError, authority.Refused) as error:
            print(f"hotpair-mariadb: {error}", file=sys.stderr, flush=True)
    killed = server.kill_server()
    state.audit(config.name, "primary", "killed", "demoted" if killed else "demoted; no server was running")
    return 0


def handed_over() -> Optional[int]:
    """The server's process number while a switch-out holds."""
    noted = state.read_json(state.HANDED_OVER_PATH)
    if noted is None or not isinstance(noted.get("pid"), int) or noted.get("until", 0) < state.boottime():
        return None
    return int(noted["pid"])


def notify(text: str) -> None:
    """To systemd (sd_notify(3)); nothing without it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
            sock.sendall(text.encode())
        except OSError:
            pass
