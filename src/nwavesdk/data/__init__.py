"""Where recordings come from, and how they become the `[B, T, F]` of a net.

Batches and their input are imported on first use: everything else is imported without torch.
"""

from typing import TYPE_CHECKING

from nwavesdk.data.augment import Augmentation, default_augmentation
from nwavesdk.data.chip_front_end import FrontEnd, NWaveDataloaderConfig
from nwavesdk.data.front_end import LogMel
from nwavesdk.data.nwave_data import (
    NWaveDataGen,
    load_digits,
    load_wav_folder,
)
from nwavesdk.data.recordings import (
    Frames,
    Indices,
    Recordings,
    Standard,
    fit_hold,
    fit_length,
)
from nwavesdk.data.source import Events, Item, RecordingError, Sample, Source
from nwavesdk.data.speakers import speakers_of
from nwavesdk.data.split import ChosenSplit, Split, SplitChoice, choose_split
from nwavesdk.internal.imports import import_on_use

__all__ = [
    "Augmentation",
    "Batch",
    "ChosenSplit",
    "Events",
    "Frames",
    "FrontEnd",
    "Indices",
    "Item",
    "LogMel",
    "NWaveDataGen",
    "NWaveDataloaderConfig",
    "NetInput",
    "RecordingError",
    "Recordings",
    "Sample",
    "Series",
    "Source",
    "Split",
    "SplitChoice",
    "Standard",
    "choose_split",
    "default_augmentation",
    "fit_hold",
    "fit_length",
    "load_digits",
    "load_wav_folder",
    "speakers_of",
]

if TYPE_CHECKING:
    from nwavesdk.data.batches import Batch, NetInput, Series
else:
    __getattr__, __dir__ = import_on_use(
        __name__, {"nwavesdk.data.batches": ["Batch", "NetInput", "Series"]}
    )
