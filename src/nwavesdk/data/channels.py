"""A data folder as arrays: all recordings through the filter bank of a chip, and their split."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nwavesdk.data.channel_cache import CachedChannels, ChannelCache
from nwavesdk.data.decoding import (
    RecordingError,
    Samples,
    Sound,
    check_seconds,
    check_sound,
    decode,
    fit_target,
    normalize_peak,
    read_recording,
    read_target,
    resample,
)
from nwavesdk.data.folder import Faults, RecordingFile, list_classes, list_targets
from nwavesdk.data.loader_config import NWaveDataloaderConfig
from nwavesdk.data.recordings import Indices
from nwavesdk.data.split import Split, split_indices
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import FileError, printable

__all__ = ["Channels", "FrontEnd", "FrontEndStream", "generate"]

Array = npt.NDArray[np.float32]

# Part of the names of cache entries: raise it when the same settings give other channels.
VERSION = 1


@dataclass(frozen=True, eq=False)
class Channels:
    """The recordings of a folder after the filter bank of a chip.

    Args:
        x: Rectified channels, `[B, T, channels]`, full scale 1.
        y: Class index of each recording, int64 `[B]`; or its target, float32 `[B, T, C]`.
        classes: Name of each class; empty for regression.
        keys: Path of each recording inside the folder.
        fingerprint: Hash of the files' content and of everything that decides x and y.
        split: Indices of the training, validation and test set.
        speakers: Who speaks in each recording if the split is by speaker, otherwise empty.
        skipped: Path inside the folder and reason of each file that was left out.
        cached: Number of recordings that came from the cache.
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

    @property
    def split_by(self) -> Literal["speaker", "recording"]:
        """What the split keeps together."""
        return "speaker" if self.speakers else "recording"


def generate(config: NWaveDataloaderConfig) -> Channels:
    """Read a data folder; channels that the cache has are not computed.

    Args:
        config: The choices.

    Raises:
        ValueError: If the folder cannot be used, its recordings cannot be split as wanted, or the
            memory cannot hold them.
        RecordingError: If a file cannot be used, and `on_error` is `"raise"`; the text names it.
        ModuleNotFoundError: If the extra `train` is missing.
    """
    faults = Faults(config.folder, config.on_error)
    classes, files = (
        list_classes(config.folder, faults)
        if config.task == "classification"
        else ((), list_targets(config.folder, faults))
    )
    reader = _Reader(config, len(files))
    _check_memory(config, len(files))
    x = np.zeros((len(files), *reader.cache.shape), np.float32)
    # Of each recording: its file, the hash of its content, and its target.
    read: list[tuple[RecordingFile, bytes, Array | None]] = []
    with _progress_bar(len(files), config.progress) as advance:
        for file in files:
            try:
                x[len(read)], digest, target = reader.read(file)
                read.append((file, digest, target))
            except FileError as fault:
                faults.report(file.path, fault)
            advance(reader.hits, len(faults.skipped))
    reader.cache.warn_of_damage()

    content = sha256(reader.cache.settings.encode())
    for file, digest, _ in read:
        content.update(f"{file.key}\0".encode() + digest)
    keys = tuple(file.key for file, _, _ in read)
    labels = np.array([file.label for file, _, _ in read], np.int64)
    targets = [target for _, _, target in read if target is not None]
    # Regression is split like a single class.
    names = classes or ("wavs",)
    split, speakers = split_indices(keys, labels, names, config.split, config.val, config.test)
    return Channels(
        x=x[: len(read)],
        y=np.stack(targets) if targets else labels,
        classes=classes,
        keys=keys,
        fingerprint=content.hexdigest(),
        split=split,
        speakers=speakers,
        skipped=tuple(faults.skipped),
        cached=reader.hits,
    )


class _Reader:
    """Reads recordings one by one, from the cache if it has them."""

    def __init__(self, config: NWaveDataloaderConfig, n_files: int) -> None:
        self.config = config
        self.n_files = n_files
        self.front_end = FrontEnd(config)
        # Everything except the recording that decides the channels; it names cache entries.
        settings = [VERSION, config.T, config.sim_time_s, config.level, asdict(config.bank)]
        shape = (config.T, config.bank.count)
        self.cache = ChannelCache(config.cache_folder, json.dumps(settings), shape)
        self.hits = 0
        self.width: int | None = None

    def read(self, file: RecordingFile) -> tuple[Array, bytes, Array | None]:
        """The channels of a recording, the hash of its content, and its target."""
        longest = self.config.max_seconds
        data = read_recording(file.path, longest)
        # Also for a recording in the cache, which may have got there with other limits.
        check_sound(file.path, data)
        digest = sha256(data).digest()
        channels = self.cache.read(digest)
        is_hit = channels is not None
        if channels is None:
            channels = self._compute(file.path, data)
            self.cache.write(digest, channels)
        check_seconds(file.path, channels.seconds, longest)
        target = None
        if file.target is not None:
            content = read_recording(file.target, longest)
            digest += sha256(content).digest()
            target = self._target(file.target, content, channels.seconds)
        self.hits += is_hit
        return channels.x, digest, target

    def _compute(self, path: Path, data: bytes) -> CachedChannels:
        sound = decode(path, data, self.config.max_seconds)
        with np.errstate(over="ignore", invalid="ignore"):
            x = self.front_end(self.front_end.prepare(sound))
        if not np.isfinite(x).all():
            raise RecordingError(path, "has samples that are too large to be filtered")
        samples, rate = sound
        return CachedChannels(x, len(samples) / rate)

    def _target(self, path: Path, content: bytes, seconds: float) -> Array:
        target = read_target(path, content)
        columns = target.shape[1]
        if self.width is None:
            self.width = columns
            what = f"targets of {self.n_files:,} recordings, with {columns:,} columns,"
            _require(self.config, what, 4.0 * self.n_files * self.config.T * columns)
        if columns != self.width:
            raise RecordingError(
                path, f"has {columns} columns, expected {self.width} like the ones before"
            )
        return fit_target(path, target, self.config.steps(seconds), self.config.T)


def _check_memory(config: NWaveDataloaderConfig, n_files: int) -> None:
    """Reject channels that the memory cannot hold, and recordings that it cannot filter."""
    count = config.bank.count
    all_channels = 4.0 * n_files * config.T * count
    what = f"{n_files:,} recordings of {config.T:,} steps and {count} channels"
    _require(config, what, all_channels)
    # The filtered samples of one recording as float32 and, rectified, as float64.
    samples = config.recording_duration_s * config.sample_rate
    what = f"{count} channels of {samples:,.0f} samples"
    _require(config, what, all_channels + 12.0 * samples * count)


def _require(config: NWaveDataloaderConfig, what: str, n_bytes: float) -> None:
    remedy = "use fewer or shorter recordings, longer time steps, or a lower sample rate"
    require_memory(printable(config.folder), what, n_bytes, remedy)


@dataclass(frozen=True)
class FrontEnd:
    """The front end of a chip: a sound through the filter bank, rectified, averaged over steps.

    Args:
        config: The choices.

    Example:
        >>> front_end = FrontEnd(NWaveDataloaderConfig("words", sample_rate=8000, sim_time_s=10e-3))
        >>> front_end(front_end.prepare((np.zeros(5000, np.float32), 8000))).shape
        (100, 16)
    """

    config: NWaveDataloaderConfig

    def prepare(self, sound: Sound) -> Samples:
        """A sound at the config's rate and level, cut or padded with silence to whole time steps.

        Returns:
            `[samples]`.
        """
        length = int(self.config.edges[-1])
        samples = resample(sound, self.config.sample_rate)[:length]
        if self.config.level == "peak":
            samples = normalize_peak(samples)
        return np.pad(samples, (0, length - len(samples)))

    def __call__(self, samples: Samples) -> Samples:
        """The mean of each rectified channel over each time step.

        Args:
            samples: From `prepare`.

        Returns:
            `[T, channels]`, never negative.
        """
        return FrontEndStream(self.config).push(samples)

    def stream(self) -> "FrontEndStream":
        """The front end for a sound that comes in blocks, from filters at rest.

        Raises:
            ValueError: If the config's level is `"peak"`.
        """
        if self.config.level == "peak":
            raise ValueError(
                "FrontEnd: level='peak' scales a sound by its loudest sample, which is known only "
                "at its end, got 'peak', expected 'as_is' for sound in blocks: use level='as_is'."
            )
        return FrontEndStream(self.config)


class FrontEndStream:
    """The steps of a sound that comes in blocks: together those of the whole, bit for bit.

    The sound has the config's rate. Its steps do not end with the config's duration.

    Args:
        config: The choices.

    Example:
        >>> front_end = FrontEnd(NWaveDataloaderConfig("words", sample_rate=8000, sim_time_s=10e-3))
        >>> stream = front_end.stream()
        >>> [len(stream.push(np.zeros(n, np.float32))) for n in (79, 1, 0, 200)]
        [0, 1, 0, 2]
    """

    def __init__(self, config: NWaveDataloaderConfig) -> None:
        self._config = config
        self._filters = config.bank.stream()
        # Rectified samples that are not averaged yet, and the step and sample where they begin.
        self._waiting = np.zeros((config.bank.count, 0))
        self._step = 0
        self._sample = 0

    def push(self, block: npt.ArrayLike) -> Array:
        """The steps that the next block completes.

        Args:
            block: `[samples]`, of any length.

        Returns:
            `[steps, channels]`, never negative.

        Raises:
            ValueError: If the block is not mono.
        """
        rectified = np.abs(self._filters.push(block).astype(np.float64))
        if self._waiting.shape[1]:
            rectified = np.concatenate([self._waiting, rectified], axis=1)
        edges = self._complete_edges(rectified.shape[1])
        # Each step is summed in one call, so that the order of its sum is that of the whole sound.
        sums = np.add.reduceat(rectified[:, : edges[-1]], edges[:-1], axis=1)
        self._waiting = rectified[:, edges[-1] :].copy()
        self._step += len(edges) - 1
        self._sample += edges[-1]
        return (sums / np.diff(edges)).T.astype(np.float32)

    def _complete_edges(self, n_waiting: int) -> npt.NDArray[np.int64]:
        """Where the complete steps begin and the last one ends, in the samples that wait."""
        most = int(n_waiting / (self._config.sim_time_s * self._config.sample_rate)) + 2
        edges = self._config.first_samples(self._step + np.arange(most + 1)) - self._sample
        return edges[edges <= n_waiting]


@contextmanager
def _progress_bar(total: int, show: bool | None) -> Iterator[Callable[[int, int], None]]:
    """A bar over recordings, with the numbers of cached and of skipped ones.

    Args:
        total: Number of recordings.
        show: Whether to show it; None: if standard error is a terminal.

    Yields:
        A function that advances the bar by one recording, and takes both numbers.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda *_: None
        return
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("recordings"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[cached]} cached, {task.fields[skipped]} skipped"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("recordings", total=total, cached=0, skipped=0)
        yield lambda cached, skipped: bar.update(task, advance=1, cached=cached, skipped=skipped)
