"""comPaSSo in chunks: the sequence is cut, its chunks run side by side in the serial kernels, and the result is proven.

The state before each chunk is guessed, all chunks run from their guesses, and the end of each corrects the guess of the
next, Newton's way: with its spikes held fixed, a chunk's end changes by `decay ** L` times the change of its entry, or
not at all where a reset to zero or a clamp has made it forget its entry. Two certificates end this, and neither of them
is a tolerance:

- **Agreement.** Every chunk has ended with the very number from which the next one has started. By induction from the
  first one, whose entry is known, this is the serial pass: spikes, membranes and last state, to the bit.
- **Brackets.** With its spike fixed, a step is monotone in the state before it, and so is rounding. Let each chunk run
  from both ends of an interval around its entry. Where both runs spike alike, so does every run from in between, and it
  ends between their ends; where these lie in the next chunk's interval, for all chunks, then by induction the serial
  pass lies in all the intervals and has the spikes of the runs. Membranes are right to within the intervals, which are
  some roundings wide. No bound of rounding errors is assumed: they happen in the runs.

Neurons for which neither comes about in the passes allowed are finished by the serial solver from the last state that
is known to the bit. Backward is linear in what arrives at the end of a chunk: two runs of the serial adjoint tell what
each chunk makes of it, a scan over chunks what arrives, and a third run gives the gradient. Proofs and literature:
`docs/compasso.md`.

While it works, neurons of all batch elements stand side by side as columns, [T, n].
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from nwavesdk.solvers.parallel.scan import affine_scan
from nwavesdk.solvers.problem import Problem, Spec, Trace, TraceGradient, torch_page
from nwavesdk.solvers.serial import backward_serial, forward_serial
from nwavesdk.surrogate import heaviside

__all__ = [
    "LEAST_CHUNKS",
    "Effort",
    "backward_chunks",
    "chunk_length",
    "chunk_length_for",
    "forward_chunks",
    "wanted_length",
]

Run = Callable[[Problem, bool, bool], Trace]

_SHORTEST, _LONGEST = 64, 1024  # steps of a chunk
LEAST_CHUNKS = 8  # that are worth it
_TRIED = 3  # passes after which it is asked how many more it will take
_FORGETTING = (
    4.0  # a chunk lasts so many times 1 / (1 - decay), within which its entry is mostly forgotten
)


@dataclass
class Effort:
    """What a forward pass has taken.

    Attributes:
        chunks: how many.
        steps: of a chunk.
        passes: over chunks, those of the brackets included.
        depth: steps that had to wait for one another; the serial pass has T.
        work: neuron-steps that were computed; the serial pass has B T N.
        bracketed: neurons that were proven by brackets; others agreed, or were finished serially.
        serial: neurons that were finished serially.
    """

    chunks: int
    steps: int
    passes: int = 0
    depth: int = 0
    work: int = 0
    bracketed: int = 0
    serial: int = 0


class _Columns(NamedTuple):
    """Neurons side by side: charge [T, n], entries of the chunks [C, n], constants, each [n]."""

    x: Tensor
    entries: Tensor
    constants: tuple[Tensor, ...]

    def pick(self, which: Tensor) -> "_Columns":
        return _Columns(
            self.x[:, which], self.entries[:, which], tuple(c[which] for c in self.constants)
        )


class _Found(NamedTuple):
    """What the columns do: spikes, membrane and `w` of each step, each [T, n], and the ends of the chunks [C, n]."""

    spikes: Tensor
    mem: Tensor
    w: Tensor
    ends: Tensor


def wanted_length(decay: float) -> int:
    """Steps of a chunk: some forgetting times."""
    return min(_LONGEST, max(_SHORTEST, round(_FORGETTING / max(1 - decay, 1e-9))))


def chunk_length(T: int, decay: float) -> int:
    """Steps of a chunk, with T a multiple where possible; T where there would be too few chunks."""
    wanted = wanted_length(decay)
    if LEAST_CHUNKS * wanted > T:
        return T
    counts = range(-(-T // (2 * wanted)), 2 * T // wanted + 1)
    whole = [count for count in counts if T % count == 0 and count >= LEAST_CHUNKS]
    return T // min(whole, key=lambda count: abs(count * wanted - T)) if whole else wanted


def forward_chunks(
    problem: Problem,
    needs_membrane: bool = True,
    needs_saved: bool = True,
    *,
    steps: int | None = None,
    entries: Tensor | None = None,
    passes: int | None = None,
    run: Run | None = None,
    efforts: list[Effort] | None = None,
) -> Trace:
    """Run the problem without a graph; feed-forward neurons of one state.

    Args:
        problem: what to run.
        needs_membrane: whether the membrane after each step is wanted.
        needs_saved: whether `w` of each step is wanted.
        steps: of a chunk; None takes `chunk_length` for the slowest neuron.
        entries: a guess of the states before all chunks but the first [B, C - 1, N], C = ⌈T / steps⌉; None: zero.
        passes: after which the serial solver takes over; None: half as many as there are chunks.
        run: the serial solver, None: the fastest one where the tensors are.
        efforts: a list to which what it took is appended.
    """
    run = run or forward_serial
    steps = chunk_length_for(problem) if steps is None else steps
    B, T, N = problem.x.shape
    C = -(-T // max(steps, 1))
    if C < 2 or not B * N:
        if efforts is not None:
            efforts.append(Effort(1, T, 1, T, B * T * N))
        return run(problem, needs_membrane, needs_saved)
    guess = problem.states[0].new_zeros(B, C, N)
    if entries is not None:
        guess[:, 1:] = entries
    guess[:, 0] = problem.states[0].detach()
    x = problem.x.detach().transpose(0, 1).reshape(T, B * N)
    if C * steps > T:  # nothing arrives after the end, and what happens then is not looked at
        x = torch.cat([x, x.new_zeros(C * steps - T, B * N)])
    constants = tuple(c.detach().repeat(B) for c in problem.constants)
    effort = Effort(C, steps)
    solver = _Solver(problem.spec, steps, run, passes or max(3, C // 2), effort)
    found = solver.solve(_Columns(x, guess.transpose(0, 1).reshape(C, B * N), constants))
    spikes, trajectory, w = (t[:T].view(T, B, N).transpose(0, 1).contiguous() for t in found[:3])
    last = (trajectory[:, -1].clone(),)
    if efforts is not None:
        efforts.append(effort)
    return Trace(
        spikes, trajectory if needs_membrane else None, last, (w,) if needs_saved else None
    )


class _Solver:
    """Columns in chunks of `steps`, by at most so many passes."""

    def __init__(self, spec: Spec, steps: int, run: Run, most: int, effort: Effort) -> None:
        self.spec, self.steps, self.run, self.most, self.effort = spec, steps, run, most, effort

    def solve(self, columns: _Columns, quiet: Tensor | None = None, passes: int = 0) -> _Found:
        """What the columns do; `quiet` [n] counts passes that have moved entries by roundings only."""
        entries = columns.entries
        quiet = torch.zeros_like(entries[0], dtype=torch.int64) if quiet is None else quiet
        still: list[
            int
        ] = []  # after each pass, how many entries of the worst column have moved by more than roundings
        while True:
            found = self._pass(columns)
            passes += 1
            ends, entries = found.ends[:-1], columns.entries[1:]
            proven = (ends == entries).all(0)
            if bool(proven.all()):
                return found
            transfer = self._transfer(columns, found)[:-1]
            moved = affine_scan(transfer, ends - entries)
            newton = ends + transfer * torch.cat([torch.zeros_like(moved[:1]), moved[:-1]])
            rounding = torch.finfo(ends.dtype).eps * (
                1 + torch.maximum(ends.abs().amax(0), entries.abs().amax(0))
            )
            moving = (newton - entries).abs() > 32 * rounding / (1 - columns.constants[0]).clamp(
                min=2.0**-10
            )
            settled = ~moving.any(0)
            quiet = torch.where(settled, quiet + 1, 0)
            still.append(int(moving.sum(0).max()))
            if passes + self._expected(still) >= self.most:
                return self._finish(columns, found, ~proven)
            tried = ~proven & (quiet > 1)
            if bool((proven | tried).all()):
                proven = proven | self._bracket(columns, found, tried, rounding)
                return found if bool(proven.all()) else self._finish(columns, found, ~proven)
            # Once chunks forget their entries, ends are right to the bit, and what Newton adds to them is not.
            better = torch.where(settled, ends, newton)
            columns = columns._replace(
                entries=torch.cat([columns.entries[:1], torch.where(proven, entries, better)])
            )
            if 2 * int(proven.sum()) >= len(proven):
                left = ~proven
                return _placed(found, left, self.solve(columns.pick(left), quiet[left], passes))

    def _expected(self, still: list[int]) -> float:
        """About how many more passes; 0 after the first ones, which do not tell."""
        if len(still) <= _TRIED:
            return 0
        return 2 * still[-1] / max(still[-3] - still[-1], 1)

    def _problem(self, x: Tensor, states: Tensor, constants: tuple[Tensor, ...]) -> Problem:
        return Problem(self.spec, x, (states,), constants)

    def _pass(self, columns: _Columns, trajectories: bool = True) -> _Found:
        """All chunks from their entries; without `trajectories` only spikes and ends are right."""
        (T, n), C = columns.x.shape, len(columns.entries)
        problem = self._problem(columns.x.reshape(C, T // C, n), columns.entries, columns.constants)
        trace = self.run(problem, trajectories, trajectories)
        self.effort.passes += 1
        self.effort.depth += self.steps
        self.effort.work += T * n
        spikes = trace.spikes.view(T, n)
        if trace.mem is None or trace.saved is None:
            return _Found(spikes, spikes, spikes, trace.last[0])
        return _Found(spikes, trace.mem.view(T, n), trace.saved[0].view(T, n), trace.last[0])

    def _transfer(self, columns: _Columns, found: _Found) -> Tensor:
        """By how much each chunk's end changes with its entry, the spikes held fixed [C, n]."""
        power = columns.constants[0] ** self.steps
        if self.spec.neuron.forgets is None:
            return power.expand_as(found.ends)
        forgot = (
            self.spec.neuron.forgets(found.w, found.spikes)
            .view(len(found.ends), self.steps, -1)
            .any(1)
        )
        return torch.where(forgot, 0.0, power)

    def _bracket(self, columns: _Columns, found: _Found, which: Tensor, rounding: Tensor) -> Tensor:
        """The columns of `which` [n] whose spikes are proven to be those of the serial pass [n]."""
        inner, spikes, ends = columns.pick(which), found.spikes[:, which], found.ends[:, which]
        missed = (ends[:-1] - inner.entries[1:]).abs().amax(0)
        left = (1 - inner.constants[0] ** self.steps).clamp(min=2.0**-10)
        radius = ((2 * missed + 4 * rounding[which]) / left).expand(len(ends), -1).clone()
        radius[0] = 0  # the first entry is known
        edges = inner.entries - radius, inner.entries + radius
        low, high = (self._pass(inner._replace(entries=edge), trajectories=False) for edge in edges)
        alike = ((low.spikes == high.spikes) & (low.spikes == spikes)).all(0)
        inside = (edges[0][1:] <= low.ends[:-1]) & (high.ends[:-1] <= edges[1][1:])
        proven = torch.zeros_like(which)
        proven[which] = alike & inside.all(0)
        self.effort.bracketed += int(proven.sum())
        return proven

    def _finish(self, columns: _Columns, found: _Found, which: Tensor) -> _Found:
        """The columns of `which` [n] serially, from the last state that is known to the bit for all of them."""
        inner, ends = columns.pick(which), found.ends[:, which]
        known = int(
            (ends[:-1] != inner.entries[1:]).to(torch.int8).argmax(0).min()
        )  # the last chunk that began right
        start = (known + 1) * self.steps
        trace = self.run(
            self._problem(inner.x[None, start:], ends[known][None], inner.constants), True, True
        )
        assert trace.mem is not None
        assert trace.saved is not None
        self.effort.serial += len(ends[0])
        self.effort.depth += len(inner.x) - start
        self.effort.work += trace.spikes.numel()
        sequences = zip(found[:3], (trace.spikes, trace.mem, trace.saved[0]), strict=True)
        spikes, mem, w = (torch.cat([whole[:start, which], rest[0]]) for whole, rest in sequences)
        return _placed(found, which, _Found(spikes, mem, w, torch.cat([ends[:-1], trace.last[0]])))


def _placed(whole: _Found, which: Tensor, part: _Found) -> _Found:
    """`whole`, with `part` in the columns of `which`."""
    for tensor, new in zip(whole, part, strict=True):
        tensor[:, which] = new
    return whole


def chunk_length_for(problem: Problem) -> int:
    """Steps of a chunk for the slowest neuron of the problem."""
    decay = problem.constants[0]
    return chunk_length(problem.x.shape[1], float(decay.max()) if decay.numel() else 0.0)


def backward_chunks(
    problem: Problem,
    trace: Trace,
    grads: TraceGradient,
    learn: bool,
    reuse: bool = False,
    *,
    steps: int | None = None,
    run: Callable[..., tuple[Tensor | None, ...]] | None = None,
) -> tuple[Tensor | None, ...]:
    """∂L/∂ x, states and constants (None unless `learn`), as the serial adjoint's but for the order of sums."""
    assert trace.saved is not None
    run = run or backward_serial
    w, grad_s, grad_mem, arriving = trace.saved[0], grads.spikes, grads.mem, grads.last[0]
    steps = chunk_length_for(problem) if steps is None else steps
    B, T, N = w.shape
    C = -(-T // max(steps, 1))
    if C < 2 or not B * N:
        return run(problem, trace, grads, learn, reuse)
    if (
        C * steps > T
    ):  # the sequence goes on with nothing, as forward; what arrives at its end arrives at `mem` there
        w = _padded(w, C * steps)
        grad_s, grad_mem = (
            None if g is None else _padded(g, C * steps) for g in (grad_s, grad_mem)
        )
        if arriving is not None:
            grad_mem = torch.zeros_like(w) if grad_mem is None else grad_mem
            grad_mem[:, T - 1] += arriving
            arriving = None
    fire = torch_page(problem.spec.neuron, "fire", spike=heaviside, held=torch.detach)
    _, _, after = fire(w[:, steps - 1 :: steps], *problem.constants)  # the state after each chunk
    entries = torch.cat([problem.states[0].detach()[:, None], after[:, :-1]], 1).reshape(B * C, N)
    chunks = w.reshape(B * C, steps, N)
    cut_up = replace(problem, x=chunks, states=(entries,))
    grad_s, grad_mem = (
        None if g is None else g.reshape(B * C, steps, N) for g in (grad_s, grad_mem)
    )
    here = Trace(chunks, None, (), (chunks,))
    none = run(cut_up, here, TraceGradient(grad_s, grad_mem, [None]), False)[1]
    unit = run(cut_up, here, TraceGradient(None, None, [torch.ones_like(entries)]), False)[1]
    assert none is not None
    assert unit is not None
    offset, slope = (
        t.view(B, C, N).transpose(0, 1).flip(0) for t in (none, unit)
    )  # the last chunk first
    arrives = torch.zeros_like(offset)
    if arriving is not None:
        arrives[0] = arriving
    first = slope[:1] * arrives[:1] + offset[:1]
    arrives[1:] = affine_scan(slope, torch.cat([first, offset[1:]]))[:-1]
    if not bool(
        torch.isfinite(arrives).all()
    ):  # slopes above 1 have overflowed, which step by step they may not
        return run(problem, trace, grads, learn, reuse)
    incoming = TraceGradient(grad_s, grad_mem, [arrives.flip(0).transpose(0, 1).reshape(B * C, N)])
    grad_x, grad_state, *constants = run(cut_up, here, incoming, learn, reuse)
    assert grad_x is not None
    assert grad_state is not None
    return grad_x.view(B, C * steps, N)[:, :T], grad_state.view(B, C, N)[:, 0], *constants


def _padded(t: Tensor, steps: int) -> Tensor:
    """A copy of t [B, T, N] that goes on with zeros to so many steps."""
    return torch.cat([t, t.new_zeros(t.shape[0], steps - t.shape[1], t.shape[2])], 1)
