"""The table of `nwave bench`: layers and training steps, against the torch reference and limits."""

import math
from collections.abc import Sequence
from typing import Any

from nwavesdk.analysis.bench.cases import (
    BYTES,
    LayerCase,
    TrainingCase,
    build_contender,
)
from nwavesdk.analysis.bench.machine import (
    COPY_BYTES,
    GEMM_SIZE,
    machine_facts,
    machine_limits,
    prepare_timing,
)
from nwavesdk.analysis.bench.measure import RUNS, measure_contenders
from nwavesdk.internal.load import LoadMonitor

__all__ = [
    "QUICK",
    "add_lower_bound",
    "difference_text",
    "load_warning",
    "quick_lines",
    "quick_report",
]

QUICK: tuple[LayerCase | TrainingCase, ...] = (
    LayerCase((64, 100, 512)),
    LayerCase((64, 250, 128)),
    LayerCase((64, 100, 20)),
    LayerCase((64, 250, 128), recurrent=True),
    TrainingCase(),
    TrainingCase(density=None),
)


def quick_report(
    cases: Sequence[LayerCase | TrainingCase] = QUICK,
    runs: int = RUNS,
    copy_bytes: int = COPY_BYTES,
    gemm_size: int = GEMM_SIZE,
) -> dict[str, Any]:
    """Measure the cases, each against the reference solver.

    Args:
        cases: Layers and training steps.
        runs: Number of runs for each median.
        copy_bytes: Size of the tensor whose copy gives the bandwidth of the machine.
        gemm_size: Number of rows of the matrices whose product gives its arithmetic rate.

    Returns:
        `machine`, `limits`, `busy_elsewhere` and `rows`; see `measure_contenders` for a row.
    """
    prepare_timing()
    load = LoadMonitor()
    report = {"machine": machine_facts(), "limits": machine_limits(copy_bytes, gemm_size)}
    rows: list[dict[str, Any]] = []
    for case in cases:
        x, target = case.draw_data()
        contender = build_contender(case, x, target)
        others = {"reference": contender.reference, **case.bound_calls(x)}
        (row,) = measure_contenders({case.name: contender}, others, runs)
        rows.append(add_lower_bound(row, case))
    return {**report, "rows": rows, "busy_elsewhere": load.elsewhere()}


def add_lower_bound(row: dict[str, Any], case: LayerCase | TrainingCase) -> dict[str, Any]:
    """Add a lower bound of the time, `floor_ms`, to a row; returns the row.

    For a layer, it is the time of moving its `bytes` at the speed of a copy; for a training step,
    that of its dense products.
    """
    times = row["times_ms"]
    if isinstance(case, LayerCase) and not case.recurrent:
        row["bytes"] = BYTES * math.prod(case.shape)
        if "copy" in times:
            # A copy moves 8 bytes per neuron-step.
            row["floor_ms"] = times["copy"]["median"] * BYTES / 8
    elif "products" in times:
        row["floor_ms"] = times["products"]["median"]
    return row


def quick_lines(report: dict[str, Any]) -> list[str]:
    """The report as a table for a terminal."""
    machine = report["machine"]
    limits = report["limits"]
    lines = [
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['versions']['torch']}; "
        f"copy {limits['copy_gb_s']['median']:.1f} GB/s, products "
        f"{limits['gemm_gflop_s']['median']:.0f} GFLOP/s",
        "medians of interleaved runs [quartiles], ms; bound: the bytes of a layer at the speed of "
        "a copy, or dense products",
        "",
        f"{'forward and backward':<42} {'ms':>8} {'':>15} {'reference':>10} {'times faster':>22} "
        f"{'bound':>8}",
        *map(_row_text, report["rows"]),
    ]
    warning = load_warning(report["busy_elsewhere"])
    return lines if warning is None else [*lines, "", warning]


def _row_text(row: dict[str, Any]) -> str:
    if not row["parity"]["agrees"]:
        return f"{row['name']:<42} differs from the reference, so not timed: {difference_text(row)}"
    ours = row["times_ms"]["ours"]
    reference = row["times_ms"]["reference"]
    ratio = row["ratios"]["reference"]
    quartiles = f"[{ours['low']:.2f}, {ours['high']:.2f}]"
    ratio_quartiles = f"[{ratio['low']:.1f}, {ratio['high']:.1f}]"
    bound = f"{row['floor_ms']:.2f}" if "floor_ms" in row else "-"
    return (
        f"{row['name']:<42} {ours['median']:>8.2f} {quartiles:>15} {reference['median']:>10.1f} "
        f"{ratio['median']:>7.1f} {ratio_quartiles:>14} {bound:>8}"
    )


def load_warning(elsewhere: float | None) -> str | None:
    """A warning if other processes used more of the cores than noise explains."""
    if elsewhere is None or elsewhere < 0.05:
        return None
    return (
        f"Other processes used {elsewhere:.0%} of the cores: these numbers are not reliable, "
        "run again."
    )


def difference_text(row: dict[str, Any]) -> str:
    """How a row without parity differs from its reference."""
    parity = row["parity"]
    return f"{parity['spikes_differ']} spikes, gradients by {parity['gradient_error']:.1e}"
