"""Tests of the net and the defaults that a run gets by the kind of its data."""

from typing import Any, get_args

import pytest

from nwavesdk.presets import NAMES, USES, page_path
from nwavesdk.train import RunConfig
from nwavesdk.train.config.recipes import (
    LEAST_EPOCHS,
    MOST_EPOCHS,
    SCHEDULES,
    STEP_SCHEDULES,
    DataKind,
    complete_config,
    complete_schedule,
)

KINDS = get_args(DataKind)


def completed(choices: dict[str, Any], kind: DataKind = "sound") -> RunConfig:
    return complete_config(RunConfig.of(choices), kind, "classification")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_net_whose_page_is_recorded(kind: DataKind) -> None:
    config, reason = complete_config(RunConfig.of({}), kind, "classification")
    assert config.net.preset in NAMES
    assert reason == f"for {kind}"
    assert config.net_file is not None
    assert config.net_file.file == str(page_path(config.net.preset).resolve())


def test_choices_of_the_user_come_first() -> None:
    choices = {"net": {"dt": 5e-3}, "learning": {"rate": 1e-4, "clip": 3.0}, "data": {"bands": 24}}
    config = completed(choices)
    assert config.net.dt == 5e-3
    assert config.learning.rate == 1e-4
    assert config.learning.clip == 3.0
    assert config.data.bands == 24
    assert config.learning.most_spikes is not None  # of the recipe
    # A default that is given stays, too.
    assert completed({"data": {"center": False}}).data.center is False
    assert completed({}).data.center is True


def test_only_centered_sound_is_standardized_by_default() -> None:
    assert completed({}).data.standardize is True
    assert completed({"data": {"center": False}}).data.standardize is False
    both = {"data": {"center": False, "standardize": True}}
    assert completed(both).data.standardize is True
    assert completed({"data": {"standardize": False}}).data.center is True
    config, _ = complete_config(RunConfig.of({}), "series", "classification")
    assert config.data.standardize is False


def test_only_nets_of_pages_may_get_series_twice() -> None:
    assert completed({}, "series").data.add_standardized is None  # found in the data
    given = {"data": {"add_standardized": False}}
    assert completed(given, "series").data.add_standardized is False
    labels, _ = complete_config(RunConfig.of({}), "series", "labels")
    assert labels.data.add_standardized is False
    assert completed({"net": {"preset": "lif"}}, "series").data.add_standardized is False
    for kind in set(KINDS) - {"series"}:
        assert completed({}, kind).data.add_standardized is False


def test_events_of_one_axis_get_more_bins_and_do_not_move() -> None:
    camera, _ = complete_config(RunConfig.of({}), "events", "classification")
    assert camera.data.steps == 15
    assert camera.data.augment == {"move": 2, "drop": 0.3, "speed": 0.1}
    given = RunConfig.of({"data": {"augment": {"move": 1}}})
    for config, changes in ((RunConfig.of({}), {"drop": 0.3, "speed": 0.1}), (given, {"move": 1})):
        done, _ = complete_config(config, "events", "classification", has_one_axis=True)
        assert done.data.steps is None  # 100
        assert done.data.augment == changes


def test_a_step_of_sound_is_a_frame() -> None:
    assert completed({}).net.dt == 10e-3
    config = completed({"data": {"hop": 5e-3}})
    assert config.net.dt == 5e-3
    assert config.data.hold == 1


@pytest.mark.parametrize(
    ("option", "others"),
    [
        ({"tau": 0.02}, "lif"),
        ({"hidden": [64]}, "lif or adlif or recurrent"),
        ({"population": 4}, "lif"),
        ({"recurrent": True}, "lif"),
        ({"neuron": "adlif"}, "lif"),
    ],
)
def test_an_option_of_another_net_names_it_and_does_not_choose_it(
    option: dict[str, Any], others: str
) -> None:
    match = (
        rf"net\.{next(iter(option))}: has no effect on --net conv, the default for sound, got "
        rf".*: remove it, or choose a net that reads it: --net {others}\.$"
    )
    with pytest.raises(ValueError, match=match):
        completed({"net": option})
    assert completed({"net": option, "net_file": "lif"}).net.preset == "lif"


def test_a_chip_and_a_pattern_have_their_own_nets() -> None:
    chip = completed({"chip": {"profile": "h1v2"}})
    assert chip.net.preset == "chip"
    assert chip.data.center is False
    assert chip.data.standardize is False
    pattern, _ = complete_config(RunConfig.of({}), "series", "pattern")
    assert pattern.net.preset == "lif"


@pytest.mark.parametrize("preset", NAMES)
def test_options_that_a_net_does_not_use_are_rejected(preset: str) -> None:
    options = {"population": 3, "charge_gain": 2.0, "recurrent": True}
    unused = next((name for name in options if name not in USES[preset]), None)  # type: ignore[index]  # a name
    chip = {"chip": {"profile": "h1v2"}} if preset == "chip" else {}
    if unused is None:
        completed({"net_file": preset, "net": options, **chip})
        return
    choices = {"net_file": preset, "net": {unused: options[unused]}, **chip}
    if preset == "chip":
        with pytest.raises(ValueError, match=f"net.{unused}: "):
            completed(choices)
        return
    match = rf"net\.{unused}: has no effect on --net {preset}, .*nwave net {preset} > net\.py"
    with pytest.raises(ValueError, match=match):
        completed(choices)


def test_the_logit_of_a_spike_is_rejected_for_nets_that_give_scores() -> None:
    sharpness = {"learning": {"sharpness": 10.0}}
    with pytest.raises(ValueError, match=r"learning\.sharpness: has no effect on --net conv"):
        completed(sharpness)
    assert completed({**sharpness, "net": {"preset": "lif"}}).learning.sharpness == 10.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_train", [3, 20, 300, 2_000, 60_000])
def test_sets_of_all_sizes_get_about_the_same_number_of_updates(
    kind: DataKind, n_train: int
) -> None:
    config = complete_schedule(completed({}, kind), kind, "classification", n_train)
    schedule = SCHEDULES[kind]
    batch_size = config.learning.batch_size
    assert schedule.smallest_batch <= batch_size <= schedule.largest_batch
    epochs = config.learning.epochs
    assert LEAST_EPOCHS <= epochs <= MOST_EPOCHS
    if LEAST_EPOCHS < epochs < MOST_EPOCHS:
        updates = epochs * -(-n_train // batch_size)
        assert updates == pytest.approx(schedule.updates, rel=0.1)


def test_the_end_of_the_cycle_is_kept_unless_patience_ends_it() -> None:
    assert completed({}).learning.keep == "last"
    assert completed({"learning": {"patience": 3}}).learning.keep == "best"
    with pytest.raises(ValueError, match=r"learning\.patience: has no effect with keep=\"last\""):
        RunConfig.of({"learning": {"patience": 3, "keep": "last"}})


def test_a_schedule_that_is_given_is_kept() -> None:
    config = completed({"learning": {"epochs": 3, "batch_size": 7}})
    kept = complete_schedule(config, "sound", "classification", 1_000).learning
    assert kept.epochs == 3
    assert kept.batch_size == 7
    config = completed({"learning": {"batch_size": 10}})
    of_batch = complete_schedule(config, "sound", "classification", 1_000)
    assert of_batch.learning.epochs == round(SCHEDULES["sound"].updates / 100)


def test_layers_keep_their_own_schedule() -> None:
    config = completed({"net_file": "lif", "net": {"hidden": [8]}})
    assert complete_schedule(config, "sound", "classification", 10) is config
    assert config.learning.epochs == 20


def test_tasks_with_outputs_of_each_step_have_their_own_schedules() -> None:
    labels, values = (
        complete_schedule(completed({}, "series"), "series", task, 600).learning
        for task in ("labels", "regression")
    )
    assert labels.batch_size == values.batch_size == 16
    n_batches = 38
    assert labels.epochs == round(STEP_SCHEDULES["labels"].updates / n_batches)
    assert values.epochs == round(STEP_SCHEDULES["regression"].updates / n_batches)
    assert labels.epochs < values.epochs


def test_targets_of_steps_limit_the_changes_of_recordings() -> None:
    labels, _ = complete_config(RunConfig.of({}), "series", "labels")
    assert labels.data.augment.keys() == {"speed"}
    values, _ = complete_config(RunConfig.of({}), "series", "regression")
    assert values.data.augment == {}
