"""Weight decay: which parameters of a net are pulled to 0, as parameter groups of torch."""

from typing import Any

from torch import nn

from nwavesdk.internal.checks import finite_number
from nwavesdk.net.edges import find_edges

__all__ = ["weight_decay_groups"]


def weight_decay_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters of a net into parameters with weight decay and all others.

    The weights that `find_edges` lists decay. All other parameters do not: biases, constants of
    neurons, delays, scales and shifts of norms, and parameters of other modules. Decay would pull a
    time constant to 1 s, a delay to 0, and the scale of a norm to silence.

    Args:
        net: Any module. Build, prune and convert it before.
        weight_decay: Weight decay of the weights, 0 or more.

    Returns:
        Groups for any optimizer of torch, first the weights; a group without parameters is omitted.

    Raises:
        TypeError: If `net` is not a module.
        ValueError: If `weight_decay` is out of its range.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> layer = LIFLayer(8, taus=10e-3, learn_taus=True)
        >>> net = SpikingSequential(LIFSynapse(3, 8, bias=True), layer)
        >>> groups = weight_decay_groups(net, 1e-2)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.01), (2, 0.0)]
        >>> optimizer = torch.optim.AdamW(groups, lr=5e-3)
    """
    decay = finite_number("weight_decay_groups", "weight_decay", weight_decay, least=0)

    edges = find_edges(net).edges
    decaying = {id(weight) for edge in edges for weight in edge.trained_parameters().values()}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in net.parameters() if id(p) in decaying], "weight_decay": decay},
        {"params": [p for p in net.parameters() if id(p) not in decaying], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
