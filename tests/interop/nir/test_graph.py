"""From `nir` to a flat graph: nested graphs, and nodes and edges that are wrong."""

from typing import Any

import numpy as np
import pytest
import torch

from interop.nir.graphs import neuron_values, other_graphs
from nwavesdk.interop.nir.graph import raw_graph
from nwavesdk.interop.nir.prepare import prepare_graph

pytestmark = pytest.mark.interop


def test_nested_graphs_unfold() -> None:
    raw = raw_graph(other_graphs()["nested"])
    assert set(raw.nodes) == {"a", "inner.n", "inner.w", "b", "n"}
    assert set(raw.edges) == {
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
    read = raw_graph(nir.NIRGraph.from_list(node)).nodes["linear"]
    assert read.arrays["weight"].tolist() == [[1.0] * 3] * 2
    assert read.rounding == torch.finfo(torch.float32).eps


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
        "'n' (LIF): tau has values that are not finite": graph(
            nir.LIF(**{**values, "tau": np.array([1.0, np.nan])})
        ),
        "'n' (Scale): scale is": graph(text),
        "the edge 'input' -> 'n' is there twice": graph(lif, edges=twice),
        "the edge 'n' -> 'nowhere' names 'nowhere', which is not a node": graph(lif, edges=lost),
        "the graph has 2 nodes Output, expected one": graph(lif, nodes=ends),
        "its metadata have nwavesdk_reset 'half'": graph(odd),
        "stride is 1.5, expected whole numbers of at least 1": graph(stride),
        "node 'n' is of type Identity, which is not read": graph(
            nir.ir.graph.Identity({"input": np.array([2])})
        ),
    }


@pytest.mark.parametrize("number", range(8))
def test_a_wrong_graph_ends_in_one_line(number: int) -> None:
    cases = wrong()
    assert len(cases) == 8
    match, graph = list(cases.items())[number]
    with pytest.raises(ValueError, match="NIR: ") as error:
        prepare_graph(graph, 1e-3, "exact")
    assert match in str(error.value)
    assert "\n" not in str(error.value)


def test_something_else_than_a_graph_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"got 3, expected a nir\.NIRGraph or the path of its file"):
        prepare_graph(3, 1e-3, "exact")
