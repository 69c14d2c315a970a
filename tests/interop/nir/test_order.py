"""The order of nodes, their shapes, and graphs that have none."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from interop.nir.graphs import DT, neuron_values, other_graphs
from nwavesdk.interop.nir.order import ordered
from nwavesdk.interop.nir.prepare import prepare_graph

pytestmark = pytest.mark.interop


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
    with pytest.raises(ValueError, match="has only Input and Output, expected a node between"):
        read(graph({}, [("input", "output")]))


def test_a_missing_shape_of_the_input_is_that_of_the_first_node_or_given() -> None:
    import nir

    made = chain(nir.Linear(np.ones((3, 4))), n_in=None)
    assert read(made).shape_in == (4,)
    assert "the graph has no shape of its input: read as [4]" in read(made).notes
    conv = chain(nir.Conv1d(None, np.ones((1, 2, 3)), 1, 0, 1, 1, np.zeros(1)), n_in=None)
    assert read(conv, input_shape=(2, 5)).shape_out == (1, 3)
    with pytest.raises(ValueError, match="no shape of its input: give input_shape"):
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
        "the cycle a -> b -> a has neither a neuron nor a delay": (graph(both, cycle), {}),
        "the cycle a -> d -> a has neither": (graph(late, back), {}),
        "node 'a' has no input": (graph({"a": lif()}, [("input", "output"), ("a", "output")]), {}),
        "node 'a' leads nowhere": (graph({"a": lif()}, [("input", "a"), ("input", "output")]), {}),
        "gets an input of shape [3], expected [2]": (chain(linear, n_in=(3,)), {}),
        "adds up inputs of the shapes [2] and [3]": (
            graph(
                sums,
                [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")],
            ),
            {},
        ),
        "tau has the shape [3], and its input [2]": (chain(lif(3)), {}),
        "a delay of 0.0015 s is not a whole number of steps of 0.001 s": (
            chain(nir.Delay(np.full(2, 1.5e-3))),
            {},
        ),
        "a delay of -0.001 s is not": (chain(nir.Delay(np.full(2, -DT))), {}),
        "is shorter than the step of 0.1 s, for which Euler's method is unstable": (
            chain(lif()),
            euler,
        ),
        "tau must be above 0 s, got -1": (chain(lif(tau=-1)), {}),
        "expected dimensions for start_dim 1 and end_dim 2": (chain(flat), {}),
        "padding [2, 2] is more than half of the kernel": (chain(pool, n_in=(1, 4, 4)), {}),
        "expected channels, height and width": (chain(pool), {}),
        "padding 'same' has no meaning with the stride [2]": (chain(same, n_in=(2, 5)), {}),
        "expected at least the size of the kernel [3]": (chain(wide, n_in=(2, 2)), {}),
        "expected 2 channels and 1 further dimensions": (chain(wide), {}),
        "dt must be a finite number above 0 [s], got nan": (chain(lif()), {"dt": np.nan}),
        "discretization must be one of": (chain(lif()), {"discretization": "Euler"}),
        "source must be one of": (chain(lif()), {"source": "lava"}),
        "are those of discretization='euler', got 'exact'": (chain(lif()), {"source": "norse"}),
        "'delayed-reset' has no effect without": (chain(lif()), {"allow": {"delayed-reset"}}),
        "allow='soft-reset' has no effect with source='spikingjelly'": (
            chain(lif()),
            {"source": "spikingjelly", "allow": {"soft-reset"}, "discretization": "euler"},
        ),
    }


@pytest.mark.parametrize("number", range(23))
def test_a_graph_without_a_meaning_ends_in_one_line(number: int) -> None:
    cases = refused()
    assert len(cases) == 23
    match, (made, options) = list(cases.items())[number]
    with pytest.raises(ValueError, match="NIR: ") as error:
        read(made, **options)
    assert match in str(error.value)
    assert "\n" not in str(error.value)


def test_a_node_that_only_a_cycle_reaches_is_refused() -> None:
    import nir

    nodes = {"a": lif(), "b": nir.Linear(np.ones((2, 2)))}
    edges = [("input", "output"), ("a", "b"), ("b", "a"), ("a", "output")]
    with pytest.raises(ValueError, match="node 'a' is not reached from the input"):
        read(graph(nodes, edges))
    assert callable(ordered)
