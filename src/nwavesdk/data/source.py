"""The recordings of a data set before they are read and before features are computed.

Every format ends in a `Source`: a list of items, and a function that reads an item. So a data set
that is larger than memory is read recording by recording.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nwavesdk.data.decoding import Sound
from nwavesdk.metrics.detection import Event

__all__ = [
    "BACKGROUND",
    "PARTS",
    "PART_OF_WORD",
    "Events",
    "Item",
    "Part",
    "RecordingKind",
    "Sample",
    "Source",
    "StepTarget",
    "TaskName",
    "name_classes",
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

# The class of each step, int64 `[T]`, or its values, float32 `[T, D]`.
StepTarget = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Item:
    """A recording that has not been read.

    Args:
        key: Its name, the same on every machine: a path inside the data folder, or the name of a
            file and the place inside it, as in `"set.npz/17"`.
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
        classes: Names of the classes in the order of the format; if empty, the sorted classes of
            the items. For labels per step, the names of their values.
        shape: Features of a step, if they are known before reading.
        read_header: Reads a sound without its samples, for its rate; None for other kinds.
        limits: Text of the limits that `read` checks. The cache does not mix frames that were
            computed under different limits.

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
