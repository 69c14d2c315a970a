"""The torch modules that people build nets from: synapses, neuron layers, `prepare_net`, `SpikingSequential`."""

from nwavesdk.layers.chip_layer import H1v1Layer, H1v2Layer, HWLayer
from nwavesdk.layers.chip_net import ChipInstance, Family, family_of, project
from nwavesdk.layers.chip_synapse import (
    Frontend,
    H1v1Frontend,
    H1v1Synapse,
    H1v2Frontend,
    H1v2Synapse,
    HWSynapse,
)
from nwavesdk.layers.device import to_cpu, to_gpu
from nwavesdk.layers.dropout import Dropout
from nwavesdk.layers.edges import Edge, NetEdges, find_edges
from nwavesdk.layers.lif import LIFLayer, LIFSynapse
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import Prepared, detach_state, prepare_net
from nwavesdk.layers.record import Record
from nwavesdk.layers.sequential import Recording, SpikingSequential
from nwavesdk.layers.synapse import Synapse

__all__ = [
    "ChipInstance",
    "Dropout",
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
    "LIFLayer",
    "LIFSynapse",
    "NetEdges",
    "NeuronLayer",
    "Prepared",
    "Record",
    "Recording",
    "SpikingSequential",
    "Synapse",
    "detach_state",
    "family_of",
    "find_edges",
    "prepare_net",
    "project",
    "to_cpu",
    "to_gpu",
]
