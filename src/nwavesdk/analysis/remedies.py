"""Remedies of findings for a run: options of `nwave train`, or lines of the net's file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nwavesdk.analysis.health import Finding
from nwavesdk.analysis.health_remedies import LESS, MORE
from nwavesdk.internal.files import printable
from nwavesdk.train.config import CompletedConfig

__all__ = ["with_remedies"]

# The bound of rates that a remedy suggests [spikes per step and neuron].
FEW_SPIKES = 0.05

# Accuracy or R² on the training set above which dead neurons need no remedy.
LEARNED = 0.95

# A layer whose rate is above this share of the run's bound of rates is limited by the bound, not by
# its weights.
BOUNDED = 0.5


def with_remedies(
    findings: tuple[Finding, ...],
    config: CompletedConfig,
    names: Mapping[str, str],
    rates: Mapping[str, float],
    score: float,
) -> tuple[Finding, ...]:
    """Replace names and remedies of findings by the layer names and the options of a run.

    Args:
        findings: Findings about the net of the run.
        config: The config of the run.
        names: Display name of each layer, by the layer's name in the net.
        rates: Spikes per step and neuron, by the layer's name in the net.
        score: Accuracy or R² on the training set.
    """
    return tuple(
        replace(
            finding,
            text=finding.text.replace(f"layer {finding.layer}:", f"{names[finding.layer]}:", 1),
            remedy=_remedy(finding, config, rates[finding.layer], score),
        )
        for finding in findings
    )


def _remedy(finding: Finding, config: CompletedConfig, rate: float, score: float) -> str:
    """The remedy of a finding as options of `nwave train`."""
    learning = config.learning
    tau = getattr(config.net, "tau", 0.0)

    # The options, with new values that follow from the present values of the run.
    other = f'--surrogate "{finding.surrogate or config.net.surrogate}"'
    if config.net.name == "file":
        other += ", if the file of the net reads config.net.surrogate"
    few = min(FEW_SPIKES, learning.most_spikes or 1)
    fewer = f"--most-spikes {few:g} --spike-cost {2 * learning.spike_cost or 0.2:.2g}"
    lower = f"--learning-rate {LESS * learning.rate:.2g}"
    slopes = "`nwave slopes` finds a surrogate for each layer"
    # The value of a finding about memory is the factor by which time constants would fit.
    memory = _net_option(config, "tau", finding.value * tau)

    texts = {
        "not finite": f"train again with {lower} --clip 1, and check the input for NaN",
        "dead": _dead_remedy(config, rate, score, other),
        "saturated": f"train again with {fewer}, or with {_threshold(config, MORE)}",
        "starved": f"train again with {other}; {slopes}",
        "vanishing": f"train again with {other}; {slopes}",
        "exploding": f"train again with {other}, or with --clip 1; {slopes}",
        "vanishing over time": "the net does not learn from early steps: train again with "
        f"{_net_option(config, 'tau', 3 * tau)}, or with {other}",
        "exploding over time": f"train again with --clip 1, or with {other}",
        "recurrent gain": f"train again with {_net_option(config, 'tau', tau / 2)}, or "
        f"with {other}; in a net of your own, keep max_loop_gain=1 (docs/recurrence.md)",
        "short tau": f"train again with {memory}, or with --dt {config.net.dt / 5:.2g}",
        "long tau": f"train again with {memory}",
        "leaks away": f"train again with {memory}",
    }
    return texts[finding.kind]


def _net_option(config: CompletedConfig, name: str, value: float) -> str:
    """The option of the net with a new value, or the file in which its layers get the argument.

    Args:
        config: The config of the run.
        name: Name of the option. The argument of layers is its plural.
        value: The new value.
    """
    if config.net.name == "file":
        return f"other {name}s in {printable(Path(config.page.file).name)}"
    if name in type(config.net).model_fields:
        return f"--{name} {value:.2g}"
    return (
        f"other {name}s in a copy of the net (nwave net {config.net.name} > net.py, then "
        "--net net.py:build)"
    )


def _dead_remedy(config: CompletedConfig, rate: float, score: float, surrogate: str) -> str:
    """The remedy for dead neurons. Weights cannot raise a rate above the run's bound of rates."""
    bound = config.learning.most_spikes
    is_bounded = bound is not None and rate >= BOUNDED * bound

    if score >= LEARNED:
        remedy = "none is needed, the neurons that fire have learned the training set"
    elif bound is not None and is_bounded:
        remedy = f"train again with a higher bound, --most-spikes {min(1, 2 * bound):g}"
    else:
        # Initial weights that the recordings drive are recommended where the run can have them.
        is_drawn = config.can_drive and getattr(config.net, "first_weights", None) == "drawn"
        option = "--first-weights driven" if is_drawn else _threshold(config, LESS)
        remedy = f"train again with {option}, or with {surrogate}"
    return f"{remedy}; the bound of rates, {bound:g}, leaves some silent" if is_bounded else remedy


def _threshold(config: CompletedConfig, factor: float) -> str:
    """The option that multiplies thresholds by a factor.

    A chip fixes the thresholds. There, time constants change instead: a membrane that leaks more
    slowly reaches its threshold with less charge.
    """
    if config.chip is not None:
        return _net_option(config, "tau", getattr(config.net, "tau", 0.0) / factor)
    return _net_option(config, "threshold", factor * getattr(config.net, "threshold", 1.0))
