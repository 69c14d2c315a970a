"""A data folder as arrays: all recordings through the filter bank of a chip, and their split."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nwavesdk.data.features import ChipFeatures
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loader_config import NWaveDataloaderConfig
from nwavesdk.data.loading import Loaded, load_recordings
from nwavesdk.data.recordings import Indices, Recordings
from nwavesdk.data.split import ChosenSplit, Split, SplitChoice, choose_split
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import printable

__all__ = ["Channels", "check_filter_memory", "generate", "load_channels"]

Array = npt.NDArray[np.float32]


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
        split_by: What the split keeps together.
        speakers: Who speaks in each recording if the split is by speaker, otherwise empty.
        skipped: Path inside the folder and reason of each file that was left out.
        cached: Number of recordings whose channels came from the cache: all, or none.

    Example:
        >>> split = Split(np.array([0, 3]), np.array([1, 4]), np.array([2, 5]))
        >>> x, y = np.zeros((6, 100, 16), np.float32), np.array([0, 0, 0, 1, 1, 1])
        >>> keys = ("no/1.wav", "no/2.wav", "no/3.wav", "yes/1.wav", "yes/2.wav", "yes/3.wav")
        >>> channels = Channels(x, y, ("no", "yes"), keys, "made up", split, "recording", (), (), 0)
        >>> channels.x[channels.split.test].shape, channels.y[channels.split.test]
        ((2, 100, 16), array([0, 1]))
    """

    x: Array
    y: Indices | Array
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    fingerprint: str
    split: Split[Indices]
    split_by: str
    speakers: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    cached: int


def generate(config: NWaveDataloaderConfig) -> Channels:
    """Read a data folder; channels that the cache has are not computed.

    Args:
        config: The choices.

    Raises:
        ValueError: If the folder cannot be used, its recordings cannot be split as wanted, or the
            memory cannot hold them.
        RecordingError: If a file cannot be used, and `on_error` is `"raise"`; the text names it.
        ModuleNotFoundError: If the extra `train` is missing.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import soundfile
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (6, 800))
        >>> with TemporaryDirectory() as folder:
        ...     for name, sound in zip(("no/1", "no/2", "no/3", "yes/1", "yes/2", "yes/3"), noise):
        ...         Path(folder, name).parent.mkdir(exist_ok=True)
        ...         soundfile.write(Path(folder, f"{name}.wav"), sound, 8000)
        ...     config = NWaveDataloaderConfig(
        ...         folder, sample_rate=8000, recording_duration_s=0.1, sim_time_s=1e-3, cache=False
        ...     )
        ...     channels = generate(config)
        >>> channels.x.shape, channels.classes, channels.split.map(len)
        ((6, 100, 16), ('no', 'yes'), Split(train=2, val=2, test=2))
    """
    loaded = load_channels(config)
    recordings = loaded.recordings
    chosen = _split(config, recordings)
    columns = config.bank.count + recordings.n_targets
    what = f"{len(recordings):,} recordings of {config.T:,} steps and {columns} values"
    _require(config, what, 4.0 * len(recordings) * config.T * columns)
    return Channels(
        x=np.stack(list(recordings.frames)),
        y=_targets_of(recordings),
        classes=recordings.classes,
        keys=recordings.keys,
        fingerprint=recordings.fingerprint,
        split=chosen.indices,
        split_by=chosen.by,
        speakers=chosen.groups,
        skipped=recordings.skipped,
        cached=len(recordings) if loaded.is_cached else 0,
    )


def load_channels(config: NWaveDataloaderConfig) -> Loaded:
    """The channels of all recordings, in a file of the cache if there is one.

    Raises:
        ValueError: See `generate`.
        RecordingError: See `generate`.
    """
    faults = Faults(config.folder, config.on_error)
    task = config.task
    source = open_source(config.folder, faults, task=task, max_seconds=config.max_seconds)
    if (source.kind, source.task) != ("sound", task):
        raise ValueError(
            f"Data folder {printable(config.folder)} holds {source.kind} for {source.task}, "
            f"expected sound for {task}."
        )
    check_filter_memory(config)
    return load_recordings(
        source,
        faults,
        ChipFeatures(config),
        cache=config.cache_folder,
        progress=config.progress,
    )


def _targets_of(recordings: Recordings) -> Indices | Array:
    if not recordings.n_targets:
        return recordings.labels
    return np.stack([target.astype(np.float32) for target in recordings.targets])


def _split(config: NWaveDataloaderConfig, recordings: Recordings) -> ChosenSplit:
    return choose_split(
        recordings.keys,
        recordings.labels,
        recordings.classes,
        recordings.parts,
        recordings.groups,
        SplitChoice(config.split, config.val, config.test),
    )


def check_filter_memory(config: NWaveDataloaderConfig) -> None:
    """Reject recordings whose filtered samples the memory cannot hold.

    Raises:
        ValueError: If it cannot.
    """
    count = config.bank.count
    samples = config.recording_duration_s * config.sample_rate
    # The filtered samples of one recording as float32 and, rectified, as float64.
    _require(config, f"{count} channels of {samples:,.0f} samples", 12.0 * samples * count)


def _require(config: NWaveDataloaderConfig, what: str, n_bytes: float) -> None:
    remedy = "use fewer or shorter recordings, longer time steps, or a lower sample rate"
    require_memory(printable(config.folder), what, n_bytes, remedy)
