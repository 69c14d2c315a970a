"""comPaSSo in chunks: cut the sequence, run all chunks together, and prove the result.

The state before each chunk is guessed. All chunks run from their guesses in the serial kernels, and
the end of each chunk corrects the guess of the next by Newton's method: with its spikes held fixed,
a chunk's end changes by `decay ** L` times the change of its entry, or not at all if a reset to
zero or a clamp has made the chunk forget its entry. Two certificates end this; neither is a
tolerance:

- **Agreement.** Every chunk has ended with exactly the number from which the next one has started.
  By induction from the first chunk, whose entry is known, this is the serial pass: spikes,
  membranes and last state, to the bit.
- **Brackets.** With its spike fixed, a step is monotone in the state before it, and so is rounding.
  Run each chunk from both ends of an interval around its entry. If both runs have the same spikes,
  so has every run from in between, and it ends between their ends. If these ends lie in the
  interval of the next chunk, for all chunks, then by induction the serial pass lies in all
  intervals and has the spikes of the runs. Membranes are right to within the intervals, which are
  a few roundings wide. No bound on rounding errors is assumed: they happen in the runs.

The serial solver finishes the neurons for which neither certificate is reached within the allowed
passes, from the last state that is known to the bit. `chunk_gradient` has the backward pass;
proofs and literature are in `docs/compasso.md`.

During the passes, the neurons of all batch elements lie side by side as n = B N columns: [T, n].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nwavesdk.solvers.problem import PassResult, Problem, Spec
from nwavesdk.solvers.serial import forward_serial

__all__ = [
    "MIN_CHUNKS",
    "affine_scan",
    "chunk_length",
    "chunk_length_for",
    "forward_chunks",
    "wanted_length",
]

Run = Callable[[Problem, bool, bool], PassResult]

MIN_CHUNKS = 8  # with fewer, the serial pass is faster
_MIN_STEPS = 64  # per chunk
_MAX_STEPS = 1024
_FORGETTING_TIMES = 4.0  # length of a chunk in units of 1 / (1 - decay)
_MAX_ROUNDINGS = 32  # roundings per step by which a settled entry may still move
_PASSES_BEFORE_FORECAST = 3  # the first passes do not show how many more are needed
_MIN_FORGOTTEN = 2.0**-10  # lower bound of 1 - decay, so that a width stays finite


def wanted_length(decay: float) -> int:
    """Steps per chunk within which its entry is mostly forgotten."""
    steps = round(_FORGETTING_TIMES / max(1 - decay, 1e-9))
    return min(_MAX_STEPS, max(_MIN_STEPS, steps))


def chunk_length(T: int, decay: float) -> int:
    """Steps per chunk: a divisor of T if possible; T itself if there would be too few chunks."""
    wanted = wanted_length(decay)
    if MIN_CHUNKS * wanted > T:
        return T
    # Chunks of half to twice the wanted length.
    counts = range(-(-T // (2 * wanted)), 2 * T // wanted + 1)
    even = [count for count in counts if T % count == 0 and count >= MIN_CHUNKS]
    return T // min(even, key=lambda count: abs(count * wanted - T)) if even else wanted


def chunk_length_for(problem: Problem) -> int:
    """Steps per chunk for the slowest neuron of the problem."""
    decay = problem.constants[0]
    return chunk_length(problem.x.shape[1], float(decay.max()) if decay.numel() else 0.0)


def affine_scan(a: Tensor, b: Tensor) -> Tensor:
    """y[t] = a[t] y[t-1] + b[t] with y[-1] = 0, for every t; time is dimension 0.

    The maps are composed in log2(T) steps (Hillis and Steele).
    """
    shift = 1
    while shift < a.shape[0]:
        b = torch.cat([b[:shift], a[shift:] * b[:-shift] + b[shift:]])
        a = torch.cat([a[:shift], a[shift:] * a[:-shift]])
        shift *= 2
    return b


def forward_chunks(
    problem: Problem,
    needs_membrane: bool = True,
    needs_saved: bool = True,
    *,
    steps: int | None = None,
    entries: Tensor | None = None,
    passes: int | None = None,
    run: Run = forward_serial,
) -> PassResult:
    """Run the problem without a graph; for feed-forward neurons with one state.

    Args:
        problem: The problem.
        needs_membrane: Whether the membrane after each step is returned.
        needs_saved: Whether `w` of each step is returned.
        steps: Steps per chunk. [`chunk_length_for(problem)`]
        entries: A guess of the states before all chunks but the first [B, C - 1, N], with
            C = ⌈T / steps⌉. [zero]
        passes: Passes after which the serial solver takes over. [half the number of chunks]
        run: The serial solver. Benchmarks pass a solver that counts its work.
    """
    steps = chunk_length_for(problem) if steps is None else steps
    B, T, N = problem.x.shape
    C = -(-T // max(steps, 1))
    if C < 2 or not B * N:
        return run(problem, needs_membrane, needs_saved)

    guess = problem.states[0].new_zeros(B, C, N)
    guess[:, 0] = problem.states[0].detach()
    if entries is not None:
        guess[:, 1:] = entries

    # The last chunk is filled up with zero charge; steps after T are not read.
    x = problem.x.detach().transpose(0, 1).reshape(T, B * N)
    if C * steps > T:
        x = torch.cat([x, x.new_zeros(C * steps - T, B * N)])

    constants = tuple(c.detach().repeat(B) for c in problem.constants)
    columns = _Columns(x, guess.transpose(0, 1).reshape(C, B * N), constants)
    max_passes = passes or max(3, C // 2)
    solver = _Solver(spec=problem.spec, steps=steps, run=run, max_passes=max_passes)
    result = solver.solve(columns)

    spikes, mem, w = (
        t[:T].view(T, B, N).transpose(0, 1).contiguous()
        for t in (result.spikes, result.mem, result.w)
    )
    last = (mem[:, -1].clone(),)
    return PassResult(spikes, mem if needs_membrane else None, last, (w,) if needs_saved else ())


class _Columns(NamedTuple):
    """Neurons side by side: charge [T, n], entries of the chunks [C, n], constants, each [n]."""

    x: Tensor
    entries: Tensor
    constants: tuple[Tensor, ...]

    def pick(self, mask: Tensor) -> "_Columns":
        return _Columns(
            self.x[:, mask], self.entries[:, mask], tuple(c[mask] for c in self.constants)
        )


class _Result(NamedTuple):
    """Spikes, membrane and `w` of each step, each [T, n], and the ends of the chunks [C, n]."""

    spikes: Tensor
    mem: Tensor
    w: Tensor
    ends: Tensor


@dataclass(kw_only=True)
class _Solver:
    """Solves columns in chunks of `steps`, in at most `max_passes` passes."""

    spec: Spec
    steps: int
    run: Run
    max_passes: int

    def solve(self, columns: _Columns, quiet: Tensor | None = None, passes: int = 0) -> _Result:
        """The serial pass of the columns.

        Args:
            columns: The columns.
            quiet: For each column, how many of the last passes in a row moved its entries by
                roundings only. [zero]
            passes: Passes before this call, over more columns.
        """
        if quiet is None:
            quiet = torch.zeros_like(columns.entries[0], dtype=torch.int64)
        moving_entries: list[int] = []  # of the worst column, after each pass
        while True:
            result = self._run_chunks(columns)
            passes += 1
            ends = result.ends[:-1]
            entries = columns.entries[1:]
            proven = (ends == entries).all(0)
            if bool(proven.all()):
                return result

            # A column is settled if Newton's method moves its entries by roundings only. The
            # roundings of a membrane's steps add up to about one rounding over 1 - decay.
            newton = self._newton_entries(columns, result)
            largest = torch.maximum(ends.abs(), entries.abs()).amax(0)
            rounding = torch.finfo(ends.dtype).eps * (1 + largest)
            forgotten = (1 - columns.constants[0]).clamp(min=_MIN_FORGOTTEN)
            is_moving = (newton - entries).abs() > _MAX_ROUNDINGS * rounding / forgotten
            settled = ~is_moving.any(0)
            quiet = torch.where(settled, quiet + 1, 0)
            moving_entries.append(int(is_moving.sum(0).max()))

            if passes + _passes_left(moving_entries) >= self.max_passes:
                return self._finish_serially(columns, result, ~proven)

            # If no column moves any more, brackets can prove the rest.
            candidates = ~proven & (quiet > 1)
            if bool((proven | candidates).all()):
                proven = proven | self._bracket(columns, result, candidates, rounding)
                return self._finish_serially(columns, result, ~proven)

            # Once chunks forget their entries, the ends are right to the bit, and Newton's
            # correction would only add roundings.
            better = torch.where(proven, entries, torch.where(settled, ends, newton))
            columns = columns._replace(entries=torch.cat([columns.entries[:1], better]))

            # If half of the columns are proven, go on with the others only.
            if 2 * int(proven.sum()) >= len(proven):
                rest = self.solve(columns.pick(~proven), quiet[~proven], passes)
                return _replace_columns(result, ~proven, rest)

    def _newton_entries(self, columns: _Columns, result: _Result) -> Tensor:
        """Entries of all chunks but the first that are consistent to first order [C - 1, n]."""
        ends = result.ends[:-1]
        transfer = self._transfer(columns, result)[:-1]
        moved = affine_scan(transfer, ends - columns.entries[1:])
        return ends + transfer * torch.cat([torch.zeros_like(moved[:1]), moved[:-1]])

    def _transfer(self, columns: _Columns, result: _Result) -> Tensor:
        """∂end/∂entry of each chunk, with its spikes held fixed [C, n]."""
        power = columns.constants[0] ** self.steps
        forgets = self.spec.neuron.forgets
        if forgets is None:
            return power.expand_as(result.ends)
        forgot = forgets(result.w, result.spikes).view(len(result.ends), self.steps, -1).any(1)
        return torch.where(forgot, 0.0, power)

    def _run_chunks(self, columns: _Columns, needs_trajectories: bool = True) -> _Result:
        """All chunks from their entries; without trajectories, only spikes and ends are valid."""
        T, n = columns.x.shape
        C = len(columns.entries)
        # A chunk is a batch element: [T, n] is [C, steps, n] in memory.
        x = columns.x.reshape(C, T // C, n)
        problem = Problem(self.spec, x, (columns.entries,), columns.constants)

        solution = self.run(problem, needs_trajectories, needs_trajectories)
        spikes = solution.spikes.view(T, n)
        if solution.mem is None:
            return _Result(spikes, spikes, spikes, solution.last[0])
        return _Result(
            spikes, solution.mem.view(T, n), solution.saved[0].view(T, n), solution.last[0]
        )

    def _bracket(
        self, columns: _Columns, result: _Result, candidates: Tensor, rounding: Tensor
    ) -> Tensor:
        """The candidates [n] whose spikes are proven to equal the serial spikes [n]."""
        inner = columns.pick(candidates)
        spikes = result.spikes[:, candidates]
        ends = result.ends[:, candidates]

        # Wide enough for the missed ends and the roundings that chunks have not forgotten.
        missed = (ends[:-1] - inner.entries[1:]).abs().amax(0)
        forgotten = (1 - inner.constants[0] ** self.steps).clamp(min=_MIN_FORGOTTEN)
        radius = ((2 * missed + 4 * rounding[candidates]) / forgotten).expand(len(ends), -1).clone()
        radius[0] = 0  # the first entry is known
        lower = inner.entries - radius
        upper = inner.entries + radius

        low, high = (
            self._run_chunks(inner._replace(entries=edge), needs_trajectories=False)
            for edge in (lower, upper)
        )

        alike = ((low.spikes == high.spikes) & (low.spikes == spikes)).all(0)
        inside = (lower[1:] <= low.ends[:-1]) & (high.ends[:-1] <= upper[1:])
        proven = torch.zeros_like(candidates)
        proven[candidates] = alike & inside.all(0)
        return proven

    def _finish_serially(self, columns: _Columns, result: _Result, unproven: Tensor) -> _Result:
        """`result`, with the unproven columns run on from the last state known to the bit."""
        if not bool(unproven.any()):
            return result
        inner = columns.pick(unproven)
        ends = result.ends[:, unproven]

        # Up to the first chunk whose end is not the entry of the next chunk in some column, all
        # entries are right. So the end of this chunk is known to the bit.
        differs = ends[:-1] != inner.entries[1:]
        known = int(differs.to(torch.int8).argmax(0).min())
        start = (known + 1) * self.steps

        rest = Problem(self.spec, inner.x[None, start:], (ends[known][None],), inner.constants)
        solution = self.run(rest, True, True)
        assert solution.mem is not None

        spikes, mem, w = (
            torch.cat([whole[:start, unproven], new[0]])
            for whole, new in zip(
                result[:3], (solution.spikes, solution.mem, solution.saved[0]), strict=True
            )
        )
        new_ends = torch.cat([ends[:-1], solution.last[0]])
        return _replace_columns(result, unproven, _Result(spikes, mem, w, new_ends))


def _passes_left(moving_entries: list[int]) -> float:
    """A forecast of the passes still needed; 0 while it is too early to tell."""
    if len(moving_entries) <= _PASSES_BEFORE_FORECAST:
        return 0
    # From the entries that settled in the last two passes.
    return 2 * moving_entries[-1] / max(moving_entries[-3] - moving_entries[-1], 1)


def _replace_columns(whole: _Result, mask: Tensor, part: _Result) -> _Result:
    """`whole`, with `part` written into the columns of `mask`."""
    for tensor, new in zip(whole, part, strict=True):
        tensor[:, mask] = new
    return whole
