"""The cores that this process may use, and their load by other processes."""

import os
import time
from pathlib import Path

__all__ = ["LoadMonitor", "usable_cores"]


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(_core_names()) or os.cpu_count() or 1


def _core_names() -> set[str]:
    """The names of these cores in `/proc/stat`; empty if the system does not report them."""
    if not hasattr(os, "sched_getaffinity"):
        return set()
    return {f"cpu{core}" for core in os.sched_getaffinity(0)}


class LoadMonitor:
    """Measures the load of the usable cores by other processes from now on.

    Such a load slows compiled code down, because it waits for all of its threads.
    """

    def __init__(self) -> None:
        self._start = _core_seconds()

    def elsewhere(self) -> float | None:
        """Share of the core time since the start, or None if the system does not report it."""
        now = _core_seconds()
        if self._start is None or now is None:
            return None

        passed, busy, ours = (end - begin for begin, end in zip(self._start, now, strict=True))
        return round(min(max((busy - ours) / max(passed, 1e-9), 0.0), 1.0), 3)


def _core_seconds() -> tuple[float, float, float] | None:
    """Core seconds that have passed, that were busy, and that this process has used."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None

    # One line per core: cpu0 user nice system idle iowait irq softirq steal ...
    cores = _core_names()
    rows = [words[1:9] for words in map(str.split, lines) if words[0] in cores]
    passed = sum(int(ticks) for row in rows for ticks in row)
    idle = sum(int(ticks) for row in rows for ticks in row[3:5])
    tick = 1 / os.sysconf("SC_CLK_TCK")
    return passed * tick, (passed - idle) * tick, time.process_time()
