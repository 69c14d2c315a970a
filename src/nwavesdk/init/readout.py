"""Weights to read-outs, whose membranes are outputs: they begin near the size of a target."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.init.driven import first_batches
from nwavesdk.init.weights import reject_parametrized
from nwavesdk.internal.checks import positive_number, whole_number
from nwavesdk.layers import prepare_net
from nwavesdk.net.edges import Edge, find_edges

__all__ = ["readout_init"]

_OWNER = "readout_init"


@torch.no_grad()
def readout_init(
    model: nn.Module, inputs: Any, std: float = 0.3, *, max_batches: int = 8
) -> dict[str, float]:
    """Scale the weights to each read-out until its membranes have the deviation `std` on `inputs`.

    Weights that make neurons spike give a read-out far larger values: a cross-entropy of its
    membranes begins at 10 to 30 and has to be unlearned. At the default it begins near
    ln(number of classes), as a guess does. The membranes of a read-out are linear in these weights,
    so one pass is enough. Call it after the rest of the net is initialized.

    Args:
        model: Any module in which `LILayer` or another read-out takes the charge of a synapse.
        inputs: A batch [B, T, ...], or batches, as for `fluct_init`.
        std: Root mean square of the membranes over recordings, steps and outputs [membrane].
        max_batches: Largest number of batches of `inputs`.

    Returns:
        The factor of each weight, by its name.

    Raises:
        TypeError: If `model` or `inputs` is something else.
        ValueError: If an argument is out of its range, or the model has no read-out.
        RuntimeError: If weights are parametrized, or a read-out stays silent.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential
        >>> hidden = LIFSynapse(8, 50), LIFLayer(50, 10e-3)
        >>> net = SpikingSequential(*hidden, LIFSynapse(50, 3), LILayer(3, tau=20e-3))
        >>> x = torch.rand(4, 60, 8, generator=torch.Generator().manual_seed(0))
        >>> factors = readout_init(net, x, std=0.5)
        >>> prepare_net(net)
        >>> round(net(x)[1].square().mean().sqrt().item(), 2)
        0.5
    """
    std = positive_number(_OWNER, "std", std, "membrane")
    max_batches = whole_number(_OWNER, "max_batches", max_batches)
    batches = first_batches(_OWNER, model, inputs, max_batches)
    net = find_edges(model, batches[0][:1])
    edges = [
        edge for edge in net.edges if edge.target is not None and edge.target.neuron.is_readout
    ]
    if not edges:
        raise ValueError(
            f"{_OWNER}: {type(model).__name__} has no read-out that takes the charge of a synapse "
            "unchanged, expected a LILayer, for example: for outputs that spike use "
            "nwavesdk.init.fluct_init."
        )
    reject_parametrized(_OWNER, model, net)
    factors = {}
    for name, size in _membrane_sizes(model, edges, batches).items():
        if not size:
            raise RuntimeError(
                f"{_OWNER}: the read-out {name} stays at 0, expected inputs that reach it: "
                "initialize the layers before it first, with nwavesdk.init.fluct_init."
            )
        for edge in edges:
            if edge.target_name == name:
                _scale(edge, std / size)
                factors[edge.name] = std / size
    return factors


def _membrane_sizes(model: nn.Module, edges: list[Edge], batches: list[Tensor]) -> dict[str, float]:
    """Root mean square of the membranes of each read-out, by its name."""
    work = copy.deepcopy(model).eval()
    squares: dict[str, list[Tensor]] = {str(edge.target_name): [] for edge in edges}

    def watch(name: str) -> Any:
        def keep(_: nn.Module, __: object, output: tuple[Tensor, Tensor]) -> None:
            squares[name].append(output[1].double().square().flatten())

        return keep

    for name in squares:
        work.get_submodule(name).register_forward_hook(watch(name))
    for x in batches:
        prepare_net(work)
        work(x)
    return {name: math.sqrt(torch.cat(parts).mean()) for name, parts in squares.items()}


def _scale(edge: Edge, factor: float) -> None:
    for parameter in edge.trained_parameters().values():
        parameter.mul_(factor)
    bias = getattr(edge.module, "bias", None)
    if isinstance(bias, Tensor):
        bias.mul_(factor)
