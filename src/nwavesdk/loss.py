"""Losses that keep a net within what a chip can hold, and its spikes near wanted rates: scalars with gradient."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from nwavesdk.chip import disagreement
from nwavesdk.internal.checks import positive_number
from nwavesdk.layers.edges import find_edges

__all__ = [
    "balanced_population_mse",
    "firing_rate_target_mse_loss",
    "topology_loss",
    "weight_magnitude_loss",
]


def weight_magnitude_loss(model: nn.Module, limit: float | None = 0.9) -> Tensor:
    """How far weights lie beyond the range of a chip: the mean over all weights of max(|w| - limit, 0)².

    All weights of the modules of `nwavesdk.layers` count: feed-forward, recurrent and front ends.

    Args:
        model: Any module.
        limit: Largest magnitude; H1v1 has 0.9, H1v2 1.66. None takes each module's from the profile of its chip, and
            leaves out the weights of modules that are of no chip.

    Returns:
        A scalar.

    Raises:
        TypeError: `model` is no module.
        ValueError: `limit` is not above 0, or there are no weights, or none of a chip with `limit=None`.

    Example:
        >>> from nwavesdk.layers import LIFSynapse
        >>> synapse = LIFSynapse(1, 2)
        >>> synapse.weight.data = torch.tensor([[0.5, -1.4]])
        >>> weight_magnitude_loss(synapse)
        tensor(0.1250, grad_fn=<DivBackward0>)
    """
    if limit is not None:
        positive_number("weight_magnitude_loss", "limit", limit, "weight")
    total, number = torch.zeros(()), 0
    for edge in find_edges(model).edges:
        bound = limit
        if bound is None:
            if edge.profile is None:
                continue
            bound = edge.profile.number("weight_limit")
        weight = _wide(edge.weight)
        total = total.to(weight.device) + (weight.abs() - bound).clamp(min=0).square().sum()
        number += weight.numel()
    if not number:
        which = (
            "weights of a chip's modules: give a limit"
            if limit is None
            else "weights of synapses or neuron layers"
        )
        raise ValueError(f"weight_magnitude_loss: {type(model).__name__} has no {which}.")
    return total / number


def topology_loss(model: nn.Module, block: int = 5, axis: str = "inputs") -> Tensor:
    """How far weights are from the signs that a chip shares: squared distance to the nearest that agree, by weight.

    In each block of `block` weights the smaller of Σ max(w, 0)² and Σ max(-w, 0)² counts; the sum over blocks is
    divided by the number of weights. It is 0 where signs agree. NWAVE documents no formula: this one is ours.

    All 2-D weights of the modules of `nwavesdk.layers` count, feed-forward and recurrent; front ends do not.

    Args:
        model: Any module.
        block: Weights that share a sign; the last block of a row or column may be smaller.
        axis: `"inputs"`, where consecutive rows of [N_in, N_out] share a sign in each column, or `"outputs"`, where
            consecutive columns do in each row. (NWAVE documents blocks of 5 neurons, the axis is assumed.)

    Returns:
        A scalar.

    Raises:
        TypeError: `model` is no module.
        ValueError: `block` is no whole number above 0, `axis` is another word, or there are no 2-D weights.

    Example:
        >>> from nwavesdk.layers import LIFSynapse
        >>> synapse = LIFSynapse(4, 1)
        >>> synapse.weight.data = torch.tensor([[1.0], [2.0], [-0.5], [0.5]])
        >>> topology_loss(synapse)
        tensor(0.0625, grad_fn=<DivBackward0>)
    """
    total, number = torch.zeros(()), 0
    for weight in _planes(model):
        total = total.to(weight.device) + disagreement(weight, block, axis).sum()
        number += weight.numel()
    if not number:
        raise ValueError(
            f"topology_loss: {type(model).__name__} has no 2-D weights of synapses or neuron layers."
        )
    return total / number


def firing_rate_target_mse_loss(
    spikes_list: Sequence[Tensor], offsets: Sequence[float], multipliers: Sequence[float]
) -> Tensor:
    """How far layers are from wanted rates: Σ_i ((r_i - o_i) · m_i)², r_i the mean of the spikes of layer i.

    Args:
        spikes_list: Spikes of each layer, [B, T, N_i], as in `net.record(x).layers`.
        offsets: Wanted rate o_i of each layer [spikes a step and neuron].
        multipliers: Weight m_i of each layer.

    Returns:
        A scalar.

    Raises:
        TypeError: Spikes are no floating tensors.
        ValueError: The three have not one length above 0, a layer has no spikes to count, an offset lies outside of
            [0, 1], or a multiplier is not finite.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
        >>> firing_rate_target_mse_loss([spk], offsets=[0.05], multipliers=[10.0])
        tensor(4.)
    """
    what = "firing_rate_target_mse_loss"
    if isinstance(spikes_list, Tensor):
        raise TypeError(
            f"{what} takes a list of spikes, one tensor a layer, got one tensor: put it in a list."
        )
    lengths = len(spikes_list), len(offsets), len(multipliers)
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(
            f"{what} takes one offset and one multiplier for each layer, at least one layer, "
            f"got {lengths[0]} layers, {lengths[1]} offsets and {lengths[2]} multipliers."
        )
    total = torch.zeros(())
    for i, (spk, offset, multiplier) in enumerate(
        zip(spikes_list, offsets, multipliers, strict=True)
    ):
        _check_spikes(f"{what}: layer {i}", spk)
        _check_rate(f"{what}: the offset of layer {i}", offset)
        if not math.isfinite(multiplier):
            raise ValueError(
                f"{what}: the multiplier of layer {i} must be finite, got {multiplier}."
            )
        total = total.to(spk.device) + ((_wide(spk).mean() - offset) * multiplier).square()
    return total


def balanced_population_mse(
    spk: Tensor, targets: Tensor, num_classes: int, high_rate: float = 0.2, low_rate: float = 0.02
) -> Tensor:
    """How far output neurons are from wanted spike counts: many in the group of the right class, few in the others.

    The mean over recordings and neurons of (count - T · rate)². NWAVE documents the idea, not arguments or rates; the
    defaults are ours: 0.2 is a fifth of what a neuron can do, and 0.02 lets silent neurons keep a gradient.

    Args:
        spk: Output spikes, [B, T, O]; the O neurons lie in `num_classes` equal groups, group after group.
        targets: Class indices, [B].
        num_classes: Number of groups.
        high_rate: Wanted rate of the right class's neurons [spikes a step].
        low_rate: Wanted rate of the others [spikes a step].

    Returns:
        A scalar.

    Raises:
        TypeError: Spikes are not floating, or targets no whole numbers.
        ValueError: A shape is not as above, O is no multiple of `num_classes`, a target is no class, or not
            0 ≤ `low_rate` < `high_rate` ≤ 1.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> balanced_population_mse(spk, torch.tensor([0]), num_classes=2, high_rate=1.0, low_rate=0.0)
        tensor(0.5000)
    """
    what = "balanced_population_mse"
    _check_spikes(what, spk)
    if spk.ndim != 3:
        raise ValueError(
            f"{what}: spikes have the shape {list(spk.shape)}, expected [B, T, outputs]."
        )
    (B, T, O), classes = spk.shape, num_classes  # noqa: E741
    if classes < 1 or O % classes:
        raise ValueError(
            f"{what}: {O} output neurons do not part into {classes} equal groups, one for each class."
        )
    _check_targets(what, targets, B, classes)
    for name, rate in (("high_rate", high_rate), ("low_rate", low_rate)):
        _check_rate(f"{what}: {name}", rate)
    if low_rate >= high_rate:
        raise ValueError(
            f"{what}: low_rate must lie below high_rate, got {low_rate} and {high_rate}."
        )
    counts = _wide(spk).sum(dim=1)
    group = torch.arange(O, device=spk.device) // (O // classes)
    right = targets.to(spk.device)[:, None] == group
    wanted = torch.where(right, T * high_rate, T * low_rate).to(counts.dtype)
    return (counts - wanted).square().mean()


def _planes(model: nn.Module) -> Iterator[Tensor]:
    """The 2-D weights of a model."""
    for edge in find_edges(model).edges:
        weight = edge.weight
        if weight.ndim == 2:
            yield weight


def _wide(values: Tensor) -> Tensor:
    """In float32 at least: half precision cannot count far."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check_spikes(what: str, spk: object) -> None:
    if not isinstance(spk, Tensor):
        hint = ": take the spikes of (spk, mem)" if isinstance(spk, tuple) else ""
        raise TypeError(f"{what}: spikes must be a tensor, got {type(spk).__name__}{hint}.")
    if not spk.is_floating_point():
        raise TypeError(
            f"{what}: spikes must be floating, got {spk.dtype}: convert them, as in spk.float()."
        )
    if not spk.numel():
        raise ValueError(
            f"{what}: got spikes of shape {list(spk.shape)}, which hold none, expected some to count."
        )


def _check_targets(what: str, targets: Tensor, B: int, classes: int) -> None:
    if targets.shape != (B,):
        raise ValueError(
            f"{what}: targets have the shape {list(targets.shape)}, expected [{B}]: one a recording."
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(
            f"{what}: targets must be whole numbers, got {targets.dtype}: convert them by targets.long()."
        )
    lowest, highest = (int(edge) for edge in torch.aminmax(targets))
    if lowest < 0 or highest >= classes:
        raise ValueError(
            f"{what}: targets must be classes from 0 to {classes - 1}, got {lowest} to {highest}."
        )


def _check_rate(what: str, rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(
            f"{what} must be a rate from 0 to 1 in spikes a step, got {rate}: a rate in Hz times dt is one."
        )
