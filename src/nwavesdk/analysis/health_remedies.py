"""Remedies of findings about spikes and gradients, with surrogates that suit the recorded pass.

A remedy may change slope or alpha of a surrogate, so that it passes a larger or a smaller gradient.
The effect of slope or alpha on the gradient differs between surrogates. If the peak is constant
(`fast_sigmoid`), a steeper surrogate passes a smaller gradient. If the area is constant (`atan`,
`sigmoid`), a steeper surrogate passes a larger gradient at fewer steps, and the norm grows. So the
effect is measured at the arguments of the spikes that a pass recorded.
"""

import math
from collections.abc import Sequence
from itertools import product
from statistics import fmean

from torch import Tensor

from nwavesdk.analysis.slopes.candidates import surrogate_label
from nwavesdk.layers import Record
from nwavesdk.layers.lengths import valid_steps
from nwavesdk.surrogate import FastSigmoid, Surrogate, fast_sigmoid

__all__ = [
    "LESS",
    "MORE",
    "REMEDIES",
    "change_gain",
    "derivative_gain",
    "remedy_of",
    "with_steepness",
]

# Factor by which a remedy changes a gain, a slope, a threshold or a learning rate.
LESS = 0.4
MORE = 2.5

_WIDER = "lower slope or alpha, as in spike_grad={surrogate}"
_LAYERWISE = "`nwavesdk.analysis.scan_slopes` finds a surrogate for each layer"

# The remedy for each kind of finding. Advice about slopes follows the practical tips of NWAVE.
REMEDIES = {
    "not finite": (
        "lower the learning rate and return to an earlier checkpoint; check the input for NaN"
    ),
    "dead": (
        "raise their weights or lower thresholds (`nwavesdk.init.fluct_init` does), and keep them "
        "active with `nwavesdk.loss.firing_rate_target_mse_loss`; if they are also starved, "
        + _WIDER
    ),
    "saturated": (
        "lower their weights or raise thresholds; "
        "`nwavesdk.loss.firing_rate_target_mse_loss` keeps their rates down"
    ),
    "starved": (
        "the surrogate is too narrow for them, or their weights are too small: "
        + _WIDER
        + "; `nwavesdk.analysis.scan_slopes` shows the share of usable neurons for each surrogate"
    ),
    "vanishing": "take spike_grad={surrogate}, {effect}; " + _LAYERWISE,
    "exploding": "training will be noisy: take spike_grad={surrogate}, {effect}; " + _LAYERWISE,
    "vanishing over time": (
        "the net does not learn from early steps: use longer taus or a loss that reads all steps, "
        "then a surrogate that passes a larger gradient, such as spike_grad={surrogate}"
    ),
    "exploding over time": (
        "early steps dominate all others: lower recurrent weights, keep detach_reset=True, clip "
        "gradients, or use a surrogate that passes a smaller gradient, such as "
        "spike_grad={surrogate}"
    ),
    "recurrent gain": (
        "keep max_loop_gain=1 (LIF and chip neurons have it), lower recurrent weights, shorten "
        "taus, or use a surrogate of less area, such as {surrogate}; see `docs/recurrence.md`"
    ),
}

# For findings over time, the factor by which the surrogate of the remedy should change the gain.
_CHANGES = {"vanishing over time": MORE, "exploding over time": LESS}

# Parameters that make a derivative steeper: larger values raise its peak or reduce its width.
_NAMES = ("slope", "alpha")

# The candidate values of slope or alpha.
_VALUES = [digit * 10.0**power for power, digit in product(range(-2, 3), (1, 1.5, 2, 3, 5, 7))]

# The gain of a layer is measured at up to this many arguments of its spikes.
_MAX_ARGUMENTS = 20_000

# A candidate is as good as the best one if its error is at most this factor larger.
_TOLERANCE = 1.05


def remedy_of(kind: str, value: float, records: Sequence[Record]) -> tuple[str, str | None]:
    """The remedy of a finding, and the surrogate that the remedy names; None if it names none.

    Args:
        kind: A key of `REMEDIES`.
        value: The number of the finding. For gradients, the factor between two norms.
        records: Records of the layer and of all layers between it and the last layer.
    """
    fill = REMEDIES[kind].format
    present = records[0].surrogate
    if kind in ("vanishing", "exploding"):
        surrogate, effect = _balanced(value, records)
        return fill(surrogate=surrogate, effect=effect), surrogate
    if "{surrogate}" not in REMEDIES[kind]:
        return fill(), None

    if kind == "recurrent gain":
        # A smaller area reduces the loop gain: the default fast sigmoid has a small one, and a
        # steeper fast sigmoid a smaller one.
        is_fast_sigmoid = isinstance(present, FastSigmoid)
        chosen = with_steepness(present, MORE) if is_fast_sigmoid else fast_sigmoid()
    elif kind in _CHANGES:
        chosen, _ = change_gain(present, records[:1], _CHANGES[kind])
    else:
        chosen = with_steepness(present, LESS)
    return fill(surrogate=surrogate_label(chosen)), surrogate_label(chosen)


def _balanced(value: float, records: Sequence[Record]) -> tuple[str, str]:
    """The surrogate under which gradients keep their norm from layer to layer, and its effect."""
    # A factor of 0 has no logarithm. A tiny factor in its place leads to the largest change.
    growth = max(value, 1e-300) ** (1 / len(records))

    present = records[0].surrogate
    chosen, change = change_gain(present, records, 1 / growth)
    effect = (
        f"under which the gradient of a layer is about {growth * change:.1g} times the gradient of "
        "the next layer"
    )
    is_steeper = type(chosen) is type(present) and _steepness(chosen) > _steepness(present)
    if is_steeper and change > 1:
        effect += ", but reaches fewer neurons; larger weights help, too"
    return surrogate_label(chosen), effect


def _steepness(surrogate: Surrogate) -> float:
    """The value of slope or alpha; 0 if it has neither."""
    return next((value for name, value in surrogate.parameters.items() if name in _NAMES), 0.0)


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
    steepness = _steepness(base)

    errors = []
    for value in _VALUES:
        candidate = with_steepness(base, value / steepness)
        change = _mean_log_gain([candidate] * len(arguments), arguments) - present
        errors.append((abs(change - math.log(factor)), candidate, change))

    # Of the candidates that are equally good, the nearest to the present surrogate is chosen.
    limit = min(error for error, _, _ in errors) + math.log(_TOLERANCE)
    good = [entry for entry in errors if entry[0] <= limit]
    _, chosen, change = min(good, key=lambda entry: abs(math.log(_steepness(entry[1]) / steepness)))
    return chosen, math.exp(change)


def _arguments(record: Record) -> Tensor:
    """Up to `_MAX_ARGUMENTS` arguments of spikes, evenly spread over the valid steps."""
    z = record.z.detach()
    if record.lengths is not None:
        z = z[valid_steps(record.lengths, z.shape[1])]
    z = z.flatten()
    return z[:: math.ceil(len(z) / _MAX_ARGUMENTS) or 1].double()


def _mean_log_gain(surrogates: Sequence[Surrogate], arguments: Sequence[Tensor]) -> float:
    """The mean logarithm of the gains of layers; 1e-300 replaces a gain of 0."""
    gains = map(derivative_gain, surrogates, arguments)
    return fmean(math.log(max(gain, 1e-300)) for gain in gains)
