"""The fan-out of inputs: how many connections carry an input that is not 0 to an output.

A synapse is linear, so its operations are `Σ_i (x_i ≠ 0) · fan_out_i`. The fan-out depends on the
position of an input: fewer windows of a convolution contain an input at a border, and a delayed
connection carries nothing if the recording ends before the input arrives.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from nwavesdk.layers.delays import DelayedSynapse
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.past import PastSynapse
from nwavesdk.layers.synapse import DenseSynapse
from nwavesdk.layers.temporal_conv import TemporalConv
from nwavesdk.net.edges import Edge

__all__ = ["convolve", "fan_out", "has_known_fan_out", "input_axes", "reads_past"]


def has_known_fan_out(edge: Edge) -> bool:
    """Whether `fan_out` knows the edge; it does not know a synapse that overrides its product."""
    module = edge.module
    if isinstance(module, NeuronLayer | nn.Linear | _ConvNd | DelayedSynapse | TemporalConv):
        return True

    is_dense = isinstance(module, DenseSynapse) and type(module).charge is DenseSynapse.charge
    return is_dense or edge.weight.ndim == 1


def reads_past(edge: Edge) -> bool:
    """Whether an input acts on later steps, so that `fan_out` needs the whole sequence."""
    return isinstance(edge.module, PastSynapse | NeuronLayer)


def input_axes(edge: Edge) -> int:
    """The axes of the input that `fan_out` takes: features, and time before them if it counts."""
    module: Any = edge.module
    if isinstance(module, _ConvNd):
        return 1 + len(module.kernel_size)
    if isinstance(module, PastSynapse):
        return 1 + module.step_axes

    return 2 if isinstance(module, NeuronLayer) else 1


def fan_out(edge: Edge, shape: Sequence[int], connections: Tensor) -> Tensor:
    """For each position of an input, the number of connections that carry it to an output.

    Padding of a convolution does not count as input, and neither does the silence before the first
    step. A delay
    between two steps counts as the nearest whole step, as in `eval()`.

    Args:
        edge: An edge with `has_known_fan_out`.
        shape: Shape of the input: its last `input_axes` axes.
        connections: 1 where there is a connection, else 0, in the shape of the weight.

    Returns:
        Counts, float64 in `shape`.

    Example:
        >>> from nwavesdk.net import find_edges
        >>> (edge,) = find_edges(nn.Conv1d(1, 2, kernel_size=3)).edges
        >>> fan_out(edge, (1, 5), torch.ones(2, 1, 3))
        tensor([[2., 4., 6., 4., 2.]], dtype=torch.float64)
    """
    module: Any = edge.module
    connections = connections.detach().double().cpu()

    if isinstance(module, NeuronLayer):
        delays = torch.ones_like(connections)
        if module.recurrent_delays is not None:
            delays = delays + module.recurrent_delays.delays.detach().cpu()
        return _arriving(connections, delays, shape[0])

    if isinstance(module, DelayedSynapse):
        return _arriving(connections, module.delays.detach().cpu(), shape[0])

    if isinstance(module, TemporalConv):
        return _gradient_of_sum(lambda x: module.charge(x, connections), shape)
    if isinstance(module, _ConvNd):
        return _gradient_of_sum(lambda x: convolve(module, x, connections), shape)
    if connections.ndim == 1:
        return connections
    return connections.sum(0 if isinstance(module, nn.Linear) else 1)


def _arriving(connections: Tensor, delays: Tensor, steps: int) -> Tensor:
    """The number of connections [N_in, N_out] by which each input [T, N_in] arrives in time."""
    n_late = delays.expand_as(connections).round().long()  # steps until arrival

    # Row d counts the connections with a delay of d steps, for each input.
    by_delay = connections.new_zeros(max(int(n_late.max()) + 1, steps), len(connections))
    by_delay.scatter_add_(0, n_late.T, connections.T)

    # An input of step t has T - 1 - t steps left.
    return by_delay.cumsum(0)[:steps].flip(0)


def _gradient_of_sum(function: Callable[[Tensor], Tensor], shape: Sequence[int]) -> Tensor:
    """The number of outputs to which a linear function of weights 0 and 1 adds each input."""
    with torch.enable_grad():
        x = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(function(x).sum(), x)
    return gradient[0]


def convolve(module: Any, x: Tensor, weight: Tensor) -> Tensor:
    """The convolution of a module of torch with another weight, without bias."""
    is_transposed = isinstance(module, _ConvTransposeNd)
    if not is_transposed:
        convolved: Tensor = module._conv_forward(x, weight, None)
        return convolved

    return torch.convolution(
        x,
        weight,
        None,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        transposed=is_transposed,
        output_padding=module.output_padding,
        groups=module.groups,
    )
