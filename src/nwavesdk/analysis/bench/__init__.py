"""The measurements of `nwave bench`: parity first, then medians with their spread, and limits.

`benchmarks/` uses them for its longer tables.
"""

from nwavesdk.analysis.bench.cases import (
    BYTES,
    LayerCase,
    TrainingCase,
    build_contender,
    spike_count_loss,
)
from nwavesdk.analysis.bench.machine import (
    machine_facts,
    machine_limits,
    machine_name,
    prepare_timing,
)
from nwavesdk.analysis.bench.measure import (
    RUNS,
    Contender,
    Outcome,
    Parity,
    Spread,
    compare_outcomes,
    measure_contenders,
    paired_ratios,
    time_in_turn,
)
from nwavesdk.analysis.bench.quick import (
    QUICK,
    add_lower_bound,
    difference_text,
    load_warning,
    quick_lines,
    quick_report,
)

__all__ = [
    "BYTES",
    "QUICK",
    "RUNS",
    "Contender",
    "LayerCase",
    "Outcome",
    "Parity",
    "Spread",
    "TrainingCase",
    "add_lower_bound",
    "build_contender",
    "compare_outcomes",
    "difference_text",
    "load_warning",
    "machine_facts",
    "machine_limits",
    "machine_name",
    "measure_contenders",
    "paired_ratios",
    "prepare_timing",
    "quick_lines",
    "quick_report",
    "spike_count_loss",
    "time_in_turn",
]  # fmt: skip
