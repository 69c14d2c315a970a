"""Nets of snnTorch 1.0.0, step by step: what its files mean, and what it makes of ours."""

import contextlib
import io
from typing import Any

import pytest
import torch
from torch import nn

from interop.nir.graphs import assert_reads, run_steps, weight
from nwavesdk.interop.nir import from_nir, import_graph, to_nir
from nwavesdk.layers import LIFLayer, LIFSynapse
from nwavesdk.net import SpikingSequential

snntorch = pytest.importorskip("snntorch")
pytest.importorskip("nir")

from snntorch.export_nir import export_to_nir  # noqa: E402  # after the check that it is there
from snntorch.import_nir import import_from_nir  # noqa: E402

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

OPTIONS: dict[str, Any] = {"dt": 1e-3, "discretization": "euler", "source": "snntorch"}
# Membranes stay below two thresholds: above, snnTorch loses a reset without delay.
DRIVE = {"Leaky": 0.15, "RLeaky": 0.1, "Synaptic": 0.06}
SOFT, DEFAULT = {"soft-reset"}, {"soft-reset", "delayed-reset"}


def peer(kind: str, reset: str, delay: bool, n: int = 20) -> nn.Sequential:
    linear = nn.Linear(10, n)
    linear.weight.data = torch.from_numpy(weight(n, 10))
    common = {"init_hidden": True, "reset_mechanism": reset, "reset_delay": delay}
    common |= {"beta": torch.linspace(0.5, 0.95, n), "threshold": torch.ones(n)}
    if kind in ("Synaptic", "RSynaptic"):
        common["alpha"] = torch.linspace(0.3, 0.8, n)
    if kind.startswith("R"):
        common["linear_features"] = n
    return nn.Sequential(linear, getattr(snntorch, kind)(**common))


def exported(net: nn.Sequential, **options: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        graph = export_to_nir(net, torch.zeros(1, 10), **{"ignore_dims": [0], **options})
    net[1].reset_mem()
    return graph


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky"])
@pytest.mark.parametrize(
    ("reset", "delay", "allow"),
    [("zero", False, ()), ("subtract", False, SOFT), ("subtract", True, DEFAULT)],
)
def test_its_files_are_read_as_what_it_computes(
    kind: str, reset: str, delay: bool, allow: Any
) -> None:
    net = peer(kind, reset, delay)
    graph = exported(net)
    x = DRIVE[kind] * torch.rand(3, 300, 10)
    expected = run_steps(net, x)
    assert_reads(graph, x, expected, **OPTIONS, allow=allow)


def test_a_delayed_reset_to_zero_is_the_same_neuron_without_recurrence() -> None:
    net = peer("Leaky", "zero", True)
    graph = exported(net)
    x = torch.rand(3, 100, 10)
    assert torch.equal(from_nir(graph, **OPTIONS)(x)[0], run_steps(net, x))


@pytest.mark.parametrize("kind", ["Synaptic", "RLeaky"])
def test_fault_of_1_0_0_a_delayed_reset_to_zero_loses_the_next_input(kind: str) -> None:
    """Its files do not say so, and no option reads it."""
    net = peer(kind, "zero", True)
    graph = exported(net)
    x = torch.rand(3, 100, 10)
    assert not torch.equal(from_nir(graph, **OPTIONS)(x)[0], run_steps(net, x))


def test_fault_of_1_0_0_every_reset_is_written_as_zero() -> None:
    graphs = [exported(peer("Leaky", reset, True)) for reset in ("subtract", "zero")]
    assert all(not graph.nodes["1"].v_reset.any() for graph in graphs)
    notes = import_graph(graphs[0], **OPTIONS).notes
    assert any("snnTorch writes a reset to zero for each of its resets" in note for note in notes)


def test_fault_of_1_0_0_the_step_is_always_a_tenth_of_a_millisecond() -> None:
    graph = exported(peer("Leaky", "zero", False))
    torch.testing.assert_close(
        torch.as_tensor(graph.nodes["1"].tau), 1e-4 / (1 - torch.linspace(0.5, 0.95, 20))
    )
    with pytest.raises(ValueError, match="from the step of 0.001 s on for Euler's"):
        from_nir(graph, dt=1e-3, discretization="euler")


def test_fault_of_1_0_0_one_decay_for_all_neurons_has_no_shape() -> None:
    net = nn.Sequential(nn.Linear(10, 5), snntorch.Leaky(beta=0.9, init_hidden=True))
    with pytest.raises(ValueError, match="Type inference error: type mismatch"):
        exported(net)


def test_fault_of_1_0_0_the_batch_is_a_dimension_of_the_input() -> None:
    with pytest.raises(ValueError, match="Type inference error: type mismatch"):
        exported(peer("Leaky", "zero", False), ignore_dims=[])


def ours(topology: str = "FF") -> SpikingSequential:
    layer = LIFLayer(20, 2e-3, dt=1e-4, reset_mechanism="zero", layer_topology=topology)
    return SpikingSequential(
        *(LIFSynapse(10, 20, bias=True), layer, LIFSynapse(20, 5)),
        LIFLayer(5, 1e-3, dt=1e-4, reset_mechanism="zero"),
    )


def run_imported(graph: Any, x: torch.Tensor) -> torch.Tensor:
    with contextlib.redirect_stdout(io.StringIO()):
        return run_steps(import_from_nir(graph), x, has_state=True)


def test_it_reads_our_files_for_its_step() -> None:
    net, x = ours(), 0.5 * torch.rand(4, 100, 10)
    expected = net(x)[0]
    assert expected.sum() > 100
    assert torch.equal(run_imported(to_nir(net, discretization="euler"), x), expected)


def test_fault_of_1_0_0_the_input_of_recurrent_neurons_goes_to_the_recurrent_weights() -> None:
    net, x = ours("RC"), 0.5 * torch.rand(4, 100, 10)
    got = run_imported(to_nir(net, discretization="euler"), x)
    assert not torch.equal(got, net(x)[0])


def test_fault_of_1_0_0_an_if_node_leaks() -> None:
    import nir
    import numpy as np

    graph = nir.NIRGraph.from_list(nir.IF(r=np.ones(1), v_threshold=np.full(1, 10.0)))
    with contextlib.redirect_stdout(io.StringIO()):
        net = import_from_nir(graph)
    (layer,) = (m for m in net.modules() if isinstance(m, snntorch.Leaky))
    assert float(layer.beta) == pytest.approx(0.9)
