"""Remedies of findings for a run: options of `nwave train`, or lines of the net's file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nwavesdk.analysis.health import Finding
from nwavesdk.analysis.health_remedies import LESS, MORE
from nwavesdk.internal.files import printable
from nwavesdk.presets import USES
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.recipes import can_drive

__all__ = ["with_remedies"]

# The bound of rates that a remedy suggests [spikes per step and neuron].
FEW_SPIKES = 0.05

# Score on the training set, accuracy or R², from which on the net needs no other neurons.
LEARNED = 0.95

# Share of the bound of rates from which on the bound, not the weights, decides a layer's rate.
BOUNDED = 0.5


def with_remedies(
    findings: tuple[Finding, ...],
    config: RunConfig,
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


def _remedy(finding: Finding, config: RunConfig, rate: float, score: float) -> str:
    learning = config.learning
    tau = config.net.tau
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


def _preset_of(config: RunConfig) -> str | None:
    """The preset of a run, also of one from before there were presets; None with a user's file."""
    if config.net.preset is not None:
        return config.net.preset
    if config.net_file is not None:
        return None
    return "lif" if config.chip is None else "chip"


def _net_option(config: RunConfig, name: str, value: float, argument: str) -> str:
    """An option of the net, or where to change the argument of its layers if it has none."""
    preset = _preset_of(config)
    if preset is not None and name in USES[preset]:  # type: ignore[index]  # the name of a preset
        return f"--{name} {value:.2g}"
    return _in_file(config, argument)


def _in_file(config: RunConfig, argument: str) -> str:
    """Where to change an argument of the layers of a page."""
    if config.net.preset is None and config.net_file is not None:
        return f"other {argument} in {printable(Path(config.net_file.file).name)}"
    preset = _preset_of(config)
    return (
        f"other {argument} in a copy of the net (nwave net {preset} > net.py, then "
        "--net net.py:build)"
    )


def _dead_remedy(config: RunConfig, rate: float, score: float, surrogate: str) -> str:
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


def _more_alive(config: RunConfig) -> str:
    """The options that make more neurons fire: first weights that recordings drive, if possible."""
    task = config.facts.task if config.facts is not None else "classification"
    is_plain = config.net.preset == "lif" and can_drive(config, task)
    if is_plain and config.net.first_weights == "drawn":
        return "--first-weights driven"
    return _threshold(config, LESS)


def _threshold(config: RunConfig, factor: float) -> str:
    """Other thresholds; a chip has its own, but its membranes may add up charge for longer."""
    if config.chip is not None:
        return _net_option(config, "tau", config.net.tau / factor, "taus")
    return _net_option(config, "threshold", factor * config.net.threshold, "thresholds")


def _surrogate(config: RunConfig, surrogate: str | None) -> str:
    """The option for another surrogate: that which suits the recorded pass."""
    option = f'--surrogate "{surrogate or config.net.surrogate}"'
    if _preset_of(config) is None:
        return f"{option}, if the file of the net reads config.net.surrogate"
    return option
