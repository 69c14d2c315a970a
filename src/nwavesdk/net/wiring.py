"""The wiring of a net, by the order of its modules, or as one pass of a copy shows it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from nwavesdk.layers.masks import copy_module
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import Prepared
from nwavesdk.net.calls import replaced
from nwavesdk.net.container import Container
from nwavesdk.net.preparation import prepare_net
from nwavesdk.net.sequential import SpikingSequential
from nwavesdk.net.structure import Feedback, Joined, follow

__all__ = [
    "Wiring",
    "has_weight",
    "is_synapse",
    "module_title",
    "watch_calls",
    "wiring_by_run",
    "wiring_by_structure",
]

# Containers whose modules are followed with them.
_FOLLOWED = (SpikingSequential, Joined, Feedback)


@dataclass(eq=False)
class Wiring:
    """The neuron layers that drive each synapse and that it drives, by names of modules.

    Attributes:
        order: Synapses and neuron layers, as keys, in the order in which they run; empty if it is
            unknown.
        sources: For each synapse, the neuron layers whose spikes come in, where they are known.
        targets: For each synapse, the neuron layer that it drives, where it is known.
    """

    order: dict[str, None] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)


def has_weight(module: nn.Module, key: str) -> bool:
    """Whether a module has a weight of this name."""
    # A parametrized weight is not read, because that would compute it.
    if is_parametrized(module, key):
        return True

    weight = getattr(module, key, None)
    return isinstance(weight, Tensor) and not is_lazy(weight)


def is_synapse(module: nn.Module) -> bool:
    """Whether a module is a synapse or front end, a linear layer, or a convolution of torch."""
    if isinstance(module, NeuronLayer) or not has_weight(module, "weight"):
        return False

    # Norms are prepared and have a weight, too, but no effective weight.
    is_ours = isinstance(module, Prepared) and hasattr(module, "effective_weight")
    return is_ours or isinstance(module, nn.Linear | _ConvNd)


def module_title(name: str, module: nn.Module) -> str:
    """The class and name of a module of a net, for error messages."""
    return f"{type(module).__name__} {name!r}" if name else type(module).__name__


class _Signal(NamedTuple):
    """The origin of a tensor between two modules, by names.

    Attributes:
        layers: Neuron layers whose spikes are in it.
        synapses: Synapses whose charge is in it.
    """

    layers: tuple[str, ...] = ()
    synapses: tuple[str, ...] = ()

    def joined(self, other: "_Signal") -> "_Signal":
        """The origin of the sum or the concatenation of two signals."""
        return _Signal(
            tuple(dict.fromkeys(self.layers + other.layers)),
            tuple(dict.fromkeys(self.synapses + other.synapses)),
        )


def wiring_by_structure(model: nn.Module) -> Wiring:
    """The wiring within each container of `nwavesdk.net`, also inside of modules of the user."""
    wiring = Wiring()
    modules = dict(model.named_modules())
    for name, net in modules.items():
        parent = modules.get(name.rpartition(".")[0]) if name else None
        # The containers in a container are followed with it.
        if isinstance(net, Container) and not isinstance(parent, _FOLLOWED):
            _follow(net, name, _Signal(), wiring)

    # If the model is not a container, the order of the containers in it is unknown.
    if not isinstance(model, Container):
        wiring.order.clear()
    return wiring


def _follow(module: nn.Module, name: str, given: _Signal, wiring: Wiring) -> _Signal:
    """Add the wiring of a module with the input `given`, and return its output."""

    def leaf(module: nn.Module, name: str, given: _Signal) -> _Signal:
        if isinstance(module, NeuronLayer) or is_synapse(module):
            return _follow_weight(module, name, given, wiring)

        if isinstance(module, Feedback):
            prefix = f"{name}." if name else ""
            output = _follow(module.body, f"{prefix}body", given, wiring)
            if module.feedback is not None:
                output = _follow(module.feedback, f"{prefix}feedback", output, wiring)

            # The body again, with the output of the feedback added to its input.
            return _follow(module.body, f"{prefix}body", given.joined(output), wiring)

        # In a module of the user with weights inside, the wiring is unknown.
        has_weights = any(isinstance(m, NeuronLayer) or is_synapse(m) for m in module.modules())
        return _Signal() if has_weights else given

    return follow(module, name, given, leaf, lambda *args: reduce(_Signal.joined, args[-1]))


def _follow_weight(module: nn.Module, name: str, given: _Signal, wiring: Wiring) -> _Signal:
    """Add a synapse or neuron layer, and return its output."""
    wiring.order.setdefault(name)
    if isinstance(module, NeuronLayer):
        wiring.targets |= dict.fromkeys(given.synapses, name)
        return _Signal(layers=(name,))

    # If the charge of other synapses arrives, too, the spiking layers are not the only sources, so
    # none is recorded. Through this synapse, these other synapses drive no layer.
    wiring.sources[name] = () if given.synapses else given.layers
    return _Signal(synapses=(name,))


def wiring_by_run(model: nn.Module, inputs: Tensor) -> Wiring:
    """The wiring in one pass of a copy: a module gets a tensor in the storage of its sender."""
    work = copy_module(model)
    names = {module: name for name, module in work.named_modules()}
    wiring = Wiring()

    # Tensors by storage; they are held until the end, so that no other tensor gets their storage.
    charges: dict[int, tuple[str, Tensor]] = {}
    spikes: dict[int, tuple[str, Tensor]] = {}

    def on_synapse(synapse: nn.Module, received: Tensor, charge: Tensor) -> None:
        name = names[synapse]
        wiring.order.setdefault(name)

        source = _sender(spikes, received)
        if source is not None:
            wiring.sources[name] = (source,)

        charges[_storage(charge)] = name, charge

    def on_layer(layer: NeuronLayer, charge: Tensor, fired: Tensor) -> None:
        name = names[layer]
        wiring.order.setdefault(name)
        spikes[_storage(fired)] = name, fired

        synapse = _sender(charges, charge)
        if synapse is not None and wiring.targets.setdefault(synapse, name) != name:
            first = wiring.targets[synapse]
            first_title = module_title(first, work.get_submodule(first))
            raise RuntimeError(
                f"{module_title(synapse, work.get_submodule(synapse))} drives both {first_title} "
                f"and {module_title(name, layer)}, expected one layer for each synapse: its "
                "weights cannot suit both."
            )

    prepare_net(work)
    with watch_calls(work, on_synapse, on_layer):
        work(inputs)
    return wiring


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _sender(sent: Mapping[int, tuple[str, Tensor]], received: Tensor) -> str | None:
    """The name of the module that made the tensor, if the whole tensor arrived."""
    name, tensor = sent.get(_storage(received), (None, received))
    return name if tensor.numel() == received.numel() else None


@contextlib.contextmanager
def watch_calls(
    model: nn.Module,
    on_synapse: Callable[[nn.Module, Tensor, Tensor], None],
    on_layer: Callable[[NeuronLayer, Tensor, Tensor], None],
) -> Iterator[None]:
    """Report the calls of all synapses and neuron layers of `model` within a `with` block.

    A linear layer or convolution of torch may get batch and time as one dimension.

    Args:
        model: Any module.
        on_synapse: Called with each synapse, or front end, its input and its charge.
        on_layer: Called with each neuron layer, its input charge and its spikes.
    """

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], charge: Tensor) -> None:
        received = args[0] if args else next(iter(kwargs.values()))
        on_synapse(module, received, charge)

    with contextlib.ExitStack() as stack:
        for module in model.modules():
            if is_synapse(module):
                stack.enter_context(module.register_forward_hook(hook, with_kwargs=True))
            elif isinstance(module, NeuronLayer):
                # Torch's hooks do not see `spikes` and `record`.
                stack.enter_context(replaced([(module, "on_call", on_layer)]))
        yield
