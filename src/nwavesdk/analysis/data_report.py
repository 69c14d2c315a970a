"""The report of `nwave data`: what a data set holds, and what a net gets of it, in numbers."""

from typing import Any

import numpy as np

from nwavesdk.data import Indices, Recordings, Series, Split
from nwavesdk.data.features import SeriesFeatures
from nwavesdk.data.speakers import match_speakers, speakers_of
from nwavesdk.internal.files import printable
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.data import Events, Filtered, Images, Pattern, Sound
from nwavesdk.train.data.load import RunData

__all__ = [
    "count_classes",
    "count_groups",
    "data_lines",
    "data_report",
    "describe_features",
    "step_seconds",
]

# What shows the task of a data set.
TASK_SIGNS = {
    "classification": "each recording has a class",
    "labels": "each step has a class",
    "regression": "each step has values as its target",
    "pattern": "there are targets, but no inputs",
}

# A table of more classes has a line for each of them instead of a column.
MOST_COLUMNS = 8

# Lines of a table of classes, and letters of the name of a class.
MOST_LINES = 40
MOST_LETTERS = 24


def data_report(
    config: CompletedConfig, data: RunData, is_task_given: bool = False
) -> dict[str, Any]:
    """What a data set holds.

    Args:
        config: The config of a run.
        data: The sets.
        is_task_given: Whether the task was asked for, rather than found in the data.

    Returns:
        The content of the JSON object that `nwave data --json` prints.

    Example:
        >>> from nwavesdk.train import RunConfig
        >>> from nwavesdk.train.data.load import complete_data
        >>> report = data_report(*complete_data(RunConfig.of({"data": {"limit": 30}})))
        >>> report["recordings"], report["features"], report["lengths"]["steps"]
        ({'train': 10, 'val': 10, 'test': 10}, 13, {'min': 8.0, 'median': 18.0, 'max': 35.0})
    """
    facts = config.facts
    groups, group_name = count_groups(config, data)
    counts = count_classes(data)
    names = facts.classes
    is_digits = config.data.kind == "features"
    return {
        "path": config.data.source,
        "kind": "features" if is_digits else config.data.source_kind,
        "task": config.task.name,
        "task_found_by": "--task" if is_task_given else TASK_SIGNS[config.task.name],
        # A single pattern is in all sets.
        "count": len({key for series in data for key in series.recordings.keys}),
        "recordings": data.map(len).as_dict(),
        "lengths": _summarize(
            np.concatenate([series.lengths - series.input.look_ahead for series in data]), config
        ),
        "lengths_by_set": {
            part: _summarize(series.lengths - series.input.look_ahead, config)
            for part, series in data.as_dict().items()
        },
        "features": _n_values(config),
        "feature_shape": list(facts.feature_shape),
        "feature_text": describe_features(config),
        "targets": facts.n_targets,
        "classes": list(names),
        "per_class": {
            part: dict(zip(names, count.tolist(), strict=True))
            for part, count in counts.items()
            if names
        },
        "counted": "steps" if config.task.name == "labels" else "recordings",
        "split_by": facts.split_by,
        "split": facts.split_reason,
        "group_name": group_name,
        "groups": groups,
        "skipped": [{"file": file, "reason": reason} for file, reason in facts.skipped],
        "cached": data.is_cached,
        "fingerprint": facts.fingerprint,
    }


def step_seconds(config: CompletedConfig) -> float | None:
    """How much of a recording a time step of the net gets [s], or None if it is not known.

    Args:
        config: The config of a run.
    """
    if config.data.kind == "filtered":
        return config.net.dt
    seconds: float | None = config.option("data.hop") or config.option("data.bin")
    return None if seconds is None else seconds / config.option("data.hold")


def describe_features(config: CompletedConfig) -> str:
    """What a net gets in each step, as in `"32 log-mel bands of 25 ms every 10 ms, scaled"`.

    Args:
        config: The config of a run.
    """
    facts = config.facts
    count = f"{facts.n_features:,}"
    steps = config.option("data.hold", 1)
    hold = f", each for {steps} steps" if steps > 1 else ""
    match config.data:
        case Pattern():
            return f"{count} channels of frozen noise"
        case Filtered():
            averaged = f"averaged over {config.net.dt * 1e3:g} ms"
            return f"{count} rectified channels, {averaged}, amplified"
        case Sound(window=window, hop=hop):
            frames = f"of {window * 1e3:g} ms every {hop * 1e3:g} ms"
            return f"{count} log-mel bands {frames}, scaled{hold}"
        case Events(bin=seconds):
            return f"events at {count} places, bins of {(seconds or 0) * 1e3:g} ms{hold}"
        case Images(encoder=encoder):
            forms = {
                "current": "as constant currents, scaled",
                "rate": "as probabilities of spikes",
                "latency": "as times of spikes",
            }
            return f"{_pixel_text(facts.feature_shape)} {forms[encoder]}"
    n_values = _n_values(config)
    noun = "feature" if config.data.kind == "features" else "value"
    scales = " by the set and by the recording" if n_values < facts.n_features else ""
    return f"{n_values:,} {noun}{'s' * (n_values > 1)}, scaled{scales}{hold}"


def _n_values(config: CompletedConfig) -> int:
    """Values of a recording in a step; the net may get each of them twice."""
    features = SeriesFeatures(bool(config.option("data.add_standardized")))
    return config.facts.n_features // features.copies


def _pixel_text(shape: tuple[int, ...]) -> str:
    """As in `"784 pixels of 3 colors"`."""
    height, width, *colors = shape
    of_colors = f" of {colors[0]} colors" if colors and colors[0] > 1 else ""
    return f"{height * width:,} pixels{of_colors}"


def count_classes(data: Split[Series]) -> dict[str, Indices]:
    """Recordings of each class and set; steps, if each step has a class.

    Without classes, there is one number: the recordings.
    """
    return {part: _count(series.recordings) for part, series in data.as_dict().items()}


def _count(recordings: Recordings) -> Indices:
    n_classes = max(1, len(recordings.classes))
    if recordings.task != "labels":
        return np.bincount(recordings.labels, minlength=n_classes)
    counts = np.zeros(n_classes, np.int64)
    for target in recordings.targets:
        counts += np.bincount(target[target >= 0], minlength=n_classes)
    return counts


def count_groups(config: CompletedConfig, data: Split[Series]) -> tuple[dict[str, int], str]:
    """Speakers or groups of each set, and which of both; none if they are not known."""
    has_groups = any(series.recordings.groups for series in data)
    names = data.map(lambda series: _groups_of(config, series.recordings))
    if not has_groups and any("" in of_set for of_set in names):
        return {}, ""
    counts = names.map(lambda of_set: len(set(of_set) - {""}))
    return counts.as_dict(), "groups" if has_groups else "speakers"


def _groups_of(config: CompletedConfig, recordings: Recordings) -> tuple[str, ...]:
    if recordings.groups:
        return recordings.groups
    pattern = config.option("data.speaker_pattern")
    keys = recordings.keys
    return speakers_of(keys) if pattern is None else match_speakers(keys, pattern)


def _summarize(steps: Indices, config: CompletedConfig) -> dict[str, Any]:
    """The shortest, the middle and the longest recording, in steps and in seconds."""
    step = step_seconds(config)
    values = {"min": steps.min(), "median": np.median(steps), "max": steps.max()}
    return {
        "steps": {name: float(value) for name, value in values.items()},
        "seconds": step and {name: float(value * step) for name, value in values.items()},
    }


def data_lines(report: dict[str, Any]) -> list[str]:
    """The report for a terminal.

    Example:
        >>> from nwavesdk.train import RunConfig
        >>> from nwavesdk.train.data.load import complete_data
        >>> report = data_report(*complete_data(RunConfig.of({"data": {"limit": 30}})))
        >>> for line in data_lines(report)[:4]:
        ...     print(line)
        30 spoken digits, 0 skipped
        task: classification (each recording has a class)
        lengths: 8 to 35 steps, median 18
        input of the net: 13 features, scaled
    """
    kind = {"image": "image", "features": "spoken digit"}.get(report["kind"], "recording")
    kind += "s" * (report["count"] != 1)
    if report["kind"] in ("sound", "series", "events"):
        kind += f" of {report['kind']}"
    found = report["task_found_by"]
    targets = f", {report['targets']} values per step" if report["targets"] else ""
    cache = "from the cache, " if report["cached"] else ""
    skipped = [f"skipped {entry['file']}: {entry['reason']}" for entry in report["skipped"]]
    return [
        f"{report['count']:,} {kind}, {cache}{len(skipped):,} skipped",
        f"task: {report['task']}{targets} ({found})",
        f"lengths: {_length_text(report['lengths'])}",
        f"input of the net: {report['feature_text']}",
        report["split"],
        *_table(report),
        *skipped,
    ]


def _length_text(lengths: dict[str, Any]) -> str:
    """As in `"20 to 98 steps, median 60 (0.2 to 0.98 s, median 0.6 s)"`."""
    low, median, high = (f"{value:,.0f}" for value in lengths["steps"].values())
    noun = "step" if high == "1" else "steps"
    text = f"{low} to {high} steps, median {median}" if low != high else f"all have {low} {noun}"
    if lengths["seconds"] is None:
        return text
    low, median, high = (f"{value:.3g} s" for value in lengths["seconds"].values())
    return f"{text} ({low} to {high}, median {median})" if low != high else f"{text} ({low})"


def _table(report: dict[str, Any]) -> list[str]:
    """What is in each set: classes as columns, or as lines if there are many."""
    groups = report["groups"]
    by_class = report["per_class"]
    names = [_shorten(name) for name in report["classes"]]
    heads = ["steps" if report["counted"] == "steps" else "", *names, "all"]
    if groups:
        heads.append(report["group_name"])
    rows = [heads]
    for part, recordings in report["recordings"].items():
        counts = list(by_class[part].values()) if by_class else []
        row = [part, *counts, sum(counts) if counts else recordings]
        if groups:
            row.append(groups[part])
        rows.append([f"{cell:,}" if isinstance(cell, int) else cell for cell in row])
    if len(names) > MOST_COLUMNS:
        rows = _as_lines(rows, len(names))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_table_line(row, widths) for row in rows]


def _as_lines(rows: list[list[str]], n_classes: int) -> list[list[str]]:
    """A table with one line per class, and no more than `MOST_LINES` of them."""
    lines = [list(cells) for cells in zip(*rows, strict=True)]
    n_more = n_classes - MOST_LINES
    if n_more > 0:
        note = [f"and {n_more:,} more", *[""] * (len(rows) - 1)]
        lines[1 + MOST_LINES : 1 + n_classes] = [note]
    return lines


def _table_line(row: list[str], widths: list[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    cells = [cell.rjust(max(6, width)) for cell, width in others]
    return "  ".join([first[0].ljust(max(5, first[1])), *cells])


def _shorten(name: str) -> str:
    text = printable(name)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
