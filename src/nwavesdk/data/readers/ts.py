"""The format `.ts` of the UCR/UEA archive: labeled series in a text, one per line.

A file has comments (`#`, `%`), then tags (`@univariate false`), then, after `@data`, one line per
series: the values of a dimension are separated by commas, dimensions by colons, and the class comes
last. `name_TRAIN.ts` and `name_TEST.ts` are an official split.

References:
    https://www.aeon-toolkit.org/en/stable/api_reference/data_format.html
"""

from collections import Counter
from itertools import takewhile
from pathlib import Path

import numpy as np

from nwavesdk.data.reading import checked, digest_of, reading
from nwavesdk.data.source import Item, Sample, Source

__all__ = ["open_ts"]


def open_ts(path: Path) -> Source:
    """The series of a `.ts` file; the values of each are parsed when they are needed.

    Args:
        path: The file.

    Returns:
        A source of series `[T, dimensions]` of any lengths, with the classes in the order of
        `@classLabel`. Most series have these dimensions; all others are faults when they are read.

    Raises:
        FileError: If the file does not exist or cannot be opened.
        RecordingError: If it has no tags or no series, has time stamps or a target instead of a
            class, or a series has no class of `@classLabel`.
    """
    items = []
    series = []
    with reading(path, "a .ts file with classes"):
        classes, length, lines = _read_lines(path)
        for index, (number, line) in enumerate(lines):
            *dimensions, label = map(str.strip, line.split(":"))
            if not dimensions or label not in classes:
                raise ValueError(
                    f"line {number} ends {label!r:.40}, expected a colon and one of @classLabel"
                )
            items.append(Item(str(index), path, class_name=label, index=index))
            series.append(dimensions)

    # Most series decide the number of dimensions.
    n_dimensions, _ = Counter(map(len, series)).most_common(1)[0]

    def read(item: Item) -> Sample:
        dimensions = series[item.index]
        with reading(path, f"a series in line {lines[item.index][0]}"):
            values = np.loadtxt(dimensions, np.float32, delimiter=",", comments=None, ndmin=2)
            expected = (n_dimensions, length or values.shape[1])
            if values.shape != expected:
                raise ValueError(f"dimensions and time steps are {values.shape}, not {expected}")
        return Sample(checked(path / str(item.index), values.T))

    return Source(
        kind="series",
        task="classification",
        items=tuple(items),
        read=read,
        digest=lambda item: digest_of(*series[item.index]),
        classes=tuple(classes),
        shape=(n_dimensions,),
    )


def _read_lines(path: Path) -> tuple[list[str], int, list[tuple[int, str]]]:
    """The classes, the length of all series or 0, and the lines of the series, numbered."""
    # Comments may have any encoding.
    text = path.read_text("utf-8-sig", errors="surrogateescape")
    numbered = enumerate(map(str.strip, text.split("\n")), 1)
    lines = ((number, line) for number, line in numbered if line and line[0] not in "#%")

    # Both loops take from one iterator: tags end at @data, and all later lines are series.
    head = [
        line.partition(" ") for _, line in takewhile(lambda row: row[1].lower() != "@data", lines)
    ]
    tags = {name.lower(): value.strip() for name, _, value in head}
    series = list(lines)

    switches = {name for name, value in tags.items() if value.lower() == "true"}
    switch, *classes = tags.get("@classlabel", "").split() or [""]
    is_tag = all(f"{name}{tags[name]}".isprintable() and name.startswith("@") for name in tags)
    has_classes = switch.lower() == "true" and len(set(classes)) == len(classes)
    if not is_tag or not has_classes or switches & {"@timestamps", "@targetlabel"} or not series:
        raise ValueError(
            "expected tags such as '@classLabel true <class> <class> ...', without time stamps and "
            "@targetLabel, and series after @data"
        )
    length = int(tags.get("@serieslength", 0)) if "@equallength" in switches else 0
    return classes, length, series
