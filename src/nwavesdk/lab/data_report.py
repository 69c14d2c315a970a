"""What a data folder holds, in numbers: for `nwave data`, as one object or as lines."""

from typing import Any

import numpy as np

from nwavesdk.data import NWaveDataGen

__all__ = ["data_lines", "data_report"]


def data_report(gen: NWaveDataGen) -> dict[str, Any]:
    """Read the folder and count.

    Args:
        gen: The folder and how it is read.

    Raises:
        ValueError: The folder, or a file in it, cannot be used.
    """
    channels = gen.channels
    parts = channels.parts._asdict()
    per_class = {
        name: dict(zip(gen.classes, np.bincount(channels.y[part], minlength=len(gen.classes)).tolist(), strict=True))
        for name, part in parts.items()
    } if gen.classes else {}  # fmt: skip
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
    """The report for the eye."""
    count = sum(report["recordings"].values())
    heads = [*report["classes"], "all", *(["speakers"] if report["speakers"] else [])]
    widths = [max(6, len(head)) for head in heads]
    rows = [["", *heads]]
    for part, number in report["recordings"].items():
        of_class = report["per_class"].get(part, {})
        numbers = [*of_class.values(), number, *([report["speakers"][part]] if report["speakers"] else [])]
        rows.append([part, *map(str, numbers)])
    table = [
        "  ".join([row[0].ljust(5), *(cell.rjust(w) for cell, w in zip(row[1:], widths, strict=True))]) for row in rows
    ]
    skipped = [f"skipped {one['file']}: {one['reason']}" for one in report["skipped"]]
    return [
        f"{count} recordings of {report['steps']} steps and {report['channels']} channels; "
        f"{report['cached']} from the cache, {len(skipped)} skipped; parted by {report['split_by']}",
        *table,
        *skipped,
    ]
