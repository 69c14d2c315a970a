"""The defaults that a run gets by the kind of its data, its task and its net."""

from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.train import RunConfig
from nwavesdk.train.config import merge_choices
from nwavesdk.train.config.recipes import (
    MAX_EPOCHS,
    MIN_EPOCHS,
    SCHEDULES,
    STEP_SCHEDULES,
    apply_recipe,
    complete,
    fill,
    schedule_of,
)
from nwavesdk.train.fit.network import sample_config

KINDS = ("sound", "series", "image", "events", "features")


def completed(
    kind: str = "sound", choices: dict[str, Any] | None = None, *, task: str = "classification"
) -> RunConfig:
    """The choices with the defaults of the recipe."""
    source = "digits" if kind == "features" else "recordings"
    needed = {"data": {"kind": kind, "source": source}, "task": {"name": task}}
    return apply_recipe(RunConfig.of(merge_choices(needed, choices or {})))


def test_choices_of_the_user_come_first() -> None:
    choices = {"net": {"dt": 5e-3}, "learning": {"rate": 1e-4, "clip": 3.0}, "data": {"bands": 24}}
    config = completed("sound", choices)
    assert config.net.dt == 5e-3
    assert config.learning.rate == 1e-4
    assert config.learning.clip == 3.0
    assert config.option("data.bands") == 24
    assert config.learning.most_spikes is not None  # of the recipe
    # A default that is given stays, too.
    assert completed("sound", {"net": {"dt": 10e-3}, "data": {"hop": 5e-3}}).net.dt == 10e-3


@pytest.mark.parametrize(
    ("data", "center", "standardize"),
    [
        ({}, True, True),
        ({"center": False}, False, False),
        ({"center": False, "standardize": True}, False, True),
        ({"standardize": False}, True, False),
    ],
)
def test_only_centered_sound_is_standardized_by_default(
    data: dict[str, bool], center: bool, standardize: bool
) -> None:
    config = completed("sound", {"data": data})
    assert config.option("data.center") == center
    assert config.option("data.standardize") == standardize
    assert completed("series").option("data.standardize") is False


def test_only_nets_of_pages_may_get_series_twice() -> None:
    assert completed("series").option("data.add_standardized") is None  # found in the data
    given = {"data": {"add_standardized": False}}
    assert completed("series", given).option("data.add_standardized") is False
    assert completed("series", task="labels").option("data.add_standardized") is False
    lif = completed("series", {"net": {"name": "lif"}})
    assert lif.option("data.add_standardized") is False


def test_events_of_one_axis_get_more_bins_and_do_not_move() -> None:
    camera = completed("events")
    assert camera.option("data.steps") == 15
    assert camera.option("data.augment") == {"move": 2, "drop": 0.3, "speed": 0.1}
    data = {"kind": "events", "source": "recordings"}
    for augment, expected in ((None, {"drop": 0.3, "speed": 0.1}), ({"move": 1}, {"move": 1})):
        given = {} if augment is None else {"augment": augment}
        choices = {"data": {**data, **given}, "task": {"name": "classification"}}
        config = apply_recipe(RunConfig.of(choices), has_one_axis=True)
        assert config.option("data.steps") is None  # 100
        assert config.option("data.augment") == expected


def test_a_step_of_sound_is_a_frame() -> None:
    assert completed("sound").net.dt == 10e-3
    config = completed("sound", {"data": {"hop": 5e-3}})
    assert config.net.dt == 5e-3
    assert config.option("data.hold") == 1


def test_a_chip_and_a_pattern_have_their_own_nets() -> None:
    chip = completed("sound", {"chip": {"profile": "h1v2"}})
    assert (chip.net.name, chip.data.kind) == ("chip", "filtered")
    assert completed("series", {"chip": {"profile": "h1v2"}}).data.kind == "channels"
    pattern = completed("series", task="pattern")
    assert (pattern.net.name, pattern.data.kind) == ("lif", "pattern")
    assert pattern.option("net.recurrent") is True
    lists = completed("events", {"data": {"events": "lists"}})
    assert lists.net.name == "lif"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_train", [3, 20, 300, 2_000, 60_000])
def test_sets_of_all_sizes_get_about_the_same_number_of_updates(kind: str, n_train: int) -> None:
    schedule = schedule_of(completed(kind))
    assert schedule is SCHEDULES[kind]
    batch_size = schedule.batch_size(n_train)
    assert schedule.smallest_batch <= batch_size <= schedule.largest_batch
    epochs = schedule.epochs(n_train, batch_size)
    assert MIN_EPOCHS <= epochs <= MAX_EPOCHS
    if MIN_EPOCHS < epochs < MAX_EPOCHS:
        assert epochs * -(-n_train // batch_size) == pytest.approx(schedule.updates, rel=0.1)


def test_tasks_with_outputs_of_each_step_have_their_own_schedules() -> None:
    for task, schedule in STEP_SCHEDULES.items():
        net = {"net": {"name": "conv"}}
        assert schedule_of(completed("series", net, task=task)) is schedule
    labels, values = STEP_SCHEDULES["labels"], STEP_SCHEDULES["regression"]
    assert labels.epochs(600, 16) < values.epochs(600, 16)


def test_the_end_of_the_cycle_is_kept_unless_patience_ends_it() -> None:
    assert completed().learning.keep == "last"
    assert completed("sound", {"learning": {"patience": 3}}).learning.keep == "best"
    assert completed("sound", {"net": {"name": "lif"}}).learning.keep == "best"


@pytest.mark.parametrize(
    ("net", "learning", "epochs", "batch_size"),
    [
        ("conv", {"epochs": 3, "batch_size": 7}, 3, 7),
        ("conv", {"batch_size": 10}, 15, 10),
        ("lif", {}, 20, 64),
        ("lif", {"epochs": 3}, 3, 64),
    ],
)
def test_a_schedule_that_is_given_is_kept(
    net: str, learning: dict[str, int], epochs: int, batch_size: int
) -> None:
    """The other values follow from the number of recordings, or are those of layers."""
    sample = sample_config("conv", (40,), 2)
    facts = sample.facts.model_copy(update={"recordings": (1_000, 1, 1)})
    choices = completed("sound", {"net": {"name": net}, "learning": learning})
    filled = fill(choices, {"data": {"hold": 1, "sample_rate": 8_000}})
    config = complete(filled, facts, sample.arithmetic)
    assert (config.learning.epochs, config.learning.batch_size) == (epochs, batch_size)


def test_targets_of_steps_limit_the_augmentation_of_recordings() -> None:
    assert completed("series", task="labels").option("data.augment").keys() == {"speed"}
    assert completed("series", task="regression").option("data.augment") == {}
    assert completed("sound", {"chip": {"profile": "h1v2"}}).option("data.augment") == {}
