"""How time grows: the exponent of a power law, fitted to the larger half of a sweep, where fixed costs fade."""

import math
from typing import Any


def exponent(sizes: list[float], times: list[float]) -> float:
    """The slope of log time over log size by least squares.

    Raises:
        ValueError: fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"an exponent needs at least two sizes, got {len(sizes)}.")
    x, y = [math.log(s) for s in sizes], [math.log(t) for t in times]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum(
        (a - mean_x) ** 2 for a in x
    )


def fits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each axis of a sweep the exponents of all that was timed along it."""
    told = []
    for axis in dict.fromkeys(row["axis"] for row in rows if "axis" in row):
        points = [row for row in rows if row.get("axis") == axis]
        half = sorted(points, key=lambda row: row["at"])[len(points) // 2 :]
        slopes = {}
        for name in dict.fromkeys(name for row in half for name in _numbers(row)):
            pairs = [
                (row["at"], _numbers(row)[name]) for row in half if _numbers(row).get(name, 0) > 0
            ]
            if len(pairs) > 1:
                slopes[name] = exponent(*(list(column) for column in zip(*pairs, strict=True)))
        if slopes:
            told.append(
                {"axis": axis, "from": half[0]["at"], "to": half[-1]["at"], "slopes": slopes}
            )
    return told


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    if "contenders" in row:
        return {
            name: value for name, value in row["contenders"].items() if isinstance(value, float)
        }
    return {name: spread["median"] for name, spread in row.get("times_ms", {}).items()}
