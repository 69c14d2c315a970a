"""Losses for the limits of a chip and for spike rates: scalars with gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nwavesdk.chip import disagreement
from nwavesdk.internal.checks import finite_number, positive_number, shown, whole_number
from nwavesdk.internal.tensors import require_floating, require_tensor
from nwavesdk.layers.lengths import check_lengths, mean_over_steps, sum_over_steps
from nwavesdk.net.edges import find_edges

__all__ = [
    "balanced_population_mse",
    "firing_rate_target_mse_loss",
    "topology_loss",
    "weight_magnitude_loss",
]


def weight_magnitude_loss(model: nn.Module, limit: float | None = 0.9) -> Tensor:
    """The mean over all weights of max(|w| - limit, 0)²: how far they are outside a chip's range.

    It covers all weights of the modules of `nwavesdk.layers`: feed-forward, recurrent and front
    ends.

    Args:
        model: Any module.
        limit: Largest magnitude; H1v1 has 0.9, H1v2 1.66. None takes the limit of each module's
            chip, and leaves out the weights of modules without a chip.

    Returns:
        A scalar.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If `limit` is not above 0, or there are no weights, or with `limit=None` none of
            a chip.

    Example:
        >>> from nwavesdk.layers import LIFSynapse
        >>> synapse = LIFSynapse(1, 2)
        >>> synapse.weight.data = torch.tensor([[0.5, -1.4]])
        >>> weight_magnitude_loss(synapse)
        tensor(0.1250, grad_fn=<DivBackward0>)
    """
    if limit is not None:
        limit = positive_number("weight_magnitude_loss", "limit", limit, "weight")
    total = torch.zeros(())
    count = 0
    for edge in find_edges(model).edges:
        bound = limit
        if bound is None:
            if edge.profile is None:
                continue
            bound = edge.profile.number("weight_limit")
        weight = _at_least_float32(edge.weight)
        excess = (weight.abs() - bound).clamp(min=0)
        total = total.to(weight.device) + excess.square().sum()
        count += weight.numel()
    if not count:
        missing = "weights of synapses or neuron layers"
        if limit is None:
            missing = "weights of a chip's modules: give a limit"
        raise ValueError(f"weight_magnitude_loss: {type(model).__name__} has no {missing}.")
    return total / count


def topology_loss(model: nn.Module, block: int = 5, axis: str = "inputs") -> Tensor:
    """The mean squared distance of weights to the nearest ones with the signs that a chip shares.

    In each block of `block` weights, the smaller of Σ max(w, 0)² and Σ max(-w, 0)² counts. The sum
    over blocks is divided by the number of weights. It is 0 where signs agree. NWAVE documents no
    formula; this one is our choice.

    It covers all 2-D weights of the modules of `nwavesdk.layers`, feed-forward and recurrent, but
    no front ends.

    Args:
        model: Any module.
        block: Number of weights that share a sign; the last block of a row or column may be
            smaller.
        axis: `"inputs"` if consecutive rows of [N_in, N_out] share a sign in each column,
            `"outputs"` if consecutive columns do in each row. (NWAVE documents blocks of 5 neurons;
            the axis is assumed.)

    Returns:
        A scalar.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If `block` is not a whole number above 0, `axis` is another word, or there are
            no 2-D weights.

    Example:
        >>> from nwavesdk.layers import LIFSynapse
        >>> synapse = LIFSynapse(4, 1)
        >>> synapse.weight.data = torch.tensor([[1.0], [2.0], [-0.5], [0.5]])
        >>> topology_loss(synapse)
        tensor(0.0625, grad_fn=<DivBackward0>)
    """
    total = torch.zeros(())
    count = 0
    for edge in find_edges(model).edges:
        weight = edge.weight
        if weight.ndim == 2:
            total = total.to(weight.device) + disagreement(weight, block, axis).sum()
            count += weight.numel()
    if not count:
        raise ValueError(
            f"topology_loss: {type(model).__name__} has no 2-D weights of synapses or neuron "
            "layers."
        )
    return total / count


def firing_rate_target_mse_loss(
    spikes_list: Sequence[Tensor],
    offsets: Sequence[float],
    multipliers: Sequence[float],
    lengths: Tensor | None = None,
) -> Tensor:
    """The distance of mean rates to target rates: Σ_i ((r_i - o_i) · m_i)² over the layers i.

    Args:
        spikes_list: Spikes of each layer, [B, T, N_i], as in `net.record(x).spiking`; r_i is
            their mean over valid steps. Read-outs do not belong in it.
        offsets: Target rate o_i of each layer [spikes per step and neuron].
        multipliers: Weight m_i of each layer.
        lengths: Number of steps of each recording, int64 [B]; None for all steps.

    Returns:
        A scalar.

    Raises:
        TypeError: If spikes are not floating tensors, or `lengths` is not an int64 tensor.
        ValueError: If the three lists are empty or differ in length, a layer has no spikes to
            count, an offset is outside [0, 1], a multiplier is not finite, or a length is not from
            1 to T.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
        >>> firing_rate_target_mse_loss([spk], offsets=[0.05], multipliers=[10.0])
        tensor(4.)
    """
    owner = "firing_rate_target_mse_loss"
    if isinstance(spikes_list, Tensor):
        raise TypeError(
            f"{owner} takes a list of spikes, one tensor per layer, got one tensor: put it in a "
            "list."
        )
    _check_list(owner, "spikes_list", spikes_list)
    _check_list(owner, "offsets", offsets)
    _check_list(owner, "multipliers", multipliers)
    if not len(spikes_list) == len(offsets) == len(multipliers) > 0:
        raise ValueError(
            f"{owner} takes one offset and one multiplier for each layer, at least one layer, got "
            f"{len(spikes_list)} layers, {len(offsets)} offsets and {len(multipliers)} multipliers."
        )
    total = torch.zeros(())
    layers = zip(spikes_list, offsets, multipliers, strict=True)
    for i, (spk, offset, multiplier) in enumerate(layers):
        _check_spikes(f"{owner}: layer {i}", spk)
        _check_rate(f"{owner}: the offset of layer {i}", offset)
        finite_number(owner, f"the multiplier of layer {i}", multiplier)
        rate = _mean_rate(f"{owner}: layer {i}", spk, lengths)
        total = total.to(spk.device) + ((rate - offset) * multiplier).square()
    return total


def balanced_population_mse(
    spk: Tensor,
    targets: Tensor,
    num_classes: int,
    high_rate: float = 0.2,
    low_rate: float = 0.02,
    lengths: Tensor | None = None,
) -> Tensor:
    """The distance of output spike counts to target counts: high for the right class, else low.

    The mean over recordings and neurons of (count - T · rate)², where T is the number of valid
    steps. NWAVE documents the idea, but
    neither arguments nor rates. The defaults are our choice: 0.2 is a fifth of what a neuron can
    do, and at 0.02 silent neurons still get a gradient.

    Args:
        spk: Output spikes, [B, T, O]; the O neurons form `num_classes` equal groups, one after the
            other.
        targets: Class indices, [B].
        num_classes: Number of groups.
        high_rate: Target rate of the right class's neurons [spikes per step].
        low_rate: Target rate of the others [spikes per step].
        lengths: Number of steps of each recording, int64 [B]; None for all steps.

    Returns:
        A scalar.

    Raises:
        TypeError: If spikes are not floating, or targets or lengths are not whole numbers.
        ValueError: If a shape differs from the above, O is not a multiple of `num_classes`, a
            target is not a class, not 0 ≤ `low_rate` < `high_rate` ≤ 1, or a length is not from 1
            to T.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> target = torch.tensor([0])
        >>> balanced_population_mse(spk, target, num_classes=2, high_rate=1.0, low_rate=0.0)
        tensor(0.5000)
    """
    owner = "balanced_population_mse"
    _check_spikes(owner, spk)
    if spk.ndim != 3:
        raise ValueError(
            f"{owner}: spikes have the shape {list(spk.shape)}, expected [B, T, outputs]."
        )
    B, T, outputs = spk.shape
    num_classes = whole_number(owner, "num_classes", num_classes)
    if outputs % num_classes:
        raise ValueError(
            f"{owner}: {outputs} output neurons cannot be split into {num_classes} equal groups, "
            "one per class."
        )
    _check_targets(owner, targets, B, num_classes)
    for name, rate in (("high_rate", high_rate), ("low_rate", low_rate)):
        _check_rate(f"{owner}: {name}", rate)
    if low_rate >= high_rate:
        raise ValueError(
            f"{owner}: low_rate must be below high_rate, got {low_rate} and {high_rate}."
        )
    if lengths is not None:
        lengths = check_lengths(owner, lengths, spk)
    counts = sum_over_steps(spk, lengths)
    class_of_neuron = torch.arange(outputs, device=spk.device) // (outputs // num_classes)
    is_right = targets.to(spk.device)[:, None] == class_of_neuron
    steps = torch.full_like(counts[:, :1], T) if lengths is None else lengths[:, None]
    # In float64, so that the product is rounded once.
    steps = steps.double()
    target_counts = torch.where(is_right, steps * high_rate, steps * low_rate).to(counts.dtype)
    return (counts - target_counts).square().mean()


def _mean_rate(owner: str, spk: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean spikes per valid step and neuron."""
    if spk.ndim < 2:
        raise ValueError(
            f"{owner}: spikes have the shape {list(spk.shape)}, expected [B, T, neurons]."
        )
    if lengths is not None:
        lengths = check_lengths(owner, lengths, spk)
    rate = mean_over_steps(spk, lengths).mean()
    return rate.to(torch.promote_types(spk.dtype, torch.float32))


def _at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32, because it cannot count far."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check_spikes(owner: str, spk: object) -> None:
    require_floating(f"{owner}: spikes", spk)
    assert isinstance(spk, Tensor)
    if not spk.numel():
        raise ValueError(f"{owner}: got empty spikes of shape {list(spk.shape)}.")


def _check_targets(owner: str, targets: Tensor, batch: int, num_classes: int) -> None:
    require_tensor(f"{owner}: targets", targets)
    if targets.shape != (batch,):
        raise ValueError(
            f"{owner}: targets have the shape {list(targets.shape)}, expected [{batch}]: one per "
            "recording."
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(
            f"{owner}: targets must be whole numbers, got {targets.dtype}: convert them, as in "
            "targets.long()."
        )
    lowest, highest = (int(bound) for bound in torch.aminmax(targets))
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f"{owner}: targets must be classes from 0 to {num_classes - 1}, got {lowest} to "
            f"{highest}."
        )


def _check_rate(subject: str, rate: float) -> None:
    try:
        finite_number("", "", rate, least=0, most=1)
    except ValueError:
        raise ValueError(
            f"{subject} must be a rate from 0 to 1 in spikes per step, got {shown(rate)}: multiply "
            "a rate in Hz by dt."
        ) from None


def _check_list(owner: str, name: str, values: object) -> None:
    try:
        len(values)  # type: ignore[arg-type]  # it may have no length
    except TypeError:
        raise TypeError(
            f"{owner}: {name} must be a list with one element per layer, got {shown(values)}."
        ) from None
