"""The reader in NumPy against tables that were computed by hand, and its images against torch."""

from typing import Any

import numpy as np
import pytest
import torch

from interop.nir.graphs import weight
from nwavesdk.interop.nir.load import prepare_graph
from nwavesdk.interop.nir.replay import replay

pytestmark = pytest.mark.interop

HALF = 1 / np.log(2)
"""The time constant [steps] whose exact decay is 1/2; by Euler's method it is 2."""


def run(graph: Any, x: Any, dt: float = 1.0, discretization: str = "euler") -> np.ndarray:
    prepared = prepare_graph(graph, dt, discretization)
    return replay(prepared, np.asarray(x, np.float64)).output


def run_neuron(kind: str, x: list[float], dt: float = 1.0, **values: float) -> tuple[Any, Any]:
    """The output of one neuron by both methods, with decays of 1/2."""
    import nir

    outputs = []
    for discretization in ("exact", "euler"):
        arrays = {name: np.array([value]) for name, value in values.items()}
        for name in ("tau", "tau_mem", "tau_syn"):
            if name in values:
                arrays[name] = np.array([HALF if discretization == "exact" else 2.0])
        graph = nir.NIRGraph.from_list(getattr(nir, kind)(**arrays))
        outputs.append(run(graph, np.reshape(x, (1, -1, 1)), dt, discretization).flatten())
    return outputs[0], outputs[1]


LEAKY = {"tau": 2.0, "r": 1.0, "v_leak": 0.0}
CURRENT = {"tau_mem": 2.0, "tau_syn": 2.0, "r": 2.0, "w_in": 2.0, "v_leak": 0.0}


@pytest.mark.parametrize(
    ("kind", "values", "x", "dt", "expected"),
    [
        # v: 0.75, 1.125 -> 0.25, 0.875, 1.1875 -> 0.25
        ("LIF", {**LEAKY, "v_threshold": 1, "v_reset": 0.25}, [1.5] * 4, 1, [0, 1, 0, 1]),
        # Begins at v_leak = 0.5 and falls to 0.25, 0.125: never above 0.6.
        ("LIF", {**LEAKY, "v_leak": 0.5, "v_threshold": 0.6, "v_reset": 0}, [-0.5] * 3, 1, [0] * 3),
        # v: 0.5, at the threshold: no spike. Then 0.75.
        ("LIF", {**LEAKY, "v_threshold": 0.5, "v_reset": 0}, [1, 1], 1, [0, 1]),
        ("LI", {**LEAKY, "r": 3.0}, [1, 0, 1], 1, [1.5, 0.75, 1.875]),
        # Begins at v_leak = 1: halfway to 1 + 2.
        ("LI", {**LEAKY, "v_leak": 1.0}, [2, 0], 1, [2, 1.5]),
        # dt · r = 1; begins at v_reset = 0.5: 1.25, 2 -> spike -> 0.5, 1.25
        ("IF", {"r": 2, "v_threshold": 1.75, "v_reset": 0.5}, [0.75] * 3, 0.5, [0, 1, 0]),
        ("I", {"r": 2}, [1, 0.5, -2], 0.5, [1, 1.5, -0.5]),
        # i: 1, 0.5, 0.25; v = v/2 + i: 1, 1, 0.75
        ("CubaLI", CURRENT, [1, 0, 0], 1, [1, 1, 0.75]),
        # i: 1, 0.5, 1.25; v: 1 -> spike -> -1; -0.5 + 0.5 = 0; 1.25 -> spike
        ("CubaLIF", {**CURRENT, "v_threshold": 0.9, "v_reset": -1}, [1, 0, 1], 1, [1, 0, 1]),
        ("Threshold", {"threshold": 0.5}, [0.5, 0.6, -1], 1, [0, 1, 0]),
        ("Delay", {"delay": 1.0}, [1, 2, 3], 0.5, [0, 0, 1]),
        ("Scale", {"scale": -2.0}, [1, 2, 3], 1, [-2, -4, -6]),
    ],
)
def test_a_node_gives_what_its_equation_says(
    kind: str, values: dict[str, float], x: list[float], dt: float, expected: list[float]
) -> None:
    if dt != 1:
        assert "tau" not in values  # whose decay is 1/2 for steps of 1 s only
    exact, euler = run_neuron(kind, x, dt, **values)
    np.testing.assert_allclose(exact, expected, atol=1e-15)
    np.testing.assert_allclose(euler, expected, atol=1e-15)


def loop(extra: dict[str, Any], edges: list[tuple[str, str]]) -> Any:
    """An integrator with r = 1 and connections back to it."""
    import nir

    one = np.ones(1)
    nodes = {"input": nir.Input(one.astype(int)), "n": nir.I(one), **extra}
    nodes["output"] = nir.Output(one.astype(int))
    return nir.NIRGraph(nodes, [("input", "n"), *edges, ("n", "output")])


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        # v[t] = v[t-1] + x[t] - v[t-d]: a cycle without a Delay takes one step.
        (None, [1, 0, 0, 0, 0]),
        (1.0, [1, 0, 0, 0, 0]),
        (2.0, [1, 1, 0, -1, -1]),
    ],
)
def test_a_cycle_takes_its_delays_or_one_step(delay: float | None, expected: list[float]) -> None:
    import nir

    extra: dict[str, Any] = {"w": nir.Linear(-np.ones((1, 1)))}
    edges = [("n", "w"), ("w", "n")]
    if delay is not None:
        extra["d"] = nir.Delay(np.full(1, delay))
        edges = [("n", "d"), ("d", "w"), ("w", "n")]
    x = np.array([1.0, 0, 0, 0, 0]).reshape(1, 5, 1)
    np.testing.assert_array_equal(run(loop(extra, edges), x).flatten(), expected)


def test_a_bias_in_a_cycle_acts_from_the_second_step_on() -> None:
    import nir

    affine = nir.Affine(np.zeros((1, 1)), np.ones(1))
    graph = loop({"w": affine}, [("n", "w"), ("w", "n")])
    assert run(graph, np.zeros((1, 3, 1))).flatten().tolist() == [0, 1, 2]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 2), (1, "same", 2)])
@pytest.mark.parametrize("axes", [1, 2])
def test_convolutions_are_those_of_torch(
    axes: int, stride: int, padding: Any, dilation: int, groups: int
) -> None:
    import nir

    kernel = weight(4, 4 // groups, *[3] * axes)
    bias = weight(4, 1)[:, 0]
    sizes = (9, 7)[:axes]
    kind = nir.Conv1d if axes == 1 else nir.Conv2d
    node = kind(sizes[0] if axes == 1 else sizes, kernel, stride, padding, dilation, groups, bias)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, *sizes))
    function = torch.nn.functional.conv1d if axes == 1 else torch.nn.functional.conv2d
    arrays = (torch.from_numpy(a).double() for a in (x.reshape(6, 4, *sizes), kernel, bias))
    expected = function(*arrays, stride, padding, dilation, groups).numpy()
    # nir 1.0.8 derives a wrong shape of the input for groups.
    nodes = {"input": nir.Input(np.array([4, *sizes])), "c": node, "output": nir.Output(None)}
    graph = nir.NIRGraph(nodes, [("input", "c"), ("c", "output")], type_check=False)
    got = run(graph, x)
    np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=1e-12)


@pytest.mark.parametrize(("kind", "divisor"), [("SumPool2d", 1), ("AvgPool2d", None)])
def test_pools_are_those_of_torch(kind: str, divisor: int | None) -> None:
    import nir

    node = getattr(nir, kind)(np.array([3, 2]), np.array([2, 1]), np.array([1, 0]))
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 7, 5))
    pool = torch.nn.AvgPool2d((3, 2), (2, 1), (1, 0), divisor_override=divisor)
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([3, 7, 5])),
            "p": node,
            "output": nir.Output(np.array([3, 4, 4])),
        },
        [("input", "p"), ("p", "output")],
        type_check=False,
    )
    expected = pool(torch.from_numpy(x[0])).numpy()
    np.testing.assert_allclose(run(graph, x)[0], expected, atol=1e-12)


def test_several_edges_add_up() -> None:
    import nir

    one = np.ones(2, int)
    nodes = {
        "input": nir.Input(np.array([2])),
        "a": nir.Scale(np.array([1.0, 2])),
        "b": nir.Scale(np.array([10.0, 20])),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output"), ("input", "output")]
    x = one.reshape(1, 1, 2)
    assert run(nir.NIRGraph(nodes, edges), x).flatten().tolist() == [12, 23]


def test_an_input_of_another_shape_is_an_error() -> None:
    import nir

    graph = nir.NIRGraph.from_list(nir.Scale(np.ones(2)))
    with pytest.raises(ValueError, match=r"shape \[1, 4, 3\], expected \[B, T, 2\]"):
        run(graph, np.zeros((1, 4, 3)))
