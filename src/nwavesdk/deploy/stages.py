"""A net of chip modules as a list of stages: weights, then the neurons that they drive."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nwavesdk.chip import CHIPS, Profile, Quantizer, load_profile
from nwavesdk.layers import (
    Dropout,
    H1v1Frontend,
    H1v2Frontend,
    NeuronLayer,
    SpikingSequential,
    family_of,
    find_edges,
)

__all__ = ["Stage", "Weight", "chip_profile", "chip_stages"]

FRONTENDS = (H1v1Frontend, H1v2Frontend)


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight tensor of a net of chip modules.

    Attributes:
        name: Name in `state_dict`.
        tensor: The trained weights, [N_in, N_out], or [N] in a front end.
        module: The module that owns the tensor.
    """

    name: str
    tensor: Tensor
    module: Any

    @property
    def bits(self) -> int | None:
        """Number of bits to which the net quantizes the weights, or None."""
        bits: int | None = self.module.quantization_bits
        return bits

    def stored(self) -> Tensor:
        """The weights as the chip stores them: quantized if `bits` is set."""
        weight = self.tensor.detach()
        if self.bits is None:
            return weight
        return Quantizer(self.bits, self.module.profile.number("weight_limit")).quantize(weight)


@dataclass(frozen=True, eq=False)
class Stage:
    """Weights and the neurons that they drive.

    Attributes:
        synapse_name: Name in the net of the module with the weights.
        synapse: The module with the weights, a synapse or a front end.
        name: Name in the net of the neuron layer.
        layer: The neuron layer.
    """

    synapse_name: str
    synapse: Any
    name: str
    layer: Any

    @property
    def n_inputs(self) -> int:
        """Number of input lines."""
        return int(self.synapse.nb_inputs)

    @property
    def n_neurons(self) -> int:
        """Number of neurons of the layer."""
        return int(self.layer.features[0])

    @property
    def is_frontend(self) -> bool:
        """Whether the weights are those of a front end: each input drives one neuron."""
        return isinstance(self.synapse, FRONTENDS)

    @property
    def is_recurrent(self) -> bool:
        """Whether the neurons of the layer drive one another."""
        return str(self.layer.layer_topology) == "RC"

    def weights(self) -> Iterator[Weight]:
        """The weights that drive the neurons: those of the synapse, then the recurrent ones."""
        yield Weight(f"{self.synapse_name}.weight", self.synapse.weight, self.synapse)
        if self.is_recurrent:
            yield Weight(f"{self.name}.recurrent_weights", self.layer.recurrent_weights, self.layer)


def chip_stages(model: nn.Module, caller: str) -> list[Stage]:
    """The stages of a chip's net, in order.

    Args:
        model: A `SpikingSequential` of the chip's synapses and neuron layers in turn, with or without Dropout between.
        caller: For error messages.

    Raises:
        TypeError: the model is no such net; the text names the module that does not belong there.
    """
    if not isinstance(model, SpikingSequential):
        raise TypeError(
            f"{caller} takes a SpikingSequential of the chip's modules, got {type(model).__name__}."
        )
    net = find_edges(model)
    incoming = {edge.target_name: edge for edge in net.edges if not edge.is_recurrent}
    stages: list[Stage] = []
    classes = tuple(kind for chip in CHIPS for kind in family_of(load_profile(chip)))
    for name, module in model.modules_in_order():
        if isinstance(module, Dropout | nn.Dropout | nn.Identity):
            continue
        if not isinstance(module, classes):
            raise TypeError(
                f"{caller}: module {name} ({type(module).__name__}) is not one of the chip's: build the net of "
                "H1v1… or H1v2… front end, synapses and layers (`nwave train --chip h1v2` does)."
            )
        if not isinstance(module, NeuronLayer):
            continue
        if name not in incoming:
            raise TypeError(
                f"{caller}: module {name} ({type(module).__name__}) has no front end or synapse "
                "in front of it: on the chip synapses and neuron layers alternate."
            )
        if len(module.features) != 1:
            raise TypeError(
                f"{caller}: module {name} has neurons in the shape {module.features}, expected a number."
            )
        stages.append(Stage(incoming[name].module_name, incoming[name].module, name, module))
    for edge in net.edges:
        if edge.target is None:
            raise TypeError(
                f"{caller}: module {edge.module_name} ({type(edge.module).__name__}) has no neuron layer "
                "behind it: on the chip synapses and neuron layers alternate."
            )
    if not stages:
        raise TypeError(f"{caller}: the net has no neuron layer of the chip.")
    return stages


def chip_profile(model: nn.Module, caller: str) -> Profile:
    """The one profile that all modules of a chip's net were built with.

    Raises:
        TypeError: the model is no chip's net.
        ValueError: its modules are of different chips.
    """
    profiles: list[Profile] = [
        module.profile
        for stage in chip_stages(model, caller)
        for module in (stage.synapse, stage.layer)
    ]
    for profile in profiles:
        if profile != profiles[0]:
            raise ValueError(
                f"{caller}: the net's modules were built for different chips, {profiles[0].name} and {profile.name}: "
                "build all of them with one profile."
            )
    return profiles[0]
