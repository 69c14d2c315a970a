"""Masks of weights: which connections exist, and the values of weights that torch has pruned.

A mask is made here and applied by torch: `prune.custom_from_mask(synapse, "weight", mask)`. torch
then trains `weight_orig`, and computes `weight` from it in each call through `__call__`. Plans,
recordings and `prepare_net` read weights without such a call, so they read `current_parameter`.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nwavesdk.internal.checks import finite_number, shown, whole_number
from nwavesdk.internal.tensors import require_floating

__all__ = [
    "copy_module",
    "current_parameter",
    "is_pruned",
    "keep_blocks",
    "keep_n_of_m",
    "without_graphs",
]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@torch.no_grad()
def keep_n_of_m(weight: Tensor, n: int, m: int, axis: int = 0) -> Tensor:
    """The mask that keeps the `n` largest of every `m` consecutive weights along an axis.

    Args:
        weight: Weights of any shape. Of synapses, [N_in, N_out]; of `nn.Linear`, [N_out, N_in].
        n: Number of weights that are kept in each group, by magnitude.
        m: Size of a group; the last group may be smaller.
        axis: The axis along which groups are made. For synapses, axis 0 is the inputs.

    Returns:
        1 where a weight is kept, else 0, in the shape and dtype of `weight`.

    Raises:
        TypeError: If `weight` is not a floating tensor.
        ValueError: If not 1 ≤ `n` ≤ `m`, or `weight` has no such axis.

    Example:
        >>> keep_n_of_m(torch.tensor([[0.1], [-0.4], [0.2], [0.3]]), n=2, m=4).flatten()
        tensor([0., 1., 0., 1.])
    """
    owner = "keep_n_of_m"
    require_floating(owner, weight)
    m = whole_number(owner, "m", m)
    n = whole_number(owner, "n", n, most=m)

    if type(axis) is not int or not -weight.ndim <= axis < weight.ndim:
        raise ValueError(
            f"{owner}: axis must be one of the {weight.ndim} of the weight, from "
            f"{-weight.ndim} to {weight.ndim - 1}, got {shown(axis)}."
        )

    magnitudes = weight.abs().movedim(axis, -1)
    length = magnitudes.shape[-1]
    # [..., groups, m]; padding is smaller than any magnitude.
    groups = _in_groups(magnitudes, m, padding=-1.0)
    mask = torch.zeros_like(groups).scatter_(-1, groups.topk(n).indices, 1.0)
    return mask.flatten(-2)[..., :length].movedim(-1, axis).contiguous()


@torch.no_grad()
def keep_blocks(weight: Tensor, block: int | Sequence[int], share: float) -> Tensor:
    """The mask that keeps whole blocks of weights: those with the largest sum of squares.

    Args:
        weight: Weights of any shape.
        block: Size of a block along each axis, or one number for all. Blocks at the end of an axis
            may be smaller.
        share: Share of the blocks that is kept, above 0 and at most 1; at least one block is kept.

    Returns:
        1 where a weight is kept, else 0, in the shape and dtype of `weight`.

    Raises:
        TypeError: If `weight` is not a floating tensor.
        ValueError: If `block` is not one size per axis, or `share` is out of its range.

    Example:
        >>> keep_blocks(torch.tensor([[0.1, 0.2, 0.9], [0.1, 0.1, 0.0]]), block=(2, 1), share=0.4)
        tensor([[0., 0., 1.],
                [0., 0., 1.]])
    """
    owner = "keep_blocks"
    require_floating(owner, weight)
    share = finite_number(owner, "share", share, above=0, most=1)

    sizes = list(block) if isinstance(block, Sequence) else [block] * weight.ndim
    if len(sizes) != weight.ndim:
        raise ValueError(
            f"{owner}: block must be one size, or one for each of the {weight.ndim} axes of the "
            f"weight, got {shown(block)}."
        )
    sizes = [whole_number(owner, "block", size) for size in sizes]

    # The sum of squares of each block: `size` values are added along each axis in turn.
    energy = weight.square()
    for axis, size in enumerate(sizes):
        energy = _in_groups(energy.movedim(axis, -1), size, padding=0.0).sum(-1).movedim(-1, axis)

    count = min(max(1, round(share * energy.numel())), energy.numel())
    block_mask = torch.zeros_like(energy).flatten()
    block_mask[energy.flatten().topk(count).indices] = 1.0

    # Each value of the blocks becomes `size` values of the weight again.
    mask = block_mask.reshape(energy.shape)
    for axis, size in enumerate(sizes):
        mask = mask.repeat_interleave(size, axis).narrow(axis, 0, weight.shape[axis])
    return mask.contiguous()


def _in_groups(values: Tensor, size: int, padding: float) -> Tensor:
    """The last axis in groups, [..., groups, size]; the last group is filled up by `padding`."""
    padded = pad(values, (0, -values.shape[-1] % size), value=padding)
    return padded.reshape(*values.shape[:-1], -1, size)


def is_pruned(module: nn.Module, name: str) -> bool:
    """Whether `torch.nn.utils.prune` has put a mask on the parameter."""
    return f"{name}_orig" in module._parameters and f"{name}_mask" in module._buffers


def current_parameter(module: nn.Module, name: str) -> Any:
    """The value of a parameter; if it is pruned, the product of its trained tensor and its mask.

    torch computes a pruned parameter in a call of the module. In between, its attribute is stale.
    """
    original = module._parameters.get(f"{name}_orig")
    mask = module._buffers.get(f"{name}_mask")
    if original is None or mask is None:
        return getattr(module, name)
    return mask.to(original.dtype) * original


def copy_module(module: ModuleT) -> ModuleT:
    """A deep copy, also where modules of torch are pruned, which `copy.deepcopy` rejects."""
    graphs = {
        id(value): value.detach().clone()
        for inner in module.modules()
        for value in vars(inner).values()
        if isinstance(value, Tensor) and value.grad_fn is not None
    }
    return copy.deepcopy(module, graphs)


def without_graphs(state: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a module for copies and pickles, in which no tensor has a graph.

    States and pruned parameters have a graph. torch rejects copies of such tensors.
    """
    return {name: _without_graph(value) for name, value in state.items()}


def _without_graph(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(map(_without_graph, value))
    is_computed = isinstance(value, Tensor) and value.grad_fn is not None
    return value.detach() if is_computed else value
