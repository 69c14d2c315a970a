"""Remedies of findings about spikes and gradients, with surrogates that suit the recorded pass."""

from collections.abc import Sequence

from nwavesdk.analysis.slopes.candidates import surrogate_label
from nwavesdk.analysis.steepness import change_gain, is_steeper, with_steepness
from nwavesdk.layers import Record
from nwavesdk.surrogate import FastSigmoid, fast_sigmoid

__all__ = ["LESS", "MORE", "REMEDIES", "remedy_of"]

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
    if is_steeper(chosen, present) and change > 1:
        effect += ", but reaches fewer neurons; larger weights help, too"
    return surrogate_label(chosen), effect
