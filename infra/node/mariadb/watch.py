"""`hotpair-mariadb watch`: sees to it that the pair is as redundant as it can be, and that everybody knows what it is.

On the primary: heartbeat rows, and the one order in which the replica is left out of `insync` and taken back in. On the
replica: follows the primary from wherever it is, or says why it cannot. On both: answers HAProxy and the peer. It never
promotes and never demotes; without it the pair serves on, and a lost replica stops the writes until it is back.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import time
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from . import authority, channel, gtid, primary, provision, server, state, switch
from .config import Config, passwords
from .rules import (
    PeerSeen,
    PrimarySeen,
    Rejoin,
    RejoinDecision,
    ReplicaSeen,
    Role,
    ServingSeen,
    Step,
    connection_verdict,
    lag_of,
    redundancy_step,
    rejoin_decision,
    takes_reads,
    takes_writes,
)
from .wire import Connection, ServerError, Unreachable

LOOK_EVERY = 0.1
# The peer is asked this often; more often while it is to be taken back in.
ASK_EVERY = 0.5
ASK_EVERY_ALONE = 0.1
ASK_TIMEOUT = 1.0
# What is in `insync` changes by this node's own doing, or by an operator's force.
INSYNC_EVERY = 2.0
# After an attempt that failed; doubled up to the longest.
RETRY, LONGEST_RETRY = 1.0, 30.0
# The replica's threads are looked at more seldom than the primary's sessions.
FOLLOW_EVERY = 0.25
STATUS_EVERY = 0.5
# A heartbeat's statement is given up after this long; its write may still come.
BEAT_TIMEOUT = 3600.0

# What can end a step and be tried again.
Troubles = (
    Unreachable,
    ServerError,
    server.Failed,
    authority.Refused,
    channel.NoAnswer,
    TimeoutError,
    OSError,
    ValueError,
)


class Heartbeat(threading.Thread):
    """Writes the heartbeat rows of a primary, as an account that `read_only` holds for. A row is the first write to
    show that acknowledgements do not come: `waiting` is for how long."""

    def __init__(self, config: Config) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._config = config
        self._began: Optional[float] = None
        self.beating = False
        self.error = ""

    def waiting(self) -> float:
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def run(self) -> None:
        connection: Optional[Connection] = None
        while True:
            time.sleep(self._config.heartbeat)
            if not self.beating:
                if connection is not None:
                    connection.close()
                connection, self.error = None, ""
                continue
            try:
                if connection is None:
                    connection = Connection(self._config.socket, user=server.BEAT_ACCOUNT)
                self._began = time.monotonic()
                server.beat(connection, self._config.node, BEAT_TIMEOUT)
                self.error = ""
            except (Unreachable, ServerError) as error:
                self.error = str(error)
                if connection is not None:
                    connection.close()
                connection = None
            finally:
                self._began = None


class Peer(threading.Thread):
    """Asks the peer how it is, and how its clock differs from this one."""

    def __init__(self, config: Config) -> None:
        super().__init__(name="peer", daemon=True)
        self._config = config
        self.answer: Optional[channel.Answer] = None
        self.answered_at = 0.0
        self.error = ""
        # the peer's clock minus this node's, in seconds
        self.offset = 0.0
        self.every = ASK_EVERY

    def run(self) -> None:
        while True:
            try:
                before = time.time()
                answer = channel.ask(self._config, {"verb": "status"}, ASK_TIMEOUT)
                after = time.time()
                self.offset = float(answer.get("now", after)) - (before + after) / 2
                self.answer, self.answered_at, self.error = answer, time.monotonic(), ""
            except (channel.NoAnswer, ValueError) as error:
                self.answer, self.error = None, str(error)
            time.sleep(self.every)

    def seen(self) -> Optional[channel.Answer]:
        fresh = time.monotonic() - self.answered_at < ASK_TIMEOUT + self.every
        return self.answer if fresh else None


class Watch:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.heartbeat = Heartbeat(config)
        self.peer = Peer(config)
        self._connection: Optional[Connection] = None
        self._serving: Optional[Connection] = None
        self._serving_lock = threading.Lock()
        self._insync: Optional[Mapping[str, str]] = None
        self._insync_at = -INSYNC_EVERY
        self._goal: Optional[str] = None
        self._semi_sync_at = 0.0
        self._connected_at = time.monotonic()
        self._retry = RETRY
        self._not_before = 0.0
        # incarnation of the replica that was last waited for
        self._tried = ""
        self._was_primary = False
        self._follow_at = 0.0
        self._rejoin: Optional[RejoinDecision] = None
        self._lag: Optional[float] = None
        self._replicating = False
        self._provisioning: Dict[str, Any] = {}
        self._copying: Optional[threading.Thread] = None
        self._step = ""
        self._status_at = 0.0
        self._trouble = ""
        self._accounts: Tuple[str, ...] = ()

    # ---- the loop

    def run(self) -> int:
        os.makedirs(state.RUN, mode=0o755, exist_ok=True)
        channel.Listener(self.config, self.role, self.ask)
        self.heartbeat.start()
        self.peer.start()
        primary.notify("READY=1")
        while True:
            began = time.monotonic()
            try:
                if self._look():
                    self._say_trouble("")
            except Troubles as error:
                self._say_trouble(str(error))
            if began - self._status_at > STATUS_EVERY:
                self._status_at = began
                self._write_status()
            primary.notify("WATCHDOG=1")
            time.sleep(max(0.01, LOOK_EVERY - (time.monotonic() - began)))

    def _say_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            if text:
                print(text, file=sys.stderr, flush=True)

    def _look(self) -> bool:
        """False when there was nothing to look at yet."""
        promoted = authority.holds() and os.path.exists(state.PROMOTED_PATH)
        if promoted:
            handed = state.read_json(state.HANDED_OVER_PATH)
            self.heartbeat.beating = handed is None
            self._was_primary = True
            if handed is None:
                self._look_as_primary()
            elif handed.get("until", 0) < state.boottime():
                switch.call_off(self.config, "no switch followed the hand-over in time")
            return True
        self.heartbeat.beating = False
        if self._was_primary:
            self._was_primary = False
            self._goal, self._insync = None, None
        if time.monotonic() - self._follow_at < FOLLOW_EVERY:
            return False
        self._follow_at = time.monotonic()
        self._look_as_replica()
        return True

    def _session(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.config.socket)
        return self._connection

    def _on_server(self, do: Callable[[Connection], Any]) -> Any:
        """With this watch's session; after trouble the next one is new."""
        try:
            return do(self._session())
        except Unreachable:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise

    # ---- primary

    def _look_as_primary(self) -> None:
        now = time.monotonic()
        if now - self._insync_at >= INSYNC_EVERY or self._insync is None:
            self._insync = authority.insync()
            self._insync_at = now
        self._keep_accounts()
        connected, semi_sync = self._on_server(
            lambda connection: (bool(server.dump_sessions(connection)), server.semi_sync(connection))
        )
        if connected or not semi_sync:
            self._connected_at = now
        replica = self._replica()
        if replica is not None and replica.incarnation != self._tried:
            # Another start of replication than the one that failed: worth an attempt at once.
            self._tried, self._retry, self._not_before = replica.incarnation, RETRY, 0.0
        decision = redundancy_step(
            PrimarySeen(
                node=self.config.node,
                peer=self.config.peer,
                insync=self._insync,
                semi_sync=semi_sync,
                waiting=self.heartbeat.waiting(),
                unconnected=0.0 if connected else max(now - self._connected_at, 1e-3),
                replica=replica,
                goal=self._goal,
                since_semi_sync=now - self._semi_sync_at,
            ),
            self.config.timing,
        )
        alone = self._insync is not None and self.config.peer not in self._insync
        self.peer.every = ASK_EVERY_ALONE if alone else ASK_EVERY
        self._step = decision.reason
        if decision.step is Step.NONE:
            return
        if decision.step is Step.SEMI_SYNC_ON and now < self._not_before:
            return
        with state.changing():
            if not (authority.holds() and os.path.exists(state.PROMOTED_PATH)) or os.path.exists(
                state.HANDED_OVER_PATH
            ):
                return
            self._carry_out(decision.step, decision.reason, decision.incarnation)

    def _carry_out(self, step: Step, reason: str, incarnation: str) -> None:
        name = self.config.name
        if step is Step.ALONE:
            # Committed before the first write is acknowledged without the peer; if it cannot be, writes go on waiting.
            try:
                authority.alone()
            except authority.Refused as error:
                raise authority.Refused(f"the replica is lost ({reason}), and writes wait: {error}") from None
            self._insync = {self.config.node: (self._insync or {}).get(self.config.node, "")}
            self._on_server(lambda connection: server.set_semi_sync(connection, False))
            # A dump session that the network left behind would keep the replica from coming back.
            self._on_server(server.end_dumps)
            self._goal = None
            state.audit(name, "redundant", "alone", reason)
        elif step is Step.SEMI_SYNC_OFF:
            self._on_server(lambda connection: server.set_semi_sync(connection, False))
            self._on_server(server.end_dumps)
            self._goal = None
            self._not_before = time.monotonic() + self._retry
            self._retry = min(LONGEST_RETRY, 2 * self._retry)
            state.audit(name, "catching up", "alone", reason)
        elif step is Step.SEMI_SYNC_ON:
            self._semi_sync_at = time.monotonic()
            self._on_server(lambda connection: server.set_semi_sync(connection, True))
            # Every write from here on waits for the replica; every one before must be applied there.
            self._goal = self._on_server(server.position)
            state.audit(name, "alone", "catching up", f"writes wait for the replica again, from {self._goal} on")
        elif step is Step.TOGETHER:
            authority.together(incarnation)
            self._insync = {**(self._insync or {}), self.config.peer: incarnation}
            self._retry = RETRY
            state.audit(name, "catching up", "redundant", f"{self.config.peer_name} ({incarnation}): {reason}")

    def _replica(self) -> Optional[ReplicaSeen]:
        answer = self.peer.seen()
        if answer is None or not answer.get("incarnation"):
            return None
        lag = None
        if answer.get("beat") is not None:
            # The row was written by this node's clock; the answer says which one the replica had when it answered.
            lag = max(0.0, float(answer["now"]) - self.peer.offset - float(answer["beat"]))
        return ReplicaSeen(
            incarnation=str(answer["incarnation"]),
            following=bool(answer.get("following")),
            io_running=answer.get("io") == "Yes",
            sql_running=answer.get("sql") == "Yes",
            sql_errno=int(answer.get("sqlErrno", 0)),
            lag=lag,
            position=str(answer.get("position", "")),
        )

    def _keep_accounts(self) -> None:
        """The accounts of replication follow the configured passwords, also while they are being rotated."""
        wanted = passwords()
        if wanted == self._accounts:
            return
        with state.changing():
            if os.path.exists(state.HANDED_OVER_PATH) or not authority.holds():
                return
            self._on_server(
                lambda connection: server.prepare_primary(
                    connection, (self.config.address, self.config.peer_address), wanted
                )
            )
        self._accounts = wanted

    # ---- replica

    def _look_as_replica(self) -> None:
        self._replicating, self._lag = False, None
        here = state.data()
        answer = self.peer.seen()
        if authority.holds() or provision.busy():
            return
        if here.role is Role.NEW:
            if answer is not None and answer.get("primary") is True:
                self._copy(consented=False)
            return
        if self._copying is not None and self._copying.is_alive():
            return
        if not os.path.exists(state.SERVER_PATH):
            # `start` waits, and says for what.
            return
        found = self._on_server(server.seen)
        if found.configured and found.source == self.config.peer_address and found.sql_running == "Yes":
            self._watch_following(found)
            return
        if answer is None or answer.get("primary") is not True:
            return
        self._rejoin_primary(answer)

    def _watch_following(self, found: Any) -> None:
        """Replication is set up and applies. What can stop it, and what must not be overlooked."""
        connection = self._session()
        noted = server.noted_applier(connection.server_pid)
        now = server.applier(connection)
        if noted is not None and now is not None and noted != now:
            # Somebody stopped and started it: what was received and not applied is gone, and was acknowledged.
            with state.changing():
                authority.write_incarnation(state.new_incarnation())
                self._renote(connection, now)
            state.audit(self.config.name, "replica", "restarted", "replication was stopped and started by hand")
        verdict = connection_verdict(found)
        self._rejoin = verdict
        beat = server.last_beat(connection)
        self._replicating = found.io_running == "Yes"
        self._lag = None if beat is None else lag_of([(beat, self.peer.offset)], time.time())
        if found.io_running == "No" and verdict is None:
            # It gave up, e.g. after 14 s of silence, without an error. The applying thread runs: nothing is lost.
            connection.do("START SLAVE IO_THREAD", 5.0)
        elif self._replicating and self._rotated(connection):
            self._change_password(connection)

    def _renote(self, connection: Connection, session: str) -> None:
        noted = state.read_json(state.SERVER_PATH)
        if noted is not None:
            state.write_json(state.SERVER_PATH, {**noted, "incarnation": authority.incarnation()})
        server.note_replication(connection.server_pid, session)

    def _rotated(self, connection: Connection) -> bool:
        user = connection.row("SHOW SLAVE STATUS").get("Master_User") or ""
        return user != server.account(passwords()[0])

    def _change_password(self, connection: Connection) -> None:
        """Once the primary knows the new account, which arrives here as a transaction like any other."""
        wanted = server.account(passwords()[0])
        known = connection.value(f"SELECT COUNT(*) FROM mysql.user WHERE User = '{wanted}'")
        if known in ("", "0"):
            return
        with state.changing():
            if authority.holds() or not server.stop_following(connection, 5.0):
                connection.do("START SLAVE IO_THREAD", 5.0)
                return
            authority.write_incarnation(state.new_incarnation())
            self._follow(connection)
        state.audit(self.config.name, "replica", "replica", "replication has a new password")

    def _rejoin_primary(self, answer: channel.Answer) -> None:
        with state.changing():
            if authority.holds():
                return
            connection = self._session()
            if not server.read_only(connection):
                # Nobody who does not hold the lease takes writes.
                server.kill_server()
                state.audit(self.config.name, "writable", "killed", "took writes without the lease")
                return
            provision.finish(connection)
            found = server.seen(connection)
            if found.configured and found.sql_errno and found.io_thread:
                # Applying failed. What was received is kept as long as receiving goes on; a person must look.
                self._rejoin = RejoinDecision(Rejoin.DIVERGED, f"error {found.sql_errno}: {found.sql_error}")
                return
            decision = rejoin_decision(
                server.position(connection),
                self.config.server_id,
                PeerSeen(
                    node=self.config.peer,
                    primary=True,
                    incarnation=str(answer.get("incarnation") or ""),
                    position=str(answer.get("position", "")),
                    promotions=tuple(str(each) for each in answer.get("promotions", [])),
                ),
            )
            if decision.rejoin is not Rejoin.FOLLOW:
                if self._rejoin is None or self._rejoin.rejoin is not decision.rejoin:
                    state.audit(self.config.name, "demoted", decision.rejoin.value, decision.reason)
                self._rejoin = decision
                return
            here = state.data()
            # A replica from here on: what it acknowledges is in its relay log first, and no restart keeps that.
            authority.write_incarnation(state.new_incarnation())
            state.save(state.Data(Role.REPLICA, here.promotions))
            if found.configured:
                connection.do("STOP SLAVE", 10.0)
                connection.do("RESET SLAVE ALL", 5.0)
            server.set_semi_sync(connection, False)
            state.forget(state.HANDED_OVER_PATH)
            state.forget(state.PROMOTED_PATH)
            self._follow(connection)
            self._rejoin = None
        state.audit(self.config.name, "demoted", "replica", f"follows {self.config.peer_name}: {decision.reason}")

    def _follow(self, connection: Connection) -> None:
        config = self.config
        noted = state.read_json(state.SERVER_PATH)
        if noted is not None:
            state.write_json(state.SERVER_PATH, {**noted, "incarnation": authority.incarnation()})
        server.start_following(
            connection, config.peer_address, config.port, passwords()[0], (config.ca, config.certificate, config.key)
        )

    # ---- a copy of everything

    def _copy(self, consented: bool) -> bool:
        """Begins to copy the peer's data in the background; without consent only where there is none."""
        if self._copying is not None and self._copying.is_alive():
            return False
        if time.monotonic() < self._not_before:
            return False
        if not consented and provision.holds_data(self.config.data_directory):
            self._rejoin = RejoinDecision(
                Rejoin.PROVISION,
                f"{self.config.data_directory} holds data of somebody else, which a copy would replace: "
                "hotpair-mariadb recover",
            )
            return False
        self._provisioning = {}

        def copy() -> None:
            name = self.config.name
            state.audit(
                name, "new" if not consented else "diverged", "provisioning", f"copying {self.config.peer_name}"
            )
            try:
                provision.take(self.config, provision.measure(self._provisioning))
            except provision.Failed as error:
                self._provisioning = {"failed": str(error)}
                self._not_before = time.monotonic() + LONGEST_RETRY
                state.audit(name, "provisioning", "failed", str(error))
                return
            took = self._provisioning.get("seconds", 0)
            self._provisioning = {}
            self._rejoin = None
            state.audit(name, "provisioning", "replica", f"copied in {took} s")

        self._copying = threading.Thread(target=copy, name="copy", daemon=True)
        self._copying.start()
        return True

    # ---- what others ask

    def serving(self) -> ServingSeen:
        holds = authority.holds()
        writable: Optional[bool] = None
        with self._serving_lock:
            try:
                if self._serving is None:
                    self._serving = Connection(self.config.socket, 0.2)
                writable = not server.read_only(self._serving)
            except (Unreachable, ServerError):
                if self._serving is not None:
                    self._serving.close()
                self._serving = None
        if writable and (not os.path.exists(state.PROMOTED_PATH) or os.path.exists(state.HANDED_OVER_PATH)):
            writable = False
        return ServingSeen(holds_lease=holds, writable=writable, lag=self._lag, replicating=self._replicating)

    def role(self, path: str) -> Tuple[bool, str]:
        seen = self.serving()
        if path.split("?", 1)[0].rstrip("/") == "/replica":
            return takes_reads(seen, self.config.longest_lag)
        return takes_writes(seen)

    def ask(self, request: Mapping[str, Any]) -> Tuple[channel.Answer, Optional[Callable[[ssl.SSLSocket], None]]]:
        verb = request.get("verb")
        try:
            if verb == "status":
                return self._own_status(), None
            if verb == "wait":
                goal = gtid.show(gtid.parse(str(request["position"])))
                timeout = min(60.0, float(request["timeout"]))
                with Connection(self.config.socket) as connection:
                    found = server.seen(connection)
                    reached = found.sql_running == "Yes" and server.wait_for(connection, goal, timeout)
                    return {"reached": reached, "incarnation": server.running_incarnation(connection.server_pid)}, None
            if verb == "copy":
                if not takes_writes(self.serving())[0]:
                    return {"ok": False, "why": "it is not the primary"}, None
                size = provision.size_of(self.config.data_directory)
                return {"ok": True, "bytes": size}, provision.give(self.config)
        except Troubles as error:
            return {"ok": False, "why": str(error)}, None
        return {"ok": False, "why": f"{verb!r} is not understood"}, None

    def _own_status(self) -> channel.Answer:
        """All of it from one session, so that positions and incarnation belong to one server process."""
        writes, _ = takes_writes(self.serving())
        here = state.data()
        answer: channel.Answer = {
            "v": 1,
            "node": self.config.node,
            "primary": writes,
            "role": here.role.value,
            "promotions": list(here.promotions[-10:]),
            "incarnation": None,
        }
        try:
            with Connection(self.config.socket, 0.5) as connection:
                incarnation = server.running_incarnation(connection.server_pid)
                found = server.seen(connection)
                answer.update(
                    following=found.configured and found.source == self.config.peer_address,
                    io=found.io_running,
                    sql=found.sql_running,
                    sqlErrno=found.sql_errno,
                    position=server.position(connection),
                    beat=server.last_beat(connection),
                    now=time.time(),
                )
                # Read twice: a restart of replication in between begins a new incarnation.
                if server.running_incarnation(connection.server_pid) == incarnation == authority.incarnation():
                    answer["incarnation"] = incarnation
        except (Unreachable, ServerError):
            pass
        answer["now"] = time.time() if "now" not in answer else answer["now"]
        return answer

    def _write_status(self) -> None:
        """For `status`: what only this process knows."""
        peer = self.peer.seen()
        state.write_json(
            state.WATCH_PATH,
            {
                "at": state.boottime(),
                "redundancy": self._step if self._was_primary else None,
                "insync": None if self._insync is None else dict(self._insync),
                "rejoin": None
                if self._rejoin is None
                else {"what": self._rejoin.rejoin.value, "reason": self._rejoin.reason},
                "lagMs": None if self._lag is None else round(self._lag * 1000, 1),
                "replicating": self._replicating,
                "provisioning": dict(self._provisioning) or None,
                "peer": peer,
                "peerError": self.peer.error,
                "trouble": self._trouble,
                "heartbeat": self.heartbeat.error,
                "waitingMs": round(self.heartbeat.waiting() * 1000),
            },
        )


def main(config: Config) -> int:
    return Watch(config).run()
