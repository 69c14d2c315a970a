"""The serial solver returns the spikes, states and gradients of the reference."""

from dataclasses import replace

import pytest
import torch

from contract import NEURONS
from nwavesdk.solvers import serial, solve
from nwavesdk.solvers.problem import ResultGradient
from nwavesdk.solvers.reference import backward_reference
from solvers.parity import (
    CASE_IDS,
    CASES,
    case_of,
    compare,
    problem,
    tensors_of,
)
from tolerances import GRADIENT, assert_all_close, assert_close

# T and N.
SHAPES = ((0, 64), (1, 7), (2, 777), (33, 7), (33, 64), (33, 777))


@pytest.mark.parametrize("case", CASES, ids=CASE_IDS)
def test_every_neuron_and_surrogate_in_every_size(case):
    for T, N in SHAPES:
        compare(problem(**case, T=T, N=N), "serial")


@pytest.mark.parametrize(
    ("name", "surrogate"), [("lif_zero", "custom"), ("h1v2", "fast_sigmoid"), ("adaptive", "atan")]
)
def test_narrow_layers_pack_batch_elements(name, surrogate):
    """Side by side, in groups and in tiles of time that need not come out even."""
    case = case_of(name, surrogate=surrogate)
    for T, B, N in ((0, 3, 1), (1, 300, 1), (32, 1, 1), (32, 70, 3), (70, 300, 1), (70, 70, 4)):
        compare(problem(**case, T=T, N=N, B=B), "serial")


@pytest.mark.parametrize("name", ["lif_zero", "resonator"])
def test_layers_of_many_blocks(name):
    for B, N in ((1, 1100), (3, 2100)):
        compare(problem(**case_of(name), T=9, N=N, B=B), "serial")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", NEURONS)
def test_any_memory_layout(name, dtype):
    for T, N in SHAPES:
        p = problem(**case_of(name, dtype=dtype), T=T, N=N)
        turned = replace(p, x=p.x.permute(2, 0, 1).contiguous().permute(1, 2, 0))
        assert T < 2 or not turned.x.is_contiguous()
        compare(turned, "serial", "expanded")
        compare(replace(p, x=p.x[:, :1].expand_as(p.x) if T else p.x), "serial")


@pytest.mark.parametrize("name", NEURONS)
def test_one_number_for_all_neurons(name):
    for T, N in SHAPES[1:]:
        p = problem(**case_of(name, learns=True), T=T, N=N)
        numbers = [c[0].clone().requires_grad_() for c in p.constants]
        expanded = replace(p, constants=tuple(n.expand(N) for n in numbers))
        got = solve(expanded, "serial")
        expected = solve(expanded, "reference")
        assert torch.equal(got.spikes, expected.spikes)
        assert torch.equal(got.mem, expected.mem)
        weights = torch.randn_like(got.spikes)
        mine, theirs = (
            torch.autograd.grad(s.spikes, numbers, weights, allow_unused=True)
            for s in (got, expected)
        )
        for a, b in zip(mine, theirs, strict=True):
            if b is not None:
                assert_close(a / N, b / N, GRADIENT, "constant")


@pytest.mark.parametrize(
    ("name", "detach"),
    [("lif_subtraction", True), ("h1v1", False), ("adaptive", True)],
)
def test_recurrent_layers(name, detach):
    for T, N in ((0, 7), (1, 65), (2, 1), (33, 1), (33, 7), (33, 65)):
        p = problem(name, "fast_sigmoid", detach, torch.float64, T, N, learns=True)
        g = torch.Generator().manual_seed(T)
        weights = torch.randn(N, N, generator=g, dtype=torch.float64) / N**0.5
        fired = (torch.rand(3, N, generator=g) < 0.3).double()
        compare(replace(p, recurrent=weights, spikes=fired), "serial")


def test_functions_that_round_differently_are_equal_up_to_the_threshold():
    """exp, log, tanh, sin, cos and a power: the first |z| near 0 ends the comparison."""
    for T, N in SHAPES[1:]:
        p = problem("smooth", "atan", False, torch.float32, T, N, learns=True)
        until = compare(p, "serial")
        assert float(until.float().mean()) > 0.98
    assert 0.05 < float(solve(p, "serial").spikes.detach().mean()) < 0.95


def test_a_readout_without_constants():
    for T, N in SHAPES:
        p = problem("readout", "atan", True, torch.float32, T, N)
        compare(p, "serial")
        for solver in ("serial", "reference"):
            solution = solve(p, solver)
            assert torch.equal(solution.spikes, solution.mem)
            assert solution.spike_count is None


@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_the_last_state_does_not_hold_the_whole_trajectory(solver):
    p = problem("lif_zero", "atan", True, torch.float32, 33, 7)
    (last,) = solve(p, solver).last
    assert last.untyped_storage().nbytes() == 4 * last.numel()


# Which solver runs where


@pytest.mark.parametrize(("name", "learns"), [("lif_subtraction", False), ("adaptive", True)])
def test_the_adjoint_by_torch_is_that_of_the_kernels(name, learns):
    p = problem(name, "atan", True, torch.float64, 20, 3)
    p = replace(p, saves="learning" if learns else "gradient")
    solution = serial.forward_serial(p)
    grads = ResultGradient(solution.spikes - 0.5, solution.mem, [v + 1 for v in solution.last])
    expected = serial.backward_serial(p, solution, grads, learns)
    got = backward_reference(p, solution, grads, learns)
    assert (got.constants is None) == (expected.constants is None) == (not learns)
    assert_all_close(tensors_of(got), tensors_of(expected), GRADIENT, "gradient")


def test_other_devices_take_the_reference_and_return_what_is_needed(monkeypatch):
    p = problem("h1v1", "atan", True, torch.float32, 2, 3)
    p = replace(
        p,
        x=p.x.to("meta"),
        states=tuple(v.to("meta") for v in p.states),
        constants=tuple(c.to("meta") for c in p.constants),
    )
    solution = serial.forward_serial(p, needs_membrane=False, needs_saved=False)
    assert solution.spikes.shape == p.x.shape
    assert solution.mem is None
    assert solution.saved == ()
    monkeypatch.setattr(serial, "backward_reference", lambda *_: "reference")
    assert serial.backward_serial(p, None, None, True) == "reference"
