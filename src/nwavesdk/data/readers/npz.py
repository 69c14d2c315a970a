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
| `group` | `[R]` | the group of each recording, such as its speaker: integers or strings |
| `split` | `[R]` | `"train"`, `"val"` or `"test"` |
| `classes` | `[K]`, strings | names of the classes 0 to K - 1 |

Missing axes of features become one feature: `[R, T]` is `[R, T, 1]`. If recordings have any
lengths, `y` with values for steps has one of the forms of `x`: `[sum of lengths]`, padded, or
`y_0`, `y_1`, ...
Without `x`, `y` `[T, D]` or `[R, T, D]` is a pattern that a net generates.

The rule for the task: `y` `[R]` is a classification; integers with one value per step are labels;
everything else with values for steps is a regression. `task="regression"` takes integers as values.
If the classes have names, the label -1 is a step without a class.

The file is read whole. Data that are larger than memory are `.npy` files in folders, or HDF5.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.data.source import (
    NUMBER_KINDS,
    PARTS,
    Array,
    Item,
    Sample,
    Source,
    TaskName,
    checked,
    digest_of,
    list_rows,
    name_classes,
    reading,
)
from nwavesdk.internal.checks import require_memory

__all__ = ["open_npz"]

# The arrays of values, with their forms for errors.
FORMS = {
    "x": "numbers [R, T, *features], or of any lengths with lengths or as x_0, x_1 and so on",
    "y": "classes [R] (one-hot: y.argmax(axis=1)), or numbers [R, T] or [R, T, D] as long as x",
}
NAMES = ("x", "y", "lengths", "group", "split", "classes")

# numpy's letters for the dtypes of labels: booleans and integers, also texts of bytes or letters.
INTEGER_KINDS = "biu"
LABEL_KINDS = "biuSU"

# The label of a step without a class, if the classes have names.
NO_CLASS = -1

# Integers with more different values than this are not labels of steps.
MAX_CLASSES = 1000

# Arrays by their names: x and y may be lists with one array for each recording.
Arrays = dict[str, Any]


def open_npz(path: Path, wanted: TaskName | None = None) -> Source:
    """The recordings in a `.npz`; the module describes its arrays.

    Args:
        path: The file.
        wanted: The task; None: the rule of the module decides it. Only "regression" changes
            anything: then integers with one value per step are values.

    Returns:
        A source of series. A pattern has values `[T, 0]`. Without y, recordings have no class.

    Raises:
        FileError: If the file does not exist or cannot be opened.
        RecordingError: If it is not a `.npz`, does not fit into memory, or an array is missing,
            unknown, or has another shape or dtype than the module describes.
    """
    with (
        reading(path, "a data set of numpy.savez", "save it again, as arrays of numbers or texts"),
        np.load(path) as archive,
    ):
        n_bytes = sum(member.file_size for member in archive.zip.infolist())
        require_memory("the file", "its arrays", n_bytes, "save .npy files in class folders")
        arrays = {name: np.asarray(archive[name]) for name in archive.files}
        _group_numbered(arrays)
        return _source_of(path, arrays, wanted)


def _group_numbered(arrays: Arrays) -> None:
    """Replace x_0, x_1, ... by one list x with lengths, and y_0, ... by y; reject other names."""
    for name in FORMS.keys() - arrays.keys():
        rows: list[Array] = []
        while f"{name}_{len(rows)}" in arrays:
            rows.append(arrays.pop(f"{name}_{len(rows)}"))
        if rows:
            arrays[name] = rows
    if isinstance(arrays.get("x"), list):
        arrays.setdefault("lengths", np.array(list(map(len, arrays["x"]))))

    if not arrays.keys() <= set(NAMES) or not arrays.keys() & FORMS.keys():
        raise ValueError(
            f"it has the arrays {', '.join(sorted(arrays)):.80}, expected x, y or both, and only "
            f"{', '.join(NAMES)}, or x_0, x_1 and so on"
        )


def _source_of(path: Path, arrays: Arrays, wanted: TaskName | None) -> Source:
    y: Any = arrays.get("y")
    if isinstance(y, np.ndarray) and y.ndim == 2 and not arrays.keys() & {"x", "lengths"}:
        arrays["y"] = y[None]  # one pattern [T, D]

    inputs = [row if row.ndim > 1 else row[:, None] for row in _rows_of("x", arrays)]
    has_classes = isinstance(y, np.ndarray) and y.shape == (len(inputs),)
    outputs = [] if has_classes else _rows_of("y", arrays, inputs)

    # The rule for the task; the module describes it.
    names = _texts_of(arrays, "classes")
    labels = []
    are_integers = all(row.ndim == 1 and row.dtype.kind in INTEGER_KINDS for row in outputs)
    task: TaskName = "regression" if inputs else "pattern"
    if inputs and not outputs:
        task = "classification"
        labels = _texts_of(arrays, "y")
        if has_classes and y.dtype.kind in INTEGER_KINDS:
            labels = y.astype(np.int64).tolist()
    elif inputs and are_integers and wanted != "regression":
        task = "labels"
        labels = _labels_of(outputs, bool(names))
    name_of = name_classes(labels, names)

    def read(item: Item) -> Sample:
        index = item.index
        values = np.zeros((len((inputs or outputs)[index]), 0), np.float32)
        if inputs:
            values = checked(path / f"x_{index}", inputs[index])
        if not outputs:
            return Sample(values)
        if task == "labels":
            # A step without a class is below all classes, and so becomes -1.
            classes_of_steps = np.searchsorted(list(name_of), outputs[index], side="right") - 1
            return Sample(values, classes_of_steps.astype(np.int64))
        target = checked(path / f"y_{index}", outputs[index])
        return Sample(values, target.reshape(len(target), -1))

    def digest(item: Item) -> bytes:
        # The same integers mean other classes if the file has other labels or names.
        stored = (rows[item.index] for rows in (inputs, outputs) if rows)
        return digest_of(f"{item.class_name} {list(name_of)}", *stored)

    classes = (
        [name_of[label] for label in labels] if has_classes else [None] * len(inputs or outputs)
    )
    return Source(
        kind="series",
        task=task,
        items=_list_items(path, arrays, classes),
        read=read,
        digest=digest,
        classes=tuple(name_of.values()),
        shape=inputs[0].shape[1:] if inputs else (),
    )


def _list_items(path: Path, arrays: Arrays, classes: Sequence[str | None]) -> tuple[Item, ...]:
    """The recordings with their classes, and with the parts and groups that the file has."""
    parts = _texts_of(arrays, "split") or [None] * len(classes)
    groups = _texts_of(arrays, "group") or [None] * len(classes)
    if not set(parts) <= {None, *PARTS} or not len(parts) == len(groups) == len(classes):
        raise ValueError(
            f"group or split do not fit {len(classes)} recordings, expected a group, and train, "
            "val or test, for each"
        )
    return list_rows(path, classes, parts, groups)


def _rows_of(name: str, arrays: Arrays, inputs: Sequence[Array] = ()) -> list[Array]:
    """The values of x or y for the steps of each recording; empty if there are none.

    Args:
        name: "x" or "y".
        arrays: All arrays.
        inputs: The rows of x, which must be as long as the rows of y.
    """
    if name not in arrays:
        return []

    # With lengths, recordings are one after the other, or padded; the module lists the forms.
    values, lengths = arrays[name], arrays.get("lengths")
    rows = list(values)
    if lengths is not None and isinstance(values, np.ndarray):
        if len(values) == lengths.sum():
            rows = np.split(values, np.cumsum(lengths)[:-1])
        elif len(values) == len(lengths) and not (name == "y" and _is_one_hot(values, lengths)):
            rows = [row[:length] for row, length in zip(rows, lengths, strict=True)]

    shapes = [row.shape for row in rows]
    steps = [row.shape[:1] for row in inputs or rows]
    if lengths is not None:
        steps = [(length,) for length in lengths.tolist()]

    # A scalar row has no steps. Targets are one number or one vector per step.
    is_series = all(shapes) and [shape[:1] for shape in shapes] == steps
    is_known = all(row.dtype.kind in NUMBER_KINDS for row in rows)
    is_deep = name == "y" and max(map(len, shapes)) > 2
    has_one_shape = len({shape[1:] for shape in shapes}) == 1
    if not is_series or not is_known or is_deep or not has_one_shape:
        shown = sorted({f"{row.dtype} {list(row.shape)}" for row in rows})[:3]
        raise ValueError(f"{name} has {len(rows)} rows {', '.join(shown)}, expected {FORMS[name]}")
    return rows


def _is_one_hot(y: Array, lengths: Array) -> bool:
    """Whether y has one-hot classes, a one and zeros per recording, and not a value per step."""
    is_padded = y.ndim != 2 or y.shape[1] in lengths
    # Sorted, each one-hot row equals the last row of the identity matrix.
    return not is_padded and bool((np.sort(y) == np.eye(y.shape[1])[-1]).all())


def _labels_of(outputs: Sequence[Array], is_named: bool) -> list[int]:
    """The different classes of steps, except for the label of steps without a class."""
    labels = np.unique(np.concatenate(outputs)).astype(np.int64).tolist()
    if len(labels) > MAX_CLASSES:
        raise ValueError(
            f"it has {len(labels):,} different integers in y, expected at most {MAX_CLASSES:,} "
            "classes: save floats, or choose the task regression"
        )
    return [label for label in labels if label != NO_CLASS or not is_named]


def _texts_of(arrays: Arrays, name: str) -> list[Any]:
    """The texts or integers in an array `[R]`, as texts; empty without an array of this name."""
    if name not in arrays:
        return []
    array = arrays[name]
    texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.tolist()]

    is_label = array.ndim == 1 and array.size and array.dtype.kind in LABEL_KINDS
    if not is_label or not all(text.strip() and text.isprintable() for text in texts):
        raise ValueError(
            f"{name} is {array.dtype} {list(array.shape)}, expected texts or integers with one "
            "axis, all printable"
        )
    return texts
