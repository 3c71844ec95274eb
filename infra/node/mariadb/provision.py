"""Where a node's data comes from: begun here, adopted, or copied from the peer (mariadb-backup, streamed over TLS).

Data that is there already is never written over without the consent that `recover` asks for.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import ssl
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from . import authority, channel, gtid, server, state
from .config import Config
from .rules import Role
from .wire import Connection

# Directories of the server itself, in every data directory.
SYSTEM_SCHEMAS = ("mysql", "performance_schema", "sys", "test", "lost+found", server.SCHEMA)
# In the data directory, which may be a file system of its own: what is being received.
RECEIVING = ".hotpair-receiving"
# An installation that has begun: to be finished before the server may start.
INSTALLING_PATH = f"{state.STATE_DIRECTORY}/installing.json"
PACKAGE_UNIT = "mariadb.service"
CHUNK = 1 << 20
SILENCE = 30.0

Progress = Callable[[str, int, int], None]


class Failed(Exception):
    """Why there is no copy; the data directory is as it was."""


def holds_data(directory: str) -> bool:
    """Whether somebody's data is in it: a schema that no fresh installation has. So it counts if it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except FileNotFoundError:
        return False
    except OSError:
        return True
    # `#…` are the server's own (#binlog_cache_files, #rocksdb)
    return any(name not in SYSTEM_SCHEMAS and name[:1] != "#" and name != RECEIVING for name in names)


def initialized(directory: str) -> bool:
    return os.path.isdir(os.path.join(directory, "mysql"))


def begin(config: Config) -> Optional[str]:
    """Makes this node the one on which the pair's data begins, if it is; otherwise says why not (yet).

    That is the node with data, where an existing server is adopted; else node a. And only while the pair has no list of
    nodes in sync: later, data is only ever copied from the primary.
    """
    found = authority.status()
    if found is None:
        return "hotpair-lease does not answer"
    if authority.insync_of(found):
        return "it will be copied from the peer"
    if not enrollable(found):
        return "the members of etcd do not answer yet"
    existing = holds_data(config.data_directory)
    if existing and not config.adopt:
        return (
            f"{config.data_directory} holds data of somebody else. To make it the pair's, set "
            "hotpair:pair.mariadb.adopt to true; else empty the directory. Nothing was changed"
        )
    if not existing and (config.adopt or config.node != "a"):
        return "the pair's data begins on the other node" + (", which has it already" if config.adopt else "")
    end_package_server()
    if not initialized(config.data_directory):
        install(config)
    # From its own beginning on, everything that it acknowledges is in its own log.
    authority.write_incarnation(state.new_incarnation())
    state.save(state.Data(Role.PRIMARY, ()))
    authority.enroll()
    state.audit(
        config.name, "new", "first", "adopted the data found here" if existing else "the pair's data begins here"
    )
    return None


def end_package_server() -> None:
    """A server that the package's own unit runs lets go of the data, in order. It is not started again by itself."""
    active = ["systemctl", "is-active", "--quiet", PACKAGE_UNIT]
    if subprocess.run(active, stdin=subprocess.DEVNULL, check=False).returncode == 0:
        subprocess.run(["systemctl", "stop", PACKAGE_UNIT], stdin=subprocess.DEVNULL, check=True)


def enrollable(found: Mapping[str, Any]) -> bool:
    """Known to have no list, not just not known to have one."""
    return "insync" in found and found["insync"] is None and bool(found.get("quorum", True))


def install(config: Config) -> None:
    owner = pwd.getpwnam("mysql")
    os.makedirs(config.data_directory, mode=0o700, exist_ok=True)
    os.chown(config.data_directory, owner.pw_uid, owner.pw_gid)
    subprocess.run(
        [
            "mariadb-install-db",
            f"--defaults-file={config.defaults}",
            "--user=mysql",
            f"--datadir={config.data_directory}",
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )


# ---- the side that gives


def give(config: Config) -> Callable[[ssl.SSLSocket], None]:
    """Streams a consistent copy of the running server to the peer."""

    def stream(secure: ssl.SSLSocket) -> None:
        secure.settimeout(SILENCE)
        arguments = [
            "mariadb-backup",
            f"--defaults-file={config.defaults}",
            "--backup",
            "--stream=mbstream",
            "--user=root",
            f"--socket={config.socket}",
            "--target-dir=/run/hotpair",
        ]
        with subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        ) as backup:
            said: List[str] = []
            listening = threading.Thread(target=_keep_last, args=(backup.stderr, said), daemon=True)
            listening.start()
            try:
                assert backup.stdout is not None
                while True:
                    data = backup.stdout.read(CHUNK)
                    if not data:
                        break
                    channel.send_frame(secure, data)
                code = backup.wait()
                listening.join(2.0)
                channel.send_end(secure, {"ok": code == 0, "said": "" if code == 0 else "\n".join(said[-5:])})
            finally:
                if backup.poll() is None:
                    backup.kill()

    return stream


def _keep_last(stream: Any, said: List[str]) -> None:
    for line in stream:
        said.append(line.decode(errors="replace").rstrip())
        del said[:-20]


def size_of(directory: str) -> int:
    """Bytes below a directory, near enough for a progress bar."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
    return total


# ---- the side that takes


def take(config: Config, progress: Progress) -> None:
    """Replaces this node's data by a copy of the peer's. The present data goes only when the copy is whole.

    Ends with the copy in place, marked as a replica's, and the server about to start. Raises Failed.
    """
    receiving = os.path.join(config.data_directory, RECEIVING)
    if os.path.exists(INSTALLING_PATH):
        raise Failed("an earlier copy is being installed by hotpair-mariadb.service; see its journal")
    shutil.rmtree(receiving, ignore_errors=True)
    os.makedirs(receiving, mode=0o700)
    try:
        _receive(config, receiving, progress)
        progress("preparing", 0, 0)
        prepared = subprocess.run(
            ["mariadb-backup", "--prepare", f"--target-dir={receiving}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if prepared.returncode != 0:
            raise Failed(f"mariadb-backup --prepare: {_last_line(prepared.stderr)}")
        copied = copied_position(receiving)
        _give_to_server(receiving)
        progress("installing", 0, 0)
        _install_copy(config, copied)
    except (OSError, ValueError, channel.NoAnswer, authority.Refused, subprocess.SubprocessError) as error:
        raise Failed(str(error)) from None
    finally:
        if not os.path.exists(INSTALLING_PATH):
            shutil.rmtree(receiving, ignore_errors=True)


def _receive(config: Config, directory: str, progress: Progress) -> None:
    with channel.connect(config, 5.0) as secure:
        secure.settimeout(SILENCE)
        secure.sendall(json.dumps({"verb": "copy"}).encode() + b"\n")
        answer = channel.read_answer(secure)
        if answer.get("ok") is not True:
            raise Failed(f"{config.peer_name}: {answer.get('why', 'refused')}")
        total = int(answer.get("bytes", 0))
        free = shutil.disk_usage(directory).free
        if total > free:
            raise Failed(f"{directory}: {free >> 20} MB free, but the copy needs {total >> 20} MB; make room")
        received = 0
        with subprocess.Popen(
            ["mbstream", "-x", "-C", directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as unpack:
            assert unpack.stdin is not None
            try:
                while True:
                    data, trailer = channel.receive_frame(secure)
                    if trailer is not None:
                        break
                    unpack.stdin.write(data)
                    received += len(data)
                    progress("receiving", received, total)
                unpack.stdin.close()
                code = unpack.wait()
            except BaseException:
                unpack.kill()
                raise
        if trailer.get("ok") is not True:
            raise Failed(f"{config.peer_name}: mariadb-backup: {trailer.get('said', 'failed')}")
        if code != 0:
            raise Failed(f"mbstream ended with exit code {code}")


def copied_position(directory: str) -> str:
    """Up to where the copy goes, as mariadb-backup noted it: file, offset, position."""
    for name in ("mariadb_backup_binlog_info", "xtrabackup_binlog_info"):
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            continue
        fields = text.strip().split("\t")
        return gtid.show(gtid.parse(fields[2])) if len(fields) > 2 else ""
    raise Failed("the copy does not say up to where it goes (mariadb_backup_binlog_info)")


def _give_to_server(directory: str) -> None:
    owner = pwd.getpwnam("mysql")
    for place, names, files in os.walk(directory):
        for name in (*names, *files):
            os.chown(os.path.join(place, name), owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    os.chown(directory, owner.pw_uid, owner.pw_gid)


def _install_copy(config: Config, copied: str) -> None:
    if authority.holds():
        raise Failed("this node holds the lease by now: its data is not replaced")
    with unit_stopped():
        # No longer what anybody counts on, before the first change.
        authority.write_incarnation(state.new_incarnation())
        state.save(state.Data(Role.REPLICA, ()))
        state.write_json(COPIED_PATH, {"position": copied, "done": False})
        state.write_json(INSTALLING_PATH, {"step": "remove"})
        finish_installation(config)


def finish_installation(config: Config) -> None:
    """Puts a whole copy into the place of what was there, or goes on with that. Raises OSError."""
    step = (state.read_json(INSTALLING_PATH) or {}).get("step")
    receiving = os.path.join(config.data_directory, RECEIVING)
    if step == "remove":
        for name in os.listdir(config.data_directory):
            if name == RECEIVING:
                continue
            path = os.path.join(config.data_directory, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        state.write_json(INSTALLING_PATH, {"step": "move"})
        step = "move"
    if step == "move":
        for name in os.listdir(receiving) if os.path.isdir(receiving) else ():
            os.rename(os.path.join(receiving, name), os.path.join(config.data_directory, name))
        shutil.rmtree(receiving, ignore_errors=True)
        state.forget(INSTALLING_PATH)


COPIED_PATH = f"{state.STATE_DIRECTORY}/copied.json"


def finish(connection: Connection) -> None:
    """Tells a server that runs on a fresh copy up to where it goes. Once; repeated when interrupted."""
    copied = state.read_json(COPIED_PATH)
    if copied is None or copied.get("done") is True:
        return
    connection.do("STOP SLAVE", 5.0)
    connection.do("RESET SLAVE ALL", 5.0)
    connection.do("RESET MASTER", 10.0)
    connection.do(f"SET GLOBAL gtid_slave_pos = '{copied['position']}'", 5.0)
    state.write_json(COPIED_PATH, {"position": copied["position"], "done": True})


class unit_stopped:
    """The server's unit, stopped meanwhile. It is killed: nothing of this data is needed any more."""

    def __enter__(self) -> None:
        subprocess.run(["systemctl", "stop", server.UNIT], stdin=subprocess.DEVNULL, timeout=60, check=True)
        end_package_server()

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            ["systemctl", "start", "--no-block", server.UNIT], stdin=subprocess.DEVNULL, timeout=60, check=True
        )


COPYING_PATH = f"{state.RUN}/mariadb.copying"


class exclusively:
    """By hand: the watch keeps its hands off meanwhile."""

    def __enter__(self) -> None:
        state.write_json(COPYING_PATH, {"pid": os.getpid(), "started": server.started(os.getpid())})

    def __exit__(self, *_: object) -> None:
        state.forget(COPYING_PATH)


def busy() -> bool:
    """Whether somebody copies by hand."""
    noted = state.read_json(COPYING_PATH)
    return noted is not None and noted.get("started") == server.started(int(noted.get("pid", 0)))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "failed without a word"


def measure(said: Dict[str, Any]) -> Progress:
    """Keeps the progress for `status`."""
    began = time.monotonic()

    def note(step: str, done: int, total: int) -> None:
        said.update(step=step, bytes=done, total=total, seconds=round(time.monotonic() - began, 1))

    return note
