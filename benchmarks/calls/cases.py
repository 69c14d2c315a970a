"""The nets and layers that are called in each way, and the targets of their times."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import cases
from benchmarks.calls import ways
from benchmarks.calls.ways import LOOP, STEP, WHOLE, Call, Net, make_call
from benchmarks.instrument import LayerCase
from nwavesdk import layers
from nwavesdk.layers import LIFLayer, NeuronLayer, SpikingSequential, prepare_net

TAU = cases.DECAY_TAU * 1e-3
DECAY = math.exp(-1 / cases.DECAY_TAU)
CHIPS = {
    "h1v1": (layers.HWSynapse, layers.HWLayer),
    "h1v2": (layers.H1v2Synapse, layers.H1v2Layer),
}
# Shares of inputs and neurons that spike in a step, and the charge of a neuron in a step.
INPUT_RATE = 0.2
LAYER_RATE = 0.1
CHARGE_MEAN = 0.12
CHARGE_DEVIATION = 0.12
SEVERAL_STATES = tuple(
    name for name in cases.NEURONS if len(getattr(layers, name).page.neuron.states) > 1
)


@dataclass(frozen=True)
class NetCase:
    """A net of three synapses and three neuron layers.

    Args:
        way: How it is called; see `ways`.
        B: Batch.
        T: Steps.
        kind: "LIF", "learned" (LIF whose constants are trained), or a key of `CHIPS`.
        sizes: N of the input and of each layer.
    """

    way: str
    B: int
    T: int = 50
    kind: str = "LIF"
    sizes: tuple[int, ...] = (40, 128, 128, 12)

    @property
    def name(self) -> str:
        """A name such as `calls/LIF/step/1x50/40-128-128-12`."""
        return f"calls/{self.kind}/{self.way}/{self.B}x{self.T}/{'-'.join(map(str, self.sizes))}"

    def weights(self) -> list[Tensor]:
        """The weights [N_in, N_out].

        Charges have a mean above 0, so that neurons fire without large jumps: where a membrane
        passes two thresholds, snnTorch loses spikes. The weights are on a grid, so that sums over
        spikes are exact in any order.
        """
        draw = torch.Generator().manual_seed(8)
        weights = []
        rate = INPUT_RATE
        for N_in, N_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            spikes = rate * N_in
            noise = torch.randn(N_in, N_out, generator=draw)
            weight = CHARGE_MEAN / spikes + CHARGE_DEVIATION / spikes**0.5 * noise
            weights.append((weight * 4096).round() / 4096)
            rate = LAYER_RATE
        return weights

    def draw_data(self) -> tuple[Tensor, Tensor]:
        """Input spikes [B, T, N_in], and ∂L/∂s of the last layer."""
        draw = torch.Generator().manual_seed(5)
        x = (torch.rand(self.B, self.T, self.sizes[0], generator=draw) < INPUT_RATE).float()
        return x, torch.randn(self.B, self.T, self.sizes[-1], generator=draw)

    def as_lif(self) -> "NetCase":
        """The same net of LIF neurons with fixed constants."""
        return replace(self, kind="LIF")

    def facts(self) -> dict[str, int]:
        """The number of calls that are timed together."""
        return {"calls": self.T if self.way == STEP else 1}

    def build_net(self, solver: str = "auto", **options: Any) -> SpikingSequential:
        """The net with the weights of the case; its layers have the options."""
        modules: list[Any] = []
        for weight in self.weights():
            synapse, layer = self._build_pair(weight, solver=solver, **options)
            if self.kind in CHIPS:
                # The same charges for small weights, within the limit of the chip.
                weight = weight / synapse.profile.charge_law.slope(torch.zeros(()))
                limit = synapse.profile.number("weight_limit")
                weight = weight.clamp(-limit, limit)
            synapse.weight.data.copy_(weight)
            modules += [synapse, layer]
        return SpikingSequential(*modules)

    def _build_pair(self, weight: Tensor, **options: Any) -> tuple[Any, NeuronLayer]:
        N_in, N_out = weight.shape
        synapse, layer = CHIPS.get(self.kind, (layers.LIFSynapse, LIFLayer))
        if self.kind == "learned":
            options |= {"learn_taus": True, "learn_thresholds": True}
        return synapse(N_in, N_out), layer(N_out, TAU, **options)

    def called(self, solver: str = "auto", **options: Any) -> Net:
        """A new net; its layers have the options."""
        net = self.build_net(solver, **options)
        return Net(lambda: prepare_net(net), lambda x: net(x)[0], dict(net.named_parameters()))

    def build_call(self, solver: str, x: Tensor, grad: Tensor) -> Call:
        """The call of a new net."""
        return make_call(self.way, self.called(solver), x, grad)


@dataclass(frozen=True)
class LayerCallCase(LayerCase):
    """A neuron layer that is called with charges.

    Args:
        way: How it is called; see `ways`.
        neuron: "LIF" or the class of a neuron in the zoo.
        learn: Whether taus and thresholds of LIF are trained.
    """

    way: str = WHOLE
    neuron: str = "LIF"
    learn: bool = False

    @property
    def name(self) -> str:
        """A name such as `calls/ALIFLayer/step/64x50x128`."""
        kind = "learned" if self.learn else "recurrent" if self.recurrent else self.neuron
        return f"calls/{kind}/{self.way}/{'x'.join(map(str, self.shape))}"

    def as_lif(self) -> "LayerCallCase":
        """The same layer of LIF neurons with fixed constants."""
        return replace(self, neuron="LIF", learn=False)

    def facts(self) -> dict[str, int]:
        """The number of calls that are timed together, and of states of a neuron of the zoo."""
        calls = {"calls": self.shape[1] if self.way == STEP else 1}
        if self.neuron == "LIF":
            return calls
        return {**calls, "states": len(self.make_layer().neuron.states)}

    def make_layer(self, **options: Any) -> NeuronLayer:
        """The layer with its constants."""
        if self.neuron != "LIF":
            layer: NeuronLayer = getattr(layers, self.neuron)(self.shape[2], **options)
            return layer
        return super().make_layer(learn_taus=self.learn, learn_thresholds=self.learn, **options)

    def draw_data(self) -> tuple[Tensor, Tensor]:
        """Input charge and ∂L/∂s."""
        if self.neuron == "LIF":
            return super().draw_data()
        return cases.NeuronCase(self.shape, neuron=self.neuron).draw_data()

    def build_call(self, solver: str, x: Tensor, grad: Tensor) -> Call:
        """The call of a new layer."""
        layer = self.build_layer(solver)
        parameters = dict(layer.named_parameters())
        called = Net(lambda: prepare_net(layer), lambda x: layer(x)[0], parameters, True)
        return make_call(self.way, called, x, grad)


BATCHES = (1, 64)
# The two ways of going step by step, which are measured for each batch.
STEPWISE = [(way, B) for way in (STEP, LOOP) for B in BATCHES]
WHOLE_SHAPES = [(2, 10, 16), (64, 100, 128), (64, 250, 128), (64, 100, 512)]
LAYER_WAYS = [*((way, (B, 50, 128)) for way, B in STEPWISE), (WHOLE, (64, 100, 128))]

NEXT_TO_PEERS = [NetCase(way, B) for way, B in STEPWISE]
NEXT_TO_LOOP = [LayerCallCase(shape) for shape in WHOLE_SHAPES]
LEARNED: list[NetCase | LayerCallCase] = [
    *(NetCase(way, B, kind="learned") for way, B in STEPWISE),
    *(LayerCallCase(shape, learn=True) for shape in WHOLE_SHAPES),
]
ON_CHIPS = [NetCase(way, B, kind=chip) for chip in CHIPS for way, B in [*STEPWISE, (WHOLE, 64)]]
NEURONS = [
    LayerCallCase(shape, way=way, neuron=name)
    for name in SEVERAL_STATES
    for way, shape in LAYER_WAYS
]
RECURRENT = [
    LayerCallCase(shape, way=way, recurrent=True)
    for way, shape in [*LAYER_WAYS, (WHOLE, (64, 100, 512))]
]
CASES: list[NetCase | LayerCallCase] = [
    *NEXT_TO_PEERS,
    *NEXT_TO_LOOP,
    *LEARNED,
    *ON_CHIPS,
    *NEURONS,
    *RECURRENT,
]

LIVE = NetCase(ways.LIVE, 1, T=500)
LIVE_RATE = 100.0  # frames per second

# The largest ratio of our time to the time of others, by the beginning of the name.
TARGETS: dict[str, dict[str, float]] = {
    "calls/LIF/step/1x": {"snntorch": 0.2, "torch": 0.6},
    "calls/LIF/step/64x": {"snntorch": 0.25, "torch": 0.6},
    "calls/LIF/loop/1x": {"snntorch": 0.45, "torch": 0.85},
    "calls/LIF/loop/64x": {"snntorch": 0.5, "torch": 0.75},
    "calls/LIF/whole/2x10x16": {"numba loop": 2.0},
    "calls/LIF/whole/64x100x128": {"numba loop": 1.15},
    "calls/LIF/whole/64x250x128": {"numba loop": 1.05},
    "calls/LIF/whole/64x100x512": {"numba loop": 1.05},
    "calls/learned/": {"LIF": 1.15},
    **{f"calls/{chip}/": {"LIF": 1.3} for chip in CHIPS},
    "calls/recurrent/": {"LIF + products": 1.3},
}


def targets_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the targets of a row, by its name or by the number of states of its neuron."""
    if "states" in row:
        return {"LIF": cases.OVER_LIF[row["states"]]}
    return next((bounds for name, bounds in TARGETS.items() if row["name"].startswith(name)), {})
