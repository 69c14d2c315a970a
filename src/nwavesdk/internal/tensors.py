"""Checks of tensors: dense with values in memory, plain, equal bit by bit; leaves of graphs.

Kernels read memory directly, so a sparse or a meta tensor must not reach them.
"""

import ctypes
import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.masked import MaskedTensor

from nwavesdk.internal.checks import shown

__all__ = [
    "FLOATING",
    "have_equal_bits",
    "is_list",
    "is_plain",
    "leaf_nodes",
    "require_floating",
    "require_tensor",
    "widen",
]

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The dtypes of floating numbers that layers take."""

_OWN_TYPES = (torch.nn.Parameter, Tensor)


# The C library, which a process on POSIX has loaded.
_compare_memory = ctypes.CDLL(None if os.name == "posix" else "msvcrt").memcmp
_compare_memory.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

# Kinds of tensors that are not dense, each with its name and the remedy.
_UNFIT: tuple[tuple[Callable[[Tensor], bool], str, str], ...] = (
    (
        lambda x: isinstance(x, MaskedTensor),
        "a masked tensor",
        "fill it, as in x.to_tensor(0.0)",
    ),
    (lambda x: x.is_nested, "a nested tensor", "pad it, as in x.to_padded_tensor(0.0)"),
    (lambda x: x.is_quantized, "{x.dtype}", "convert it, as in x.dequantize()"),
    (
        lambda x: x.layout is not torch.strided,
        "{x.layout}",
        "convert it, as in x.to_dense()",
    ),
    (
        lambda x: x.is_meta,
        "a meta tensor, which has no values",
        "create it on the CPU or a GPU",
    ),
)


def require_tensor(owner: object, x: object, *, needs_values: bool = True) -> None:
    """Raise a TypeError unless `x` is a tensor with a value in memory for each element.

    Args:
        owner: The function or object that takes the tensor, for the message: a text, or its `repr`.
        x: The argument.
        needs_values: Whether meta tensors, which have shapes only, are rejected, too.

    Raises:
        TypeError: If it is not a tensor, or a sparse, nested, masked, quantized or meta tensor.

    Example:
        >>> require_tensor("Layer", torch.eye(3).to_sparse())
        Traceback (most recent call last):
        TypeError: Layer takes a dense tensor, got torch.sparse_coo: convert it, as in x.to_dense().
    """
    if not isinstance(x, Tensor):
        is_result = isinstance(x, tuple)
        hint = (
            "take the spikes of (spk, mem)" if is_result else "convert it, as in torch.as_tensor(x)"
        )
        raise TypeError(f"{owner} takes a tensor, got {type(x).__name__}: {hint}.")

    # Compiled backward passes cannot check a layout.
    if torch.compiler.is_compiling():
        return

    # Most tensors are dense: this test is cheaper than the table.
    is_masked = isinstance(x, MaskedTensor)
    is_other = x.is_nested or is_masked or x.is_quantized or (x.is_meta and needs_values)
    if x.layout is torch.strided and not is_other:
        return

    got, remedy = next((got, remedy) for is_this, got, remedy in _UNFIT if is_this(x))
    raise TypeError(f"{owner} takes a dense tensor, got {got.format(x=x)}: {remedy}.")


def require_floating(owner: object, x: object, *, needs_values: bool = True) -> None:
    """Like `require_tensor`, for floating numbers of 16, 32 or 64 bits.

    Raises:
        TypeError: If it is not such a tensor.
    """
    require_tensor(owner, x, needs_values=needs_values)
    assert isinstance(x, Tensor)
    if x.dtype not in FLOATING:
        raise TypeError(
            f"{owner} takes a floating input, got {shown(x.dtype)}: convert it, as in x.float()."
        )


_PLAIN = (torch.float32, torch.float64)
# Bound to names, because `is_plain` is called in every step.
_has_transforms = torch._C._are_functorch_transforms_active
_count_modes = torch._C._len_torch_dispatch_stack
_tracing_state = torch._C._get_tracing_state
_is_compiling = torch.compiler.is_compiling


def is_plain(x: object) -> bool:
    """Whether `x` is a dense CPU tensor of 32 or 64 bits, and only eager torch sees its use.

    False in compiled code, while torch traces, within transforms of `torch.func`, forward-mode
    derivatives and dispatch modes (such as fake tensors), and for subclasses of Tensor. Planned
    calls, which read memory directly, leave all of these to the general way of calling.
    """
    return (
        not _is_compiling()
        and type(x) is Tensor
        and x.dtype in _PLAIN
        and x.is_cpu
        and x.layout is torch.strided
        and not x.is_nested
        and not x.is_neg()
        and not _has_transforms()
        and not _count_modes()
        and _tracing_state() is None
        and forward_ad._current_level < 0
    )


def is_list(x: object) -> bool:
    """Whether `x` lists its non-zeros: torch's sparse COO layout."""
    return isinstance(x, Tensor) and x.layout is torch.sparse_coo


def have_equal_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits in the same order, compared in memory.

    It takes a fifth of the time of `torch.equal`. After a False, the numbers can still be equal: 0
    and -0 have different bits, and tensors on a device or with a stride are not compared. After a
    True, a NaN counts as equal to itself; where it must not, `a` or `b` must be finite.

    Example:
        >>> have_equal_bits(torch.zeros(2), torch.tensor([0.0, 0.0]))
        True
        >>> have_equal_bits(torch.zeros(2), torch.tensor([0.0, -0.0]))
        False
    """
    return (
        # Subclasses of Tensor may keep their values elsewhere.
        type(a) in _OWN_TYPES
        and type(b) in _OWN_TYPES
        and a.dtype is b.dtype
        and a.shape == b.shape
        # The memory is readable, dense and in the order of the elements.
        and a.is_cpu
        and b.is_cpu
        and a.layout is b.layout is torch.strided
        and a.is_contiguous()
        and b.is_contiguous()
        and a.is_neg() is b.is_neg()
        # Transforms and modes must see the comparison, and fake tensors have no memory.
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
        and _compare_memory(a.data_ptr(), b.data_ptr(), a.nbytes) == 0
    )


def leaf_nodes(tensors: Iterable[Tensor]) -> set[Any]:
    """The nodes in the graphs of tensors that accumulate a gradient, each for its `variable`.

    Example:
        >>> a = torch.ones(2, requires_grad=True)
        >>> [node.variable is a for node in leaf_nodes([a + 1, a * 2])]
        [True]
    """
    seen: set[Any] = set()
    unseen: list[Any] = [tensor.grad_fn for tensor in tensors]
    while unseen:
        node = unseen.pop()
        if node is not None and node not in seen:
            seen.add(node)
            unseen += [before for before, _ in node.next_functions]
    return {node for node in seen if hasattr(node, "variable")}


def widen(x: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
