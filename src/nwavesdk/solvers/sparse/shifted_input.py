"""An input in which every column is late by its own delay, and its gradients, on the CPU."""

from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import run_jobs
from nwavesdk.solvers.kernel_cache import load_python_kernels
from nwavesdk.solvers.problem import load_saved_tensors
from nwavesdk.solvers.sparse.many_rows import DTYPE_NAMES

__all__ = ["reject_second_derivative", "shift_input"]

_SMALL = 1 << 16  # values below which threads cost more than they save


def shift_input(spk: Tensor, past: Tensor | None, delay: Tensor, max_delay: int) -> Tensor:
    """The input [B, T, N], late by `delay` [N, 1] steps and linear between two steps.

    Args:
        spk: Values [B, T, N].
        past: The `max_delay` values before them [B, max_delay, N]; None if all are 0.
        delay: Delays [steps], each from 0 to `max_delay`, [N, 1].
        max_delay: Largest delay [steps], at least 1.

    Raises:
        RuntimeError: In backward, for a gradient of a gradient.
    """
    shifted: Tensor = _ShiftedInput.apply(spk, past, delay, max_delay)
    return shifted


class _ShiftedInput(torch.autograd.Function):
    """The input, late by one delay per input, of plain tensors on the CPU."""

    @staticmethod
    def forward(
        ctx: Any, spk: Tensor, past: Tensor | None, delay: Tensor, max_delay: int
    ) -> Tensor:
        sequence = spk.contiguous() if past is None else torch.cat([past, spk], 1)
        ctx.max_delay = max_delay
        ctx.past = 0 if past is None else max_delay
        ctx.save_for_backward(sequence, delay)
        return _shift_inputs(sequence, delay[:, 0], max_delay, spk.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        reject_second_derivative()
        sequence, delay = load_saved_tensors(ctx)
        needs_spk, needs_past, *_ = ctx.needs_input_grad
        grad_sequence, grad_delay = _shift_back(
            sequence, delay[:, 0], ctx.max_delay, grad, needs_sequence=needs_spk or needs_past
        )
        grad_spk = grad_past = None
        if grad_sequence is not None:
            grad_past = grad_sequence[:, : ctx.past] if needs_past else None
            grad_spk = grad_sequence[:, ctx.past :] if needs_spk else None
        return grad_spk, grad_past, grad_delay[:, None], None


def reject_second_derivative() -> None:
    """Raise in a backward pass that makes a graph."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a gradient of a gradient (create_graph=True) does not go through delayed synapses on "
            "the CPU: take both derivatives with torch.func, as in torch.func.hessian."
        )


def _shift_inputs(sequence: Tensor, delay: Tensor, max_delay: int, steps: int) -> Tensor:
    """The last `steps` steps of a sequence [B, S, N_in], in which input i is late by delay[i]."""
    out = sequence.new_empty(len(sequence), steps, sequence.shape[2])
    arguments = (
        *(sequence.contiguous().numpy(), delay.contiguous().numpy(), max_delay),
        *(sequence.shape[1] - steps, out.numpy()),
    )
    kernel = _shift_kernels(sequence.dtype).shift_inputs
    serial = out.numel() < _SMALL
    run_jobs(lambda i, j: kernel(i, j, *arguments), len(sequence), serial=serial)
    return out


def _shift_back(
    sequence: Tensor, delay: Tensor, max_delay: int, grad: Tensor, *, needs_sequence: bool
) -> tuple[Tensor | None, Tensor]:
    """The gradients of `_shift_inputs`: of the sequence, if needed, and of the delays [N_in]."""
    grad_sequence = torch.empty_like(sequence) if needs_sequence else None
    grad_delay = sequence.new_empty(len(sequence), sequence.shape[2])
    arguments = (
        *(sequence.numpy(), delay.contiguous().numpy(), max_delay),
        *(sequence.shape[1] - grad.shape[1], grad.contiguous().numpy()),
        *(None if grad_sequence is None else grad_sequence.numpy(), grad_delay.numpy()),
    )
    kernel = _shift_kernels(sequence.dtype).shift_back
    serial = sequence.numel() < _SMALL
    run_jobs(lambda i, j: kernel(i, j, *arguments), len(sequence), serial=serial)
    return grad_sequence, grad_delay.sum(0)


@cache
def _shift_kernels(dtype: torch.dtype) -> Any:
    """The functions of `shift_kernels`, compiled when they are called."""
    text = files("nwavesdk.solvers.sparse").joinpath("shift_kernels.py").read_text("utf-8")
    return load_python_kernels(f"shifts_{DTYPE_NAMES[dtype]}", text)
