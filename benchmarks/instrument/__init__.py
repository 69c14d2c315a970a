"""What all benchmarks measure with: parity first, then medians with their spread, and limits."""

from benchmarks.instrument.cases import (
    BYTES,
    LayerCase,
    TrainingCase,
    add_lower_bound,
    build_contender,
    spike_count_loss,
)
from benchmarks.instrument.machine import (
    machine_facts,
    machine_limits,
    machine_name,
    prepare_timing,
)
from benchmarks.instrument.measure import (
    RUNS,
    Contender,
    Outcome,
    Parity,
    Spread,
    compare_outcomes,
    difference_text,
    load_warning,
    measure_contenders,
    paired_ratios,
    time_in_turn,
)

__all__ = [
    "BYTES",
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
    "spike_count_loss",
    "time_in_turn",
]
