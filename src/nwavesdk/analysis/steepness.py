"""Changes of a surrogate's slope or alpha, so that it passes a larger or a smaller gradient.

The effect of slope or alpha on the gradient differs between surrogates. If the peak is constant
(`fast_sigmoid`), a steeper surrogate passes a smaller gradient. If the area is constant (`atan`,
`sigmoid`), a steeper surrogate passes a larger gradient at fewer steps, and the norm grows. So the
effect is measured at the arguments of the spikes that a pass recorded.
"""

import math
from collections.abc import Sequence
from itertools import product

from torch import Tensor

from nwavesdk.layers import Record
from nwavesdk.layers.lengths import valid_steps
from nwavesdk.surrogate import Surrogate, fast_sigmoid

__all__ = ["change_gain", "derivative_gain", "is_steeper", "with_steepness"]

# Parameters that make a derivative steeper: larger values raise its peak or reduce its width.
_NAMES = ("slope", "alpha")

# The candidate values of slope or alpha.
_VALUES = [digit * 10.0**power for power, digit in product(range(-2, 3), (1, 1.5, 2, 3, 5, 7))]

# The gain of a layer is measured at up to this many arguments of its spikes.
_MAX_ARGUMENTS = 20_000

# A candidate is as good as the best one if its error is at most this factor larger.
_TOLERANCE = 1.05


def _steepness(surrogate: Surrogate) -> float | None:
    """The value of slope or alpha; None if it has neither."""
    names = [name for name in _NAMES if name in surrogate.parameters]
    return float(surrogate.parameters[names[0]]) if names else None


def with_steepness(surrogate: Surrogate, factor: float) -> Surrogate:
    """The surrogate with its slope or alpha multiplied by a factor, rounded to two digits.

    A surrogate without slope and alpha, or one that rejects the new value, becomes a fast sigmoid
    with `factor` times the default slope.

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
    """Whether two surrogates have the same class, and the first has the larger slope or alpha."""
    is_same = type(surrogate) is type(other)
    return is_same and (_steepness(surrogate) or 0.0) > (_steepness(other) or 0.0)


def derivative_gain(surrogate: Surrogate, z: Tensor) -> float:
    """An estimate of the factor by which a layer scales the norm of a gradient.

    The factor is known up to a constant of the layer. If the gradients of several steps have the
    same sign, their sum is proportional to the mean of the derivative. If their signs are random,
    it is proportional to the root mean square. Nets have both cases, and the geometric mean of the
    two values is a good estimate.

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
        surrogate: The surrogate. If it has neither slope nor alpha, it becomes a fast sigmoid.
        records: Records of the layers that will use the result.
        factor: The desired factor between the new and the present gain, as a geometric mean over
            layers.

    Returns:
        The new surrogate, and the factor by which it changes the gain. It differs from `factor` if
        no slope or alpha from 0.01 to 700 comes close.
    """
    arguments = [_arguments(record) for record in records]
    present = _mean_log_gain([record.surrogate for record in records], arguments)
    base = surrogate if _steepness(surrogate) else fast_sigmoid()
    steepness = _steepness(base) or 1.0

    errors = []
    for value in _VALUES:
        candidate = with_steepness(base, value / steepness)
        change = _mean_log_gain([candidate] * len(arguments), arguments) - present
        errors.append((abs(change - math.log(factor)), candidate, change))

    # Of the candidates that are equally good, the nearest to the present surrogate is chosen.
    limit = min(error for error, _, _ in errors) + math.log(_TOLERANCE)
    good = [entry for entry in errors if entry[0] <= limit]
    _, chosen, change = min(good, key=lambda entry: _distance(entry[1], steepness))
    return chosen, math.exp(change)


def _distance(surrogate: Surrogate, steepness: float) -> float:
    """The distance of a slope or alpha from a value, as the logarithm of their quotient."""
    return abs(math.log((_steepness(surrogate) or steepness) / steepness))


def _arguments(record: Record) -> Tensor:
    """Up to `_MAX_ARGUMENTS` arguments of spikes, evenly spread over the valid steps."""
    z = record.z.detach()
    if record.lengths is not None:
        z = z[valid_steps(record.lengths, z.shape[1])]
    z = z.flatten()
    return z[:: math.ceil(len(z) / _MAX_ARGUMENTS) or 1].double()


def _mean_log_gain(surrogates: Sequence[Surrogate], arguments: Sequence[Tensor]) -> float:
    """The mean logarithm of the gains of layers; 1e-300 replaces a gain of 0."""
    gains = [
        derivative_gain(surrogate, z) for surrogate, z in zip(surrogates, arguments, strict=True)
    ]
    return sum(math.log(max(gain, 1e-300)) for gain in gains) / len(gains)
