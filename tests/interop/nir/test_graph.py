"""From `nir` to a flat graph in order: nested graphs, shapes, and graphs without a meaning."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from interop.nir.graphs import DT, neuron_values, other_graphs
from nwavesdk.interop.nir.graph import flat_graph
from nwavesdk.interop.nir.load import prepare_graph
from nwavesdk.interop.nir.modules import shaped

pytestmark = pytest.mark.interop


def test_nested_graphs_unfold() -> None:
    flat = flat_graph(other_graphs()["nested"], DT, "exact")
    assert set(flat.nodes) == {"a", "inner.n", "inner.w", "b", "n"}
    assert set(flat.edges) == {
        ("input", "a"),
        ("a", "inner.n"),
        ("inner.n", "inner.w"),
        ("inner.w", "inner.n"),
        ("inner.n", "b"),
        ("b", "n"),
        ("n", "output"),
    }


def test_parameters_may_be_tensors() -> None:
    import nir

    node = nir.Linear(torch.ones(2, 3, requires_grad=True))
    read = flat_graph(nir.NIRGraph.from_list(node), DT, "exact").nodes["linear"]
    assert read.arrays["weight"].tolist() == [[1.0] * 3] * 2
    assert read.rounding == torch.finfo(torch.float32).eps


def test_shapes_take_no_memory() -> None:
    import nir

    conv = nir.Conv2d((10**6, 10**6), np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.zeros(1))
    flat = flat_graph(nir.NIRGraph.from_list(conv), DT, "exact")
    assert shaped(flat.nodes["conv2d"], (1, 10**6, 10**6), []).shape_out == (1, 10**6, 10**6)


def wrong() -> dict[str, Any]:
    import nir

    def graph(node: Any, **options: Any) -> Any:
        ends = {"input": nir.Input(np.array([2])), "n": node, "output": nir.Output(np.array([2]))}
        edges = options.get("edges", [("input", "n"), ("n", "output")])
        nodes = {**ends, **options.get("nodes", {})}
        return nir.NIRGraph(nodes, edges, type_check=False)

    values = neuron_values("LIF", (2,))
    lif = nir.LIF(**values)
    odd = nir.LIF(**values)
    odd.metadata = {"nwavesdk_reset": "half"}
    stride = nir.Conv1d(None, np.ones((1, 2, 1)), 1.5, 0, 1, 1, np.zeros(1))
    twice = [("input", "n"), ("input", "n"), ("n", "output")]
    lost = [("input", "n"), ("n", "nowhere"), ("n", "output")]
    ends = {"other": nir.Output(np.array([2]))}
    text = nir.Scale(np.array(["a", "b"]))
    return {
        "'n' (LIF): got tau array([ 1., nan]), expected finite numbers": graph(
            nir.LIF(**{**values, "tau": np.array([1.0, np.nan])})
        ),
        "'n' (Scale): got scale": graph(text),
        "the edge 'input' -> 'n': got two such edges": graph(lif, edges=twice),
        "the graph: got an edge of 'nowhere', expected edges between 'input', 'n', 'output'": graph(
            lif, edges=lost
        ),
        "the graph: got 2 nodes Output, expected one node": graph(lif, nodes=ends),
        "got nwavesdk_reset 'half' in its metadata": graph(odd),
        "got stride 1.5, expected whole numbers of at least 1": graph(stride),
        "got bias of shape [2, 1], expected [2]": graph(
            nir.Affine(np.ones((2, 2)), np.ones((2, 1)))
        ),
        "node 'n' (Identity): got a type that is not read": graph(
            nir.ir.graph.Identity({"input": np.array([2])})
        ),
    }


@pytest.mark.parametrize("number", range(9))
def test_a_wrong_graph_ends_in_one_line(number: int) -> None:
    cases = wrong()
    assert len(cases) == 9
    match, graph = list(cases.items())[number]
    with pytest.raises(ValueError, match="NIR: ") as error:
        prepare_graph(graph, 1e-3, "exact")
    assert match in str(error.value)
    assert "\n" not in str(error.value)


def test_something_else_than_a_graph_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"got 3, expected a nir\.NIRGraph or the path of its file"):
        prepare_graph(3, 1e-3, "exact")


# The order, and the shapes of steps


def graph(nodes: dict[str, Any], edges: list[tuple[str, str]], n_in: Any = (2,)) -> Any:
    import nir

    first = nir.Input(None if n_in is None else np.array(n_in))
    return nir.NIRGraph(
        {"input": first, **nodes, "output": nir.Output(None)}, edges, type_check=False
    )


def read(made: Any, dt: float = DT, discretization: str = "exact", **options: Any) -> Any:
    return prepare_graph(made, dt, discretization, **options)


def lif(n: int = 2, **changes: float) -> Any:
    import nir

    values = {**neuron_values("LIF", (n,)), **{k: np.full(n, v) for k, v in changes.items()}}
    return nir.LIF(**values)


def chain(*nodes: Any, n_in: Any = (2,)) -> Any:
    names = ["input", *(f"n{i}" for i in range(len(nodes))), "output"]
    edges = list(pairwise(names))
    return graph(dict(zip(names[1:-1], nodes, strict=True)), edges, n_in)


def test_each_node_follows_its_inputs_except_over_edges_that_close_a_cycle() -> None:
    for made in other_graphs().values():
        read_graph = read(made)
        place = {name: i for i, name in enumerate(read_graph.nodes)}
        inner = [(a, b) for a, b in read_graph.edges if a in place and b in place]
        for a, b in inner:
            assert (place[a] < place[b]) != ((a, b) in read_graph.delayed)
    long_loop = read(other_graphs()["long loop"])
    assert long_loop.delayed == {("c", "n")}
    assert "c -> n closes a cycle: it passes on the value of the step before" in long_loop.notes


def test_a_delay_in_a_cycle_takes_the_place_of_its_step() -> None:
    read_graph = read(other_graphs()["delayed loop"])
    assert read_graph.delayed == {("n", "d")}
    assert read_graph.nodes["d"].arrays["delay"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    # Outside of cycles, nothing is taken.
    assert read(other_graphs()["branches"]).nodes["d"].arrays["delay"].tolist() == [2] * 6


def test_a_graph_without_nodes_is_an_error() -> None:
    with pytest.raises(ValueError, match="got only Input and Output, expected a node between"):
        read(graph({}, [("input", "output")]))


def test_a_missing_shape_of_the_input_is_given() -> None:
    import nir

    conv = chain(nir.Conv1d(None, np.ones((1, 2, 3)), 1, 0, 1, 1, np.zeros(1)), n_in=None)
    assert read(conv, input_shape=(2, 5)).shape_out == (1, 3)
    with pytest.raises(
        ValueError, match=r"has the shape \[\], got input_shape \[\], expected the shape of a step"
    ):
        read(conv)
    with pytest.raises(ValueError, match=r"has the shape \[2\], got input_shape \[3\]"):
        read(chain(lif()), input_shape=(3,))


def refused() -> dict[str, tuple[Any, dict[str, Any]]]:
    """A part of the message, the graph, and options of the reader."""
    import nir

    linear = nir.Linear(np.ones((2, 2)))
    both = {"a": nir.Linear(np.ones((2, 2))), "b": nir.Linear(np.ones((2, 2)))}
    cycle = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    sums = {"a": nir.Linear(np.ones((3, 2))), "b": lif()}
    late = {"a": lif(), "d": nir.Delay(np.array([0.0, DT]))}
    back = [("input", "a"), ("a", "d"), ("d", "a"), ("a", "output")]
    del late["a"]
    late["a"] = nir.Linear(np.ones((2, 2)))
    flat = nir.Flatten({"input": np.array([2])}, 1, 2)
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([2, 2]))
    same = nir.Conv1d(5, np.ones((1, 2, 3)), 2, "same", 1, 1, np.zeros(1))
    wide = nir.Conv1d(2, np.ones((1, 2, 3)), 1, 0, 1, 1, np.zeros(1))
    euler = {"discretization": "euler", "dt": 0.1}
    return {
        "the cycle a -> b -> a: got values that are not defined": (graph(both, cycle), {}),
        "the cycle a -> d -> a: got values": (graph(late, back), {}),
        "node 'a': got no path from the input": (
            graph({"a": lif()}, [("input", "output"), ("a", "output")]),
            {},
        ),
        "'a': got no path from the input": (
            graph(both, [("input", "output"), ("a", "b"), ("b", "a"), ("a", "output")]),
            {},
        ),
        "node 'a': got no edge to another node": (
            graph({"a": lif()}, [("input", "a"), ("input", "output")]),
            {},
        ),
        "got an input of shape [3], expected an input that it takes": (
            chain(linear, n_in=(3,)),
            {},
        ),
        "got inputs of the shapes [2] and [3] that are added": (
            graph(
                sums,
                [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")],
            ),
            {},
        ),
        "got an input of shape [2], expected the shape of tau, [3]": (chain(lif(3)), {}),
        "got a delay of 0.0015 s, expected a whole number of steps of 0.001 s": (
            chain(nir.Delay(np.full(2, 1.5e-3))),
            {},
        ),
        "got a delay of -0.001 s": (chain(nir.Delay(np.full(2, -DT))), {}),
        "and from the step of 0.1 s on for Euler's method": (
            chain(lif()),
            euler,
        ),
        "got tau of -1 s, expected times above 0 s": (chain(lif(tau=-1)), {}),
        "expected an input that it takes (Dimension out of range": (chain(flat), {}),
        "expected an input that it takes (pad should be at most half": (
            chain(pool, n_in=(1, 4, 4)),
            {},
        ),
        "got an input of shape [2], expected 3 dimensions": (
            chain(nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))),
            {},
        ),
        "padding='same' is not supported for strided": (
            chain(same, n_in=(2, 5)),
            {},
        ),
        "Kernel size: (3). Kernel size can't be greater": (chain(wide, n_in=(2, 2)), {}),
        "got an input of shape [2], expected 2 dimensions": (chain(wide), {}),
        "dt must be a finite number above 0 [s], got nan": (chain(lif()), {"dt": np.nan}),
        "discretization must be one of": (chain(lif()), {"discretization": "Euler"}),
        "source must be one of": (chain(lif()), {"source": "lava"}),
        "need discretization='euler', got 'exact'": (chain(lif()), {"source": "norse"}),
        "allow='delayed-reset' needs source": (chain(lif()), {"allow": {"delayed-reset"}}),
        "the graph: got an edge into Input": (
            graph({"a": lif()}, [("input", "a"), ("a", "output"), ("a", "input")]),
            {},
        ),
    }


@pytest.mark.parametrize("number", range(24))
def test_a_graph_without_a_meaning_ends_in_one_line(number: int) -> None:
    cases = refused()
    assert len(cases) == 24
    match, (made, options) = list(cases.items())[number]
    with pytest.raises(ValueError, match="NIR: ") as error:
        read(made, **options)
    assert match in str(error.value)
    assert "\n" not in str(error.value)
