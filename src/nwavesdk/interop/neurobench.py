"""NeuroBench: nets of this library in its harness.

The hooks of NeuroBench 2.3 see `nn.Linear`, `nn.Conv*`, cells of torch, and neurons of snnTorch. To
them, all synapses and neurons of this library would count as 0. `NWaveModel` shows the harness
each weight as a linear layer with its inputs, and each neuron layer with its spikes and membranes.
The metrics of the harness are unchanged; `docs/neurobench.md` lists them.

It needs the extra `interop`. The harness is imported on first use; it imports snnTorch.

References:
    Yik et al. 2025, "The neurobench framework for benchmarking neuromorphic computing algorithms
    and systems", Nature Communications 16, 1545, doi:10.1038/s41467-025-56739-4.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.modules.conv import _ConvNd

from nwavesdk.internal.checks import switch
from nwavesdk.internal.imports import require
from nwavesdk.layers import NeuronLayer
from nwavesdk.layers.record import Record
from nwavesdk.metrics.operation_counter import countable_edges
from nwavesdk.net import Edge, record
from nwavesdk.net.fan_out import convolve, input_axes, reads_past
from nwavesdk.net.preparation import prepared
from nwavesdk.net.wiring import watch_calls
from nwavesdk.solvers.sparse.delays_reference import delayed_product

__all__ = ["NWaveModel", "WeightImage"]

EXTRA = "interop"


class WeightImage(nn.Linear):
    """A weight of a net as a layer that the harness counts; its output is the charge.

    Args:
        edge: The weight.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.metrics.operation_counter import countable_edges
        >>> net = SpikingSequential(LIFSynapse(3, 2), LIFLayer(2, 20e-3))
        >>> edges, _ = countable_edges(net)
        >>> image = WeightImage(edges[0])
        >>> image(torch.ones(1, 1, 3).double()).shape
        torch.Size([1, 1, 2])
    """

    def __init__(self, edge: Edge) -> None:
        # The parameters of torch's linear layer are replaced: the weight may have any shape.
        super().__init__(1, 1, bias=False)
        self.weight = nn.Parameter(edge.stored_weight().double(), requires_grad=False)
        # A plain function: when the harness copies the layer, the module of the edge is not copied.
        self.product = _product_of(edge)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The charge, without bias, of an input of the synapse."""
        return self.product(x, self.weight)


def _product_of(edge: Edge) -> Callable[[Tensor, Tensor], Tensor]:
    """The product of an input with the weight of an edge; steps before the input are silent."""
    module: Any = edge.module
    if edge.is_recurrent:
        return lambda x, weight: _recurrent_product(module, x, weight)
    if isinstance(module, nn.Linear):
        return linear
    if isinstance(module, _ConvNd):
        return lambda x, weight: convolve(module, x, weight)
    if edge.weight.ndim == 1:
        return torch.mul
    return lambda x, weight: module.charge(x, weight)


def _recurrent_product(layer: NeuronLayer, spikes: Tensor, weight: Tensor) -> Tensor:
    """The recurrent charge [B, T, N] of a layer's own spikes, which arrive one step later."""
    delays = torch.ones(len(weight), 1, dtype=weight.dtype, device=weight.device)
    if layer.recurrent_delays is not None:
        delays = delays + layer.recurrent_delays.delays.detach().to(weight).round()

    longest = int(delays.max())
    silence = spikes.new_zeros(len(spikes), longest, len(weight))
    return delayed_product(spikes, silence, weight, delays, longest, "none", 1.0)


class _View(nn.ModuleList):
    """The module that the harness walks: images of all weights, and the parameters of the net."""

    def __init__(self, net: nn.Module, images: list[WeightImage]) -> None:
        super().__init__(images)
        # In a tuple, so that it is not a child.
        self._viewed = (net,)

    def forward(self, x: Tensor) -> Any:
        return self._viewed[0](x)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return self._viewed[0].parameters(recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return self._viewed[0].buffers(recurse)

    def _apply(self, fn: Any, recurse: bool = True) -> "_View":
        """Move the net with the images, as `to(device)` of the harness does."""
        # torch does not type `_apply`.
        self._viewed[0]._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's
        return self


class NWaveModel:
    """A net as a `NeuroBenchModel`, so that the harness measures its synapses and neurons.

    The net runs in `eval()`, without gradient, and is prepared for each batch. With `keep_state`,
    it continues from its state, for a series that comes in several batches.

        metric                harness reads
        Footprint             bytes of the parameters and buffers of the net
        ConnectionSparsity    every weight; of a chip, as it is stored
        ActivationSparsity    the spikes of each neuron layer that spikes
        SynapticOperations    every weight, with its inputs
        MembraneUpdates       the membrane of each layer and step, after reset

    `NeuronOperations` cannot be measured: it has a table of four neurons of snnTorch.

    Args:
        net: Any module that returns a tensor or `spk, mem`. Weights may change between two calls.
        decode: From `spk, mem` of the net to predictions. If None, a call returns `spk`.
        keep_state: Whether a batch continues from the state of the net, which the caller prepares.

    Attributes:
        net: The net.
        not_counted: Names of the modules with weights that cannot be counted.

    Raises:
        TypeError: If `net` is not a module.
        ModuleNotFoundError: If the extra `interop` is missing.

    Example:
        >>> from neurobench.benchmarks import Benchmark
        >>> from neurobench.metrics.static import Footprint
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> net = SpikingSequential(LIFSynapse(3, 2), LIFLayer(2, 20e-3))
        >>> loader = DataLoader(TensorDataset(torch.ones(4, 10, 3), torch.zeros(4)))
        >>> results = Benchmark(NWaveModel(net), loader, [], [], [[Footprint], []]).run()
        Running benchmark
        >>> results["Footprint"]
        32
    """

    def __init__(
        self,
        net: nn.Module,
        decode: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        keep_state: bool = False,
    ) -> None:
        require("neurobench.models", EXTRA).NeuroBenchModel.register(type(self))
        edges, self.not_counted = countable_edges(net)
        if self.not_counted:
            warnings.warn(
                f"NWaveModel: operations of {', '.join(self.not_counted)} cannot be counted, so "
                "the synaptic operations and the connection sparsity of NeuroBench lack them.",
                stacklevel=2,
            )

        self.net = net.eval()
        self._decode = decode
        self._keep_state = switch("NWaveModel", "keep_state", keep_state)
        self._images = {edge: WeightImage(edge) for edge in edges}
        self._view = _View(net, list(self._images.values()))

        # By module; for a layer of neurons, the edge of its recurrent weights.
        self._edges = {edge.module: edge for edge in edges}
        self._inputs: dict[Edge, Any] = {}
        self._activity: dict[str, Any] = {}
        self.activation_hooks: list[Any] = []
        self.connection_hooks: list[Any] = []

    def __net__(self) -> nn.Module:
        """The module that the harness walks for the metrics without data."""
        self._read_weights()
        return self._view

    def _read_weights(self) -> None:
        for edge, image in self._images.items():
            image.weight.copy_(edge.stored_weight())

    def register_hooks(self) -> None:
        """Make the hooks of the harness; a call fills them."""
        self.cleanup_hooks()
        layer_hook = require("neurobench.hooks.layer", EXTRA).LayerHook
        neuron_hook = require("neurobench.hooks.neuron", EXTRA).NeuronHook
        activations = require("neurobench.blocks.activation", EXTRA).SUPPORTED_ACTIVATIONS
        self._inputs = {edge: layer_hook(image) for edge, image in self._images.items()}
        self.connection_hooks = list(self._inputs.values())

        # Neurons of this library are filled after a call; other activations have hooks of torch.
        for name, module in self.net.named_modules():
            if isinstance(module, NeuronLayer):
                hook = self._activity[name] = neuron_hook(None, name)
                hook.layer = module
                self.activation_hooks.append(hook)
            elif isinstance(module, activations):
                self.activation_hooks.append(neuron_hook(module, name))

    def reset_hooks(self) -> None:
        """Forget the values in the hooks."""
        for hook in self.activation_hooks + self.connection_hooks:
            hook.reset()

    def close_hooks(self) -> None:
        """Remove the hooks from the modules."""
        for hook in self.activation_hooks + self.connection_hooks:
            hook.close()

    def cleanup_hooks(self) -> None:
        """Remove all hooks and their values."""
        self.close_hooks()
        for hooks in (self.activation_hooks, self.connection_hooks, self._inputs, self._activity):
            hooks.clear()

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor:
        """Run recordings [B, T, *features], and fill the hooks."""
        self._read_weights()
        received: dict[Edge, list[Tensor]] = {}

        def on_synapse(module: nn.Module, x: Tensor, _: Tensor) -> None:
            """Keep the input of a weight that is counted."""
            if module in self._edges:
                received.setdefault(self._edges[module], []).append(x)

        def turned(x: Tensor) -> Tensor:
            """Batch and time in the order of the net, and back."""
            return x.transpose(0, 1) if getattr(self.net, "time_first", False) else x

        ready = nullcontext() if self._keep_state else prepared(self.net)
        with ready, watch_calls(self.net, on_synapse, lambda *_: None):
            recording = record(self.net, turned(batch))

        if self._inputs:
            for edge, calls in received.items():
                self._fill_inputs(edge, calls)
            for name, layer_record in recording.layers.items():
                self._fill_activity(name, layer_record)

        spk = turned(recording.spk)
        if self._decode is None:
            return spk
        has_membrane = recording.mem is not recording.spk
        return self._decode(spk, turned(recording.mem) if has_membrane else spk)

    def _fill_inputs(self, edge: Edge, calls: list[Tensor]) -> None:
        """Pass the inputs of a weight to its hook, as a single sequence if earlier steps matter."""
        calls = [x.to_dense().double() for x in calls]
        if reads_past(edge):
            axes = input_axes(edge)
            calls = [torch.cat([x[:, None] if x.ndim == axes else x for x in calls], 1)]
        self._inputs[edge].inputs += [(x,) for x in calls]

    def _fill_activity(self, name: str, layer_record: Record) -> None:
        """Pass the spikes of a neuron layer and its membrane around each step to its hook."""
        spk, mem = layer_record.spk, layer_record.mem
        if layer_record.is_single_step:
            spk, mem = spk[:, None], mem[:, None]

        hook = self._activity[name]
        if not layer_record.is_readout:
            hook.activation_outputs.append(spk)

        after = list(mem.unbind(1))
        hook.post_fire_mem_potential += after
        # The harness counts the first step without a look at the membrane before it.
        hook.pre_fire_mem_potential += [torch.zeros_like(after[0]), *after[:-1]]

        if hook.layer in self._edges:
            self._fill_inputs(self._edges[hook.layer], [spk.flatten(2)])
