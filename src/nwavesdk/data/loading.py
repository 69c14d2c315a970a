"""Data sets as frames: every recording is read once, and its frames are stored in a folder.

A store is a folder with three files: `frames.npy` has the values of all recordings, one after the
other, as float32 (frames) or pairs of int32 (bins of events); `targets.npy` has their targets; and
`index.json` has the shapes of all recordings, facts such as their names, and the SHA-256 of all
this. Its arrays are mapped, so they may be larger than memory.

The folder appears whole or not at all, so a process that writes may be killed. A damaged store is
detected, and computed again. The checksum detects damage, not malice: a user who can write to the
cache can replace frames. They can do nothing else, since the arrays are numbers of known shape, and
not code.
"""

import json
import os
import shutil
import sys
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from nwavesdk.data.binning import to_frames
from nwavesdk.data.consistency import RecordingLayout, check_layout, notes_on
from nwavesdk.data.features import (
    VERSION,
    EventBins,
    Featured,
    FeatureOptions,
    Features,
)
from nwavesdk.data.folder import Faults
from nwavesdk.data.recordings import Frames, Recordings
from nwavesdk.data.source import BACKGROUND, Item, Source, StepTarget, digest_of, reading
from nwavesdk.internal.files import (
    FileError,
    draft_of,
    make_private_folder,
    printable,
    reason_of,
    remove_drafts,
)

__all__ = [
    "INDEX",
    "STORE_ARRAYS",
    "EventFrames",
    "LoadedRecordings",
    "list_recordings",
    "load_recordings",
    "open_store",
    "store_frames",
]

# The files in the folder of a store.
STORE_ARRAYS = ("frames.npy", "targets.npy")
INDEX = "index.json"

# Part of the names of folders: raise it when their content has another form.
STORE_VERSION = 2

# The length of the header of `frames.npy`. numpy pads headers to multiples of 64 bytes, and the
# header of an array with two axes is longer than 64 and shorter than 128.
HEADER_BYTES = 128

# An older draft belongs to a process that was killed [s].
STALE_SECONDS = 86_400

# Number of images, about, that are read to find their shape.
IMAGES_READ = 100


@dataclass(frozen=True, eq=False)
class LoadedRecordings:
    """A data set as frames.

    Args:
        recordings: The recordings.
        features: How they became frames.
        is_cached: Whether the frames came from the cache.
        notes: Notes on values that look like a mistake; each was a warning.
    """

    recordings: Recordings
    features: Features
    is_cached: bool
    notes: tuple[str, ...] = ()


def load_recordings(
    source: Source,
    faults: Faults,
    features: Features | FeatureOptions,
    *,
    cache: Path | None = None,
    progress: bool | None = None,
    uncounted: Container[str] = (),
) -> LoadedRecordings:
    """Read a data set as frames; one recording is in memory at a time.

    Args:
        source: The recordings.
        faults: Receives the faults of recordings that cannot be used.
        features: How recordings become frames.
        cache: Folder of computed frames; None: a temporary folder.
        progress: Whether to show progress bars; None: if standard error is a terminal.
        uncounted: Keys of recordings that the fingerprint does not cover.

    Raises:
        ValueError: If there is no usable recording, or not enough memory.
        RecordingError: See `Faults`.
    """
    listed = source.items
    is_quiet = not (sys.stderr.isatty() if progress is None else progress)
    with Progress(console=Console(stderr=True), disable=is_quiet) as bar:
        checked = bar.track(listed, description="recordings checked")
        digests = dict(faults.collect(checked, source.digest))
        source = replace(source, items=tuple(digests))
        if isinstance(features, FeatureOptions):
            # A sample of the images is enough to see whether there are colors.
            every = (len(source.items) - 1) // IMAGES_READ + 1 if source.kind == "image" else 1
            read = source.read_header or source.read
            samples = replace(faults, skipped=[]).collect(source.items[::every], read)
            features = features.features(source.kind, (sample.values for _, sample in samples))

        # The same integers are classes of steps for one task, and values for another.
        settings = (
            f"{_fingerprint(features, digests)} {source.task} {source.limits} {STORE_VERSION}"
        )
        path = cache / sha256(settings.encode()).hexdigest() if cache else None
        store: Any = open_store(path) if path else None

        # If faults must be raised, a store with skipped faults is computed again to raise them.
        is_cached = store is not None and not (store["skipped"] and faults.on_error == "raise")
        if not is_cached:
            store = _compute(source, features, faults, path, bar)

    faults.skipped += map(tuple, store["skipped"])
    # A store has a number of filled values for each usable recording.
    used = tuple(item for item in source.items if item.key in store["filled"])
    _check_no_class_lost(listed, used, faults)
    counted = {item: digests[item] for item in used if item.key not in uncounted}
    front_end = getattr(features, "log_mel", features)
    recordings = replace(
        list_recordings(replace(source, items=used)),
        frames=store["frames"],
        fingerprint=_fingerprint(features, counted),
        sample_rate=getattr(front_end, "sample_rate", None),
        skipped=tuple(faults.skipped),
        targets=store["targets"],
        feature_shape=getattr(features, "shape", ()),
        feature_names=tuple(store["names"]),
    )

    notes = tuple(notes_on(recordings, features, store["filled"].values()))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return LoadedRecordings(recordings, features, is_cached, notes)


def list_recordings(source: Source) -> Recordings:
    """The recordings of a source before they are read: names, classes, sets and groups."""
    names = [item.class_name or "" for item in source.items]
    inside = {event.name for item in source.items for event in item.events}
    known = ({*names} | inside) - {""}

    # A table may have replaced the classes of the source.
    classes = source.classes if known <= {*source.classes} else tuple(sorted(known))
    if source.task == "detect":
        classes = (BACKGROUND, *(name for name in classes if name != BACKGROUND))
    has_classes = source.task in ("classification", "detect")
    labels = [classes.index(name) if has_classes else 0 for name in names]

    parts = tuple(item.part or "" for item in source.items)
    groups = tuple(item.group or "" for item in source.items)
    events = tuple(item.events for item in source.items)
    return Recordings(
        frames=(np.zeros((0, 1), np.float32),) * len(names),
        labels=np.array(labels, np.int64),
        classes=classes,
        keys=tuple(item.key for item in source.items),
        fingerprint="",
        task=source.task,
        parts=parts if any(parts) else (),
        groups=groups if any(groups) else (),
        events=events if any(events) else (),
    )


def _fingerprint(features: Features, digests: Mapping[Item, bytes]) -> str:
    """Hash of the content and the names of recordings, and of all settings of their frames."""
    described = (
        repr((item.key, digest, item.class_name, item.part, item.group, *item.events))
        for item, digest in digests.items()
    )
    return sha256(f"{VERSION} {features!r}{''.join(described)}".encode()).hexdigest()


def _compute(
    source: Source, features: Features, faults: Faults, path: Path | None, bar: Progress
) -> dict[str, Any]:
    """The frames of all recordings, in a temporary folder if the cache cannot be written."""
    if path:
        try:
            return store_frames(path, *_read(source, features, faults, bar))
        except OSError as error:
            warnings.warn(
                f"The cache {path.parent} cannot be written ({reason_of(error)}): frames are "
                "computed each time; set NWAVESDK_CACHE to a folder that can be written.",
                stacklevel=3,
            )

    # The files stay readable after the folder is removed, because they are mapped.
    with TemporaryDirectory(prefix="nwavesdk-", ignore_cleanup_errors=True) as folder:
        return store_frames(Path(folder, "frames"), *_read(source, features, faults, bar))


def _read(
    source: Source, features: Features, faults: Faults, bar: Progress
) -> tuple[Iterator[Featured], dict[str, Any]]:
    """The frames of each usable recording, and facts, which are complete after all frames."""
    # The layout of the first recording, or of the first recording with feature names.
    expected: RecordingLayout | None = None
    facts: dict[str, Any] = {"filled": {}, "names": (), "skipped": []}

    def read(item: Item) -> Featured:
        nonlocal expected
        sample = source.read(item)
        featured = features(item, sample)
        expected = check_layout(
            item, featured, sample.names, getattr(features, "copies", 1), expected
        )
        facts["names"] = expected.names
        facts["filled"][item.key] = sample.n_filled
        return featured

    # Faults are stored with the frames, apart from the faults of earlier steps.
    faults = replace(faults, skipped=facts["skipped"])
    collected = faults.collect(bar.track(source.items, description="recordings"), read)
    return (featured for _, featured in collected), facts


def _check_no_class_lost(listed: Sequence[Item], used: Sequence[Item], faults: Faults) -> None:
    """Raise if all recordings of a class or an official set are skipped, which would remove it."""
    for attribute, noun in (("class_name", "class"), ("part", "set")):
        remaining = {getattr(item, attribute) for item in used}
        for item in listed:
            if getattr(item, attribute) not in remaining:
                raise ValueError(
                    f"All recordings of the {noun} '{printable(getattr(item, attribute))}' would "
                    f"be skipped, such as {printable(item.key)}, which "
                    f"{dict(faults.skipped)[printable(item.key)]}: repair or remove them."
                )


@dataclass(frozen=True, eq=False)
class EventFrames(Sequence[Frames]):
    """Frames of events, which are made at each access.

    Args:
        bins: The bins of each recording.
    """

    bins: Sequence[EventBins]

    def __len__(self) -> int:
        return len(self.bins)

    def __getitem__(self, index: Any) -> Any:
        pairs, shape = self.bins[index]
        return to_frames(pairs, *shape)


def store_frames(
    path: Path, recordings: Iterable[Featured], facts: dict[str, Any]
) -> dict[str, Any]:
    """Write the frames of recordings into a folder, one after the other.

    Drafts of killed processes are removed.

    Args:
        path: The folder. It may be removed later: files that are mapped stay readable.
        recordings: Frames and target of each recording; at least one recording.
        facts: JSON values that are stored with the frames. They may be added while the recordings
            are read.

    Returns:
        Frames `[L, F]` of each recording as `"frames"`, the target of each as `"targets"` if steps
        have targets, and the facts.

    Raises:
        OSError: If the folder cannot be written.
    """
    make_private_folder(path.parent)
    remove_drafts(path.parent, STALE_SECONDS)

    draft = draft_of(path)
    new = draft / "new"
    try:
        new.mkdir(parents=True)
        index = {"shapes": _write_arrays(new, recordings)} | facts
        store = _map_store(new, index)
        (new / INDEX).write_text(json.dumps(index | {"sha256": store["sha256"]}))

        # An older folder is moved into the draft, and removed with it.
        with suppress(FileNotFoundError):
            path.rename(draft / "replaced")
        with suppress(OSError):  # another process has stored the same frames in the meantime
            new.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return store


def _write_arrays(folder: Path, recordings: Iterable[Featured]) -> list[tuple[int, ...]]:
    """Write the arrays of a store; return rows, steps and features of each recording."""
    shapes: list[tuple[int, ...]] = []
    targets: list[StepTarget] = []
    with open(folder / STORE_ARRAYS[0], "xb") as file:
        # The number of rows is known at the end, so the header is written last.
        file.seek(HEADER_BYTES)
        for frames, target in recordings:
            rows: Any = frames.pairs if isinstance(frames, EventBins) else frames
            file.write(rows.tobytes())
            shapes.append((len(rows), *frames.shape))
            if target is not None:
                targets.append(target)

        header = {
            "descr": rows.dtype.str,
            "fortran_order": False,
            "shape": (sum(count for count, *_ in shapes), rows.shape[1]),
        }
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header)

    np.save(folder / STORE_ARRAYS[1], np.concatenate(targets or [np.zeros(0, np.float32)]))
    return shapes


def open_store(path: Path) -> dict[str, Any] | None:
    """The store of `store_frames` in a folder of the cache; None if there is no such folder.

    A damaged folder gives a warning, and counts as missing.
    """
    try:
        # `reading` turns every fault into a FileError, and rejects a pipe, for which `open` would
        # wait.
        read_frames, read_targets = (reading(path / name, "an array") for name in STORE_ARRAYS)
        with reading(path / INDEX, "JSON"), read_frames, read_targets:
            index = json.loads((path / INDEX).read_bytes())
            expected = index.pop("sha256")
            store = _map_store(path, index)
            if store["sha256"] != expected:
                raise ValueError("its checksum is wrong")
            return store
    except FileError:
        if os.path.lexists(path):
            warnings.warn(
                f"The folder {path.name} of the cache {path.parent} was damaged: its frames are "
                "computed again.",
                stacklevel=3,
            )
    return None


def _map_store(folder: Path, index: dict[str, Any]) -> dict[str, Any]:
    """The store in a folder, with its checksum; its arrays are read when they are used."""
    values, targets = (
        np.load(folder / name, mmap_mode="r").view(np.ndarray) for name in STORE_ARRAYS
    )
    checksum = digest_of(json.dumps(index), values, targets).hex()
    counts, lengths, widths = np.array(index["shapes"]).T

    frames: Any = tuple(np.split(values, np.cumsum(counts)[:-1]))
    if values.dtype == np.int32:
        shapes = zip(lengths.tolist(), widths.tolist(), strict=True)
        frames = EventFrames(tuple(map(EventBins, frames, shapes)))

    steps = tuple(np.split(targets, np.cumsum(lengths)[:-1])) if len(targets) else ()
    return index | {"frames": frames, "targets": steps, "sha256": checksum}
