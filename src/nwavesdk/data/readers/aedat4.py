"""Recordings of event cameras by iniVation's software (DV), version 4 of AEDAT."""

from pathlib import Path

from nwavesdk.data.readers.events import gather_events
from nwavesdk.data.readers.isolation import shared_decoder
from nwavesdk.data.source import Sample
from nwavesdk.internal.imports import require

__all__ = ["read_aedat4"]


def read_aedat4(path: Path) -> Sample:
    """Events of the camera.

    The first event is at 0 s, because the clock of the camera counts from 1970. Frames and other
    streams are left out.

    Args:
        path: The file.

    Returns:
        Events of the shape (2, height, width): polarity, y and x.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file is damaged, has no or several streams of events, or fails a
            check of `events`.
        ModuleNotFoundError: If the extra `events` is not installed.
    """
    require("aedat", "events")
    columns = shared_decoder().ask(path, "aedat4")
    height, width = columns.pop("sensor").tolist()
    return gather_events(path, columns, (height, width))
