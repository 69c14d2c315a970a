"""The formats of data sets: from a path to the recordings that it holds.

`FORMATS` is the table of what a path may be. The first format that a path has opens it. Each format
may also be in the folders `train`, `val` and `test`, an official split.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any

from nwavesdk.data.decoding import MOST_SECONDS, read_sound, read_target
from nwavesdk.data.folder import (
    PARTS,
    SUFFIXES_OF,
    Faults,
    check_folder,
    check_parts,
    find_kind,
    holds_events,
    is_official,
    list_classes,
    list_files,
    list_targets,
    visible_folders,
)
from nwavesdk.data.readers.archive import open_npz
from nwavesdk.data.readers.events import read_aedat4, read_bin, read_structured_npy
from nwavesdk.data.readers.idx import holds_idx, open_idx
from nwavesdk.data.readers.images import read_image
from nwavesdk.data.readers.qtdb import open_qtdb
from nwavesdk.data.readers.series import SeriesOptions, read_csv, read_npy
from nwavesdk.data.readers.shd import is_shd, open_shd
from nwavesdk.data.readers.ts import open_ts
from nwavesdk.data.reading import reading
from nwavesdk.data.source import Item, Kind, Sample, Source, Task
from nwavesdk.internal.files import FileError, printable

__all__ = ["open_files", "open_source"]

# Number of data sets in one folder that an error names.
MOST_NAMED = 5

# The forms that `--data` takes, for the error of a path that has none of them.
EXPECTED = (
    "a folder with one subfolder of recordings per class (.wav, .flac, .ogg; .npy, .csv; .png, "
    ".jpg; .bin, .aedat4), a folder with wavs/ and target/, idx files, NAME_TRAIN.ts with "
    "NAME_TEST.ts, a .npz file, or .h5 files of events"
)

Reader = Callable[[Path], Sample]

ALL_COLUMNS = SeriesOptions()


@dataclass(frozen=True)
class FileReader:
    """Reads recordings of which each is a file.

    Args:
        kind: What the recordings are.
        max_seconds: Length above which a sound is an error [s].
        series: What is read of the files of a series.
    """

    kind: Kind
    max_seconds: float = MOST_SECONDS
    series: SeriesOptions = ALL_COLUMNS

    def digest(self, item: Item) -> bytes:
        """SHA-256 of the file, followed by that of its target."""
        digest = _digest_of_file(item.path)
        if self.series != ALL_COLUMNS:  # decides the values, too
            digest += repr(self.series).encode()
        return digest if item.target is None else digest + _digest_of_file(item.target)

    def read(self, item: Item) -> Sample:
        """The content of a recording.

        Raises:
            FileError: If it cannot be used.
        """
        if self.kind == "sound":
            sample = Sample(read_sound(item.path, self.max_seconds))
        elif self.kind == "events" and item.path.suffix.lower() == ".npy":
            sample = read_structured_npy(item.path)
        elif self.kind == "series":
            sample = SERIES_READERS[item.path.suffix.lower()](item.path, self.series)
        else:
            sample = READERS[item.path.suffix.lower()](item.path)
        return sample if item.target is None else replace(sample, target=read_target(item.target))


def _digest_of_file(path: Path) -> bytes:
    with reading(path, "a file"), open(path, "rb") as file:
        return file_digest(file, "sha256").digest()


def open_files(
    paths: list[Path], max_seconds: float = MOST_SECONDS, series: SeriesOptions = ALL_COLUMNS
) -> Source:
    """Files as recordings without class, such as those that a trained net is applied to.

    Raises:
        ValueError: If their names do not show one kind of recording.
    """
    kinds = {path: _kind_of_file(path) for path in paths}
    first = next(iter(kinds.values()))
    for path, kind in kinds.items():
        if kind != first:
            raise FileError(path, f"is {kind}, expected {first} like {paths[0]}", "leave it out")
    reader = FileReader(first, max_seconds, series)
    items = tuple(Item(path.as_posix(), path) for path in paths)
    return Source(first, "classification", items, reader.read, reader.digest)


def _kind_of_file(path: Path) -> Kind:
    suffix = path.suffix.lower()
    if suffix == ".npy" and holds_events(path):
        return "events"
    for kind, suffixes in SUFFIXES_OF.items():
        if suffix in suffixes:
            return kind
    expected = ", ".join(sorted(frozenset().union(*SUFFIXES_OF.values())))
    what = f"is not a recording by its name, expected one that ends in {expected}"
    raise FileError(path, what, "convert or rename it")


def open_source(
    path: Path,
    faults: Faults,
    *,
    task: Task | None = None,
    max_seconds: float = MOST_SECONDS,
    has_table: bool = False,
    series: SeriesOptions = ALL_COLUMNS,
) -> Source:
    """Find out what a path holds, and list its recordings; no recording is read.

    Args:
        path: A folder or a file.
        faults: Receives what cannot be used.
        task: What a net should learn; None takes what the data suggest.
        max_seconds: Length above which a sound is an error [s].
        has_table: Whether a table gives the classes, so that files need no class folders.
        series: What is read of the files of a series.

    Raises:
        ValueError: If it is nothing that can be read; the text lists what can.
        FileError: If a file cannot be used; see `Faults`.
    """
    for find, open_it in FORMATS:
        found = find(path)
        if found:
            if series != ALL_COLUMNS:
                raise ValueError(
                    f"{printable(path)} is not a folder of .csv or .npy files: leave --columns and "
                    "--missing out."
                )
            return open_it(found, task)
    check_folder(path, f"expected {EXPECTED}")
    if is_official(path) and not _holds_classes(path):
        return _open_parts(path, faults, task, max_seconds, series)
    if (path / "wavs").is_dir() and (path / "target").is_dir():
        return _of_files("sound", "regression", list_targets(path, faults), max_seconds)
    if not (has_table or is_official(path)):
        check_parts(path)
    kind = find_kind(path)
    if kind is None:
        raise ValueError(f"Data folder {printable(path)} has no recordings, expected {EXPECTED}.")
    items = list_files(path, faults, kind) if has_table else list_classes(path, faults, kind)
    return _of_files(kind, "classification", items, max_seconds, series)


def _of_files(
    kind: Kind,
    task: Task,
    items: list[Item],
    max_seconds: float,
    series: SeriesOptions = ALL_COLUMNS,
) -> Source:
    reader = FileReader(kind, max_seconds, series)
    limits = f"at most {max_seconds} s"
    return Source(kind, task, tuple(items), reader.read, reader.digest, limits=limits)


def _holds_classes(root: Path) -> bool:
    """Whether the parts of an official split have class folders, and nothing else."""
    is_special = any(find(root / part) for find, _ in FORMATS for part in PARTS)
    return not is_special and not (root / "train" / "wavs").is_dir()


def _open_parts(
    root: Path, faults: Faults, task: Task | None, max_seconds: float, series: SeriesOptions
) -> Source:
    """The formats in the folders of an official split, as one source."""
    sources = {
        part: open_source(root / part, faults, task=task, max_seconds=max_seconds, series=series)
        for part in PARTS
        if (root / part).is_dir()
    }
    first = next(iter(sources.values()))
    source_of: dict[str, tuple[Source, Item]] = {}
    items: list[Item] = []
    for part, source in sources.items():
        if (source.kind, source.task) != (first.kind, first.task):
            raise ValueError(
                f"{printable(root / part)} holds {source.kind} for {source.task}, expected "
                f"{first.kind} for {first.task} as in {printable(root / 'train')}."
            )
        for item in source.items:
            key = f"{part}/{item.key}"
            source_of[key] = source, item
            items.append(replace(item, key=key, part=part))
    return Source(
        first.kind,
        first.task,
        tuple(items),
        lambda item: source_of[item.key][0].read(source_of[item.key][1]),
        lambda item: source_of[item.key][0].digest(source_of[item.key][1]),
        first.classes,
        first.shape,
        first.limits,
    )


# Each format finds the files that it needs in a path, or nothing, and opens them.


def _find_one(path: Path, pattern: str) -> Path | None:
    """The path itself, or the only file in it, that has a name of this pattern.

    Raises:
        ValueError: If a folder has several.
    """
    if path.is_file():
        return path if re.fullmatch(pattern, path.name, re.IGNORECASE) else None
    files = _matching(path, pattern)
    if len(files) > 1:
        names = ", ".join(printable(file.name) for file in files[:MOST_NAMED])
        raise ValueError(
            f"Data folder {printable(path)} has {len(files)} data sets ({names}), expected one: "
            "name a file."
        )
    return files[0] if files else None


def _matching(folder: Path, pattern: str) -> list[Path]:
    """The files with such names in a folder without subfolders."""
    if not folder.is_dir() or visible_folders(folder):
        return []
    named = re.compile(pattern, re.IGNORECASE)
    return [path for path in sorted(folder.iterdir()) if named.fullmatch(path.name)]


def _find_ts(path: Path) -> tuple[Path, Path] | None:
    """The two files of a data set of the UCR/UEA archive, by one of them, their folder or name."""
    train = _find_one(path, r"[^.].*_TRAIN\.ts")
    if train is None:
        test = _find_one(path, r"[^.].*_TEST\.ts")
        stem = None if test is None else test.name[: -len("_TEST.ts")]
        train = test and test.with_name(f"{stem}_TRAIN.ts")
    if train is None and path.with_name(f"{path.name}_TRAIN.ts").is_file():
        train = path.with_name(f"{path.name}_TRAIN.ts")
    return (
        None
        if train is None
        else (train, train.with_name(train.name[: -len("TRAIN.ts")] + "TEST.ts"))
    )


def _find_idx(path: Path) -> Path | None:
    has_files = path.is_dir() and not visible_folders(path)
    return path if has_files and holds_idx(path) else None


def _find_qtdb(path: Path) -> Path | None:
    return path if _matching(path, r"QTDB_(train|test)\.mat") else None


def _find_shd(path: Path) -> Path | None:
    if path.is_dir() and visible_folders(path):
        return None
    return path if path.exists() and is_shd(path) else None


# Finds the files of a format in a path, and opens what it found.
FORMATS: tuple[tuple[Callable[[Path], Any], Callable[[Any, Task | None], Source]], ...] = (
    (partial(_find_one, pattern=r"[^.].*\.npz"), open_npz),
    (_find_ts, lambda files, _: open_ts(*files)),
    (_find_idx, lambda folder, _: open_idx(folder)),
    (_find_qtdb, lambda folder, _: open_qtdb(folder)),
    (_find_shd, lambda path, _: open_shd(path)),
)

SERIES_READERS = {".npy": read_npy, ".csv": read_csv}

READERS: dict[str, Reader] = {
    **dict.fromkeys(SUFFIXES_OF["image"], read_image),
    ".bin": read_bin,
    ".aedat4": read_aedat4,
}
