"""Nets of SpikingJelly 2.0.0, step by step: what its files mean, and what it makes of ours."""

from typing import Any

import pytest
import torch
from torch import nn

from interop.nir.graphs import assert_reads, run_steps, weight
from nwavesdk.interop.nir import from_nir, to_nir
from nwavesdk.layers import LIFLayer, LIFSynapse
from nwavesdk.net import SpikingSequential

pytest.importorskip("nir")
pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import functional, layer, neuron, nir_exchange

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

DT = 1e-3
OPTIONS: dict[str, Any] = {"dt": DT, "discretization": "euler"}


def linear(n_out: int, n_in: int, bias: bool = True) -> Any:
    module = layer.Linear(n_in, n_out, bias=bias)
    module.weight.data = torch.from_numpy(weight(n_out, n_in))
    return module


def exported(net: nn.Sequential) -> Any:
    graph = nir_exchange.export_to_nir(net, torch.zeros(1, 10), dt=DT)
    functional.reset_net(net)
    return graph


def test_its_files_are_read_as_what_it_computes() -> None:
    net = nn.Sequential(
        *(linear(20, 10), neuron.LIFNode(tau=5.0, v_threshold=0.2)),
        *(linear(6, 20, bias=False), neuron.LIFNode(tau=3.0, decay_input=False)),
        *(linear(5, 6), neuron.CUBALIFNode(c_decay=0.5, v_decay=0.7)),
        *(linear(5, 5), neuron.IFNode(v_threshold=0.5, v_reset=-0.1)),
    )
    graph = exported(net)
    x = 2 * torch.rand(4, 100, 10)
    expected = run_steps(net, x)
    assert_reads(graph, x, expected, **OPTIONS, source="spikingjelly")


def test_a_membrane_at_the_threshold_spikes() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), neuron.IFNode(v_threshold=0.5))
    net[0].weight.data.fill_(1.0)
    graph = nir_exchange.export_to_nir(net, torch.zeros(1, 1), dt=DT)
    functional.reset_net(net)
    x = torch.tensor([0.25, 0.25, 0.0, 0.5]).reshape(1, 4, 1)
    expected = run_steps(net, x)
    assert expected.flatten().tolist() == [0, 1, 0, 1]
    assert torch.equal(from_nir(graph, **OPTIONS, source="spikingjelly")(x)[0], expected)
    assert not from_nir(graph, **OPTIONS)(x)[0][0, 1].any()


@pytest.mark.parametrize("topology", ["FF", "RC"])
def test_it_reads_our_files(topology: str) -> None:
    zero = {"reset_mechanism": "zero"}
    net = SpikingSequential(
        *(LIFSynapse(10, 20, bias=True), LIFLayer(20, 20e-3, layer_topology=topology, **zero)),
        *(LIFSynapse(20, 5), LIFLayer(5, 10e-3, **zero)),
    )
    x = 0.5 * torch.rand(4, 100, 10)
    expected = net(x)[0]
    assert expected.sum() > 100
    graph = to_nir(net, discretization="euler")
    theirs = nir_exchange.import_from_nir(graph, dt=DT)
    assert torch.equal(run_steps(theirs, x, has_state=True), expected)
