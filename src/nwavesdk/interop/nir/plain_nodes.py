"""Modules without neurons as nodes of NIR."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.interop.nir.draft import INPUT, ModuleDraft, Signal
from nwavesdk.interop.nir.modules import Delay, Scale
from nwavesdk.interop.nir.node import SPIKING, Array
from nwavesdk.layers import (
    DelayedSynapse,
    Dropout,
    LIFSynapse,
    TemporalConv,
    ThresholdBatchNorm,
    TimeBatchNorm,
)

__all__ = ["NODE_WRITERS"]


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().cpu().numpy().copy()


def _dense(entry: ModuleDraft, weight: Array, bias: Array | None) -> Signal:
    """Linear or Affine; weight [out, in]."""
    if bias is None:
        return entry.add("Linear", {"weight": weight})
    return entry.add("Affine", {"weight": weight, "bias": bias})


def _add_synapse(entry: ModuleDraft) -> Signal:
    weight = entry.module.effective_weight()
    return _dense(entry, _array(weight.T), _array(entry.module.bias))


def _add_linear(entry: ModuleDraft) -> Signal:
    return _dense(entry, _array(entry.module.weight), _array(entry.module.bias))


def _add_convolution(entry: ModuleDraft) -> Signal:
    module = entry.module
    if module.padding_mode != "zeros":
        raise entry.refusal(f"padding_mode={module.padding_mode!r}", "'zeros'", "pad with zeros")
    return _convolve(entry, _array(module.weight), _array(module.bias), module.dilation)


def _convolve(entry: ModuleDraft, weight: Array, bias: Array | None, dilation: Any) -> Signal:
    """Conv1d or Conv2d with the other settings of a module."""
    module = entry.module
    axes = weight.ndim - 2
    if module.groups > 1 or len(set(weight.shape[2:])) > 1:
        entry.draft.notes.append(
            f"{entry.path}: nir 1.0.8 derives wrong shapes for groups and for kernels that are not "
            "square: other readers must use nir.read(file, type_check=False)"
        )

    bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
    settings = {"stride": _per_axis(module.stride, axes), "dilation": _per_axis(dilation, axes)}
    is_named = isinstance(module.padding, str)
    settings["padding"] = module.padding if is_named else _per_axis(module.padding, axes)
    settings["groups"] = (module.groups,)
    return entry.add(f"Conv{axes}d", {"weight": weight, "bias": bias}, settings)


def _per_axis(value: Any, axes: int) -> Any:
    """A stride and the like, which may be one number, for each axis."""
    return tuple(np.broadcast_to(value, axes).tolist())


def _add_temporal(entry: ModuleDraft) -> Signal:
    """One convolution or product per tap, of the input some steps ago; their outputs add up."""
    module = entry.module
    weight, bias = module.effective_weight(), _array(module.bias)

    # The last tap takes the current step; its node has the bias.
    parts = []
    for tap in range(module.taps):
        delay = (module.taps - 1 - tap) * module.dilation
        part = entry.after(f"tap{tap}" if module.taps > 1 else "", delay)
        tap_bias = None if delay else bias

        if module.kernel:
            parts.append(_convolve(part, _array(weight[:, :, tap]), tap_bias, 1))
        else:
            # A product in groups is a product with a matrix of blocks: [out, in].
            blocks = weight[:, :, tap].chunk(module.groups)
            matrix = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]  # torch's
            parts.append(_dense(part, _array(matrix), tap_bias))
    return entry.total(parts)


def _add_delayed(entry: ModuleDraft) -> Signal:
    """One product per delay; if the delay depends on the input alone, a single product."""
    module = entry.module
    delays = module.delays.detach()
    if bool((delays != delays.round()).any()):
        if module.interpolates_in_eval:
            raise entry.refusal(
                "delays between two steps",
                "whole steps",
                "set interpolates_in_eval = False, which rounds them",
            )
        entry.draft.notes.append(f"{entry.path}: delays are rounded to whole steps, as in eval()")

    steps = _array(delays.round()).astype(np.int64)  # [N_in, N_out] or [N_in, 1]
    weight, bias = _array(module.effective_weight()), _array(module.bias)
    if module.per == "input":
        return _dense(entry.after("", steps[:, 0]), weight.T.copy(), bias)

    # The product of a delay has the weights with this delay, and 0 in place of all others. The
    # first product has the bias.
    parts: list[Signal] = []
    for delay in np.unique(steps).tolist():
        matrix = np.where(steps == delay, weight, 0).T.copy()
        part = entry.after(f"delay{delay}", delay)
        parts.append(_dense(part, matrix, None if parts else bias))
    return entry.total(parts)


def _add_norm(entry: ModuleDraft) -> Signal:
    """A norm that is not folded into a synapse: Affine with a diagonal weight."""
    with torch.no_grad():
        scale, shift = copy.deepcopy(entry.module).double().scale_and_shift(1)
    return _dense(entry, np.diag(_array(scale)), _array(shift))


def _add_pool(entry: ModuleDraft) -> Signal:
    """A sum or a mean, which must divide by the size of the kernel."""
    module = entry.module
    if isinstance(module, nn.LPPool2d):
        if module.norm_type != 1:
            got = f"norm_type={module.norm_type}"
            raise entry.refusal(got, "1, a sum", "use a sum or a mean")
        return _pool(entry, "SumPool2d")

    divisor = module.divisor_override
    counts_zeros = module.count_include_pad or divisor or not np.any(module.padding)
    if divisor not in (None, 1, np.prod(_per_axis(module.kernel_size, 2))) or not counts_zeros:
        raise entry.refusal(
            "a mean that does not divide by the size of its kernel",
            "count_include_pad=True, and no divisor_override but 1",
            "change the pool",
        )
    return _pool(entry, "SumPool2d" if divisor == 1 else "AvgPool2d")


def _add_max_pool(entry: ModuleDraft) -> Signal:
    """A window of spikes has a spike where their sum is above 0: a sum and a threshold."""
    nodes = [entry.draft.nodes.get(name) for name in entry.signal.names]
    if len(nodes) != 1 or nodes[0] is None or nodes[0].kind not in SPIKING:
        raise entry.refusal(
            "a max pool of values that are not spikes",
            "spikes of one layer",
            "pool after a layer of neurons, or use nn.AvgPool2d",
        )

    if np.any(np.array(entry.module.dilation) != 1):
        raise entry.refusal(f"dilation={entry.module.dilation}", "1", "use another pool")

    total = replace(entry, signal=_pool(entry, "SumPool2d"))
    half = np.full(total.signal.shape, 0.5, np.float32)
    return total.after("any", 0).add("Threshold", {"threshold": half})


def _pool(entry: ModuleDraft, kind: str) -> Signal:
    """A node for the windows of a pool."""
    module = entry.module
    if module.ceil_mode:
        raise entry.refusal("ceil_mode=True", "False", "pad the images instead")
    settings = {"kernel_size": _per_axis(module.kernel_size, 2)}
    settings["stride"] = _per_axis(module.stride or module.kernel_size, 2)
    settings["padding"] = _per_axis(getattr(module, "padding", 0), 2)
    return entry.add(kind, {}, settings)


def _add_flatten(entry: ModuleDraft) -> Signal:
    # The modules of torch have the batch as a dimension before the dimensions of NIR. The batch
    # itself, dimension 0, becomes a dimension that does not exist: `add` then raises an error.
    axes = len(entry.signal.shape)
    dimensions = entry.module.start_dim, entry.module.end_dim
    first, last = (axis - 1 if axis > 0 else axis + axes for axis in dimensions)
    if first == last < axes:  # one dimension stays as it is
        return entry.signal
    return entry.add("Flatten", {}, {"start_dim": (first,), "end_dim": (last,)})


def _add_unflatten(entry: ModuleDraft) -> Signal:
    """At the front of a net, the input of the graph has the new shape; NIR has no Unflatten."""
    draft = entry.draft
    if draft.nodes or entry.signal.names != (INPUT,):
        raise entry.refusal(
            "Unflatten within the net",
            "Flatten, the only change of shape that NIR has",
            "remove it, or put it first",
        )

    with torch.no_grad():
        shape = tuple(entry.module(torch.empty(1, *entry.signal.shape)).shape[1:])
    draft.notes.append(f"{entry.path} (Unflatten): the input of the graph is {list(shape)}")
    draft.input_shape = shape
    return Signal((INPUT,), shape)


def _add_nothing(entry: ModuleDraft) -> Signal:
    return entry.signal


def _add_delay(entry: ModuleDraft) -> Signal:
    delays = _array(entry.module.steps).astype(np.float64) * entry.draft.dt
    return entry.add("Delay", {"delay": delays})


NODE_WRITERS: dict[type[nn.Module], Callable[[ModuleDraft], Signal]] = {
    DelayedSynapse: _add_delayed,
    Delay: _add_delay,
    Dropout: _add_nothing,
    LIFSynapse: _add_synapse,
    Scale: lambda entry: entry.add("Scale", {"scale": _array(entry.module.scale)}),
    TemporalConv: _add_temporal,
    ThresholdBatchNorm: _add_norm,
    TimeBatchNorm: _add_norm,
    nn.AvgPool2d: _add_pool,
    nn.Conv1d: _add_convolution,
    nn.Conv2d: _add_convolution,
    nn.Dropout: _add_nothing,
    nn.Flatten: _add_flatten,
    nn.Identity: _add_nothing,
    nn.LPPool2d: _add_pool,
    nn.Linear: _add_linear,
    nn.MaxPool2d: _add_max_pool,
    nn.Unflatten: _add_unflatten,
}
"""The modules without neurons that have nodes, and the functions that add these nodes."""
