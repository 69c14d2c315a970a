"""The choices with which recordings become frames; what they leave open is found in the data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal, TypeVar

from nwavesdk.data.features import (
    EventFeatures,
    Features,
    ImageFeatures,
    LogMelFeatures,
    SeriesFeatures,
    fit_bin,
)
from nwavesdk.data.folder import Faults
from nwavesdk.data.log_mel import LogMel
from nwavesdk.data.readers.events import join_shapes
from nwavesdk.data.recordings import STEPS, is_standardized
from nwavesdk.data.source import Kind, Source
from nwavesdk.internal.files import printable

__all__ = ["FeatureOptions"]

# Rate that faster sound is resampled to [Hz]; speech has little above half of it.
DEFAULT_HIGHEST_RATE = 16_000

# About how many images are read to know whether there are colors.
IMAGES_LOOKED_AT = 100

T = TypeVar("T")


@dataclass(frozen=True)
class FeatureOptions:
    """How recordings become frames, if not by a chip; what is None is found in the recordings.

    Args:
        sample_rate: Rate that sound is resampled to [Hz]; None: the lowest one among the
            recordings, at most 16 kHz.
        bands: Mel bands of sound.
        window: Length of a frame of sound [s].
        hop: Distance between frames of sound [s].
        level: `"peak"` scales the loudest sample of each sound to full scale, `"as_is"` does not
            change loudness.
        bin: Length of a bin of events [s]; None: so that nine of ten recordings have at most
            about `bins` bins.
        shape: Size of images, or of the sensor of events.
        bins: Number of bins of a typical recording, if `bin` is None.
        add_standardized: Whether a series has each feature a second time, see `SeriesFeatures`;
            None: unless all recordings have the mean 0 and the deviation 1.
    """

    sample_rate: int | None = None
    bands: int = 32
    window: float = 25e-3
    hop: float = 10e-3
    level: Literal["peak", "as_is"] = "peak"
    bin: float | None = None
    shape: tuple[int, ...] = ()
    bins: int = STEPS
    add_standardized: bool | None = False

    def missing(self, kind: Kind) -> bool:
        """Whether something must be found in recordings of this kind."""
        return {
            "sound": self.sample_rate is None,
            "image": not self.shape,
            "events": not self.shape or self.bin is None,
            "series": self.add_standardized is None,
        }[kind]

    def fit(self, source: Source, faults: Faults) -> "FeatureOptions":
        """The choices, with what is missing found in the recordings.

        Raises:
            ValueError: If there is no usable recording.
        """
        if source.kind == "sound":
            rates = _look_into(source, faults, lambda sound: sound[1])
            return replace(self, sample_rate=min(DEFAULT_HIGHEST_RATE, *rates))
        if source.kind == "series":
            are_standardized = all(_look_into(source, faults, is_standardized))
            return replace(self, add_standardized=not are_standardized)
        if source.kind == "image":
            # If an image has colors, gray ones get them, too. Few images show what there is.
            every = ceil(len(source.items) / IMAGES_LOOKED_AT)
            some = replace(source, items=source.items[::every])
            shapes = list(_look_into(some, faults, lambda image: tuple(image.shape)))
            return replace(self, shape=max(shapes, key=len))
        found = list(_look_into(source, faults, lambda events: (events.shape, events.duration)))
        return replace(
            self,
            shape=join_shapes(shape for shape, _ in found),
            bin=self.bin or fit_bin([duration for _, duration in found], self.bins),
        )

    def features(self, kind: Kind) -> Features:
        """How recordings of a kind become frames; nothing may be missing."""
        if kind == "sound":
            assert self.sample_rate is not None
            log_mel = LogMel(self.sample_rate, self.bands, self.window, self.hop)
            return LogMelFeatures(log_mel, self.level)
        if kind == "image":
            return ImageFeatures(self.shape)
        if kind == "events":
            assert self.bin is not None
            return EventFeatures(self.shape, self.bin)
        assert self.add_standardized is not None
        return SeriesFeatures(self.add_standardized)


def _look_into(source: Source, faults: Faults, look: Callable[[Any], T]) -> Iterator[T]:
    """What is found in each recording that can be read."""
    found = faults.collect(source.items, lambda item: look(source.read(item).values))
    is_empty = True
    for _, value in found:
        is_empty = False
        yield value
    if is_empty:
        raise ValueError(f"{printable(faults.root)} has no usable recording.")
