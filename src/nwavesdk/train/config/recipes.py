"""Recipes: the net of a run and the defaults of its config, by the kind of data.

A user's choices come first: a recipe fills only what was not given. `benchmarks/recipe.py` is the
study by which the numbers were chosen, on validation sets alone, for all data sets of a kind
together.

As `nwavesdk.train.config`, the module imports neither torch nor numba.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from nwavesdk.internal.checks import shown
from nwavesdk.presets import LAYERED, NAMES, USES, PresetName
from nwavesdk.train.config.net_choice import page_of

if TYPE_CHECKING:
    from nwavesdk.data.source import Task
    from nwavesdk.train.config import RunConfig

__all__ = [
    "COMPLETED_BY_DATA",
    "COMPLETED_BY_NET",
    "DataKind",
    "can_drive",
    "complete_config",
    "complete_schedule",
]

# What the recordings of a run are; the built-in spoken digits are features.
DataKind = Literal["sound", "series", "image", "events", "features"]

# The net of each kind of data, unless the user chooses one.
PRESET_OF: Mapping[DataKind, PresetName] = {
    "sound": "conv",
    "image": "conv",
    "series": "conv",
    "events": "conv",
    "features": "conv",
}

# Defaults of the data by kind, for all nets but those of a chip.
DATA_OF: Mapping[DataKind, dict[str, Any]] = {
    "sound": {"bands": 40, "center": True, "standardize": True},
    "image": {},
    "series": {},
    "events": {},
    "features": {},
}

# Defaults of a net that a page of Python builds, a preset's or a user's, by section and field.
PAGE: dict[str, dict[str, Any]] = {
    "data": {"hold": 1},
    "net": {"dt": 10e-3, "surrogate": "fast_sigmoid(slope=5.0)", "dropout": 0.0},
    "learning": {
        "rate": 1e-2,
        "warmup": 0.2,
        "clip": 1.0,
        "label_smoothing": 0.05,
        "most_spikes": 0.04,
    },
}

# What differs by kind. An image is one frame, which is held; of events, steps are bins.
PAGE_OF: Mapping[DataKind, dict[str, dict[str, Any]]] = {
    "sound": {},
    "image": {"data": {"hold": None, "steps": 8}, "learning": {"most_spikes": 0.049}},
    "series": {"data": {"add_standardized": None}, "learning": {"most_spikes": 0.045}},
    "events": {"data": {"steps": 15}},
    "features": {},
}

# What differs where each step has a target, which must not depend on later steps.
STEPWISE: dict[str, dict[str, Any]] = {
    "data": {"add_standardized": False},
    "learning": {"label_smoothing": 0.0, "most_spikes": 0.045},
}


@dataclass(frozen=True)
class Schedule:
    """Batch size and epochs by the number of recordings.

    Sets of all sizes get about the same number of updates, so small ones get more epochs.

    Args:
        updates: Updates of the weights.
        largest_batch: Recordings of a batch, unless an epoch would have too few batches.
        least_batches: Least batches of an epoch.
        smallest_batch: Least recordings of a batch.
    """

    updates: int
    largest_batch: int
    least_batches: int = 8
    smallest_batch: int = 4

    def batch_size(self, n_train: int) -> int:
        """Recordings of a batch."""
        return min(self.largest_batch, max(self.smallest_batch, n_train // self.least_batches))

    def epochs(self, n_train: int, batch_size: int) -> int:
        """Passes over the training set."""
        epochs = round(self.updates / ceil(n_train / batch_size))
        return min(MOST_EPOCHS, max(LEAST_EPOCHS, epochs))


COMPLETED_BY_DATA = {f"data.{field}" for fields in DATA_OF.values() for field in fields} | {
    "data.augment"
}
"""Fields whose default is chosen by the kind of data, for all nets but those of a chip."""

COMPLETED_BY_NET = {
    f"{section}.{field}"
    for recipe in (PAGE, *PAGE_OF.values())
    for section, fields in recipe.items()
    for field in fields
} | {"learning.keep", "learning.epochs", "learning.batch_size"}
"""Fields whose default is chosen by the net and the kind of data, for nets of pages."""

LEAST_EPOCHS = 10
MOST_EPOCHS = 200

SCHEDULES: Mapping[DataKind, Schedule] = {
    "sound": Schedule(updates=1500, largest_batch=64),
    "image": Schedule(updates=1500, largest_batch=64),
    "series": Schedule(updates=1000, largest_batch=16),
    "events": Schedule(updates=1500, largest_batch=32),
    "features": Schedule(updates=900, largest_batch=64),
}

# Of tasks with outputs for each step, whose recordings are long and few. With 2,000 updates, a net
# that labels electrocardiograms learns its patients by heart.
STEP_SCHEDULES: "Mapping[Task, Schedule]" = {
    "labels": Schedule(updates=800, largest_batch=16),
    "regression": Schedule(updates=2000, largest_batch=16),
    "pattern": Schedule(updates=2000, largest_batch=16),
}


def complete_config(
    config: "RunConfig", kind: DataKind, task: "Task", *, has_one_axis: bool = False
) -> tuple["RunConfig", str]:
    """The config of a run that begins, with the net and the defaults of its recipe, and a reason.

    Args:
        config: The choices of the user.
        kind: What a recording is.
        task: What the net learns.
        has_one_axis: Whether the places of events have one axis, such as the channels of a cochlea
            or of electrodes. Their recipe was chosen for cameras: such events need more bins to
            show when they come, and their channels need not have neighbors to move to.

    Returns:
        The config, and why it has its net.

    Raises:
        ValueError: If an option was given that the net does not use.
    """
    preset, reason = _choose_preset(config, kind, task)
    if preset is not None:
        _check_fits(config, preset)
        _check_used(config, preset, reason)
    gain = config.net.charge_gain
    if config.net.first_weights == "driven" and gain is not None:
        raise ValueError(
            f"net.charge_gain: has no effect on driven first weights, got {gain:g}: leave it "
            "out, or give --first-weights drawn."
        )
    config = _filled(config, {"net": {"preset": preset}})
    if config.chip is not None:  # also for a net from a file
        return config, reason
    augmentation = _augmentation(kind, task)
    if has_one_axis:
        augmentation.pop("move", None)
    defaults = {**DATA_OF[kind], "augment": augmentation}
    if "center" in config.data.model_fields_set and not config.data.center:
        # Without the mean of a recording, as for live input, its deviation is not used either.
        defaults["standardize"] = False
    config = _filled(config, {"data": defaults})
    if preset == "lif":
        first_weights = "driven" if can_drive(config, task) else "drawn"
        return _filled(config, {"net": {"first_weights": first_weights}}), reason
    if preset is not None:
        config = config.model_copy(update={"net_file": page_of(preset)})
    recipe = _joined(PAGE, PAGE_OF[kind])
    if task != "classification":
        recipe = _joined(recipe, STEPWISE)
    if config.learning.patience is None:
        recipe["learning"]["keep"] = "last"
    if config.data.bin is not None or has_one_axis:
        recipe["data"].pop("steps", None)
    if kind == "sound":
        # One time step per frame.
        recipe["net"]["dt"] = config.data.hop
    return _filled(config, recipe), reason


def complete_schedule(
    config: "RunConfig", kind: DataKind, task: "Task", n_train: int
) -> "RunConfig":
    """The config with the batch size and the epochs that suit the number of recordings.

    Args:
        config: As `complete_config` returns it.
        kind: What a recording is.
        task: What the net learns.
        n_train: Recordings in the training set.
    """
    if config.net_file is None:
        return config
    schedule = STEP_SCHEDULES.get(task, SCHEDULES[kind])
    config = _filled(config, {"learning": {"batch_size": schedule.batch_size(n_train)}})
    epochs = schedule.epochs(n_train, config.learning.batch_size)
    return _filled(config, {"learning": {"epochs": epochs}})


def can_drive(config: "RunConfig", task: "Task") -> bool:
    """Whether recordings can drive the first weights of a net of layers.

    A pattern and lists of events drive none. Neurons other than LIF have a measured gain instead,
    because some of them spike without input; so has a net whose gain is given.

    Args:
        config: The config of a run of the preset `lif`.
        task: What the net learns.
    """
    has_frames = task != "pattern" and config.data.events == "frames"
    return has_frames and config.net.has_default_neuron and config.net.charge_gain is None


def _augmentation(kind: DataKind, task: "Task") -> dict[str, float]:
    """The strengths of random changes of training recordings."""
    # NumPy takes time to import, and the command line shows its help without it.
    from nwavesdk.data.augment import default_augmentation

    # Targets of steps may depend on the scale of the input, and values on its speed.
    if task in ("pattern", "regression"):
        return {}
    if kind == "series" and task == "labels":
        return {"speed": 0.15}
    return default_augmentation("series" if kind == "features" else kind)


def _choose_preset(
    config: "RunConfig", kind: DataKind, task: "Task"
) -> tuple[PresetName | None, str]:
    """The preset of a run and the reason; None for a net from a file."""
    if config.net_file is not None:
        return None, "of --net"
    if config.net.preset is not None:
        return config.net.preset, "of --net"
    if config.chip is not None:
        return "chip", "for --chip"
    if task == "pattern":
        return "lif", "for a pattern"
    if config.data.events == "lists":
        return "lif", "for lists of events"
    return PRESET_OF[kind], f"for {kind}"


def _check_used(config: "RunConfig", preset: PresetName, reason: str) -> None:
    """Reject options of the net that were given and have no effect on it."""
    net: str = preset
    remedy = f"change a copy of the net: nwave net {preset} > net.py"
    for name in sorted(config.net.model_fields_set - {"preset"} - USES[preset]):
        if config.net.preset is None and config.chip is None:
            net = f"{preset}, the default {reason}"
            others = [other for other in NAMES if name in USES[other] and other != "chip"]
            remedy = f"choose a net that reads it: --net {' or '.join(others)}"
        raise ValueError(
            f"net.{name}: has no effect on --net {net}, got {shown(getattr(config.net, name))}: "
            f"remove it, or {remedy}."
        )
    if preset not in LAYERED and "sharpness" in config.learning.model_fields_set:
        raise ValueError(
            f"learning.sharpness: has no effect on --net {preset}, whose outputs are scores, got "
            f"{config.learning.sharpness}: leave it out."
        )


def _check_fits(config: "RunConfig", preset: PresetName) -> None:
    """Reject a net for a chip without one, another net with a chip, and input that it lacks."""
    if preset == "chip" and config.chip is None:
        raise ValueError(
            "net.preset: --net chip is for a chip, got none: add --chip h1v2, or leave --net out."
        )
    if preset != "chip" and config.chip is not None:
        raise ValueError(
            f"net.preset: no chip can have --net {preset}, got --chip {config.chip.profile}: leave "
            "one of them out."
        )
    if preset not in LAYERED and config.data.events == "lists":
        raise ValueError(
            f"data.events: --net {preset} gets frames, got 'lists': leave it out, or use --net lif."
        )


def _joined(
    first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The defaults of both; those of the second come first."""
    sections = {**first, **second}
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in sections}


def _filled(config: "RunConfig", recipe: Mapping[str, Mapping[str, Any]]) -> "RunConfig":
    """The config with the values of a recipe in the fields that were not given."""
    sections = {}
    for name, values in recipe.items():
        section = getattr(config, name)
        missing = {
            field: value for field, value in values.items() if field not in section.model_fields_set
        }
        sections[name] = section.model_copy(update=missing)
    return config.model_copy(update=sections)
