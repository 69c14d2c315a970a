"""A data set in a `.npz`.

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
If the classes have names, the label -1 is a step without a class.

The file is read whole. Data that are larger than memory are `.npy` files in folders, or HDF5.
"""

from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any, get_args
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from nwavesdk.data.reading import NUMBER_KINDS, RecordingError, checked, digest_of, reading
from nwavesdk.data.source import Item, Part, Sample, Source, Task
from nwavesdk.internal.checks import require_memory

__all__ = ["open_npz"]

NAMES = ("x", "y", "lengths", "group", "split", "classes")

# numpy's letters for the dtypes of labels: booleans and integers, and texts of bytes or letters.
INTEGER_KINDS = "biu"
TEXT_KINDS = "SU"

# The label of a step without a class, if the classes have names.
NO_CLASS = -1

# Integers with more different values are not labels of steps.
MAX_CLASSES = 1000

# The arrays that suggest a task.
ARRAYS_OF: dict[Task, str] = {
    "pattern": "no x",
    "classification": "one value for each recording in y",
    "labels": "one integer for each step in y",
    "regression": "values for each step in y",
}

SAVE_NO_OBJECTS = (
    "save it as numbers or as text, with .astype(float), .astype(int) or .astype(str), and series "
    "of different lengths as x_0, x_1 and so on"
)

Array = npt.NDArray[Any]
Lengths = npt.NDArray[np.int64]

# Arrays by their names: x and y may be lists with one array for each recording.
Columns = dict[str, Any]


def open_npz(path: Path, task: Task | None = None, *, needs_y: bool = True) -> Source:
    """The recordings in a `.npz`; the module describes its arrays.

    Args:
        path: The file.
        task: What a net learns; None finds it by the rule of the module.
        needs_y: Whether a file without y is an error. Otherwise its recordings have no class.

    Returns:
        A source of series with the keys `"FILE.npz/17"`. A pattern has values `[T, 0]`.

    Raises:
        FileError: If the file does not exist or cannot be opened.
        RecordingError: If it is not a `.npz`, an array is missing, unknown, or has another shape or
            dtype than the module describes, or its data are for another task.
        ValueError: If there is not enough memory.
    """
    columns = _load(path)
    with reading(path, "a data set", "save it again"):
        _group_numbered(columns)
        return _source_of(path, columns, task, needs_y)


def _load(path: Path) -> Columns:
    with reading(path, "a .npz file"), ZipFile(path) as archive:
        n_bytes = sum(member.file_size for member in archive.infolist())
    require_memory(str(path), "its arrays", n_bytes, "save .npy files in class folders")

    with reading(path, "a .npz file"), np.load(path, allow_pickle=False) as arrays:
        try:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise
            problem = "holds Python objects, which are not read because they can run code"
            raise RecordingError(path, problem, SAVE_NO_OBJECTS) from None


def _group_numbered(columns: Columns) -> None:
    """Replace x_0, x_1, ... by one list x, and the same for y; reject other names."""
    for name in ("x", "y"):
        numbered = list(takewhile(columns.__contains__, (f"{name}_{i}" for i in count())))
        if numbered and name not in columns:
            columns[name] = [columns.pop(each) for each in numbered]

    unknown = [name for name in columns if name not in NAMES]
    if unknown:
        raise ValueError(
            f"it has an array {unknown[0]!r}, expected only {', '.join(NAMES)}, or x_0, x_1 and so "
            "on in place of x, and the same for y"
        )


def _source_of(path: Path, columns: Columns, task: Task | None, needs_y: bool) -> Source:
    y = columns.get("y")
    if y is None and (needs_y or "x" not in columns):
        raise ValueError("it has no array y: add classes [R], or values [R, T, D]")
    if not columns.keys() & {"x", "lengths"} and isinstance(y, np.ndarray) and y.ndim == 2:
        columns["y"] = y = y[None]  # one pattern [T, D]

    lengths = _lengths_of(columns)
    inputs = _rows_of("x", columns, lengths)
    has_classes = isinstance(y, np.ndarray) and bool(inputs) and y.shape == lengths.shape
    outputs = [] if has_classes else _rows_of("y", columns, lengths)
    task = _choose_task(inputs, outputs, task)

    names = _texts_of(columns, "classes")
    classes: Sequence[str | None] = [None] * len(lengths)
    labels: Array | None = None
    if has_classes:
        classes, names = _name_classes(columns, names)
    elif task == "labels":
        labels, names = _find_labels(outputs, names)
    elif names:
        raise ValueError("it has names of classes, and values in y: save classes as integers")

    def read(item: Item) -> Sample:
        index = item.index
        values = np.zeros((lengths[index], 0), np.float32)
        if inputs:
            values = checked(path / f"x_{index}", inputs[index])
            values = values.reshape(values.shape if values.ndim > 1 else (-1, 1))
        if not outputs:
            return Sample(values)
        if labels is None:
            target = checked(path / f"y_{index}", outputs[index])
            return Sample(values, target.reshape(len(target), -1))

        places = np.searchsorted(labels, outputs[index]).astype(np.int64)
        if labels[0] >= 0:
            places[outputs[index] == NO_CLASS] = NO_CLASS
        return Sample(values, places)

    def digest(item: Item) -> bytes:
        stored = [rows[item.index] for rows in (inputs, outputs) if rows]
        # The same integers are other classes if the file has other ones, or names for them.
        numbering = [] if labels is None else [labels]
        return digest_of(str(item.class_name), *stored, *numbering)

    items = _list_items(path, columns, classes)
    shape = (inputs[0].shape[1:] or (1,)) if inputs else ()
    return Source("series", task, items, read, digest, tuple(names), shape)


def _lengths_of(columns: Columns) -> Lengths:
    """The number of steps of each recording, `[R]`."""
    name = "x" if "x" in columns else "y"
    rows = columns[name]
    if "lengths" in columns:
        lengths = columns["lengths"]
    elif any(np.ndim(row) == 0 for row in rows):
        raise ValueError(
            f"{name} has no axis for time, expected [R, T, *features]: add it, as in y[:, None] "
            "for one pattern; joined recordings need lengths"
        )
    else:
        lengths = np.array([len(row) for row in rows])

    is_count = lengths.dtype.kind in "iu" and lengths.size > 0 and lengths.min() > 0
    if lengths.ndim != 1 or not is_count:
        raise ValueError(
            f"the lengths of its recordings have the shape {list(lengths.shape)} and begin "
            f"{lengths.flat[:4].tolist()}, expected integers [R] above 0"
        )
    steps: Lengths = lengths.astype(np.int64)
    return steps


def _rows_of(name: str, columns: Columns, lengths: Lengths) -> list[Array]:
    """The values of x or y for the steps of each recording; empty if there are none."""
    if name not in columns:
        return []
    arrays = columns[name]
    may_be_padded = isinstance(arrays, np.ndarray) and (
        "lengths" in columns or isinstance(columns.get("x"), list)
    )
    if name == "y" and isinstance(arrays, np.ndarray) and _is_one_hot(arrays, lengths):
        raise ValueError(
            f"y has the shape {list(arrays.shape)} with a one in each row (one-hot), expected "
            f"[{len(lengths)}] with a class for each recording: save y.argmax(axis=1)"
        )
    if may_be_padded and len(arrays) == lengths.sum():
        rows = np.split(arrays, np.cumsum(lengths)[:-1])  # a recording after the other
    elif len(arrays) == len(lengths):
        rows = list(arrays)
        if may_be_padded:
            rows = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    else:
        raise ValueError(
            f"{name} has {len(arrays):,} rows or arrays, expected one for each of the "
            f"{len(lengths):,} recordings, or {lengths.sum():,} rows with lengths"
        )

    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        expected = [int(length), *rows[0].shape[1:]]
        if list(row.shape) != expected or (name == "y" and row.ndim > 2):
            raise ValueError(
                f"{name} of recording {index} has the shape {list(row.shape)}, expected "
                f"{expected[:2]}; classes of recordings are y [R], such as y[:, 0]"
            )
        if row.dtype.kind not in NUMBER_KINDS:
            raise ValueError(f"{name} has values of type {row.dtype}, expected integers or floats")
    return rows


def _is_one_hot(y: Array, lengths: Lengths) -> bool:
    """Whether each recording has a one and zeros, but no value for each step: encoded classes."""
    has_row_for_each = y.ndim == 2 and len(y) == len(lengths)
    if not has_row_for_each or y.shape[1] in (1, lengths.max()) or y.dtype.kind not in NUMBER_KINDS:
        return False
    return bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())


def _choose_task(inputs: list[Array], outputs: list[Array], task: Task | None) -> Task:
    """The task by the rule of the module, or the one that is asked for, if the data are for it."""
    is_label = all(row.ndim == 1 and row.dtype.kind in INTEGER_KINDS for row in outputs)
    rules: dict[Task, bool] = {
        "pattern": not inputs,
        "classification": not outputs,
        "labels": is_label,
        "regression": True,
    }
    suggested = next(name for name, applies in rules.items() if applies)
    if task in (None, suggested):
        return suggested
    if (suggested, task) == ("labels", "regression"):
        return "regression"
    raise ValueError(
        f"it has {ARRAYS_OF[suggested]}, which is for the task {suggested}, not for {task}: choose "
        f"{suggested}, or change the arrays"
    )


def _name_classes(columns: Columns, names: list[str]) -> tuple[list[str], list[str]]:
    """The class of each recording, and all classes in their order."""
    y: Array = columns["y"]
    if y.dtype.kind in TEXT_KINDS:
        classes = _texts_of(columns, "y")
        names = names or sorted(set(classes))
        if not set(classes) <= set(names):
            raise ValueError(f"y has {min(set(classes) - set(names))!r}, which is not in classes")
        return classes, names
    if y.dtype.kind not in INTEGER_KINDS:
        raise ValueError(
            f"y has one value of type {y.dtype} for each recording, expected classes: save "
            "integers or strings, or values for each step"
        )
    labels, names = _name_labels(np.unique(y), names)
    return [names[place] for place in np.searchsorted(labels, y)], names


def _find_labels(outputs: list[Array], names: list[str]) -> tuple[Array, list[str]]:
    """The different labels of all steps, sorted, and their names."""
    labels = np.unique(np.concatenate([np.unique(row) for row in outputs]))
    if len(labels) > MAX_CLASSES:
        raise ValueError(
            f"it has {len(labels):,} different integers in y, expected at most {MAX_CLASSES:,} "
            "classes: save floats, or choose the task regression"
        )
    if names and len(labels) > 1:
        labels = labels[labels != NO_CLASS]
    return _name_labels(labels, names)


def _name_labels(labels: Array, names: list[str]) -> tuple[Array, list[str]]:
    """The label of each class, sorted, and their names; without names, those are the labels."""
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if not names:
        return labels, list(map(str, labels.tolist()))
    if labels[0] < 0 or labels[-1] >= len(names):
        raise ValueError(
            f"it has labels from {labels[0]} to {labels[-1]} in y, expected 0 to "
            f"{len(names) - 1}, the places in classes"
        )
    return np.arange(len(names)), names


def _list_items(path: Path, columns: Columns, classes: Sequence[str | None]) -> tuple[Item, ...]:
    groups: Any = _texts_of(columns, "group", TEXT_KINDS + "iu") or [None] * len(classes)
    parts: Any = _texts_of(columns, "split") or [None] * len(classes)
    unknown = set(parts) - {None, *get_args(Part)}
    if unknown:
        raise ValueError(f"split has {min(unknown)!r}, expected train, val or test")
    if not len(groups) == len(parts) == len(classes):
        raise ValueError(f"group or split has not one text for each of {len(classes)} recordings")
    return tuple(
        Item(f"{path.name}/{index}", path, class_name, part, group, index=index)
        for index, (class_name, part, group) in enumerate(zip(classes, parts, groups, strict=True))
    )


def _texts_of(columns: Columns, name: str, kinds: str = TEXT_KINDS) -> list[str]:
    """The texts in an array `[R]`; empty if there is none of this name."""
    array = columns.get(name, np.array([], np.str_))
    if array.ndim != 1 or array.dtype.kind not in kinds or (name in columns and not array.size):
        raise ValueError(
            f"{name} has the shape {list(array.shape)} and the type {array.dtype}, expected "
            f"{'texts or integers' if 'i' in kinds else 'texts'} with one axis"
        )
    texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.tolist()]
    is_printable = all(text and text.isprintable() for text in texts)
    different = texts if name == "classes" else set(texts)
    if not is_printable or len(set(map(str.strip, texts))) < len(different):
        raise ValueError(
            f"{name} has a text that is empty, cannot be printed, or differs from another one only "
            "in spaces, or a class twice: save names that can be printed (numpy.char.strip removes "
            "spaces)"
        )
    return texts
