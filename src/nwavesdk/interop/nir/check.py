"""`check`: compares the spikes of a net with a reader that shares no code with it."""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import seed_number, shown, whole_number
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.interop.nir.graph import INPUT_KEY, NirGraph
from nwavesdk.interop.nir.load import load_graph, prepare_graph
from nwavesdk.interop.nir.node import SPIKING, STATEFUL, Array
from nwavesdk.interop.nir.replay import Replay, replay
from nwavesdk.layers import Recording
from nwavesdk.net import record
from nwavesdk.net.container import Container
from nwavesdk.net.preparation import prepared

__all__ = ["Check", "check", "random_input"]

# Largest difference of membranes in float64, as a share of the largest membrane.
TOLERANCE = 1e-9

# Step, node, neuron and margin of a spike that differs.
_WrongSpike = tuple[int, str, int, float]


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of a comparison.

    Attributes:
        spikes: Number of spikes of the reader in the nodes that were compared.
        values: Number of values that were compared: neurons times steps.
        nodes: Names of the nodes whose spikes were compared.
        step: The first step in which a spike differs, from 0; None if all are equal.
        node: Node of that spike, or None.
        neuron: Its index among the flattened neurons, or None.
        margin: |membrane - threshold| there, in the reader; None if all spikes are equal.
        error: Largest difference of membranes that are outputs, relative to the largest membrane.
        seed: Seed of the random input; None if an input was given.
        notes: Assumptions in reading the graph, one line each.

    Example:
        >>> result = Check(spikes=40, values=800, nodes=("1",))
        >>> result.is_equal
        True
        >>> print(result)
        40 spikes in 800 steps of neurons of 1 node are equal, membranes within 0
    """

    spikes: int
    values: int
    nodes: tuple[str, ...]
    step: int | None = None
    node: str | None = None
    neuron: int | None = None
    margin: float | None = None
    error: float = 0.0
    seed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether all spikes are equal, and membranes are up to rounding."""
        return self.step is None and self.error <= TOLERANCE

    def __str__(self) -> str:
        spikes = f"{self.spikes:,} spikes in {self.values:,} steps of neurons of "
        spikes += f"{len(self.nodes)} node{'' if len(self.nodes) == 1 else 's'}"
        if self.step is not None:
            return (
                f"{spikes}: the first difference is in step {self.step}, node {self.node}, "
                f"neuron {self.neuron}, where the membrane is {self.margin:.2g} from the threshold"
            )
        if not self.is_equal:
            return f"{spikes} are equal, but membranes differ by {self.error:.2g} of the largest"
        return f"{spikes} are equal, membranes within {self.error:.1g}"


def random_input(graph: NirGraph, batch: int, steps: int, seed: int) -> Array:
    """Spikes in one half of the recordings and normal values in the other half."""
    draw = np.random.default_rng(seed)
    shape = (batch, steps, *graph.shape_in)

    values = draw.standard_normal(shape)
    spikes = (draw.random(shape) < 0.3).astype(np.float64)
    is_spiking = np.arange(batch) % 2 == 0
    return np.where(is_spiking.reshape(-1, *[1] * (len(shape) - 1)), spikes, values)


def check(
    graph: Any,
    *,
    dt: float,
    discretization: str,
    source: str | None = None,
    allow: Collection[str] = (),
    net: nn.Module | None = None,
    x: Tensor | None = None,
    input_shape: Sequence[int] | None = None,
    batch: int = 4,
    steps: int = 100,
    seed: int = 0,
) -> Check:
    """Compare a net with its NIR graph, which a reader in NumPy and float64 replays.

    Args:
        graph: A `nir.NIRGraph`, or the path of its file.
        dt: See `from_nir`.
        discretization: See `from_nir`.
        source: See `from_nir`.
        allow: See `from_nir`.
        net: The net that was exported; if None, the net that `from_nir` makes of the graph.
        x: Input [B, T, *features]. If None, a random input.
        input_shape: See `from_nir`.
        batch: Recordings of a random input.
        steps: Steps of a random input.
        seed: Seed of a random input.

    Returns:
        The result of the comparison, in float64.

    Raises:
        ValueError: If the graph cannot be read, `net` or `x` does not fit it, or a value is not
            finite.
        TypeError: If `net` is not a module, or `x` is not a tensor.

    Example:
        >>> import torch
        >>> from nwavesdk.interop.nir import to_nir
        >>> from nwavesdk.layers import LIFLayer, SpikingSequential
        >>> net = SpikingSequential(LIFLayer(2, 20e-3, reset_mechanism="zero"))
        >>> graph, x = to_nir(net, discretization="exact"), torch.full((1, 20, 2), 0.5)
        >>> print(check(graph, dt=1e-3, discretization="exact", net=net, x=x))
        12 spikes in 40 steps of neurons of 1 node are equal, membranes within 0
    """
    flat = prepare_graph(graph, dt, discretization, source, allow, input_shape)
    if net is not None and not isinstance(net, nn.Module):
        raise TypeError(f"check: net is {shown(net)}, expected the torch module that was exported.")

    if x is None:
        batch = whole_number("check", "batch", batch)
        steps = whole_number("check", "steps", steps)
        values = random_input(flat, batch, steps, seed_number("check", seed))
    else:
        values = _given_input(x, flat)

    shape = flat.shape_in
    if net is None:
        loaded = load_graph(flat, None, torch.float64)
        net, modules = loaded.net, dict(loaded.modules)
    else:
        shape = _net_shape(flat) if x is None else tuple(x.shape[2:])
        net = copy.deepcopy(net).double()
        if isinstance(net, Container):
            net.time_first = False  # as the input is here
        modules = {name: node.module for name, node in flat.nodes.items() if node.module}

    with torch.no_grad(), prepared(net.eval()):
        recording = record(net, torch.tensor(values).reshape(*values.shape[:2], *shape))
    result = _compare(flat, replay(flat, values), recording, modules)
    return replace(result, seed=seed if x is None else None, notes=tuple(flat.notes))


def _given_input(x: Tensor, graph: NirGraph) -> Array:
    """The input of the caller in the shape of the input of the graph.

    Raises:
        TypeError: If it is not a tensor.
        ValueError: If it does not fit, is empty, or has values that are not finite.
    """
    require_tensor("check: x", x)
    values: Array = x.detach().double().cpu().numpy()
    if (
        values.ndim < 2
        or not values.size
        or math.prod(values.shape[2:]) != math.prod(graph.shape_in)
    ):
        raise ValueError(
            f"check: x has the shape {list(values.shape)}, expected [B, T, "
            f"{', '.join(map(str, graph.shape_in))}] with at least one recording and step: pass an "
            "input of the graph."
        )

    if not np.isfinite(values).all():
        raise ValueError(
            "check: x has values that are not finite, expected finite values: other values keep a "
            "neuron from spiking, so nothing would be compared."
        )
    return values.reshape(*values.shape[:2], *graph.shape_in)


def _net_shape(graph: NirGraph) -> tuple[int, ...]:
    """The shape of a step of the input of the net that was exported, by the metadata."""
    # Metadata that do not fit the graph are not from `to_nir`.
    written = np.atleast_1d(np.asarray(graph.metadata.get(INPUT_KEY, graph.shape_in)))
    is_shape = written.dtype.kind in "iu" and np.prod(written) == np.prod(graph.shape_in)
    return tuple(int(size) for size in written) if is_shape else graph.shape_in


def _compare(
    graph: NirGraph, replayed: Replay, recording: Recording, modules: Mapping[str, str]
) -> Check:
    """Compare the spikes and membranes of all nodes that are layers of the net.

    Raises:
        ValueError: If a layer is not in the net, or values have another shape or are not finite.
    """
    spikes = values = 0
    nodes = []
    error = 0.0
    firsts: list[_WrongSpike] = []
    for name in [name for name in replayed.outputs if name in modules]:
        expected = replayed.outputs[name]
        layer = recording.layers.get(modules[name])
        if layer is None:
            raise ValueError(
                f"check: node {name!r} is layer {modules[name]!r} of the net that was exported, "
                f"got a net with the layers {', '.join(recording.layers) or 'none'}: pass the net "
                "of the graph."
            )

        # Only nodes that spike have margins.
        if name not in replayed.margins:
            error = max(error, _difference(expected, layer.mem, name))
            continue
        nodes.append(name)
        spikes += int(expected.sum())
        values += expected.size

        firsts += _first_wrong_spike(name, expected, layer.spk, replayed.margins[name])

    # If the output consists of the spikes of one node, they have been compared. After a spike that
    # differs, the outputs differ, too.
    ends = graph.sources(graph.output)
    kind = graph.nodes[ends[0]].kind if len(ends) == 1 and ends[0] in graph.nodes else ""
    if kind not in SPIKING and not firsts:
        output = recording.mem if kind in STATEFUL else recording.spk
        error = max(error, _difference(replayed.output, output, "output"))

    check = Check(spikes=spikes, values=values, nodes=tuple(nodes), error=error)
    if not firsts:
        return check
    step, name, neuron, margin = min(firsts, key=itemgetter(0))
    return replace(check, step=step, node=name, neuron=neuron, margin=margin)


def _first_wrong_spike(
    name: str, expected: Array, spikes: Tensor, margins: Array
) -> list[_WrongSpike]:
    """The first spike of a node that differs from the reader; an empty list if all are equal."""
    # [T, B, neurons], so that the first difference is in the first step.
    differs = (_numbers(spikes, expected, name) != expected).swapaxes(0, 1)
    differences = np.argwhere(differs.reshape(*differs.shape[:2], -1))
    return [
        (int(step), name, int(neuron), abs(float(margins[row, step].flat[neuron])))
        for step, row, neuron in differences[:1]
    ]


def _numbers(tensor: Tensor, expected: Array, name: str) -> Array:
    """The values of a net, in the shape of the values of the reader."""
    got: Array = tensor.detach().double().cpu().numpy()
    if got.size != expected.size:
        raise ValueError(
            f"check: node {name!r} has the shape {list(expected.shape)}, got a net with the shape "
            f"{list(got.shape)}: pass the net of the file."
        )
    return got.reshape(expected.shape)


def _difference(expected: Array, got: Tensor, name: str) -> float:
    """The largest difference, as a share of the largest value of the reader."""
    numbers = _numbers(got, expected, name)
    for values, owner in ((expected, "the reader"), (numbers, "the net")):
        if not np.isfinite(values).all():
            raise ValueError(
                f"check: node {name!r} has values that are not finite in {owner}, which cannot be "
                "compared: make weights or inputs smaller."
            )

    # Not 0, because the difference is divided by it.
    largest = float(np.abs(expected).max(initial=1e-300))
    return float(np.abs(expected - numbers).max(initial=0.0)) / largest
