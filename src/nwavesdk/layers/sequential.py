"""`SpikingSequential`: synapses, neuron layers and ordinary torch modules in a row, over whole sequences."""

from dataclasses import dataclass

from torch import Tensor, nn

from nwavesdk.layers.neuron import NeuronLayer, Record
from nwavesdk.layers.prepare import Prepared
from nwavesdk.layers.synapse import Synapse

__all__ = ["Recording", "SpikingSequential"]


@dataclass(frozen=True, eq=False)
class Recording:
    """One pass through a net.

    Attributes:
        spk: what the net returns as spikes.
        mem: what the net returns as membrane.
        layers: what each neuron layer did, by its name in the net.
    """

    spk: Tensor
    mem: Tensor
    layers: dict[str, Record]


class SpikingSequential(nn.Sequential):
    """A net as a row of modules: `spk, mem = net(x)`.

    Synapses and neuron layers take the sequence as it is, and neuron layers hand on their spikes. Modules that know no
    time (Dropout, Flatten, convolutions) see batch and time as one dimension.

    Shape:
        `x` [B, T, *features] is a sequence; [N] or [B, N] is one step of a net whose layers are flat. Returns
        `spk, mem` of the last neuron layer; when a synapse or another module stands last, its output twice.

    Raises:
        RuntimeError: see `NeuronLayer`.
        ValueError: the sizes of neighbouring layers do not agree.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, prepare_net
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3), nn.Dropout(0.2), LIFSynapse(8, 2),
        ...                         LIFLayer(2, taus=10e-3, reset_mechanism="none"))
        >>> prepare_net(net)
        >>> spk, mem = net(torch.rand(4, 50, 3))
        >>> mem.shape
        torch.Size([4, 50, 2])
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last spikes and membranes; see the class."""
        recording = self.record(x)
        return recording.spk, recording.mem

    def record(self, x: Tensor) -> Recording:
        """One pass, and what each neuron layer did in it; when it fails, every state is as it was."""
        held = [module.hold_state() for module in self.modules() if isinstance(module, NeuronLayer)]
        try:
            return self._record(x)
        except BaseException:
            for restore in held:
                restore()
            raise

    def _record(self, x: Tensor) -> Recording:
        layers: dict[str, Record] = {}
        mem = x
        for name, module in self.named_children():
            if isinstance(module, NeuronLayer):
                layers[name] = module.record(x)
                x, mem = layers[name].spk, layers[name].mem
            elif isinstance(module, SpikingSequential):
                inner = module.record(x)
                layers |= {f"{name}.{key}": record for key, record in inner.layers.items()}
                x, mem = inner.spk, inner.mem
            else:
                x = mem = module(x) if isinstance(module, Synapse) or x.ndim < 3 else _over_time(module, x)
        return Recording(x, mem, layers)


def _over_time(module: nn.Module, x: Tensor) -> Tensor:
    if any(isinstance(inner, Prepared) for inner in module.modules()):
        raise TypeError(
            f"SpikingSequential hands batch and time as one to {type(module).__name__}, but synapses or neuron layers "
            "are in it: use SpikingSequential there too."
        )
    y = module(x.flatten(0, 1))
    if not isinstance(y, Tensor):
        raise TypeError(f"{type(module).__name__} in a SpikingSequential must give a tensor, got {type(y).__name__}.")
    return y.reshape(x.shape[:2] + y.shape[1:])
