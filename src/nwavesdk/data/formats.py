"""The formats of data sets: from a path to the recordings that it holds.

Two tables have all formats: `READERS` has the formats of files with one recording, by the ends of
their names, and `FORMATS` the formats of files with many recordings, by their names. A path is
opened in the first of `FORMATS` that matches one of its files, or else as a folder of recordings.
Each format may also be in the folders `train`, `val` and `test`, an official split.

A new format is a reader in `readers`, its row in one of the tables, a maker in
`examples/small_data.py`, and a line in `docs/data.md`, which a test runs.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

from nwavesdk.data.decoding import (
    MAX_RECORDING_SECONDS,
    STREAM_LIMITS,
    read_sound,
    read_sound_header,
    read_target,
)
from nwavesdk.data.folder import (
    OTHER_SOUNDS,
    Faults,
    check_parts,
    list_classes,
    list_files,
    list_targets,
    list_top_files,
    visible_folders,
)
from nwavesdk.data.readers.events import open_shd, read_aedat4, read_bin, read_structured_npy
from nwavesdk.data.readers.images import open_idx, read_image
from nwavesdk.data.readers.npz import open_npz
from nwavesdk.data.readers.series import ALL_COLUMNS, SeriesOptions, open_ts, read_csv, read_npy
from nwavesdk.data.source import (
    BACKGROUND,
    PART_OF_WORD,
    PARTS,
    Item,
    Part,
    RecordingKind,
    Sample,
    Source,
    TaskName,
    reading,
)
from nwavesdk.internal.files import FileError, printable

__all__ = [
    "ALL_COLUMNS",
    "FORMATS",
    "READERS",
    "open_source",
]

# The header of a `.npy` file is in its first bytes.
NPY_HEADER_BYTES = 4096

# The forms that `--data` takes, for errors.
EXPECTED = (
    "a folder with one subfolder of recordings per class (.wav, .flac, .ogg; .npy, .csv; .png, "
    ".jpg; .bin, .aedat4), a folder with wavs/ and target/, idx files, NAME_TRAIN.ts with "
    "NAME_TEST.ts, a .npz file (examples/qtdb.py converts MAT-files), or .h5 files of events"
)

# The kinds of recordings, and the reader of a file with one recording, by the end of its name.
# Readers of sounds also take the longest allowed length [s], and readers of series their options.
READERS: dict[RecordingKind, dict[str, Callable[..., Sample]]] = {
    "sound": dict.fromkeys(
        (".wav", ".flac", ".ogg", ".oga", ".opus"),
        lambda path, *limits: Sample(read_sound(path, *limits)),
    ),
    "image": dict.fromkeys((".png", ".jpg", ".jpeg"), read_image),
    "events": {".bin": read_bin, ".npy": read_structured_npy, ".aedat4": read_aedat4},
    "series": {".npy": read_npy, ".csv": read_csv},
}

# The kind of recording by the end of a name; a .npy file is a series, unless it holds records.
KIND_OF = {suffix: kind for kind, readers in READERS.items() for suffix in readers}
RECORDING_SUFFIXES = KIND_OF.keys() | OTHER_SOUNDS

# The names of files with many recordings, and the function that opens a file. The files of a data
# set have the same `set`, and each may be a `part` of an official split.
FORMATS: dict[str, Callable[..., Source]] = {
    r"(?P<set>[^.].*)(?P<part>)\.npz": open_npz,
    r"(?P<set>[^.].*)_(?P<part>TRAIN|TEST)\.ts": open_ts,
    # Such as "train-images-idx3-ubyte.gz", or "emnist-letters-test-images.idx3-ubyte".
    r"(?P<set>(\w+-)*?)(?P<part>train|t10k|test)-images[-.]idx\d-ubyte(\.gz)?": open_idx,
    rf"(?P<set>)(([^.].*[_-])?(?P<part>{'|'.join(PART_OF_WORD)})|[^.].*)\.(h5|hdf5)": open_shd,
}


def _find_files(path: Path, files: Sequence[Path], pattern: str) -> dict[Path, Part | None]:
    """The files of a data set with their parts, by their names.

    Args:
        path: The path of the data set.
        files: The path, or the files in it.
        pattern: The names, one of `FORMATS`.

    Raises:
        ValueError: If there are several data sets, or only some of the files have parts.
    """
    names = set()
    parts: dict[Path, Part | None] = {}
    for file in files:
        match = re.fullmatch(pattern, file.name, re.IGNORECASE)
        # A packed file next to the unpacked file is a copy.
        if match and file.with_suffix("") not in parts:
            names.add((match["set"], bool(match["part"])))
            parts[file] = PART_OF_WORD.get((match["part"] or "").lower())

    if len(names) > 1:
        raise ValueError(
            f"Data folder {printable(path)} has several data sets, such as "
            f"{printable(min(parts).name)} and {printable(max(parts).name)}, expected one, and "
            "train, val or test in the names of all files or of none: pass one file, or put each "
            "data set into its own folder."
        )

    # A single part, such as a training set alone, is a whole data set.
    if len(set(parts.values())) == 1:
        return dict.fromkeys(parts)
    return dict(sorted(parts.items(), key=lambda item: PARTS.index(item[1] or "train")))


def open_source(
    path: Path,
    faults: Faults,
    *,
    task: TaskName | None = None,
    max_seconds: float = MAX_RECORDING_SECONDS,
    has_table: bool = False,
    series: SeriesOptions = ALL_COLUMNS,
) -> Source:
    """Find out what a path holds, and list its recordings; no recording is read.

    A file with one recording, such as one that a trained net is applied to, has no class.

    Args:
        path: A folder or a file.
        faults: Receives the faults of files.
        task: The task of the net; None: the data decide it.
        max_seconds: Length above which a sound is an error [s].
        has_table: Whether a table gives the classes, so that files need no class folders.
        series: Options of the files of series.

    Raises:
        ValueError: If the path has no known format; the text lists the formats. If there are fewer
            than two classes, and no table gives them.
        FileError: If a file cannot be used; see `Faults`.
    """
    options = (faults, task, max_seconds, has_table, series)
    folders = {folder.name: folder.resolve() for folder in visible_folders(path)}

    # An official split has different folders: two links may lead to the same recordings.
    if {"train"} < folders.keys() <= set(PARTS) and len(set(folders.values())) == len(folders):
        parts = [(part, part, _open(path / part, *options)) for part in PARTS if part in folders]
        source = _join(path, parts)
    else:
        source = _open(path, *options)

    classes = {item.class_name for item in source.items} - {None}
    if source.task == "classification" and len(classes) < 2 and not has_table:
        got = f"only one class ({classes.pop()!r})" if classes else "no classes"
        raise ValueError(
            f"{printable(path)} has {got}, expected at least two: add recordings of another class, "
            "in a folder with its name, or in the array y of a .npz."
        )
    return source


def _open(
    path: Path,
    faults: Faults,
    task: TaskName | None,
    max_seconds: float,
    has_table: bool,
    series: SeriesOptions,
) -> Source:
    """The recordings of a path that is not an official split of folders."""
    opened = _open_set(path, list_top_files(path), task, series)
    if opened is not None:
        return opened

    if not path.exists():
        raise ValueError(f"Data folder {printable(path)} does not exist, expected {EXPECTED}.")
    if (path / "wavs").is_dir() and (path / "target").is_dir():
        items = list_targets(path, faults, READERS["sound"], RECORDING_SUFFIXES)
        return _source_of_files("sound", "regression", items, max_seconds, series)

    # The files are listed twice: here to find their kind, and below to report faults.
    paths = list_files(path, Faults(path, "skip"), KIND_OF) if path.is_dir() else [path]
    kind = _find_kind(path, paths)
    items = [Item(path.as_posix(), path)]
    if path.is_dir():
        if not has_table:
            check_parts(path)
        items = list_classes(path, faults, READERS[kind], RECORDING_SUFFIXES, has_table)
    chosen: TaskName = "detect" if task == "detect" else "classification"
    return _source_of_files(kind, chosen, items, max_seconds, series)


def _open_set(
    path: Path, files: Sequence[Path], task: TaskName | None, series: SeriesOptions
) -> Source | None:
    """The recordings of files with many recordings each; None if no file has such a format."""
    if not path.is_dir() and (not files or path.suffix == ".ts"):
        # NAME.ts, NAME_TRAIN.ts and NAME_TEST.ts all mean both files.
        name = re.sub(r"_(TRAIN|TEST)\.ts$", "", path.name)
        both = [path.with_name(f"{name}_{part}.ts") for part in ("TRAIN", "TEST")]
        files = list(filter(Path.exists, both))

    for pattern, open_format in FORMATS.items():
        parts = _find_files(path, files, pattern)
        if not parts:
            continue
        if series != ALL_COLUMNS:
            raise ValueError(
                f"{printable(path)} is not a folder of .csv or .npy files: remove --columns and "
                "--missing."
            )

        wanted = [task] if open_format is open_npz else []
        members = [
            (file.name.removesuffix(".gz"), part, open_format(file, *wanted))
            for file, part in parts.items()
        ]
        return _join(path, members)
    return None


def _find_kind(path: Path, files: Sequence[Path]) -> RecordingKind:
    """The kind of most files of a path.

    Raises:
        FileError: If no file can be a recording by its name.
    """
    suffixes = [file.suffix.lower() for file in files]
    is_events = ".npy" in suffixes and _holds_events(files[suffixes.index(".npy")])
    kind_of = KIND_OF | ({".npy": "events"} if is_events else {})
    kinds = Counter(kind_of[suffix] for suffix in suffixes if suffix in kind_of)
    if not kinds:
        raise FileError(path, f"has no recordings, expected {EXPECTED}", "pass another path")
    return kinds.most_common(1)[0][0]


def _holds_events(path: Path) -> bool:
    """Whether a `.npy` file holds records, as events do, and not a series; by its header."""
    if path.is_file():
        with suppress(OSError), open(path, "rb") as file:
            return re.search(rb"""['"]descr['"]:\s*\[""", file.read(NPY_HEADER_BYTES)) is not None
    return False


def _source_of_files(
    kind: RecordingKind,
    task: TaskName,
    items: Sequence[Item],
    max_seconds: float,
    series: SeriesOptions,
) -> Source:
    # Options change the values of a file, and so its digest.
    choices = b"" if series == ALL_COLUMNS else repr(series).encode()

    def read(item: Item) -> Sample:
        reader = READERS[kind][item.path.suffix.lower()]
        is_stream = task == "detect" and (item.class_name == BACKGROUND or bool(item.events))
        limits = STREAM_LIMITS if is_stream else (max_seconds,)
        options: dict[str, Any] = {"sound": limits, "series": (series,)}
        sample = reader(item.path, *options.get(kind, ()))
        return sample if item.target is None else replace(sample, target=read_target(item.target))

    def digest(item: Item) -> bytes:
        files = filter(None, (item.path, item.target))
        return b"".join(map(_digest_of_file, files)) + choices

    return Source(
        kind=kind,
        task=task,
        items=tuple(items),
        read=read,
        digest=digest,
        read_header=read_sound_header if kind == "sound" else None,
        limits=f"at most {max_seconds} s",
    )


def _digest_of_file(path: Path) -> bytes:
    with reading(path, "a file"), open(path, "rb") as file:
        return file_digest(file, "sha256").digest()


def _join(path: Path, members: Sequence[tuple[str, Part | None, Source]]) -> Source:
    """Several sources as one, with their names before the keys of recordings.

    Args:
        path: The path of all of them, for errors.
        members: The name of each, its part in an official split, and its recordings.

    Raises:
        ValueError: If they differ in kind, task, features or labels.
    """
    expected, _, first = members[0]
    content = _describe(first)
    items = []
    source_of = {}
    for name, part, source in members:
        if _describe(source) != content:
            raise ValueError(
                f"{printable(path)}: {name} holds {_describe(source)}, expected {content} as in "
                f"{expected}."
            )
        for item in source.items:
            items.append(replace(item, key=f"{name}/{item.key}", part=part or item.part))
            source_of[item.path] = source

    # A class that the training set lacks is an error of the split.
    names = dict.fromkeys(name for _, _, source in members for name in source.classes)
    return replace(
        first,
        items=tuple(items),
        classes=tuple(names),
        read=lambda item: source_of[item.path].read(item),
        digest=lambda item: source_of[item.path].digest(item),
    )


def _describe(source: Source) -> str:
    """A text of the properties that all members of a data set share."""
    text = f"{source.kind} for {source.task} with features {list(source.shape)}"
    return f"{text} and labels {', '.join(source.classes)}" if source.task == "labels" else text
