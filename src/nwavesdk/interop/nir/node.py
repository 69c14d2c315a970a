"""One node of a NIR graph as numbers, read from a node of `nir`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nwavesdk.internal.checks import shown

__all__ = [
    "MODULE_KEY",
    "RESET_KEY",
    "SPIKING",
    "STATEFUL",
    "SUBTRACTION",
    "Array",
    "Node",
    "read_node",
]

Array = NDArray[np.float64]
SPIKING = frozenset({"IF", "LIF", "CubaLIF", "Threshold"})
STATEFUL = frozenset({"I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"})

# The parameters of each node that are arrays of numbers, and its other ones.
ARRAYS: dict[str, tuple[str, ...]] = {
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

# What the metadata of our own files say about a node.
RESET_KEY, MODULE_KEY = "nwavesdk_reset", "nwavesdk_module"
SUBTRACTION = "subtraction"


@dataclass(frozen=True)
class Node:
    """A node of a flat graph.

    Attributes:
        kind: Name of its class in `nir`.
        arrays: Its parameters in float64; those of neurons have the shape of the neurons.
        settings: Its other parameters: whole numbers, tuples of them, or names of a padding.
        rounding: The coarsest `eps` of the arrays as they were given.
        reset: What a spike does: `"value"` sets the membrane to `v_reset`, `"subtraction"`
            subtracts `amount`.
        module: Name of the module of the net that was exported, or "".
        shape_in: Shape of a step of its input.
        shape_out: Shape of a step of its output.
    """

    kind: str
    arrays: Mapping[str, Array]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rounding: float = 2.0**-52
    reset: str = "value"
    module: str = ""
    shape_in: tuple[int, ...] = ()
    shape_out: tuple[int, ...] = ()


def read_node(name: str, node: Any) -> Node:
    """Read a node of `nir`.

    Raises:
        ValueError: If its type is unknown, or a parameter is missing or not a finite number.
    """
    kind = type(node).__name__
    if kind not in ARRAYS:
        raise ValueError(
            f"NIR: node {shown(name)} is of type {kind}, which is not read: expected one of "
            f"{', '.join(ARRAYS)}; replace it."
        )
    arrays = {}
    rounding = 2.0**-52
    for key in ARRAYS[kind]:
        value: Any = getattr(node, key, None)
        if value is None and key == "bias":
            value = np.zeros(len(node.weight))
        value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise ValueError(
                f"NIR: node {shown(name)} ({kind}): {key} is {shown(value)}, expected numbers: "
                "repair the graph."
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"NIR: node {shown(name)} ({kind}): {key} has values that are not finite: expected "
                "finite numbers; repair the graph."
            )
        if array.dtype.kind == "f":
            rounding = max(rounding, float(np.finfo(array.dtype).eps))
        arrays[key] = array.astype(np.float64)
    settings = {
        key: _setting(name, kind, key, getattr(node, key)) for key in SETTINGS.get(kind, ())
    }
    metadata = node.metadata if isinstance(getattr(node, "metadata", None), Mapping) else {}
    reset = _text(metadata.get(RESET_KEY, "value"))
    if reset not in ("value", SUBTRACTION):
        raise ValueError(
            f"NIR: node {shown(name)} ({kind}): its metadata have {RESET_KEY} {shown(reset)}, "
            f"expected {SUBTRACTION!r}: repair the graph."
        )
    if reset == SUBTRACTION and "v_threshold" in arrays:
        arrays["amount"] = arrays["v_threshold"]
    module = _text(metadata.get(MODULE_KEY, ""))
    return Node(kind, arrays, settings, rounding, reset, module)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _setting(name: str, kind: str, key: str, value: Any) -> Any:
    """A stride, padding and the like as an int, a tuple of ints, or a name of a padding."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    if isinstance(value, str | bytes):
        if key == "padding" and _text(value) in ("same", "valid"):
            return _text(value)
        sizes = np.zeros(0)
    else:
        sizes = np.asarray(value)
    is_whole = sizes.dtype.kind in "iuf" and sizes.size and (sizes == np.round(sizes)).all()
    least = {"padding": 0, "start_dim": -64, "end_dim": -64}.get(key, 1)
    if not is_whole or sizes.ndim > 1 or (sizes < least).any() or (sizes > 2**31).any():
        raise ValueError(
            f"NIR: node {shown(name)} ({kind}): {key} is {shown(value)}, expected whole numbers of "
            f"at least {least}: repair the graph."
        )
    return int(sizes) if sizes.ndim == 0 else tuple(int(size) for size in sizes)
