"""Where recordings come from, and how they become the [B, T, F] of a net."""

from nwavesdk.data.atomic_file import write_atomically
from nwavesdk.data.digits import load_digits
from nwavesdk.data.extra import extras, missing, require
from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.series import Series, fit_hold, fit_length
from nwavesdk.data.split import Split, stratified_split
from nwavesdk.data.standard import Standard
from nwavesdk.data.wav_folder import load_wav_folder

__all__ = [
    "LogMel",
    "Recordings",
    "Series",
    "Split",
    "Standard",
    "extras",
    "fit_hold",
    "fit_length",
    "load_digits",
    "load_wav_folder",
    "missing",
    "require",
    "stratified_split",
    "write_atomically",
]
