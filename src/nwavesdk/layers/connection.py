"""The weights of a net one by one: whose they are, under which name, and of which chip."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from nwavesdk.chip import Profile
from nwavesdk.layers.prepare import Prepared

__all__ = ["Connection", "connections"]


@dataclass(frozen=True, eq=False)
class Connection:
    """One weight of a net.

    Attributes:
        name: of the weight in the net, as in `state_dict`.
        module: synapse, front end or neuron layer whose it is.
        key: `"weight"`, or `"recurrent_weights"` of a neuron layer.
        profile: of the module's chip; None off chip, where weights have no bounds.
    """

    name: str
    module: nn.Module
    key: str
    profile: Profile | None

    @property
    def weight(self) -> Tensor:
        """The weight as it is trained, before charge law and mismatch: [N_in, N_out], or [N] of a front end."""
        weight = getattr(self.module, self.key)
        assert isinstance(weight, Tensor)
        return weight


def connections(model: nn.Module) -> Iterator[Connection]:
    """Feed-forward and recurrent weights of all modules of `nwavesdk.layers` in `model`, in their order there.

    Raises:
        TypeError: `model` is no module.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3, layer_topology="RC"))
        >>> [connection.name for connection in connections(net)]
        ['0.weight', '1.recurrent_weights']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"weights are those of a torch module, got {type(model).__name__}.")
    for prefix, module in model.named_modules():
        if isinstance(module, Prepared):
            for key in ("weight", "recurrent_weights"):
                if isinstance(getattr(module, key, None), Tensor):
                    name = f"{prefix}.{key}" if prefix else key
                    yield Connection(name, module, key, getattr(module, "profile", None))
