"""The cases to measure and their targets."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import nwavesdk.layers
from benchmarks.instrument import Contender, LayerCase, TrainingCase, compare_outcomes
from nwavesdk.layers import NeuronLayer
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

    def build_layer(self, solver: str, **options: Any) -> NeuronLayer:
        """The layer of `LayerCase` with the surrogate, and with trained constants if wanted."""
        options["spike_grad"] = available()[self.surrogate]()
        options["learn_taus"] = self.learn
        options["learn_thresholds"] = self.learn
        return super().build_layer(solver, **options)


# The neurons of the zoo that spike, with the range of their charge, in which they fire in 4 to 25 %
# of all steps. Peers are compared where the adapters have the neuron.
NEURONS = {
    "IFLayer": (-0.1, 0.4),
    "KLIFLayer": (-1.0, 5.0),
    "QIFLayer": (0.0, 40.0),
    "EIFLayer": (5.0, 25.0),
    "CubaLIFLayer": (-0.05, 0.15),
    "AlphaLayer": (-0.1, 0.4),
    "RefractoryLIFLayer": (0.0, 0.4),
    "ALIFLayer": (-1.0, 4.0),
    "AdLIFLayer": (0.0, 8.0),
    "SEAdLIFLayer": (0.0, 12.0),
    "SiLIFLayer": (0.0, 10.0),
    "AdExLayer": (0.0, 70.0),
    "IzhikevichLayer": (0.0, 30.0),
    "ResonateAndFireLayer": (-0.4, 0.6),
    "BalancedResonateAndFireLayer": (0.0, 200.0),
}
# Their exponential upstroke amplifies rounding: gradients may differ as much as gradients of the
# reference do between float32 and float64.
ROUNDED = ("EIFLayer", "AdExLayer")


@dataclass(frozen=True)
class NeuronCase(LayerCase):
    """A layer of another neuron, with its default constants.

    Args:
        neuron: Name of its class; a key of `NEURONS`.
    """

    neuron: str = "IFLayer"

    @property
    def name(self) -> str:
        """A name such as `neurons/64x100x512/ALIFLayer`."""
        kind = "neurons/recurrent" if self.recurrent else "neurons"
        return f"{kind}/{'x'.join(map(str, self.shape))}/{self.neuron}"

    def make_layer(self, **options: Any) -> NeuronLayer:
        """The layer with its default constants."""
        layer: NeuronLayer = getattr(nwavesdk.layers, self.neuron)(self.shape[2], **options)
        return layer

    def facts(self) -> dict[str, int]:
        """Numbers of states, of saved values, and of bytes that a neuron-step must move.

        The charge and the upstream gradient are read, two outputs and ∂L/∂x are written, and each
        saved value is written and read.
        """
        from nwavesdk.dynamics import program_of

        neuron = self.make_layer().neuron
        saved = len(program_of(neuron).saved)
        return {"states": len(neuron.states), "saved": saved, "moved_bytes": 20 + 8 * saved}

    def draw_data(self) -> tuple[Tensor, Tensor]:
        """Input charge and ∂L/∂s."""
        draw = torch.Generator().manual_seed(0)
        low, high = NEURONS[self.neuron]
        x = low + (high - low) * torch.rand(self.shape, generator=draw)
        return x, torch.randn(self.shape, generator=draw)


def contender_of(case: Any, x: Tensor, grad: Tensor) -> Contender:
    """Return a case on its fastest solver and on the reference, with its tolerance."""
    ours = Contender(case.build_call("auto", x, grad), case.build_call("reference", x, grad))
    if getattr(case, "neuron", None) not in ROUNDED:
        return ours
    exact = case.build_call("reference", x.double(), grad.double())
    single = case.build_call("reference", x, grad)
    rounding = compare_outcomes(single, exact).gradient_error
    return replace(ours, tolerance=max(ours.tolerance, rounding))


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

NEURON_SHAPES = [(64, 100, 512), (64, 250, 128)]
RECURRENT_NEURON = NeuronCase((64, 250, 128), recurrent=True, neuron="AdLIFLayer")
# No peer has it: each runs its nearest neuron of two states.
NEAREST_RECURRENT = {
    "snntorch": "CubaLIFLayer",
    "spikingjelly": "CubaLIFLayer",
    "norse": "ALIFLayer",
    "sinabs": "ALIFLayer",
}
NEURON_CASES = [NeuronCase(shape, neuron=name) for shape in NEURON_SHAPES for name in NEURONS]
NEURON_CASES.append(RECURRENT_NEURON)

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

# Targets by the name of a row. `ratio`: the fastest peer's time over ours; `over_plain` and
# `over_compiled`: the same for peers as they come, and compiled; `of_copy`: share of the machine's
# copy bandwidth; `over_floor`: our time over its lower bound; `over_lif`: our time over the time of
# LIF; `value`: upper bound of the row's number.
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
    "startup/first call of a new page, empty cache": {"value": 6},
    "startup/new page over LIF, warm cache": {"value": 0.3},
    "job/nwave train, serial over reference": {"value": 1 / 3},
    RECURRENT_NEURON.name: {"ratio": 5},
}
# Our time over the time of LIF, by the number of states.
OVER_LIF = {1: 1.3, 2: 1.4, 3: 2.0}


def targets_of(row: dict[str, Any]) -> dict[str, float]:
    """Return the targets of a row, by its name or by the number of states of its neuron."""
    if row["name"] in TARGETS or "states" not in row:
        return TARGETS.get(row["name"], {})
    over_peers = {"over_plain": 20, "over_compiled": 2.5} if row["states"] > 1 else {}
    return {"over_lif": OVER_LIF[row["states"]], **over_peers}
