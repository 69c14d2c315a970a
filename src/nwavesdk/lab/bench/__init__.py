"""How fast we are on this machine: parity before every number, medians with their spread, the machine's limits."""

from nwavesdk.lab.bench.layer import BYTES, LayerCase, copy_of, layer_contender, layer_input
from nwavesdk.lab.bench.machine import Load, facts, limits, machine_name, settle
from nwavesdk.lab.bench.measure import Contender, measure
from nwavesdk.lab.bench.parity import Outcome, Parity, compare
from nwavesdk.lab.bench.quick import QUICK, quick_lines, quick_report, told_difference, told_load, with_floor
from nwavesdk.lab.bench.timing import RUNS, Spread, ratios, time_in_turn
from nwavesdk.lab.bench.training import (
    TrainingCase,
    dense_products,
    spike_count_loss,
    training_contender,
    training_data,
)

__all__ = [
    "BYTES", "QUICK", "RUNS", "Contender", "LayerCase", "Load", "Outcome", "Parity", "Spread", "TrainingCase",
    "compare", "copy_of", "dense_products", "facts", "layer_contender", "layer_input", "limits", "machine_name",
    "measure", "quick_lines", "quick_report", "ratios", "settle", "spike_count_loss", "time_in_turn",
    "told_difference", "told_load", "training_contender", "training_data", "with_floor",
]  # fmt: skip
