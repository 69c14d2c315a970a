"""The product of spikes and delayed weights, and its gradients: fast on the CPU, right everywhere.

The equation and the kinds of interpolation are in `delays_reference`. Each connection delays its
spikes by two neighboring steps or one, so a product costs two multiplications per value and
connection, however large the largest delay is; and a sparse input costs only its non-zeros. A delay
per input shifts the input, and an ordinary product follows.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import conv1d

from nwavesdk.solvers.cpu.threads import keep_large_blocks, run_kernel
from nwavesdk.solvers.problem import load_saved_tensors
from nwavesdk.solvers.sparse import delay_rows, delays_reference
from nwavesdk.solvers.sparse.delay_rows import DelayedWork, SpikeList, Way
from nwavesdk.solvers.sparse.delays_reference import delay_kernel
from nwavesdk.solvers.sparse.finite import is_finite
from nwavesdk.solvers.sparse.gather import find_nonzeros
from nwavesdk.solvers.sparse.product import sparse_obstacle, spike_product

__all__ = ["delayed_product"]

# Density below which delays per input of a first layer, 700–256, learn faster as delays per
# connection. Measured on an AMD EPYC (model 17).
_FEW_SPIKES = 0.08
_SMALL = 1 << 16  # values below which threads cost more than they save


def delayed_product(
    spk: Tensor,
    past: Tensor,
    weight: Tensor,
    delay: Tensor,
    max_delay: int,
    interpolation: str,
    width: float,
) -> Tensor:
    """The charge of spikes that arrive after a delay of their connection.

    Values and gradients equal `delays_reference.delayed_product`, but for rounding. Results
    do not depend on the number of threads. An upstream gradient that is not finite reaches only the
    weights and delays of active inputs.

    Args:
        spk: Spikes or other values [B, T, N_in].
        past: The values before the first step [B, D, N_in], the most recent one last, with
            D ≥ `max_delay`.
        weight: Weights [N_in, N_out].
        delay: Delays [steps], each from 0 to `max_delay`: [N_in, N_out], or [N_in, 1] for one delay
            per input.
        max_delay: Largest delay [steps].
        interpolation: `"linear"`, `"gaussian"` or `"none"`; see `delays_reference.delay_kernel`.
        width: Standard deviation of the Gaussian [steps]; not used by the others.

    Returns:
        Charge [B, T, N_out], with gradient for `spk`, `past`, `weight` and `delay`.

    Raises:
        RuntimeError: In backward, for a gradient of a gradient.
    """
    if not _is_plain_case(spk, past, weight, delay, interpolation):
        return _convolve(spk, past, weight, delay, max_delay, interpolation, width)
    if max_delay == 0:
        return spike_product(spk, weight * delay_kernel(delay, 0, interpolation, width)[0])

    if interpolation == "none":
        delay = delay.detach().round()
    if not (_are_delays(delay, max_delay) and is_finite(weight)):
        return _convolve(spk, past, weight, delay, max_delay, interpolation, width)

    keep_large_blocks()
    past = past[:, past.shape[1] - max_delay :]
    # Most often there is no past, and then nothing is copied.
    given_past = past if past.requires_grad or _has_spikes(past) else None

    if delay.shape[1] == 1:
        if not _learns_from_few_spikes(spk, given_past, delay):
            shifted = _ShiftedInput.apply(spk, given_past, delay, max_delay)
            return spike_product(shifted, weight)
        delay = delay.expand_as(weight)

    product: Tensor = _DelayedProduct.apply(spk, given_past, weight, delay, max_delay)
    return product


def _is_plain_case(
    spk: Tensor, past: Tensor, weight: Tensor, delay: Tensor, interpolation: str
) -> bool:
    """Whether the kernels take these operands."""
    if interpolation == "gaussian" or torch.compiler.is_compiling():
        return False
    if forward_ad._current_level >= 0 or not spk.numel() or not weight.numel():
        return False
    return all(sparse_obstacle(spk, other) is None for other in (past, weight, delay))


def _are_delays(delay: Tensor, max_delay: int) -> bool:
    """Whether all values are within 0…max_delay; the kernels use them as addresses."""
    least, most = torch.aminmax(delay.detach())
    return bool(least >= 0) and bool(most <= max_delay)


def _has_spikes(past: Tensor) -> bool:
    """Whether a value is not 0. Finding the extremes takes a fraction of the time of `any`."""
    least, most = torch.aminmax(past)
    return bool(least != 0) or bool(most != 0)


def _learns_from_few_spikes(spk: Tensor, past: Tensor | None, delay: Tensor) -> bool:
    """Whether delays per input learn faster as delays per connection.

    The gradient of the input is a dense product, and delays per connection do not need it.
    """
    needs_input = spk.requires_grad or (past is not None and past.requires_grad)
    if needs_input or not delay.requires_grad or not torch.is_grad_enabled():
        return False
    return int(spk.count_nonzero()) < _FEW_SPIKES * spk.numel()


def _convolve(
    spk: Tensor,
    past: Tensor,
    weight: Tensor,
    delay: Tensor,
    max_delay: int,
    interpolation: str,
    width: float,
) -> Tensor:
    """The product by a convolution with one tap per step, for any device and dtype."""
    if delay.shape[1] == 1 or not spk.numel() or not weight.numel():
        return delays_reference.delayed_product(
            spk, past, weight, delay, max_delay, interpolation, width
        )
    sequence = torch.cat([past[:, past.shape[1] - max_delay :], spk], 1)
    taps = weight * delay_kernel(delay, max_delay, interpolation, width).to(weight.dtype)
    # From [taps, N_in, N_out], the latest step first, to [N_out, N_in, taps], the earliest first.
    kernel = taps.permute(2, 1, 0).flip(-1)
    return conv1d(sequence.transpose(1, 2), kernel).transpose(1, 2)


class _DelayedProduct(torch.autograd.Function):
    """The product with one delay per connection, of plain tensors on the CPU."""

    @staticmethod
    def forward(
        ctx: Any, spk: Tensor, past: Tensor | None, weight: Tensor, delay: Tensor, max_delay: int
    ) -> Tensor:
        learns = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
        sequence, ctx.past = _with_past(spk, past)
        ctx.max_delay = max_delay
        spikes, way = _look_up(sequence, spk.shape[1], weight.shape[1], max_delay, learns)

        ctx.sizes = None
        if spikes is None or not learns:
            ctx.save_for_backward(weight, delay)
        else:
            ctx.save_for_backward(weight, delay, spikes.ends, spikes.places, spikes.values)
            ctx.sizes = spikes.lanes, spikes.length

        operands = weight, delay, max_delay
        if spikes is None or way is Way.DENSE:
            return delay_rows.add_all_inputs(sequence, *operands, spk.shape[1])
        if way is Way.STEPS:
            return delay_rows.add_recent_spikes(spikes, *operands, spk.shape)
        return delay_rows.add_listed_spikes(spikes, *operands, spk.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        _reject_second_derivative()
        weight, delay, *listed = load_saved_tensors(ctx)
        needs_spk, needs_past, needs_weight, needs_delay, _ = ctx.needs_input_grad
        grad_spk = grad_past = grad_weight = grad_delay = None
        operands = weight, delay, ctx.max_delay

        if needs_spk or needs_past:
            past = ctx.past if needs_past else 0
            grad_sequence = delay_rows.add_upstream(grad, *operands, past)
            grad_past = grad_sequence[:, :past] if needs_past else None
            grad_spk = grad_sequence[:, past:] if needs_spk else None

        if needs_weight or needs_delay:
            ends, places, values = listed
            lanes, length = ctx.sizes
            spikes = SpikeList(ends=ends, places=places, values=values, lanes=lanes, length=length)
            grad_weight, grad_delay = delay_rows.parameter_gradients(spikes, *operands, grad)

        return grad_spk, grad_past, grad_weight, grad_delay if needs_delay else None, None


class _ShiftedInput(torch.autograd.Function):
    """The input [B, T, N], late by the delays [N, 1], linear between two steps."""

    @staticmethod
    def forward(
        ctx: Any, spk: Tensor, past: Tensor | None, delay: Tensor, max_delay: int
    ) -> Tensor:
        sequence, ctx.past = _with_past(spk, past)
        whole = delay[:, 0].long().clamp(max=max_delay - 1)
        part = delay[:, 0] - whole
        ctx.save_for_backward(sequence, whole, part)

        out = torch.empty(spk.shape, dtype=spk.dtype)
        shift = delay_rows.delay_kernels(spk.dtype).shift_inputs
        serial = out.numel() < _SMALL
        run_kernel(shift, len(spk), sequence, whole, part, ctx.past, out, serial=serial)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        _reject_second_derivative()
        sequence, whole, part = load_saved_tensors(ctx)
        grad_sequence = torch.empty_like(sequence)
        grad_delay = sequence.new_empty(len(sequence), len(whole))

        arguments = sequence, whole, part, ctx.past, grad, grad_sequence, grad_delay
        shift = delay_rows.delay_kernels(grad.dtype).shift_back
        run_kernel(shift, len(grad), *arguments, serial=sequence.numel() < _SMALL)

        grad_past = grad_sequence[:, : ctx.past] if ctx.needs_input_grad[1] else None
        return grad_sequence[:, ctx.past :], grad_past, grad_delay.sum(0)[:, None], None


def _with_past(spk: Tensor, past: Tensor | None) -> tuple[Tensor, int]:
    """The sequence that begins with `past`, and the number of its steps."""
    if past is None:
        return spk.contiguous(), 0
    return torch.cat([past, spk], 1), past.shape[1]


def _reject_second_derivative() -> None:
    """Raise in a backward pass that makes a graph."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a gradient of a gradient (create_graph=True) does not go through delayed synapses on "
            "the CPU: take both derivatives with torch.func, as in torch.func.hessian."
        )


def _look_up(
    sequence: Tensor, steps: int, outputs: int, max_delay: int, learns: bool
) -> tuple[SpikeList | None, Way]:
    """The list of spikes of a sequence [B, S, N_in], and the kernel for its last `steps` steps.

    Gradients of parameters always need the list.
    """
    batch, _, inputs = sequence.shape
    active = find_nonzeros(sequence.view(-1, inputs), sequence.numel())
    assert active is not None
    work = DelayedWork(
        batch=batch,
        steps=steps,
        inputs=inputs,
        outputs=outputs,
        max_delay=max_delay,
        dtype=sequence.dtype,
    )
    way = work.choose(active.count, with_steps=not learns)

    if way is Way.DENSE and not learns:
        return None, way
    lanes = 1 if way is Way.STEPS else None
    return delay_rows.list_spikes(active, sequence, max_delay, lanes=lanes), way
