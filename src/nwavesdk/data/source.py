"""The recordings of a data set before features are computed, and how their files are read.

Every format ends in a `Source`: a list of items, and a function that reads an item. So a data set
that is larger than memory is read recording by recording.

Files are read by libraries: `reading` is the one error for all that they may raise, and `checked`
the one check of values.
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.files import FileError, kind_of, one_line, reason_of
from nwavesdk.metrics.detection import Event

__all__ = [
    "BACKGROUND",
    "MAX_VALUES",
    "NUMBER_KINDS",
    "PARTS",
    "PART_OF_WORD",
    "Array",
    "Events",
    "Item",
    "Part",
    "RecordingError",
    "RecordingKind",
    "Sample",
    "Samples",
    "Sound",
    "Source",
    "StepTarget",
    "TaskName",
    "checked",
    "digest_of",
    "list_rows",
    "name_classes",
    "reading",
]

# The kind of a recording before the front end.
RecordingKind = Literal["sound", "series", "image", "events"]

# The task of a net: a class for each recording, a class for each step ("labels"), values for each
# step, values for each step without an input, or events in streams ("detect").
TaskName = Literal["classification", "labels", "regression", "pattern", "detect"]

# The class of sound without events, the first class of the task "detect".
BACKGROUND = "background"

# The set that an official split assigns a recording to.
Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

# Words for these sets in the names of folders and files.
PART_OF_WORD: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "t10k": "test",
}

# Values as a file holds them.
Array = npt.NDArray[Any]

# Mono samples `[samples]`, full scale 1; and with their rate [Hz].
Samples = npt.NDArray[np.float32]
Sound = tuple[Samples, int]

# The class of each step, int64 `[T]`, or its values, float32 `[T, D]`.
StepTarget = npt.NDArray[np.int64] | npt.NDArray[np.float32]

# Largest number of values of a recording: 512 MiB as float32, or 4,000 frames of a camera with
# 128 x 128 pixels and two polarities.
MAX_VALUES = 2**27

# numpy's letters for the dtypes of real numbers: booleans, signed and unsigned integers, floats.
NUMBER_KINDS = "biuf"


@dataclass(frozen=True)
class Item:
    """A recording that has not been read.

    Args:
        key: Its name, the same on every machine, such as `"yes/a.wav"` or `"set.npz/17"`.
        path: The file that an error names.
        class_name: Its class, if each recording has one.
        part: The set that it belongs to in an official split.
        group: Its group, such as its speaker or patient.
        target: The file of its target.
        index: Its place in a file that holds several recordings.
        events: The events in it, by a table of times.

    Example:
        >>> item = Item("set.npz/17", Path("set.npz"), class_name="walk", group="ann", index=17)
        >>> item.key, item.class_name, item.part
        ('set.npz/17', 'walk', None)
    """

    key: str
    path: Path
    _: KW_ONLY
    class_name: str | None = None
    part: Part | None = None
    group: str | None = None
    target: Path | None = None
    index: int = 0
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a camera, a silicon cochlea or another sensor, in the order of their times.

    Args:
        times: Time of each event from the beginning of the recording [s], float64 `[n]`.
        places: Pixel, channel or cell of each event, int64 `[n]`: an index into `shape`, flattened.
        shape: Size of the sensor, such as `(2, 34, 34)` for polarity, y and x, or `(700,)`.
        duration: Length of the recording [s].

    Example:
        >>> events = Events(np.array([0.0, 0.02]), np.array([5, 699]), shape=(700,), duration=0.1)
        >>> len(events), np.unravel_index(events.places, events.shape)
        (2, (array([  5, 699]),))
    """

    times: npt.NDArray[np.float64]
    places: npt.NDArray[np.int64]
    shape: tuple[int, ...]
    duration: float

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, eq=False)
class Sample:
    """The content of a recording.

    Args:
        values: A sound; a series, float32 `[T, *features]`; an image with values from 0 to 1,
            float32 `[H, W]` or `[H, W, colors]`; or events.
        target: The class or the values of each step, if they are the target.
        names: Names of the features of a series, if its file has them.
        n_filled: Values that were missing in the file and were interpolated.

    Example:
        >>> sample = Sample(np.zeros((100, 3), np.float32), target=np.zeros(100, np.int64))
        >>> sample.values.shape, sample.target.shape
        ((100, 3), (100,))
    """

    values: Sound | npt.NDArray[np.float32] | Events
    target: StepTarget | None = None
    names: tuple[str, ...] = ()
    n_filled: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """The recordings of a data set.

    Args:
        kind: The kind of the recordings.
        task: The task of a net on these recordings.
        items: The recordings.
        read: Reads an item; raises a `RecordingError` if it cannot be used.
        digest: SHA-256 of the content of an item, with its target.
        classes: Names of the classes; if empty, the sorted classes of the items.
        shape: Features of a step, if they are known before reading.
        read_header: Reads a sound without its samples, for its rate; None for other kinds.
        limits: Text of the limits that `read` checks.

    Example:
        >>> signals = {"up": np.arange(4.0), "down": -np.arange(4.0)}
        >>> source = Source(
        ...     kind="series",
        ...     task="classification",
        ...     items=tuple(Item(name, Path(name), class_name=name) for name in signals),
        ...     read=lambda item: Sample(signals[item.key].astype(np.float32)[:, None]),
        ...     digest=lambda item: signals[item.key].tobytes(),
        ... )
        >>> [source.read(item).values.shape for item in source.items]
        [(4, 1), (4, 1)]
    """

    kind: RecordingKind
    task: TaskName
    items: tuple[Item, ...]
    read: Callable[[Item], Sample]
    digest: Callable[[Item], bytes]
    classes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    read_header: Callable[[Item], Sample] | None = None
    limits: str = ""


def list_rows(
    path: Path, classes: Sequence[str | None], parts: Sequence[Any] = (), groups: Sequence[Any] = ()
) -> tuple[Item, ...]:
    """The recordings in a file that holds several, in their order.

    Args:
        path: The file.
        classes: The class of each recording, or None.
        parts: The set of each in an official split; empty without an official split.
        groups: The group of each; empty if unknown.
    """
    unknown = [None] * len(classes)
    rows = zip(classes, parts or unknown, groups or unknown, strict=True)
    return tuple(
        Item(str(index), path, class_name=name, part=part, group=group, index=index)
        for index, (name, part, group) in enumerate(rows)
    )


def name_classes(labels: Collection[Any], names: Sequence[str] = ()) -> dict[Any, str]:
    """The name of each class by its label, in the order of the classes.

    Args:
        labels: The labels of recordings or steps: integers or texts.
        names: The names of the classes 0 to K - 1; empty if the labels themselves are the names.

    Raises:
        ValueError: If a label has no name, or a name occurs twice.

    Example:
        >>> name_classes([10, 9, 9]), name_classes([1, 1], ["no", "yes"])
        ({9: '9', 10: '10'}, {0: 'no', 1: 'yes'})
    """
    # Labels that are numbers count the names from 0.
    known: Sequence[Any] = sorted(set(labels))
    if names and known:
        known = names if isinstance(known[0], str) else range(len(names))
    names = names or list(map(str, known))

    if not set(labels) <= set(known) or len(set(names)) != len(known):
        raise ValueError(
            f"it has the labels {sorted(set(labels))!r:.40}, expected 0 to {len(names) - 1}, or "
            f"names, of the classes {', '.join(names):.80}, each of which occurs once"
        )
    return dict(zip(known, names, strict=True))


# How files are read


class RecordingError(FileError):
    """A recording, or its target, cannot be used.

    Example:
        >>> str(RecordingError(Path("yes/1.wav"), "is empty"))
        'yes/1.wav is empty: repair or remove it.'
    """


@contextmanager
def reading(
    path: Path, form: str, remedy: str = "repair or remove it", *, max_bytes: float = inf
) -> Iterator[None]:
    """Turn any error of a library within a `with` block into one line that names the file.

    Args:
        path: The file, or the name of a recording in it, such as `set.h5/17`. A link to a file is
            followed; pipes and devices are never opened.
        form: The expected form, such as "sound" or "a .npy file".
        remedy: The remedy for a file of another form.
        max_bytes: Largest allowed size, for a file that is read into memory.

    Raises:
        FileError: If there is no regular file, or it cannot be read.
        RecordingError: If the file is empty or too large, or the block raises anything but a
            `FileError` or a missing extra.
    """
    try:
        file = path.parent if path.parent.is_file() else path
        status = file.stat()
        if not file.is_file():
            raise FileError(
                path, f"is {kind_of(status.st_mode)}, expected a file", "pass the path of a file"
            )
        if not status.st_size:
            raise RecordingError(path, "is empty (0 bytes)", remedy)
        if status.st_size > max_bytes:
            raise ValueError(f"{status.st_size:,} bytes, expected at most {max_bytes:,}")

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage, which becomes an error
            yield
    except (FileError, ModuleNotFoundError):
        raise
    except FileNotFoundError:
        raise FileError(path, "does not exist", "check the name") from None
    except PermissionError as error:
        raise FileError(
            path, f"cannot be read ({reason_of(error)})", "change its permissions or its name"
        ) from None
    except Exception as error:  # a damaged file can raise anything
        # Some libraries name the open file instead of its path.
        reason = re.sub(r" ?<_io[^>]*>?", "", one_line(error))
        raise RecordingError(path, f"cannot be read as {form} ({reason})", remedy) from None


def checked(path: Path, values: Array, max_values: int | None = None) -> npt.NDArray[np.float32]:
    """The values of a recording as float32.

    Args:
        path: The file, for errors.
        values: The values.
        max_values: Largest allowed number of values. [MAX_VALUES]

    Raises:
        RecordingError: If they are not real numbers, none or too many, or not finite.
    """
    limit = max_values or MAX_VALUES
    if values.dtype.kind not in NUMBER_KINDS or not 0 < values.size <= limit:
        raise RecordingError(
            path,
            f"holds values of type {values.dtype} and shape {list(values.shape)}, expected 1 to "
            f"{limit:,} integers or floats",
            "convert or cut it",
        )

    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.ascontiguousarray(values, np.float32)
        # The sum is finite only if all values are. In float64, it cannot overflow.
        is_finite = np.isfinite(converted.sum(dtype=np.float64))
    if not is_finite:
        index = tuple(np.argwhere(~np.isfinite(converted))[0].tolist())
        raise RecordingError(
            path,
            f"has {values[index]} at index {list(index)}, expected finite float32 numbers",
            "fill in missing values (of .csv and .npy: --missing interpolate), or remove it",
        )
    return converted


def digest_of(*parts: str | Array) -> bytes:
    """SHA-256 of texts and arrays; the type and the shape of an array count, too."""
    digest = sha256()
    for array in map(np.asarray, parts):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
