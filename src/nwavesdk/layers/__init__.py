"""Torch modules of spiking nets: synapses, neuron layers, `SpikingSequential`, `prepare_net`."""

from typing import TYPE_CHECKING

from nwavesdk.dynamics import (
    Bounded,
    PageError,
    Positive,
    Real,
    TimeConstant,
    decay,
    held,
    spike,
)
from nwavesdk.internal.imports import import_on_use
from nwavesdk.layers.chip_layer import H1v1Layer, H1v2Layer, HWLayer
from nwavesdk.layers.chip_synapse import (
    Frontend,
    H1v1Frontend,
    H1v1Synapse,
    H1v2Frontend,
    H1v2Synapse,
    HWSynapse,
)
from nwavesdk.layers.dropout import Dropout
from nwavesdk.layers.edges import Edge, NetEdges, find_edges
from nwavesdk.layers.equation import neuron
from nwavesdk.layers.lengths import valid_steps
from nwavesdk.layers.lif import LIFLayer, LIFSynapse
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import ChipInstance, Prepared, detach_state, prepare_net
from nwavesdk.layers.record import Record, Recording
from nwavesdk.layers.sequential import SpikingSequential
from nwavesdk.layers.synapse import Synapse
from nwavesdk.layers.whole_net import Family, family_of, project, to_cpu, to_gpu
from nwavesdk.layers.zoo import (
    AdExLayer,
    AdLIFLayer,
    ALIFLayer,
    AlphaLayer,
    BalancedResonateAndFireLayer,
    CubaLIFLayer,
    EIFLayer,
    IFLayer,
    IzhikevichLayer,
    KLIFLayer,
    LILayer,
    QIFLayer,
    RefractoryLIFLayer,
    ResonateAndFireLayer,
    SEAdLIFLayer,
    SiLIFLayer,
)

__all__ = [
    "ALIFLayer",
    "AdExLayer",
    "AdLIFLayer",
    "AlphaLayer",
    "BalancedResonateAndFireLayer",
    "Bounded",
    "ChipInstance",
    "CubaLIFLayer",
    "Dropout",
    "EIFLayer",
    "Edge",
    "Family",
    "Frontend",
    "H1v1Frontend",
    "H1v1Layer",
    "H1v1Synapse",
    "H1v2Frontend",
    "H1v2Layer",
    "H1v2Synapse",
    "HWLayer",
    "HWSynapse",
    "IFLayer",
    "IzhikevichLayer",
    "KLIFLayer",
    "LIFLayer",
    "LIFSynapse",
    "LILayer",
    "NetEdges",
    "NeuronLayer",
    "PageError",
    "Positive",
    "Prepared",
    "QIFLayer",
    "Real",
    "Record",
    "Recording",
    "RefractoryLIFLayer",
    "ResonateAndFireLayer",
    "SEAdLIFLayer",
    "SiLIFLayer",
    "SpikingSequential",
    "Synapse",
    "TimeConstant",
    "decay",
    "detach_state",
    "family_of",
    "find_edges",
    "held",
    "neuron",
    "prepare_net",
    "project",
    "spike",
    "to_cpu",
    "to_gpu",
    "valid_steps",
]

if not TYPE_CHECKING:
    # For errors that suggest a near name.
    __getattr__, __dir__ = import_on_use(__name__, {})
