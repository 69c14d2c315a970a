"""The edges of a net: every weight, with the neurons that it connects. All tools use `find_edges`.

Design requirements:
    - Any `nn.Module` works. Where the order of its modules is unknown, an edge has no sources and
      no target.
    - Synapses, front ends, linear layers and convolutions of torch are edges, also where their
      weights are pruned or parametrized.
    - A container of `nwavesdk.net` defines the order. For other nets, example inputs show which
      layer each synapse drives.
    - Modules with parameters that are not described by an edge are listed, so that reports can name
      them.
    - Users ask an edge for its fan-in and effective weight. They do not assume a dense weight or a
      single source.

Two other walks remain, because they are not about weights:
    - `prepared_modules` visits all modules of `nwavesdk.layers`, also those without weights. The
      noise of a module depends on the seed and on its position in this order.
    - `SpikingSequential.modules_in_order` is the order of execution, with the user's modules. It
      serves to cut a net at a layer, and to reject a module that a chip cannot run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from nwavesdk.chip import Profile, Quantizer
from nwavesdk.layers.masks import current_parameter, is_pruned
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.recurrent_delays import RecurrentDelays
from nwavesdk.layers.synapse import DenseSynapse
from nwavesdk.net.wiring import (
    Wiring,
    has_weight,
    is_synapse,
    module_title,
    wiring_by_run,
    wiring_by_structure,
)

__all__ = ["Edge", "NetEdges", "connection_sparsity", "dense_edges", "find_edges"]

_RECURRENT = "recurrent_weights"


@dataclass(frozen=True, eq=False, kw_only=True)
class Edge:
    """One weight of a net and the neurons that it connects.

    Attributes:
        module_name: Name of `module` in the net.
        module: The module; for recurrent weights, the neuron layer.
        key: Name of the weight in `module`: `"weight"` or `"recurrent_weights"`.
        profile: Profile of the module's chip, or None.
        sources: Names of the neuron layers whose spikes come in; empty for the net's input.
        target_name: Name of the neuron layer that receives the charge, or None.
        target: That layer, or None.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=20e-3))
        >>> (edge,) = find_edges(net).edges
        >>> edge.name, edge.target_name, edge.weight.shape
        ('0.weight', '1', torch.Size([3, 8]))
    """

    module_name: str
    module: nn.Module
    key: str
    profile: Profile | None
    sources: tuple[str, ...] = ()
    target_name: str | None = None
    target: NeuronLayer | None = None

    @property
    def name(self) -> str:
        """The weight's name in the net, as in `state_dict` if it is a plain parameter."""
        return f"{self.module_name}.{self.key}" if self.module_name else self.key

    @property
    def is_recurrent(self) -> bool:
        """Whether the layer drives itself."""
        return self.key == _RECURRENT

    @property
    def is_dense(self) -> bool:
        """Whether each input has one weight to each target, as chips have: no delays, no kernel."""
        if isinstance(self.module, NeuronLayer):
            return self.module.recurrent_delays is None
        return isinstance(self.module, DenseSynapse | nn.Linear) and self.weight.ndim == 2

    @property
    def weight(self) -> Tensor:
        """The weight before charge law and mismatch, with its mask if it is pruned.

        Its shape is [N_in, N_out]; [N] for a front end, [N_out, N_in] for `nn.Linear`, and the
        shape of torch for convolutions.
        """
        weight = current_parameter(self.module, self.key)
        assert isinstance(weight, Tensor)
        return weight

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters from which the weight is computed, by their names in the net.

        A plain or pruned weight has one parameter, a parametrization may have several.
        """
        prefix = f"{self.module_name}." if self.module_name else ""
        if is_parametrized(self.module, self.key):
            inside = f"parametrizations.{self.key}."
            names = [name for name, _ in self.module.named_parameters() if name.startswith(inside)]
        else:
            names = [f"{self.key}_orig" if is_pruned(self.module, self.key) else self.key]

        return {prefix + name: self.module.get_parameter(name) for name in names}

    def set_weight(self, values: Tensor) -> None:
        """Write to the weight; pruned ones stay 0.

        Args:
            values: In the shape of `weight`.

        Raises:
            RuntimeError: If the weight is parametrized.
        """
        if is_parametrized(self.module, self.key):
            raise RuntimeError(
                f"{self.name} is parametrized (by SignAnnealing, for example), which would "
                "overwrite new values: call finish(), or remove the parametrization."
            )

        (trained,) = self.trained_parameters().values()
        with torch.no_grad():
            trained.copy_(values)

    def effective_weight(self) -> Tensor:
        """The weight that acts, in the shape of `weight`, with gradient for it.

        Raises:
            RuntimeError: If the module is of a chip and `prepare_net` is missing, or the weight
                changed since.
        """
        module: Any = self.module
        if isinstance(module, nn.Linear | _ConvNd):
            return self.weight

        effective: Tensor = (
            module.effective_recurrent_weights() if self.is_recurrent else module.effective_weight()
        )
        return effective

    def stored_weight(self) -> Tensor:
        """The weight as a chip stores it, in the shape of `weight`: quantized if the net does so.

        It has no gradient.
        """
        weight = self.weight.detach()
        bits = getattr(self.module, "quantization_bits", None)
        if bits is None or self.profile is None:
            return weight

        return Quantizer(bits, self.profile.number("weight_limit")).quantize(weight)

    @property
    def output_axis(self) -> int:
        """The axis of `weight` that counts targets, or output channels.

        Of a transposed convolution, it counts the output channels of one group.
        """
        if isinstance(self.module, _ConvTransposeNd):
            return 1

        is_first = isinstance(self.module, nn.Linear) or self.weight.ndim != 2
        return 0 if is_first else 1

    @property
    def fan_in(self) -> int:
        """Number of inputs of each target neuron, without mask; 1 for a front end.

        For a convolution, it is the number for a target far from borders.
        """
        module: Any = self.module
        if isinstance(module, _ConvTransposeNd):
            taps = map(_max_taps, module.kernel_size, module.stride, module.dilation)
            return int(module.in_channels) // int(module.groups) * math.prod(taps)

        return int(
            module.fan_in if hasattr(module, "fan_in") else len(self.to_columns(self.weight))
        )

    def to_columns(self, weight: Tensor) -> Tensor:
        """A tensor like `weight` as a matrix [inputs of a target, targets or output channels]."""
        if isinstance(self.module, _ConvTransposeNd):
            # [C_in, C_out / groups, ...]: each group of inputs reaches its own group of outputs.
            groups = int(self.module.groups)
            grouped = weight.reshape(groups, -1, weight.shape[1], weight[0, 0].numel())
            return grouped.permute(1, 3, 0, 2).flatten(2).flatten(0, 1)

        if weight.ndim == 1:
            return weight[None]
        return weight.movedim(self.output_axis, -1).flatten(0, -2)

    def from_columns(self, columns: Tensor) -> Tensor:
        """The inverse of `to_columns`: a tensor in the shape of `weight`."""
        shape = self.weight.shape
        places = self.to_columns(torch.arange(shape.numel()).reshape(shape))
        weight = columns.new_empty(shape.numel())
        weight[places] = columns
        return weight.reshape(shape)


def _max_taps(size: int, stride: int, dilation: int) -> int:
    """The maximal number of taps that reach one target, along one axis of a transposed convolution.

    A tap reaches every `stride`-th target. Taps whose indices differ by a multiple of
    `stride / gcd(stride, dilation)` reach the same targets.
    """
    period = stride // math.gcd(stride, dilation)
    return -(-size // period)


@dataclass(frozen=True, eq=False, kw_only=True)
class NetEdges:
    """The edges of a net, and the modules that they do not describe.

    Attributes:
        edges: All edges, in order.
        layers: All neuron layers by name, in the order of the net's modules.
        order: Names of synapses and neuron layers in the order in which they run, if it is known.
        uncovered: Names of the modules whose own parameters belong neither to an edge nor to a
            neuron layer.
        parametrized: Names of the modules that compute a parameter, as `SignAnnealing` makes them.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(3, 8), nn.BatchNorm1d(8), LIFLayer(8, taus=20e-3))
        >>> net_edges = find_edges(net)
        >>> [edge.name for edge in net_edges.edges], [*net_edges.layers], net_edges.uncovered
        (['0.weight'], ['2'], ('1',))
    """

    edges: tuple[Edge, ...]
    layers: Mapping[str, NeuronLayer]
    order: tuple[str, ...]
    uncovered: tuple[str, ...]
    parametrized: tuple[str, ...]


def find_edges(model: nn.Module, inputs: Tensor | None = None) -> NetEdges:
    """Find all weights of a net, and the neurons that they connect.

    Weights are found in the modules of `nwavesdk.layers`, in `nn.Linear`, and in the convolutions
    of torch, also if they are pruned or parametrized.

    In the containers of `nwavesdk.net`, a synapse's target is the next neuron layer in front of the
    next synapse. With `inputs`, a copy of the net runs once, and a target is the layer that
    received the charge unchanged.

    Args:
        model: Any module.
        inputs: A batch for `model(inputs)`, or None.

    Raises:
        TypeError: If `model` is not a module.
        RuntimeError: If one synapse drives several layers when the net runs with `inputs`.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> layer = LIFLayer(8, taus=10e-3, layer_topology="RC")
        >>> net = SpikingSequential(LIFSynapse(3, 8), layer, nn.Linear(8, 2), nn.LayerNorm(2))
        >>> net_edges = find_edges(net)
        >>> for edge in net_edges.edges:
        ...     print(edge.name, edge.sources, edge.target_name, edge.fan_in)
        0.weight () 1 3
        1.recurrent_weights ('1',) 1 8
        2.weight ('1',) None 8
        >>> net_edges.uncovered
        ('3',)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch module with weights, got {type(model).__name__}.")

    named = dict(model.named_modules())
    layers = {name: module for name, module in named.items() if isinstance(module, NeuronLayer)}

    wiring = wiring_by_structure(model) if inputs is None else wiring_by_run(model, inputs)
    edges = [
        _edge(name, module, key, wiring, layers)
        for name, module in named.items()
        for key in _weight_names(module)
    ]

    # Modules that the run did not call come last.
    if inputs is not None:
        position = {name: i for i, name in enumerate(wiring.order)}
        edges.sort(key=lambda edge: position.get(edge.module_name, len(position)))

    covered = layers.keys() | {edge.module_name for edge in edges}
    return NetEdges(
        edges=tuple(edges),
        layers=layers,
        order=tuple(wiring.order),
        uncovered=tuple(
            name
            for name, module in named.items()
            if name not in covered and _has_own_parameters(name, module)
        ),
        parametrized=tuple(name for name, module in named.items() if is_parametrized(module)),
    )


def _edge(
    name: str, module: nn.Module, key: str, wiring: Wiring, layers: Mapping[str, NeuronLayer]
) -> Edge:
    is_recurrent = key == _RECURRENT
    sources = (name,) if is_recurrent else wiring.sources.get(name, ())

    target_name = name if is_recurrent else wiring.targets.get(name)
    target = None if target_name is None else layers.get(target_name)
    return Edge(
        module_name=name,
        module=module,
        key=key,
        profile=getattr(module, "profile", None),
        sources=sources,
        target_name=target_name,
        target=target,
    )


def _has_own_parameters(name: str, module: nn.Module) -> bool:
    # The parameters of a parametrization belong to the parametrized module.
    if "parametrizations" in name.split("."):
        return False

    # Delays belong to the recurrent weights.
    if isinstance(module, RecurrentDelays):
        return False

    return is_parametrized(module) or any(True for _ in module.parameters(recurse=False))


def _weight_names(module: nn.Module) -> list[str]:
    """Names of the weights of the module itself that are edges."""
    names = ["weight"] if is_synapse(module) else []

    is_recurrent = isinstance(module, NeuronLayer) and has_weight(module, _RECURRENT)
    return [*names, _RECURRENT] if is_recurrent else names


def dense_edges(caller: str, model: nn.Module) -> list[Edge]:
    """The edges of a net except for front ends, for rules of a chip about dense weights.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If the net has other weights, such as a convolution, or no dense weight.
    """
    edges = [edge for edge in find_edges(model).edges if edge.weight.ndim > 1]
    for edge in edges:
        if not edge.is_dense:
            raise ValueError(
                f"{caller}: {module_title(edge.module_name, edge.module)} is not dense, and chips "
                "have dense synapses only: pass the part of the net that is for the chip."
            )

    if not edges:
        raise ValueError(
            f"{caller}: {type(model).__name__} has no 2-D weights of synapses or neuron layers, "
            "expected at least one: pass the whole net."
        )
    return edges


def connection_sparsity(model: nn.Module) -> dict[str, float]:
    """Share of the connections of each edge that carry nothing, because their weight is 0.

    A weight is 0 if it is pruned, or if a chip rounds it to 0.

    Args:
        model: Any module.

    Returns:
        The share of each weight by its name in the net, from 0 to 1.

    Raises:
        TypeError: If `model` is not a module.

    Example:
        >>> import torch
        >>> from torch.nn.utils import prune
        >>> from nwavesdk.layers import LIFSynapse, keep_n_of_m
        >>> synapse = LIFSynapse(8, 5)
        >>> _ = prune.custom_from_mask(synapse, "weight", keep_n_of_m(synapse.weight, 1, 4))
        >>> connection_sparsity(synapse)
        {'weight': 0.75}
    """
    return {
        edge.name: float((edge.stored_weight() == 0).double().mean())
        for edge in find_edges(model).edges
    }
