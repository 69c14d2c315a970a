"""comPaSSo's backward pass: the adjoint of all chunks together.

The gradient at the entry of a chunk is a slope times the gradient that arrives at its end, plus an
offset. The serial adjoint runs three times:

1. with a gradient of 0 at the end of each chunk, which gives the offsets;
2. with a gradient of 1 at the end of each chunk and 0 elsewhere, which gives the slopes;
3. with the gradients that arrive, which a scan over the chunks computes from offsets and slopes.

The third run gives the gradient of the problem. It differs from the serial gradient by the order of
sums only.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from nwavesdk.solvers.parallel.chunks import affine_scan, chunk_length_for
from nwavesdk.solvers.problem import (
    PassResult,
    Problem,
    ProblemGradient,
    ResultGradient,
    query_saved,
)
from nwavesdk.solvers.serial import backward_serial

__all__ = ["backward_chunks"]

Adjoint = Callable[..., ProblemGradient]


def backward_chunks(
    problem: Problem,
    result: PassResult,
    grads: ResultGradient,
    learns_constants: bool,
    may_overwrite: bool = False,
    *,
    steps: int | None = None,
    run: Adjoint = backward_serial,
) -> ProblemGradient:
    """As `backward_serial`, in chunks of `steps` through the serial adjoint `run`."""
    w = result.saved[0]
    steps = chunk_length_for(problem) if steps is None else steps
    B, T, N = w.shape
    C = -(-T // max(steps, 1))
    if C < 2 or not B * N:
        return run(problem, result, grads, learns_constants, may_overwrite)

    # The chunks as batch elements of one problem.
    w, grads = _fill_last_chunk(w, grads, C * steps)
    chunks = w.reshape(B * C, steps, N)
    entries = _chunk_entries(problem, w, steps).reshape(B * C, N)
    cut_problem = replace(problem, x=chunks, states=(entries,))
    cut_result = PassResult(chunks, None, (), (chunks,))
    grad_s, grad_mem = (
        None if g is None else g.reshape(B * C, steps, N) for g in (grads.spikes, grads.mem)
    )

    def start_gradient(spikes: Tensor | None, mem: Tensor | None, end: Tensor | None) -> Tensor:
        """∂L/∂entry of each chunk, the last chunk first [C, B, N]."""
        gradient = ResultGradient(spikes, mem, [end])
        (grad_entry,) = run(cut_problem, cut_result, gradient, False).states
        return grad_entry.view(B, C, N).transpose(0, 1).flip(0)

    offset = start_gradient(grad_s, grad_mem, None)
    slope = start_gradient(None, None, torch.ones_like(entries))
    arrives = _arriving_gradient(slope, offset, grads.last[0])
    # With the gradient through the reset, slopes may exceed 1 and overflow in the scan where the
    # serial adjoint does not.
    if not bool(torch.isfinite(arrives).all()):
        return run(problem, result, grads, learns_constants, may_overwrite)

    arrives_by_chunk = arrives.flip(0).transpose(0, 1).reshape(B * C, N)
    gradient = ResultGradient(grad_s, grad_mem, [arrives_by_chunk])
    cut_gradient = run(cut_problem, cut_result, gradient, learns_constants, may_overwrite)

    grad_x = cut_gradient.x.view(B, C * steps, N)[:, :T]
    grad_states = [grad_state.view(B, C, N)[:, 0] for grad_state in cut_gradient.states]
    return ProblemGradient(x=grad_x, states=grad_states, constants=cut_gradient.constants)


def _arriving_gradient(slope: Tensor, offset: Tensor, last: Tensor | None) -> Tensor:
    """The gradient at the end of each chunk, the last chunk first [C, B, N].

    Args:
        slope: Slope of each chunk, in the same order and shape.
        offset: Offset of each chunk, likewise.
        last: The gradient of the last state of the sequence [B, N], or None for 0.
    """
    arrives = torch.zeros_like(offset)
    if last is not None:
        arrives[0] = last

    first = slope[:1] * arrives[:1] + offset[:1]
    arrives[1:] = affine_scan(slope, torch.cat([first, offset[1:]]))[:-1]
    return arrives


def _fill_last_chunk(w: Tensor, grads: ResultGradient, steps: int) -> tuple[Tensor, ResultGradient]:
    """`w` and its gradients, continued with zeros to `steps`, as in the forward pass.

    The gradient of the last state then arrives at `mem` of the last true step.
    """
    B, T, N = w.shape
    if steps == T:
        return w, grads

    def fill(t: Tensor) -> Tensor:
        return torch.cat([t, t.new_zeros(B, steps - T, N)], 1)

    w = fill(w)
    grad_s, grad_mem = (None if g is None else fill(g) for g in (grads.spikes, grads.mem))
    if grads.last[0] is not None:
        grad_mem = torch.zeros_like(w) if grad_mem is None else grad_mem
        grad_mem[:, T - 1] += grads.last[0]
    return w, ResultGradient(grad_s, grad_mem, [None])


def _chunk_entries(problem: Problem, w: Tensor, steps: int) -> Tensor:
    """The state before each chunk [B, C, N], from `w` of the last step of each chunk."""
    ends = (w[:, steps - 1 :: steps],)
    (after,) = query_saved(problem, ends, problem.program.states_after)
    return torch.cat([problem.states[0].detach()[:, None], after[:, :-1]], 1)
