"""Torch modules of spiking nets: synapses, neuron layers, `prepare_net`.

NWAVE documents some functions and classes for whole nets here. They come from `nwavesdk.net` on
first use.
"""

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
from nwavesdk.layers.delays import DelayedSynapse
from nwavesdk.layers.dropout import Dropout
from nwavesdk.layers.equation import neuron
from nwavesdk.layers.lengths import valid_steps
from nwavesdk.layers.lif import LIFLayer, LIFSynapse
from nwavesdk.layers.masks import keep_blocks, keep_n_of_m
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.norms import ThresholdBatchNorm, TimeBatchNorm
from nwavesdk.layers.prepare import Prepared
from nwavesdk.layers.record import Record, Recording
from nwavesdk.layers.step_norms import StepBatchNorm, TemporalEffectiveBatchNorm
from nwavesdk.layers.stored_delays import DelayOptions
from nwavesdk.layers.synapse import DenseSynapse, Synapse
from nwavesdk.layers.temporal_conv import TemporalConv
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
    "DelayOptions",
    "DelayedSynapse",
    "DenseSynapse",
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
    "StepBatchNorm",
    "Synapse",
    "TemporalConv",
    "TemporalEffectiveBatchNorm",
    "ThresholdBatchNorm",
    "TimeBatchNorm",
    "TimeConstant",
    "decay",
    "detach_state",
    "family_of",
    "find_edges",
    "held",
    "keep_blocks",
    "keep_n_of_m",
    "neuron",
    "prepare_net",
    "project",
    "spike",
    "to_cpu",
    "to_gpu",
    "valid_steps",
]

if TYPE_CHECKING:
    from nwavesdk.net import (
        ChipInstance,
        Edge,
        Family,
        NetEdges,
        SpikingSequential,
        detach_state,
        family_of,
        find_edges,
        prepare_net,
        project,
        to_cpu,
        to_gpu,
    )
else:
    __getattr__, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.net": [
                "ChipInstance",
                "Edge",
                "Family",
                "NetEdges",
                "SpikingSequential",
                "detach_state",
                "family_of",
                "find_edges",
                "prepare_net",
                "project",
                "to_cpu",
                "to_gpu",
            ]
        },
    )
