"""The formats of data sets: from a path to the recordings that it holds.

Two tables have all formats: `READERS` those of files with one recording, by the ends of their
names, and `FORMATS` those of files with many. A path is opened by the first of `FORMATS` that finds
its files in it, or else as a folder of recordings. Each format may also be in the folders `train`,
`val` and `test`, an official split.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

from nwavesdk.data.decoding import MOST_SECONDS, read_sound, read_target
from nwavesdk.data.folder import (
    OTHER_SOUNDS,
    PARTS,
    Faults,
    check_parts,
    is_official,
    list_classes,
    list_files,
    list_targets,
    visible_folders,
)
from nwavesdk.data.readers.events import read_aedat4, read_bin, read_structured_npy
from nwavesdk.data.readers.idx import holds_idx, open_idx
from nwavesdk.data.readers.images import read_image
from nwavesdk.data.readers.npz import open_npz
from nwavesdk.data.readers.series import ALL_COLUMNS, SeriesOptions, read_csv, read_npy
from nwavesdk.data.readers.shd import is_shd, open_shd
from nwavesdk.data.readers.ts import open_ts
from nwavesdk.data.reading import reading
from nwavesdk.data.source import Item, Kind, Sample, Source, Task
from nwavesdk.internal.files import FileError, kind_of, printable

__all__ = ["ALL_COLUMNS", "FORMATS", "READERS", "open_files", "open_source"]

# The header of a `.npy` file is in its first bytes.
NPY_HEADER_BYTES = 4096

# The forms that `--data` takes, for the error of a path that has none of them.
EXPECTED = (
    "a folder with one subfolder of recordings per class (.wav, .flac, .ogg; .npy, .csv; .png, "
    ".jpg; .bin, .aedat4), a folder with wavs/ and target/, idx files, NAME_TRAIN.ts with "
    "NAME_TEST.ts, a .npz file, or .h5 files of events"
)


class FileOptions(NamedTuple):
    """What is read of files with one recording.

    Attributes:
        max_seconds: Length above which a sound is an error [s].
        series: What is read of the files of a series.
    """

    max_seconds: float = MOST_SECONDS
    series: SeriesOptions = ALL_COLUMNS


# The kinds of recordings, and how a file with one of them is read, by the end of its name.
READERS: dict[Kind, dict[str, Callable[[Path, FileOptions], Sample]]] = {
    "sound": dict.fromkeys(
        (".wav", ".flac", ".ogg", ".oga", ".opus"),
        lambda path, options: Sample(read_sound(path, options.max_seconds)),
    ),
    "series": {
        ".npy": lambda path, options: read_npy(path, options.series),
        ".csv": lambda path, options: read_csv(path, options.series),
    },
    "image": dict.fromkeys((".png", ".jpg", ".jpeg"), lambda path, _: read_image(path)),
    "events": {
        ".bin": lambda path, _: read_bin(path),
        ".npy": lambda path, _: read_structured_npy(path),
        ".aedat4": lambda path, _: read_aedat4(path),
    },
}

# The kind of each; a .npy file is a series, unless it holds records.
KIND_OF = {suffix: kind for kind, readers in READERS.items() for suffix in readers}
KIND_OF[".npy"] = "series"
RECORDING_SUFFIXES = frozenset({*KIND_OF, *OTHER_SOUNDS})

# Each format of many recordings finds the files that it needs in a path, or nothing.


def _find_one(path: Path, pattern: str) -> Path | None:
    """The path itself, or the only file in it, that has a name of this pattern.

    Raises:
        ValueError: If a folder has several.
    """
    files = [path] if path.is_file() else []
    if path.is_dir() and not visible_folders(path):
        files = sorted(path.iterdir())
    files = [file for file in files if re.fullmatch(pattern, file.name, re.IGNORECASE)]
    if len(files) > 1:
        names = printable(", ".join(file.name for file in files))
        raise ValueError(
            f"Data folder {printable(path)} has {len(files)} data sets ({names:.200}), expected "
            "one: name a file."
        )
    return files[0] if files else None


def _find_ts(path: Path) -> tuple[Path, Path] | None:
    """The two files of a data set of the UCR/UEA archive, by one of them, their folder or name."""
    named = path.parent / f"{path.name}_TRAIN.ts"
    file = named if os.path.isfile(named) else _find_one(path, r"[^.].*_TRAIN\.ts")
    file = file or _find_one(path, r"[^.].*_TEST\.ts")
    if file is None:
        return None
    name = file.name.rpartition("_")[0]
    return file.with_name(f"{name}_TRAIN.ts"), file.with_name(f"{name}_TEST.ts")


def _find_folder(path: Path, holds: Callable[[Path], bool]) -> Path | None:
    """The path, if it is a folder without subfolders that holds files of a format."""
    return path if path.is_dir() and not visible_folders(path) and holds(path) else None


# Finds the files of a format in a path, and opens what it found.
FORMATS: tuple[tuple[Callable[[Path], Any], Callable[[Any, Task | None], Source]], ...] = (
    (partial(_find_one, pattern=r"[^.].*\.npz"), open_npz),
    (_find_ts, lambda files, _: open_ts(*files)),
    (partial(_find_folder, holds=holds_idx), lambda folder, _: open_idx(folder)),
    (partial(_find_folder, holds=is_shd), lambda folder, _: open_shd(folder)),
    (partial(_find_one, pattern=r"[^.].*\.(h5|hdf5)"), lambda path, _: open_shd(path)),
)


def open_files(
    paths: list[Path], max_seconds: float = MOST_SECONDS, series: SeriesOptions = ALL_COLUMNS
) -> Source:
    """Files as recordings without class, such as those that a trained net is applied to.

    Raises:
        ValueError: If their names do not show one kind of recording.
    """
    kind = _kind_of_file(paths[0])
    for path in paths:
        if _kind_of_file(path) != kind:
            problem = f"is {_kind_of_file(path)}, expected {kind} like {paths[0]}"
            raise FileError(path, problem, "remove it")
    items = [Item(path.as_posix(), path) for path in paths]
    return _source_of_files(kind, "classification", items, FileOptions(max_seconds, series))


def _kind_of_file(path: Path) -> Kind:
    suffix = path.suffix.lower()
    if suffix not in KIND_OF:
        problem = f"is not a recording by its name, expected one that ends in {', '.join(KIND_OF)}"
        raise FileError(path, problem, "convert or rename it")
    return "events" if suffix == ".npy" and _holds_events(path) else KIND_OF[suffix]


def _holds_events(path: Path) -> bool:
    """Whether a `.npy` file holds records, as events do, and not a series; by its header."""
    if path.is_file():
        with suppress(OSError), open(path, "rb") as file:
            header = file.read(NPY_HEADER_BYTES)
            return re.search(rb"""['"]descr['"]:\s*\[""", header) is not None
    return False


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
    for find, open_format in FORMATS:
        files = find(path)
        if files:
            if series != ALL_COLUMNS:
                raise ValueError(
                    f"{printable(path)} is not a folder of .csv or .npy files: leave --columns and "
                    "--missing out."
                )
            return open_format(files, task)

    if not path.is_dir():
        got = f"is {kind_of(path.stat().st_mode)}" if path.exists() else "does not exist"
        raise ValueError(f"Data folder {printable(path)} {got}, expected {EXPECTED}.")
    options = FileOptions(max_seconds, series)
    if is_official(path) and not _holds_classes(path):
        return _open_parts(path, faults, task, options)
    if (path / "wavs").is_dir() and (path / "target").is_dir():
        items = list_targets(path, faults, READERS["sound"], RECORDING_SUFFIXES)
        return _source_of_files("sound", "regression", items, options)
    if not (has_table or is_official(path)):
        check_parts(path)
    kind = _find_kind(path)
    list_items = list_files if has_table else list_classes
    items = list_items(path, faults, READERS[kind], RECORDING_SUFFIXES)
    return _source_of_files(kind, "classification", items, options)


def _find_kind(root: Path) -> Kind:
    """What most files of a folder are; sound if none can be read, but some are sounds.

    Raises:
        ValueError: If no file can be a recording.
    """
    listed = list_files(root, Faults(root, "skip"), RECORDING_SUFFIXES | {".mat"})
    counts = Counter(item.path.suffix.lower() for item in listed)
    first_of = {item.path.suffix.lower(): item.path for item in reversed(listed)}
    kinds: Counter[Kind] = Counter()
    for suffix in filter(counts.get, KIND_OF):
        kinds[_kind_of_file(first_of[suffix])] += counts[suffix]
    if kinds:
        return kinds.most_common(1)[0][0]
    if OTHER_SOUNDS & counts.keys():
        return "sound"
    hint = "; examples/qtdb.py converts MAT-files to a .npz" if ".mat" in counts else ""
    raise ValueError(f"Data folder {printable(root)} has no recordings, expected {EXPECTED}{hint}.")


def _source_of_files(kind: Kind, task: Task, items: Sequence[Item], options: FileOptions) -> Source:
    def read(item: Item) -> Sample:
        sample = READERS[kind][item.path.suffix.lower()](item.path, options)
        return sample if item.target is None else replace(sample, target=read_target(item.target))

    def digest(item: Item) -> bytes:
        digest = _digest_of_file(item.path)
        if options.series != ALL_COLUMNS:  # decides the values, too
            digest += repr(options.series).encode()
        return digest if item.target is None else digest + _digest_of_file(item.target)

    limits = f"at most {options.max_seconds} s"
    return Source(kind, task, tuple(items), read, digest, limits=limits)


def _digest_of_file(path: Path) -> bytes:
    with reading(path, "a file"), open(path, "rb") as file:
        return file_digest(file, "sha256").digest()


def _holds_classes(root: Path) -> bool:
    """Whether the parts of an official split have class folders, and nothing else."""
    is_special = any(find(root / part) for find, _ in FORMATS for part in PARTS)
    return not is_special and not (root / "train" / "wavs").is_dir()


def _open_parts(root: Path, faults: Faults, task: Task | None, options: FileOptions) -> Source:
    """The formats in the folders of an official split, as one source."""
    sources = {
        part: open_source(root / part, faults, task=task, **options._asdict())
        for part in PARTS
        if (root / part).is_dir()
    }
    first = sources["train"]
    items: list[Item] = []
    reads: dict[str, Callable[[], Sample]] = {}
    digests: dict[str, Callable[[], bytes]] = {}
    for part, source in sources.items():
        if (source.kind, source.task) != (first.kind, first.task):
            raise ValueError(
                f"{printable(root / part)} holds {source.kind} for {source.task}, expected "
                f"{first.kind} for {first.task} as in {printable(root / 'train')}."
            )
        if source.task == "labels" and source.classes != first.classes:
            raise ValueError(
                f"{printable(root / part)} has the classes {', '.join(source.classes)}, expected "
                f"{', '.join(first.classes)} as in {printable(root / 'train')}: save an array "
                "classes in each file."
            )
        for item in source.items:
            key = f"{part}/{item.key}"
            items.append(replace(item, key=key, part=part))
            reads[key] = partial(source.read, item)
            digests[key] = partial(source.digest, item)
    # A class that the training set lacks is an error of the split.
    classes = dict.fromkeys(name for source in sources.values() for name in source.classes)
    return replace(
        first,
        items=tuple(items),
        classes=tuple(classes),
        read=lambda item: reads[item.key](),
        digest=lambda item: digests[item.key](),
    )
