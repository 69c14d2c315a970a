"""What constructors ask of their arguments, in one place: a clear error, or the value in the form that we keep."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from nwavesdk.chip import Profile, load_profile
from nwavesdk.internal.checks import whole_number

__all__ = ["checked_input", "features", "per_neuron", "profile_for"]


def profile_for(owner: str, chip: str, value: str | Path | Profile | None) -> Profile:
    """The profile that was asked for, of a chip with neurons like those of `chip`; its own where none was."""
    profile = load_profile(chip if value is None else value)
    if profile.text("neuron") != chip:
        raise ValueError(
            f"{owner}: the profile {profile.name} is of a chip with neurons like {profile.text('neuron')}, expected "
            f"{chip}: take the modules that are named after that chip."
        )
    return profile


def features(owner: str, n_neurons: int | Sequence[int]) -> tuple[int, ...]:
    """`n_neurons` as a shape."""
    shape = tuple(n_neurons) if isinstance(n_neurons, Sequence) else (n_neurons,)
    if not shape:
        raise ValueError(
            f"{owner}: n_neurons must be a whole number or a shape such as (C, H, W), got {n_neurons!r}."
        )
    return tuple(whole_number(owner, "n_neurons", n) for n in shape)


def per_neuron(owner: str, name: str, value: object, shape: tuple[int, ...], unit: str) -> Tensor:
    """A number, or one per neuron, finite and above 0, as a new float32 tensor of shape [] or `shape`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        tensor = torch.as_tensor(value, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{owner}: {name} must be a number or one per neuron [{unit}], got {value!r}."
        ) from None
    if tensor.ndim and tuple(tensor.shape) != shape:
        raise ValueError(
            f"{owner}: {name} must be one number or have the shape {list(shape)} of the neurons, "
            f"got the shape {list(tensor.shape)}."
        )
    bad = tensor[~(torch.isfinite(tensor) & (tensor > 0))]
    if bad.numel():
        raise ValueError(
            f"{owner}: {name} must be finite and above 0 [{unit}], got {bad.flatten()[0].item()}."
        )
    return tensor


def checked_input(owner: str, x: object, expected: tuple[int, ...]) -> None:
    """Raise unless `x` is a floating tensor whose last dimensions are `expected`."""
    if not isinstance(x, Tensor):
        hint = ": take the spikes of (spk, mem)" if isinstance(x, tuple) else ""
        raise TypeError(f"{owner} takes a tensor, got {type(x).__name__}{hint}.")
    if x.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(
            f"{owner} takes a floating input, got {x.dtype}: convert it, as in x.float()."
        )
    got, k = tuple(x.shape), len(expected)
    if len(got) < k or len(got) > k + 2 or got[len(got) - k :] != expected:
        tail = ", ".join(map(str, expected))
        raise ValueError(
            f"{owner} takes [{tail}], [B, {tail}] (one step) or [B, T, {tail}] (a sequence), "
            f"got an input of shape {list(got)}: sizes of neighbouring layers must agree."
        )
