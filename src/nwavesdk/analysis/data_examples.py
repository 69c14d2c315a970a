"""The picture of `nwave data`: recordings read again, next to what a net gets of them."""

from collections.abc import Sequence
from pathlib import Path

from nwavesdk.analysis.data_pictures import DataPicture, choose_examples, draw_data
from nwavesdk.analysis.data_report import (
    count_classes,
    count_groups,
    describe_features,
    step_seconds,
)
from nwavesdk.analysis.recording_pictures import Example
from nwavesdk.chip import FilterBank
from nwavesdk.data import Series
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.source import Sample
from nwavesdk.internal.files import write_atomically
from nwavesdk.plot.theme import LIGHT, render_png
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.data import Files, Filtered
from nwavesdk.train.config.fields import MAX_SECONDS, is_table
from nwavesdk.train.data.inputs import channel_options, series_options
from nwavesdk.train.data.load import RunData

__all__ = ["data_picture", "plot_data"]

# Recordings of a picture with the channels of a chip, which are high.
MOST_WITH_CHANNELS = 3

# Letters of the key of a recording that has no class.
MOST_LETTERS = 40


def plot_data(path: Path, config: CompletedConfig, data: RunData) -> None:
    """Write a PNG of some recordings, all lengths, and what is in each set.

    Args:
        path: The file. Its folder is made if it does not exist.
        config: The config of a run.
        data: The sets.

    Raises:
        RecordingError: If a recording cannot be read any more.
    """
    picture = data_picture(config, data)
    content = render_png(lambda theme: draw_data(picture, theme), LIGHT)
    write_atomically(path, content)


def data_picture(config: CompletedConfig, data: RunData) -> DataPicture:
    """What the picture of a data set shows; see `plot_data`."""
    facts = config.facts
    bank = _bank_of(config)
    groups, group_name = count_groups(config, data)
    # Examples are of the training set: nothing else of the test set is looked at than its sizes.
    train = data.train
    has_classes = config.task.name == "classification"
    chosen = choose_examples(
        train.recordings.labels,
        train.lengths - train.input.look_ahead,
        len(facts.classes) if has_classes else 0,
        *([MOST_WITH_CHANNELS] if bank else []),
    )
    samples = _read_again(config, [train.recordings.keys[index] for index in chosen])
    examples = [
        _example(config, train, index, sample)
        for index, sample in zip(chosen, samples, strict=True)
    ]
    return DataPicture(
        task=config.task.name,
        classes=facts.classes,
        examples=tuple(examples),
        feature_text=describe_features(config),
        lengths=data.map(lambda series: series.lengths - series.input.look_ahead).as_dict(),
        step=step_seconds(config),
        counts=count_classes(data),
        groups=groups,
        group_name=group_name,
        bank=bank,
    )


def _bank_of(config: CompletedConfig) -> FilterBank | None:
    """The filters of the chip, if recordings pass them."""
    profile = config.facts.chip
    if profile is None or not isinstance(config.data, Filtered):
        return None
    return channel_options(config.data, config.net.dt, profile).bank


def _read_again(config: CompletedConfig, keys: Sequence[str]) -> list[Sample | None]:
    """The content of recordings; None for those of which there are features or targets only."""
    data = config.data
    if not isinstance(data, Files):
        return [None] * len(keys)
    path = Path(data.source)
    source = open_source(
        path,
        # What cannot be used is known already.
        Faults(path, "skip"),
        task=config.task.name,
        max_seconds=config.option("data.max_seconds", MAX_SECONDS),
        has_table=is_table(data.split),
        series=series_options(config),
    )
    items = {item.key: item for item in source.items}
    return [source.read(items[key]) for key in keys]


def _example(config: CompletedConfig, train: Series, index: int, sample: Sample | None) -> Example:
    recordings = train.recordings
    facts = config.facts
    has_class = config.task.name == "classification"
    target = None if has_class else recordings.targets[index]
    if target is not None and target.ndim == 2:
        # As long as the input; labels are drawn along the whole recording.
        target = target[: train.input.length].repeat(train.input.hold, axis=0)
    # Paths of one folder differ in their ends.
    key = recordings.keys[index]
    key = key if len(key) <= MOST_LETTERS else f"…{key[1 - MOST_LETTERS :]}"
    return Example(
        name=facts.classes[recordings.labels[index]] if has_class else key,
        kind=config.data.source_kind,
        values=None if sample is None else sample.values,
        frames=train.input_of(index),
        target=target,
        step=step_seconds(config),
    )
