"""The cases to measure and their targets."""

from dataclasses import dataclass
from typing import Any

from nwavesdk.analysis.bench import LayerCase, TrainingCase
from nwavesdk.layers import LIFLayer
from nwavesdk.surrogate import available


@dataclass(frozen=True)
class SurrogateCase(LayerCase):
    """A layer to time, with another surrogate or with trained constants.

    Args:
        surrogate: Name of a surrogate in the catalogue; it has its default parameters.
        learn: Whether taus and thresholds are trained.
    """

    surrogate: str = "fast_sigmoid"
    learn: bool = False

    @property
    def name(self) -> str:
        """A name such as `layer/64x100x512/atan/learnable`."""
        prefix = super().name.removesuffix("fast_sigmoid/fixed")
        return f"{prefix}{self.surrogate}/{'learnable' if self.learn else 'fixed'}"

    def build_layer(self, solver: str, **options: Any) -> LIFLayer:
        """The layer of `LayerCase` with the surrogate, and with trained constants if wanted."""
        options["spike_grad"] = available()[self.surrogate]()
        options["learn_taus"] = self.learn
        options["learn_thresholds"] = self.learn
        return super().build_layer(solver, **options)


DECAY_TAU = 20  # steps; every layer here has taus of 20 ms at dt = 1 ms

LAYER_SHAPES = [
    (64, 100, 512),
    (64, 250, 128),
    (64, 1000, 512),
    (64, 100, 128),
    (64, 100, 20),
    (64, 100, 1),
    (8, 800, 20),
    (8, 12800, 1),
]
"""Batch, time steps and neurons."""
SURROGATES = ["fast_sigmoid", "atan", "sigmoid"]
QUICK_LAYER_SHAPES = [(64, 100, 512), (64, 250, 128), (64, 100, 20)]

TRAINING = [TrainingCase(), TrainingCase(density=None)]
RECURRENT = [
    LayerCase((64, 250, 128), recurrent=True),
    SurrogateCase((64, 250, 128), recurrent=True, learn=True),
]

SWEEPS = {
    "T": [(64, T, 128) for T in (16, 64, 256, 1024, 4096)],
    "N": [(64, 100, N) for N in (1, 4, 16, 64, 256, 1024, 4096)],
    "B": [(B, 100, 128) for B in (1, 4, 16, 64, 256, 1024)],
}
SWEEP_DENSITIES = [0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5]
# Compiling takes up to 20 s per size, and this peer is the fastest with and without it.
SWEEP_COMPILED = ["spikingjelly"]

MEMORY_SHAPE = (64, 100, 512)
MEMORY_NET = {"B": 16, "sizes": (128, 128, 20), "chunk": 100}
MEMORY_T = [100, 300, 1000, 3000, 10_000]

# For longer sequences some peers take many minutes per step.
LONGEST_OF_PEERS = 3000

JOB_ROUNDS = 3  # runs of `nwave train` on each solver
JOB_EPOCHS = 3  # epochs of each run after the first one

# Targets by the name of a row. `ratio`: the fastest peer's time over ours; `of_copy`: share of the
# machine's copy bandwidth; `over_floor`: our time over its lower bound; `value`: upper bound of the
# row's number.
TARGETS = {
    "layer/64x100x512/fast_sigmoid/fixed": {"ratio": 12},
    "layer/64x250x128/fast_sigmoid/fixed": {"ratio": 20},
    "layer/64x1000x512/fast_sigmoid/fixed": {"ratio": 12, "of_copy": 0.6},
    "training/64x100/700-256-20/density 0.03": {"ratio": 6},
    "training/64x100/700-256-20/dense input": {"over_floor": 1.15},
    "recurrent/64x250x128/fast_sigmoid/fixed": {"ratio": 6},
    "memory/kept per neuron-step": {"value": 4},
    "startup/import beyond torch": {"value": 0.3},
    "startup/first call, empty cache": {"value": 10},
    "startup/first call, warm cache": {"value": 1},
    "job/nwave train, serial over reference": {"value": 1 / 3},
}
