"""Limits of a chip: every place in a net that violates an entry of the chip's profile.

The sizes of cores and the number of inputs of a neuron are limits of the placement, which
`deploy/placement.py` checks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nwavesdk.chip import TAU_RANGE, Profile, disagreeing_weights
from nwavesdk.deploy.placement import place_stages
from nwavesdk.deploy.stages import Stage, stages_and_profile, weight_bits
from nwavesdk.layers import Edge

__all__ = ["Violation", "find_violations"]


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One violated limit.

    Attributes:
        layer: Name of the module, or of its weight, in the net.
        rule: Entry of the profile, or `"placement"`.
        index: Index in the tensor, or None for the whole module.
        value: The value that violates the limit.
        text: The fault, and the expected value.

    Example:
        >>> from nwavesdk.layers import HWLayer, HWSynapse, SpikingSequential
        >>> net = SpikingSequential(HWSynapse(2, 1), HWLayer(1, 20e-3))
        >>> net[0].weight.data = torch.tensor([[-0.5], [-1.0]])
        >>> (violation,) = find_violations(net)
        >>> violation.layer, violation.rule, violation.index, violation.value
        ('0.weight', 'weight_limit', (1, 0), -1.0)
    """

    layer: str
    rule: str
    index: tuple[int, ...] | None
    value: float | str
    text: str

    def __str__(self) -> str:
        """The place and the reason in one line."""
        index = "" if self.index is None else str(list(self.index))
        return f"{self.layer}{index}: {self.text}"


def find_violations(model: nn.Module, profile: Profile | None = None) -> list[Violation]:
    """All violated limits of the profile; an empty list if the net can be deployed unchanged.

    Weights are compared as the chip will store them.

    Args:
        model: A net of chip modules, as `SpikingSequential`.
        profile: The chip. [the chip that the net was built for]

    Raises:
        TypeError: If the model is not a net of chip modules.

    Example:
        >>> from nwavesdk.layers import HWLayer, HWSynapse, SpikingSequential
        >>> net = SpikingSequential(HWSynapse(2, 1), HWLayer(1, 20e-3))
        >>> net[0].weight.data = torch.tensor([[0.5], [-1.0]])
        >>> for violation in find_violations(net):
        ...     print(violation)
        0.weight[1, 0]: weight -1, expected within ±0.9
        0.weight[0, 0]: weight 0.5 is positive in a negative block of 5 inputs (axis assumed)
    """
    stages, chip = stages_and_profile(model, profile, "find_violations")
    violations: list[Violation] = []

    for stage in stages:
        violations += _profile_violations(stage, chip)
        if stage.is_frontend:
            violations += _frontend_violations(stage, chip, is_first=stage is stages[0])
        for edge in stage.edges:
            violations += _weight_violations(edge, chip)
        violations += _neuron_violations(stage, chip)

    try:
        place_stages(stages, chip)
    except ValueError as error:
        violations.append(
            Violation(layer="net", rule="placement", index=None, value="", text=str(error))
        )

    return violations


def _profile_violations(stage: Stage, chip: Profile) -> Iterator[Violation]:
    """Differences between `chip` and the profile that the stage was built with.

    They are not limits, but the chip would spike differently from the trained net.
    """
    neuron = stage.layer.profile.text("neuron")
    if neuron != chip.text("neuron"):
        text = f"neurons of kind {neuron}, expected {chip.text('neuron')}"
        yield Violation(layer=stage.name, rule="neuron", index=None, value=neuron, text=text)

    for edge in stage.edges:
        built_for = edge.profile
        assert built_for is not None
        if built_for.charge_law != chip.charge_law:
            text = (
                f"weights for the charge law of {built_for.name}, {built_for.charge_law}, "
                f"expected {chip.charge_law}"
            )
            yield Violation(
                layer=edge.name,
                rule="charge_law",
                index=None,
                value=built_for.text("charge_law"),
                text=text,
            )

        limit, expected = (profile.number("weight_limit") for profile in (built_for, chip))
        if weight_bits(edge) is not None and limit != expected:
            text = (
                f"{weight_bits(edge)}-bit levels within ±{limit:g}, expected within ±{expected:g}"
            )
            yield Violation(
                layer=edge.name, rule="weight_limit", index=None, value=limit, text=text
            )


def _frontend_violations(stage: Stage, chip: Profile, is_first: bool) -> Iterator[Violation]:
    n_filters = chip.count("filters")
    if not is_first:
        text = "a front end after other neurons, expected first: the filters feed no other layer"
        yield Violation(
            layer=stage.synapse_name, rule="filters", index=None, value="front end", text=text
        )

    if stage.n_inputs != n_filters:
        text = f"a front end of {stage.n_inputs} channels, expected the chip's {n_filters} filters"
        yield Violation(
            layer=stage.synapse_name,
            rule="filters",
            index=None,
            value=float(stage.n_inputs),
            text=text,
        )


def _violations_at(
    name: str, rule: str, values: Tensor, places: Tensor, describe: Callable[[float], str]
) -> Iterator[Violation]:
    """A violation for each value where the mask `places` is true."""
    for index in map(tuple, places.nonzero().tolist()):
        value = values[index].item()
        yield Violation(layer=name, rule=rule, index=index, value=value, text=describe(value))


def _weight_violations(edge: Edge, chip: Profile) -> Iterator[Violation]:
    """Weights with too many bits, outside of the limit, not finite, or of the wrong sign."""
    limit = chip.number("weight_limit")
    bits = weight_bits(edge)

    if bits is not None and bits > chip.count("weight_bits"):
        text = f"{bits} bits, expected at most {chip.count('weight_bits')}"
        yield Violation(
            layer=edge.name, rule="weight_bits", index=None, value=float(bits), text=text
        )

    # NaN and infinity have no quantization level, so they are read from the trained tensor.
    trained = edge.weight.detach()
    is_finite = trained.isfinite()
    stored = edge.stored_weight().where(is_finite, trained)
    yield from _violations_at(
        edge.name,
        "weight_limit",
        stored,
        ~(stored.abs() <= limit * (1 + 1e-6)),
        lambda weight: f"weight {weight:g}, expected within ±{limit:g}",
    )
    if stored.ndim < 2:  # A front end shares no signs.
        return

    block, axis = chip.count("sign_block"), chip.text("sign_axis")
    note = " (axis assumed)" if chip.assumed("sign_axis") else ""
    yield from _violations_at(
        edge.name,
        "sign_block",
        stored,
        disagreeing_weights(stored.where(is_finite, 0.0), block, axis),
        lambda weight: (
            f"weight {weight:g} is {'positive' if weight > 0 else 'negative'} in a "
            f"{'negative' if weight > 0 else 'positive'} block of {block} {axis}{note}"
        ),
    )


def _neuron_violations(stage: Stage, chip: Profile) -> Iterator[Violation]:
    """Time constants and thresholds that the chip does not have."""
    name, taus = f"{stage.name}.taus", stage.layer.taus.detach().double().reshape(-1)
    shortest, longest = TAU_RANGE

    # NaN fails both comparisons, so it is outside, too. Time constants are rounded to float32,
    # hence the margin.
    is_inside = (taus >= shortest * (1 - 1e-6)) & (taus <= longest * (1 + 1e-6))
    yield from _violations_at(
        name,
        "tau_profiles",
        taus,
        ~is_inside,
        lambda tau: f"time constant {tau:g} s, expected from {shortest:g} to {longest:g} s",
    )

    if available := chip.tau_profiles:
        distances = torch.stack([(taus - tau).abs() for tau in available])
        yield from _violations_at(
            name,
            "tau_profiles",
            taus,
            is_inside & (distances > 1e-5 * taus).all(0),
            lambda tau: (
                f"time constant {tau:g} s is not in the chip's list, the nearest is "
                f"{min(available, key=lambda other: abs(other - tau)):g} s"
            ),
        )

    thresholds = stage.layer.thresholds.detach().double().reshape(-1)
    threshold = chip.number("threshold")
    yield from _violations_at(
        f"{stage.name}.thresholds",
        "threshold",
        thresholds,
        ~((thresholds - threshold).abs() <= 1e-6 * threshold),
        lambda value: f"threshold {value:g}, expected the chip's {threshold:g}",
    )
