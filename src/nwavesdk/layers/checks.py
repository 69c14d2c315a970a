"""What constructors ask of their arguments, in one place: a clear error, or the value in the form that we keep."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["choice", "features", "per_neuron", "positive", "size", "width"]


def choice(owner: str, name: str, value: object, allowed: Sequence[str]) -> str:
    """`value`, one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{owner}: {name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    return str(value)


def positive(owner: str, name: str, value: object, unit: str) -> float:
    """`value` as a finite float above 0."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{owner}: {name} must be a finite number above 0 [{unit}], got {value!r}.")
    return number


def size(owner: str, name: str, value: object) -> int:
    """`value` as a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{owner}: {name} must be a whole number above 0, got {value!r}.")
    return value


def features(owner: str, n_neurons: int | Sequence[int]) -> tuple[int, ...]:
    """`n_neurons` as a shape."""
    shape = tuple(n_neurons) if isinstance(n_neurons, Sequence) else (n_neurons,)
    if not shape:
        raise ValueError(f"{owner}: n_neurons must be a whole number or a shape such as (C, H, W), got {n_neurons!r}.")
    return tuple(size(owner, "n_neurons", n) for n in shape)


def per_neuron(owner: str, name: str, value: object, shape: tuple[int, ...], unit: str) -> Tensor:
    """A number, or one per neuron, finite and above 0, as a new float32 tensor of shape [] or `shape`."""
    try:
        tensor = torch.as_tensor(value, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{owner}: {name} must be a number or one per neuron [{unit}], got {value!r}.") from None
    if tensor.ndim and tuple(tensor.shape) != shape:
        raise ValueError(
            f"{owner}: {name} must be one number or have the shape {list(shape)} of the neurons, "
            f"got the shape {list(tensor.shape)}."
        )
    bad = tensor[~(torch.isfinite(tensor) & (tensor > 0))]
    if bad.numel():
        raise ValueError(f"{owner}: {name} must be finite and above 0 [{unit}], got {bad.flatten()[0].item()}.")
    return tensor


def width(owner: str, got: Sequence[int], expected: tuple[int, ...]) -> None:
    """Raise unless the last dimensions of a shape are `expected`."""
    got, k = tuple(got), len(expected)
    if len(got) < k or len(got) > k + 2 or got[len(got) - k :] != expected:
        tail = ", ".join(map(str, expected))
        raise ValueError(
            f"{owner} takes [{tail}], [B, {tail}] (one step) or [B, T, {tail}] (a sequence), "
            f"got an input of shape {list(got)}: sizes of neighbouring layers must agree."
        )
