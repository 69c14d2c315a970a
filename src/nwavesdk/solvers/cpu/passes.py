"""Passes of the serial solver on the CPU: they allocate the arrays of a call and run its kernel.

`cached_forward_pass` and `cached_backward_pass` make a pass once for its sizes; it runs any number
of times:

- When it is made, `_divide` chooses a loop over time from `loops` and the number of its jobs, and
  `native` compiles the loop and the steps of the neuron.
- When it runs, it allocates the results and calls the kernel with words: the addresses of all
  arrays, and the strides of the charge.

Where a change goes:

- The division of work among threads is in `_divide`.
- A further array is an argument of each loop of a pass in `loops` that reads it, an entry of
  `ARRAYS` there (and of `FLAGS`, if a call may omit it), and a word in `run`, in the order of the
  arguments. `tests/solvers/cpu/test_passes.py` compares the words with the arguments.
- If the array comes from the layer, it is also a field of `Problem` and an argument of both classes
  of passes (`cpu.serial`, `solvers.passes`), of `sweep.run_passes` and of the operators in `ops`,
  and `layers.plan` passes it. If backward reads it, `sweep` saves it. If the step of the neuron
  reads it, the signatures in `native`, `render_loops` and `render` change.
- The arithmetic of a neuron is on its page, and `render` turns it into code.
"""

from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nwavesdk.dynamics import QueryText, StepText
from nwavesdk.solvers.cpu.loops import BACKWARD_LOOPS, FORWARD_LOOPS
from nwavesdk.solvers.cpu.native import KernelCall, native_backward_steps, native_forward_steps
from nwavesdk.solvers.cpu.rows import SHARED_BATCH, WIDTH
from nwavesdk.solvers.cpu.threads import keep_large_blocks
from nwavesdk.solvers.problem import (
    PassResult,
    ProblemGradient,
    ResultGradient,
    new_result,
    recent_spikes,
)
from nwavesdk.surrogate import Surrogate

__all__ = ["BackwardPass", "ForwardPass", "cached_backward_pass", "cached_forward_pass"]

_NARROW = 5  # neurons below which batch elements are packed side by side, in lanes
_LANES = 128  # lanes of a packed row, at most
# Neuron-steps below which a second thread costs more than it saves; torch has the same limit. At
# this size, two threads take 0.9 to 1.1 times as long as one for a neuron with little arithmetic,
# and 0.6 times as long for the backward pass of a neuron with much of it, if both cores are free
# (`python -m benchmarks.threads`).
_SMALL = 1 << 15
# Looked up once: a look-up in torch takes as long as a tenth of a step.
_empty_like = torch.empty_like
_DTYPE_NAMES = {torch.float32: "float32", torch.float64: "float64"}


class _Work(NamedTuple):
    """How a pass is divided.

    Attributes:
        loop: The loop over time, from `loops`.
        jobs: Its number of jobs.
        group: Batch elements that a narrow layer packs side by side; 1 where it does not pack.
        sizes: The whole numbers that the loop takes, by name.
        is_small: Whether one thread runs it.
    """

    loop: Callable[..., Any]
    jobs: int
    group: int
    sizes: dict[str, int]
    is_small: bool


def _divide(
    text: StepText | QueryText,
    sizes: tuple[int, int, int],
    loops: Sequence[Callable[..., Any]],
    threads: int,
    *,
    recurrent_elements: int,
) -> _Work:
    """Divide a pass into jobs.

    Args:
        text: The program text of the step, or of its adjoint.
        sizes: B, T, N.
        loops: The loops of the pass: over time, packed, recurrent.
        threads: Number of threads.
        recurrent_elements: Batch elements per job of the recurrent loop; 0 without recurrence.
    """
    B, T, N = sizes
    over_time, packed, recurrent = loops
    width, jobs = _blocks(B, N, threads)
    group = 1 if recurrent_elements else _packed_elements(text, B, N, threads)

    numbers = {"B": B, "T": T, "N": N, "C": text.constants, "K": text.states}
    numbers |= {"width_of_block": width, "group": group}

    # Decides whether a second thread is worth its cost.
    work = B * T * N
    if recurrent_elements:
        # One step of a recurrent neuron costs roughly as much as this many of a plain neuron.
        work *= 1 + N // 8
        return _Work(recurrent, -(-B // recurrent_elements), 1, numbers, work < _SMALL)

    if group > 1:
        return _Work(packed, -(-B // group), group, numbers, work < _SMALL)
    return _Work(over_time, jobs, 1, numbers, work < _SMALL)


class ForwardPass:
    """Forward passes of one neuron with given sizes.

    Args:
        step: The step of the neuron.
        dtype: float32 or float64.
        sizes: B, T, N.
        is_recurrent: Whether the layer is recurrent.
        threads: Number of threads.
    """

    def __init__(
        self,
        step: StepText,
        dtype: torch.dtype,
        *,
        sizes: tuple[int, int, int],
        is_recurrent: bool,
        threads: int,
    ) -> None:
        _, T, N = sizes
        keep_large_blocks()
        self.sizes = sizes
        self.step = step
        self.strides = (T * N, N)

        # A job of the recurrent loop forward is one batch element.
        elements = 1 if is_recurrent else 0
        work = _divide(step, sizes, FORWARD_LOOPS, threads, recurrent_elements=elements)
        numbers = work.sizes | {"saved": step.saved}
        name = _DTYPE_NAMES[dtype]
        steps = native_forward_steps(step, name)
        self.call = KernelCall(
            work.loop, name, steps, jobs=work.jobs, sizes=numbers, serial=work.is_small
        )

    def run(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        constants: Tensor,
        recurrence: Sequence[Tensor],
        needs_membrane: bool,
        needs_saved: bool,
    ) -> PassResult:
        """Run without a graph; sequences of the result have the shape of `x`.

        Args:
            x: Input charge [B, T, N], or its values in any other shape.
            states: States before the first step, each [B, N].
            constants: Constants [C, N].
            recurrence: Weights [N, N] and spikes before the first step [B, N] of recurrent layers.
            needs_membrane: Whether to write `PassResult.mem`.
            needs_saved: Whether to write `PassResult.saved`.
        """
        batch_stride, step_stride = self.strides
        like = x  # has the shape and the layout of the results
        # A view, such as one step of a sequence, is read in place by its strides.
        if not x.is_contiguous():
            x, batch_stride, step_stride = self._find_strides(x)
            like = torch.empty(x.shape, dtype=x.dtype, device="cpu")

        # The arrays that the kernel writes.
        spikes = _empty_like(like)
        mem = _empty_like(like) if needs_membrane else None
        saved, others = self._allocate_saved(like) if needs_saved else ((), None)

        last: tuple[Tensor, ...]
        if len(states) == 1:  # most neurons; a comprehension is slow compared with one step
            first = states[0].contiguous()
            last = (_empty_like(first),)
            last_words = [first.data_ptr(), last[0].data_ptr()]
        else:
            initial = [state.contiguous() for state in states]
            last = tuple([_empty_like(state) for state in initial])
            last_words = [state.data_ptr() for state in (*initial, *last)]

        # The words of a recurrence come before the words of the states.
        recent = None
        if recurrence:
            weights = recurrence[0].contiguous()
            spikes_before = recurrence[1].contiguous()
            last_words = [weights.data_ptr(), spikes_before.data_ptr(), *last_words]

        # In the order of `loops.call_words`; an array that the call does not need has address 0.
        count = self.call.run(
            [
                batch_stride,
                step_stride,
                x.data_ptr(),
                constants.data_ptr(),
                spikes.data_ptr(),
                saved[0].data_ptr() if saved else 0,
                0 if mem is None else mem.data_ptr(),
                0 if others is None else others.data_ptr(),
                *last_words,
            ]
        )

        if recurrence:
            recent = recent_spikes(spikes, spikes_before)
        spike_count = None if self.step.is_readout else count
        return new_result((spikes, mem, last, saved, spike_count, recent))

    def _allocate_saved(self, like: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The saved values, and all but the first of them as one array if there are more."""
        w = _empty_like(like)
        if self.step.saved == 1:
            return (w,), None
        others = like.new_empty(self.step.saved - 1, *self.sizes)
        return (w, *others.unbind()), others

    def _find_strides(self, x: Tensor) -> tuple[Tensor, int, int]:
        """The charge with its strides; copied where neurons do not lie side by side."""
        B, T, N = self.sizes
        strides = x.stride()

        if N > 1 and strides[-1] != 1:
            return x.contiguous(), *self.strides
        if x.shape == (B, T, N):
            return x, strides[0], strides[1]
        if x.shape == (B, N) and T == 1:
            return x, strides[0], 0
        return x.contiguous(), *self.strides


class BackwardPass:
    """The adjoint of `ForwardPass`.

    Args:
        adjoint: The adjoint of the neuron.
        dtype: float32 or float64.
        surrogate: The surrogate.
        sizes: B, T, N.
        is_recurrent: Whether the layer is recurrent.
        may_overwrite: Whether ∂L/∂x may be written over the first saved value.
        threads: Number of threads.
    """

    def __init__(
        self,
        adjoint: QueryText,
        dtype: torch.dtype,
        surrogate: Surrogate,
        *,
        sizes: tuple[int, int, int],
        is_recurrent: bool,
        may_overwrite: bool,
        threads: int,
    ) -> None:
        self.sizes = sizes
        self.adjoint = adjoint

        # A single step needs no loop: its recurrence is two products outside of the kernel.
        elements = SHARED_BATCH if is_recurrent and sizes[1] != 1 else 0
        work = _divide(adjoint, sizes, BACKWARD_LOOPS, threads, recurrent_elements=elements)

        has_formula = surrogate.pseudo_derivative is not None
        # Without a formula the kernel reads σ' from the array for ∂L/∂x.
        self.needs_sigma = adjoint.uses_surrogate and not has_formula
        can_overwrite = not (self.needs_sigma or elements or work.group > 1)
        self.overwrites = may_overwrite and can_overwrite

        # The kernel is compiled for the class of the surrogate; its parameters are an array.
        kind = type(surrogate) if adjoint.uses_surrogate and has_formula else None
        parameters = surrogate.constants if kind is not None else ()
        self._parameters = array("d", parameters)

        numbers = {
            **work.sizes,
            "recalled": len(adjoint.recalled),
            "learned": adjoint.constants if adjoint.learns_constants else 0,
            "has_sigma": int(self.needs_sigma),
        }

        name = _DTYPE_NAMES[dtype]
        steps = native_backward_steps(adjoint, name, kind, len(parameters), reuse=self.overwrites)
        self.call = KernelCall(
            work.loop, name, steps, jobs=work.jobs, sizes=numbers, serial=work.is_small
        )

    def run(
        self,
        saved: Sequence[Tensor],
        states: Sequence[Tensor],
        constants: Tensor,
        grads: ResultGradient,
        sigma: Tensor | None = None,
        recurrence: Sequence[Tensor] = (),
    ) -> ProblemGradient:
        """The gradients of a problem; ∂L/∂x has the shape of the saved values.

        Args:
            saved: `PassResult.saved`.
            states: States before the first step, each [B, N]; read only if some are recalled.
            constants: Constants [C, N].
            grads: Gradients of the result, sequences in the shape of the saved values.
            sigma: σ' in each step if `needs_sigma`, which becomes ∂L/∂x.
            recurrence: Transposed weights [N, N], and the array for the gradient of the spikes
                before the first step [B, N].
        """
        B, _, N = self.sizes
        adjoint = self.adjoint
        w = saved[0].contiguous()
        others = _stacked(saved[1:]) if adjoint.saved > 1 else None
        K = adjoint.states

        # The gradients to start from; the kernel takes a missing gradient as 0.
        grad_s = None if grads.spikes is None else grads.spikes.contiguous()
        grad_mem = None if grads.mem is None else grads.mem.contiguous()
        initial = [states[k].contiguous() for k in adjoint.recalled]
        grad_last = [None if g is None else g.contiguous() for g in grads.last]

        # The gradients to be written. If σ' is given, each step reads its σ' in `grad_x` and
        # writes ∂L/∂x over it.
        grad_x = w if self.overwrites else torch.empty_like(w)
        if sigma is not None:
            grad_x.copy_(sigma)
        before = tuple([w.new_empty(B, N) for _ in range(K)])
        learned = adjoint.learns_constants
        grad_constants = w.new_empty(adjoint.constants, B, N) if learned else None

        # In the order of `loops.call_words`.
        arrays = (w, others, constants, grad_s, grad_mem, grad_x, grad_constants)
        words = [
            *[0 if t is None else t.data_ptr() for t in arrays],
            self._parameters.buffer_info()[0],
            *[t.data_ptr() for t in recurrence],
            *[0 if t is None else t.data_ptr() for t in (*initial, *grad_last, *before)],
        ]

        self.call.run(words)
        return ProblemGradient(x=grad_x, states=before, constants=grad_constants)


# The passes of the latest sizes. Compiled kernels do not depend on sizes, and are never dropped.
cached_forward_pass = lru_cache(maxsize=256)(ForwardPass)
cached_backward_pass = lru_cache(maxsize=256)(BackwardPass)


def _blocks(B: int, N: int, threads: int) -> tuple[int, int]:
    """Neurons per block, and the number of jobs: each is a block of a batch element.

    A layer of up to 256 neurons is one block. The blocks of a wider layer are as wide as a thread's
    share of the neurons of all batch elements, rounded up to a multiple of 64, but neither below
    256 nor above `WIDTH`.
    """
    share = -(-N * max(B, 1) // threads)
    width = min(WIDTH, max(256, 64 * -(-share // 64))) if N > 256 else max(N, 1)
    return width, B * -(-N // width)


def _packed_elements(text: StepText | QueryText, B: int, N: int, threads: int) -> int:
    """Batch elements that a narrow layer packs side by side; 1 where it does not pack."""
    can_pack = text.states == 1 and text.saved == 1 and text.constants > 0 and 0 < N < _NARROW
    share = -(-B // threads)
    return max(1, min(_LANES // N, share)) if can_pack else 1


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors as one contiguous array [number of tensors, *shape]."""
    first, *others = (t.detach() for t in tensors)
    if not others:
        return first.contiguous()[None]

    # A view, where possible: `torch.stack` copies whole sequences.
    if _are_adjacent(tensors):
        return first.as_strided((len(tensors), *first.shape), (first.numel(), *first.stride()))
    return torch.stack([first, *others])


def _are_adjacent(tensors: Sequence[Tensor]) -> bool:
    """Whether the tensors follow one another in one block, as a forward pass saves them."""
    first = tensors[0]
    size = first.numel() * first.element_size()
    start = first.untyped_storage().data_ptr()
    return first.is_contiguous() and all(
        t.is_contiguous()
        and t.untyped_storage().data_ptr() == start
        and t.data_ptr() == first.data_ptr() + i * size
        for i, t in enumerate(tensors)
    )
