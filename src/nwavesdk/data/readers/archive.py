"""A data set in a `.npz`, which is read recording by recording.

The file holds arrays with these names, as `numpy.savez` and `numpy.savez_compressed` write them:

| name | shape | content |
|---|---|---|
| `x` | `[R, T, *features]` | R recordings of the same length |
| `x` | `[sum of lengths, *features]` | recordings of any lengths, one after the other |
| `x` | `[R, longest, *features]` | recordings of any lengths, padded at their ends |
| `lengths` | `[R]` | the lengths, for the two forms before |
| `x_0`, `x_1`, ... | `[T, *features]` | recordings of any lengths, one array for each |
| `y` | `[R]` | a class for each recording: integers, booleans or strings |
| `y` | `[R, T]`, integers or booleans | a class for each step |
| `y` | `[R, T]`, floats, or `[R, T, D]` | D values for each step |
| `group` | `[R]` | what recordings share, such as a speaker: integers or strings |
| `split` | `[R]` | `"train"`, `"val"` or `"test"` |
| `classes` | `[K]`, strings | names of the classes 0 to K - 1 |

Features that are left out become one: `[R, T]` is `[R, T, 1]`. If recordings have any lengths, `y`
with values for steps has one of the forms of `x`: `[sum of lengths]`, padded, or `y_0`, `y_1`, ...
Without `x`, `y` `[T, D]` or `[R, T, D]` is a pattern that a net generates.

The rule for the task: `y` `[R]` is a classification; integers with one value per step are labels;
everything else with values for steps is a regression. `task="regression"` takes integers as values.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nwavesdk.data.readers.layout import (
    Rows,
    Steps,
    find_lengths,
    find_steps,
    group_members,
    lay_out,
)
from nwavesdk.data.readers.npz import Archive, Member
from nwavesdk.data.readers.values import (
    NUMBER_KINDS,
    Values,
    excerpt,
    find_not_finite,
    to_float32,
)
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Item, Part, Sample, Source, Task

__all__ = ["open_npz"]

NAMES = ("x", "y", "lengths", "group", "split", "classes")
PARTS: tuple[Part, ...] = ("train", "val", "test")

# numpy's letters for the dtypes of labels: booleans and integers, and texts of bytes or letters.
INTEGER_KINDS = "biu"
TEXT_KINDS = "SU"

# The label of a step without a class, if the classes have names.
NO_CLASS = -1

# Integers with more different values are not labels of steps.
MOST_CLASSES = 1000

FILL_IN = "fill in missing values, or remove the recording"

Array = npt.NDArray[Any]


def open_npz(path: Path, task: Task | None = None, *, needs_y: bool = True) -> Source:
    """The recordings in a `.npz`; the module describes its arrays.

    Args:
        path: The file.
        task: What a net learns; None finds it by the rule of the module.
        needs_y: Whether a file without y is an error. Otherwise its recordings have no class.

    Returns:
        A source of series with the keys `"FILE.npz/17"`. A pattern has values `[T, 0]`. Recordings
        of a deflated file are read fastest in their order.

    Raises:
        FileError: If the file does not exist or cannot be opened.
        RecordingError: If it is not a `.npz`, an array is missing, unknown, or has another shape or
            dtype than the module describes, or its data are for another task.
    """
    members = group_members(Archive(path), NAMES, ("x", "y"))
    if "y" not in members and (needs_y or "x" not in members):
        raise RecordingError(path, "has no array y", "add classes [R], or values [R, T, D]")
    steps = _steps_of(path, members)
    inputs = _inputs_of(path, members, steps)
    if "y" not in members:
        assert inputs is not None
        items = _list_items(path, members, len(steps) * [None])
        reader = _Reader(path, inputs, None, None)
        return Source(
            "series", "classification", items, reader.read, reader.digest, (), inputs.features
        )
    y = members["y"]
    has_classes = inputs is not None and y[0].shape == (len(steps),) and y[0].name == "y"
    if inputs is not None and not has_classes:
        _check_axes(path, y[0], steps)
    outputs = None if has_classes else lay_out(path, "y", y, steps)
    task = _choose_task(path, inputs, outputs, task)
    names = _names_of(path, members)
    class_names: Sequence[str | None] = len(steps) * [None]
    values = None
    if outputs is None:
        class_names, names = _read_classes(path, y[0], names)
    elif task == "labels":
        values, names = _find_labels(path, outputs, names)
    else:
        _check_values(path, outputs, names)
    reader = _Reader(path, inputs, outputs, values)
    items = _list_items(path, members, class_names)
    shape = () if inputs is None else inputs.features
    return Source("series", task, items, reader.read, reader.digest, names, shape)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads recordings of a file.

    Args:
        path: The file.
        inputs: The values; None if there are none.
        outputs: The labels or values of steps; None if each recording has a class.
        labels: The label of each class, sorted; None if outputs are values.
    """

    path: Path
    inputs: Rows | None
    outputs: Rows | None
    labels: Array | None

    def digest(self, item: Item) -> bytes:
        content = sha256(str(item.class_name).encode())
        for rows in (self.inputs, self.outputs):
            if rows is not None:
                stored = rows.read(item.index)
                content.update(f"{stored.dtype.str}{stored.shape}".encode())
                content.update(np.ascontiguousarray(stored).data)
        return content.digest()

    def read(self, item: Item) -> Sample:
        target: npt.NDArray[np.int64] | Values | None = None
        if self.outputs is not None and self.labels is not None:
            stored = self.outputs.read(item.index)
            target = np.searchsorted(self.labels, stored).astype(np.int64)
            if self.labels[0] >= 0:
                target[stored == NO_CLASS] = NO_CLASS
        elif self.outputs is not None:
            target = self._read_values("y", self.outputs, item.index)
            target = target.reshape(len(target), -1)
        if self.inputs is not None:
            return Sample(self._read_values("x", self.inputs, item.index), target)
        assert target is not None
        return Sample(np.zeros((len(target), 0), np.float32), target)

    def _read_values(self, name: str, rows: Rows, index: int) -> Values:
        stored = rows.read(index)
        values = to_float32(stored)
        place = find_not_finite(values)
        if place is not None:
            value = stored[place]
            what = f"has {value} in {name} of recording {index} at index {list(place)}"
            remedy = "divide all values by a power of ten" if np.isfinite(value) else FILL_IN
            raise RecordingError(self.path, f"{what}, expected finite float32 numbers", remedy)
        return values


def _steps_of(path: Path, members: dict[str, tuple[Member, ...]]) -> Steps:
    if "lengths" in members:
        return find_lengths(path, members["lengths"][0])
    name = "x" if "x" in members else "y"
    first = members[name][0]
    if (first.name, len(first.shape)) == ("y", 2):  # one pattern [T, D]
        return Steps(np.array([first.shape[0]], np.int64), may_differ=True)
    return find_steps(path, name, members[name])


def _inputs_of(path: Path, members: dict[str, tuple[Member, ...]], steps: Steps) -> Rows | None:
    if "x" not in members:
        return None
    rows = lay_out(path, "x", members["x"], steps)
    _check_kinds(path, "x", rows, NUMBER_KINDS)
    return replace(rows, features=rows.features or (1,))


def _check_axes(path: Path, y: Member, steps: Steps) -> None:
    """Reject classes of another number of recordings; values of joined steps have one axis, too."""
    is_joined = steps.may_differ and y.shape == (steps.lengths.sum(),)
    if y.name == "y" and len(y.shape) == 1 and not is_joined:
        what = f"has {y.shape[0]:,} classes in y, and {len(steps):,} recordings in x"
        raise RecordingError(path, what, "save one class for each recording")
    if y.name == "y" and y.shape == (len(steps), 1) and steps.lengths.max() > 1:
        what = f"has y of shape {list(y.shape)}, expected [{len(steps)}] with a class for each "
        remedy = "save y[:, 0]"
        if y.header.dtype.kind not in TEXT_KINDS + INTEGER_KINDS:
            remedy += ".astype(int) if these are classes"
        raise RecordingError(path, what + "recording, or values for each step", remedy)
    is_for_steps = steps.lengths.max() in (1, *y.shape[1:2])
    if y.name == "y" and y.shape[:1] == (len(steps),) and not is_for_steps and _is_one_hot(y):
        what = f"has y of shape {list(y.shape)} with a one in each row, expected [{len(steps)}] "
        raise RecordingError(
            path, what + "with a class for each recording", "save y.argmax(axis=1)"
        )


def _is_one_hot(y: Member) -> bool:
    """Whether each row has a one and zeros, as classes do that other libraries encode."""
    if len(y.shape) != 2 or y.header.dtype.kind not in NUMBER_KINDS:
        return False
    values = y.read_all()
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())


def _check_kinds(path: Path, name: str, rows: Rows, allowed: str) -> None:
    for member in rows.members:
        if member.header.dtype.kind not in allowed:
            what = f"has {name} of dtype {member.header.dtype}, expected numbers"
            raise RecordingError(path, what, "save an array of integers or floats")


def _names_of(path: Path, members: dict[str, tuple[Member, ...]]) -> tuple[str, ...]:
    """The names of classes in the file; none if they are not given."""
    names = _texts_of(path, members["classes"][0]) if "classes" in members else ()
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        what = f"has {excerpt(twice)} twice in classes, expected different names"
        raise RecordingError(path, what, "save one name for each class")
    return names


def _choose_task(path: Path, inputs: Rows | None, outputs: Rows | None, task: Task | None) -> Task:
    """The task by the rule of the module, or the one that is asked for, if the data are for it."""
    found: Task = "regression"
    if inputs is None:
        found = "pattern"
    elif outputs is None:
        found = "classification"
    elif not outputs.features and outputs.kinds <= set(INTEGER_KINDS):
        found = "labels"
    if task in (None, found):
        return found
    if (found, task) == ("labels", "regression"):
        return "regression"
    given = {
        "pattern": "no x",
        "classification": "one value for each recording in y",
        "labels": "one integer for each step in y",
        "regression": "values for each step in y",
    }
    what = f"has {given[found]}, which is for the task {found}, not for {task}"
    raise RecordingError(path, what, f"choose {found}, or change the arrays")


def _read_classes(
    path: Path, member: Member, names: tuple[str, ...]
) -> tuple[list[str], tuple[str, ...]]:
    """The class of each recording, and all classes in their order."""
    dtype = member.header.dtype
    if dtype.kind in TEXT_KINDS:
        classes = _texts_of(path, member)
        names = names or tuple(sorted(set(classes)))
        unknown = sorted(set(classes) - set(names))
        if unknown:
            what = f"has {excerpt(unknown[0])} in y, which is not in classes"
            raise RecordingError(path, what, "add it")
        return list(classes), names
    if dtype.kind not in INTEGER_KINDS:
        what = f"has y of dtype {dtype} with one value for each recording, expected classes"
        raise RecordingError(path, what, "save integers or strings, or values for each step")
    stored = member.read_all()
    labels, names = _name_labels(path, np.unique(stored), names)
    return [names[index] for index in np.searchsorted(labels, stored)], names


def _find_labels(path: Path, rows: Rows, names: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    """The different labels of all steps, sorted, and their names."""
    found: set[int] = set()
    for index in range(len(rows.lengths)):
        found.update(np.unique(rows.read(index)).tolist())
        if len(found) > MOST_CLASSES:
            what = f"has more than {MOST_CLASSES:,} different integers in y, too many for classes"
            raise RecordingError(path, what, "save floats, or choose the task regression")
    if max(found) > np.iinfo(np.int64).max:
        what = f"has the label {max(found)} in y, expected labels below 2^63"
        raise RecordingError(path, what, "save the place of each class in classes")
    if names and len(found) > 1:
        found.discard(NO_CLASS)
    return _name_labels(path, np.array(sorted(found), np.int64), names)


def _name_labels(path: Path, found: Array, names: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    """The label of each class, sorted, and their names; without names, those are the labels."""
    labels = found.astype(np.int64) if found.dtype.kind == "b" else found
    if not names:
        return labels, tuple(map(str, labels.tolist()))
    if labels[0] < 0 or labels[-1] >= len(names):
        what = f"has labels from {labels[0]} to {labels[-1]} in y, expected 0 to {len(names) - 1}"
        raise RecordingError(path, what, "save the place of each class in classes")
    return np.arange(len(names)), names


def _check_values(path: Path, rows: Rows, names: tuple[str, ...]) -> None:
    _check_kinds(path, "y", rows, NUMBER_KINDS)
    if len(rows.features) > 1:
        what = f"has y with values of shape {list(rows.features)} for a step, expected [D]"
        raise RecordingError(path, what, "flatten them")
    if names:
        what = "has names of classes, and values in y"
        raise RecordingError(path, what, "save classes of recordings or steps as integers")


def _list_items(
    path: Path, members: dict[str, tuple[Member, ...]], class_names: Sequence[str | None]
) -> tuple[Item, ...]:
    columns: dict[str, Sequence[str | None]] = {}
    for name in ("group", "split"):
        columns[name] = len(class_names) * [None]
        if name in members:
            columns[name] = _texts_of(path, members[name][0], allow_integers=name == "group")
        if len(columns[name]) != len(class_names):
            what = f"has {name} of {len(columns[name])} recordings, expected {len(class_names)}"
            raise RecordingError(path, what, "save one value for each recording")
    unknown = set(columns["split"]) - {None, *PARTS}
    if unknown:
        what = f"has {excerpt(str(min(map(str, unknown))))} in split, expected {', '.join(PARTS)}"
        raise RecordingError(path, what, "rename it")
    return tuple(
        Item(f"{path.name}/{index}", path, class_name, cast(Part, part), group, index=index)
        for index, (class_name, part, group) in enumerate(
            zip(class_names, columns["split"], columns["group"], strict=True)
        )
    )


def _texts_of(path: Path, member: Member, allow_integers: bool = False) -> tuple[str, ...]:
    """The texts in an array of one axis."""
    dtype = member.header.dtype
    kinds = TEXT_KINDS + ("iu" if allow_integers else "")
    if dtype.kind not in kinds or len(member.shape) != 1:
        what = f"has {member.name} of shape {list(member.shape)} and dtype {dtype}"
        expected = "texts or integers" if allow_integers else "texts"
        raise RecordingError(path, f"{what}, expected {expected} with one axis", "save them again")
    try:
        values = member.read_all().tolist()
        texts = tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)
    except (ValueError, SystemError):  # bytes that are not UTF-8, numbers that are not letters
        texts = ("",)
    if not all(text and text.isprintable() for text in texts):
        what = f"has an empty or unprintable text in {member.name}"
        raise RecordingError(path, what, "save names that can be printed")
    written: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        like = written.setdefault(text.strip(), text)
        if like != text:
            what = f"has {excerpt(like)} and {excerpt(text)} in {member.name}, "
            what += "which differ in spaces"
            raise RecordingError(path, what, "remove the spaces with numpy.char.strip")
    return texts
