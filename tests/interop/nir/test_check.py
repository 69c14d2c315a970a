"""`check` finds the first spike that differs, and says how near to the threshold it was."""

import numpy as np
import pytest
import torch

from interop.nir.graphs import DT, neuron_graph
from nwavesdk.interop.nir import Check, check, to_nir
from nwavesdk.interop.nir.check import random_input
from nwavesdk.interop.nir.load import prepare_graph
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer
from nwavesdk.net import SpikingSequential

pytestmark = pytest.mark.interop

OPTIONS = {"dt": DT, "discretization": "exact"}


def net(threshold: float = 1.0) -> SpikingSequential:
    made = SpikingSequential(
        LIFSynapse(1, 2),
        LIFLayer(2, 20e-3, [threshold, 10.0], "zero"),
        LIFSynapse(2, 1),
        LILayer(1),
    )
    with torch.no_grad():
        made[0].weight.fill_(0.3)
        made[2].weight.fill_(1.0)
    return made


def test_the_first_spike_that_differs_is_named() -> None:
    # Membranes of 0.3 per step: 0.3, 0.585, 0.857, 1.115.
    graph = to_nir(net(), discretization="exact")
    x = torch.ones(1, 6, 1)
    assert check(graph, **OPTIONS, net=net(), x=x).is_equal
    found = check(graph, **OPTIONS, net=net(0.85), x=x)
    assert not found.is_equal
    assert (found.step, found.node, found.neuron) == (2, "lif_1", 0)
    v = 0.3 * (1 + np.exp(-0.05) + np.exp(-0.1))
    assert found.margin == pytest.approx(1 - v)
    assert (found.spikes, found.values, found.seed) == (1, 12, None)
    assert "is in step 2, node lif_1, neuron 0, where the membrane is 0.14 from" in str(found)


def test_membranes_are_compared_too() -> None:
    graph = to_nir(net(), discretization="exact")
    other = net()
    other[3] = LILayer(1, tau=19e-3)
    found = check(graph, **OPTIONS, net=other, x=torch.ones(1, 6, 1))
    assert found.step is None
    assert found.error > 1e-3
    assert not found.is_equal
    assert "are equal, but membranes differ by" in str(found)


def test_values_that_are_not_finite_are_an_error() -> None:
    import nir

    values = {"tau": np.full(1, 0.02), "r": np.ones(1), "v_leak": np.zeros(1)}
    graph = nir.NIRGraph.from_list(nir.Linear(np.full((1, 2), 1e308)), nir.LI(**values))
    x = torch.full((1, 3, 2), 10.0)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="not finite in the reader"):
        check(graph, **OPTIONS, x=x)


def test_what_was_assumed_is_noted() -> None:
    graph = to_nir(net(), discretization="exact")
    x = torch.ones(1, 6, 1)
    assert check(graph, **OPTIONS, net=net(), x=x).notes == ()
    (note,) = check(graph, dt=2 * DT, discretization="exact", net=net(), x=x).notes
    assert "the graph was written with dt=0.001, and is read with 0.002" in note


def test_an_output_without_neurons_is_compared() -> None:
    made = SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 1e-2, reset_mechanism="zero"))
    made.append(torch.nn.Linear(4, 2))
    graph = to_nir(made, discretization="exact")
    assert check(graph, **OPTIONS, net=made).is_equal
    with torch.no_grad():
        made[2].bias += 0.01
    assert check(graph, **OPTIONS, net=made).error > 1e-3


def test_a_random_input_is_that_of_its_seed() -> None:
    graph = prepare_graph(neuron_graph("LIF"), DT, "exact")
    first, again, other = (random_input(graph, 3, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert set(np.unique(first[0])) <= {0.0, 1.0}
    assert check(neuron_graph("LIF"), **OPTIONS, seed=7).seed == 7


def test_the_net_of_another_graph_is_an_error() -> None:
    graph = to_nir(net(), discretization="exact")
    with pytest.raises(ValueError, match=r"node 'lif_1' is layer '1' of the net .* got a net with"):
        check(graph, **OPTIONS, net=net()[:1], x=torch.ones(1, 4, 1))


def test_a_net_with_time_first_gets_the_input_of_the_graph() -> None:
    made = net()
    made.time_first = True
    assert check(to_nir(made, discretization="exact"), **OPTIONS, net=made, steps=20).is_equal


def test_a_check_is_a_value_with_one_line() -> None:
    found = Check(spikes=1200, values=5000, nodes=("a", "b"))
    assert found.is_equal
    assert (
        str(found)
        == "1,200 spikes in 5,000 steps of neurons of 2 nodes are equal, membranes within 0"
    )


def test_the_net_keeps_its_dtype_and_its_mode() -> None:
    made = net().train()
    check(to_nir(made, discretization="exact"), **OPTIONS, net=made, x=torch.ones(1, 4, 1))
    assert made.training
    assert made[0].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"x": torch.ones(2, 5, 7)}, r"x has the shape \[2, 5, 7\], expected \[B, T, 1\] with"),
        ({"x": torch.ones(3)}, r"x has the shape \[3\], expected \[B, T, 1\]"),
        ({"x": torch.ones(2, 0, 1)}, "with at least one recording and step"),
        ({"x": torch.full((1, 4, 1), torch.nan)}, "x has values that are not finite"),
        ({"x": [[1.0]]}, "check: x takes a tensor, got"),
        ({"net": 5}, "check: net is 5, expected the torch module"),
    ],
)
def test_a_wrong_argument_is_one_line(options: dict[str, object], match: str) -> None:
    graph = to_nir(net(), discretization="exact")
    with pytest.raises((TypeError, ValueError), match=match) as caught:
        check(graph, **OPTIONS, **options)  # type: ignore[arg-type]  # that is the point
    assert "\n" not in str(caught.value)
