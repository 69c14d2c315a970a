"""A data folder as arrays: every recording through the filter bank of a chip, with labels or targets and its parts.

The front end of a chip, computed: sound of one length through the bank, rectified, averaged over time steps.
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nwavesdk.chip import FilterBank
from nwavesdk.data.channel_cache import ChannelCache, Heard, build_bar
from nwavesdk.data.folder import Faults, Listed, list_classes, list_targets
from nwavesdk.data.loader_config import NWaveDataloaderConfig
from nwavesdk.data.recordings import Indices
from nwavesdk.data.split import Split, split_indices
from nwavesdk.data.target import aligned, read_target
from nwavesdk.data.wav import (
    RecordingError,
    Samples,
    Sound,
    at_rate,
    check_size,
    decode,
    levelled,
    read_bytes,
)

__all__ = ["Channels", "FrontEnd", "generate"]

Array = npt.NDArray[np.float32]
VERSION = 1
"""Rises when the same settings give other channels."""


@dataclass(frozen=True, eq=False)
class Channels:
    """What a chip hears of the recordings of a folder.

    Args:
        x: Rectified channels, `[B, T, channels]`, full scale 1.
        y: Class index of each recording, int64 `[B]`; or its target, float32 `[B, T, C]`.
        classes: Name of each class; empty for regression.
        keys: Path of each recording inside the folder.
        fingerprint: Hash of the files' content and of everything that decides x and y.
        split: Indices of the training, validation and test set.
        speakers: Who speaks in each recording if the split is by speaker, otherwise empty.
        skipped: Path inside the folder and reason of each file that was left out.
        cached: How many recordings came from the cache.
    """

    x: Array
    y: Indices | Array
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    fingerprint: str
    split: Split[Indices]
    speakers: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    cached: int

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def split_by(self) -> Literal["speaker", "recording"]:
        """What the split keeps together."""
        return "speaker" if self.speakers else "recording"


def generate(config: NWaveDataloaderConfig) -> Channels:
    """Read a data folder, or what is kept of it.

    Args:
        config: The choices.

    Raises:
        ValueError: The folder cannot be used, or its recordings not be parted as wanted.
        RecordingError: A file cannot be used, and `on_error` is `"raise"`; the text names it.
        ModuleNotFoundError: The extra `train` is missing.
    """
    faults = Faults(config.folder, config.on_error)
    classes: tuple[str, ...] = ()
    if config.task == "classification":
        classes, listed = list_classes(config.folder, faults)
    else:
        listed = list_targets(config.folder, faults)
    reader = _Reader(config)
    x = np.zeros((len(listed), *reader.cache.shape), np.float32)
    kept: list[tuple[Listed, bytes, Array | None]] = []
    with build_bar(len(listed), config.progress) as advance:
        for recording in listed:
            try:
                x[len(kept)], digest, target = reader.read(recording)
                kept.append((recording, digest, target))
            except RecordingError as fault:
                faults.report(recording.path, fault)
            advance(cached=reader.hits, skipped=len(faults.skipped))
    reader.cache.tell_damage()

    keys = tuple(recording.key for recording, _, _ in kept)
    labels = np.array([recording.label for recording, _, _ in kept], np.int64)
    content = sha256(reader.cache.settings.encode())
    for key, (_, digest, _) in zip(keys, kept, strict=True):
        content.update(f"{key}\0".encode() + digest)
    targets = [target for _, _, target in kept if target is not None]
    split, speakers = split_indices(
        keys, labels, classes or ("wavs",), config.split, config.val, config.test
    )
    return Channels(
        x=x[: len(kept)], y=np.stack(targets) if targets else labels, classes=classes, keys=keys,
        fingerprint=content.hexdigest(), split=split, speakers=speakers,
        skipped=tuple(faults.skipped), cached=reader.hits,
    )  # fmt: skip


class _Reader:
    """Reads one recording after the other, from the cache where it is there."""

    def __init__(self, config: NWaveDataloaderConfig) -> None:
        self.config = config
        self.front_end = FrontEnd(config)
        self.cache = ChannelCache(
            config.cache_folder, _settings(config), (config.T, config.bank.count)
        )
        self.hits = 0
        self.width: int | None = None

    def read(self, recording: Listed) -> tuple[Array, bytes, Array | None]:
        """Its channels, the hash of its content, and its target."""
        data = read_bytes(recording.path, self.config.longest)
        digest = sha256(data).digest()
        heard = self.cache.read(digest)
        hit = heard is not None
        if heard is None:
            heard = self._hear(recording.path, data)
            self.cache.write(digest, heard)
        target = None
        if recording.target is not None:
            content = read_bytes(recording.target, self.config.longest)
            digest += sha256(content).digest()
            target = self._target(recording.target, content, heard.seconds)
        self.hits += hit
        return heard.x, digest, target

    def _hear(self, path: Path, data: bytes) -> Heard:
        check_size(path, data, self.config.longest)
        sound = decode(path, data)
        with np.errstate(over="ignore", invalid="ignore"):
            x = self.front_end(self.front_end.fitted(sound))
        if not np.isfinite(x).all():
            raise RecordingError(path, "holds samples too large to be filtered")
        return Heard(x, len(sound[0]) / sound[1])

    def _target(self, path: Path, content: bytes, seconds: float) -> Array:
        target = read_target(path, content)
        self.width = self.width or target.shape[1]
        if target.shape[1] != self.width:
            raise RecordingError(
                path, f"has {target.shape[1]} columns, expected {self.width} as the ones before"
            )
        return aligned(path, target, self.config.steps(seconds), self.config.T)


def _settings(config: NWaveDataloaderConfig) -> str:
    """All that decides the channels beside the recording itself."""
    return json.dumps([VERSION, config.T, config.sim_time_s, config.level, asdict(config.bank)])


@dataclass(frozen=True)
class FrontEnd:
    """Sound to series, as a config wants it.

    Args:
        config: The choices.

    Example:
        >>> front_end = FrontEnd(NWaveDataloaderConfig("words", sample_rate=8000, sim_time_s=10e-3))
        >>> front_end(front_end.fitted((np.zeros(5000, np.float32), 8000))).shape
        (100, 16)
    """

    config: NWaveDataloaderConfig

    @cached_property
    def bank(self) -> FilterBank:
        """The filters of the chip."""
        return self.config.bank

    @cached_property
    def edges(self) -> npt.NDArray[np.int64]:
        """The samples between which time steps lie, `[T + 1]`."""
        return self.config.edges

    def fitted(self, sound: Sound) -> Samples:
        """A sound at the config's rate and level, cut or padded with silence to the whole time steps, `[samples]`."""
        length = int(self.edges[-1])
        samples = at_rate(sound, self.config.sample_rate)[:length]
        if self.config.level == "peak":
            samples = levelled(samples)
        return np.pad(samples, (0, length - len(samples)))

    def __call__(self, samples: Samples) -> Samples:
        """The mean of each rectified channel over each time step.

        Args:
            samples: From `fitted`.

        Returns:
            `[T, channels]`, never negative.
        """
        rectified = np.abs(self.bank(samples).astype(np.float64))
        sums = np.add.reduceat(rectified, self.edges[:-1], axis=1)
        return (sums / np.diff(self.edges)).T.astype(np.float32)
