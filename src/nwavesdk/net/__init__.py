"""Nets as wholes: containers of modules, the walk over all weights, conversion."""

from nwavesdk.net.conversion import Family, family_of, project, to_cpu, to_gpu
from nwavesdk.net.delays import RoundingChange, narrow_delays, rounding_change
from nwavesdk.net.edges import Edge, NetEdges, connection_sparsity, find_edges
from nwavesdk.net.fold import Folded, fold
from nwavesdk.net.preparation import ChipInstance, detach_state, prepare_net, streaming
from nwavesdk.net.quantize import finish_rounding, quantize
from nwavesdk.net.recording import record
from nwavesdk.net.rounded_input import RoundedInput
from nwavesdk.net.sequential import SpikingSequential
from nwavesdk.net.structure import Branches, Feedback, Repeat, Residual

__all__ = [
    "Branches",
    "ChipInstance",
    "Edge",
    "Family",
    "Feedback",
    "Folded",
    "NetEdges",
    "Repeat",
    "Residual",
    "RoundedInput",
    "RoundingChange",
    "SpikingSequential",
    "connection_sparsity",
    "detach_state",
    "family_of",
    "find_edges",
    "finish_rounding",
    "fold",
    "narrow_delays",
    "prepare_net",
    "project",
    "quantize",
    "record",
    "rounding_change",
    "streaming",
    "to_cpu",
    "to_gpu",
]
