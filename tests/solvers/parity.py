"""What the parity tests of all solvers share: problems, their gradients, and the comparison."""

from dataclasses import replace

import torch
from torch import Tensor

from contract import NEURONS, SURROGATES
from nwavesdk.solvers import Problem, Solution, Spec, solve
from pairwise import pairwise
from tolerances import GRADIENT, STATE, assert_close

# Compiled once for all tests: 24 backward kernels, in which any two options occur together.
CASES = pairwise(
    name=list(NEURONS),
    surrogate=list(SURROGATES),
    detach=[True, False],
    dtype=[torch.float32, torch.float64],
)
CASE_IDS = ["-".join(map(str, case.values())).replace("torch.", "") for case in CASES]


def case_of(name: str, **options: object) -> dict:
    """The first of the cases with this neuron and these options."""
    wanted = {"name": name, **options}.items()
    return next(case for case in CASES if wanted <= case.items())


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
        p,
        x=fresh(p.x),
        states=tuple(map(fresh, p.states)),
        constants=tuple(map(fresh, p.constants)),
        recurrent=fresh(p.recurrent),
        spikes=fresh(p.spikes),
    )


def gradients(p: Problem, solution: Solution, upstream: str = "dense") -> list[Tensor]:
    """Gradients of all inputs for random upstream gradients of all outputs."""
    g = torch.Generator().manual_seed(5)
    outputs = [solution.spikes, solution.mem, *solution.last]
    if upstream == "expanded":  # as from .sum(): stride 0 everywhere
        weights = [torch.randn((), generator=g, dtype=t.dtype).expand_as(t) for t in outputs]
    else:
        weights = [torch.randn(t.shape, generator=g, dtype=t.dtype) for t in outputs]
    inputs = [p.x, *p.states, *p.constants]
    if p.recurrent is not None:
        inputs += [p.recurrent, p.spikes]
    return list(
        torch.autograd.grad(outputs, inputs, weights, allow_unused=True, materialize_grads=True)
    )


def compare(p: Problem, solver: str, upstream: str = "dense") -> None:
    """The solver's spikes are those of the reference; states and gradients agree."""
    a = leaves(p)
    b = leaves(p)
    expected = solve(a, "reference")
    got = solve(b, solver)
    assert torch.equal(got.spikes, expected.spikes)
    exact = solver == "serial" and p.recurrent is None
    states = zip(
        (got.mem, *got.saved, *got.last),
        (expected.mem, *expected.saved, *expected.last),
        strict=True,
    )
    for mine, theirs in states:
        if exact:
            assert torch.equal(mine, theirs)
        else:
            assert_close(mine, theirs, STATE, "state")
    pairs = zip(gradients(b, got, upstream), gradients(a, expected, upstream), strict=True)
    for i, (mine, theirs) in enumerate(pairs):
        assert_close(mine, theirs, GRADIENT, f"gradient {i}")
