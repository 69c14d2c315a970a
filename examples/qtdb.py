"""Convert the electrocardiograms of the QT database to a `.npz` with a class for each step.

    python examples/qtdb.py data/ecg-qtdb data/ecg-qtdb.npz
    nwave train --out runs/ecg --data data/ecg-qtdb.npz

The folder has `QTDB_train.mat` and `QTDB_test.mat`, each with `x` `[recordings, steps, channels]`
and `y` `[recordings, steps, 6]`, which is 1 in the column of the class of a step. A step without a
1 gets the first class, P, as in the published code, so that accuracies can be compared: these are
8 % of the steps for training and 10 % of the steps for the test.

References:
    B. Yin, F. Corradi, S. M. Bohte, "Accurate and efficient time-domain classification with
    adaptive spiking recurrent neural networks", Nature Machine Intelligence 3, 905-913 (2021),
    doi:10.1038/s42256-021-00397-w. The files are in its public code.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat

# Waves and intervals in the order of a heartbeat, and of the columns of `y`.
CLASSES = ("P", "PQ", "QR", "RS", "ST", "TP")


def read_part(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Values `[recordings, steps, channels]` and classes `[recordings, steps]` of a file."""
    with path.open("rb") as file:
        arrays = loadmat(file, variable_names=("x", "y"))
    values, columns = arrays["x"], arrays["y"]
    if values.ndim != 3 or columns.shape != (*values.shape[:2], len(CLASSES)):
        raise ValueError(
            f"{path} has x {list(values.shape)} and y {list(columns.shape)}, expected x "
            f"[recordings, steps, channels] and y [recordings, steps, {len(CLASSES)}]."
        )
    if not np.isin(columns, (0, 1)).all() or (columns.sum(axis=2) > 1).any():
        raise ValueError(f"{path} has a y that is not 1 for the class of a step and 0 for others.")
    return values.astype(np.float32), columns.argmax(axis=2)


def convert(folder: Path, target: Path) -> Path:
    """Write both parts to one file, and return its path.

    Args:
        folder: Has both files.
        target: The `.npz`.
    """
    parts = {part: read_part(folder / f"QTDB_{part}.mat") for part in ("train", "test")}
    x, y = (np.concatenate(arrays) for arrays in zip(*parts.values(), strict=True))
    split = np.repeat(list(parts), [len(values) for values, _ in parts.values()])
    np.savez_compressed(target, x=x, y=y, split=split, classes=CLASSES)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert the QT database to a .npz.")
    parser.add_argument("folder", type=Path, help="has QTDB_train.mat and QTDB_test.mat")
    parser.add_argument("target", type=Path, help="a new file that ends in .npz")
    given = parser.parse_args()
    if given.target.suffix != ".npz" or given.target.exists():
        parser.error(f"{given.target} exists or does not end in .npz: choose another name")
    try:
        print(convert(given.folder, given.target))
    except (OSError, ValueError) as error:
        parser.error(f"{given.folder}: {error}")


if __name__ == "__main__":
    main()
