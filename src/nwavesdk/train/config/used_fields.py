"""Choices that have no effect on the data of a run, or do not fit its chip, are errors."""

import itertools
from collections.abc import Sequence, Set

from nwavesdk.chip import Profile
from nwavesdk.data import Recordings, Source
from nwavesdk.data.source import Kind, Task
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import printable
from nwavesdk.train.config import CHIP_DEFAULTS, RunConfig
from nwavesdk.train.config.sections import is_table

__all__ = [
    "check_build_reads",
    "check_digits",
    "check_left_out",
    "check_neuron_count",
    "check_shares_used",
    "check_used",
    "given_to_build",
]

# Fields of `data` that have an effect on one kind of recording only.
SOUND_FIELDS = ("bands", "sample_rate", "window", "hop", "level", "max_seconds")
IMAGE_FIELDS = ("encoder",)
EVENT_FIELDS = ("bin", "events")
SERIES_FIELDS = ("add_standardized", "columns", "missing")
STEP_FIELDS = ("steps",)  # of images and of events
# Fields by which a recording is scaled by its own mean and deviation.
OWN_SCALE = ("center", "standardize")
LABEL_FIELDS = ("look_ahead",)  # of tasks with a class for each step
FILE_FIELDS = ("on_error", "speaker_pattern")
# Fields of `net` that act on the net of a file only if its function reads them.
BUILD_FIELDS = {"tau", "dropout", "surrogate"}
FIELDS_OF: dict[Kind, tuple[str, ...]] = {
    "sound": SOUND_FIELDS,
    "image": IMAGE_FIELDS,
    "events": EVENT_FIELDS,
    "series": SERIES_FIELDS,
}


def check_digits(config: RunConfig) -> None:
    """Reject choices that have no effect on the built-in spoken digits."""
    data = config.data
    if config.chip is not None:
        raise ValueError(
            "a chip needs sound, but the spoken digits are features: "
            "give --data FOLDER with .wav files."
        )
    if data.split in ("speaker", "group", "folder"):
        raise ValueError(
            f"data.split: the spoken digits do not name their {data.split}s: leave --split out."
        )
    if config.facts is None:
        of_kinds = itertools.chain(*FIELDS_OF.values())
        fields = (*of_kinds, *STEP_FIELDS, *FILE_FIELDS)
        check_left_out(config, "data", fields, "the spoken digits are features already")
        check_left_out(config, "data", LABEL_FIELDS, "the spoken digits have one class each")


def check_used(config: RunConfig, source: Source) -> None:
    """Reject choices that have no effect on recordings of this kind, or on this chip."""
    if config.facts is not None:
        return
    _check_kind(config, source.kind)
    _check_task(config, source.task)
    if config.chip is not None:
        _check_chip(config, source.kind)


def _check_kind(config: RunConfig, kind: Kind) -> None:
    data = config.data
    holds = f"{printable(data.source)} holds {kind}"
    for of_kind, fields in FIELDS_OF.items():
        if kind != of_kind:
            check_left_out(config, "data", fields, f"{holds}, not {of_kind}")
    if kind not in ("image", "events"):
        check_left_out(config, "data", STEP_FIELDS, f"{holds}, not images or events")
    if data.bin is not None:
        check_left_out(config, "data", STEP_FIELDS, "--bin decides the number of bins")
    if kind == "image":
        reason = "an image is one frame, which --steps continues"
        check_left_out(config, "data", ("length", "hold", "padding", *OWN_SCALE), reason)
    if kind == "events":
        check_left_out(config, "data", OWN_SCALE, "a step without events has the value 0")
    if data.events == "lists":
        check_left_out(config, "net", ("first_weights",), "lists of events cannot drive weights")


def _check_task(config: RunConfig, task: Task) -> None:
    if task == "pattern":
        check_left_out(config, "data", (*OWN_SCALE, *SERIES_FIELDS), "a pattern has no input")
        check_left_out(config, "net", ("first_weights",), "a pattern has no input")
    if task != "labels":
        reason = f"what is learned is {task}, not a class for each step (labels)"
        check_left_out(config, "data", LABEL_FIELDS, reason)
    if task in ("regression", "pattern"):
        check_left_out(config, "learning", ("class_weights",), "values have no classes")
    if task != "classification" and config.chip is None:
        reason = "each output is the membrane of one neuron"
        check_left_out(config, "net", ("population",), reason)


def _check_chip(config: RunConfig, kind: Kind) -> None:
    if kind not in ("sound", "series"):
        raise ValueError(
            f"a chip takes sound, or series with a channel for each of its filters, got {kind}: "
            "leave --chip out."
        )
    reason = "the chip's filters and neurons determine it"
    general = ("bands", "length", "hold", "window", "hop", "padding")
    fields = (*general, *OWN_SCALE, *SERIES_FIELDS, *LABEL_FIELDS)
    check_left_out(config, "data", fields, reason)
    check_left_out(config, "net", ("threshold", "reset"), reason)


def check_left_out(config: RunConfig, section: str, names: Sequence[str], reason: str) -> None:
    """Reject choices that have no effect in a run."""
    given = getattr(config, section)
    for name in names:
        got = getattr(given, name)
        default = {**type(given).model_fields}[name].default
        if config.chip is not None:
            default = CHIP_DEFAULTS.get(section, {}).get(name, default)
        if got != default:
            raise ValueError(f"{section}.{name}: {reason}, got {got!r}: leave the option out.")


def check_shares_used(config: RunConfig, parts: Sequence[str]) -> None:
    """Reject the share of a set whose recordings are given.

    Args:
        config: The config of a run.
        parts: The set of each recording in an official split; empty without one.
    """
    data = config.data
    if data.folds is not None or data.leave_one_out is not None:
        check_left_out(config, "data", ("test_share",), "folds decide the test set")
    elif data.split in ("auto", "folder") or is_table(data.split):
        given = {part for part in parts if part}
        if "val" in given:
            check_left_out(config, "data", ("val_share",), "the data have a validation set")
        if "test" in given:
            check_left_out(config, "data", ("test_share",), "the data have a test set")


def check_build_reads(config: RunConfig, names: Set[str]) -> None:
    """Reject choices that the file of a net, which could read them, does not read.

    Args:
        config: The config of a run that begins, with facts.
        names: Those of `given_to_build`.

    Raises:
        NetFileError: If the file, its function or its net does not work.
    """
    if not names:
        return
    from nwavesdk.train.fit.net_file import unread_fields

    assert config.facts is not None
    for name in unread_fields(config, config.facts, names):
        got = shown(getattr(config.net, name))
        raise ValueError(
            f"net.{name}: has no effect on the net of --net, which does not read config.net.{name},"
            f" got {got}: leave it out, or read it in the file."
        )


def given_to_build(config: RunConfig) -> set[str]:
    """The choices of a new run that act only through `build` of the user's file, if it has one."""
    if config.net_file is None or config.net.preset is not None:
        return set()
    of_chip = CHIP_DEFAULTS["net"] if config.chip is not None else {}
    given = config.net.model_fields_set & BUILD_FIELDS
    return {name for name in given if getattr(config.net, name) != of_chip.get(name, ...)}


def check_neuron_count(config: RunConfig, profile: Profile, recordings: Recordings) -> None:
    """Reject a net with more neurons than the chip; `nwave map` checks that layers fit cores."""
    n_filters = profile.count("filters")
    if recordings.n_features != n_filters:
        raise ValueError(
            f"{profile.name} has {n_filters} filters, each with a neuron, got series with "
            f"{recordings.n_features} channels: give one channel per filter, or leave --chip out."
        )
    n_outputs = len(recordings.classes) or recordings.n_targets
    sizes = (recordings.n_features, *config.net.hidden, n_outputs * config.net.population)
    available = sum(profile.cores)
    if sum(sizes) > available:
        raise ValueError(
            f"net: {' + '.join(map(str, sizes))} neurons (front end, hidden, {n_outputs} "
            f"populations) do not fit on {profile.name}: got {sum(sizes)}, expected at most "
            f"{available}: lower --hidden or --population."
        )
