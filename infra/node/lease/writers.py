"""Stops what writes, without PID 1: `cgroup.kill` of each unit's own cgroup, and a look whether it is empty.

Only leaf cgroups of the units are written to: on some kernels (6.18) a kill that was written to a tree that lives on
also meets processes that enter it later. Where the kernel has no `cgroup.kill` (cgroup v1, kernels before 5.14) every
process is killed by its number, again and again until none is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

# How long systemd may take to say where a unit's cgroup is; it is asked only while nothing is urgent (seconds).
_SYSTEMD_ANSWERS = 1.0


class Writers:
    """Knows where the units' cgroups are, kills them, and remembers which of them it has seen empty since."""

    def __init__(self, units: Sequence[str], roots: Optional[Sequence[str]] = None) -> None:
        """`roots`: mount points of the cgroup hierarchies that systemd uses."""
        self.units = tuple(units)
        self._roots = tuple(roots) if roots is not None else _hierarchies()
        self._groups: Dict[str, str] = {unit: f"/system.slice/{unit}" for unit in self.units}
        self._empty: Set[str] = set()

    def find(self) -> None:
        """Asks systemd for the units' cgroups; keeps what is known of a unit that has none at the moment."""
        for unit in self.units:
            try:
                said = subprocess.run(
                    ["systemctl", "show", "--value", "-p", "ControlGroup", unit],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=_SYSTEMD_ANSWERS,
                    check=False,
                ).stdout.strip()
            except (OSError, subprocess.SubprocessError):
                continue
            if said.startswith("/") and said != "/":
                self._groups[unit] = said

    def kill(self, units: Optional[Iterable[str]] = None) -> None:
        """All units (or these), in their order; those seen empty since they were first killed are left alone: what
        runs there now was started afterwards, and a unit that writes starts without the right to."""
        for unit in self.units if units is None else units:
            if unit in self._empty:
                continue
            for leaf in self._leaves(unit):
                _kill(leaf)

    def gone(self, units: Iterable[str]) -> bool:
        """Whether every one of these has been without a process since it was killed."""
        for unit in units:
            if unit not in self._empty and not any(True for _ in self.processes(unit)):
                self._empty.add(unit)
        return all(unit in self._empty for unit in units)

    def processes(self, unit: str) -> Iterator[Tuple[str, int]]:
        """(cgroup, process) of everything that runs in the unit. The kernel lists a process while any of its threads
        can still run, and none after (kernel/cgroup/cgroup.c, css_task_iter_advance)."""
        for leaf in self._tree(unit):
            for pid in _procs(leaf):
                yield leaf, pid

    def _tree(self, unit: str) -> Iterator[str]:
        group = self._groups[unit].lstrip("/")
        for root in self._roots:
            top = os.path.join(root, group)
            for folder, _folders, files in os.walk(top):
                if "cgroup.procs" in files:
                    yield folder

    def _leaves(self, unit: str) -> List[str]:
        """Cgroups of the unit with processes in them: none has another below it that counts (no internal processes)."""
        return [folder for folder in self._tree(unit) if _procs(folder)]


def _kill(leaf: str) -> None:
    try:
        descriptor = os.open(os.path.join(leaf, "cgroup.kill"), os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        for pid in _procs(leaf):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        return
    try:
        os.write(descriptor, b"1")
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _procs(group: str) -> List[int]:
    try:
        with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as file:
            # 0: a process of another pid namespace, which is not ours to see
            return [int(line) for line in file if line.strip() != "0"]
    except (OSError, ValueError):
        return []


def _hierarchies() -> Tuple[str, ...]:
    """Where systemd's cgroups are mounted: cgroup2, and the `name=systemd` hierarchy where there is one."""
    unified: List[str] = []
    named: List[str] = []
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                kind, _source, options = [*after.split(), "", "", ""][:3]
                place = before.split()[4]
                if kind == "cgroup2":
                    unified.append(place)
                elif kind == "cgroup" and "name=systemd" in options:
                    named.append(place)
    except (OSError, IndexError):
        pass
    return tuple(unified + named) or ("/sys/fs/cgroup",)
