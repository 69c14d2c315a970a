"""Time layers and training steps on this machine, against a torch reference and its limits.

`python -m benchmarks.quick` takes a minute and stores nothing; with `--json`, it prints one object.
"""

import argparse
import json
from typing import Any

from benchmarks.instrument import (
    RUNS,
    LayerCase,
    TrainingCase,
    add_lower_bound,
    build_contender,
    difference_text,
    load_warning,
    machine_facts,
    machine_limits,
    measure_contenders,
    prepare_timing,
)
from nwavesdk.internal.load import LoadMonitor

CASES: list[LayerCase | TrainingCase] = [
    LayerCase((64, 100, 512)),
    LayerCase((64, 250, 128)),
    LayerCase((64, 100, 20)),
    LayerCase((64, 250, 128), recurrent=True),
    TrainingCase(),
    TrainingCase(density=None),
]


def measure() -> dict[str, Any]:
    """Measure the cases, each against the reference solver.

    Returns:
        `machine`, `limits`, `busy_elsewhere` and `rows`; see `measure_contenders` for a row.
    """
    prepare_timing()
    load = LoadMonitor()
    report = {"machine": machine_facts(), "limits": machine_limits()}
    rows: list[dict[str, Any]] = []
    for case in CASES:
        x, target = case.draw_data()
        contender = build_contender(case, x, target)
        others = {"reference": contender.reference, **case.bound_calls(x)}
        (row,) = measure_contenders({case.name: contender}, others, RUNS)
        rows.append(add_lower_bound(row, case))
    return {**report, "rows": rows, "busy_elsewhere": load.elsewhere()}


def report_lines(report: dict[str, Any]) -> list[str]:
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


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)

    report = measure()
    print(json.dumps(report) if options.json else "\n".join(report_lines(report)))


if __name__ == "__main__":
    main()
