"""Labeled electrocardiograms: the two files of the QT database as spikes, a label for each step.

References:
    B. Yin, F. Corradi, S. M. Bohte, "Accurate and efficient time-domain classification with
    adaptive spiking recurrent neural networks", Nature Machine Intelligence 3, 905-913 (2021),
    doi:10.1038/s42256-021-00397-w. The files are in its public code.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nwavesdk.data.readers.mat import Array, read_mat
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Item, Part, Sample, Source

__all__ = ["CLASSES", "open_qtdb"]

FILES: dict[Part, str] = {"train": "QTDB_train.mat", "test": "QTDB_test.mat"}

# The wave, the complex or the interval between them, in the order of the columns of `y`: that of a
# heartbeat, too.
CLASSES = ("P", "PQ", "QR", "RS", "ST", "TP")

CHECK = "check that it is the right file"

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Recordings:
    """The values `[recordings, steps, channels]` of each part, and its labels."""

    values: dict[Part, Array]
    labels: dict[Part, Labels]

    def read(self, item: Item) -> Sample:
        assert item.part is not None
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(self.values[item.part][item.index], np.float32)
        if not np.isfinite(values).all():
            what = f"has values that are not finite in recording {item.index}"
            raise RecordingError(item.path, what)
        return Sample(values, self.labels[item.part][item.index].astype(np.int64))

    def digest(self, item: Item) -> bytes:
        sample = self.read(item)
        assert isinstance(sample.values, np.ndarray)
        assert sample.target is not None
        content = sample.values.tobytes() + sample.target.tobytes()
        return sha256(repr(sample.values.shape).encode() + content).digest()


def open_qtdb(folder: Path) -> Source:
    """The recordings of a folder with `QTDB_train.mat` and `QTDB_test.mat`.

    Each file has the arrays `x` `[recordings, steps, channels]` and `y` `[recordings, steps, 6]`,
    which is 1 in the column of the class of a step. A step without a 1 gets the first class, as in
    the published code, so that accuracies can be compared: these are 8 % of the steps for training
    and 10 % of those for the test.

    Args:
        folder: The folder.

    Returns:
        A source of series, float32 `[steps, channels]`, with the class of each step, int64
        `[steps]`; its parts are "train" and "test".

    Raises:
        RecordingError: If a file cannot be used, or if the files do not fit each other.
        FileError: If a file does not exist or cannot be read.
        ValueError: If there is not enough memory.
    """
    values: dict[Part, Array] = {}
    labels: dict[Part, Labels] = {}
    items: list[Item] = []
    for part, name in FILES.items():
        path = folder / name
        arrays = read_mat(path, ("x", "y"))
        _check_shapes(path, arrays["x"], arrays["y"])
        values[part] = np.ascontiguousarray(arrays["x"])
        labels[part] = _labels_of(path, arrays["y"])
        items += [
            Item(f"{name}/{index}", path, part=part, index=index)
            for index in range(len(values[part]))
        ]
    n_channels = values["train"].shape[2]
    if values["test"].shape[2] != n_channels:
        what = f"has {values['test'].shape[2]} channels, expected {n_channels} as for training"
        raise RecordingError(folder / FILES["test"], what, "take both from one data set")
    held = _Recordings(values, labels)
    return Source(
        kind="series",
        task="labels",
        items=tuple(items),
        read=held.read,
        digest=held.digest,
        classes=CLASSES,
        shape=(n_channels,),
    )


def _check_shapes(path: Path, values: Array, classes: Array) -> None:
    expected = (*values.shape[:2], len(CLASSES))
    if values.ndim != 3 or classes.shape != expected:
        what = (
            f"has x {list(values.shape)} and y {list(classes.shape)}, expected x [recordings, "
            f"steps, channels] and y [recordings, steps, {len(CLASSES)}]"
        )
        raise RecordingError(path, what, CHECK)


def _labels_of(path: Path, classes: Array) -> Labels:
    is_class = classes == 1
    if not (is_class | (classes == 0)).all() or (is_class.sum(axis=2) > 1).any():
        what = "has a y that is not 1 for the class of a step and 0 for all others"
        raise RecordingError(path, what, CHECK)
    labels: Labels = is_class.argmax(axis=2).astype(np.uint8)
    return labels
