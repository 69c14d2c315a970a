"""A reader of NIR graphs in NumPy and float64, straight from the equations of the nodes.

It shares no code with the layers and the solvers: `check` compares them with it. One step of dt
solves each equation for an input x that is constant within the step:

    exact    τ dv/dt = a - v  gives  v ← a + (v - a) · exp(-dt/τ)
    euler    τ dv/dt = a - v  gives  v ← v + dt/τ · (a - v)
    both        dv/dt = b     gives  v ← v + dt · b

CubaLI and CubaLIF solve the current first; the membrane takes the new current. A spike is where the
new membrane is above the threshold, and its reset is in the same step. Membranes begin at `v_leak`,
those of IF at `v_reset`, currents and I at 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nwavesdk.interop.nir.graph import Graph
from nwavesdk.interop.nir.node import SPIKING, STATEFUL, Node

__all__ = ["Replay", "replay"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Replay:
    """What a graph did: arrays [B, T, *shape] by the name of the node.

    Attributes:
        outputs: What each neuron and each Threshold gives: spikes, or the membrane without spikes.
        margins: Of nodes that spike, the membrane before the reset minus the threshold.
        output: What the node Output gets.
    """

    outputs: dict[str, Array]
    margins: dict[str, Array]
    output: Array


def replay(graph: Graph, x: Array) -> Replay:
    """Run a graph on inputs [B, T, *shape_in].

    Raises:
        ValueError: If the inputs have another shape.
    """
    x = np.asarray(x, np.float64)
    if x.shape[2:] != graph.shape_in or x.ndim < 2:
        raise ValueError(
            f"NIR: the replay got inputs of shape {list(x.shape)}, expected [B, T, "
            f"{', '.join(map(str, graph.shape_in))}]."
        )
    B, T = x.shape[:2]
    steps = {name: _step_of(node, B, graph) for name, node in graph.nodes.items()}
    recorded = [n for n, node in graph.nodes.items() if node.kind in SPIKING | STATEFUL]
    outputs: dict[str, list[Array]] = {name: [] for name in recorded}
    margins: dict[str, list[Array]] = {n: [] for n in recorded if graph.nodes[n].kind in SPIKING}
    sources = {name: graph.sources(name) for name in (*graph.nodes, graph.output)}
    last: list[Array] = []
    # Before the first step, everything is silent.
    before = {name: np.zeros((B, *node.shape_out)) for name, node in graph.nodes.items()}
    before[graph.input] = np.zeros((B, *graph.shape_in))
    now: dict[str, Array] = {}

    def total(name: str, shape: tuple[int, ...]) -> Array:
        """What a node gets: the sum over its edges."""
        summed = np.zeros((B, *shape))
        for source in sources[name]:
            values = before if (source, name) in graph.delayed else now
            summed = summed + values[source]
        return summed

    for t in range(T):
        now = {graph.input: x[:, t]}
        for name, node in graph.nodes.items():
            now[name], margin = steps[name](total(name, node.shape_in))
            if name in outputs:
                outputs[name].append(now[name])
            if name in margins:
                assert margin is not None
                margins[name].append(margin)
        last.append(total(graph.output, graph.shape_out))
        before = now
    return Replay(
        {name: _stack(values, B, graph.nodes[name].shape_out) for name, values in outputs.items()},
        {name: _stack(values, B, graph.nodes[name].shape_out) for name, values in margins.items()},
        _stack(last, B, graph.shape_out),
    )


def _stack(values: list[Array], B: int, shape: tuple[int, ...]) -> Array:
    return np.stack(values, 1) if values else np.zeros((B, 0, *shape))


Step = Callable[[Array], tuple[Array, Array | None]]


def _step_of(node: Node, B: int, graph: Graph) -> Step:
    """A function from the input of a step to the output, and to membrane minus threshold."""
    if node.kind in STATEFUL:
        return _Neurons(node, B, graph.dt, graph.discretization)
    if node.kind == "Delay":
        return _Delay(node, B)
    if node.kind == "Threshold":
        threshold = node.arrays["threshold"]
        return lambda x: ((x > threshold).astype(np.float64), x - threshold)
    function = _FUNCTIONS[node.kind]
    return lambda x: (function(node, x), None)


class _Neurons:
    """The state of the neurons of a node, and their step."""

    def __init__(self, node: Node, B: int, dt: float, discretization: str) -> None:
        self.node = node
        self.dt = dt
        self.is_exact = discretization == "exact"
        shape = (B, *node.shape_in)
        rest = node.arrays.get("v_leak")
        if node.kind == "IF":
            rest = node.arrays["v_reset"]
        self.v = np.zeros(shape) + (0.0 if rest is None else rest)
        self.i = np.zeros(shape)

    def relax(self, value: Array, tau: Array, target: Array) -> Array:
        """One step of τ dv/dt = target - v."""
        if self.is_exact:
            solved: Array = target + (value - target) * np.exp(-self.dt / tau)
            return solved
        moved: Array = value + self.dt / tau * (target - value)
        return moved

    def __call__(self, x: Array) -> tuple[Array, Array | None]:
        p = self.node.arrays
        if self.node.kind in ("CubaLI", "CubaLIF"):
            self.i = self.relax(self.i, p["tau_syn"], p["w_in"] * x)
            self.v = self.relax(self.v, p["tau_mem"], p["v_leak"] + p["r"] * self.i)
        elif self.node.kind in ("LI", "LIF"):
            self.v = self.relax(self.v, p["tau"], p["v_leak"] + p["r"] * x)
        else:
            self.v = self.v + self.dt * p["r"] * x
        if self.node.kind not in SPIKING:
            return self.v, None
        margin = self.v - p["v_threshold"]
        spikes = self.v > p["v_threshold"]
        if self.node.reset == "value":
            self.v = np.where(spikes, p["v_reset"], self.v)
        else:
            self.v = np.where(spikes, self.v - p["amount"], self.v)
        return spikes.astype(np.float64), margin


class _Delay:
    """The last inputs of a node Delay; each element waits its own number of steps."""

    def __init__(self, node: Node, B: int) -> None:
        self.steps = node.arrays["delay"].astype(np.int64)
        length = int(self.steps.max(initial=0)) + 1
        self.ring = np.zeros((length, B, *node.shape_in))
        self.t = 0

    def __call__(self, x: Array) -> tuple[Array, None]:
        length = len(self.ring)
        self.ring[self.t % length] = x
        places = (self.t - self.steps) % length
        places = np.broadcast_to(places, x.shape)[None]
        y = np.take_along_axis(self.ring, places, 0)[0]
        self.t += 1
        return y, None


def _linear(node: Node, x: Array) -> Array:
    y: Array = x @ node.arrays["weight"].T
    return y + node.arrays["bias"] if "bias" in node.arrays else y


def _scale(node: Node, x: Array) -> Array:
    return x * node.arrays["scale"]


def _flatten(node: Node, x: Array) -> Array:
    return x.reshape(len(x), *node.shape_out)


def _windows(x: Array, padding: Any, kernel: Any, stride: Any, dilation: Any) -> Array:
    """All windows of the last axes of x: [B, C, *positions, *kernel]."""
    axes = len(kernel)
    x = np.pad(x, [(0, 0), (0, 0), *padding])
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    windows = sliding_window_view(x, spans, tuple(range(2, 2 + axes)))
    positions = tuple(slice(None, None, s) for s in stride)
    taps = tuple(slice(None, None, d) for d in dilation)
    return windows[(slice(None), slice(None), *positions, *taps)]


def _convolve(node: Node, x: Array) -> Array:
    weight = node.arrays["weight"]
    groups = node.settings["groups"]
    kernel = weight.shape[2:]
    windows = _windows(
        x, node.settings["padding"], kernel, node.settings["stride"], node.settings["dilation"]
    )
    axes = len(kernel)
    outputs = []
    for g in range(groups):
        n_in, n_out = weight.shape[1], weight.shape[0] // groups
        part = windows[:, g * n_in : (g + 1) * n_in]
        taps = weight[g * n_out : (g + 1) * n_out]
        # Over input channels and taps; what is left is [B, *positions, C_out].
        over = [1, *range(2 + axes, 2 + 2 * axes)]
        y = np.tensordot(part, taps, (over, list(range(1, 2 + axes))))
        outputs.append(np.moveaxis(y, -1, 1))
    bias = node.arrays["bias"].reshape(-1, *[1] * axes)
    joined: Array = np.concatenate(outputs, 1) + bias
    return joined


def _sum_pool(node: Node, x: Array) -> Array:
    padding = [(p, p) for p in node.settings["padding"]]
    kernel, stride = node.settings["kernel_size"], node.settings["stride"]
    total: Array = _windows(x, padding, kernel, stride, (1, 1)).sum((-2, -1))
    return total


def _mean_pool(node: Node, x: Array) -> Array:
    return _sum_pool(node, x) / float(np.prod(node.settings["kernel_size"]))


_FUNCTIONS: dict[str, Callable[[Node, Array], Array]] = {
    "Affine": _linear,
    "AvgPool2d": _mean_pool,
    "Conv1d": _convolve,
    "Conv2d": _convolve,
    "Flatten": _flatten,
    "Linear": _linear,
    "Scale": _scale,
    "SumPool2d": _sum_pool,
}
