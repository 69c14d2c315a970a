"""NWAVE's data generator: recordings through the filters of a chip, as arrays and in batches."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.features import ChipFeatures
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loader_config import NWaveDataloaderConfig
from nwavesdk.data.loading import load_recordings
from nwavesdk.data.recordings import Indices
from nwavesdk.data.split import Split, SplitChoice, choose_split
from nwavesdk.internal.files import printable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

    Batches = DataLoader[tuple[Tensor, ...]]

__all__ = ["Channels", "NWaveDataGen", "generate"]

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
    task = config.task
    faults = Faults(config.folder, config.on_error)
    source = open_source(config.folder, faults, task=task, max_seconds=config.max_seconds)
    if (source.kind, source.task) != ("sound", task):
        raise ValueError(
            f"Data folder {printable(config.folder)} holds {source.kind} for {source.task}, "
            f"expected sound for {task}."
        )
    features = ChipFeatures(config)
    cache = config.cache_folder
    loaded = load_recordings(source, faults, features, cache=cache, progress=config.progress)

    recordings = loaded.recordings
    chosen = choose_split(
        recordings.keys,
        recordings.labels,
        recordings.classes,
        recordings.parts,
        recordings.groups,
        SplitChoice(config.split, config.val, config.test),
    )
    n_recordings = len(recordings)
    n_values = config.bank.count + recordings.n_targets
    config.require_memory(
        f"{n_recordings:,} recordings of {config.T:,} steps and {n_values} values",
        4.0 * n_recordings * config.T * n_values,
    )
    targets: list[Any] = list(recordings.targets)
    return Channels(
        x=np.stack(list(recordings.frames)),
        y=np.stack(targets) if targets else recordings.labels,
        classes=recordings.classes,
        keys=recordings.keys,
        fingerprint=recordings.fingerprint,
        split=chosen.indices,
        split_by=chosen.by,
        speakers=chosen.groups,
        skipped=recordings.skipped,
        cached=n_recordings if loaded.is_cached else 0,
    )


class NWaveDataGen:
    """Recordings through the filter bank of a chip, in batches.

    Every recording is brought to one rate and length, filtered into the channels of the chip,
    rectified and averaged over time steps. The folder is read once, when it is first needed, and
    computed channels are stored on disk.

    Args:
        config: The choices, which can also be given by name, as in
            `NWaveDataGen(data_parent="words", sample_rate=8000)`.

    Raises:
        TypeError: If there is a config and choices by name, or neither, or a choice does not exist.
        ValueError: See `NWaveDataloaderConfig`; on first use, if a folder or file cannot be used.

    Example:
        >>> gen = NWaveDataGen(data_parent="words", recording_duration_s=1.0, sim_time_s=10e-3)
        >>> gen.T
        100
    """

    def __init__(self, config: NWaveDataloaderConfig | None = None, /, **choices: Any) -> None:
        if config is not None and choices:
            raise TypeError(
                "NWaveDataGen takes a config or choices by name, got both: put "
                f"{list(choices)} into the config."
            )
        if config is not None and not isinstance(config, NWaveDataloaderConfig):
            raise TypeError(
                f"NWaveDataGen takes an NWaveDataloaderConfig, got {config!r}: give a folder as "
                "data_parent=."
            )
        self.config = NWaveDataloaderConfig(**choices) if config is None else config

    @cached_property
    def channels(self) -> Channels:
        """All recordings as arrays."""
        return generate(self.config)

    def dataloaders(self) -> "tuple[Batches, Batches, Batches]":
        """Batches of the training, validation and test set.

        Returns:
            Three loaders of `(x, y)`: x is float32 `[B, T, 16]`, 0 in silence and 2/π for a
            full-scale tone. Most sounds are far below: multiply x by a gain, the same for all
            recordings, so that the bounded weights of a front end reach the threshold, as in
            `gain = 1 / x.quantile(0.99)` of the training set. y is the class, int64 `[B]`, or the
            target, float32 `[B, T, C]`. The training set has another order in each epoch; the seed
            decides these orders.
        """
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        x = torch.from_numpy(self.channels.x)
        y = torch.from_numpy(self.channels.y)
        data = self.channels.split.map(lambda indices: TensorDataset(x[indices], y[indices]))
        order = torch.Generator().manual_seed(self.config.seed)
        size = self.config.batch_size
        return (
            DataLoader(data.train, size, shuffle=True, generator=order),
            DataLoader(data.val, size),
            DataLoader(data.test, size),
        )

    @property
    def T(self) -> int:  # noqa: N802
        """Number of time steps of a series."""
        return self.config.T

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class; empty for regression."""
        return self.channels.classes

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Path inside the folder and reason of each file that was left out."""
        return list(self.channels.skipped)

    @property
    def split_by(self) -> str:
        """What decides the split: `"folder"`, `"speaker"` or `"recording"`."""
        return self.channels.split_by

    @property
    def recordings(self) -> dict[str, int]:
        """Number of recordings in each set."""
        return self.channels.split.map(len).as_dict()

    @property
    def speakers(self) -> dict[str, int]:
        """Number of speakers in each set; empty if the split is by recording."""
        names = self.channels.speakers
        if not names:
            return {}
        return self.channels.split.map(lambda indices: len({names[i] for i in indices})).as_dict()
