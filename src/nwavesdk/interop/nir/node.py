"""One node of a NIR graph as numbers: how it is read, and its faults.

Import, replay and export share these nodes, so that all have one table of parameters. A shape of
`()` is unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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
    "Shape",
    "as_text",
    "node_error",
    "read_node",
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

# The number of axes of the window, for each node with a window. `groups` has one number.
AXES = {"AvgPool2d": 2, "Conv1d": 1, "Conv2d": 2, "SumPool2d": 2}

SPIKING = frozenset({"IF", "LIF", "CubaLIF", "Threshold"})
STATEFUL = frozenset({"I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"})

# Keys of the metadata of nodes in our own files.
RESET_KEY, MODULE_KEY = "nwavesdk_reset", "nwavesdk_module"
SUBTRACTION = "subtraction"


def node_error(owner: str, got: str, expected: str, remedy: str = "repair the graph") -> ValueError:
    """The error of a node that cannot be read, or of a module that has no exact node.

    Args:
        owner: The node or module, as errors name it.
        got: The faulty part.
        expected: The allowed values.
        remedy: The change that repairs it.
    """
    return ValueError(f"{owner}: got {got}, expected {expected}: {remedy}.")


@dataclass(frozen=True, kw_only=True)
class NirNode:
    """A node of a flat graph.

    Attributes:
        kind: Name of its class in `nir`.
        arrays: Its parameters that are arrays; constants of neurons have the shape of the neurons.
            `delay` is in seconds as read, and in steps after `order_graph`.
        settings: Its other parameters: tuples of whole numbers, of a window one for each axis, or
            the name of a padding.
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

    def error(self, got: str, expected: str) -> ValueError:
        """The error of a parameter or an input that the node cannot have."""
        return node_error(self.owner, got, expected, self.remedy)


# From `nir` to numbers


def read_node(name: str, node: Any) -> NirNode:
    """Read a node of `nir`.

    Raises:
        ValueError: If its type is unknown, or a parameter is missing or not a finite number.
    """
    kind = type(node).__name__
    owner = f"NIR: node {shown(name)} ({kind})"
    if kind not in NODE_ARRAYS:
        raise node_error(owner, "a type that is not read", f"one of {', '.join(NODE_ARRAYS)}")

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

    # A bias of another shape could be added to recordings in place of outputs.
    if "bias" in arrays and arrays["bias"].shape != arrays["weight"].shape[:1]:
        shape = list(arrays["bias"].shape)
        raise node_error(owner, f"bias of shape {shape}", f"[{len(arrays['weight'])}]")

    settings: dict[str, Any] = {}
    for key in SETTINGS.get(kind, ()):
        value = as_text(getattr(node, key))
        if key == "padding" and value == "same":
            settings[key] = value
            continue
        numbers = 0 if key == "padding" and value == "valid" else getattr(node, key)
        axes = 1 if key == "groups" else AXES.get(kind, 1)
        settings[key] = (whole_numbers(owner, key, numbers) * axes)[:axes]

    metadata = node.metadata or {}
    reset = as_text(metadata.get(RESET_KEY, "value"))
    if reset not in ("value", SUBTRACTION):
        raise node_error(owner, f"{RESET_KEY} {shown(reset)} in its metadata", repr(SUBTRACTION))

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
        raise node_error(owner, f"{key} {shown(value)}", "finite numbers")
    return array


def whole_numbers(owner: str, key: str, value: Any) -> tuple[int, ...]:
    """A shape, a stride and the like, which may be one number.

    Raises:
        ValueError: If there are no numbers, or they are not whole, too small or too large.
    """
    smallest = MIN_SETTINGS.get(key, 1)
    sizes = np.ravel(_numbers(owner, key, value))
    is_whole = sizes.size and (sizes == sizes.round()).all()
    if not is_whole or (sizes < smallest).any() or (sizes > 2**31).any():
        raise node_error(owner, f"{key} {shown(value)}", f"whole numbers of at least {smallest}")
    return tuple(int(size) for size in sizes)
