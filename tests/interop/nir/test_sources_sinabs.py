"""Nets of sinabs 3.1.3, step by step: what its files mean, and what it makes of ours."""

from typing import Any

import pytest
import torch
from torch import nn

from interop.nir.graphs import assert_reads, weight
from nwavesdk.interop.nir import from_nir, to_nir
from nwavesdk.layers import LIFLayer, LIFSynapse
from nwavesdk.net import SpikingSequential

pytest.importorskip("nir")
sinabs = pytest.importorskip("sinabs")

import sinabs.layers as sl  # noqa: E402  # after the check that it is there
import sinabs.nir as sinabs_nir  # noqa: E402
from sinabs.activation import SingleSpike  # noqa: E402

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

OPTIONS: dict[str, Any] = {"dt": 1e-3, "discretization": "exact", "source": "sinabs"}
SOFT = {"soft-reset"}
B, T = 4, 100


def peer(norm_input: bool = True) -> nn.Sequential:
    first, second = nn.Linear(10, 20), nn.Linear(20, 5)
    first.weight.data = torch.from_numpy(weight(20, 10))
    second.weight.data = torch.from_numpy(weight(5, 20))
    lif = sl.LIFSqueeze(
        tau_mem=20.0,
        batch_size=B,
        spike_fn=SingleSpike,
        norm_input=norm_input,
        spike_threshold=torch.tensor(0.2),
    )
    return nn.Sequential(first, lif, second, sl.IAFSqueeze(batch_size=B, spike_fn=SingleSpike))


def exported(net: nn.Sequential, x: torch.Tensor) -> Any:
    graph = sinabs_nir.to_nir(net, x.reshape(B * T, 10))
    sinabs.reset_states(net)
    return graph


@torch.no_grad()
def run(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = net(x.reshape(B * T, 10))
    y = y[0] if isinstance(y, tuple) else y
    return y.reshape(B, T, -1)


def test_its_files_are_read_as_what_it_computes() -> None:
    net, x = peer(), 2 * torch.rand(B, T, 10)
    graph = exported(net, x)
    expected = run(net, x)
    assert_reads(graph, x, expected, **OPTIONS, allow=SOFT)


def test_fault_of_3_1_3_subtraction_is_written_as_a_reset_to_zero() -> None:
    graph = exported(peer(), torch.rand(B, T, 10))
    assert not graph.nodes["1"].v_reset.any()
    with pytest.raises(ValueError, match=r"a neuron that subtracts its threshold in sinabs"):
        from_nir(graph, **OPTIONS)


def test_fault_of_3_1_3_the_scale_of_inputs_is_not_in_the_file() -> None:
    net, x = peer(norm_input=False), 0.2 * torch.rand(B, T, 10)
    graph = exported(net, x)
    assert float(graph.nodes["1"].r) == 1
    assert not torch.equal(from_nir(graph, **OPTIONS, allow=SOFT)(x)[0], run(net, x))


def test_a_membrane_at_the_threshold_spikes() -> None:
    layer = sl.IAFSqueeze(batch_size=1, spike_fn=SingleSpike, spike_threshold=torch.tensor(0.5))
    x = torch.tensor([0.25, 0.25, 0.0, 0.5]).reshape(4, 1)
    expected = layer(x)
    assert expected.flatten().tolist() == [0, 1, 0, 1]
    graph = sinabs_nir.to_nir(nn.Sequential(layer), x)
    ours = from_nir(graph, **OPTIONS, allow=SOFT)
    assert torch.equal(ours(x[None])[0][0], expected)


def test_it_reads_our_files_for_steps_of_one_second_and_subtraction() -> None:
    """Its time constants are in steps, its reset subtracts, and it ignores r of LIF."""
    net = SpikingSequential(
        *(LIFSynapse(10, 20, bias=True), LIFLayer(20, 20.0, dt=1.0)),
        *(LIFSynapse(20, 5, bias=True), LIFLayer(5, 10.0, dt=1.0)),
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.from_numpy(weight(20, 10)).T / 4)
        net[2].weight.copy_(torch.from_numpy(weight(5, 20)).T / 4)
        net[0].bias.fill_(0.05)
    x = torch.rand(B, T, 10)
    expected = net(x)[0]
    assert expected.sum() > 20
    graph = to_nir(net, discretization="exact", allow=SOFT)
    assert torch.equal(run(sinabs_nir.from_nir(graph, batch_size=B), x), expected)
