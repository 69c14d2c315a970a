"""The cost of an inference: synaptic operations, updates of neurons and sparsity of a net."""

import math
from dataclasses import dataclass

__all__ = ["EdgeOperations", "LayerActivity", "Operations"]


@dataclass(frozen=True, kw_only=True)
class EdgeOperations:
    """The operations of one weight of a net, each a mean over recordings.

    Attributes:
        name: Name of the weight in the net.
        dense: Operations if zeros are multiplied, too.
        effective: Operations with an input and a weight that are not 0.
        takes_spikes: Whether all inputs were -1, 0 or 1, so that operations are accumulates (ACs).
        input_density: Share of the inputs that are not 0.
        connection_sparsity: Share of the connections whose weight is 0.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.metrics import count_operations
        >>> net = SpikingSequential(LIFSynapse(4, 8), LIFLayer(8, taus=20e-3))
        >>> operations = count_operations(net, torch.eye(4)[None])
        >>> (edge,) = operations.edges
        >>> edge.name, edge.dense, edge.effective, edge.input_density
        ('0.weight', 128.0, 32.0, 0.25)
    """

    name: str
    dense: float
    effective: float
    takes_spikes: bool
    input_density: float
    connection_sparsity: float


@dataclass(frozen=True)
class LayerActivity:
    """The activity of the neurons of a layer.

    Attributes:
        name: Name of the layer in the net.
        neurons: Number of neurons.
        updates: Updates of a neuron's state, a mean over recordings: steps times neurons.
        rate: Spikes per step and neuron; None for a read-out, which does not spike.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.metrics import count_operations
        >>> net = SpikingSequential(LIFSynapse(4, 8), LIFLayer(8, taus=20e-3))
        >>> operations = count_operations(net, torch.zeros(1, 4, 4))
        >>> operations.layers
        (LayerActivity(name='1', neurons=8, updates=32.0, rate=0.0),)
    """

    name: str
    neurons: int
    updates: float
    rate: float | None


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The cost of an inference as means over recordings; divide by `steps` for means per step.

    Attributes:
        recordings: Number of recordings that were counted.
        steps: Steps of a recording.
        edges: The operations of each weight.
        layers: The activity of each neuron layer.
        parameters: Parameters of the net.
        not_counted: Names of the modules whose operations are unknown.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.metrics import count_operations
        >>> net = SpikingSequential(LIFSynapse(4, 8), LIFLayer(8, taus=20e-3))
        >>> operations = count_operations(net, torch.eye(4)[None])
        >>> operations.dense, operations.effective_acs, operations.parameters
        (128.0, 32.0, 32)
    """

    recordings: int
    steps: float
    edges: tuple[EdgeOperations, ...]
    layers: tuple[LayerActivity, ...]
    parameters: int
    not_counted: tuple[str, ...]

    @property
    def dense(self) -> float:
        """Operations of hardware that multiplies zeros, too: the dense MACs of the net."""
        return sum(edge.dense for edge in self.edges)

    @property
    def effective_macs(self) -> float:
        """Multiply-accumulates with an input and a weight that are not 0."""
        return sum(edge.effective for edge in self.edges if not edge.takes_spikes)

    @property
    def effective_acs(self) -> float:
        """Accumulates with an input and a weight that are not 0: all inputs are spikes."""
        return sum(edge.effective for edge in self.edges if edge.takes_spikes)

    @property
    def synaptic(self) -> float:
        """Synaptic operations: effective MACs and ACs."""
        return self.effective_macs + self.effective_acs

    @property
    def updates(self) -> float:
        """Updates of neurons."""
        return sum(layer.updates for layer in self.layers)

    @property
    def activation_sparsity(self) -> float:
        """Share of the outputs of spiking neurons that are 0; NaN without spiking neurons."""
        spiking = [layer for layer in self.layers if layer.rate is not None]
        n_outputs = sum(layer.updates for layer in spiking)
        spikes = sum(layer.updates * (layer.rate or 0.0) for layer in spiking)
        return 1 - spikes / n_outputs if n_outputs else math.nan
