"""Losses that keep the weights of a net within the limits of a chip: scalars with gradient."""

import torch
from torch import Tensor, nn

from nwavesdk.chip import disagreement
from nwavesdk.internal.checks import positive_number
from nwavesdk.net.edges import dense_edges, find_edges

__all__ = ["topology_loss", "weight_magnitude_loss"]


def weight_magnitude_loss(model: nn.Module, limit: float | None = 0.9) -> Tensor:
    """The mean over all weights of max(|w| - limit, 0)²: how far they are outside a chip's range.

    It covers all weights that `find_edges` sees: feed-forward, recurrent, front ends, linear layers
    and convolutions.

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

    It covers all dense weights, feed-forward and recurrent, also those of `nn.Linear`, but no front
    ends.

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
        ValueError: If `block` is not a whole number above 0, `axis` is another word, there are no
            2-D weights, or the net has others than dense ones, such as a convolution.

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


def _at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32, because it cannot count far."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
