"""The measures of a run as text."""

from collections.abc import Mapping
from typing import Any

__all__ = ["MEASURE_TITLES", "measures_text"]

# Measures that are printed, with their names.
MEASURE_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "r2": "R²",
    "correlation": "correlation",
}


def measures_text(result: Mapping[str, Any]) -> str:
    """The measures in `result.json`, with their sets and names."""
    texts = []
    for part, part_title in {"test": "test", "val": "validation"}.items():
        if f"{part}_misses" in result:
            texts.append(f"{part_title} {_detection_text(result, part)}")
            continue
        values = [
            f"{title} {result[f'{part}_{name}']:.4f}"
            for name, title in MEASURE_TITLES.items()
            if f"{part}_{name}" in result
        ]
        if values:
            texts.append(f"{part_title} {', '.join(values)}")
    return "; ".join(texts)


def _detection_text(result: Mapping[str, Any], part: str) -> str:
    """Misses, false alarms and latency of a set."""
    misses, low_misses, high_misses = (
        100 * share for share in (result[f"{part}_misses"], *result[f"{part}_misses_interval"])
    )
    low, high = result[f"{part}_false_alarms_interval"]
    latency = result[f"{part}_median_latency"]
    return (
        f"misses {misses:.1f} % [{low_misses:.1f} to {high_misses:.1f}] at "
        f"{result[f'{part}_false_alarms_per_hour']:.2f} false alarms per hour [{low:.2f} to "
        f"{high:.2f}], "
        + ("no event detected" if latency is None else f"median latency {1e3 * latency:.0f} ms")
    )
