"""Make a small data set of any format that `nwave train --data` takes.

    python examples/small_data.py csv data/csv
    nwave train --out runs/csv --data data/csv

docs/data.md has such lines for all formats.
"""

import argparse
import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE = 8000  # Hz
RECORDINGS = 8  # of each class
EVENTS = 400  # of a recording of a sensor with many places
CLASSES = ("high", "low")

Array = npt.NDArray[np.float32]


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def tone(frequency: float, seconds: float) -> Array:
    times = np.arange(round(RATE * seconds)) / RATE
    return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def series_of(label: int, index: int) -> Array:
    """Two channels, positive for one class and negative for the other; all lengths differ."""
    draw = np.random.default_rng(10 * index + label)
    return draw.standard_normal((12 + index, 2)).astype(np.float32) + (1 - 2 * label)


def make_sounds(folder: Path, suffix: str = ".wav") -> Path:
    import soundfile

    for label, name in enumerate(CLASSES):
        for index in range(RECORDINGS):
            path = folder / name / f"{index}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            frequency = (1200, 300)[label] + 20 * index
            soundfile.write(path, tone(frequency, 0.15 + 0.01 * index), RATE)
    return folder


def make_flac(folder: Path) -> Path:
    return make_sounds(folder, ".flac")


def make_ogg(folder: Path) -> Path:
    return make_sounds(folder, ".ogg")


def make_npy(folder: Path) -> Path:
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(RECORDINGS):
            np.save(folder / name / f"{index}.npy", series_of(label, index))
    return folder


def make_csv(folder: Path) -> Path:
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(RECORDINGS):
            np.savetxt(
                folder / name / f"{index}.csv",
                series_of(label, index),
                delimiter=",",
                header="left,right",
                comments="",
            )
    return folder


def make_parts(folder: Path) -> Path:
    """Series in an official split."""
    for part, indices in (("train", range(5)), ("val", range(5, 6)), ("test", range(6, 8))):
        for label, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for index in indices:
                np.save(folder / part / name / f"{index}.npy", series_of(label, index))
    return folder


def images_of(label: int) -> npt.NDArray[np.uint8]:
    """Pictures `[recordings, 4, 5]` of uint8, bright on one side."""
    pictures = random().integers(0, 60, (RECORDINGS, 4, 5))
    pictures[:, :, slice(0, 2) if label else slice(3, 5)] += 150
    return pictures.astype(np.uint8)


def make_png(folder: Path) -> Path:
    from PIL import Image

    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index, picture in enumerate(images_of(label)):
            Image.fromarray(picture).save(folder / name / f"{index}.png")
    return folder


def make_idx(folder: Path) -> Path:
    folder.mkdir(parents=True)
    pictures = np.concatenate([images_of(0), images_of(1)])
    labels = np.repeat([0, 1], RECORDINGS).astype(np.uint8)
    for part in ("train", "t10k"):
        for kind, values in (("images-idx3", pictures), ("labels-idx1", labels)):
            header = struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape)
            content = gzip.compress(header + values.tobytes())
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(content)
    return folder


def make_ts(folder: Path) -> Path:
    folder.mkdir(parents=True)
    head = "@problemName Small\n@timeStamps false\n@univariate false\n@dimensions 2\n"
    head += f"@equalLength false\n@classLabel true {' '.join(CLASSES)}\n@data\n"
    lines = [
        ":".join(",".join(f"{v:g}" for v in column) for column in series_of(label, index).T)
        + f":{name}\n"
        for label, name in enumerate(CLASSES)
        for index in range(RECORDINGS)
    ]
    for part in ("TRAIN", "TEST"):
        (folder / f"Small_{part}.ts").write_text(head + "".join(lines))
    return folder / "Small_TRAIN.ts"


def make_npz(folder: Path) -> Path:
    """Series of one length, with classes and groups."""
    folder.mkdir(parents=True)
    x = [series_of(label, index)[:12] for label in (0, 1) for index in range(RECORDINGS)]
    groups = np.tile(np.arange(RECORDINGS) // 2, 2)
    np.savez(folder / "small.npz", x=np.stack(x), y=np.repeat(CLASSES, RECORDINGS), group=groups)
    return folder / "small.npz"


def make_npz_labels(folder: Path) -> Path:
    """The class of a step is the sign of the first channel."""
    folder.mkdir(parents=True)
    x = random().standard_normal((2 * RECORDINGS, 20, 2)).astype(np.float32)
    np.savez(folder / "labels.npz", x=x, y=(x[:, :, 0] > 0).astype(np.int64))
    return folder / "labels.npz"


def make_npz_values(folder: Path) -> Path:
    """The value of a step is the sum of both channels."""
    folder.mkdir(parents=True)
    x = random().standard_normal((2 * RECORDINGS, 20, 2)).astype(np.float32)
    np.savez(folder / "values.npz", x=x, y=x.sum(2, keepdims=True))
    return folder / "values.npz"


def make_npz_pattern(folder: Path) -> Path:
    """Two waves over 60 steps, without an input."""
    folder.mkdir(parents=True)
    phases = np.linspace(0, 2 * np.pi, 60)
    np.savez(folder / "pattern.npz", y=np.stack([np.sin(phases), np.cos(phases)], axis=1))
    return folder / "pattern.npz"


def make_targets(folder: Path) -> Path:
    """Sounds with one value for each of 15 steps."""
    import soundfile
    import torch

    (folder / "wavs").mkdir(parents=True)
    (folder / "target").mkdir()
    for index in range(RECORDINGS):
        soundfile.write(folder / "wavs" / f"{index}.wav", tone(300.0 + 50 * index, 0.15), RATE)
        torch.save(torch.linspace(0, 1, 15) + index, folder / "target" / f"{index}.pt")
    return folder


def make_structured(folder: Path) -> Path:
    """Events on a sensor of 3 × 4 pixels, on one side of it."""
    dtype = np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.int8)])
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(RECORDINGS):
            draw = np.random.default_rng(10 * index + label)
            events = np.zeros(60, dtype)
            events["t"] = np.sort(draw.integers(0, 50_000 + 1000 * index, 60))
            events["x"] = draw.integers(0, 2, 60) + 2 * label
            events["y"] = draw.integers(0, 3, 60)
            events["p"] = draw.integers(0, 2, 60)
            events[:2] = [(0, 3, 2, 0), (1, 0, 0, 1)]
            np.save(folder / name / f"{index}.npy", events)
    return folder


def make_bin(folder: Path) -> Path:
    """Events in the form of N-MNIST."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(RECORDINGS):
            draw = np.random.default_rng(10 * index + label)
            times = np.sort(draw.integers(0, 100_000, EVENTS))
            rows = [
                bytes([int(x) + 17 * label, int(y)]) + int(p << 23 | int(t)).to_bytes(3, "big")
                for t, x, y, p in zip(
                    times,
                    draw.integers(0, 17, EVENTS),
                    draw.integers(0, 34, EVENTS),
                    draw.integers(0, 2, EVENTS).tolist(),
                    strict=True,
                )
            ]
            (folder / name / f"{index}.bin").write_bytes(b"".join(rows))
    return folder


def make_shd(folder: Path) -> Path:
    """Spikes of 700 channels in the form of the Spiking Heidelberg Digits."""
    import h5py

    folder.mkdir(parents=True)
    for part in ("train", "test"):
        times, units = [], []
        labels = np.repeat([0, 1], RECORDINGS)
        for number, label in enumerate(labels):
            draw = np.random.default_rng(number)
            times.append(np.sort(draw.random(EVENTS)).astype(np.float16))
            units.append((draw.integers(0, 350, EVENTS) + 350 * label).astype(np.int64))
        with h5py.File(folder / f"shd_{part}.h5", "w") as file:
            for name, rows, kind in (("times", times, np.float16), ("units", units, np.int64)):
                data = file.create_dataset(f"spikes/{name}", len(rows), h5py.vlen_dtype(kind))
                for recording, row in enumerate(rows):
                    data[recording] = row
            file["labels"] = labels
    return folder


def make_qtdb(folder: Path) -> Path:
    """Levels of two leads in four channels, with the wave of each step, for `examples/qtdb.py`."""
    from scipy.io import savemat

    folder.mkdir(parents=True)
    for part, count in (("train", 12), ("test", 4)):
        waves = np.tile(np.repeat(np.arange(6), 10), (count, 1))
        x = random().integers(-1, 2, (count, 60, 4)).astype(float)
        y = np.eye(6)[waves]
        t = np.tile(np.arange(60), (count, 1))
        content = {"x": x.astype(np.int16), "y": y.astype(np.uint8), "t": t, "max_i": t[:, -1:] + 1}
        savemat(folder / f"QTDB_{part}.mat", content)
    return folder


# What makes a data set in a folder, and returns its path, by the name of its format. The path is
# for `--data`, except for `ecg`, which `examples/qtdb.py` converts.
FORMATS: dict[str, Callable[[Path], Path]] = {
    "wav": make_sounds,
    "flac": make_flac,
    "ogg": make_ogg,
    "targets": make_targets,
    "npy": make_npy,
    "csv": make_csv,
    "parts": make_parts,
    "png": make_png,
    "idx": make_idx,
    "ts": make_ts,
    "npz": make_npz,
    "labels": make_npz_labels,
    "values": make_npz_values,
    "pattern": make_npz_pattern,
    "events": make_structured,
    "bin": make_bin,
    "shd": make_shd,
    "ecg": make_qtdb,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a small data set.")
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("folder", type=Path, help="a new folder")
    given = parser.parse_args()
    if given.folder.exists():
        parser.error(f"{given.folder} exists, expected a new folder: choose another one")
    print(FORMATS[given.format](given.folder))


if __name__ == "__main__":
    main()
