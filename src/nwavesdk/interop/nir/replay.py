"""A reader of NIR graphs in NumPy and float64, straight from the equations of the nodes.

It shares no code with the layers and the solvers: `check` compares them with it. One step of dt
solves each equation for an input x that is constant within the step:

    exact    τ dv/dt = a - v  gives  v ← a + (v - a) · exp(-dt/τ)
    euler    τ dv/dt = a - v  gives  v ← v + dt/τ · (a - v)
    both        dv/dt = b     gives  v ← v + dt · b

CubaLI and CubaLIF solve the current first; the membrane takes the new current. A spike is where the
new membrane is above the threshold, and its reset is in the same step. Membranes begin at `v_leak`,
membranes of IF at `v_reset`, currents and I at 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nwavesdk.interop.nir.graph import NirGraph
from nwavesdk.interop.nir.node import SPIKING, STATEFUL, NirNode, Shape

__all__ = ["Replay", "replay"]

Array = NDArray[np.float64]

# From the input of a step to its output, and to membrane minus threshold.
Step = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Replay:
    """The values of a run: arrays [B, T, *shape] by the name of the node.

    Attributes:
        outputs: The output of neurons and of Threshold: spikes, or the membrane without spikes.
        margins: The membrane before the reset minus the threshold, for nodes that spike.
        output: The input of the node Output.
    """

    outputs: dict[str, Array]
    margins: dict[str, Array]
    output: Array


def replay(graph: NirGraph, x: Array) -> Replay:
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
    nodes = graph.nodes
    steps = {name: _step_of(node, B, graph) for name, node in nodes.items()}
    sources = {name: graph.sources(name) for name in (*nodes, graph.output)}

    neurons = {name: node for name, node in nodes.items() if node.kind in SPIKING | STATEFUL}
    outputs = {name: np.zeros((B, T, *node.shape_out)) for name, node in neurons.items()}
    margins = {name: np.zeros_like(o) for name, o in outputs.items() if nodes[name].kind in SPIKING}
    output = np.zeros((B, T, *graph.shape_out))

    # The outputs of all nodes in the step before and in this step; 0 before the first step.
    before = {name: np.zeros((B, *node.shape_out)) for name, node in nodes.items()}
    before[graph.input] = np.zeros((B, *graph.shape_in))
    now: dict[str, Array] = {}

    def total(name: str, shape: Shape) -> Array:
        """The input of a node: the sum over its edges."""
        summed = np.zeros((B, *shape))
        for source in sources[name]:
            summed = summed + (before if (source, name) in graph.delayed else now)[source]
        return summed

    for t in range(T):
        now = {graph.input: x[:, t]}
        for name, node in nodes.items():
            now[name], margin = steps[name](total(name, node.shape_in))
            if name in outputs:
                outputs[name][:, t] = now[name]
            if name in margins:
                margins[name][:, t] = margin
        output[:, t] = total(graph.output, graph.shape_out)
        before = now
    return Replay(outputs, margins, output)


def _step_of(node: NirNode, B: int, graph: NirGraph) -> Step:
    """The step of a node, a function that keeps the state of the node."""
    if node.kind in STATEFUL:
        return _neurons(node, B, graph)
    if node.kind == "Delay":
        return _delay(node, B)
    if node.kind == "Threshold":
        threshold = node.arrays["threshold"]
        return lambda x: ((x > threshold).astype(np.float64), x - threshold)
    function = _FUNCTIONS[node.kind]
    return lambda x: (function(node, x), x)


def _neurons(node: NirNode, B: int, graph: NirGraph) -> Step:
    """The step of the neurons of a node; the state is the current and the membrane."""
    p, dt = node.arrays, graph.dt
    current = np.zeros((B, *node.shape_in))
    v = current + p.get("v_leak", p.get("v_reset", 0.0))

    def relax(value: Array, tau: Array, target: Array) -> Array:
        """One step of τ dv/dt = target - v."""
        if graph.discretization == "exact":
            return target + (value - target) * np.exp(-dt / tau)
        return value + dt / tau * (target - value)

    def step(x: Array) -> tuple[Array, Array]:
        """Spikes, and membrane minus threshold; of neurons without spikes, the membrane."""
        nonlocal current, v
        if node.kind in ("CubaLI", "CubaLIF"):
            current = relax(current, p["tau_syn"], p["w_in"] * x)
            u = relax(v, p["tau_mem"], p["v_leak"] + p["r"] * current)
        elif node.kind in ("LI", "LIF"):
            u = relax(v, p["tau"], p["v_leak"] + p["r"] * x)
        else:
            u = v + dt * p["r"] * x

        if node.kind not in SPIKING:
            v = u
            return u, u

        spikes = u > p["v_threshold"]
        v = np.where(spikes, p["v_reset"] if node.reset == "value" else u - p["amount"], u)
        return spikes.astype(np.float64), u - p["v_threshold"]

    return step


def _delay(node: NirNode, B: int) -> Step:
    """The step of a node Delay; each element waits its own number of steps."""
    # The last inputs, the newest first.
    steps = node.arrays["delay"].astype(np.int64)
    past = np.zeros((int(steps.max(initial=0)) + 1, B, *node.shape_in))

    def step(x: Array) -> tuple[Array, Array]:
        """The inputs of earlier steps."""
        past[1:] = past[:-1].copy()
        past[0] = x

        indices = np.broadcast_to(steps, x.shape)
        return np.take_along_axis(past, indices[None], 0)[0], x

    return step


def _product(node: NirNode, x: Array) -> Array:
    return x @ node.arrays["weight"].T + node.arrays.get("bias", 0.0)


def _windows(node: NirNode, x: Array) -> Array:
    """All windows of the last axes of x: [B, C, *positions, *kernel]."""
    # A convolution has its kernel in the weight, a pool in its settings.
    settings, weight = node.settings, node.arrays.get("weight")
    kernel = settings["kernel_size"] if weight is None else weight.shape[2:]
    dilation = settings.get("dilation", (1,) * len(kernel))
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))

    # The zeros of "same" are divided as in torch: if their number is odd, the larger part is last.
    padding = [(zeros, zeros) for zeros in settings["padding"]]
    if settings["padding"] == "same":
        padding = [((span - 1) // 2, span // 2) for span in spans]
    x = np.pad(x, [(0, 0), (0, 0), *padding])

    # First all windows without gaps. Then the slices take every `stride`-th window, and every
    # `dilation`-th element of a window.
    windows = sliding_window_view(x, spans, tuple(range(2, x.ndim)))
    steps = (slice(None, None, step) for step in (1, 1, *settings["stride"], *dilation))
    return windows[tuple(steps)]


def _convolve(node: NirNode, x: Array) -> Array:
    weight, (groups,) = node.arrays["weight"], node.settings["groups"]
    windows = _windows(node, x)
    axes = weight.ndim - 2

    # The sum over input channels and taps: [B, *positions, C_out].
    over = [1, *range(2 + axes, 2 + 2 * axes)], [1, *range(2, 2 + axes)]
    pairs = zip(np.split(windows, groups, 1), np.split(weight, groups), strict=True)
    parts = [np.tensordot(window, taps, over) for window, taps in pairs]
    summed = np.concatenate(parts, -1) + node.arrays["bias"]
    return np.moveaxis(summed, -1, 1)


def _sum_pool(node: NirNode, x: Array) -> Array:
    total: Array = _windows(node, x).sum((-2, -1))
    return total


_FUNCTIONS: dict[str, Callable[[NirNode, Array], Array]] = {
    "Affine": _product,
    "AvgPool2d": lambda node, x: _sum_pool(node, x) / np.prod(node.settings["kernel_size"]),
    "Conv1d": _convolve,
    "Conv2d": _convolve,
    "Flatten": lambda node, x: x.reshape(len(x), *node.shape_out),
    "Linear": _product,
    "Scale": lambda node, x: x * node.arrays["scale"],
    "SumPool2d": _sum_pool,
}
