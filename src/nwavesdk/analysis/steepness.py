"""Surrogates of another steepness: which slope or alpha passes a larger or a smaller gradient.

How the gradient depends on slope or alpha differs between surrogates. Under a constant peak
(`fast_sigmoid`), a steeper one passes less. Under a constant area (`atan`, `sigmoid`), a steeper
one passes a larger gradient at fewer steps, and its norm grows. So the direction is measured at the
arguments of the spikes that a pass recorded.
"""

import math
from collections.abc import Sequence
from itertools import product

from torch import Tensor

from nwavesdk.layers import Record
from nwavesdk.layers.lengths import valid_steps
from nwavesdk.surrogate import Surrogate, fast_sigmoid

__all__ = ["change_gain", "derivative_gain", "is_steeper", "with_steepness"]

# Parameters of surrogates that grow with the peak or fall with the width of a derivative.
_NAMES = ("slope", "alpha")

# The values of slope or alpha to choose from.
_VALUES = [digit * 10.0**power for power, digit in product(range(-2, 3), (1, 1.5, 2, 3, 5, 7))]

# Number of arguments per layer that a gain is measured at.
_MOST_ARGUMENTS = 20_000

# Two choices whose gains differ from the goal by factors closer than this are as good.
_TOLERANCE = 1.05


def _steepness(surrogate: Surrogate) -> float | None:
    """The value of slope or alpha; None if it has neither."""
    names = [name for name in _NAMES if name in surrogate.parameters]
    return float(surrogate.parameters[names[0]]) if names else None


def with_steepness(surrogate: Surrogate, factor: float) -> Surrogate:
    """The surrogate with its slope or alpha times a factor, to two digits.

    A surrogate that has neither, or not such a value, becomes a fast sigmoid with `factor` times
    the default slope.

    Example:
        >>> from nwavesdk.surrogate import atan
        >>> with_steepness(atan(alpha=2.0), 0.4)
        ATan(alpha=0.8)
    """
    names = [name for name in _NAMES if name in surrogate.parameters]
    try:
        value = float(f"{factor * surrogate.parameters[names[0]]:.2g}")
        return type(surrogate)(**{**surrogate.parameters, names[0]: value})
    except (IndexError, ValueError):
        return fast_sigmoid(25 * factor)


def is_steeper(surrogate: Surrogate, other: Surrogate) -> bool:
    """Whether a surrogate is of the same class as another one, with a larger slope or alpha."""
    is_same = type(surrogate) is type(other)
    return is_same and (_steepness(surrogate) or 0.0) > (_steepness(other) or 0.0)


def derivative_gain(surrogate: Surrogate, z: Tensor) -> float:
    """By about what factor a layer scales the norm of a gradient, up to a constant of the layer.

    Gradients of several steps that have the same sign add up to the mean of the derivative, those
    of random signs to its root mean square. In nets there is some of both, and the geometric mean
    of the two is a good estimate.

    Example:
        >>> import torch
        >>> from nwavesdk.surrogate import atan, fast_sigmoid
        >>> z = torch.linspace(-1, 1, 1001)
        >>> derivative_gain(fast_sigmoid(2), z) > derivative_gain(fast_sigmoid(25), z)
        True
        >>> derivative_gain(atan(2), z) > derivative_gain(atan(25), z)
        False
    """
    heights = surrogate.derivative(z.double())
    mean = heights.abs().mean().item()
    return math.sqrt(mean * heights.square().mean().sqrt().item())


def change_gain(
    surrogate: Surrogate, records: Sequence[Record], factor: float
) -> tuple[Surrogate, float]:
    """Change slope or alpha of a surrogate so that the gain of layers changes by a factor.

    Args:
        surrogate: The surrogate. One without slope and alpha becomes a fast sigmoid.
        records: Records of the layers that will have it.
        factor: The factor by which the gain of each layer shall change, in the geometric mean.

    Returns:
        The surrogate, and the factor by which it changes the gain. This is not `factor` where no
        slope or alpha from 0.01 to 700 comes close to it.
    """
    arguments = [_arguments(record) for record in records]
    now = _mean_log_gain([record.surrogate for record in records], arguments)
    base = surrogate if _steepness(surrogate) else fast_sigmoid()
    steepness = _steepness(base) or 1.0
    errors = []
    for value in _VALUES:
        candidate = with_steepness(base, value / steepness)
        change = _mean_log_gain([candidate] * len(arguments), arguments) - now
        errors.append((abs(change - math.log(factor)), candidate, change))
    least = min(error for error, _, _ in errors) + math.log(_TOLERANCE)
    good = [entry for entry in errors if entry[0] <= least]
    _, chosen, change = min(good, key=lambda entry: _distance(entry[1], steepness))
    return chosen, math.exp(change)


def _distance(surrogate: Surrogate, steepness: float) -> float:
    """How far its slope or alpha is from a value, as the logarithm of a factor."""
    return abs(math.log((_steepness(surrogate) or steepness) / steepness))


def _arguments(record: Record) -> Tensor:
    """At most `_MOST_ARGUMENTS` arguments of spikes at valid steps."""
    z = record.z.detach()
    if record.lengths is not None:
        z = z[valid_steps(record.lengths, z.shape[1])]
    z = z.flatten()
    return z[:: math.ceil(len(z) / _MOST_ARGUMENTS) or 1].double()


def _mean_log_gain(surrogates: Sequence[Surrogate], arguments: Sequence[Tensor]) -> float:
    """The mean logarithm of the gains of layers; the smallest float stands for a gain of 0."""
    gains = [derivative_gain(one, z) for one, z in zip(surrogates, arguments, strict=True)]
    return sum(math.log(max(gain, 1e-300)) for gain in gains) / len(gains)
