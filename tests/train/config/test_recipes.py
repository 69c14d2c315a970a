"""The defaults that a run gets by the kind of its data, its task and its net."""

from operator import attrgetter

import pytest

pytest.importorskip("lightning")

from nwavesdk.train import RunConfig
from nwavesdk.train.config import merge_choices
from nwavesdk.train.config.recipes import (
    MAX_EPOCHS,
    MIN_BATCH,
    MIN_EPOCHS,
    SCHEDULES,
    apply_recipe,
    complete,
    schedule_of,
)
from nwavesdk.train.fit.network import sample_config
from train.runs import Choices

KINDS = ("sound", "series", "image", "events", "features")
CHIP = {"chip": {"profile": "h1v2"}}
LIF = {"net": {"name": "lif"}}


def choices_of(kind: str, choices: Choices, task: str = "classification") -> RunConfig:
    source = "digits" if kind == "features" else "recordings"
    needed = {"data": {"kind": kind, "source": source}, "task": {"name": task}}
    return RunConfig.of(merge_choices(needed, choices))


@pytest.mark.parametrize(
    ("kind", "choices", "expected"),
    [
        # Choices of the user come first, also one that is the default of its class.
        ("sound", {"learning": {"rate": 1e-4}}, {"learning.rate": 1e-4, "learning.clip": 1.0}),
        ("sound", {"data": {"bands": 24}}, {"data.bands": 24, "learning.most_spikes": 0.04}),
        ("sound", {"net": {"dt": 10e-3}, "data": {"hop": 5e-3}}, {"net.dt": 10e-3}),
        # A step of sound is a frame.
        ("sound", {}, {"net.dt": 10e-3, "data.hold": 1}),
        ("sound", {"data": {"hop": 5e-3}}, {"net.dt": 5e-3, "data.hold": 1}),
        # Only centered sound is standardized.
        ("sound", {}, {"data.center": True, "data.standardize": True}),
        ("sound", {"data": {"center": False}}, {"data.standardize": False}),
        ("sound", {"data": {"center": False, "standardize": True}}, {"data.standardize": True}),
        ("sound", {"data": {"standardize": False}}, {"data.center": True}),
        # Live sound is scaled by the past only.
        (
            "sound",
            {"data": {"level": "running"}},
            {"data.center": False, "data.standardize": False, "data.level": "running"},
        ),
        ("series", {}, {"data.standardize": False}),
        # Only nets of pages may get series twice; None is found in the data.
        ("series", {}, {"data.add_standardized": None}),
        ("series", {"data": {"add_standardized": False}}, {"data.add_standardized": False}),
        ("series", LIF, {"data.add_standardized": False}),
        ("labels", {}, {"data.add_standardized": False}),
        # The end of the cycle is kept, unless patience ends it.
        ("sound", {}, {"learning.keep": "last"}),
        ("sound", {"learning": {"patience": 3}}, {"learning.keep": "best"}),
        ("sound", LIF, {"learning.keep": "best"}),
        # A chip, patterns and lists of events have their own nets.
        ("sound", CHIP, {"net.name": "chip", "data.kind": "filtered", "data.augment": {}}),
        ("series", CHIP, {"net.name": "chip", "data.kind": "channels"}),
        ("pattern", {}, {"net.name": "lif", "data.kind": "pattern", "net.recurrent": True}),
        ("events", {"data": {"events": "lists"}}, {"net.name": "lif"}),
        # Targets of steps limit the augmentation of recordings.
        ("labels", {}, {"data.augment": {"speed": 0.15}}),
        ("regression", {}, {"data.augment": {}}),
        ("events", {}, {"data.augment": {"move": 2, "drop": 0.3, "speed": 0.1}, "data.steps": 15}),
    ],
)
def test_a_run_has_the_defaults_of_its_kind_its_task_and_its_net(
    kind: str, choices: Choices, expected: Choices
) -> None:
    is_task = kind not in KINDS
    given = choices_of("series", choices, kind) if is_task else choices_of(kind, choices)
    config = apply_recipe(given)
    assert {field: attrgetter(field)(config) for field in expected} == expected


@pytest.mark.parametrize(
    ("data", "augment"),
    [({}, {"drop": 0.3, "speed": 0.1}), ({"augment": {"move": 1}}, {"move": 1})],
)
def test_events_of_one_axis_get_more_bins_and_do_not_move(
    data: Choices, augment: dict[str, float]
) -> None:
    config = apply_recipe(choices_of("events", {"data": data}), has_one_axis=True)
    assert config.data.steps is None  # 100
    assert config.data.augment == augment


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {},
            {
                "data.level": "running",
                "data.hop": 20e-3,
                "net.dt": 20e-3,
            },
        ),
        ({"hop": 10e-3}, {"data.hop": 10e-3, "net.dt": 10e-3}),
        ({"level": "as_is"}, {"data.level": "as_is"}),
    ],
)
def test_a_detector_gets_frames_that_depend_on_the_past(data: Choices, expected: Choices) -> None:
    config = apply_recipe(choices_of("sound", {"data": data}, "detect"))
    assert {field: attrgetter(field)(config) for field in expected} == expected
    assert (config.data.center, config.data.standardize) == (False, False)
    assert schedule_of(config) is SCHEDULES["detect"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_train", [3, 20, 300, 2_000, 60_000])
def test_sets_of_all_sizes_get_about_the_same_number_of_updates(kind: str, n_train: int) -> None:
    schedule = schedule_of(choices_of(kind, {}))
    assert schedule is SCHEDULES[kind]
    batch_size = schedule.batch_size(n_train)
    assert MIN_BATCH <= batch_size <= schedule.max_batch
    epochs = schedule.epochs(n_train, batch_size)
    assert MIN_EPOCHS <= epochs <= MAX_EPOCHS
    if MIN_EPOCHS < epochs < MAX_EPOCHS:
        assert epochs * -(-n_train // batch_size) == pytest.approx(schedule.updates, rel=0.1)


@pytest.mark.parametrize("task", ["labels", "regression", "pattern"])
def test_tasks_with_outputs_of_each_step_have_their_own_schedules(task: str) -> None:
    config = choices_of("series", {"net": {"name": "conv"}}, task)
    assert schedule_of(config) is SCHEDULES[task]


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
    """The other values follow from the number of recordings, or are the defaults of layers."""
    sample = sample_config("conv", (40,), 2)
    facts = sample.facts.model_copy(update={"recordings": (1_000, 1, 1)})
    choices = apply_recipe(choices_of("sound", {"net": {"name": net}, "learning": learning}))
    filled = choices.filled({"data": {"hold": 1, "sample_rate": 8_000}})
    config = complete(filled, facts, threads=1)
    assert (config.learning.epochs, config.learning.batch_size) == (epochs, batch_size)
