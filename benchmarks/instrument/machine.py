"""The machine of a benchmark: its name and its limits."""

import platform
import re
from pathlib import Path
from typing import Any

import torch

from benchmarks.instrument.measure import Spread, time_in_turn
from nwavesdk.internal.load import usable_cores
from nwavesdk.solvers.cpu.threads import keep_large_blocks

__all__ = [
    "THREADS",
    "machine_facts",
    "machine_limits",
    "machine_name",
    "prepare_timing",
]

THREADS = 2
COPY_BYTES = 1 << 28
GEMM_SIZE = 1024


def prepare_timing(threads: int = THREADS) -> None:
    """Set torch's threads and make the allocator keep its memory, for the whole process."""
    torch.set_num_threads(min(threads, usable_cores()))
    keep_large_blocks()


def cpu_model() -> str:
    """Name of the processor, as the system reports it."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def machine_name(model: str | None = None, count: int | None = None) -> str:
    """A short, stable name.

    Args:
        model: Name of the processor. [of this machine]
        count: Number of cores. [those that this process may use]

    Example:
        >>> machine_name("AMD EPYC 7763 64-Core Processor", 2)
        'amd-epyc-7763-2c'
        >>> machine_name("Intel(R) Xeon(R) CPU @ 2.20GHz", 4)
        'intel-xeon-4c'
    """
    filler = r"\((r|tm)\)|@.*|\b\d+-core\b|\b(cpu|processor|with .*)\b"
    words = re.sub(filler, " ", (model or cpu_model()).lower())
    return "-".join([*re.findall(r"[a-z0-9]+", words), f"{count or usable_cores()}c"])


def machine_facts() -> dict[str, Any]:
    """Processor, threads, versions and allocator, on which all numbers depend."""
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


def machine_limits() -> dict[str, Any]:
    """The speed of copies and of products of float32 matrices, with torch's threads.

    Returns:
        Both sizes, and as spreads `copy_gb_s` (gigabytes read and written by a copy) and
        `gemm_gflop_s`.
    """
    source = torch.ones(COPY_BYTES // 4)
    target = torch.empty_like(source)
    matrix = torch.randn(GEMM_SIZE, GEMM_SIZE)
    product = torch.empty_like(matrix)
    samples = time_in_turn(
        {
            "copy": lambda: target.copy_(source),
            "gemm": lambda: torch.mm(matrix, matrix, out=product),
        }
    )
    # Bytes or operations per millisecond, times 1e-6, are gigabytes or GFLOP per second.
    return {
        "copy_bytes": COPY_BYTES,
        "copy_gb_s": Spread.of([2e-6 * COPY_BYTES / ms for ms in samples["copy"]]).as_json(),
        "gemm_size": GEMM_SIZE,
        "gemm_gflop_s": Spread.of([2e-6 * GEMM_SIZE**3 / ms for ms in samples["gemm"]]).as_json(),
    }
