"""What is asked of a MariaDB server and done to it, in the orders that were measured to lose nothing (docs/mariadb.md).

Each function is one step of such an order, with a deadline; when and why is decided by its callers.
"""

from __future__ import annotations

import os
import signal
import time
from typing import List, Optional, Sequence, Tuple

from . import gtid, state
from .rules import ReplicationSeen
from .wire import Connection, Row, ServerError, Unreachable, quote

UNIT = "hotpair-mariadb.service"
SCHEMA = "hotpair"
# Accounts of replication are named after their password's digest: a rotation is a second account, and never a moment in
# which neither password is right.
ACCOUNT = "hotpair_"
BEAT_ACCOUNT = "hotpair_beat"
# Sessions of the server itself, and of replication; they are no clients.
OWN_SESSIONS = ("system user", "event_scheduler")
DUMP_COMMANDS = ("Binlog Dump", "Binlog Dump GTID")
SLAVE_COMMANDS = ("Slave_IO", "Slave_SQL", "Slave_worker", "Daemon")
NO_SUCH_THREAD = 1094
# What a killed receiving thread says of itself once it has left its loop (measured: 2 to 5 ms after KILL), or while it
# is not connected and will not be.
CEASED = ("Ending IO thread", "Connecting to", "Reconnecting", "Waiting to reconnect")


class Failed(Exception):
    """A step that did not do what it must; the message says what to look at."""


def seen(connection: Connection) -> ReplicationSeen:
    row = connection.row("SHOW SLAVE STATUS")
    if not row:
        return ReplicationSeen(configured=False)

    def text(name: str) -> str:
        return row.get(name) or ""

    return ReplicationSeen(
        configured=True,
        source=text("Master_Host"),
        io_running=text("Slave_IO_Running"),
        sql_running=text("Slave_SQL_Running"),
        io_errno=int(text("Last_IO_Errno") or 0),
        io_error=text("Last_IO_Error"),
        sql_errno=int(text("Last_SQL_Errno") or 0),
        sql_error=text("Last_SQL_Error"),
        received=text("Gtid_IO_Pos"),
        # `Connecting` and `Preparing` are a thread at work, too
        io_thread=text("Slave_IO_Running") not in ("No", ""),
    )


def applier(connection: Connection) -> Optional[str]:
    """Session of the thread that applies the relay log. A new one means that the relay log was begun anew."""
    rows = connection.rows(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Slave_SQL' ORDER BY ID LIMIT 1"
    )
    return next(iter(rows[0].values())) if rows else None


def position(connection: Connection) -> str:
    """The last transaction of each domain that this server logged or applied."""
    logged = gtid.parse(connection.value("SELECT @@global.gtid_binlog_pos"))
    applied = gtid.parse(connection.value("SELECT @@global.gtid_slave_pos"))
    for domain, transaction in applied.items():
        if domain not in logged or logged[domain].sequence < transaction.sequence:
            logged[domain] = transaction
    return gtid.show(logged)


def wait_for(connection: Connection, goal: str, timeout: float) -> bool:
    """True once everything up to `goal` is applied. Says nothing about whether the histories are the same."""
    if not goal:
        return True
    answer = connection.value(f"SELECT MASTER_GTID_WAIT({quote(goal)}, {timeout:.3f})", timeout + 1.0)
    return answer == "0"


def read_only(connection: Connection) -> bool:
    return connection.value("SELECT @@global.read_only") != "0"


def semi_sync(connection: Connection) -> bool:
    return connection.value("SELECT @@global.rpl_semi_sync_master_enabled") == "1"


def set_semi_sync(connection: Connection, on: bool) -> None:
    connection.do(f"SET GLOBAL rpl_semi_sync_master_enabled = {int(on)}", 5.0)


def close_to_writes(connection: Connection, path: str, timeout: float) -> None:
    """`read_only`, or Failed with the server as writable as before.

    It waits for commits under way, and these for their acknowledgement: with a lost replica it would hang for ever.
    """
    try:
        connection.do("SET GLOBAL read_only = 1", timeout)
    except Unreachable:
        # Only this very statement is ended. Ending the commits that it waits for would tell their clients OK.
        with Connection(path) as other:
            for statement in (f"KILL QUERY {connection.thread}", f"KILL {connection.thread}"):
                try:
                    other.do(statement)
                except ServerError as error:
                    if error.code != NO_SUCH_THREAD:
                        raise
            other.do("SET GLOBAL read_only = 0", 1.0)
        raise Failed(
            f"a write has been under way for more than {timeout:g} s: a long statement, or one whose "
            "acknowledgement does not come"
        ) from None


def open_to_writes(connection: Connection) -> None:
    connection.do("SET GLOBAL read_only = 0")


def sessions(connection: Connection) -> List[Row]:
    return connection.rows("SELECT ID, USER, HOST, COMMAND FROM information_schema.PROCESSLIST")


def end_clients(connection: Connection) -> int:
    """Ends every client's session. Only after close_to_writes: then no commit of theirs can be waiting."""
    ended = 0
    for row in sessions(connection):
        command, user = row.get("COMMAND") or "", row.get("USER") or ""
        if row.get("ID") == str(connection.thread) or user in OWN_SESSIONS or is_own_account(user):
            continue
        # Over the socket of this machine: hotpair itself, or its administrator.
        if command in DUMP_COMMANDS + SLAVE_COMMANDS or (row.get("HOST") or "") in ("", "localhost"):
            continue
        ended += kill(connection, row.get("ID") or "0")
    return ended


def dump_sessions(connection: Connection) -> List[str]:
    return [row.get("ID") or "0" for row in sessions(connection) if row.get("COMMAND") in DUMP_COMMANDS]


def end_dumps(connection: Connection) -> int:
    """Ends the sessions that send replicas the log: a stale one keeps them from coming back (measured, 14 s)."""
    return sum(kill(connection, each) for each in dump_sessions(connection))


def kill(connection: Connection, session: str) -> int:
    try:
        connection.do(f"KILL {int(session)}")
    except ServerError as error:
        if error.code != NO_SUCH_THREAD:
            raise
        return 0
    return 1


# ---- replication


def account(password: str) -> str:
    import hashlib

    return ACCOUNT + hashlib.sha256(f"hotpair replication {password}".encode()).hexdigest()[:8]


def is_own_account(user: str) -> bool:
    """Of replication or of the heartbeat; whatever else begins with hotpair_ is a client's."""
    digest = user[len(ACCOUNT) :]
    ours = user.startswith(ACCOUNT) and len(digest) == 8 and all(digit in "0123456789abcdef" for digit in digest)
    return ours or user == BEAT_ACCOUNT


def password_hash(password: str) -> str:
    """As mysql_native_password keeps it, so that the password itself is in no statement and in no log."""
    import hashlib

    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()


def start_following(connection: Connection, host: str, port: int, password: str, tls: Tuple[str, str, str]) -> None:
    """Replication from `host`, from where this server is. It must be stopped, and its relay log applied.

    The primary must show a certificate of the pair's own authority, which is checked against MASTER_SSL_CA whatever
    MASTER_SSL_VERIFY_SERVER_CERT says (measured: error 2026 for any other); that adds the name, and certificates name
    the addresses that clients use, not those that replication does.
    """
    ca, certificate, key = tls
    connection.do(
        f"CHANGE MASTER TO MASTER_HOST = {quote(host)}, MASTER_PORT = {port}, "
        f"MASTER_USER = {quote(account(password))}, MASTER_PASSWORD = {quote(password)}, "
        "MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1, MASTER_SSL = 1, "
        f"MASTER_SSL_CA = {quote(ca)}, MASTER_SSL_CERT = {quote(certificate)}, MASTER_SSL_KEY = {quote(key)}, "
        "MASTER_SSL_VERIFY_SERVER_CERT = 0, MASTER_USE_GTID = slave_pos, MASTER_DEMOTE_TO_SLAVE = 1",
        5.0,
    )
    connection.do("START SLAVE", 5.0)
    until = time.monotonic() + 5.0
    while True:
        now = applier(connection)
        if now is not None:
            note_replication(connection.server_pid, now)
            return
        if time.monotonic() > until:
            raise Failed("the thread that applies the relay log does not start: SHOW SLAVE STATUS")
        time.sleep(0.01)


def stop_following(connection: Connection, timeout: float) -> bool:
    """Stops replication with everything applied that was received. False, with receiving alone stopped, if too slow.

    In this order alone: whatever stands in the relay log when the applying thread stops is thrown away.
    """
    found = seen(connection)
    if not found.configured:
        return True
    connection.do("STOP SLAVE IO_THREAD", 10.0)
    found = seen(connection)
    if found.sql_running != "Yes" or not wait_for(connection, found.received, timeout):
        return False
    connection.do("STOP SLAVE", 10.0)
    return True


def receivers(connection: Connection) -> List[Row]:
    """The thread that receives from the primary, with what it is at; connected or not."""
    return connection.rows(
        "SELECT ID, COMMAND, STATE FROM information_schema.PROCESSLIST "
        "WHERE USER = 'system user' AND COMMAND IN ('Slave_IO', 'Connect', 'Killed')"
    )


def cease_receiving(connection: Connection, timeout: float) -> None:
    """From here on nothing more is received and nothing more is acknowledged. Raises Failed.

    STOP SLAVE IO_THREAD would do it, too, but waits up to a second for a dead primary to be told
    (rpl_semi_sync_slave_kill_conn_timeout; measured). A killed thread leaves its loop at once and tells it afterwards.
    """
    for row in receivers(connection):
        kill(connection, row.get("ID") or "0")
    until = time.monotonic() + timeout
    while any(
        row.get("COMMAND") != "Killed" or not (row.get("STATE") or "").startswith(CEASED)
        for row in receivers(connection)
    ):
        if time.monotonic() > until:
            raise Failed("the thread that receives from the primary does not end: SHOW PROCESSLIST")
        time.sleep(0.002)


def apply_received(connection: Connection, timeout: float) -> bool:
    """Ends replication with everything applied that was received. False if that takes longer; to be called again.

    In this order alone: whatever stands in the relay log when the applying thread stops is thrown away.
    """
    cease_receiving(connection, 2.0)
    found = seen(connection)
    if found.sql_running != "Yes" or not wait_for(connection, found.received, timeout):
        return False
    connection.do("STOP SLAVE SQL_THREAD", 10.0)
    after = seen(connection).received
    if after != found.received:
        raise Failed(f"received {after} after receiving had ended at {found.received}")
    return True


def note_replication(pid: int, session: str) -> None:
    state.write_json(state.REPLICATION_PATH, {"pid": pid, "applier": session})


def noted_applier(pid: int) -> Optional[str]:
    noted = state.read_json(state.REPLICATION_PATH)
    return str(noted["applier"]) if noted is not None and noted.get("pid") == pid else None


def running_incarnation(pid: int) -> Optional[str]:
    """Of the server process with this number; None when it was not started by `hotpair-mariadb start`."""
    noted = state.read_json(state.SERVER_PATH)
    if noted is None or noted.get("pid") != pid or noted.get("started") != started(pid):
        return None
    return str(noted.get("incarnation", "")) or None


def started(pid: int) -> Optional[int]:
    """When a process was started, in ticks since boot: with its number it names one process alone (proc(5), stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


# ---- the primary's own tables and accounts


def prepare_primary(connection: Connection, hosts: Sequence[str], passwords: Sequence[str]) -> None:
    """What replication and this program need on a primary; nothing is written when it is all there.

    `hosts`: addresses that a replica comes from, either node's, since the accounts are replicated with everything else.
    """
    table = connection.value(
        f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{SCHEMA}' AND TABLE_NAME = 'heartbeat'"
    )
    if table == "0":
        connection.do(f"CREATE DATABASE IF NOT EXISTS {SCHEMA}", 5.0)
        connection.do(
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.heartbeat "
            "(id TINYINT UNSIGNED NOT NULL PRIMARY KEY, node CHAR(1) NOT NULL, at DOUBLE NOT NULL) ENGINE = InnoDB",
            5.0,
        )
    rows = connection.rows(f"SELECT User, Host FROM mysql.user WHERE User LIKE '{ACCOUNT[:-1]}\\_%'")
    there = {(row.get("User") or "", row.get("Host") or "") for row in rows if is_own_account(row.get("User") or "")}
    if (BEAT_ACCOUNT, "localhost") not in there:
        # Root writes in spite of read_only; this account does not. It logs in by the socket, as this machine's root.
        name = f"{quote(BEAT_ACCOUNT)}@'localhost'"
        connection.do(f"CREATE USER {name} IDENTIFIED VIA unix_socket AS 'root'", 5.0)
        connection.do(f"GRANT SELECT, INSERT, UPDATE ON {SCHEMA}.heartbeat TO {name}", 5.0)
    wanted = {(account(password), host): password_hash(password) for password in passwords for host in hosts}
    for (user, host), digest in wanted.items():
        if (user, host) in there:
            continue
        name = f"{quote(user)}@{quote(host)}"
        connection.do(f"CREATE USER {name} IDENTIFIED BY PASSWORD {quote(digest)} REQUIRE X509", 5.0)
        # Read the binary log, and nothing else.
        connection.do(f"GRANT REPLICATION SLAVE ON *.* TO {name}", 5.0)
    for user, host in there - set(wanted) - {(BEAT_ACCOUNT, "localhost")}:
        connection.do(f"DROP USER IF EXISTS {quote(user)}@{quote(host)}", 5.0)


def beat(connection: Connection, node: str, timeout: float) -> None:
    """One heartbeat row: its time, by this node's clock, tells the replica how old its data is."""
    connection.do(
        f"INSERT INTO {SCHEMA}.heartbeat (id, node, at) VALUES (1, {quote(node)}, {time.time():.6f}) "
        "ON DUPLICATE KEY UPDATE node = VALUES(node), at = VALUES(at)",
        timeout,
    )


def last_beat(connection: Connection) -> Optional[float]:
    """When the newest heartbeat row that was applied here was written, by the primary's clock."""
    try:
        text = connection.value(f"SELECT at FROM {SCHEMA}.heartbeat WHERE id = 1")
    except ServerError:
        return None
    return float(text) if text else None


# ---- the process


def kill_server(unit: str = UNIT, root: str = "/sys/fs/cgroup") -> bool:
    """SIGKILL for every process of the server's unit, at once: the fence. False when there was nothing to kill.

    By its cgroup, which no process escapes; where the kernel has no cgroup.kill (before 5.14, cgroup v1), by number.
    """
    for path in (f"{root}/system.slice/{unit}/cgroup.kill", f"{root}/unified/system.slice/{unit}/cgroup.kill"):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            os.write(descriptor, b"1")
            return True
        except OSError:
            continue
        finally:
            os.close(descriptor)
    noted = state.read_json(state.SERVER_PATH)
    if noted is None or not isinstance(noted.get("pid"), int) or noted.get("started") != started(noted["pid"]):
        return False
    try:
        os.kill(noted["pid"], signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
