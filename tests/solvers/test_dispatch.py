"""The entry to all solvers: which one runs, and what it rejects."""

from dataclasses import replace

import pytest
import torch

from contract import NEURONS
from layers.nets import run
from nwavesdk.dynamics import H1_PAGES, LIF_PAGES
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.solvers import choose_solver, has_serial_kernel, solve
from solvers.parity import problem


def test_few_neurons_with_many_steps_are_cut_into_chunks():
    lif_zero = LIF_PAGES["zero"].neuron
    assert choose_solver("cuda", H1_PAGES[1].neuron, 1, 100_000, 0.9) == "compasso"
    assert choose_solver("cuda", lif_zero, 1 << 20, 1000, 0.9) == "serial"
    assert choose_solver("cuda", lif_zero, 64, 100, 0.9) == "serial"
    assert choose_solver("cpu", lif_zero, 64 * 512, 1000, 0.9) == "serial"


@pytest.mark.parametrize("name", NEURONS)
def test_what_is_chosen_runs(name):
    """Few neurons with many steps, for which comPaSSo would be chosen if it were possible."""
    p = problem(name, "atan", True, torch.float32, 2, 3)
    solver = choose_solver("cuda", p.spec.neuron, 1, 100_000, 0.9)
    assert solver == ("serial" if p.spec.neuron.carry is None else "compasso")
    assert torch.equal(solve(p, solver).spikes, solve(p, "reference").spikes)


@pytest.mark.parametrize("solver", ["auto", "serial", "compasso"])
def test_the_solver_can_be_read_and_forced(solver):
    layer = LIFLayer(3, 10e-3, device="gpu", solver=solver)
    assert layer.last_solver is None
    run(layer, torch.rand(2, 900, 3))
    assert layer.last_solver == (
        choose_solver("cpu", layer.neuron, 6, 900, layer._slowest_decay)
        if solver == "auto"
        else solver
    )


def test_a_streamed_sequence_is_the_whole_one():
    layer, x = LIFLayer(4, 10e-3, solver="compasso"), 2 * torch.rand(2, 2000, 4)
    whole, _ = run(layer, x)
    prepare_net(layer)
    assert torch.equal(torch.cat([layer(part)[0] for part in x.split(700, 1)], 1), whole)


def test_an_unsupported_device_is_named_with_the_remedy():
    p = problem("h1v1", "atan", True, torch.float32, 2, 3)
    p = replace(p, x=p.x.to("meta"), states=tuple(v.to("meta") for v in p.states))
    assert has_serial_kernel(torch.empty(1, 1, 1), recurrent=True)
    assert not has_serial_kernel(p.x, recurrent=False)
    words = r'serial.*CPU tensors.*triton.*meta tensors: use solver="reference"'
    with pytest.raises(RuntimeError, match=words):
        solve(p, "serial")


def test_compasso_names_what_it_does_not_run():
    p = problem("adaptive", "atan", True, torch.float32, 2, 3)
    with pytest.raises(RuntimeError, match=r'does not run the neuron adaptive: use device="cpu"'):
        solve(p, "compasso")
    p = problem("h1v1", "atan", True, torch.float32, 2, 3)
    p = replace(p, recurrent=torch.zeros(3, 3), spikes=torch.zeros(3, 3))
    with pytest.raises(RuntimeError, match=r'does not run recurrent layers: use device="cpu"'):
        solve(p, "compasso")
