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

# Score on the training set, accuracy or R², from which on the net needs no other neurons.
LEARNED = 0.95

# Share of the bound of rates from which on the bound, not the weights, decides a layer's rate.
BOUNDED = 0.5


def with_remedies(
    findings: tuple[Finding, ...],
    config: CompletedConfig,
    names: Mapping[str, str],
    rates: Mapping[str, float],
    score: float,
) -> tuple[Finding, ...]:
    """The findings in the words of a run: its layers, and what to change to train it again.

    Args:
        findings: What is wrong with the net of the run.
        config: The config of the run.
        names: What texts call each layer, by its name in the net.
        rates: Spikes per step and neuron, by the same names.
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
    learning = config.learning
    tau = config.option("net.tau", 0.0)
    other = _surrogate(config, finding.surrogate)
    few = min(FEW_SPIKES, learning.most_spikes or 1)
    fewer = f"--most-spikes {few:g} --spike-cost {2 * learning.spike_cost or 0.2:.2g}"
    lower = f"--learning-rate {LESS * learning.rate:.2g}"
    slopes = "`nwave slopes` finds a surrogate for each layer"
    memory = _net_option(config, "tau", finding.value * tau, "taus")
    texts = {
        "not finite": f"train again with {lower} --clip 1, and check the input for NaN",
        "dead": _dead_remedy(config, rate, score, other),
        "saturated": f"train again with {fewer}, or with {_threshold(config, MORE)}",
        "starved": f"train again with {other}; {slopes}",
        "vanishing": f"train again with {other}; {slopes}",
        "exploding": f"train again with {other}, or with --clip 1; {slopes}",
        "vanishing over time": "the net does not learn from early steps: train again with "
        f"{_net_option(config, 'tau', 3 * tau, 'taus')}, or with {other}",
        "exploding over time": f"train again with --clip 1, or with {other}",
        "recurrent gain": f"train again with {_net_option(config, 'tau', tau / 2, 'taus')}, or "
        f"with {other}; in a net of your own, keep max_loop_gain=1 (docs/recurrence.md)",
        "short tau": f"train again with {memory}, or with --dt {config.net.dt / 5:.2g}",
        "long tau": f"train again with {memory}",
        "leaks away": f"train again with {memory}",
    }
    return texts[finding.kind]


def _net_option(config: CompletedConfig, name: str, value: float, argument: str) -> str:
    """An option of the net, or where to change the argument of its layers if it has none."""
    if config.net.name == "file":
        return f"other {argument} in {printable(Path(config.page.file).name)}"
    if name in type(config.net).model_fields:
        return f"--{name} {value:.2g}"
    return (
        f"other {argument} in a copy of the net (nwave net {config.net.name} > net.py, then "
        "--net net.py:build)"
    )


def _dead_remedy(config: CompletedConfig, rate: float, score: float, surrogate: str) -> str:
    """What helps a layer with dead neurons; nothing raises rates against a bound of the run."""
    bound = config.learning.most_spikes
    is_bounded = bound is not None and rate >= BOUNDED * bound
    if score >= LEARNED:
        remedy = "none is needed, the neurons that fire have learned the training set"
    elif bound is not None and is_bounded:
        remedy = f"train again with a higher bound, --most-spikes {min(1, 2 * bound):g}"
    else:
        remedy = f"train again with {_more_alive(config)}, or with {surrogate}"
    return f"{remedy}; the bound of rates, {bound:g}, leaves some silent" if is_bounded else remedy


def _more_alive(config: CompletedConfig) -> str:
    """The options that make more neurons fire: first weights that recordings drive, if possible."""
    if config.can_drive and config.option("net.first_weights") == "drawn":
        return "--first-weights driven"
    return _threshold(config, LESS)


def _threshold(config: CompletedConfig, factor: float) -> str:
    """Other thresholds; a chip has its own, but its membranes may add up charge for longer."""
    if config.chip is not None:
        return _net_option(config, "tau", config.option("net.tau") / factor, "taus")
    return _net_option(config, "threshold", factor * config.option("net.threshold"), "thresholds")


def _surrogate(config: CompletedConfig, surrogate: str | None) -> str:
    """The option for another surrogate: that which suits the recorded pass."""
    option = f'--surrogate "{surrogate or config.net.surrogate}"'
    if config.net.name == "file":
        return f"{option}, if the file of the net reads config.net.surrogate"
    return option
