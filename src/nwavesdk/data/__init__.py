"""Where recordings come from, and how they become the [B, T, F] of a net."""

from nwavesdk.data.atomic_file import write_atomically
from nwavesdk.data.channels import Channels, generate
from nwavesdk.data.digits import load_digits
from nwavesdk.data.extra import extras, missing, require
from nwavesdk.data.front_end import FrontEnd
from nwavesdk.data.loader_config import NWaveDataloaderConfig
from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.nwave_data import NWaveDataGen
from nwavesdk.data.partition import Partition, by_recording, by_speaker
from nwavesdk.data.recordings import Frames, Indices, Recordings, hash_order
from nwavesdk.data.series import Series, fit_hold, fit_length
from nwavesdk.data.speaker import speakers_of
from nwavesdk.data.split import Split, auto_split, speaker_split, stratified_split
from nwavesdk.data.standard import Standard
from nwavesdk.data.wav import RecordingError, decode
from nwavesdk.data.wav_folder import load_wav_folder

__all__ = [
    "Channels",
    "Frames",
    "FrontEnd",
    "Indices",
    "LogMel",
    "NWaveDataGen",
    "NWaveDataloaderConfig",
    "Partition",
    "RecordingError",
    "Recordings",
    "Series",
    "Split",
    "Standard",
    "auto_split",
    "by_recording",
    "by_speaker",
    "decode",
    "extras",
    "fit_hold",
    "fit_length",
    "generate",
    "hash_order",
    "load_digits",
    "load_wav_folder",
    "missing",
    "require",
    "speaker_split",
    "speakers_of",
    "stratified_split",
    "write_atomically",
]
