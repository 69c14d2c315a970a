"""A net of chip modules as a list of stages: weights, then the neurons that they drive."""

from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from nwavesdk.chip import CHIPS, Profile, load_profile
from nwavesdk.internal.checks import shown
from nwavesdk.layers import (
    Dropout,
    Edge,
    H1v1Frontend,
    H1v2Frontend,
    NetEdges,
    SpikingSequential,
    family_of,
    find_edges,
)

__all__ = [
    "FRONTENDS",
    "Stage",
    "chip_stages",
    "stages_and_profile",
    "weight_bits",
]

FRONTENDS = (H1v1Frontend, H1v2Frontend)
# Modules that do nothing in a deployed net.
PASSIVE_MODULES = (Dropout, nn.Dropout, nn.Identity)


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """Weights and the neurons that they drive.

    Attributes:
        synapse_name: Name in the net of the module with the weights.
        synapse: The module with the weights, a synapse or a front end.
        name: Name in the net of the neuron layer.
        layer: The neuron layer.
        edges: The edges into the layer: first the synapse, then the recurrent edge if it exists.
    """

    synapse_name: str
    synapse: Any
    name: str
    layer: Any
    edges: tuple[Edge, ...]

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
        """Whether the weights belong to a front end: each input drives one neuron."""
        return isinstance(self.synapse, FRONTENDS)

    @property
    def is_recurrent(self) -> bool:
        """Whether the neurons of the layer drive one another."""
        return len(self.edges) > 1


def weight_bits(edge: Edge) -> int | None:
    """Number of bits to which the net quantizes the weights of an edge, or None."""
    return cast("int | None", edge.module.quantization_bits)


def chip_stages(model: nn.Module, caller: str) -> list[Stage]:
    """The stages of a net of chip modules, in order.

    Args:
        model: A `SpikingSequential` in which synapses (or a front end) and neuron layers of a chip
            alternate. Dropout may be anywhere.
        caller: Name of the calling function, for error messages.

    Raises:
        TypeError: If the model is not such a net. The message names the module that cannot be
            deployed.
    """
    if not isinstance(model, SpikingSequential):
        raise TypeError(
            f"{caller} takes a SpikingSequential of chip modules, got {type(model).__name__}."
        )

    deployable = tuple(kind for chip in CHIPS for kind in family_of(load_profile(chip)))
    for name, module in model.modules_in_order():
        if not isinstance(module, (*deployable, *PASSIVE_MODULES)):
            raise TypeError(
                f"{caller}: module {name} ({type(module).__name__}) is not a module of a chip, "
                "and chips have dense synapses only: build the net from H1v1… or H1v2… front ends, "
                "synapses and layers, as `nwave train --chip h1v2` does."
            )

    net = find_edges(model)
    for edge in net.edges:
        if edge.target is None:
            raise TypeError(
                f"{caller}: module {edge.module_name} ({type(edge.module).__name__}) has no neuron "
                "layer behind it: on a chip, synapses and neuron layers alternate."
            )
    if not net.layers:
        raise TypeError(
            f"{caller}: the net has no neuron layer of a chip, expected at least one: add an "
            "H1v1Layer or an H1v2Layer."
        )

    return [_stage(name, net, caller) for name in net.layers]


def _stage(name: str, net: NetEdges, caller: str) -> Stage:
    """The stage of the neuron layer `name`."""
    layer = net.layers[name]
    title = f"{caller}: module {name} ({type(layer).__name__})"

    # A synapse is in front of its layer, so its edge precedes the recurrent one.
    edges = tuple(edge for edge in net.edges if edge.target is layer)
    if not edges or edges[0].is_recurrent:
        raise TypeError(
            f"{title} has no front end or synapse in front of it: on a chip, synapses and neuron "
            "layers alternate."
        )

    if len(layer.features) != 1:
        raise TypeError(f"{title} has neurons of shape {layer.features}, expected one dimension.")
    return Stage(
        synapse_name=edges[0].module_name,
        synapse=edges[0].module,
        name=name,
        layer=layer,
        edges=edges,
    )


def stages_and_profile(
    model: nn.Module, profile: Profile | None, caller: str
) -> tuple[list[Stage], Profile]:
    """The stages of a net of chip modules, and its chip.

    Args:
        model: A net of chip modules.
        profile: The chip. [the chip that all modules of the net were built for]
        caller: Name of the calling function, for error messages.

    Raises:
        TypeError: If the model is not a net of chip modules, or `profile` is not a profile.
        ValueError: If `profile` is None and its modules were built for different chips.
    """
    stages = chip_stages(model, caller)

    if isinstance(profile, Profile):
        return stages, profile
    if profile is not None:
        raise TypeError(
            f"{caller}: profile must be a Profile, got {shown(profile)}: pass load_profile(…)."
        )

    profiles = [module.profile for stage in stages for module in (stage.synapse, stage.layer)]
    for built_for in profiles:
        if built_for != profiles[0]:
            raise ValueError(
                f"{caller}: the net's modules were built for different chips, {profiles[0].name} "
                f"and {built_for.name}: build all of them with one profile."
            )
    return stages, profiles[0]
