"""A data set as frames: every recording is read once, and its frames are kept in the cache."""

import sys
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from nwavesdk.data.consistency import (
    Layout,
    clock_note,
    filled_note,
    layout_of,
    numbered_columns_note,
    other_layout,
    rounding_note,
)
from nwavesdk.data.feature_options import FeatureOptions
from nwavesdk.data.features import (
    Featured,
    Features,
    LogMelFeatures,
    SeriesFeatures,
)
from nwavesdk.data.folder import Faults
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.source import Item, Source
from nwavesdk.data.store import SUFFIX, FrameStore, StoreWriter, open_store
from nwavesdk.internal.files import printable, reason_of

__all__ = [
    "Loaded",
    "content_fingerprint",
    "load_recordings",
    "progress_bar",
]

# The largest allowed length of a recording [s]: a day.
LONGEST = 86_400.0


@dataclass(frozen=True, eq=False)
class Loaded:
    """A data set as frames.

    Args:
        recordings: The recordings.
        features: How they became frames.
        is_cached: Whether the frames came from the cache.
        digests: The hash of the content of each recording.
        notes: What looks like a mistake in the values; each was a warning.
    """

    recordings: Recordings
    features: Features
    is_cached: bool
    digests: Mapping[Item, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
    notes = _notes_on(recordings, features, store.facts.get("filled", ()))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return Loaded(recordings, features, store.is_cached, digests, notes)


def _notes_on(recordings: Recordings, features: Features, filled: Sequence[int]) -> tuple[str, ...]:
    """What was changed in the values of recordings, and what looks like a mistake."""
    notes: list[str | None] = []
    if isinstance(features, SeriesFeatures):
        width = recordings.n_features // features.copies
        pairs = zip(recordings.keys, recordings.frames, strict=True)
        notes = [
            filled_note(filled),
            clock_note(recordings.frames, recordings.feature_names, width),
            numbered_columns_note([(key, frames[:1, :width]) for key, frames in pairs]),
            rounding_note("feature", recordings.keys, recordings.frames),
        ]
    if recordings.task == "regression":
        notes.append(rounding_note("target", recordings.keys, recordings.targets))
    return tuple(note for note in notes if note is not None)


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
        data = (folder / key).read_bytes()
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
    filled: list[int] = []
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
            layout = layout_of(one, sample.names)
            if expected is None:
                expected, first = layout, printable(item.key)
            elif not layout.is_like(expected):
                n_others += 1
                raise other_layout(item, layout, expected, first, copies)
            elif layout.names and not expected.names:
                expected, first = layout, printable(item.key)
            filled.append(sample.n_filled)
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
        facts = {
            "keys": keys,
            "skipped": faults.skipped,
            "names": expected.names,
            "filled": filled if any(filled) else [],
        }
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
