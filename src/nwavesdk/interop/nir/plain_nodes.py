"""Modules without neurons as nodes of NIR, and these nodes as modules."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.interop.nir.draft import INPUT, GraphDraft, Signal, refusal
from nwavesdk.interop.nir.modules import Delay, Scale
from nwavesdk.interop.nir.node import AXES, SPIKING, Array, Node
from nwavesdk.layers import (
    DelayedSynapse,
    Dropout,
    LIFSynapse,
    TemporalConv,
    ThresholdBatchNorm,
    TimeBatchNorm,
)

__all__ = ["WRITERS", "Writer", "module_of", "sum_of"]

Writer = Callable[[GraphDraft, str, Any, Signal], Signal]


# From a node to a module


def module_of(node: Node, dtype: torch.dtype) -> nn.Module:
    """The module of a node without neurons.

    Args:
        node: The node.
        dtype: The dtype of its parameters.
    """
    weight, settings = node.arrays.get("weight"), node.settings
    if node.kind in ("Linear", "Affine"):
        assert weight is not None
        synapse = LIFSynapse(*weight.shape[::-1], bias=node.kind == "Affine")
        return _filled(synapse, weight.T, node.arrays.get("bias"), dtype)
    if node.kind == "Scale":
        return Scale(torch.from_numpy(np.array(node.arrays["scale"])).to(dtype))
    if node.kind == "Delay":
        return Delay(torch.from_numpy(node.arrays["delay"].astype(np.int64)))
    if node.kind == "Flatten":
        # Torch's modules see the batch as a dimension before those of NIR.
        axes = (axis for key in ("start_dim", "end_dim") for axis in settings[key])
        return nn.Flatten(*(axis + (axis >= 0) for axis in axes))

    window: Any = node.window
    padding: Any = tuple(zeros for zeros, _ in window.padding)
    if weight is None:
        divisor = 1 if node.kind == "SumPool2d" else None
        return nn.AvgPool2d(window.kernel, window.stride, padding, divisor_override=divisor)
    kind = nn.Conv1d if node.kind == "Conv1d" else nn.Conv2d
    (groups,) = settings["groups"]
    conv = kind(
        weight.shape[1] * groups,
        len(weight),
        window.kernel,
        window.stride,
        "same" if settings["padding"] == "same" else padding,
        window.dilation,
        groups,
    )
    return _filled(conv, weight, node.arrays["bias"], dtype)


def _filled(module: Any, weight: Array, bias: Array | None, dtype: torch.dtype) -> nn.Module:
    """A module with the values of a node."""
    filled: nn.Module = module
    for name, array in {"weight": weight, "bias": bias}.items():
        if array is not None:
            values = torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
            setattr(filled, name, nn.Parameter(values))
    return filled


# From a module to nodes


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().cpu().numpy().copy()


def _dense(draft: GraphDraft, path: str, signal: Signal, weight: Array, bias: Any) -> Signal:
    """Linear or Affine; weight [out, in]."""
    if bias is None:
        return draft.add("Linear", path, signal, {"weight": weight})
    return draft.add("Affine", path, signal, {"weight": weight, "bias": bias})


def sum_of(path: str, parts: Sequence[Signal]) -> Signal:
    """The sum of signals.

    Raises:
        NodeError: If they have different shapes.
    """
    for part in parts:
        if part.shape != parts[0].shape:
            got = f"outputs of shapes {list(parts[0].shape)} and {list(part.shape)} that are added"
            raise refusal(path, got, "equal shapes", "change the sizes of the modules")
    return Signal(tuple(name for part in parts for name in part.names), parts[0].shape)


def _add_synapse(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    weight = _array(module.effective_weight()).T.copy()
    return _dense(draft, path, signal, weight, _array(module.bias))


def _add_linear(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    return _dense(draft, path, signal, _array(module.weight), _array(module.bias))


def _add_convolution(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    if module.padding_mode != "zeros":
        raise refusal(path, f"padding_mode={module.padding_mode!r}", "'zeros'", "pad with zeros")
    weight, bias = _array(module.weight), _array(module.bias)
    return _convolve(draft, path, signal, (weight, bias), module, module.dilation)


def _convolve(
    draft: GraphDraft,
    path: str,
    signal: Signal,
    values: tuple[Array, Array | None],
    module: Any,
    dilation: tuple[int, ...],
) -> Signal:
    """Conv1d or Conv2d with a weight and a bias, and the geometry of a module."""
    weight, bias = values
    kind = f"Conv{weight.ndim - 2}d"
    if module.groups > 1 or len(set(weight.shape[2:])) > 1:
        draft.notes.append(
            f"{path}: nir 1.0.8 derives wrong shapes for groups and for kernels that are not "
            "square: other readers must use nir.read(file, type_check=False)"
        )
    bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
    settings = {
        "stride": _per_axis(module.stride, AXES[kind]),
        "padding": module.padding
        if isinstance(module.padding, str)
        else _per_axis(module.padding, AXES[kind]),
        "dilation": _per_axis(dilation, AXES[kind]),
        "groups": (module.groups,),
    }
    return draft.add(kind, path, signal, {"weight": weight, "bias": bias}, settings)


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """A stride and the like, which may be one number, for each axis."""
    return tuple(int(size) for size in np.broadcast_to(value, axes))


def _add_temporal(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """One convolution or product per tap, of the input some steps ago; their outputs add up."""
    weight, bias = _array(module.effective_weight()), _array(module.bias)
    parts = []
    for tap in range(module.taps):
        name = f"{path}_tap{tap}" if module.taps > 1 else path
        late = draft.delay(name, signal, (module.taps - 1 - tap) * module.dilation)
        tap_bias = bias if tap == module.taps - 1 else None
        if module.kernel:
            values = weight[:, :, tap], tap_bias
            parts.append(_convolve(draft, name, late, values, module, (1,)))
        else:
            # A product in groups is one whose matrix has blocks: [out, in].
            blocks = torch.from_numpy(weight[:, :, tap]).chunk(module.groups)
            matrix = torch.block_diag(*blocks).numpy()  # type: ignore[no-untyped-call]  # torch's
            parts.append(_dense(draft, name, late, matrix, tap_bias))
    return sum_of(path, parts)


def _add_delayed(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """One product per delay, of what arrives then; a delay per input needs one product."""
    delays = module.delays.detach()
    if bool((delays != delays.round()).any()):
        if module.training or module.interpolates_in_eval:
            remedy = "call net.eval() first, which rounds them"
            raise refusal(path, "delays between two steps", "whole steps, as in eval()", remedy)
        draft.notes.append(f"{path}: delays are rounded to whole steps, as in eval()")

    steps = _array(delays.round()).astype(np.int64)  # [N_in, N_out] or [N_in, 1]
    weight, bias = _array(module.effective_weight()), _array(module.bias)
    if module.per == "input":
        late = draft.delay(path, signal, steps[:, 0])
        return _dense(draft, path, late, weight.T.copy(), bias)
    parts: list[Signal] = []
    for delay in np.unique(steps):
        name = f"{path}_delay{delay}"
        matrix = np.where(steps == delay, weight, 0).T.copy()
        late = draft.delay(name, signal, int(delay))
        parts.append(_dense(draft, name, late, matrix, None if parts else bias))
    return sum_of(path, parts)


def _add_norm(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """A norm that no synapse has taken in: Affine with a diagonal weight."""
    if module.training:
        remedy = "call net.eval() first"
        raise refusal(path, "a batch norm in train()", "the statistics of eval()", remedy)
    with torch.no_grad():
        scale, shift = copy.deepcopy(module).double().scale_and_shift(1)
    return _dense(draft, path, signal, np.diag(_array(scale)), _array(shift))


def _add_pool(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    is_sum = isinstance(module, nn.LPPool2d)
    if is_sum and module.norm_type != 1:
        raise refusal(path, f"norm_type={module.norm_type}", "1, a sum", "use a sum or a mean")
    if not is_sum:
        divisor, size = module.divisor_override, int(np.prod(_per_axis(module.kernel_size, 2)))
        is_sum = divisor == 1
        counts_zeros = module.count_include_pad or divisor or not np.any(module.padding)
        if divisor not in (None, 1, size) or not counts_zeros:
            raise refusal(
                path,
                "a mean that does not divide by the size of its kernel",
                "count_include_pad=True, and no divisor_override but 1",
                "change the pool",
            )
    return _pool(draft, path, module, signal, "SumPool2d" if is_sum else "AvgPool2d")


def _add_max_pool(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """A window of spikes has a spike where their sum is above 0: a sum and a threshold."""
    kinds = {draft.nodes[name].kind if name in draft.nodes else name for name in signal.names}
    if len(signal.names) != 1 or not kinds <= SPIKING:
        got = "a max pool of values that are not spikes"
        remedy = "pool after a layer of neurons, or use nn.AvgPool2d"
        raise refusal(path, got, "spikes of one layer", remedy)
    if np.any(np.array(module.dilation) != 1):
        raise refusal(path, f"dilation={module.dilation}", "1", "use another pool")
    total = _pool(draft, path, module, signal, "SumPool2d")
    half = np.full(total.shape, 0.5, np.float32)
    return draft.add("Threshold", f"{path}_any" if path else "", total, {"threshold": half})


def _pool(draft: GraphDraft, path: str, module: Any, signal: Signal, kind: str) -> Signal:
    """A node for the windows of a pool."""
    if module.ceil_mode:
        raise refusal(path, "ceil_mode=True", "False", "pad the images instead")
    kernel = _per_axis(module.kernel_size, 2)
    settings = {
        "kernel_size": kernel,
        "stride": kernel if module.stride is None else _per_axis(module.stride, 2),
        "padding": _per_axis(getattr(module, "padding", 0), 2),
    }
    return draft.add(kind, path, signal, {}, settings)


def _add_flatten(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    # Torch's modules see the batch as a dimension before those of NIR.
    axes = len(signal.shape)
    first, last = (d - 1 if d > 0 else d + axes for d in (module.start_dim, module.end_dim))
    if first == last < axes:
        return signal
    return draft.add("Flatten", path, signal, {}, {"start_dim": (first,), "end_dim": (last,)})


def _add_unflatten(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """At the begin of a net, a change of shape is one of the input of the graph."""
    if draft.nodes or signal.names != (INPUT,):
        expected = "no change of shape but Flatten, the only one of NIR"
        raise refusal(path, "Unflatten within the net", expected, "remove it, or put it first")
    with torch.no_grad():
        shape = tuple(module(torch.empty(1, *signal.shape)).shape[1:])
    draft.notes.append(f"{path} (Unflatten): the input of the graph is {list(shape)}")
    draft.input_shape = shape
    return Signal((INPUT,), shape)


def _add_nothing(_: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    if module.training and getattr(module, "p", 0) > 0:
        raise refusal(path, "dropout in train()", "that of eval()", "call net.eval() first")
    return signal


def _add_scale(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    return draft.add("Scale", path, signal, {"scale": _array(module.scale)})


def _add_delay(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    delays = _array(module.steps).astype(np.float64) * draft.dt
    return draft.add("Delay", path, signal, {"delay": delays})


WRITERS: dict[type[nn.Module], Writer] = {
    DelayedSynapse: _add_delayed,
    Delay: _add_delay,
    Dropout: _add_nothing,
    LIFSynapse: _add_synapse,
    Scale: _add_scale,
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
"""The modules without neurons that have nodes, and what adds these nodes."""
