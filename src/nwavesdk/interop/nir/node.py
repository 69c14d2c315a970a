"""One node of a NIR graph as numbers: how it is read, the shapes of its steps, and its faults.

Import, replay and export share these nodes, so that all have one table of parameters and one
inference of shapes. A shape of `()` is unknown.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nwavesdk.internal.checks import shown

__all__ = [
    "MODULE_KEY",
    "NODE_ARRAYS",
    "RESET_KEY",
    "SPIKING",
    "STATEFUL",
    "SUBTRACTION",
    "Array",
    "NirNode",
    "NodeError",
    "Shape",
    "Window",
    "as_text",
    "read_node",
    "shaped",
    "whole_numbers",
]

Shape = tuple[int, ...]
Array = NDArray[Any]

# The parameters of each node that are arrays of numbers, and its other parameters.
NODE_ARRAYS: dict[str, tuple[str, ...]] = {
    "Affine": ("weight", "bias"),
    "AvgPool2d": (),
    "Conv1d": ("weight", "bias"),
    "Conv2d": ("weight", "bias"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "Delay": ("delay",),
    "Flatten": (),
    "I": ("r",),
    "IF": ("r", "v_threshold", "v_reset"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "SumPool2d": (),
    "Threshold": ("threshold",),
}
SETTINGS: dict[str, tuple[str, ...]] = {
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "Conv1d": ("stride", "padding", "dilation", "groups"),
    "Conv2d": ("stride", "padding", "dilation", "groups"),
    "Flatten": ("start_dim", "end_dim"),
    "SumPool2d": ("kernel_size", "stride", "padding"),
}
# The smallest value of a setting, if it is not 1. Dimensions may count from the end, as -1 does,
# and torch has at most 64 of them.
MIN_SETTINGS = {"padding": 0, "start_dim": -64, "end_dim": -64}

# The number of axes of the window, for each node with a window.
AXES = {"AvgPool2d": 2, "Conv1d": 1, "Conv2d": 2, "SumPool2d": 2}

SPIKING = frozenset({"IF", "LIF", "CubaLIF", "Threshold"})
STATEFUL = frozenset({"I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"})

# Keys of the metadata of nodes in our own files.
RESET_KEY, MODULE_KEY = "nwavesdk_reset", "nwavesdk_module"
SUBTRACTION = "subtraction"


class NodeError(ValueError):
    """A node cannot be read, or a module has no exact node.

    Args:
        owner: The node or module, as errors name it.
        got: The faulty part.
        expected: The allowed values.
        remedy: The change that repairs it.
    """

    def __init__(
        self, owner: str, got: str, expected: str, remedy: str = "repair the graph"
    ) -> None:
        self.fault = f"{owner}: got {got}, expected {expected}"
        super().__init__(f"{self.fault}: {remedy}.")


@dataclass(frozen=True, kw_only=True)
class NirNode:
    """A node of a flat graph.

    Attributes:
        kind: Name of its class in `nir`.
        arrays: Its parameters that are arrays; constants of neurons have the shape of the neurons.
            `delay` is in seconds as read, and in steps after `order_graph`.
        settings: Its other parameters: tuples of whole numbers, or the name of a padding.
        owner: Its name in errors.
        remedy: The remedy in errors.
        rounding: The largest `eps` of the dtypes that its arrays had in the file.
        reset: The effect of a spike: `"value"` sets the membrane to `v_reset`, `"subtraction"`
            subtracts `amount`.
        module: Name of the module of the net that was exported, or "".
        shape_in: Shape of a step of its input.
        shape_out: Shape of a step of its output.
    """

    kind: str
    arrays: Mapping[str, Array]
    settings: Mapping[str, Any] = field(default_factory=dict)
    owner: str = "NIR"
    remedy: str = "repair the graph"
    rounding: float = 2.0**-52
    reset: str = "value"
    module: str = ""
    shape_in: Shape = ()
    shape_out: Shape = ()

    def with_arrays(self, **arrays: Array) -> "NirNode":
        """A node with other parameters."""
        return replace(self, arrays={**self.arrays, **arrays})

    def error(self, got: str, expected: str) -> NodeError:
        """The error of a parameter or an input that the node cannot have."""
        return NodeError(self.owner, got, expected, self.remedy)

    @property
    def window(self) -> "Window":
        """The window of a convolution or a pool."""
        axes = AXES[self.kind]

        def per_axis(values: tuple[int, ...]) -> tuple[int, ...]:
            return (values * axes)[:axes]

        # A convolution has its kernel in the weight, a pool in its settings.
        weight = self.arrays.get("weight")
        kernel = per_axis(self.settings["kernel_size"]) if weight is None else weight.shape[2:]
        dilation = per_axis(self.settings.get("dilation", (1,)))

        padding = self.settings["padding"]
        if not isinstance(padding, str):
            pairs = tuple((zeros, zeros) for zeros in per_axis(padding))
        else:
            # "valid" has no zeros. The zeros of "same" are divided as in torch: if their number is
            # odd, the larger part comes last.
            is_same = padding == "same"
            total = [is_same * d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            pairs = tuple((zeros // 2, zeros - zeros // 2) for zeros in total)

        return Window(kernel, per_axis(self.settings["stride"]), pairs, dilation)


class Window(NamedTuple):
    """The window that a convolution or a pool moves over the last axes, with one entry per axis.

    Attributes:
        kernel: Its size.
        stride: Its steps.
        padding: The zeros before and after the values.
        dilation: The distance between its elements.
    """

    kernel: Shape
    stride: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape


# From `nir` to numbers


def read_node(name: str, node: Any) -> NirNode:
    """Read a node of `nir`.

    Raises:
        NodeError: If its type is unknown, or a parameter is missing or not a finite number.
    """
    kind = type(node).__name__
    owner = f"NIR: node {shown(name)} ({kind})"
    if kind not in NODE_ARRAYS:
        raise NodeError(owner, "a type that is not read", f"one of {', '.join(NODE_ARRAYS)}")

    arrays = {}
    rounding = 2.0**-52
    for key in NODE_ARRAYS[kind]:
        value = getattr(node, key, None)
        if value is None and key == "bias":
            value = np.zeros(len(node.weight))
        array = _numbers(owner, key, value)

        # Everything is computed in float64, but errors of rounding are of the dtype in the file.
        if array.dtype.kind == "f":
            rounding = max(rounding, float(np.finfo(array.dtype).eps))
        arrays[key] = array.astype(np.float64)

    settings: dict[str, Any] = {}
    for key in SETTINGS.get(kind, ()):
        value = as_text(getattr(node, key))
        is_name = key == "padding" and value in ("same", "valid")
        settings[key] = value if is_name else whole_numbers(owner, key, getattr(node, key))

    metadata = node.metadata or {}
    reset = as_text(metadata.get(RESET_KEY, "value"))
    if reset not in ("value", SUBTRACTION):
        raise NodeError(owner, f"{RESET_KEY} {shown(reset)} in its metadata", repr(SUBTRACTION))

    if reset == SUBTRACTION and "v_threshold" in arrays:
        arrays["amount"] = arrays["v_threshold"]
    module = as_text(metadata.get(MODULE_KEY, ""))
    return NirNode(
        kind=kind,
        arrays=arrays,
        settings=settings,
        owner=owner,
        rounding=rounding,
        reset=reset,
        module=module,
    )


def as_text(value: object) -> str:
    """A text of a file, which may be bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _numbers(owner: str, key: str, value: Any) -> Array:
    """A parameter as an array of finite numbers."""
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise NodeError(owner, f"{key} {shown(value)}", "finite numbers")
    return array


def whole_numbers(owner: str, key: str, value: Any) -> tuple[int, ...]:
    """A shape, a stride and the like, which may be one number.

    Raises:
        NodeError: If there are no numbers, or they are not whole, too small or too large.
    """
    smallest = MIN_SETTINGS.get(key, 1)
    sizes = np.ravel(_numbers(owner, key, value))
    is_whole = sizes.size and (sizes == sizes.round()).all()
    if not is_whole or (sizes < smallest).any() or (sizes > 2**31).any():
        raise NodeError(owner, f"{key} {shown(value)}", f"whole numbers of at least {smallest}")
    return tuple(int(size) for size in sizes)


# Shapes


def shaped(node: NirNode, shape: Shape, notes: list[str]) -> NirNode:
    """A node with the shapes of its input and output; parameters get the shape of the neurons.

    Args:
        node: The node.
        shape: Shape of a step of its input.
        notes: Gets a line for each assumption.

    Raises:
        NodeError: If the node does not take such an input.
    """
    if node.kind in _SHAPES:
        return replace(node, shape_in=shape, shape_out=_SHAPES[node.kind](node, shape))

    # All other nodes act on each element separately.
    arrays = {}
    for key, array in node.arrays.items():
        try:
            arrays[key] = np.broadcast_to(array, shape)
        except ValueError:
            raise node.error(
                f"an input of shape {list(shape)}", f"the shape of {key}, {list(array.shape)}"
            ) from None

    # `amount` was added by the reader, from the threshold.
    spread = [key for key, a in node.arrays.items() if a.shape != shape and key != "amount"]
    if spread:
        notes.append(
            f"{node.owner.removeprefix('NIR: ')}: {', '.join(spread)} without the shape of the "
            f"neurons, {list(shape)}: one value is used for all of them"
        )
    return replace(node, arrays=arrays, shape_in=shape, shape_out=shape)


def _product_shape(node: NirNode, shape: Shape) -> Shape:
    """The shape after a convolution, or after Linear and Affine, convolutions without axes.

    A weight is [C_out, C_in / groups, *kernel], an input [C_in, *size].
    """
    weight = node.arrays["weight"]
    axes = AXES.get(node.kind, 0)
    (groups,) = node.settings.get("groups", (1,))
    if weight.ndim != axes + 2 or not weight.size or len(weight) % groups:
        raise node.error(
            f"weight of shape {list(weight.shape)}",
            f"{axes + 2} dimensions, the first a multiple of groups {groups}",
        )

    bias = node.arrays.get("bias")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise node.error(f"bias of shape {list(bias.shape)}", f"[{len(weight)}]")

    channels = weight.shape[1] * groups
    if len(shape) != axes + 1 or shape[0] != channels:
        raise node.error(f"an input of shape {list(shape)}", f"[{channels}{', …' * axes}]")
    if not axes:
        return weight.shape[:1]

    if node.settings["padding"] == "same" and set(node.window.stride) != {1}:
        raise node.error(f"padding 'same' with the stride {list(node.window.stride)}", "stride 1")
    return weight.shape[0], *_positions(node, shape)


def _pool_shape(node: NirNode, shape: Shape) -> Shape:
    """The shape after a pool; its padding is limited as in torch."""
    kernel, _, padding, _ = node.window
    if any(2 * zeros > size for (zeros, _), size in zip(padding, kernel, strict=True)):
        raise node.error(
            f"padding {list(node.settings['padding'])}",
            f"at most half of the kernel {list(kernel)}",
        )
    return *shape[:1], *_positions(node, shape)


def _positions(node: NirNode, shape: Shape) -> Shape:
    """The number of positions of a window along each axis."""
    kernel, strides, padding, dilation = node.window
    has_axes = len(shape) == len(kernel) + 1

    positions = [
        (size + sum(zeros) - step * (taps - 1) - 1) // stride + 1
        for size, taps, stride, zeros, step in zip(
            shape[1:], kernel, strides, padding, dilation, strict=has_axes
        )
    ]

    if not has_axes or min(positions) < 1:
        raise node.error(
            f"an input of shape {list(shape)}",
            f"channels and at least the size of the kernel {list(kernel)}",
        )
    return tuple(positions)


def _flat_shape(node: NirNode, shape: Shape) -> Shape:
    """The shape after Flatten."""
    (start,), (end,) = node.settings["start_dim"], node.settings["end_dim"]
    first, last = (axis + len(shape) if axis < 0 else axis for axis in (start, end))
    if not 0 <= first <= last < len(shape):
        raise node.error(
            f"an input of shape {list(shape)}",
            f"dimensions for start_dim {start} and end_dim {end}",
        )
    return *shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]


_SHAPES: dict[str, Callable[[NirNode, Shape], Shape]] = {
    "Affine": _product_shape,
    "AvgPool2d": _pool_shape,
    "Conv1d": _product_shape,
    "Conv2d": _product_shape,
    "Flatten": _flat_shape,
    "Linear": _product_shape,
    "SumPool2d": _pool_shape,
}
