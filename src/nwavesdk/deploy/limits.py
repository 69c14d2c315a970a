"""What a chip cannot do: every place in a net where it breaks a limit of the profile."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from nwavesdk.chip import Profile, offenders
from nwavesdk.deploy.placement import place_layers
from nwavesdk.deploy.stages import Stage, Weight, chip_profile, chip_stages

__all__ = ["Violation", "find_violations"]


@dataclass(frozen=True)
class Violation:
    """One broken limit.

    Attributes:
        layer: name of the module, or of its weight, in the net.
        rule: entry of the profile, or `"placement"`.
        index: place in the tensor, or None for the whole module.
        value: what stands there.
        text: what is wrong and what would be right.
    """

    layer: str
    rule: str
    index: tuple[int, ...] | None
    value: float | str
    text: str

    def __str__(self) -> str:
        """Where, what and why in one line."""
        where = "" if self.index is None else str(list(self.index))
        return f"{self.layer}{where}: {self.text}"


def find_violations(model: nn.Module, profile: Profile | None = None) -> list[Violation]:
    """Every violated limit of the profile, none when the net can go on the chip as it is.

    Weights are looked at as the chip will hold them: after quantization where `quantization_bits` is set.

    Args:
        model: A net of the chip's modules, as `SpikingSequential`.
        profile: The chip. [the one that the net was built for]

    Raises:
        TypeError: The model is no chip's net.

    Example:
        >>> from nwavesdk.layers import HWLayer, HWSynapse, SpikingSequential
        >>> net = SpikingSequential(HWSynapse(2, 1), HWLayer(1, 20e-3))
        >>> net[0].weight.data = torch.tensor([[0.5], [-1.0]])
        >>> for violation in find_violations(net):
        ...     print(violation)
        0.weight[1, 0]: weight -1, expected within ±0.9
        0.weight[0, 0]: weight 0.5 is positive in a block of 5 inputs whose sign is negative (axis assumed)
    """
    rows = chip_stages(model, "find_violations")
    chip = chip_profile(model, "find_violations") if profile is None else profile
    found = [
        violation for i, row in enumerate(rows) for violation in _stage(row, chip, first=i == 0)
    ]
    try:
        place_layers(model, chip)
    except ValueError as error:
        found.append(Violation("net", "placement", None, "", str(error)))
    return found


def _stage(row: Stage, chip: Profile, first: bool) -> Iterator[Violation]:
    yield from _built_for(row, chip)
    if row.diagonal and not first:
        text = "a front end behind other neurons, expected first: the chip's filters reach no other layer"
        yield Violation(row.synapse_name, "filters", None, "front end", text)
    if row.diagonal and row.n_inputs != chip.count("filters"):
        text = f"a front end of {row.n_inputs} channels, expected the chip's {chip.count('filters')} filters"
        yield Violation(row.synapse_name, "filters", None, float(row.n_inputs), text)
    for weight in row.weights():
        yield from _weight(weight, chip)
    yield from _constants(row, chip)


def _built_for(row: Stage, chip: Profile) -> Iterator[Violation]:
    """What of the chip is not a limit and yet decides spikes: they would not be those that were trained."""
    own = row.layer.profile
    if own.text("neuron") != chip.text("neuron"):
        text = f"neurons like {own.text('neuron')}, expected like {chip.text('neuron')}"
        yield Violation(row.name, "neuron", None, own.text("neuron"), text)
    for weight in row.weights():
        own = weight.module.profile
        if own.charge_law != chip.charge_law:
            text = f"weights for the charge law of {own.name}, {own.charge_law}, expected {chip.charge_law}"
            yield Violation(weight.name, "charge_law", None, own.text("charge_law"), text)
        limits = [profile.number("weight_limit") for profile in (own, chip)]
        if weight.bits is not None and limits[0] != limits[1]:
            text = f"levels of {weight.bits} bits within ±{limits[0]:g}, expected within ±{limits[1]:g}"
            yield Violation(weight.name, "weight_limit", None, limits[0], text)


def _weight(weight: Weight, chip: Profile) -> Iterator[Violation]:
    limit, block, axis = (
        chip.number("weight_limit"),
        chip.count("sign_block"),
        chip.text("sign_axis"),
    )
    name, held = weight.name, weight.held()
    if weight.bits is not None and weight.bits > chip.count("weight_bits"):
        text = f"{weight.bits} bits, expected at most {chip.count('weight_bits')}"
        yield Violation(name, "weight_bits", None, float(weight.bits), text)
    raw = weight.tensor.detach()  # what is not finite has no level
    for index in (~((held.abs() <= limit * (1 + 1e-6)) & raw.isfinite())).nonzero().tolist():
        value = (held if raw[tuple(index)].isfinite() else raw)[tuple(index)].item()
        yield Violation(
            name,
            "weight_limit",
            tuple(index),
            value,
            f"weight {value:g}, expected within ±{limit:g}",
        )
    if held.ndim < 2:
        return
    doubt = " (axis assumed)" if chip.assumed("sign_axis") else ""
    for index in offenders(held.where(raw.isfinite(), 0.0), block, axis).nonzero().tolist():
        value = held[tuple(index)].item()
        told, other = ("positive", "negative") if value > 0 else ("negative", "positive")
        text = (
            f"weight {value:g} is {told} in a block of {block} {axis} whose sign is {other}{doubt}"
        )
        yield Violation(name, "sign_block", tuple(index), value, text)


def _constants(row: Stage, chip: Profile) -> Iterator[Violation]:
    series = torch.tensor(chip.tau_profiles)
    taus = row.layer.taus.detach().reshape(-1)
    for i, tau in enumerate(taus.tolist()):
        if len(series) and float((series - tau).abs().min()) > 1e-5 * tau:
            nearest = series[(series - tau).abs().argmin()].item()
            text = f"time constant {tau:g} s is none of the chip's profiles, the nearest is {nearest:g} s"
            yield Violation(f"{row.name}.taus", "tau_profiles", (i,), tau, text)
    threshold = chip.number("threshold")
    for i, value in enumerate(row.layer.thresholds.detach().reshape(-1).tolist()):
        if abs(value - threshold) > 1e-6 * threshold:
            text = f"threshold {value:g}, expected the chip's {threshold:g}"
            yield Violation(f"{row.name}.thresholds", "threshold", (i,), value, text)
