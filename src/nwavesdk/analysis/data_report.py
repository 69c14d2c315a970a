"""The report of `nwave data`: the content of a data set and the input of a net, in numbers."""

from typing import Any

import numpy as np

from nwavesdk.analysis.text_table import text_table
from nwavesdk.data import Indices, Recordings
from nwavesdk.data.speakers import match_speakers, speakers_of
from nwavesdk.internal.files import printable
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.data import EventData, FilteredData, ImageData, PatternData, SoundData
from nwavesdk.train.data.load import RunData

__all__ = [
    "data_lines",
    "data_report",
    "describe_features",
    "describe_lengths",
    "lengths_by_set",
]

# The property of a data set from which its task follows.
TASK_SIGNS = {
    "classification": "each recording has a class",
    "labels": "each step has a class",
    "regression": "each step has values as its target",
    "pattern": "there are targets, but no inputs",
    "detect": "there is a folder background",
}

# How each encoder turns the values of an image into the input of a net.
ENCODINGS = {
    "current": "as constant currents, scaled",
    "rate": "as probabilities of spikes",
    "latency": "as times of spikes",
}

# Maximal number of classes in the table, and of letters of their names.
MAX_CLASSES = 40
MAX_LETTERS = 24


def data_report(
    config: CompletedConfig, data: RunData, is_task_given: bool = False
) -> dict[str, Any]:
    """Describe a data set and its split.

    Args:
        config: The config of a run.
        data: The training, validation and test set.
        is_task_given: Whether the user chose the task; otherwise it follows from the data.

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
    sets = data.map(lambda series: series.recordings).as_dict()
    groups, group_name = _count_groups(config, sets)
    lengths = lengths_by_set(data)
    sizes = data.map(len).as_dict()
    per_class: dict[str, dict[str, int]] = {}
    if data.streams is not None:
        none = dict.fromkeys(facts.classes, 0)
        counts = data.streams.map(lambda part: part.counts(facts.classes) if part else none)
        per_class = counts.as_dict()
        sizes = {part: sum(counts.values()) for part, counts in per_class.items()}
    elif facts.classes:
        per_class = {part: _count_classes(recordings) for part, recordings in sets.items()}

    # Keys are counted once: a single pattern is in all sets.
    keys = {key for recordings in sets.values() for key in recordings.keys}
    n_recordings = len(keys) if data.streams is None else sum(sizes.values())
    skipped = [{"file": file, "reason": reason} for file, reason in facts.skipped]
    is_digits = config.data.kind == "features"

    return {
        "path": config.data.source,
        "kind": "features" if is_digits else config.data.source_kind,
        "task": config.task.name,
        "task_found_by": "--task" if is_task_given else TASK_SIGNS[config.task.name],
        "count": n_recordings,
        "recordings": sizes,
        "lengths": _summarize(np.concatenate([*lengths.values()]), config),
        "lengths_by_set": {part: _summarize(steps, config) for part, steps in lengths.items()},
        "features": _n_values(config),
        "feature_shape": list(facts.feature_shape),
        "feature_text": describe_features(config),
        "targets": facts.n_targets,
        "classes": list(facts.classes),
        "per_class": per_class,
        "counted": "steps" if config.task.name == "labels" else "recordings",
        "split_by": facts.split_by,
        "split": facts.split_reason,
        "group_name": group_name,
        "groups": groups,
        "skipped": skipped,
        "cached": data.is_cached,
        "fingerprint": facts.fingerprint,
    }


def lengths_by_set(data: RunData) -> dict[str, Indices]:
    """The length of each recording of each set [steps of the net]."""
    return data.map(lambda series: series.lengths - series.input.look_ahead).as_dict()


def describe_features(config: CompletedConfig) -> str:
    """The input of a net in words, as in `"32 log-mel bands of 25 ms every 10 ms, scaled"`.

    Args:
        config: The config of a run.
    """
    facts = config.facts
    count = f"{facts.n_features:,}"
    steps = getattr(config.data, "hold", 1)
    hold = f", each for {steps} steps" if steps > 1 else ""

    match config.data:
        case PatternData():
            return f"{count} channels of frozen noise"
        case FilteredData():
            averaged = f"averaged over {config.net.dt * 1e3:g} ms"
            return f"{count} rectified channels, {averaged}, amplified"
        case SoundData(window=window, hop=hop):
            frames = f"of {window * 1e3:g} ms every {hop * 1e3:g} ms"
            return f"{count} log-mel bands {frames}, scaled{hold}"
        case EventData(bin=seconds):
            return f"events at {count} places, bins of {(seconds or 0) * 1e3:g} ms{hold}"
        case ImageData(encoder=encoder):
            height, width, *colors = facts.feature_shape
            of_colors = f" of {colors[0]} colors" if colors > [1] else ""
            return f"{height * width:,} pixels{of_colors} {ENCODINGS[encoder]}"

    # Series, and the features of the spoken digits.
    n_values = _n_values(config)
    noun = "feature" if config.data.kind == "features" else "value"
    scales = " by the set and by the recording" if n_values < facts.n_features else ""
    return f"{n_values:,} {noun}{'s' * (n_values > 1)}, scaled{scales}{hold}"


def _n_values(config: CompletedConfig) -> int:
    """Values of a recording in a step. The net gets them twice if they are also standardized."""
    return config.facts.n_features // (1 + bool(getattr(config.data, "add_standardized", False)))


def _count_classes(recordings: Recordings) -> dict[str, int]:
    """Number of recordings of each class, or of steps if each step has a class."""
    labels = recordings.labels
    if recordings.task == "labels":
        labels = np.concatenate([labels[:0], *recordings.targets])
    counts = np.bincount(labels[labels >= 0], minlength=len(recordings.classes))
    return dict(zip(recordings.classes, counts.tolist(), strict=True))


def _count_groups(
    config: CompletedConfig, sets: dict[str, Recordings]
) -> tuple[dict[str, int], str]:
    """Number of groups or speakers of each set, and the noun; both empty if they are not known."""
    groups = {part: recordings.groups for part, recordings in sets.items()}
    noun = "groups"

    # Without groups, the names of files may name the speakers.
    if not any(groups.values()):
        pattern = getattr(config.data, "speaker_pattern", None)
        groups = {
            part: match_speakers(recordings.keys, pattern)
            if pattern
            else speakers_of(recordings.keys)
            for part, recordings in sets.items()
        }
        noun = "speakers"
        if any("" in names for names in groups.values()):
            return {}, ""

    return {part: len({*names} - {""}) for part, names in groups.items()}, noun


def _summarize(steps: Indices, config: CompletedConfig) -> dict[str, Any]:
    """The length of the shortest, the median and the longest recording, in steps and seconds."""
    step = config.step_seconds
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

    targets = f", {report['targets']} values per step" if report["targets"] else ""
    cache = "from the cache, " if report["cached"] else ""
    skipped = [f"skipped {entry['file']}: {entry['reason']}" for entry in report["skipped"]]

    return [
        f"{report['count']:,} {kind}, {cache}{len(skipped):,} skipped",
        f"task: {report['task']}{targets} ({report['task_found_by']})",
        f"lengths: {describe_lengths(report['lengths'])}",
        f"input of the net: {report['feature_text']}",
        report["split"],
        *_table(report),
        *skipped,
    ]


def describe_lengths(lengths: dict[str, Any]) -> str:
    """As in `"20 to 98 steps, median 60 (0.2 to 0.98 s, median 0.6)"`."""
    steps, seconds = lengths["steps"], lengths["seconds"]
    text = _describe_range(steps, "{:,.0f}", "step" if steps["max"] == 1 else "steps")
    text = f"all have {text}" if steps["min"] == steps["max"] else text
    return text if seconds is None else f"{text} ({_describe_range(seconds, '{:.3g}', 's')})"


def _describe_range(values: dict[str, float], form: str, unit: str) -> str:
    low, median, high = map(form.format, values.values())
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}, median {median}"


def _table(report: dict[str, Any]) -> list[str]:
    """The size of each set: a line for each class, for all recordings, and for groups."""
    sizes = report["recordings"]
    names = report["classes"]
    counts = [report["per_class"].get(part, {}) for part in sizes]
    rows = [(_shortened(name), [count[name] for count in counts]) for name in names[:MAX_CLASSES]]
    if others := names[MAX_CLASSES:]:
        sums = [sum(count[name] for name in others) for count in counts]
        rows.append((f"and {len(others):,} more", sums))

    rows.append(("all", [sum(count.values()) for count in counts] if names else sizes.values()))
    if report["groups"]:
        rows.append((report["group_name"], report["groups"].values()))

    head = ["steps" if report["counted"] == "steps" else "", *sizes]
    return text_table([head, *([name, *map("{:,}".format, numbers)] for name, numbers in rows)])


def _shortened(name: str) -> str:
    text = printable(name)
    return text if len(text) <= MAX_LETTERS else f"{text[: MAX_LETTERS - 1]}…"
