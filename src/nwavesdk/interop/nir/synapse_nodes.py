"""The nodes of synapses, convolutions, pools and other modules without neurons, for `to_nir`."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.interop.nir.draft import GraphDraft, Signal, refusal
from nwavesdk.interop.nir.modules import Delay, Scale
from nwavesdk.interop.nir.node import SPIKING
from nwavesdk.interop.nir.shapes import pair
from nwavesdk.layers import (
    DelayedSynapse,
    Dropout,
    LIFSynapse,
    TemporalConv,
    ThresholdBatchNorm,
    TimeBatchNorm,
)

__all__ = ["PLAIN_MODULES", "add_plain"]


def add_plain(draft: GraphDraft, path: str, module: nn.Module, signal: Signal) -> Signal:
    """Add the nodes of a module without neurons.

    Raises:
        ValueError: If NIR has no such node.
    """
    return _MAKERS[type(module)](draft, path, module, signal)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy().copy()


def _require_flat(path: str, signal: Signal, n_in: int) -> None:
    if signal.shape != (n_in,):
        raise refusal(
            path,
            f"an input of shape {list(signal.shape)}",
            f"[{n_in}], because Linear of NIR takes one dimension",
            "put nn.Flatten before it, or give the input_shape of the net",
        )


def _dense(draft: GraphDraft, path: str, signal: Signal, weight: Any, bias: Any) -> Signal:
    """Linear or Affine; weight [out, in]."""
    _require_flat(path, signal, weight.shape[1])
    shape = (weight.shape[0],)
    if bias is None:
        return draft.add("Linear", path, signal, shape, weight=weight)
    return draft.add("Affine", path, signal, shape, weight=weight, bias=bias)


def _add_synapse(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    bias = None if module.bias is None else _array(module.bias)
    return _dense(draft, path, signal, _array(module.effective_weight()).T.copy(), bias)


def _add_linear(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    bias = None if module.bias is None else _array(module.bias)
    return _dense(draft, path, signal, _array(module.weight), bias)


def _add_convolution(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    if module.padding_mode != "zeros":
        raise refusal(path, f"padding_mode={module.padding_mode!r}", "'zeros'", "pad with zeros")
    bias = None if module.bias is None else _array(module.bias)
    return _convolve(
        draft,
        path,
        signal,
        _array(module.weight),
        bias,
        (module.stride, module.padding, module.dilation, module.groups),
    )


def _convolve(
    draft: GraphDraft,
    path: str,
    signal: Signal,
    weight: Any,
    bias: Any,
    geometry: tuple[Any, Any, Any, int],
) -> Signal:
    """Conv1d or Conv2d; geometry is stride, padding, dilation and groups."""
    stride, padding, dilation, groups = geometry
    axes = weight.ndim - 2
    channels = weight.shape[1] * groups
    if len(signal.shape) != axes + 1 or signal.shape[0] != channels:
        raise refusal(
            path,
            f"an input of shape {list(signal.shape)}",
            f"{channels} channels and {axes} further dimensions",
            "give the input_shape of the net",
        )
    # By torch itself, so that all paddings are right.
    function = nn.functional.conv1d if axes == 1 else nn.functional.conv2d
    empty = torch.zeros(1, *signal.shape)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shape = tuple(function(empty, torch.from_numpy(weight).float(), **options).shape[1:])
    if groups > 1 or len(set(weight.shape[2:])) > 1:
        draft.notes.append(
            f"{path}: nir 1.0.8 derives wrong shapes for groups and for kernels that are not "
            "square: other readers must use nir.read(file, type_check=False)"
        )
    bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
    is_text = isinstance(padding, str)
    zeros = 0 if is_text else padding
    if axes == 1:
        sizes: list[Any] = [pair(value)[0] for value in (stride, zeros, dilation)]
    else:
        sizes = [pair(value) for value in (stride, zeros, dilation)]
    return draft.add(
        f"Conv{axes}d",
        path,
        signal,
        shape,
        input_shape=signal.shape[1] if axes == 1 else signal.shape[1:],
        weight=weight,
        stride=sizes[0],
        padding=padding if is_text else sizes[1],
        dilation=sizes[2],
        groups=groups,
        bias=bias,
    )


def _add_temporal(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """One convolution or product per tap, of the input some steps ago; their outputs add up."""
    weight = _array(module.effective_weight())
    bias = None if module.bias is None else _array(module.bias)
    total: Signal | None = None
    for tap in range(module.taps):
        steps = (module.taps - 1 - tap) * module.dilation
        name = f"{path}_tap{tap}" if module.taps > 1 else path
        part = draft.delay(name, signal, steps)
        tap_bias = bias if tap == module.taps - 1 else None
        if module.kernel:
            geometry = (module.stride, module.padding, 1, module.groups)
            out = _convolve(draft, name, part, weight[:, :, tap], tap_bias, geometry)
        else:
            matrix = _without_groups(weight[:, :, tap], module.groups)
            out = _dense(draft, name, part, matrix, tap_bias)
        total = out if total is None else total.plus(out)
    assert total is not None
    return total


def _without_groups(weight: Any, groups: int) -> Any:
    """The matrix [out, in] of a product in groups."""
    n_out, n_in = weight.shape
    matrix = np.zeros((n_out, n_in * groups), weight.dtype)
    size = n_out // groups
    for g in range(groups):
        matrix[g * size : (g + 1) * size, g * n_in : (g + 1) * n_in] = weight[g * size :][:size]
    return matrix


def _add_delayed(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """One product per delay, of what arrives then; a delay per input needs one product."""
    delays = module.delays.detach()
    if (module.training or module.interpolates_in_eval) and bool((delays != delays.round()).any()):
        raise refusal(
            path,
            "delays between two steps",
            "whole steps, as in eval()",
            "call net.eval() first, which rounds them",
        )
    if bool((delays != delays.round()).any()):
        draft.notes.append(f"{path}: delays are rounded to whole steps, as in eval()")
    steps = _array(delays.round()).astype(np.int64)  # [N_in, N_out] or [N_in, 1]
    weight = _array(module.effective_weight())
    bias = None if module.bias is None else _array(module.bias)
    _require_flat(path, signal, module.nb_inputs)
    if module.per == "input":
        return _dense(draft, path, draft.delay(path, signal, steps[:, 0]), weight.T.copy(), bias)
    total: Signal | None = None
    for delay in np.unique(steps):
        name = f"{path}_delay{delay}"
        matrix = np.where(steps == delay, weight, 0).T.copy()
        part = draft.delay(name, signal, int(delay))
        out = _dense(draft, name, part, matrix, bias if total is None else None)
        total = out if total is None else total.plus(out)
    assert total is not None
    return total


def _add_norm(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """A norm that no synapse has taken in: Affine with a diagonal weight."""
    if module.training:
        raise refusal(
            path,
            "a batch norm in train()",
            "the statistics of eval()",
            "call net.eval() first",
        )
    if signal.shape != (module.num_features,):
        raise refusal(
            path,
            f"a batch norm of features {list(signal.shape)} that follows no synapse",
            "a synapse before it, or features in one dimension",
            "put it after a synapse",
        )
    with torch.no_grad():
        scale, shift = copy.deepcopy(module).double().scale_and_shift(1)
    return _dense(draft, path, signal, np.diag(_array(scale)), _array(shift))


def _add_pool(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    kernel = pair(module.kernel_size)
    padding = pair(getattr(module, "padding", 0))
    is_sum = isinstance(module, nn.LPPool2d)
    if is_sum and module.norm_type != 1:
        raise refusal(path, f"norm_type={module.norm_type}", "1, a sum", "use a sum or a mean")
    if not is_sum:
        divisor = module.divisor_override
        is_sum = divisor == 1
        is_mean = divisor in (None, kernel[0] * kernel[1])
        counts_padding = module.count_include_pad or not any(padding) or divisor is not None
        if not (is_sum or is_mean) or not counts_padding:
            raise refusal(
                path,
                "a mean that does not divide by the size of its kernel",
                "count_include_pad=True, and no divisor_override but 1",
                "change the pool",
            )
    return _pool(draft, path, module, signal, "SumPool2d" if is_sum else "AvgPool2d")


def _add_max_pool(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """A window of spikes has a spike where their sum is above 0: a sum and a threshold."""
    kinds = {type(draft.nodes.get(name)).__name__ for name in signal.names}
    if len(signal.names) != 1 or not kinds <= SPIKING:
        raise refusal(
            path,
            "a max pool of values that are not spikes",
            "spikes of one layer",
            "pool after a layer of neurons, or use nn.AvgPool2d",
        )
    if pair(module.dilation) != (1, 1):
        raise refusal(path, f"dilation={module.dilation}", "1", "use another pool")
    total = _pool(draft, path, module, signal, "SumPool2d")
    half = np.full(total.shape, 0.5, np.float32)
    return draft.add("Threshold", f"{path}_any" if path else "", total, threshold=half)


def _pool(draft: GraphDraft, path: str, module: Any, signal: Signal, kind: str) -> Signal:
    """A node for the windows of a pool."""
    kernel = pair(module.kernel_size)
    stride = kernel if module.stride is None else pair(module.stride)
    padding = pair(getattr(module, "padding", 0))
    if module.ceil_mode:
        raise refusal(path, "ceil_mode=True", "False", "pad the images instead")
    if len(signal.shape) != 3:
        raise refusal(
            path,
            f"an input of shape {list(signal.shape)}",
            "channels, height and width",
            "give the input_shape of the net",
        )
    sizes = tuple(
        (n + 2 * p - k) // s + 1
        for n, p, k, s in zip(signal.shape[1:], padding, kernel, stride, strict=True)
    )
    return draft.add(
        kind,
        path,
        signal,
        (signal.shape[0], *sizes),
        kernel_size=np.array(kernel),
        stride=np.array(stride),
        padding=np.array(padding),
    )


def _add_flatten(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    axes = len(signal.shape)
    first, last = (d - 1 if d > 0 else d + axes for d in (module.start_dim, module.end_dim))
    if module.start_dim == 0 or not 0 <= first <= last < axes:
        raise refusal(
            path,
            f"start_dim={module.start_dim} and end_dim={module.end_dim} for features "
            f"{list(signal.shape)}",
            "dimensions of the features",
            "change them",
        )
    joined = int(np.prod(signal.shape[first : last + 1]))
    shape = (*signal.shape[:first], joined, *signal.shape[last + 1 :])
    if first == last:
        return signal
    return draft.add(
        "Flatten",
        path,
        signal,
        shape,
        input_type={"input": np.array(signal.shape)},
        start_dim=first,
        end_dim=last,
    )


def _add_unflatten(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    """At the begin of a net, a change of shape is one of the input of the graph."""
    if draft.nodes or signal.names != ("input",):
        raise refusal(
            path,
            "Unflatten within the net",
            "no change of shape but Flatten, the only one of NIR",
            "remove it, or put it first",
        )
    with torch.no_grad():
        shape = tuple(module(torch.empty(1, *signal.shape)).shape[1:])
    draft.notes.append(f"{path} (Unflatten): the input of the graph is {list(shape)}")
    return draft.begin(shape)


def _add_dropout(
    draft: GraphDraft,  # noqa: ARG001  # as all of PLAIN_MODULES
    path: str,
    module: Any,
    signal: Signal,
) -> Signal:
    if module.training and module.p > 0:
        raise refusal(path, "dropout in train()", "that of eval()", "call net.eval() first")
    return signal


def _add_nothing(
    draft: GraphDraft,  # noqa: ARG001  # as all of PLAIN_MODULES
    path: str,  # noqa: ARG001  # as all of PLAIN_MODULES
    module: Any,  # noqa: ARG001  # as all of PLAIN_MODULES
    signal: Signal,
) -> Signal:
    return signal


def _add_scale(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    scale = np.broadcast_to(_array(module.scale), signal.shape).copy()
    return draft.add("Scale", path, signal, scale=scale)


def _add_delay(draft: GraphDraft, path: str, module: Any, signal: Signal) -> Signal:
    steps = _array(module.steps)
    return draft.add("Delay", path, signal, delay=steps.astype(np.float64) * draft.dt)


_MAKERS: dict[type[nn.Module], Callable[[GraphDraft, str, Any, Signal], Signal]] = {
    DelayedSynapse: _add_delayed,
    Delay: _add_delay,
    Dropout: _add_dropout,
    LIFSynapse: _add_synapse,
    Scale: _add_scale,
    TemporalConv: _add_temporal,
    ThresholdBatchNorm: _add_norm,
    TimeBatchNorm: _add_norm,
    nn.AvgPool2d: _add_pool,
    nn.Conv1d: _add_convolution,
    nn.Conv2d: _add_convolution,
    nn.Dropout: _add_dropout,
    nn.Flatten: _add_flatten,
    nn.Identity: _add_nothing,
    nn.LPPool2d: _add_pool,
    nn.Linear: _add_linear,
    nn.MaxPool2d: _add_max_pool,
    nn.Unflatten: _add_unflatten,
}

PLAIN_MODULES = tuple(_MAKERS)
"""The modules without neurons that have nodes."""
