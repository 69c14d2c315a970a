"""How time grows: the exponent of a power law, fitted to the larger half of a sweep.

Fixed costs matter least there.
"""

import math
import statistics
from typing import Any


def exponent(sizes: list[float], times: list[float]) -> float:
    """Return the slope of log time over log size by least squares.

    Raises:
        ValueError: If there are fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"an exponent needs at least two sizes, got {len(sizes)}.")
    x = [math.log(size) for size in sizes]
    y = [math.log(time) for time in times]
    return statistics.linear_regression(x, y).slope


def fits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the exponents of all that was timed along each axis of a sweep."""
    exponents = []
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
            exponents.append(
                {"axis": axis, "from": half[0]["at"], "to": half[-1]["at"], "slopes": slopes}
            )
    return exponents


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    if "contenders" in row:
        return {
            name: value for name, value in row["contenders"].items() if isinstance(value, float)
        }
    return {name: spread["median"] for name, spread in row.get("times_ms", {}).items()}
