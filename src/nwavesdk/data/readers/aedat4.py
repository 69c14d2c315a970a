"""Recordings of event cameras by iniVation's software (DV), version 4 of AEDAT."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from nwavesdk.data.readers.events import MOST_EVENTS, read_structured_npy
from nwavesdk.data.readers.isolation import shared_decoder
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Sample
from nwavesdk.internal.imports import require

__all__ = ["AEDAT4_SUFFIXES", "read_aedat4"]

AEDAT4_SUFFIXES = frozenset({".aedat4"})

MAGIC = b"#!AER-DAT4.0\r\n"


def read_aedat4(path: Path, data: bytes) -> Sample:
    """Events of the camera.

    The first event is at 0 s, because the clock of the camera counts from 1970. Frames and other
    streams are left out.

    Args:
        path: Name of the file, for errors.
        data: Its content.

    Returns:
        Events of the shape (2, height, width): polarity, y and x.

    Raises:
        RecordingError: If the content is damaged, has no or several streams of events, or fails a
            check of `events`.
        ModuleNotFoundError: If the extra `events` is not installed.
    """
    if not data.startswith(MAGIC):
        what = (
            f"begins {data[:14]!r}, expected AEDAT4 ({MAGIC!r})" if data else "is empty (0 bytes)"
        )
        raise RecordingError(path, what, "convert it with DV, or remove it")
    require("aedat", "events")
    decoder = shared_decoder()
    with TemporaryDirectory(prefix="nwavesdk-") as folder:
        copy = Path(folder, "recording.aedat4")
        copy.write_bytes(data)
        try:
            sensor = json.loads(decoder.ask(copy, "sensor"))
            events = decoder.ask(copy, "aedat4", most=MOST_EVENTS)
        except RecordingError as fault:
            raise RecordingError(path, fault.what, fault.remedy) from None
    return read_structured_npy(path, events, (sensor["height"], sensor["width"]))
