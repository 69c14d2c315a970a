"""Nets as wholes: containers of modules, the walk over all weights, conversion."""

from nwavesdk.net.conversion import Family, family_of, project, to_cpu, to_gpu
from nwavesdk.net.delays import RoundingChange, narrow_delays, rounding_change
from nwavesdk.net.edges import Edge, NetEdges, connection_sparsity, find_edges
from nwavesdk.net.sequential import SpikingSequential

__all__ = [
    "Edge",
    "Family",
    "NetEdges",
    "RoundingChange",
    "SpikingSequential",
    "connection_sparsity",
    "family_of",
    "find_edges",
    "narrow_delays",
    "project",
    "rounding_change",
    "to_cpu",
    "to_gpu",
]
