"""NIR graphs and nets that the tests of this folder share."""

from typing import Any

import numpy as np
import torch
from torch import nn

from nwavesdk.interop.nir import check, from_nir
from nwavesdk.layers import (
    CubaLIFLayer,
    DelayedSynapse,
    IFLayer,
    LIFLayer,
    LIFSynapse,
    LILayer,
    TemporalConv,
    TimeBatchNorm,
)
from nwavesdk.net import Branches, Feedback, Residual, SpikingSequential

DT = 1e-3


def assert_reads(graph: Any, x: torch.Tensor, expected: torch.Tensor, **options: Any) -> None:
    """Assert that the net of a graph gives the spikes of the library that has written it."""
    assert expected.sum() > 100
    assert torch.equal(from_nir(graph, **options)(x)[0], expected)
    assert check(graph, **options, batch=2, steps=40).is_equal


@torch.no_grad()
def run_steps(net: nn.Module, x: torch.Tensor, *, has_state: bool = False) -> torch.Tensor:
    """Spikes [B, T, ...] of a net of another library, which takes one step."""
    outputs = []
    state: tuple[Any, ...] = (None,) if has_state else ()
    for step in x.unbind(1):
        y = net(step, *state)
        y, *state = y if has_state else (y,)
        outputs.append(y)
    return torch.stack(outputs, 1)


def neuron_values(kind: str, shape: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters of a neuron that differ from neuron to neuron and from each default."""
    draw = np.random.default_rng(seed)
    values = {
        "tau": draw.uniform(5e-3, 40e-3, shape),
        "tau_mem": draw.uniform(5e-3, 40e-3, shape),
        "tau_syn": draw.uniform(2e-3, 10e-3, shape),
        "r": draw.uniform(2, 6, shape),
        "v_leak": draw.uniform(-0.2, 0.2, shape),
        "v_threshold": draw.uniform(0.3, 0.8, shape),
        "v_reset": draw.uniform(-0.4, 0.2, shape),
        "w_in": draw.uniform(0.5, 1.5, shape),
        "threshold": draw.uniform(-0.2, 0.8, shape),
    }
    if kind in ("I", "IF"):
        values["r"] = draw.uniform(50, 150, shape)
    names = {
        "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
        "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
        "I": ("r",),
        "IF": ("r", "v_threshold", "v_reset"),
        "LI": ("tau", "r", "v_leak"),
        "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
        "Threshold": ("threshold",),
    }
    return {name: values[name] for name in names[kind]}


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed).standard_normal(shape)
    return (draw * 2 / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def neuron_graph(kind: str) -> Any:
    """Linear, and a node of neurons."""
    import nir

    node = getattr(nir, kind)(**neuron_values(kind, (12,)))
    return nir.NIRGraph.from_list(nir.Linear(weight(12, 6)), node)


def image_graph(kind: str) -> Any:
    """A node over images, then neurons and a read-out."""
    import nir

    nodes = {
        "Conv2d": nir.Conv2d((8, 8), weight(6, 2, 3, 3), 2, 1, 1, 1, weight(6, 1)[:, 0]),
        "SumPool2d": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "AvgPool2d": nir.AvgPool2d(np.array([3, 3]), np.array([2, 2]), np.array([1, 1])),
    }
    channels = 6 if kind == "Conv2d" else 2
    graph = nir.NIRGraph.from_list(
        nir.Input(np.array([2, 8, 8])),
        nodes[kind],
        nir.LIF(**neuron_values("LIF", (channels, 4, 4))),
        nir.Flatten({"input": np.array([channels, 4, 4])}, 0, -1),
        nir.Affine(weight(5, channels * 16), weight(5, 1)[:, 0]),
        nir.LI(**neuron_values("LI", (5,))),
    )
    assert isinstance(graph, nir.NIRGraph)
    return graph


def other_graphs() -> dict[str, Any]:
    """Graphs of all other nodes and of all connections, by name."""
    import nir

    def neurons(n: int, seed: int = 0) -> Any:
        return nir.LIF(**neuron_values("LIF", (n,), seed))

    def connected(nodes: dict[str, Any], edges: list[tuple[str, str]], size: int = 6) -> Any:
        first, last = nir.Input(np.array([size])), nir.Output(np.array([8]))
        return nir.NIRGraph({"input": first, **nodes, "output": last}, edges)

    def loop_over(back: Any) -> Any:
        return connected(
            {"a": nir.Linear(weight(8, 6)), "n": neurons(8), "w": back},
            [("input", "a"), ("a", "n"), ("n", "w"), ("w", "n"), ("n", "output")],
        )

    bias = weight(8, 1)[:, 0]
    delayed_loop = connected(
        {
            "a": nir.Linear(weight(8, 6)),
            "n": neurons(8),
            "d": nir.Delay(DT * np.array([1.0, 2, 3, 1, 2, 3, 1, 2])),
            "w": nir.Linear(weight(8, 8, seed=1)),
        },
        [("input", "a"), ("a", "n"), ("n", "d"), ("d", "w"), ("w", "n"), ("n", "output")],
    )
    long_loop = connected(
        {
            "a": nir.Linear(weight(8, 6)),
            "n": neurons(8),
            "b": nir.Affine(weight(4, 8), weight(4, 1)[:, 0]),
            "m": nir.CubaLIF(**neuron_values("CubaLIF", (4,))),
            "c": nir.Linear(weight(8, 4)),
        },
        [
            *(("input", "a"), ("a", "n"), ("n", "b"), ("b", "m"), ("m", "c"), ("c", "n")),
            ("n", "output"),
        ],
    )
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([8])),
            "n": neurons(8, 1),
            "w": nir.Linear(weight(8, 8, seed=2)),
            "output": nir.Output(np.array([8])),
        },
        [("input", "n"), ("n", "w"), ("w", "n"), ("n", "output")],
    )
    nested = connected(
        {
            "a": nir.Linear(weight(8, 6)),
            "inner": inner,
            "b": nir.Linear(weight(8, 8)),
            "n": neurons(8),
        },
        [("input", "a"), ("a", "inner"), ("inner", "b"), ("b", "n"), ("n", "output")],
    )
    branches = connected(
        {
            "a": nir.Linear(weight(8, 6)),
            "b": nir.Linear(weight(8, 6, seed=1)),
            "d": nir.Delay(np.full(6, 2 * DT)),
            "s": nir.Scale(np.linspace(0.5, 1.5, 8)),
            "n": neurons(8),
        },
        [
            *(("input", "a"), ("input", "d"), ("d", "b"), ("b", "s"), ("a", "n"), ("s", "n")),
            ("n", "output"),
        ],
    )
    lines = nir.NIRGraph.from_list(
        nir.Input(np.array([2, 9])),
        nir.Conv1d(9, weight(4, 2, 3), 2, 1, 1, 1, weight(4, 1)[:, 0]),
        nir.IF(**neuron_values("IF", (4, 5))),
    )
    return {
        "loop": loop_over(nir.Linear(weight(8, 8, seed=1))),
        "affine loop": loop_over(nir.Affine(weight(8, 8, seed=1), bias)),
        "delayed loop": delayed_loop,
        "long loop": long_loop,
        "nested": nested,
        "branches": branches,
        "lines": lines,
    }


def nets() -> dict[str, nn.Module]:
    """Nets whose modules all have nodes, by name; those that subtract are in `soft`."""
    zero: dict[str, Any] = {"reset_mechanism": "zero"}
    none: dict[str, Any] = {"reset_mechanism": "none"}
    taus = torch.linspace(5e-3, 40e-3, 20)
    synapse = LIFSynapse(10, 20)
    images = SpikingSequential(
        nn.Conv2d(2, 4, (3, 2), stride=2, padding=1, groups=2, bias=False),
        LIFLayer((4, 4, 5), 20e-3, **zero),
        nn.AvgPool2d(2, divisor_override=1),
        nn.Flatten(),
        nn.Linear(16, 5),
        LILayer(5),
    )
    spike_images = SpikingSequential(
        nn.Conv2d(2, 4, 3, padding=1),
        LIFLayer((4, 6, 8), 20e-3, **zero),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(4, 2, 2),
        LIFLayer((2, 2, 3), 20e-3, **zero),
    )
    return {
        "dense": SpikingSequential(
            synapse, LIFLayer(20, taus, **zero), LIFSynapse(20, 5, bias=True), LILayer(5)
        ),
        "no reset": SpikingSequential(
            LIFSynapse(10, 20),
            LIFLayer(20, taus, **none),
            LIFSynapse(20, 5),
            LIFLayer(5, 1e-2, **none),
        ),
        "soft": SpikingSequential(
            *(LIFSynapse(10, 20), LIFLayer(20, 20e-3), LIFSynapse(20, 5), CubaLIFLayer(5)),
            *(LIFSynapse(5, 4), IFLayer(4)),
        ),
        "recurrent": SpikingSequential(
            LIFSynapse(10, 20), LIFLayer(20, 20e-3, layer_topology="RC", **zero)
        ),
        "feedback": Feedback(
            *(LIFSynapse(10, 20), LIFLayer(20, 20e-3, **zero), LIFSynapse(20, 5)),
            LIFLayer(5, 1e-2, **zero),
            feedback=LIFSynapse(5, 10, bias=True),
        ),
        "residual feedback": Feedback(
            Residual(LIFSynapse(10, 10), LIFLayer(10, 20e-3, **zero)),
            *(LIFSynapse(10, 10), LIFLayer(10, 1e-2, **zero)),
            feedback=LIFSynapse(10, 10, bias=True),
        ),
        "feedback of a residual": Feedback(
            Residual(LIFSynapse(10, 10), LIFLayer(10, 20e-3, **zero)),
            feedback=LIFSynapse(10, 10, bias=True),
        ),
        "feedback of spikes without reset": Feedback(
            *(LIFSynapse(10, 10), LIFLayer(10, 20e-3, **none)), feedback=LIFSynapse(10, 10)
        ),
        "branch feedback": Feedback(
            Branches(LIFSynapse(10, 10), LIFSynapse(10, 10), join="add"),
            LIFLayer(10, 20e-3, **zero),
            feedback=LIFSynapse(10, 10, bias=True),
        ),
        "branches": SpikingSequential(
            LIFSynapse(10, 20),
            Residual(LIFLayer(20, 20e-3, **zero), LIFSynapse(20, 20)),
            Branches(
                SpikingSequential(LIFSynapse(20, 5), LIFLayer(5, 5e-3, **zero)),
                SpikingSequential(LIFSynapse(20, 4), LIFLayer(4, 5e-3, **zero)),
            ),
            LIFSynapse(9, 2),
        ),
        "norms": SpikingSequential(
            *(LIFSynapse(10, 20), _used_norm(20), LIFLayer(20, 20e-3, **zero)),
            *(_used_norm(20), nn.Linear(20, 5)),
        ).eval(),
        "delays": SpikingSequential(
            *(DelayedSynapse(10, 20, 5), LIFLayer(20, 20e-3, **zero)),
            *(DelayedSynapse(20, 5, 4, per="input", bias=True), LILayer(5)),
        ).eval(),
        "taps": SpikingSequential(
            TemporalConv(10, 20, 3, dilation=2, groups=2, bias=True), LIFLayer(20, 20e-3, **zero)
        ),
        "images": images,
        "spike images": spike_images,
        "image taps": SpikingSequential(
            nn.Unflatten(1, (1, 12)),
            TemporalConv(1, 4, 2, kernel=3, stride=2),
            LIFLayer((4, 5), 20e-3, **zero),
            nn.Flatten(),
            nn.Dropout(0.5),
        ).eval(),
    }


SHAPES = {"images": (2, 8, 8), "spike images": (2, 6, 8), "image taps": (12,)}
"""The shape of the input of nets that do not decide it."""


def _used_norm(size: int) -> TimeBatchNorm:
    norm = TimeBatchNorm(size)
    draw = torch.Generator().manual_seed(1)
    norm.running_mean.copy_(0.1 * torch.randn(size, generator=draw))
    norm.running_var.copy_(0.5 + torch.rand(size, generator=draw))
    return norm
