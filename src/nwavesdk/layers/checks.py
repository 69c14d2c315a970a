"""Checks of layers: constructor arguments, the options of neuron layers, and inputs of a call."""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from nwavesdk.chip import Profile, load_profile
from nwavesdk.dynamics import Kind
from nwavesdk.internal.checks import (
    require_memory,
    shown,
    whole_number,
)
from nwavesdk.internal.tensors import require_floating, require_tensor

__all__ = [
    "accept_other_spelling",
    "check_input",
    "check_memory",
    "check_shape",
    "check_unchanged",
    "neuron_shape",
    "per_neuron_tensor",
    "profile_of_chip",
]

# Size of weights above which the free memory of the machine is checked [bytes].
_LARGE = 2**28
_NOT_REAL = (torch.bool, torch.complex32, torch.complex64, torch.complex128)
# Dimensions of a shape of neurons; two more, batch and time, come before them.
_MAX_DIMENSIONS = 16

# LIF and chip layers have the names of NWAVE (`taus`), all other layers the usual names (`tau`).
_SPELLINGS = {"tau": "taus", "taus": "tau", "threshold": "thresholds", "thresholds": "threshold"}

_Layer = TypeVar("_Layer")
_Arguments = ParamSpec("_Arguments")


def accept_other_spelling(
    init: Callable[Concatenate[_Layer, _Arguments], None],
) -> Callable[Concatenate[_Layer, _Arguments], None]:
    """Let a layer's constructor accept `tau` for `taus`, `threshold` for `thresholds`, or reverse.

    Type checkers accept the usual names only.
    """

    @wraps(init)
    def spelled_init(layer: _Layer, /, *args: _Arguments.args, **given: _Arguments.kwargs) -> None:
        # Signatures are slow to read, so they are read for the names in question only.
        if not _SPELLINGS.keys().isdisjoint(given):
            names = {*signature(init).parameters, *signature(type(layer)).parameters}
            for name in _SPELLINGS.keys() & given.keys() - names:
                if (usual := _SPELLINGS[name]) in names and usual not in given:
                    given[usual] = given.pop(name)

        init(layer, *args, **given)

    return spelled_init


def check_memory(owner: str, *shape: int) -> None:
    """Reject weights that the memory of this machine cannot hold.

    Raises:
        ValueError: If they need more than is free.
    """
    needed = math.prod(shape) * torch.get_default_dtype().itemsize
    if needed > _LARGE and torch.get_default_device().type == "cpu":
        require_memory(owner, f"weights of shape {list(shape)}", needed, "choose smaller sizes")


def profile_of_chip(owner: str, chip: str, value: str | Path | Profile | None) -> Profile:
    """Load the profile `value`, which must have the neurons of `chip`; None is the chip's own."""
    if value is not None and not isinstance(value, (str, Path, Profile)):
        raise TypeError(
            f"{owner}: profile must be the path of a TOML file, a Profile or None, got "
            f"{shown(value)}."
        )
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
    if not 0 < len(shape) <= _MAX_DIMENSIONS:
        raise ValueError(
            f"{owner}: n_neurons must be a whole number or a shape such as (C, H, W), "
            f"got {shown(n_neurons)}."
        )
    sizes = tuple(whole_number(owner, "n_neurons", n) for n in shape)
    whole_number(owner, "the product of n_neurons", math.prod(sizes))
    return sizes


def per_neuron_tensor(
    owner: str, name: str, value: object, shape: tuple[int, ...], kind: Kind
) -> Tensor:
    """A constant as a new float64 tensor: one number, one per neuron, or one per channel.

    Its shape is [], `shape`, or [C, 1, ...] for neurons of shape [C, ...]. Layers store their
    constants in float32, so the numbers must be of their kind there too.

    Raises:
        TypeError: If it is a sparse, nested, masked, quantized or meta tensor.
        ValueError: If it is not such a number, or has another shape.
    """
    if isinstance(value, Tensor):
        require_tensor(f"{owner}: {name}", value)
    unit = f" [{kind.unit}]" if kind.unit else ""

    try:
        if isinstance(value, bool) or getattr(value, "dtype", None) in _NOT_REAL:
            raise TypeError
        tensor = torch.as_tensor(value, dtype=torch.float64).detach().clone()
        stored = tensor.float()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(
            f"{owner}: {name} must be a number or one per neuron{unit}, got {shown(value)}."
        ) from None

    by_channel = (shape[0],) + (1,) * (len(shape) - 1)
    if tuple(tensor.shape) not in ((), shape, by_channel):
        remedy = "pass a number, or a list with one per neuron"
        if len(shape) > 1:
            remedy = f"pass a number, or one per channel in the shape {list(by_channel)}"
        raise ValueError(
            f"{owner}: {name} must be one number or have the shape {list(shape)} of the neurons, "
            f"got the shape {list(tensor.shape)}: {remedy}."
        )

    # The bounds are compared in float32, in which layers store the constants.
    low = -math.inf if kind.low is None else kind.low
    high = math.inf if kind.high is None else kind.high
    is_of_kind = torch.isfinite(stored) & (stored > low) & (stored < high)
    bad = tensor[~is_of_kind].flatten()
    if bad.numel():
        bounds = ["finite"]
        bounds += [f"above {low:g}"] if math.isfinite(low) else []
        bounds += [f"below {high:g}"] if math.isfinite(high) else []
        value = bad[0].item()

        # All digits of a number that float32 rounds to a bound.
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
        numbers = "positive numbers" if low == 0 and high == math.inf else "numbers"
        largest = ", up to 3.4e38" if high == math.inf else ""
        raise ValueError(
            f"{owner}: {name} must be {' and '.join(bounds)}{unit}, got {text}: pass "
            f"{numbers} that float32 can store{largest}."
        )
    return tensor


def check_input(owner: str, x: object, features: tuple[int, ...]) -> None:
    """Raise an error unless `x` is a floating tensor with the last dimensions `features`.

    Raises:
        TypeError: If `x` is not a dense tensor of 16, 32 or 64 bit floating numbers.
        ValueError: If `x` is not [*features], [B, *features] or [B, T, *features].
    """
    require_floating(owner, x)
    assert isinstance(x, Tensor)
    check_shape(owner, tuple(x.shape), features)


def check_shape(owner: str, shape: tuple[int, ...], features: tuple[int, ...]) -> None:
    """Raise an error unless the last dimensions of an input are `features`.

    Raises:
        ValueError: If it is not [*features], [B, *features] or [B, T, *features].
    """
    leading = len(shape) - len(features)
    if 0 <= leading <= 2 and shape[leading:] == features:
        return
    tail = ", ".join(map(str, features))
    raise ValueError(
        f"{owner} takes [{tail}], [B, {tail}] (one step) or [B, T, {tail}] (a sequence), "
        f"got an input of shape {list(shape)}: {_shape_remedy(shape, features)}."
    )


def _shape_remedy(shape: tuple[int, ...], features: tuple[int, ...]) -> str:
    """The remedy for an input of a wrong shape, for a layer with these features."""
    leading = len(shape) - len(features)
    if leading > 2 and shape[leading:] == features:
        return f"join its first dimensions, as in x.flatten(0, {leading - 2})"
    if len(shape) > 3 and (math.prod(shape[2:]),) == features:
        return "join the features of a step, as in x.flatten(2)"
    if len(features) > 1 and shape and shape[-1] == math.prod(features):
        return f"restore the shape of the features, as in x.unflatten(-1, {features})"
    return "the sizes of consecutive layers must match"


def check_unchanged(owner: str, weight: Tensor, source: Tensor) -> None:
    """Raise a RuntimeError unless `weight` equals `source`, its value at `prepare_net`."""
    text = (
        f"{owner}: the weights have changed since prepare_net (an optimizer step, a loaded "
        "checkpoint) and the effective weights are stale: call prepare_net(model), or "
        "prepare_net(model, keep_state=True) to continue from the current state."
    )
    if torch.compiler.is_compiling():
        # A comparison in Python would break the graph.
        torch._assert_async((weight == source).all(), text)
        return

    # Values are compared, because fused optimizers and writes to weight.data do not change the
    # version counter.
    if not torch.equal(weight, source):
        raise RuntimeError(text)
