"""The quick table: layers and training steps, against the torch reference and the machine's limits."""

import math
from collections.abc import Sequence
from typing import Any

from nwavesdk.analysis.bench.cases import (
    BYTES,
    LayerCase,
    TrainingCase,
    copy_call,
    dense_products_call,
    layer_contender,
    layer_input,
    training_contender,
    training_data,
)
from nwavesdk.analysis.bench.machine import (
    COPY_BYTES,
    GEMM_SIZE,
    LoadMonitor,
    machine_facts,
    machine_limits,
    prepare_timing,
)
from nwavesdk.analysis.bench.measure import RUNS, measure_contenders

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
        runs: Numbers for each median.
        copy_bytes: Size of the tensor whose copy gives the machine's bandwidth.
        gemm_size: Side of the matrices whose product gives its arithmetic rate.

    Returns:
        `machine`, `limits`, `busy_elsewhere` and `rows`; see `measure` for a row.
    """
    prepare_timing()
    load = LoadMonitor()
    report: dict[str, Any] = {
        "machine": machine_facts(),
        "limits": machine_limits(copy_bytes, gemm_size),
        "rows": [],
    }
    for case in cases:
        if isinstance(case, LayerCase):
            x, grad = layer_input(case)
            contender, floor = layer_contender(case, x, grad), ("copy", copy_call(x))
        else:
            x, labels = training_data(case)
            contender, floor = (
                training_contender(case, x, labels),
                ("products", dense_products_call(case, x)),
            )
        others = {"reference": contender.reference, floor[0]: floor[1]}
        report["rows"] += [
            add_lower_bound(row, case)
            for row in measure_contenders({case.name: contender}, others, runs)
        ]
    report["busy_elsewhere"] = load.elsewhere()
    return report


def add_lower_bound(row: dict[str, Any], case: LayerCase | TrainingCase) -> dict[str, Any]:
    """The row, with `bytes` that a layer must move and `floor_ms`: those at the speed of a copy, or dense products."""
    times = row["times_ms"]
    if isinstance(case, LayerCase) and not case.recurrent:
        row["bytes"] = BYTES * math.prod(case.shape)
        if "copy" in times:
            row["floor_ms"] = times["copy"]["median"] * BYTES / 8
    elif "products" in times:
        row["floor_ms"] = times["products"]["median"]
    return row


def quick_lines(report: dict[str, Any]) -> list[str]:
    """The report as a table for a terminal."""
    machine, most = report["machine"], report["limits"]
    lines = [
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['versions']['torch']}; copy "
        f"{most['copy_gb_s']['median']:.1f} GB/s, products {most['gemm_gflop_s']['median']:.0f} GFLOP/s",
        "medians of runs in turn [quartiles], ms; floor: a layer's bytes at the speed of a copy, or dense products",
        "",
        f"{'forward and backward':<42} {'ms':>8} {'':>15} {'reference':>10} {'times faster':>22} {'floor':>8}",
    ]
    for row in report["rows"]:
        if not row["parity"]["agrees"]:
            lines.append(
                f"{row['name']:<42} differs from the reference, no time is told: {difference_text(row)}"
            )
            continue
        ours, reference, ratio = (
            row["times_ms"]["ours"],
            row["times_ms"]["reference"],
            row["ratios"]["reference"],
        )
        brackets, times = (
            f"[{ours['low']:.2f}, {ours['high']:.2f}]",
            f"[{ratio['low']:.1f}, {ratio['high']:.1f}]",
        )
        floor = f"{row['floor_ms']:.2f}" if "floor_ms" in row else "-"
        lines.append(
            f"{row['name']:<42} {ours['median']:>8.2f} {brackets:>15} {reference['median']:>10.1f} "
            f"{ratio['median']:>7.1f} {times:>14} {floor:>8}"
        )
    if (warning := load_warning(report["busy_elsewhere"])) is not None:
        lines += ["", warning]
    return lines


def load_warning(elsewhere: float | None) -> str | None:
    """A warning where other processes have had more of the cores than noise explains."""
    if elsewhere is None or elsewhere < 0.05:
        return None
    return f"Other processes had {elsewhere:.0%} of the cores meanwhile: these numbers are no good, run again."


def difference_text(row: dict[str, Any]) -> str:
    """How a red row differs from its reference."""
    parity = row["parity"]
    return f"{parity['spikes_differ']} spikes, gradients by {parity['gradient_error']:.1e}"
