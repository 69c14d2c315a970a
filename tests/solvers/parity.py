"""What the parity tests of all solvers share: problems, their gradients, and the comparison."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from contract import MORE_NEURONS, NEURONS, SURROGATES
from nwavesdk.solvers import PassResult, Problem, Spec, solve, spike_argument
from nwavesdk.solvers.problem import ProblemGradient
from nwavesdk.solvers.reference import solve_reference
from pairwise import case_id, pairwise
from tolerances import GRADIENT, NEAR_THRESHOLD, STATE, assert_all_close, assert_close

# Compiled once for all tests: two backward kernels per neuron. Any two options occur together,
# but each neuron has two of the surrogates only.
CASES = pairwise(
    name=list(NEURONS),
    surrogate=list(SURROGATES),
    detach=[True, False],
    dtype=[torch.float32, torch.float64],
    learns=[True, False],
)[: 2 * len(NEURONS)]
CASE_IDS = [*map(case_id, CASES)]


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


def reference(p: Problem) -> PassResult:
    """The reference, which has no half precision: the charge is widened, its outputs narrowed."""
    wide = p.x if p.x.dtype in (torch.float32, torch.float64) else p.x.float()
    s = solve_reference(replace(p, x=wide))
    return s._replace(spikes=s.spikes.to(p.x.dtype), mem=s.mem.to(p.x.dtype))


def compare_with_reference(
    p: Problem,
    run: Callable[[Problem], PassResult],
    upstream: str = "dense",
    *,
    is_exact: bool = True,
) -> Tensor:
    """The spikes equal the reference; states and gradients agree.

    Neurons with functions that machines round differently are compared up to the first step in
    which |z| is at most `NEAR_THRESHOLD`: the solvers may then differ in the spike, and in
    everything that follows from it.

    Args:
        p: The problem.
        run: The solver; the values that it saves are compared where it returns them.
        upstream: The gradients of the outputs, see `gradients`.
        is_exact: Whether states have the bits of the reference.

    Returns:
        Which steps were compared [B, T, N].
    """
    a, b = leaves(p), leaves(p)
    expected, got = reference(a), run(b)
    is_compared = torch.ones(p.x.shape, dtype=torch.bool)
    if p.spec.neuron.name == "smooth":
        is_exact = False
        z = spike_argument(replace(p, saves="record"), expected.saved).abs()
        is_compared = (z <= NEAR_THRESHOLD[z.dtype]).cumsum(1) == 0
    assert_close(got.spikes * is_compared, expected.spikes * is_compared, STATE, "output")
    if not p.spec.neuron.is_readout:
        assert torch.equal(got.spikes * is_compared, expected.spikes * is_compared)

    sequences = [(got.mem, expected.mem)]
    if got.saved:
        sequences += zip(got.saved, expected.saved, strict=True)
    pairs = [(mine * is_compared, theirs * is_compared) for mine, theirs in sequences]
    at_end = is_compared[:, -1:].all(1)
    pairs += [(u * at_end, v * at_end) for u, v in zip(got.last, expected.last, strict=True)]
    for mine, theirs in pairs:
        assert_close(mine, theirs, STATE, "state")
        # The interpreter of Triton truncates to half precision, where torch and GPUs round.
        if is_exact and mine.dtype in (torch.float32, torch.float64):
            assert torch.equal(mine, theirs)
    until = None if bool(is_compared.all()) else is_compared
    found, wanted = gradients(b, got, upstream, until), gradients(a, expected, upstream, until)
    assert_all_close(found, wanted, GRADIENT, "gradient")
    return is_compared


def compare(p: Problem, solver: str, upstream: str = "dense") -> Tensor:
    """Compare a solver with the reference, see `compare_with_reference`.

    Where constants are fixed, as little as possible is saved.
    """
    learns = any(c.requires_grad for c in p.constants)
    p = replace(p, saves="record" if learns else "gradient")
    run = partial(solve, solver=solver, needs_saved=learns)
    is_exact = solver == "serial" and p.recurrent is None
    return compare_with_reference(p, run, upstream, is_exact=is_exact)


def tensors_of(gradient: ProblemGradient) -> list[Tensor]:
    """The tensors of a backward pass; gradients of constants are summed over the batch."""
    constants = [] if gradient.constants is None else [*gradient.constants.sum(1)]
    recurrence = [g for g in (gradient.recurrent, gradient.spikes) if g is not None]
    return [gradient.x, *gradient.states, *constants, *recurrence]
