"""Nets of Norse 1.1.0, step by step: what its files mean, and what it makes of ours."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from interop.nir.graphs import assert_reads, run_steps, weight
from nwavesdk.interop.nir import from_nir, to_nir
from nwavesdk.layers import LIFLayer, LIFSynapse
from nwavesdk.net import SpikingSequential

pytest.importorskip("nir")
norse = pytest.importorskip("norse.torch")

from norse.torch.utils import export_nir as norse_export  # noqa: E402  # after the check
from norse.torch.utils import import_nir as norse_import  # noqa: E402

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

DT = 1e-3
OPTIONS: dict[str, Any] = {"dt": DT, "discretization": "euler"}


def peer() -> Any:
    def linear(n_out: int, n_in: int) -> nn.Linear:
        layer = nn.Linear(n_in, n_out)
        layer.weight.data = torch.from_numpy(weight(n_out, n_in))
        return layer

    tensor = torch.tensor
    box = norse.LIFBoxParameters(tau_mem_inv=tensor(50.0), v_th=tensor(0.3))
    current = norse.LIFParameters(
        tau_mem_inv=tensor(80.0), tau_syn_inv=tensor(120.0), v_th=tensor(0.2)
    )
    return norse.SequentialState(
        *(linear(20, 10), norse.LIFBoxCell(box), linear(8, 20), norse.LIFCell(current)),
        *(linear(5, 8), norse.IAFCell(norse.IAFParameters())),
    )


def test_its_files_are_read_as_what_it_computes() -> None:
    net, x = peer(), 3 * torch.rand(4, 100, 10)
    graph = norse_export.to_nir(net, torch.zeros(1, 10), dt=DT)
    expected = run_steps(net, x, has_state=True)
    assert_reads(graph, x, expected, **OPTIONS, source="norse")


def test_fault_of_1_1_0_time_constants_are_written_times_dt_and_the_batch_as_a_dimension() -> None:
    graph = norse_export.to_nir(peer(), torch.zeros(1, 10), dt=DT)
    assert float(graph.nodes["1"].tau) == pytest.approx(DT / 50)
    assert list(graph.nodes["input"].input_type["input"]) == [1, 10]
    with pytest.raises(ValueError, match=r"got an input of shape \[1, 10\], expected \[10\]"):
        from_nir(graph, dt=1e-6, discretization="euler")


def graph_of(r: float) -> Any:
    import nir

    zeros = np.zeros(5, np.float32)
    lif = nir.LIF(np.full(20, 0.02), np.full(20, r), np.zeros(20), np.full(20, 0.3))
    values = {"tau_mem": 0.02, "tau_syn": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1}
    cuba = nir.CubaLIF(**{name: np.full(5, value) for name, value in values.items()})
    first = nir.Affine(2 * weight(20, 10), np.zeros(20, np.float32))
    return nir.NIRGraph.from_list(first, lif, nir.Affine(2 * weight(5, 20), zeros), cuba)


def test_it_reads_our_files_if_all_resistances_are_1() -> None:
    net = from_nir(graph_of(1.0), **OPTIONS)
    x = 2 * torch.rand(4, 100, 10)
    expected = net(x)[0]
    assert expected.sum() > 100
    theirs = norse_import.from_nir(to_nir(net, discretization="euler"), dt=DT)
    assert torch.equal(run_steps(theirs, x, has_state=True), expected)


def test_fault_of_1_1_0_the_resistance_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    net = SpikingSequential(
        LIFSynapse(10, 20, bias=True), LIFLayer(20, 20e-3, reset_mechanism="zero")
    )
    theirs = norse_import.from_nir(to_nir(net, discretization="euler"), dt=DT)
    assert "The parameter r is expected to be set to 1" in caplog.text
    x = torch.rand(4, 100, 10)
    assert net(x)[0].sum() > 100
    assert run_steps(theirs, x, has_state=True).sum() < net(x)[0].sum() / 2
