"""Losses that keep the rates of layers and the weights of a net within limits, with gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nwavesdk.chip import disagreement
from nwavesdk.internal.checks import finite_number, positive_number, switch
from nwavesdk.internal.tensors import widen
from nwavesdk.layers.lengths import check_optional_lengths, mean_over_steps, mean_rate
from nwavesdk.layers.process_norms import process_count, sum_over_processes
from nwavesdk.loss.arguments import LossModule, Per, check_list, check_options, check_spikes
from nwavesdk.net.edges import dense_edges, find_edges

__all__ = [
    "RateBoundsLoss",
    "firing_rate_target_mse_loss",
    "rate_bounds_loss",
    "rate_excess_loss",
    "topology_loss",
    "weight_magnitude_loss",
]


Bounds = float | Sequence[float]


def firing_rate_target_mse_loss(
    spikes_list: Sequence[Tensor],
    offsets: Sequence[float],
    multipliers: Sequence[float],
    lengths: Tensor | None = None,
) -> Tensor:
    """The distance of mean rates to target rates: Σ_i ((r_i - o_i) · m_i)² over the layers i.

    Args:
        spikes_list: Spikes of each layer, [B, T, N_i], as in the records of
            `net.record(x).spiking.values()`, without read-outs; r_i is their mean.
        offsets: Target rate o_i of each layer [spikes per step and neuron].
        multipliers: Weight m_i of each layer.
        lengths: Steps of each recording, int64 [B]; None for all.

    Raises:
        ValueError: If the three lists are empty or differ in length, or an offset is outside [0,
            1].

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
        >>> firing_rate_target_mse_loss([spk], offsets=[0.05], multipliers=[10.0])
        tensor(4.)
    """
    owner = "firing_rate_target_mse_loss"
    rates = _layer_rates(owner, spikes_list, lengths)
    targets = _one_per_layer(owner, "offsets", offsets, len(rates))
    check_list(owner, "multipliers", multipliers)
    if len(multipliers) != len(rates):
        raise ValueError(
            f"{owner}: multipliers must be one per layer, got {len(multipliers)} for {len(rates)} "
            "layers."
        )

    total = torch.zeros(())
    for rate, target, multiplier in zip(rates, targets, multipliers, strict=True):
        finite_number(owner, "each multiplier", multiplier)
        total = total.to(rate.device) + ((rate - target) * multiplier).square()
    return total


def rate_bounds_loss(
    spikes_list: Sequence[Tensor],
    lower: Bounds,
    upper: Bounds,
    per: Per = "neuron",
    lengths: Tensor | None = None,
) -> Tensor:
    """The squared distance of mean rates from bounds; 0, without gradient, within the bounds.

        loss = Σ over layers i of the mean over neurons of max(lower - r, 0)² + max(r - upper, 0)²

    r is the mean rate over all valid steps of the batch: of each neuron, or, with `per="layer"`, of
    the whole layer, so that its neurons can specialize.

    Args:
        spikes_list: Spikes of each layer, [B, T, N_i].
        lower: Lower bound [spikes per step and neuron], or one per layer; 0 for none.
        upper: Upper bound [spikes per step and neuron], or one per layer; 1 for none.
        per: `"neuron"` or `"layer"`.
        lengths: Steps of each recording, int64 [B]; None for all.

    Raises:
        ValueError: If there is no layer, or not 0 ≤ lower ≤ upper ≤ 1.

    References:
        Zenke and Vogels 2021, "The remarkable robustness of surrogate gradient learning",
        doi:10.1162/neco_a_01367, "Activity regularization"; there on counts of each recording, here
        on rates over the batch.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
        >>> rate_bounds_loss([spk], lower=0.1, upper=0.3)
        tensor(0.0250)
    """
    owner = "rate_bounds_loss"
    check_options(owner, per=per)
    layers = _layer_rates(owner, spikes_list, lengths, per)
    lowest = _one_per_layer(owner, "lower", lower, len(layers))
    highest = _one_per_layer(owner, "upper", upper, len(layers))

    total = torch.zeros(())
    for i, (rates, least, most) in enumerate(zip(layers, lowest, highest, strict=True)):
        if least > most:
            raise ValueError(
                f"{owner}: lower must be at most upper, got {least} and {most} for layer {i}: swap "
                "them."
            )

        outside = (least - rates).clamp(min=0).square() + (rates - most).clamp(min=0).square()
        total = total.to(rates) + outside.mean()
    return total


def rate_excess_loss(
    spikes_list: Sequence[Tensor],
    most: Bounds,
    lengths: Tensor | None = None,
    *,
    is_synchronized: bool = False,
) -> Tensor:
    """The excess of rates over a bound, relative to the bound: Σ_i max(r_i / most_i - 1, 0).

    r_i is the mean rate of layer i over its neurons and all valid steps of the batch. A layer with
    twice the rate of its bound adds 1. Unlike `rate_bounds_loss`, the gradient does not fade near
    the bound.

    Args:
        spikes_list: Spikes of each layer, [B, T, N_i].
        most: Bound [spikes per step and neuron] above 0 and at most 1, or one per layer.
        lengths: Steps of each recording, int64 [B]; None for all.
        is_synchronized: Whether rates are means over the batches of all processes of data-parallel
            training, which must all call the loss.

    Raises:
        ValueError: If there is no layer, or a bound is not in (0, 1].

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
        >>> rate_excess_loss([spk], most=0.1)
        tensor(1.5000)
    """
    owner = "rate_excess_loss"
    rates = _layer_rates(owner, spikes_list, lengths)
    bounds = _one_per_layer(owner, "most", most, len(rates))
    if not min(bounds) > 0:
        raise ValueError(f"{owner}: a bound must be above 0, got {min(bounds)}: raise it.")

    if switch(owner, "is_synchronized", is_synchronized):
        B, T = spikes_list[0].shape[:2]
        rates = rates_of_all_processes(rates, B * T if lengths is None else lengths.sum())
    return rate_excess(rates, bounds)


def rate_excess(rates: Sequence[Tensor], bounds: Sequence[float]) -> Tensor:
    """`rate_excess_loss` of rates, one bound for each."""
    total = torch.zeros(())
    for rate, bound in zip(rates, bounds, strict=True):
        total = total.to(rate) + (rate / bound - 1).relu()
    return total


def rates_of_all_processes(rates: Sequence[Tensor], n_steps: int | Tensor) -> list[Tensor]:
    """The rates of layers over all processes, weighted by their numbers of valid steps."""
    if process_count() == 1:
        return list(rates)

    # One sum over processes for all layers; its last row is the number of steps.
    counts = torch.stack([rate * n_steps for rate in (*rates, torch.ones_like(rates[0]))])
    *spikes, steps = sum_over_processes(counts)
    return [count / steps for count in spikes]


def _one_per_layer(owner: str, name: str, rates: Bounds, n_layers: int) -> list[float]:
    (checked,) = check_options(owner, **{name: rates})
    values: list[float] = checked if isinstance(checked, list) else [checked] * n_layers
    if len(values) != n_layers:
        raise ValueError(
            f"{owner}: {name} must be a rate or one per layer, got {len(values)} rates for "
            f"{n_layers} layers."
        )
    return values


def _layer_rates(
    owner: str, spikes_list: Sequence[Tensor], lengths: Tensor | None, per: str = "layer"
) -> list[Tensor]:
    """Mean spikes per valid step of each layer, a scalar, or of its neurons, [*features]."""
    check_list(owner, "spikes_list", spikes_list)
    if isinstance(spikes_list, Tensor) or not len(spikes_list):
        got = "one tensor" if isinstance(spikes_list, Tensor) else "an empty list"
        raise ValueError(
            f"{owner} takes a list of spikes, one tensor per layer and at least one, got {got}."
        )
    return [
        _mean_rates(f"{owner}: layer {i}", spk, lengths, per) for i, spk in enumerate(spikes_list)
    ]


def _mean_rates(owner: str, spk: Tensor, lengths: Tensor | None, per: str) -> Tensor:
    check_spikes(owner, spk)
    if spk.ndim < 2:
        raise ValueError(
            f"{owner}: spikes have the shape {list(spk.shape)}, expected [B, T, neurons]."
        )
    lengths = check_optional_lengths(owner, lengths, spk)
    rates = mean_rate(spk, lengths) if per == "layer" else mean_over_steps(spk, lengths)
    return rates.to(torch.promote_types(spk.dtype, torch.float32))


class RateBoundsLoss(LossModule):
    """`rate_bounds_loss` as a module: `loss(spikes_list, lengths)`.

    Args:
        lower: Lower bound [spikes per step and neuron], or one per layer; 0 for none.
        upper: Upper bound [spikes per step and neuron], or one per layer; 1 for none.
        per: `"neuron"` or `"layer"`.

    Example:
        >>> silent = torch.zeros(1, 10, 4)
        >>> RateBoundsLoss(lower=0.1, upper=0.5)([silent])
        tensor(0.0100)
    """

    function = staticmethod(rate_bounds_loss)

    def __init__(self, lower: Bounds, upper: Bounds, per: Per = "neuron") -> None:
        super().__init__(lower=lower, upper=upper, per=per)

    def forward(self, spikes_list: Sequence[Tensor], lengths: Tensor | None = None) -> Tensor:  # type: ignore[override]  # it has no targets
        """A scalar; see `rate_bounds_loss`."""
        return rate_bounds_loss(spikes_list, lengths=lengths, **self._options())


def weight_magnitude_loss(model: nn.Module, limit: float | None = 0.9) -> Tensor:
    """The mean over all weights of max(|w| - limit, 0)²: the distance from the range of a chip.

    It covers all weights that `find_edges` finds.

    Args:
        model: Any module.
        limit: Largest magnitude; H1v1 has 0.9, H1v2 1.66. If None, uses the limit of each module's
            chip, and skips modules without a chip.

    Raises:
        ValueError: If `limit` is not above 0, or there are no weights, or with `limit=None` no
            weights of a chip.

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

        # Half precision cannot hold large counts.
        weight = widen(edge.weight)
        excess = (weight.abs() - bound).clamp(min=0)
        total = total.to(weight.device) + excess.square().sum()
        count += weight.numel()

    if not count:
        missing = "weights of synapses or neuron layers"
        if limit is None:
            missing = "weights of a chip's modules: pass a limit"
        raise ValueError(f"weight_magnitude_loss: {type(model).__name__} has no {missing}.")
    return total / count


def topology_loss(model: nn.Module, block: int = 5, axis: str = "inputs") -> Tensor:
    """The mean squared distance of weights to the nearest weights with one sign per block.

    In each block of `block` weights, the smaller of Σ max(w, 0)² and Σ max(-w, 0)² counts. The sum
    over blocks is divided by the number of weights. NWAVE documents no formula.

    It covers all dense weights, without front ends.

    Args:
        model: Any module.
        block: Number of weights that share a sign; the last block of a row or column may be
            smaller.
        axis: `"inputs"` if consecutive rows of [N_in, N_out] share a sign in each column,
            `"outputs"` if consecutive columns do in each row.

    Raises:
        ValueError: If there are no dense weights, or the net has other weights, such as a
            convolution.

    Example:
        >>> from nwavesdk.layers import LIFSynapse
        >>> synapse = LIFSynapse(4, 1)
        >>> synapse.weight.data = torch.tensor([[1.0], [2.0], [-0.5], [0.5]])
        >>> topology_loss(synapse)
        tensor(0.0625, grad_fn=<DivBackward0>)
    """
    total = torch.zeros(())
    count = 0
    for edge in dense_edges("topology_loss", model):
        weight = edge.to_columns(edge.weight)
        total = total.to(weight.device) + disagreement(weight, block, axis).sum()
        count += weight.numel()
    return total / count
