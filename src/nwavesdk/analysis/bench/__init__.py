"""How fast we are on this machine: parity before every number, medians with their spread, the machine's limits."""

from nwavesdk.analysis.bench.cases import (
    BYTES,
    LayerCase,
    TrainingCase,
    copy_of,
    dense_products,
    layer_contender,
    layer_input,
    spike_count_loss,
    training_contender,
    training_data,
)
from nwavesdk.analysis.bench.machine import Load, facts, limits, machine_name, settle
from nwavesdk.analysis.bench.measure import (
    RUNS,
    Contender,
    Outcome,
    Parity,
    Spread,
    compare,
    measure,
    ratios,
    time_in_turn,
)
from nwavesdk.analysis.bench.quick import (
    QUICK,
    quick_lines,
    quick_report,
    told_difference,
    told_load,
    with_floor,
)

__all__ = [
    "BYTES", "QUICK", "RUNS", "Contender", "LayerCase", "Load", "Outcome", "Parity", "Spread", "TrainingCase",
    "compare", "copy_of", "dense_products", "facts", "layer_contender", "layer_input", "limits", "machine_name",
    "measure", "quick_lines", "quick_report", "ratios", "settle", "spike_count_loss", "time_in_turn",
    "told_difference", "told_load", "training_contender", "training_data", "with_floor",
]  # fmt: skip
