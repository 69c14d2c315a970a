"""What ails a net: neurons that are dead, saturated or starved, gradients that vanish or explode; and what helps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nwavesdk.layers import Recording

__all__ = ["Finding", "Health", "LayerHealth", "Limits", "examine"]

_GENTLER = "lower slope or alpha a bit, layer by layer as `nwave slopes` says; as a baseline, start from fast_sigmoid()"
_STEEPER = "raise slope or alpha a bit, layer by layer as `nwave slopes` says; as a baseline, start from fast_sigmoid()"
REMEDIES = {
    "not finite": "lower the learning rate and go back to an earlier checkpoint; check the input for NaN",
    "dead": (
        "raise their weights or lower thresholds (`nwavesdk.init.fluct_init` does), and keep them awake by "
        "`nwavesdk.loss.firing_rate_target_mse_loss`; where they are starved, too, lower slope or alpha a bit"
    ),
    "saturated": (
        "lower their weights or raise thresholds; `nwavesdk.loss.firing_rate_target_mse_loss` holds their rates down"
    ),
    "starved": f"gradients vanish too quickly: {_GENTLER}",
    "vanishing": f"gradients vanish too quickly: {_GENTLER}",
    "exploding": f"training will be noisy: {_STEEPER}",
    "vanishing over time": (
        "what happened early is not learnt from: take longer taus or a loss that reads out all steps, then lower "
        "slope or alpha a bit"
    ),
    "exploding over time": (
        "early steps drown out all others: lower recurrent weights, keep detach_reset=True, raise slope or alpha a "
        "bit, or clip gradients"
    ),
}
"""What helps, by kind of finding; on slopes it is what NWAVE's practical tips say."""


@dataclass(frozen=True)
class Limits:
    """From where on something is told.

    Attributes:
        few: Share of a layer's neurons that may be dead, saturated or starved.
        saturated: Spikes a step from which on a neuron is saturated.
        starved: Share of what a neuron of the last layer receives on average, below which one is starved.
        depth: Factor by which the gradient of a layer may be smaller or larger than that of the last.
        time: Factor by which it may be smaller or larger in the first quarter of the steps than in the third; the last
            quarter is left out, as what happens there has little time to have an effect.
    """

    few: float = 0.05
    saturated: float = 0.9
    starved: float = 1e-3
    depth: float = 100.0
    time: float = 1000.0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in one layer.

    Attributes:
        kind: A key of `REMEDIES`.
        layer: Its name in the net.
        value: Share of neurons, or the factor between two norms.
        text: What was found.
        remedy: What helps.
    """

    kind: str
    layer: str
    value: float
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}."


@dataclass(frozen=True)
class LayerHealth:
    """One layer in numbers.

    Attributes:
        layer: Its name in the net.
        rate: Spikes a step and neuron.
        dead: Share of neurons without a spike in the whole batch.
        saturated: Share of neurons that fire nearly always.
        starved: Share of neurons that receive hardly any gradient.
        norm: Euclidean norm of the gradient of its input charge.
        depth: The same as a multiple of the last layer's; NaN where that is 0.
        time: Norm in the first quarter of the steps as a multiple of that in the third; NaN where that is 0.
    """

    layer: str
    rate: float
    dead: float
    saturated: float
    starved: float
    norm: float
    depth: float
    time: float


@dataclass(frozen=True)
class Health:
    """All layers in numbers, and what is wrong."""

    layers: tuple[LayerHealth, ...]
    findings: tuple[Finding, ...]


@torch.no_grad()
def examine(
    recording: Recording, gradients: Mapping[str, Tensor], limits: Limits | None = None
) -> Health:
    """Look at a pass and its gradients.

    Args:
        recording: Of `SpikingSequential.record`, at least one neuron layer, sequences.
        gradients: ∂L/∂ input charge of each layer, [B, T, *features], by its name; `RecordedPass.gradients` gives them.
        limits: From where on something is told.

    Raises:
        ValueError: A layer has no gradient.
    """
    missing = [name for name in recording.layers if name not in gradients]
    if missing:
        raise ValueError(
            f"examine needs the gradient of every neuron layer, got none for {', '.join(missing)}."
        )
    limits = limits or Limits()
    grads = {name: gradients[name].double().flatten(2) for name in recording.layers}
    last = [*grads.values()][-1]
    fair, most = last.abs().sum((0, 1)).mean(), float(last.norm())
    layers = []
    for name, grad in grads.items():
        rates = recording.layers[name].spk.double().flatten(2).mean((0, 1))
        received = grad.abs().sum((0, 1))
        starved = (received < limits.starved * fair) | (received == 0)
        norm = float(grad.norm())
        shares = _share(rates == 0), _share(rates >= limits.saturated), _share(starved)
        layers.append(
            LayerHealth(
                name, float(rates.mean()), *shares, norm, _factor(norm, most), _over_time(grad)
            )
        )
    found = [
        finding
        for depth, layer in enumerate(layers, 1)
        for finding in _findings(layer, depth, limits)
    ]
    return Health(tuple(layers), tuple(found))


def _findings(layer: LayerHealth, depth: int, limits: Limits) -> list[Finding]:
    found: list[tuple[str, float, str]] = []
    if not math.isfinite(layer.norm):
        found.append(("not finite", layer.norm, "has a gradient that is not finite"))
    shares = {
        "dead": "of its neurons do not fire once",
        "saturated": f"of its neurons fire in {limits.saturated:.0%} of the steps or more",
        "starved": f"of its neurons receive less than {limits.starved:g} of what one of the last layer receives",
    }
    for kind, words in shares.items():
        share: float = getattr(layer, kind)
        if share > limits.few:
            found.append((kind, share, f"{share:.0%} {words}"))
    factors = {
        "": (layer.depth, limits.depth, "its gradient is {} of that of the last layer"),
        " over time": (
            layer.time,
            limits.time,
            "its gradient in the first quarter of the steps is {} of the third's",
        ),
    }
    for suffix, (factor, limit, words) in factors.items():
        if factor < 1 / limit:
            found.append((f"vanishing{suffix}", factor, words.format(f"{factor:.1e}")))
        if factor > limit and math.isfinite(layer.norm):
            found.append(
                (
                    f"exploding{suffix}",
                    factor,
                    words.format(f"{factor:.1e} times that").replace(" of that", ""),
                )
            )
    return [
        Finding(kind, layer.layer, value, f"layer {depth} ({layer.layer}): {text}", REMEDIES[kind])
        for kind, value, text in found
    ]


def _over_time(grad: Tensor) -> float:
    quarter = grad.shape[1] // 4
    if not quarter:
        return math.nan
    return _factor(
        float(grad[:, :quarter].norm()), float(grad[:, 2 * quarter : 3 * quarter].norm())
    )


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


def _factor(above: float, below: float) -> float:
    return above / below if below else math.inf if above else math.nan
