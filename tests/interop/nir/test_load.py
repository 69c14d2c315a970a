"""Imported nets equal the reader in NumPy, for every node, both methods, and any connections."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from interop.nir.graphs import (
    DT,
    image_graph,
    nets,
    neuron_graph,
    neuron_values,
    other_graphs,
    weight,
)
from nwavesdk.interop.nir import SpikingGraph, check, from_nir, import_graph, to_nir
from nwavesdk.interop.nir.neurons import NIRLIFLayer
from nwavesdk.layers import CubaLIFLayer, IFLayer, LIFLayer, LILayer, prepare_net
from nwavesdk.net import SpikingSequential
from nwavesdk.surrogate import atan

pytestmark = pytest.mark.interop

METHODS = ("exact", "euler")
SHORT: dict[str, Any] = {"batch": 2, "steps": 30}
NEURONS = ("CubaLI", "CubaLIF", "I", "IF", "LI", "LIF", "Threshold")
IMAGES = ("Conv2d", "SumPool2d", "AvgPool2d")
SHAPES = {"lines": (2, 9), **dict.fromkeys(IMAGES, (2, 8, 8))}
OTHERS = ("loop", "affine loop", "delayed loop", "long loop", "nested", "branches", "lines")


def graph_of(name: str) -> Any:
    if name in NEURONS:
        return neuron_graph(name)
    return image_graph(name) if name in IMAGES else other_graphs()[name]


@pytest.mark.parametrize("discretization", METHODS)
@pytest.mark.parametrize("name", [*NEURONS, *IMAGES, *OTHERS])
def test_a_graph_equals_the_reader_and_survives_a_round_trip(
    name: str, discretization: str
) -> None:
    graph, options = graph_of(name), {"dt": DT, "discretization": discretization}
    found = check(graph, **options, **SHORT)
    assert found.is_equal, found
    assert (found.spikes > 10) == (name not in ("CubaLI", "I", "LI"))
    net = from_nir(graph, **options, dtype=torch.float64)
    is_chain = name not in ("affine loop", "delayed loop", "long loop", "branches")
    assert isinstance(net, SpikingSequential if is_chain else SpikingGraph)

    again = to_nir(net, discretization=discretization, input_shape=SHAPES.get(name))
    if name not in OTHERS:
        kinds = [{type(node) for node in each.nodes.values()} for each in (graph, again)]
        assert kinds[0] == kinds[1]
    assert check(again, **options, **SHORT, net=net).is_equal
    assert check(again, **options, **SHORT).spikes == found.spikes


@pytest.mark.parametrize("discretization", METHODS)
@pytest.mark.parametrize("kind", NEURONS)
def test_neurons_equal_the_reader_for_another_step(kind: str, discretization: str) -> None:
    graph = neuron_graph(kind)
    assert check(graph, dt=DT / 3, discretization=discretization, **SHORT).is_equal


def test_there_is_a_test_of_every_graph() -> None:
    assert set(other_graphs()) == set(OTHERS)


@pytest.mark.parametrize("name", ["delayed loop", "long loop", "branches"])
def test_a_graph_runs_in_parts_and_gives_gradients(name: str) -> None:
    net = from_nir(other_graphs()[name], dt=DT, discretization="exact")
    x = torch.rand(3, 20, 6)
    whole, _ = net(x)
    prepare_net(net)
    parts = [net(x[:, :7])[0], *(net.step(x[:, t])[0][:, None] for t in range(7, 20))]
    assert torch.equal(torch.cat(parts, 1), whole)
    assert whole.sum() > 0
    prepare_net(net)
    net(x)[0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("has_cycle", [False, True])
def test_a_node_may_have_the_name_of_an_attribute(has_cycle: bool) -> None:
    import nir

    names = ["training", "append", "sources", "order", "last_step", "checkpoint", "forward"]
    nodes = {name: nir.Linear(weight(3, 3)) for name in names}
    nodes["shape"] = nir.LIF(**neuron_values("LIF", (3,)))
    ends = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([3]))}
    edges = [*pairwise(["input", *nodes, "output"])]
    edges += [("shape", "training")] if has_cycle else []
    graph = nir.NIRGraph({**ends, **nodes}, edges, type_check=False)
    net = from_nir(graph, dt=DT, discretization="exact")
    assert [name for name, _ in net.named_children()][:2] == ["node_training", "node_append"]
    assert check(graph, dt=DT, discretization="exact").is_equal


def test_own_loops_become_recurrent_weights() -> None:
    loaded = import_graph(other_graphs()["loop"], dt=DT, discretization="exact")
    layer = loaded.net[1]
    assert layer.layer_topology == "RC"
    np.testing.assert_array_equal(layer.recurrent_weights.detach().T, weight(8, 8, seed=1))
    assert "w becomes the recurrent weights of n" in loaded.notes


def plain(kind: str, **changes: float) -> Any:
    """A neuron whose gains are 1 for Euler's method and steps of 1 ms, with a reset to 0."""
    import nir

    values = {
        "tau": 10e-3,
        "tau_mem": 10e-3,
        "tau_syn": 5e-3,
        "r": 10.0,
        "w_in": 5.0,
        "v_leak": 0.0,
        "v_threshold": 1.0,
        "v_reset": 0.0,
    } | changes
    if kind in ("I", "IF") and "r" not in changes:
        values["r"] = 1000.0
    names = neuron_values(kind, (3,))
    return getattr(nir, kind)(**{name: np.full(3, values[name]) for name in names})


@pytest.mark.parametrize(
    ("kind", "changes", "soft", "expected"),
    [
        ("LIF", {}, False, LIFLayer),
        ("LIF", {"v_leak": 0.5, "v_reset": 0.5}, False, LIFLayer),
        ("LIF", {"r": 5.0}, False, NIRLIFLayer),
        ("LIF", {"v_reset": 0.5}, False, NIRLIFLayer),
        ("LIF", {}, True, LIFLayer),
        ("IF", {}, False, LIFLayer),
        ("IF", {}, True, IFLayer),
        ("LI", {}, False, LILayer),
        ("CubaLIF", {}, True, CubaLIFLayer),
    ],
)
def test_usual_neurons_become_usual_layers(
    kind: str, changes: dict[str, float], soft: bool, expected: type
) -> None:
    import nir

    node = plain(kind, **changes)
    node.metadata = {"nwavesdk_reset": "subtraction"} if soft else {}
    allow = {"soft-reset"} if soft else ()
    graph = nir.NIRGraph.from_list(node)
    net = from_nir(graph, dt=DT, discretization="euler", allow=allow)
    assert type(net[0]) is expected
    if expected is LIFLayer:
        assert net[0].reset_mechanism == ("subtraction" if soft else "zero")


def test_a_gain_of_one_may_have_the_rounding_of_the_file() -> None:
    import nir

    tau = np.linspace(7e-3, 50e-3, 9, dtype=np.float32)
    zeros, ones = np.zeros(9, np.float32), np.ones(9, np.float32)
    values = {"r": tau / np.float32(1e-3), "v_leak": zeros, "v_threshold": ones}
    assert (values["r"].astype(float) * 1e-3 / tau.astype(float) != 1).any()
    graph = nir.NIRGraph.from_list(nir.Linear(weight(9, 4)), nir.LIF(tau=tau, **values))
    assert type(from_nir(graph, dt=DT, discretization="euler")[1]) is LIFLayer
    assert check(graph, dt=DT, discretization="euler").is_equal


def test_a_decay_of_zero_is_a_neuron_without_memory() -> None:
    import nir

    node = plain("LIF", tau=DT, r=1.0)
    graph = nir.NIRGraph.from_list(nir.Linear(weight(3, 4)), node)
    assert check(graph, dt=DT, discretization="euler").is_equal


def test_the_surrogate_and_the_dtype_are_those_that_were_given() -> None:
    net = from_nir(
        neuron_graph("LIF"), dt=DT, discretization="exact", spike_grad=atan(), dtype=torch.float64
    )
    assert net[1].spike_grad == atan()
    assert {p.dtype for p in net.parameters()} == {torch.float64}
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32 or torch\.float64, got"):
        from_nir(neuron_graph("LIF"), dt=DT, discretization="exact", dtype=torch.float16)


def test_rounded_parameters_and_shared_values_are_noted() -> None:
    import nir

    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([4])),
            "a": nir.Linear(np.full((3, 4), 0.1)),
            "n": nir.I(np.array(2.0)),
            "output": nir.Output(np.array([3])),
        },
        [("input", "a"), ("a", "n"), ("n", "output")],
        type_check=False,
    )
    notes = import_graph(graph, dt=DT, discretization="exact").notes
    assert notes[0].startswith("node 'n' (I): r without the shape of the neurons, [3]: one value")
    assert notes[1] == "float64 parameters are rounded to float32: a"


# The metadata of our own graphs


def dense_graph() -> Any:
    return to_nir(nets()["dense"], discretization="exact")


def test_another_step_or_method_is_noted() -> None:
    assert not import_graph(dense_graph(), dt=1e-3, discretization="exact").notes
    notes = import_graph(dense_graph(), dt=2e-3, discretization="euler").notes
    assert notes[0].startswith("the graph was written with dt=0.001, and is read with 0.002")
    assert notes[1].startswith("the graph was written with discretization='exact', and is read")
    found = check(dense_graph(), dt=2e-3, discretization="euler", net=nets()["dense"])
    assert found.step is not None


def test_our_graphs_have_no_other_source() -> None:
    with pytest.raises(ValueError, match="nwavesdk has written the graph, got source='norse'"):
        import_graph(dense_graph(), dt=1e-3, discretization="euler", source="norse")
