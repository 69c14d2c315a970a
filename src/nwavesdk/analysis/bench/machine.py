"""The machine that a benchmark ran on: its name, its state, its limits."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from nwavesdk.analysis.bench.measure import Spread, time_in_turn
from nwavesdk.solvers.cpu.threads import keep_large_blocks

__all__ = [
    "THREADS",
    "LoadMonitor",
    "machine_facts",
    "machine_limits",
    "machine_name",
    "prepare_timing",
    "usable_cores",
]

THREADS = 2
COPY_BYTES = 1 << 28
GEMM_SIZE = 1024


class LoadMonitor:
    """What other processes take of the cores, from now on; compiled code that waits for its threads suffers from it."""

    def __init__(self) -> None:
        self._start = self._now()

    def elsewhere(self) -> float | None:
        """Share of all core time since, or None where the system does not tell."""
        now = self._now()
        if self._start is None or now is None:
            return None
        passed, busy, own = (b - a for a, b in zip(self._start, now, strict=True))
        return round(min(max((busy - own) / max(passed, 1e-9), 0.0), 1.0), 3)

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        stat = Path("/proc/stat")
        if not stat.is_file():
            return None
        ticks = [
            int(word) for word in stat.read_text(encoding="ascii").splitlines()[0].split()[1:9]
        ]
        second, own = os.sysconf("SC_CLK_TCK"), os.times()
        own_seconds = own.user + own.system + own.children_user + own.children_system
        return sum(ticks) / second, (sum(ticks) - ticks[3] - ticks[4]) / second, own_seconds


def prepare_timing(threads: int = THREADS) -> None:
    """The same ground for all that this process will time: torch's threads, and an allocator that keeps its memory."""
    torch.set_num_threads(min(threads, usable_cores()))
    keep_large_blocks()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(
            r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE
        )
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def machine_name(model: str | None = None, count: int | None = None) -> str:
    """A short, stable name.

    Example:
        >>> machine_name("AMD EPYC 7763 64-Core Processor", 2)
        'amd-epyc-7763-2c'
        >>> machine_name("Intel(R) Xeon(R) CPU @ 2.20GHz", 4)
        'intel-xeon-4c'
    """
    words = re.sub(
        r"\((r|tm)\)|@.*|\b\d+-core\b|\b(cpu|processor|with .*)\b",
        " ",
        (model or cpu_model()).lower(),
    )
    return "-".join([*re.findall(r"[a-z0-9]+", words), f"{count or usable_cores()}c"])


def machine_facts() -> dict[str, Any]:
    """What a reader must know to believe a number: processor, threads, versions, allocator."""
    import numba
    import numpy

    import nwavesdk

    return {
        "machine": machine_name(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "versions": {
            "nwavesdk": nwavesdk.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numba": numba.__version__,
            "numpy": numpy.__version__,
        },
        "keeps_large_blocks": keep_large_blocks(),
    }


def machine_limits(copy_bytes: int = COPY_BYTES, gemm_size: int = GEMM_SIZE) -> dict[str, Any]:
    """What the machine can do, with torch's threads: copy a large tensor, multiply square float32 matrices.

    Returns:
        `copy_gb_s`: bytes read and written by a copy of `copy_bytes`; `gemm_gflop_s`. Each a spread.
    """
    source = torch.ones(copy_bytes // 4)
    target, a = torch.empty_like(source), torch.randn(gemm_size, gemm_size)
    product = torch.empty_like(a)
    samples = time_in_turn(
        {"copy": lambda: target.copy_(source), "gemm": lambda: torch.mm(a, a, out=product)}
    )
    return {
        "copy_bytes": copy_bytes,
        "copy_gb_s": Spread.of([2e-6 * copy_bytes / ms for ms in samples["copy"]]).as_json(),
        "gemm_size": gemm_size,
        "gemm_gflop_s": Spread.of([2e-6 * gemm_size**3 / ms for ms in samples["gemm"]]).as_json(),
    }
