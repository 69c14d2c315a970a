"""What the parity tests of all solvers share: problems, their gradients, and the comparison."""

from dataclasses import replace

import torch
from torch import Tensor

from contract import MORE_NEURONS, NEURONS, SURROGATES
from nwavesdk.solvers import PassResult, Problem, Spec, solve, spike_argument
from nwavesdk.solvers.problem import ProblemGradient
from pairwise import pairwise
from tolerances import GRADIENT, NEAR_THRESHOLD, STATE, assert_close

# Compiled once for all tests: 28 backward kernels, in which any two options occur together.
CASES = pairwise(
    name=list(NEURONS),
    surrogate=list(SURROGATES),
    detach=[True, False],
    dtype=[torch.float32, torch.float64],
    learns=[True, False],
)
CASE_IDS = ["-".join(map(str, case.values())).replace("torch.", "") for case in CASES]


def case_of(name: str, **options: object) -> dict:
    """The first of the cases with this neuron and these options."""
    wanted = {"name": name, **options}.items()
    return next(case for case in CASES if wanted <= case.items())


def problem(
    name: str,
    surrogate: str,
    detach: bool,
    dtype: torch.dtype,
    T: int,
    N: int,
    B: int = 3,
    learns: bool = False,
) -> Problem:
    """A random problem; with `learns`, its constants need gradients."""
    g = torch.Generator().manual_seed(1000 * T + N)
    row = (NEURONS | MORE_NEURONS)[name]
    x = 0.6 * torch.randn(B, T, N, generator=g, dtype=dtype) + 0.1
    states = tuple(0.3 * torch.randn(B, N, generator=g, dtype=dtype) for _ in row.neuron.states)
    constants = tuple(c.to(dtype).requires_grad_(learns) for c in row.constants(N, g))
    return Problem(
        Spec(neuron=row.neuron, surrogate=SURROGATES[surrogate], detach_reset=detach),
        x,
        states,
        constants,
    )


def leaves(p: Problem) -> Problem:
    """The same problem on new leaves with gradients; constants have them if they had them."""

    def fresh(t: Tensor | None) -> Tensor | None:
        return None if t is None else t.detach().requires_grad_()

    return replace(
        p,
        x=fresh(p.x),
        states=tuple(map(fresh, p.states)),
        constants=tuple(fresh(c) if c.requires_grad else c for c in p.constants),
        recurrent=fresh(p.recurrent),
        spikes=fresh(p.spikes),
    )


def gradients(
    p: Problem,
    solution: PassResult,
    upstream: str = "dense",
    until: Tensor | None = None,
    *,
    retain_graph: bool = False,
) -> list[Tensor]:
    """Gradients of all leaves for random upstream gradients of all outputs.

    With `until` [B, T, N], gradients arrive at the steps where it is true only.
    """
    g = torch.Generator().manual_seed(5)
    outputs = [solution.spikes, solution.mem, *solution.last]
    if upstream == "expanded":  # as from .sum(): stride 0 everywhere
        weights = [torch.randn((), generator=g, dtype=t.dtype).expand_as(t) for t in outputs]
    else:
        weights = [torch.randn(t.shape, generator=g, dtype=t.dtype) for t in outputs]
    if until is not None:
        weights = [w * (until if w.dim() == 3 else until[:, -1]) for w in weights]
    inputs = [p.x, *p.states, *p.constants, *p.recurrence]
    return list(
        torch.autograd.grad(
            outputs,
            [t for t in inputs if t.requires_grad],
            weights,
            retain_graph=retain_graph,
            allow_unused=True,
            materialize_grads=True,
        )
    )


def compare(p: Problem, solver: str, upstream: str = "dense") -> None:
    """The solver's spikes are those of the reference; states and gradients agree.

    What is saved is compared where constants learn; elsewhere, as little as possible is saved.
    """
    a = leaves(p)
    b = leaves(p)
    learns = any(c.requires_grad for c in p.constants)
    expected = solve(a, "reference", needs_saved=learns)
    got = solve(b, solver, needs_saved=learns)
    assert torch.equal(got.spikes, expected.spikes)
    exact = solver == "serial" and p.recurrent is None
    saved = zip(got.saved, expected.saved, strict=True) if learns else ()
    states = zip((got.mem, *got.last), (expected.mem, *expected.last), strict=True)
    for mine, theirs in (*saved, *states):
        if exact:
            assert torch.equal(mine, theirs)
        else:
            assert_close(mine, theirs, STATE, "state")
    pairs = zip(gradients(b, got, upstream), gradients(a, expected, upstream), strict=True)
    for i, (mine, theirs) in enumerate(pairs):
        assert_close(mine, theirs, GRADIENT, f"gradient {i}")


def compare_until_near_threshold(p: Problem, solver: str) -> Tensor:
    """As `compare`, for feed-forward neurons whose functions machines round differently.

    Each neuron is compared up to the first step in which |z| is at most `NEAR_THRESHOLD`: the
    solvers may then differ in the spike, and in everything that follows from it.

    Returns:
        Which steps were compared [B, T, N].
    """
    a = leaves(p)
    b = leaves(p)
    expected = solve(a, "reference")
    got = solve(b, solver)
    recorded = replace(a, saves="record")
    is_near = spike_argument(recorded, expected.saved).abs() <= NEAR_THRESHOLD[p.x.dtype]
    until = is_near.cumsum(1) == 0
    assert torch.equal(got.spikes * until, expected.spikes * until)
    for mine, theirs in zip((got.mem, *got.saved), (expected.mem, *expected.saved), strict=True):
        assert_close(mine * until, theirs * until, STATE, "state")
    for mine, theirs in zip(got.last, expected.last, strict=True):
        assert_close(mine * until[:, -1], theirs * until[:, -1], STATE, "last state")
    pairs = zip(gradients(b, got, until=until), gradients(a, expected, until=until), strict=True)
    for i, (mine, theirs) in enumerate(pairs):
        assert_close(mine, theirs, GRADIENT, f"gradient {i}")
    return until


def tensors_of(gradient: ProblemGradient) -> list[Tensor]:
    """The tensors of a backward pass; gradients of constants are summed over the batch."""
    constants = [] if gradient.constants is None else [*gradient.constants.sum(1)]
    recurrence = [g for g in (gradient.recurrent, gradient.spikes) if g is not None]
    return [gradient.x, *gradient.states, *constants, *recurrence]
