"""The report of `nwave data`: the content of a data folder in numbers."""

from typing import Any

import numpy as np

from nwavesdk.data import NWaveDataGen

__all__ = ["data_lines", "data_report"]


def data_report(gen: NWaveDataGen) -> dict[str, Any]:
    """Read a data folder and count its recordings.

    Args:
        gen: The folder, and how it is read.

    Raises:
        ValueError: If the folder, or a file in it, cannot be used.
    """
    channels = gen.channels
    per_class = {}
    if gen.classes:
        for name, indices in channels.split.as_dict().items():
            counts = np.bincount(channels.y[indices], minlength=len(gen.classes))
            per_class[name] = dict(zip(gen.classes, counts.tolist(), strict=True))
    return {
        "folder": str(gen.config.folder),
        "task": gen.config.task,
        "classes": list(gen.classes),
        "steps": gen.T,
        "channels": channels.x.shape[2],
        "recordings": gen.recordings,
        "per_class": per_class,
        "split_by": gen.split_by,
        "speakers": gen.speakers,
        "cached": channels.cached,
        "skipped": [{"file": file, "reason": reason} for file, reason in gen.skipped],
        "fingerprint": channels.fingerprint,
    }


def data_lines(report: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    speakers = report["speakers"] or {}
    rows = [["", *report["classes"], "all", *(["speakers"] if speakers else [])]]
    for name, count in report["recordings"].items():
        by_class = report["per_class"].get(name, {}).values()
        row = [name, *by_class, count, *([speakers[name]] if speakers else [])]
        rows.append([*map(str, row)])
    widths = [5, *(max(6, len(head)) for head in rows[0][1:])]
    table = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    skipped = [f"skipped {entry['file']}: {entry['reason']}" for entry in report["skipped"]]
    return [
        f"{sum(report['recordings'].values())} recordings of {report['steps']} steps and "
        f"{report['channels']} channels; {report['cached']} from the cache, {len(skipped)} "
        f"skipped; split by {report['split_by']}",
        *table,
        *skipped,
    ]
