"""The autograd function around all compiled solvers."""

from dataclasses import replace

import pytest
import torch

from nwavesdk.solvers import solve
from solvers.parity import case_of, gradients, leaves, problem
from tolerances import GRADIENT, assert_close


@pytest.mark.parametrize("name", ["lif_none", "h1v2", "adaptive"])
def test_a_gradient_written_over_the_saved_tensor_is_the_same(name):
    case = case_of(name, surrogate="fast_sigmoid")
    for T, N in ((0, 64), (1, 7), (2, 777), (33, 7), (33, 64)):
        p = leaves(problem(**case, T=T, N=N))
        solution = solve(p, "serial", needs_saved=False)
        unshared = gradients(p, solution, retain_graph=True)
        overwritten = gradients(p, solution)
        assert all(map(torch.equal, unshared, overwritten))


def test_gradients_that_nothing_needs_are_not_computed():
    p = problem("lif_zero", "atan", True, torch.float32, 5, 7)
    x = p.x.clone().requires_grad_()
    solution = solve(replace(p, x=x), "serial")
    solution.spikes.sum().backward()
    full = leaves(p)
    expected = torch.autograd.grad(solve(full, "reference").spikes.sum(), full.x)[0]
    assert_close(x.grad, expected, GRADIENT, "gradient")


@pytest.mark.parametrize("name", ["lif_subtraction", "adaptive"])
def test_upstream_gradients_are_only_read(name):
    p = leaves(problem(**case_of(name), T=5, N=7))
    solution = solve(p, "serial")
    outputs = [solution.spikes, solution.mem, *solution.last]
    upstream = [torch.randn_like(t) for t in outputs]
    before = [g.clone() for g in upstream]
    torch.autograd.grad(outputs, p.x, upstream)
    assert all(map(torch.equal, upstream, before))


def test_a_gradient_of_a_gradient_is_rejected():
    p = leaves(problem("lif_none", "atan", True, torch.float32, 3, 7))
    with pytest.raises(RuntimeError, match='gradient of a gradient .* solver="reference"'):
        torch.autograd.grad(solve(p, "serial").spikes.sum(), p.x, create_graph=True)
