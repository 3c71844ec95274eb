"""The keepalived beside the arbiter: whether it lives, what it last said of each VIP, and what its end leaves behind.

Facts come from /proc and from the kernel's word of its death; its notifications only make them known sooner. When it
must keep away from a VIP is the rules' business.
"""

from __future__ import annotations

import os
import select
import signal
import stat
from typing import Callable, Dict, List, Optional

from . import config, kernel
from .gate import RUN, Gatekeeper
from .interfaces import Interfaces
from .loop import Loop
from .progress import Progress
from .quorum import NEVER
from .scribe import Scribe

FIFO_PATH = f"{RUN}/vrrp.fifo"
MAIN_PIDS = ("/run/keepalived.pid", "/run/keepalived/keepalived.pid")
VRRP_PIDS = ("/run/vrrp.pid", "/run/keepalived/vrrp.pid")

# A VIP that keepalived says it does not own, while it lives, is removed after this (seconds).
STALE_ALIVE = 0.100

STATES = {"MASTER": "master", "BACKUP": "backup", "FAULT": "fault", "STOP": "stopped", "DELETED": "stopped"}


class Keepalived:
    def __init__(
        self,
        settings: config.Config,
        loop: Loop,
        interfaces: Interfaces,
        gatekeeper: Gatekeeper,
        scribe: Scribe,
        on_death: Callable[[], None],
    ) -> None:
        """`on_death`: called the moment its VRRP process, or the one that started that, ends."""
        self._config = settings
        self._loop = loop
        self._interfaces = interfaces
        self._gatekeeper = gatekeeper
        self._scribe = scribe
        self._on_death = on_death
        # "running", "stopped" or "hung"
        self.condition = "stopped"
        self._told: Dict[str, str] = {vip.name: "unknown" for vip in settings.vips}
        self._progress = Progress()
        self._stale_since: Dict[str, float] = {}
        self._killed_at = NEVER
        self._watched_pid = 0
        self._parent = 0
        self._searched_at = NEVER
        self._found_pid = 0
        self._deaths: List[int] = []
        self._fifo = -1
        self._fifo_inode = 0
        self._fifo_rest = b""

    def state(self, name: str, held: bool) -> str:
        """Its state of one VIP, from facts first: its last word counts where it fits them."""
        if self.condition == "stopped":
            return "stopped"
        told = self._told[name]
        return "master" if held and told == "unknown" else told

    # ---- its notifications

    def open_fifo(self) -> None:
        """keepalived writes to the pipe that it finds; when it made one itself, it is another one each time."""
        try:
            inode = os.stat(FIFO_PATH).st_ino
        except FileNotFoundError:
            os.mkfifo(FIFO_PATH, 0o600)
            inode = os.stat(FIFO_PATH).st_ino
        if self._fifo >= 0 and inode == self._fifo_inode:
            return
        if self._fifo >= 0:
            self._loop.forget(self._fifo)
            os.close(self._fifo)
        # read and write, so that it does not end when keepalived does
        self._fifo = os.open(FIFO_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(self._fifo).st_mode):
            raise config.ConfigError(f"{FIFO_PATH} is not a named pipe; remove it")
        self._fifo_inode = inode
        self._loop.watch(self._fifo, self._on_fifo)

    def _on_fifo(self, _source: object) -> None:
        try:
            data = os.read(self._fifo, 65536)
        except BlockingIOError:
            return
        lines = (self._fifo_rest + data).split(b"\n")
        self._fifo_rest = lines.pop()[-256:]
        for line in lines:
            # INSTANCE "web" MASTER 253
            words = line.decode(errors="replace").split()
            if len(words) < 3 or words[0] != "INSTANCE":
                continue
            name, state = words[1].strip('"'), STATES.get(words[2])
            if name in self._told and state is not None:
                self._told[name] = state
                self._loop.changed = True

    # ---- its process

    def probe(self, now: float) -> None:
        process = self._find(now)
        before = self.condition
        self._watch_death(process)
        # Without its parent it is about to end: it has said goodbye to the peer, and may be killed before it let go.
        if process is None or process.state in "ZX" or process.parent != self._parent:
            self.condition = "stopped"
        else:
            self.condition = self._progress.feed(now, process.pid, process.switches, process.state, process.cpu)
            if self.condition == "hung":
                self._kill(now, process.pid)
            elif self._progress.needs_waking(now):
                for vip in self._config.vips:
                    self._gatekeeper.touch(vip.name)
        if self.condition == before:
            return
        self._loop.changed = True
        if self.condition == "stopped":
            self._told = dict.fromkeys(self._told, "stopped")
        elif before == "stopped":
            for name, state in self._told.items():
                if state == "stopped":
                    self._told[name] = "unknown"

    def lives(self) -> bool:
        """Asks the kernel, too: `condition` is as old as the last probe."""
        return self.condition != "stopped" and not (self._deaths and select.select(self._deaths, [], [], 0)[0])

    def remove_stale(self, now: float) -> None:
        """Takes a VIP off that keepalived does not own."""
        for vip in self._config.vips:
            disowned = self.condition == "stopped" or (
                self.condition == "running" and self._told[vip.name] in ("backup", "fault", "stopped")
            )
            if not self._interfaces.held_on[vip.name] or not disowned:
                self._stale_since.pop(vip.name, None)
                continue
            since = self._stale_since.setdefault(vip.name, now)
            if self.condition == "stopped" or now - since >= STALE_ALIVE:
                # Dead, its VIP must not outlive it: systemd's ExecStopPost does the same, some milliseconds later.
                self._stale_since.pop(vip.name, None)
                self._scribe.log(f"{vip.name}: {vip.address} is here, but keepalived does not own it: removed")
                kernel.remove_address(vip.address)

    def _find(self, now: float) -> Optional[kernel.Process]:
        """By its pid file; where there is none, by its name: what runs must not be taken for dead."""
        pid = kernel.pid_from(*VRRP_PIDS)
        if pid == 0 and (now - self._searched_at >= 1.0 or any(self._interfaces.held_on.values())):
            self._searched_at = now
            self._found_pid = kernel.child_process("keepalived")
        return kernel.process(pid or self._found_pid, "keepalived")

    def _watch_death(self, process: Optional[kernel.Process]) -> None:
        """The end of keepalived's processes is heard of at once; a new one gets its priority.

        The VRRP process has sockets that the kernel takes tens of milliseconds to close before it says that it ended
        (measured: 17 and 31), so its parent is watched, too.
        """
        pid = 0 if process is None or process.state in "ZX" else process.pid
        if pid == self._watched_pid:
            return
        self._watched_pid = pid
        for death in self._deaths:
            self._forget(death)
        if process is None or pid == 0:
            return
        self._parent = process.parent
        for each in (pid, self._parent):
            try:
                death = os.pidfd_open(each)
            except OSError:
                # gone already, or a kernel before 5.3: the regular look finds it
                continue
            self._deaths.append(death)
            self._loop.watch(death, self._on_end)
        kernel.prioritise(pid, 20)

    def _on_end(self, death: int) -> None:
        # It would be read again and again until a new process is there.
        self._forget(death)
        self._on_death()

    def _forget(self, death: int) -> None:
        self._deaths = [other for other in self._deaths if other != death]
        self._loop.forget(death)
        os.close(death)

    def _kill(self, now: float, vrrp_pid: int) -> None:
        """A hung owner can neither serve VRRP nor give the VIP up: it is killed, and its end takes the VIP along."""
        if now - self._killed_at < 1.0:
            return
        self._killed_at = now
        self._scribe.log("keepalived hangs: killing it; systemd starts it again, without the VIP")
        main = kernel.process(kernel.pid_from(*MAIN_PIDS), "keepalived")
        for pid in {vrrp_pid, main.pid if main is not None else vrrp_pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
