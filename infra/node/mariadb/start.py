"""`hotpair-mariadb start`: becomes the MariaDB server, once it is known as what.

It runs before every start of the server, whatever the reason was, so that no server of this node ever runs under the
incarnation of one that may have lost something.
"""

from __future__ import annotations

import os
import pwd
import sys
import time
from typing import NoReturn

from . import authority, provision, server, state
from .config import Config
from .rules import Role, Start, renews_at_start, start_decision
from .wire import Connection, ServerError, Unreachable

PROGRAM = "mariadbd"
REPLICATION_FILES = ("master.info", "relay-log.info", "multi-master.info")
RELAY_LOG = "relay."
ASK_EVERY = 0.1
SAY_EVERY = 10.0
# An orderly shutdown of a replica that takes longer is ended by systemd.
STOP_TIMEOUT = 10.0
# The process that watches over a primary decides within milliseconds of its end who goes on; on a busy machine, later.
VERDICT = 1.0


def main(config: Config) -> NoReturn:
    await_verdict()
    for path in (state.SERVER_PATH, state.REPLICATION_PATH, state.PROMOTED_PATH, state.HANDED_OVER_PATH):
        state.forget(path)
    said = Said()
    provision.finish_installation(config)
    while state.data().role is Role.NEW:
        # Data comes from the peer (by the watch), or is begun here, where the pair begins.
        reason = provision.begin(config)
        if reason is None:
            break
        said.say(f"no data yet: {reason}")
        time.sleep(1.0)
    if renews_at_start(state.data().role):
        authority.write_incarnation(state.new_incarnation())
    watcher = authority.Watcher(config.node, config.peer)
    while True:
        here = state.data()
        decision = start_decision(here.role, config.node, authority.incarnation(), watcher.look())
        if decision.start is not Start.WAIT:
            break
        said.say(f"waiting: {decision.reason}")
        time.sleep(ASK_EVERY)
    if decision.start is Start.AS_REPLICA and here.role is not Role.REPLICA:
        # From here on this copy may lack what the peer had acknowledged: never again under the same name.
        authority.write_incarnation(state.new_incarnation())
        state.save(state.Data(Role.REPLICA, here.promotions))
    if decision.start is Start.AS_REPLICA:
        forget_replication(config.data_directory)
    said.say(f"starting as {decision.start.value}: {decision.reason}")
    become(config, decision.start)


def await_verdict() -> None:
    """After the end of a server that took writes: until it is said whether the peer takes over, if anybody says so."""
    until = time.monotonic() + VERDICT
    while os.path.exists(state.PROMOTED_PATH) and not state.giving() and time.monotonic() < until:
        time.sleep(0.01)


def forget_replication(directory: str) -> None:
    """A replica that starts follows anew, from the position in its own tables; what its relay log held is gone anyway.

    These files are not synced to disk: after a power cut `master.info` may be there and empty, and then the server
    refuses every statement about replication (error 1201; met in 1 of 2 power cuts of a replica).
    """
    for name in os.listdir(directory):
        if name in REPLICATION_FILES or name.startswith(RELAY_LOG):
            state.forget(os.path.join(directory, name))


def become(config: Config, start: Start) -> NoReturn:
    prepare_socket(config)
    state.forget(state.WAITING_PATH)
    state.forget(state.GIVING_PATH)
    state.write_json(
        state.SERVER_PATH,
        {
            "pid": os.getpid(),
            "started": server.started(os.getpid()),
            "incarnation": authority.incarnation(),
            "as": start.value,
        },
    )
    arguments = [PROGRAM, f"--defaults-file={config.defaults}", "--user=mysql", f"--init-rpl-role={start.value}"]
    os.execvp(PROGRAM, arguments)


def prepare_socket(config: Config) -> None:
    """The directory of the server's socket, as the package's own unit makes it."""
    directory = os.path.dirname(config.socket)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    owner = pwd.getpwnam("mysql")
    os.chown(directory, owner.pw_uid, owner.pw_gid)


class Said:
    """Says a thing once, and again every ten seconds while it lasts; to the journal and to `status`."""

    def __init__(self) -> None:
        self._last = ""
        self._at = 0.0

    def say(self, text: str) -> None:
        now = time.monotonic()
        if text != self._last or now - self._at > SAY_EVERY:
            self._last, self._at = text, now
            print(text, file=sys.stderr, flush=True)
            state.write_json(state.WAITING_PATH, {"reason": text})


def stop(config: Config) -> int:
    """ExecStop of the server's unit. A replica is shut down in order, which saves the next start its recovery.

    A primary never is: a shutdown answers OK to clients whose rows no replica has (measured). systemd then kills it.
    """
    if state.data().role is not Role.REPLICA or authority.holds():
        return 0
    try:
        with Connection(config.socket, 0.5) as connection:
            if server.read_only(connection) and not server.semi_sync(connection):
                connection.do("SHUTDOWN", STOP_TIMEOUT)
                until = time.monotonic() + STOP_TIMEOUT
                while server.started(connection.server_pid) is not None and time.monotonic() < until:
                    time.sleep(0.05)
    except (Unreachable, ServerError) as error:
        print(f"hotpair-mariadb: {error}", file=sys.stderr, flush=True)
    return 0
