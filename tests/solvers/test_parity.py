"""Every solver gives the spikes, states and gradients of the reference."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from contract import NEURONS, SURROGATES
from nwavesdk.solvers import Problem, Solution, Spec, solve
from tolerances import GRADIENT, STATE, assert_close

STEPS, SIZES = (0, 1, 2, 33), (7, 64, 777)


def problem(
    name: str, surrogate: str, detach: bool, dtype: torch.dtype, T: int, N: int, B: int = 3
) -> Problem:
    g = torch.Generator().manual_seed(1000 * T + N)
    row = NEURONS[name]
    x = 0.6 * torch.randn(B, T, N, generator=g, dtype=dtype) + 0.1
    states = tuple(0.3 * torch.randn(B, N, generator=g, dtype=dtype) for _ in row.neuron.states)
    constants = tuple(c.to(dtype) for c in row.constants(N, g))
    return Problem(Spec(row.neuron, SURROGATES[surrogate], detach), x, states, constants)


def leaves(p: Problem) -> Problem:
    """The same problem on new leaves, each with gradient."""

    def fresh(t: Tensor | None) -> Tensor | None:
        return None if t is None else t.detach().requires_grad_()

    return replace(
        p, x=fresh(p.x), states=tuple(map(fresh, p.states)), constants=tuple(map(fresh, p.constants)),
        recurrent=fresh(p.recurrent), spikes=fresh(p.spikes),
    )  # fmt: skip


def gradients(p: Problem, solution: Solution, upstream: str = "dense") -> list[Tensor]:
    g = torch.Generator().manual_seed(5)
    outputs = [solution.spikes, solution.mem, *solution.last]
    if upstream == "expanded":  # as from .sum(): stride 0 everywhere
        weights = [torch.randn((), generator=g, dtype=t.dtype).expand_as(t) for t in outputs]
    else:
        weights = [torch.randn(t.shape, generator=g, dtype=t.dtype) for t in outputs]
    wanted = [
        p.x,
        *p.states,
        *p.constants,
        *([] if p.recurrent is None else [p.recurrent, p.spikes]),
    ]
    return list(
        torch.autograd.grad(outputs, wanted, weights, allow_unused=True, materialize_grads=True)
    )


def compare(p: Problem, solver: str, upstream: str = "dense") -> None:
    a, b = leaves(p), leaves(p)
    expected, got = solve(a, "reference"), solve(b, solver)
    assert torch.equal(got.spikes, expected.spikes)
    exact = solver == "serial" and p.recurrent is None
    for mine, theirs in zip(
        (got.mem, *got.saved, *got.last),
        (expected.mem, *expected.saved, *expected.last),
        strict=True,
    ):
        if exact:
            assert torch.equal(mine, theirs)
        else:
            assert_close(mine, theirs, STATE, "state")
    for i, (mine, theirs) in enumerate(
        zip(gradients(b, got, upstream), gradients(a, expected, upstream), strict=True)
    ):
        assert_close(mine, theirs, GRADIENT, f"gradient {i}")


@pytest.mark.parametrize(
    ("surrogate", "detach", "dtype"),
    [(s, detach, torch.float32) for s in SURROGATES for detach in (True, False)]
    + [("sigmoid", True, torch.float64), ("custom", False, torch.float64)],
)
@pytest.mark.parametrize("neuron", NEURONS)
def test_serial_is_the_reference(neuron, surrogate, detach, dtype):
    for T in STEPS:
        for N in SIZES:
            compare(problem(neuron, surrogate, detach, dtype, T, N), "serial")


@pytest.mark.parametrize(
    ("surrogate", "detach", "dtype"),
    [("fast_sigmoid", True, torch.float32), ("custom", False, torch.float64)],
)
@pytest.mark.parametrize("neuron", NEURONS)
def test_narrow_layers_are_the_reference(neuron, surrogate, detach, dtype):
    """Their batch elements are packed side by side, in groups and in tiles of time that need not come out even."""
    for T in (0, 1, 32, 70):
        for B, N in ((1, 1), (3, 1), (300, 1), (70, 3), (70, 4)):
            compare(problem(neuron, surrogate, detach, dtype, T, N, B), "serial")


@pytest.mark.parametrize("neuron", ["lif_zero", "adaptive"])
def test_layers_of_many_blocks_are_the_reference(neuron):
    for B, N in ((1, 1100), (3, 2100)):
        compare(problem(neuron, "fast_sigmoid", True, torch.float32, 9, N, B), "serial")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_serial_takes_any_layout(neuron, dtype):
    for T in STEPS:
        for N in SIZES:
            p = problem(neuron, "atan", True, dtype, T, N)
            turned = replace(p, x=p.x.permute(2, 0, 1).contiguous().permute(1, 2, 0))
            assert N == 1 or T < 2 or not turned.x.is_contiguous()
            compare(turned, "serial", "expanded")
            compare(replace(p, x=p.x[:, :1].expand_as(p.x) if T else p.x), "serial")


@pytest.mark.parametrize("neuron", NEURONS)
def test_a_gradient_written_over_what_was_kept_is_the_same(neuron):
    for T in STEPS:
        for N in SIZES:
            a, b = (
                leaves(problem(neuron, "fast_sigmoid", True, torch.float32, T, N)) for _ in range(2)
            )
            pair = [
                gradients(p, solve(p, "serial", needs_saved=keep))
                for p, keep in ((a, True), (b, False))
            ]
            assert all(map(torch.equal, *pair))


@pytest.mark.parametrize("neuron", NEURONS)
def test_serial_with_one_number_for_all_neurons_is_the_reference(neuron):
    for T in STEPS[1:]:
        for N in SIZES:
            p = problem(neuron, "fast_sigmoid", True, torch.float32, T, N)
            numbers = [c[0].clone().requires_grad_() for c in p.constants]
            one, many = (
                replace(p, constants=tuple(n.expand(N) for n in numbers)) for _ in range(2)
            )
            got, expected = solve(one, "serial"), solve(many, "reference")
            assert torch.equal(got.spikes, expected.spikes)
            assert torch.equal(got.mem, expected.mem)
            weights = torch.randn_like(got.spikes)
            pair = [
                torch.autograd.grad(s.spikes, numbers, weights, allow_unused=True)
                for s in (got, expected)
            ]
            for mine, theirs in zip(*pair, strict=True):
                if theirs is not None:
                    assert_close(mine / N, theirs / N, GRADIENT, "constant")


@pytest.mark.parametrize("detach", [True, False], ids=["detached", "full"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_recurrent_serial_is_the_reference(neuron, detach):
    for T in STEPS:
        for N in (1, 7, 65):
            p = problem(neuron, "fast_sigmoid", detach, torch.float64, T, N)
            g = torch.Generator().manual_seed(T)
            weights = torch.randn(N, N, generator=g, dtype=torch.float64) / N**0.5
            fired = (torch.rand(3, N, generator=g) < 0.3).double()
            compare(replace(p, recurrent=weights, spikes=fired), "serial")


def test_a_gradient_that_nobody_asks_for_is_not_computed():
    p = problem("lif_zero", "atan", True, torch.float32, 5, 7)
    x = p.x.clone().requires_grad_()
    solution = solve(replace(p, x=x), "serial")
    solution.spikes.sum().backward()
    full = leaves(p)
    expected = torch.autograd.grad(solve(full, "reference").spikes.sum(), full.x)[0]
    assert_close(x.grad, expected, GRADIENT, "gradient")


def test_a_second_backward_pass_with_retain_graph_is_the_same():
    p = leaves(problem("h1v1", "sigmoid", True, torch.float32, 33, 64))
    loss = solve(p, "serial").spikes.sum()
    first = torch.autograd.grad(loss, p.x, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, p.x)[0])


@pytest.mark.parametrize("neuron", ["lif_subtraction", "adaptive"])
def test_upstream_gradients_are_only_read(neuron):
    p = leaves(problem(neuron, "atan", True, torch.float32, 5, 7))
    solution = solve(p, "serial")
    outputs = [solution.spikes, solution.mem, *solution.last]
    upstream = [torch.randn_like(t) for t in outputs]
    before = [g.clone() for g in upstream]
    torch.autograd.grad(outputs, p.x, upstream)
    assert all(map(torch.equal, upstream, before))


@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_the_last_state_does_not_hold_the_whole_trajectory(solver):
    (last,) = solve(problem("lif_zero", "atan", True, torch.float32, 33, 7), solver).last
    assert last.untyped_storage().nbytes() == 4 * last.numel()


def test_gradient_of_a_gradient_is_refused():
    p = leaves(problem("lif_none", "atan", True, torch.float32, 3, 7))
    with pytest.raises(RuntimeError, match='gradient of a gradient .* solver="reference"'):
        torch.autograd.grad(solve(p, "serial").spikes.sum(), p.x, create_graph=True)
