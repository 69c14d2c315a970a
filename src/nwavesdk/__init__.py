"""Spiking neural networks with surrogate gradients, on computers and on Neuronova's H1 chips.

`import nwavesdk` loads neither torch nor any extra: each name is imported on first use.

Example:
    >>> import nwavesdk as nw
    >>> synapse = nw.LIFSynapse(16, 64)
    >>> layer = nw.LIFLayer(64, taus=20e-3, spike_grad=nw.surrogate.atan(alpha=2.0))
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use
from nwavesdk.internal.version import __version__

__all__ = [
    "ALIFLayer",
    "AdExLayer",
    "AdLIFLayer",
    "AlphaLayer",
    "BalancedResonateAndFireLayer",
    "ChipInstance",
    "CubaLIFLayer",
    "DelayedSynapse",
    "Dropout",
    "EIFLayer",
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
    "NWaveDataGen",
    "NWaveDataloaderConfig",
    "QIFLayer",
    "RefractoryLIFLayer",
    "ResonateAndFireLayer",
    "SEAdLIFLayer",
    "SiLIFLayer",
    "SpikingSequential",
    "StepBatchNorm",
    "TemporalConv",
    "TemporalEffectiveBatchNorm",
    "ThresholdBatchNorm",
    "TimeBatchNorm",
    "__version__",
    "balanced_population_mse",
    "detach_state",
    "firing_rate_target_mse_loss",
    "prepare_net",
    "to_cpu",
    "to_gpu",
    "topology_loss",
    "weight_magnitude_loss",
]

if TYPE_CHECKING:
    from nwavesdk import analysis as analysis
    from nwavesdk import chip as chip
    from nwavesdk import data as data
    from nwavesdk import deploy as deploy
    from nwavesdk import encoding as encoding
    from nwavesdk import init as init
    from nwavesdk import interop as interop
    from nwavesdk import layers as layers
    from nwavesdk import loss as loss
    from nwavesdk import metrics as metrics
    from nwavesdk import optim as optim
    from nwavesdk import plot as plot
    from nwavesdk import presets as presets
    from nwavesdk import surrogate as surrogate
    from nwavesdk import train as train
    from nwavesdk.data import NWaveDataGen, NWaveDataloaderConfig
    from nwavesdk.layers import (
        AdExLayer,
        AdLIFLayer,
        ALIFLayer,
        AlphaLayer,
        BalancedResonateAndFireLayer,
        ChipInstance,
        CubaLIFLayer,
        DelayedSynapse,
        Dropout,
        EIFLayer,
        Frontend,
        H1v1Frontend,
        H1v1Layer,
        H1v1Synapse,
        H1v2Frontend,
        H1v2Layer,
        H1v2Synapse,
        HWLayer,
        HWSynapse,
        IFLayer,
        IzhikevichLayer,
        KLIFLayer,
        LIFLayer,
        LIFSynapse,
        LILayer,
        QIFLayer,
        RefractoryLIFLayer,
        ResonateAndFireLayer,
        SEAdLIFLayer,
        SiLIFLayer,
        SpikingSequential,
        StepBatchNorm,
        TemporalConv,
        TemporalEffectiveBatchNorm,
        ThresholdBatchNorm,
        TimeBatchNorm,
        detach_state,
        prepare_net,
        to_cpu,
        to_gpu,
    )
    from nwavesdk.loss import (
        balanced_population_mse,
        firing_rate_target_mse_loss,
        topology_loss,
        weight_magnitude_loss,
    )
else:
    _DATA = ["NWaveDataGen", "NWaveDataloaderConfig"]
    _LOSSES = [name for name in __all__ if name.endswith(("_loss", "_mse"))]
    __getattr__, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.data": _DATA,
            "nwavesdk.loss": _LOSSES,
            "nwavesdk.layers": [name for name in __all__ if name not in (*_DATA, *_LOSSES)],
        },
        modules=[
            "analysis",
            "chip",
            "data",
            "deploy",
            "encoding",
            "init",
            "interop",
            "layers",
            "loss",
            "metrics",
            "optim",
            "plot",
            "presets",
            "surrogate",
            "train",
        ],
    )
