"""Is a process hung, or only kept waiting? Pure: fed with what the kernel counts of it."""

from __future__ import annotations

from .quorum import NEVER


class Progress:
    """Tells a hung process from a starved one, by what the kernel counts of it. Fed every 50 to 100 ms.

    A process makes progress when it gives up the processor by itself (voluntary context switches): keepalived does so
    at each advert, and whenever its gate file is written. How long it may make none depends on what it is doing.
    """

    # seconds without progress after which a process counts as hung, by its state in /proc (proc_pid_stat(5))
    STOPPED = 0.5
    # asleep though it was woken, or waiting for a disk
    ASLEEP = 1.5
    # wants the processor and does not get it: overload, judged far more patiently
    STARVED = 5.0

    def __init__(self) -> None:
        self.pid = 0
        self.switches = -1
        self.cpu_then = 0.0
        self.since = NEVER
        self.seen = NEVER

    def feed(self, now: float, pid: int, switches: int, state: str, cpu: float) -> str:
        """`running` or `hung`. `cpu`: seconds of processor time that the process has used so far."""
        looked_away = now - self.seen > self.STOPPED / 2
        self.seen = now
        if pid != self.pid or switches != self.switches or looked_away:
            self.pid, self.switches, self.since, self.cpu_then = pid, switches, now, cpu
            return "running"
        still = now - self.since
        if state in "TtZX":
            patience = self.STOPPED
        elif state == "R" and cpu - self.cpu_then < 0.5 * still:
            patience = self.STARVED
        else:
            patience = self.ASLEEP
        return "hung" if still > patience else "running"

    def needs_waking(self, now: float) -> bool:
        """True when it has been quiet so long that it should be given a reason to run."""
        return now - self.since > self.STOPPED / 3
