"""A data set as frames: every recording is read once, and its frames are kept in the cache."""

import sys
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from nwavesdk.data.decoding import RecordingError, read_recording
from nwavesdk.data.feature_options import FeatureOptions
from nwavesdk.data.features import (
    EventBins,
    Featured,
    Features,
    LogMelFeatures,
    SeriesFeatures,
)
from nwavesdk.data.folder import Faults
from nwavesdk.data.readers.values import excerpt
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.source import Item, Source, StepTarget
from nwavesdk.data.store import SUFFIX, FrameStore, StoreWriter, open_store
from nwavesdk.internal.files import printable, reason_of

__all__ = [
    "Loaded",
    "content_fingerprint",
    "load_recordings",
    "misplaced_fault",
    "progress_bar",
    "warn_of_numbered_columns",
]

# The largest allowed length of a recording [s]: a day.
LONGEST = 86_400.0

# A feature that varies over fewer steps of float32 than these is called rounded.
FEWEST_FLOAT_STEPS = 64

# In the first step of a table, so many features 0, 1, 2 and so on are no chance.
FEWEST_NUMBERED = 3

# Whole numbers below are exact in float32.
LEAST_ROUNDED_INTEGER = 2**24


@dataclass(frozen=True, eq=False)
class Loaded:
    """A data set as frames.

    Args:
        recordings: The recordings.
        features: How they became frames.
        is_cached: Whether the frames came from the cache.
        digests: The hash of the content of each recording.
    """

    recordings: Recordings
    features: Features
    is_cached: bool
    digests: Mapping[Item, bytes] = field(default_factory=dict)

    def fingerprint_without(self, keys: Container[str]) -> str:
        """The fingerprint of the recordings, as if those with some keys were not there."""
        used = set(self.recordings.keys)
        return _fingerprint(
            self.features,
            {
                item: digest
                for item, digest in self.digests.items()
                if item.key in used and item.key not in keys
            },
        )


def load_recordings(
    source: Source,
    faults: Faults,
    features: Features | FeatureOptions,
    *,
    cache: Path | None = None,
    progress: bool | None = None,
) -> Loaded:
    """Read a data set as frames; one recording is in memory at a time.

    Args:
        source: The recordings.
        faults: Receives those that cannot be used.
        features: How they become frames.
        cache: Folder of computed frames; None keeps frames in memory.
        progress: Whether to show progress bars; None: if standard error is a terminal.

    Raises:
        ValueError: If there is no usable recording, or not enough memory.
        RecordingError: See `Faults`.
    """
    items = source.items
    digests = _digests_of(source, faults, progress)
    source = replace(source, items=tuple(digests))
    if isinstance(features, FeatureOptions):
        options = features
        if options.missing(source.kind):
            options = options.fit(source, replace(faults, skipped=[]))
        features = options.features(source.kind)
    path = None
    store = None
    if cache is not None:
        # The same integers are classes of steps for one task, and values for another.
        settings = f"{_fingerprint(features, digests)} {source.task} {source.limits}"
        name = sha256(settings.encode())
        path = cache / (name.hexdigest() + SUFFIX)
        store = open_store(path)
    if store is not None and store.facts["skipped"] and faults.on_error == "raise":
        store = None  # computing the frames again raises the fault
    if store is not None and "names" not in store.facts:
        store = None  # an earlier version did not compare the names of features
    if store is None:
        store = _compute(source, features, faults, path, progress)
    faults.skipped += [(file, fault) for file, fault in store.facts["skipped"]]
    _check_rest(items, set(store.facts["keys"]), faults)
    recordings = _recordings_of(source, digests, features, faults, store)
    if isinstance(features, SeriesFeatures):
        width = recordings.n_features // features.copies
        pairs = zip(recordings.keys, recordings.frames, strict=True)
        warn_of_numbered_columns([(key, frames[:1, :width]) for key, frames in pairs])
        _warn_of_rounding("feature", recordings.keys, recordings.frames)
    if source.task == "regression":
        _warn_of_rounding("target", recordings.keys, recordings.targets)
    return Loaded(recordings, features, store.is_cached, digests)


def _digests_of(source: Source, faults: Faults, progress: bool | None) -> dict[Item, bytes]:
    """The hash of each recording, in the order of the source."""
    with progress_bar("recordings checked", len(source.items), progress) as advance:

        def digest(item: Item) -> bytes:
            advance()
            return source.digest(item)

        return dict(faults.collect(source.items, digest))


def _fingerprint(features: Features, digests: Mapping[Item, bytes]) -> str:
    """Hash of the content of recordings, of their names, and of all that decides their frames.

    Also of a class, a set or a group that a table or a file gives them.
    """
    content = sha256(features.settings.encode())
    for item, digest in digests.items():
        content.update(f"{item.key}\0".encode() + digest)
        is_named = item.class_name is None or item.class_name in item.key.split("/")
        given = (None if is_named else item.class_name, item.part, item.group)
        if any(given):
            content.update(repr(given).encode())
    return content.hexdigest()


def content_fingerprint(folder: Path, keys: Sequence[str]) -> str:
    """The hash of recordings of sound that runs had before settings were a part of it."""
    content = sha256()
    for key in keys:
        data = read_recording(folder / key, LONGEST)
        content.update(f"{key}:{len(data)}:".encode() + data)
    return content.hexdigest()


def _compute(
    source: Source, features: Features, faults: Faults, path: Path | None, progress: bool | None
) -> FrameStore:
    """The frames of all recordings, written to the cache if it can be written."""
    # Faults are stored with the frames. The writer of a cache that fails is tried once.
    own_faults = replace(faults, skipped=[])
    try:
        return _write(source, features, own_faults, path, progress)
    except OSError as error:
        if path is None:
            raise
        warnings.warn(
            f"The cache {path.parent} cannot be written ({reason_of(error)}): frames are computed "
            "each time; set NWAVESDK_CACHE to a folder that can be written.",
            stacklevel=4,
        )
    return _write(source, features, replace(faults, skipped=[]), None, progress)


def _write(
    source: Source, features: Features, faults: Faults, path: Path | None, progress: bool | None
) -> FrameStore:
    keys: list[str] = []
    expected: Layout | None = None
    first = ""  # the recording that the others are compared with: the first one with names, if any
    n_others = 0  # recordings with another layout
    copies = features.copies if isinstance(features, SeriesFeatures) else 1
    with (
        closing(StoreWriter(path, printable(faults.root))) as writer,
        progress_bar("recordings", len(source.items), progress) as advance,
    ):

        def featured(item: Item) -> Featured:
            nonlocal expected, first, n_others
            advance()
            sample = source.read(item)
            one = features(item, sample)
            layout = _layout_of(one, sample.names)
            if expected is None:
                expected, first = layout, printable(item.key)
            elif not layout.is_like(expected):
                n_others += 1
                raise _other_layout(item, layout, expected, first, copies)
            elif layout.names and not expected.names:
                expected, first = layout, printable(item.key)
            return one

        for item, one in faults.collect(source.items, featured):
            writer.append(one.frames, one.target)
            keys.append(item.key)
        if expected is None:
            raise ValueError(f"{printable(faults.root)} has no usable recording.")
        if n_others > len(keys):
            raise ValueError(
                f"{n_others} of {len(source.items)} recordings would be skipped, because they do "
                f"not have the features and columns of the first one, {first}: move the odd ones "
                f"away, such as {first}."
            )
        facts = {"keys": keys, "skipped": faults.skipped, "names": expected.names}
        return writer.finish(expected.features, facts)


def _check_rest(items: Sequence[Item], used: Container[str], faults: Faults) -> None:
    """Raise if all recordings of a class or of an official set are skipped: it would vanish."""
    fault_of = dict(faults.skipped)
    for attribute, noun in (("class_name", "class"), ("part", "set")):
        rest = {getattr(item, attribute) for item in items if item.key in used}
        lost = next((item for item in items if getattr(item, attribute) not in rest), None)
        if lost is not None:
            file = printable(lost.path.relative_to(faults.root).as_posix())
            name = printable(getattr(lost, attribute))
            raise ValueError(
                f"All recordings of the {noun} '{name}' would be skipped, such as {file}, which "
                f"{fault_of.get(file, 'cannot be used')}: repair them, or move them away."
            )


class Layout(NamedTuple):
    """What all recordings of a data set have in common.

    Args:
        features: Features of a frame.
        columns: Columns of a target: 0 without one.
        names: Names of the features, if the file has them.
    """

    features: int
    columns: int
    names: tuple[str, ...]

    def is_like(self, other: "Layout") -> bool:
        """Whether both have the same, and no name at different places."""
        has_widths = (self.features, self.columns) == (other.features, other.columns)
        return has_widths and misplaced(self.names, other.names) is None


def _layout_of(featured: Featured, names: tuple[str, ...]) -> Layout:
    frames, target = featured
    features = frames.n_places if isinstance(frames, EventBins) else frames.shape[1]
    columns = 0 if target is None else target[:1].size
    return Layout(features, columns, names)


def _other_layout(
    item: Item, got: Layout, expected: Layout, first: str, copies: int
) -> RecordingError:
    """The fault of a recording with another layout than the first one.

    Args:
        item: The recording.
        got: Its layout.
        expected: The layout of the first one.
        first: Name of the first one, for errors.
        copies: How often a frame has each value of a step.
    """
    if got.features != expected.features:
        what = f"has {got.features // copies} features in a step"
        wanted = f"expected {expected.features // copies}"
        return RecordingError(item.path, f"{what}, {wanted} like {first}")
    if got.columns != expected.columns:
        what = f"has {got.columns} columns, expected {expected.columns} like {first}"
        return RecordingError(item.target or item.path, what)
    fault = misplaced_fault(item.path, got.names, expected.names, first)
    assert fault is not None
    return fault


def misplaced(names: Sequence[str], expected: Sequence[str]) -> int | None:
    """The first column whose name belongs to another one, or None.

    Files may name the same columns differently, such as by a date, so only names that occur in both
    count. Case and the way in which Unicode encodes a letter make no difference.

    Args:
        names: The names of columns; none if they are not known.
        expected: The names that are expected; none if they are not known.

    Example:
        >>> misplaced(("y", "x"), ("X", "Y")), misplaced(("a", "b"), ("x", "y"))
        (0, None)
    """
    got, wanted = ([normalize("NFC", name).casefold() for name in one] for one in (names, expected))
    for column, (name, other) in enumerate(zip(got, wanted, strict=False)):
        if name != other and name in wanted:
            return column
    return None


def misplaced_fault(
    path: Path, names: Sequence[str], expected: Sequence[str], like: str
) -> RecordingError | None:
    """The fault of a recording whose columns have another order, or None.

    Args:
        path: The file.
        names: The names of its columns.
        expected: The names that are expected.
        like: What has these, for the error.
    """
    column = misplaced(names, expected)
    if column is None:
        return None
    what = f"has the name {excerpt(names[column])} in column {column + 1}, "
    what += f"expected {excerpt(expected[column])} like {like}"
    remedy = "put the columns into the same order, or remove the names"
    return RecordingError(path, what, remedy)


def _recordings_of(
    source: Source,
    digests: Mapping[Item, bytes],
    features: Features,
    faults: Faults,
    store: FrameStore,
) -> Recordings:
    used = set(store.facts["keys"])
    items = [item for item in source.items if item.key in used]
    classes = source.classes or tuple(
        sorted({item.class_name for item in items if item.class_name})
    )
    index_of = {name: index for index, name in enumerate(classes)}
    has_class = source.task == "classification"
    labels = [index_of[item.class_name or ""] if has_class else 0 for item in items]
    parts = tuple(item.part or "" for item in items)
    groups = tuple(item.group or "" for item in items)
    return Recordings(
        frames=store.frames,
        labels=np.array(labels, np.int64),
        classes=classes,
        keys=tuple(item.key for item in items),
        fingerprint=_fingerprint(features, {item: digests[item] for item in items}),
        sample_rate=features.log_mel.sample_rate if isinstance(features, LogMelFeatures) else None,
        skipped=tuple(faults.skipped),
        task=source.task,
        targets=store.targets,
        parts=parts if any(parts) else (),
        groups=groups if any(groups) else (),
        feature_shape=features.shape,
        feature_names=tuple(store.facts["names"]),
    )


def warn_of_numbered_columns(recordings: Sequence[tuple[str, npt.NDArray[np.float32]]]) -> None:
    """Warn if the first step of tables is 0, 1, 2 and so on: names of columns that pandas writes.

    Args:
        recordings: The name of the file and the values of each recording.
    """
    tables = [(key, values[0]) for key, values in recordings if key.lower().endswith(".csv")]
    numbered = [key for key, step in tables if np.array_equal(step, np.arange(len(step)))]
    if not numbered:
        return
    n_features = len(tables[0][1])
    # In a single table, so few may be values.
    if n_features < FEWEST_NUMBERED and not (n_features == 2 and len(numbered) == len(tables) > 1):
        return
    warnings.warn(
        f"The first step of {len(numbered)} of {len(tables)} tables, such as "
        f"{printable(numbered[0])}, is 0, 1 and so on: if this is a line of column names, remove "
        "it (pandas: header=False).",
        stacklevel=3,
    )


def _warn_of_rounding(noun: str, keys: Sequence[str], values: Sequence[StepTarget]) -> None:
    """Warn if the variation of a feature or target is about as small as the steps of float32.

    A time since 1970 is such a feature: near 1.7e9 s, float32 has steps of 128 s.
    """
    ends = np.array([(one.min(axis=0), one.max(axis=0)) for one in values])  # [B, 2, F]
    least, most = ends[:, 0], ends[:, 1]
    largest = np.maximum(np.abs(least), np.abs(most))
    step = np.spacing(largest)
    with np.errstate(over="ignore"):
        extent = most - least
    is_whole = (least % 1 == 0) & (most % 1 == 0) & (largest < LEAST_ROUNDED_INTEGER)
    is_rounded = (extent > 0) & (extent < FEWEST_FLOAT_STEPS * step) & ~is_whole
    # One large value in all recordings may be what is left of different ones.
    is_rounded |= (step > 1) & (most.max(axis=0) == least.min(axis=0))
    if not is_rounded.any():
        return
    recording, column = (int(index) for index in np.argwhere(is_rounded)[0])
    low, high, resolution = (each[recording, column] for each in (least, most, step))
    warnings.warn(
        f"{is_rounded.any(axis=1).sum()} of {len(keys)} recordings have a {noun} that is rounded "
        f"to float32: {noun} {column + 1} of {printable(keys[recording])} goes from {low:.9g} to "
        f"{high:.9g} in steps of {resolution:.3g}; subtract an offset in float64 before you save "
        "it, or leave it out.",
        stacklevel=3,
    )


@contextmanager
def progress_bar(what: str, total: int, show: bool | None) -> Iterator[Callable[[], None]]:
    """A bar on standard error.

    Args:
        what: What is counted.
        total: Their number.
        show: Whether to show it; None: if standard error is a terminal.

    Yields:
        A function that advances the bar by one.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda: None
        return
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn(what),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
