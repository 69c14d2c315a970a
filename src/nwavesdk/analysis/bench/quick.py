"""The quick table: layers and training steps, against the torch reference and the machine's limits."""

import math
from collections.abc import Sequence
from typing import Any

from nwavesdk.analysis.bench.cases import (
    BYTES,
    LayerCase,
    TrainingCase,
    copy_of,
    dense_products,
    layer_contender,
    layer_input,
    training_contender,
    training_data,
)
from nwavesdk.analysis.bench.machine import COPY_BYTES, GEMM_SIZE, Load, facts, limits, settle
from nwavesdk.analysis.bench.measure import RUNS, measure

__all__ = ["QUICK", "quick_lines", "quick_report", "told_difference", "told_load", "with_floor"]

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
    settle()
    load = Load()
    report: dict[str, Any] = {
        "machine": facts(),
        "limits": limits(copy_bytes, gemm_size),
        "rows": [],
    }
    for case in cases:
        if isinstance(case, LayerCase):
            x, grad = layer_input(case)
            contender, floor = layer_contender(case, x, grad), ("copy", copy_of(x))
        else:
            x, labels = training_data(case)
            contender, floor = (
                training_contender(case, x, labels),
                ("products", dense_products(case, x)),
            )
        others = {"reference": contender.reference, floor[0]: floor[1]}
        report["rows"] += [
            with_floor(row, case) for row in measure({case.name: contender}, others, runs)
        ]
    report["busy_elsewhere"] = load.elsewhere()
    return report


def with_floor(row: dict[str, Any], case: LayerCase | TrainingCase) -> dict[str, Any]:
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
                f"{row['name']:<42} differs from the reference, no time is told: {told_difference(row)}"
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
    if (warning := told_load(report["busy_elsewhere"])) is not None:
        lines += ["", warning]
    return lines


def told_load(elsewhere: float | None) -> str | None:
    """A warning where other processes have had more of the cores than noise explains."""
    if elsewhere is None or elsewhere < 0.05:
        return None
    return f"Other processes had {elsewhere:.0%} of the cores meanwhile: these numbers are no good, run again."


def told_difference(row: dict[str, Any]) -> str:
    """How a red row differs from its reference."""
    parity = row["parity"]
    return f"{parity['spikes_differ']} spikes, gradients by {parity['gradient_error']:.1e}"
