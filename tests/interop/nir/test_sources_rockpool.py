"""Nets of Rockpool 3.1.0, step by step: what its files mean, and what it makes of ours."""

import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from interop.nir.graphs import assert_reads, weight
from nwavesdk.interop.nir import from_nir, to_nir
from nwavesdk.layers import CubaLIFLayer, LIFSynapse
from nwavesdk.net import SpikingSequential

pytest.importorskip("nir")
if find_spec("rockpool") is None:
    pytest.skip("rockpool is not installed", allow_module_level=True)

# Rockpool imports samna, which begins an installation by itself.
sys.modules.setdefault("samna", None)  # type: ignore[arg-type]  # "it cannot be imported"

from rockpool.nn.combinators import Sequential  # noqa: E402
from rockpool.nn.modules.torch import LIFNeuronTorch, LIFTorch, LinearTorch  # noqa: E402
from rockpool.nn.modules.torch import nir as rockpool_nir  # noqa: E402

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

DT = 1e-3
OPTIONS: dict[str, Any] = {"dt": DT, "discretization": "exact", "source": "rockpool"}
SOFT = {"soft-reset"}


def peer(**options: Any) -> Any:
    def full(n: int, value: float) -> torch.Tensor:
        return torch.full((n,), value)

    common = {"dt": DT, "max_spikes_per_dt": 1, **options}
    first = LIFTorch(
        20, tau_mem=full(20, 0.02), tau_syn=full(20, 0.005), threshold=full(20, 2.0), **common
    )
    second = LIFNeuronTorch(5, tau_mem=full(5, 0.03), threshold=full(5, 0.5), **common)
    return Sequential(
        LinearTorch((10, 20), weight=torch.from_numpy(weight(20, 10).T.copy())),
        first,
        LinearTorch((20, 5), weight=torch.from_numpy(weight(5, 20).T.copy()), has_bias=True),
        second,
    )


def exported(net: Any) -> Any:
    graph = rockpool_nir.to_nir(net)
    net.reset_state()
    return graph


def test_its_files_are_read_as_what_it_computes() -> None:
    net, x = peer(), torch.rand(4, 100, 10)
    graph = exported(net)
    expected, _, _ = net(x)
    assert_reads(graph, x, expected, **OPTIONS, allow=SOFT)


def test_fault_of_3_1_0_its_resistance_is_not_that_of_nir_and_reveals_dt() -> None:
    graph = exported(peer())
    with pytest.raises(ValueError, match=r"which Rockpool writes for a dt of 0\.002 s: pass the"):
        from_nir(graph, **{**OPTIONS, "dt": 2e-3}, allow=SOFT)
    with pytest.raises(ValueError, match="a neuron that subtracts its threshold in Rockpool"):
        from_nir(graph, **OPTIONS)


def test_fault_of_3_1_0_it_reads_another_step_from_our_resistance() -> None:
    net = SpikingSequential(LIFSynapse(10, 20), CubaLIFLayer(20, tau=0.02, tau_syn=0.005))
    theirs = rockpool_nir.from_nir(to_nir(net, discretization="exact", allow=SOFT))
    steps = [m.dt for m in theirs.modules() if isinstance(m, LIFTorch)]
    assert float(steps[0]) == pytest.approx(0.02 / (1 + 1 / (1 - 0.95122942)), rel=1e-5)
