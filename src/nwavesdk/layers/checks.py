"""What layers check: constructor arguments, the options of neuron layers, and inputs of a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nwavesdk.chip import Profile, load_profile
from nwavesdk.internal.checks import choice, whole_number
from nwavesdk.solvers import SOLVERS

__all__ = [
    "LayerOptions",
    "check_input",
    "check_unchanged",
    "neuron_shape",
    "per_neuron_tensor",
    "profile_of_chip",
]

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class LayerOptions:
    """Options of a neuron layer; `device` is NWAVE's choice of solver, not torch's device.

    `LIFLayer` describes each of them.
    """

    layer_topology: str
    device: str
    detach_reset: bool
    solver: str
    compasso_spike_grad: str
    saved_dtype: str | None

    def check(self, owner: str) -> None:
        """Raise a ValueError if an option has an unknown value."""
        choice(owner, "layer_topology", self.layer_topology, ["FF", "RC"])
        choice(owner, "device", self.device, ["cpu", "gpu"])
        choice(owner, "solver", self.solver, ["auto", *SOLVERS])
        choice(owner, "compasso_spike_grad", self.compasso_spike_grad, ["fixed", "layer"])
        if self.saved_dtype not in (None, "bfloat16"):
            raise ValueError(
                f'{owner}: saved_dtype must be None or "bfloat16", got {self.saved_dtype!r}.'
            )


def profile_of_chip(owner: str, chip: str, value: str | Path | Profile | None) -> Profile:
    """Load the profile `value`, which must have the neurons of `chip`; None is the chip's own."""
    profile = load_profile(chip if value is None else value)
    if profile.text("neuron") != chip:
        raise ValueError(
            f"{owner}: the profile {profile.name} is of a chip with neurons like "
            f"{profile.text('neuron')}, expected {chip}: use the modules named after that chip."
        )
    return profile


def neuron_shape(owner: str, n_neurons: int | Sequence[int]) -> tuple[int, ...]:
    """`n_neurons` as a shape."""
    shape = tuple(n_neurons) if isinstance(n_neurons, Sequence) else (n_neurons,)
    if not shape:
        raise ValueError(
            f"{owner}: n_neurons must be a whole number or a shape such as (C, H, W), "
            f"got {n_neurons!r}."
        )
    return tuple(whole_number(owner, "n_neurons", n) for n in shape)


def per_neuron_tensor(
    owner: str, name: str, value: object, shape: tuple[int, ...], unit: str
) -> Tensor:
    """One positive number, or one per neuron, as a new float32 tensor of shape [] or `shape`."""
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
            f"{owner}: {name} must be finite and above 0 [{unit}], got {bad.flatten()[0].item():g}."
        )
    return tensor


def check_input(owner: str, x: object, features: tuple[int, ...]) -> None:
    """Raise an error unless `x` is a floating tensor whose last dimensions are `features`.

    Raises:
        TypeError: If `x` is not a tensor of 16, 32 or 64 bit floating numbers.
        ValueError: If `x` is not [*features], [B, *features] or [B, T, *features].
    """
    if not isinstance(x, Tensor):
        hint = ": take the spikes of (spk, mem)" if isinstance(x, tuple) else ""
        raise TypeError(f"{owner} takes a tensor, got {type(x).__name__}{hint}.")
    if x.dtype not in _FLOATING:
        raise TypeError(
            f"{owner} takes a floating input, got {x.dtype}: convert it, as in x.float()."
        )
    shape = tuple(x.shape)
    leading = len(shape) - len(features)
    if not 0 <= leading <= 2 or shape[leading:] != features:
        tail = ", ".join(map(str, features))
        raise ValueError(
            f"{owner} takes [{tail}], [B, {tail}] (one step) or [B, T, {tail}] (a sequence), "
            f"got an input of shape {list(shape)}: the sizes of consecutive layers must match."
        )


def check_unchanged(owner: str, weight: Tensor, source: Tensor) -> None:
    """Raise a RuntimeError unless `weight` equals `source`, its value at `prepare_net`."""
    # Values are compared, because fused optimizers and writes to weight.data do not change the
    # version counter.
    if not torch.equal(weight, source):
        raise RuntimeError(
            f"{owner}: the weights have changed since prepare_net (an optimizer step, a loaded "
            "checkpoint) and the effective weights are stale: call prepare_net(model), or "
            "prepare_net(model, keep_state=True) to continue from the current state."
        )
