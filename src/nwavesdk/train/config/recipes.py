"""Recipes: the defaults of a run by its kind of data, its task and its net, and its completion.

A new run gets its values in three steps, and the choices of the user come first in each of them.
`apply_recipe` adds defaults before recordings are read, `fill` adds values that follow from the
recordings, and `complete` adds the length of the run, its threads and the facts about its data.

`benchmarks/recipe.py` is the study that chose the numbers, on validation sets alone, for all data
sets of a kind together. Users read them in `docs/recipes.md`, and their reasons in
`docs/explanation/recipes.md`. The defaults of augmentation are in `data/augment.py`.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

from nwavesdk.train.config.completed import CompletedConfig, Facts
from nwavesdk.train.config.net_file import NetPage
from nwavesdk.train.config.nets import Layers, all_constants
from nwavesdk.train.config.run_config import Choices, RunConfig, merge_choices

__all__ = ["apply_recipe", "complete", "recipe_of", "schedule_of"]

MIN_EPOCHS = 10
MAX_EPOCHS = 200

# Smallest number of recordings in a batch, and of batches in an epoch.
MIN_BATCH = 4
MIN_BATCHES = 8

# Bounds of the rate of hidden layers that differ from the default.
MAX_SPIKES = {"image": 0.049, "series": 0.045}
MAX_SPIKES_PER_STEP = 0.045

# Distance of the frames of a detector [s]: half as many as of words take half the time.
STREAM_HOP = 20e-3

# Defaults of nets that are plain stacks of layers, without batch norm; of stacks for a chip; and of
# nets of the user's file for a chip, which have the defaults of the preset.
STACK_DEFAULTS: Choices = {
    "learning": {
        "rate": 8e-3,
        "warmup": 0.3,
        "clip": None,
        "most_spikes": None,
        "keep": "best",
        "epochs": 20,
        "batch_size": 64,
    },
}
CHIP_DEFAULTS: Choices = merge_choices(
    STACK_DEFAULTS, {"learning": {"rate": 0.03, "epochs": 40, "weight_decay": 0.0}}
)
CHIP_FILE_DEFAULTS: Choices = {
    "net": {"tau": 50e-3, "dt": 1e-3, "surrogate": "fast_sigmoid(slope=25.0)", "sharpness": 300.0}
}


class Schedule(NamedTuple):
    """Batch size and epochs by the number of recordings.

    Sets of all sizes get about the same number of updates, so small sets get more epochs.

    Attributes:
        updates: Updates of the weights.
        max_batch: Recordings of a batch, unless an epoch would have too few batches.
    """

    updates: int
    max_batch: int

    def batch_size(self, n_train: int) -> int:
        """Recordings of a batch."""
        return min(self.max_batch, max(MIN_BATCH, n_train // MIN_BATCHES))

    def epochs(self, n_train: int, batch_size: int) -> int:
        """Passes over the training set."""
        epochs = round(self.updates / ceil(n_train / batch_size))
        return min(MAX_EPOCHS, max(MIN_EPOCHS, epochs))


# Schedules by kind of data, and by task for outputs per step, where recordings are long and few.
# With 2,000 updates, a net that labels electrocardiograms memorizes its patients.
SCHEDULES: Mapping[str, Schedule] = {
    "sound": Schedule(1500, max_batch=64),
    "image": Schedule(1500, max_batch=64),
    "series": Schedule(1000, max_batch=16),
    "events": Schedule(1500, max_batch=32),
    "features": Schedule(900, max_batch=64),
    "labels": Schedule(800, max_batch=16),
    "detect": Schedule(18_000, max_batch=16),
    "regression": Schedule(2000, max_batch=16),
    "pattern": Schedule(2000, max_batch=16),
}


def schedule_of(config: RunConfig) -> Schedule | None:
    """The schedule of a run; None for nets of layers, which have a fixed number of epochs."""
    if config.is_layered or config.chip is not None:
        return None
    return SCHEDULES.get(config.task.name) or SCHEDULES[config.data.kind]


def recipe_of(config: RunConfig, *, has_one_axis: bool = False) -> dict[str, Any]:
    """The defaults of a run that differ from the defaults of its classes, by section and field.

    The help prints them. It needs no augmentation, which only `apply_recipe` adds.

    Args:
        config: The choices of the user.
        has_one_axis: See `apply_recipe`.
    """
    if config.is_layered or config.chip is not None:
        defaults = _stack_defaults(config)
    else:
        defaults = _other_defaults(config, has_one_axis=has_one_axis)

    defaults["data"] |= _scale(config)
    if config.task.name == "detect" and "hold" in type(config.data).model_fields:
        defaults["data"]["hold"] = 1
    if config.learning.patience is not None:
        defaults["learning"]["keep"] = "best"
    return defaults


def _scale(config: RunConfig) -> dict[str, Any]:
    """Defaults of the scale of sound.

    Live input has neither the loudest sample nor the mean or the deviation of a whole recording.
    """
    is_live = config.task.name == "detect" or getattr(config.data, "level", None) == "running"
    if config.data.kind != "sound":
        return {"level": "as_is"} if is_live and config.data.source_kind == "sound" else {}

    if is_live:
        return {"level": "running", "center": False, "standardize": False}
    return {} if getattr(config.data, "center", False) else {"standardize": False}


def _stack_defaults(config: RunConfig) -> dict[str, Any]:
    """Defaults of the nets `lif` and `chip`, and of files for a chip."""
    # The merge copies the sections, which `recipe_of` changes.
    defaults = merge_choices(
        STACK_DEFAULTS if config.chip is None else CHIP_DEFAULTS,
        {"net": {}, "data": {}, "learning": {}},
    )
    if config.net.name == "file":
        return merge_choices(defaults, CHIP_FILE_DEFAULTS)

    if config.task.name == "classification":
        defaults["task"] = {"label_smoothing": 0.0}
    defaults["net"] = {"recurrent": config.task.name == "pattern"}
    if config.net.name == "lif":
        defaults["net"]["first_weights"] = "driven" if config.can_drive else "drawn"

    if config.chip is not None and config.data.kind == "pattern":
        defaults["data"]["hold"] = 1
    if config.data.kind == "image":
        defaults["data"]["steps"] = 100
    if config.data.kind == "series":
        defaults["data"]["add_standardized"] = False
    return defaults


def _other_defaults(config: RunConfig, *, has_one_axis: bool) -> dict[str, Any]:
    """Defaults of all other presets, and of files without a chip.

    An image is one frame, which is held; events have one bin per step. Where each step has a
    target, the input of a step must not depend on later steps.
    """
    data, kind = config.data, config.data.kind
    is_per_step = config.task.name != "classification"
    bound = MAX_SPIKES_PER_STEP if is_per_step else MAX_SPIKES.get(kind)
    defaults: dict[str, Any] = {
        "data": {},
        "net": {},
        "learning": {} if bound is None else {"most_spikes": bound},
    }

    if kind == "image":
        defaults["data"]["steps"] = 8
    elif kind != "pattern":
        defaults["data"]["hold"] = 1
    if kind == "events" and data.bin is None and not has_one_axis:  # type: ignore[union-attr]  # of events
        defaults["data"]["steps"] = 15
    if kind == "series" and is_per_step:
        defaults["data"]["add_standardized"] = False
    if kind == "sound":
        # A frame is one time step.
        hop = data.hop  # type: ignore[union-attr]  # of sound
        if config.task.name == "detect" and "hop" not in data.model_fields_set:
            hop = defaults["data"]["hop"] = STREAM_HOP
        defaults["net"]["dt"] = hop
    return defaults


def _augmentation(config: RunConfig) -> dict[str, float]:
    """The strengths of the augmentation of training recordings."""
    # NumPy takes time to import, and the command line shows its help without it.
    from nwavesdk.data.augment import default_augmentation

    # Targets per step may depend on the scale of the input, and values also on its speed. Chunks of
    # a detector change in speed and level as they are composed.
    if config.chip is not None or config.task.name in ("pattern", "regression"):
        return {}
    if config.task.name == "detect":
        return {"warp": 0.12} if config.data.kind == "sound" else {}
    if config.data.kind == "series" and config.task.name == "labels":
        return {"speed": 0.15}
    kind = config.data.kind
    return dict(default_augmentation("series" if kind == "features" else kind))  # type: ignore[arg-type]  # a kind of recording


def apply_recipe(config: RunConfig, *, has_one_axis: bool = False) -> RunConfig:
    """The choices with the defaults of the recipe.

    Args:
        config: The choices of the user.
        has_one_axis: Whether the places of events have one axis, such as the channels of a cochlea
            or of electrodes. The recipe for events was chosen for cameras. Events on one axis need
            more bins to resolve their times, and are not moved, because channels may lack
            neighbors.
    """
    recipe = recipe_of(config, has_one_axis=has_one_axis)
    augmentation = _augmentation(config)
    if has_one_axis:
        augmentation.pop("move", None)
    if augmentation:
        recipe["data"]["augment"] = augmentation

    choices = merge_choices(recipe, config.given())
    if isinstance(config.net, Layers):
        choices["net"]["constants"] = all_constants(config.net)
    return RunConfig.of(choices)


def complete(config: RunConfig, facts: Facts, threads: int) -> CompletedConfig:
    """The config of a run that begins.

    Args:
        config: The choices with the defaults of the recipe and the values from the data.
        facts: The facts about the data.
        threads: The threads of the run, unless the choices have some. They decide the order of
            sums on a CPU, and so the last bits of the weights.
    """
    values: dict[str, Any] = {"machine": {"threads": threads}}
    schedule = schedule_of(config)
    if schedule is not None:
        n_train = facts.recordings[0]
        batch_size = config.learning.batch_size or schedule.batch_size(n_train)
        epochs = config.learning.epochs or schedule.epochs(n_train, batch_size)
        values["learning"] = {"batch_size": batch_size, "epochs": epochs}

    choices = config.filled(values).given()
    net = config.net
    page = net.page if net.name == "file" else NetPage.parse(net.name)
    return CompletedConfig.of({**choices, "page": page, "facts": facts})
