"""The config of a run: every choice that decides its result, validated and kept in `config.json`.

The module imports neither torch nor numba, so that the command line can generate its options from
the fields. Validators that need more import it when they run.
"""

import json
import os
import re
from collections.abc import Mapping, Set
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from nwavesdk.internal.checks import looks_like_milliseconds, shown
from nwavesdk.internal.files import FileError, read_bytes
from nwavesdk.internal.formats import parse_json
from nwavesdk.internal.model import FrozenModel, differences
from nwavesdk.presets import NAMES
from nwavesdk.train.config.facts import ArithmeticConfig, Facts
from nwavesdk.train.config.net_choice import NetFileConfig
from nwavesdk.train.config.neuron_choice import (
    complete_neuron,
    neuron_name,
    parse_neuron_options,
)
from nwavesdk.train.config.sections import (
    LONGEST,
    ChipConfig,
    DataConfig,
    LearningConfig,
    MachineConfig,
    NetConfig,
    choice,
    is_table,
)

if TYPE_CHECKING:
    from nwavesdk.chip import Profile
    from nwavesdk.data import NWaveDataloaderConfig

__all__ = ["CHIP_DEFAULTS", "MOVABLE", "RunConfig", "absolute_choice"]

# Choices that may change after a run has begun.
MOVABLE = {
    "data.source",
    "net_file.file",
    "machine.accelerator",
    "machine.workers",
    "facts.split_reason",
    "facts.net_reason",
    "facts.begun_with",
}

# exp(-dt/tau) of a larger ratio is 0, or of a smaller one 1, in float32 or nearly so: a neuron
# would forget its input in one step, or never.
LEAST_DT_PER_TAU = 1e-6
MOST_DT_PER_TAU = 50.0

# The fields of the net that choose its hidden neurons, none of which a run for a chip may set.
NEURON_DEFAULTS: dict[str, Any] = {
    name: NetConfig.model_fields[name].default
    for name in ("neuron", "neuron_options", "charge_gain")
}

# The fields of the net that a net from a file does not have; `build` may read the others.
LAYER_FIELDS = ("hidden", "population", *NEURON_DEFAULTS, "recurrent", "threshold", "reset")

# Fields of `data` that were added after runs had begun without them, with the values of those runs.
LATER_DATA: dict[str, Any] = {
    "level": "peak",
    "task": "classification",
    "padding": "zeros",
    "speaker_pattern": None,
    "val_share": None,
    "test_share": None,
    "folds": None,
    "leave_one_out": None,
    "fold": None,
    "test": True,
    "steps": None,
    "encoder": "current",
    "bin": None,
    "events": "frames",
    "augment": {},
    "center": False,
    "standardize": False,
    "add_standardized": False,
    "look_ahead": 0,
    "columns": [],
    "missing": "error",
}

# Fields that were added after runs had been sealed without them, with the values of those runs.
LATER_FIELDS: dict[str, dict[str, Any]] = {
    "net": {
        **NEURON_DEFAULTS,
        "recurrent": None,
        "preset": None,
        "first_weights": "drawn",
        "reset": "subtraction",
    },
    "data": LATER_DATA,
    "learning": {
        "class_weights": "none",
        "clip": None,
        "keep": "best",
        "label_smoothing": 0.0,
        "most_spikes": None,
        "spike_cost": LearningConfig.model_fields["spike_cost"].default,
    },
    "machine": {"workers": 0, "threads": None, "nodes": 1},
    "facts": {
        "task": "classification",
        "kind": None,
        "n_targets": 0,
        "feature_shape": [],
        "feature_names": [],
        "typical_steps": None,
        "patterns": [],
        "split_reason": "",
        "split_version": 1,
        "net_reason": "",
        "n_folds": 0,
        "tested": [],
    },
}

# Fields of a run that hold a path, and the names that they accept instead.
NOT_PATHS = {"data.source": {"digits"}, "chip.profile": {"h1v1", "h1v2"}}

# Defaults by section and field that differ for a run for a chip.
CHIP_DEFAULTS: dict[str, dict[str, Any]] = {
    "data": {"sample_rate": 16_000},
    "net": {"hidden": (50,), "tau": 50e-3, "dropout": 0.0},
    "learning": {"epochs": 40, "rate": 0.03, "weight_decay": 0.0, "sharpness": 300.0},
}


class RunConfig(FrozenModel):
    """All choices of a run.

    Example:
        >>> RunConfig.of({"seed": 3, "learning": {"epochs": 5}}).learning.epochs
        5
    """

    seed: int = choice(0, "Seed of weights, order, dropout and mismatch.", ge=0, lt=2**32)
    data: DataConfig = DataConfig()
    net: NetConfig = NetConfig()
    net_file: NetFileConfig | None = choice(
        None,
        "Net of the library, or a Python file and its function build(inputs, classes, config); "
        "`nwave net` lists the first.",
        metavar=f"{'|'.join(NAMES)}|FILE.py:build",
        default_text="found from the data",
    )
    chip: ChipConfig | None = None
    learning: LearningConfig = LearningConfig()
    machine: MachineConfig = MachineConfig()
    arithmetic: ArithmeticConfig | None = None
    facts: Facts | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_preset(cls, choices: Any) -> Any:
        """Take the name of a preset in place of a file."""
        if not isinstance(choices, Mapping) or choices.get("net_file") not in NAMES:
            return choices
        net = choices.get("net") or {}
        if not isinstance(net, Mapping):
            return choices
        return {**choices, "net_file": None, "net": {**net, "preset": choices["net_file"]}}

    @model_validator(mode="before")
    @classmethod
    def _fill_chip_defaults(cls, choices: Any) -> Any:
        chip = choices.get("chip") if isinstance(choices, Mapping) else None
        if not isinstance(chip, Mapping | ChipConfig) or not chip:
            return choices
        if isinstance(choices["chip"], Mapping) and "profile" not in choices["chip"]:
            given = ", ".join(map(str, choices["chip"]))
            raise ValueError(
                f"chip.profile: missing, although other options of a chip are given ({given}): "
                "expected h1v1, h1v2 or a file."
            )
        sections = {name: choices.get(name) or {} for name in CHIP_DEFAULTS}
        if not all(isinstance(values, Mapping) for values in sections.values()):
            return choices
        return {
            **choices,
            **{name: {**CHIP_DEFAULTS[name], **values} for name, values in sections.items()},
        }

    @model_validator(mode="before")
    @classmethod
    def _fill_older_run(cls, choices: Any) -> Any:
        """Keep what decided the data of a run that began before there was an option for it.

        The facts of runs from before the option `data.split` record the split.
        """
        if not isinstance(choices, Mapping) or not isinstance(choices.get("facts"), Mapping):
            return choices
        data = choices.get("data", {})
        if not isinstance(data, Mapping):
            return choices
        data = {"max_seconds": LONGEST, **LATER_DATA, **data}
        if data.get("split", "auto") == "auto":
            data["split"] = choices["facts"].get("split_by", "recording")
        return {**choices, "data": data}

    @model_validator(mode="before")
    @classmethod
    def _complete_neuron(cls, choices: Any) -> Any:
        net = choices.get("net") if isinstance(choices, Mapping) else None
        if not isinstance(net, Mapping):
            return choices
        if {"neuron", "neuron_options"} & net.keys():
            net = complete_neuron(net)
        for field, default in NEURON_DEFAULTS.items():
            if choices.get("chip") and net.get(field, default) != default:
                raise ValueError(
                    f"net.{field}: a net for a chip has the neurons of the chip, got "
                    f"{shown(net[field])}: leave it out, or train without --chip."
                )
        return {**choices, "net": net}

    @model_validator(mode="after")
    def _check_net_file(self) -> Self:
        """Reject choices that have no effect on a net from a file, in a run that begins."""
        if self.net_file is None or self.facts is not None:
            return self
        of_chip = CHIP_DEFAULTS["net"] if self.chip is not None else {}
        for field in LAYER_FIELDS:
            value = getattr(self.net, field)
            if field in self.net.model_fields_set and value != of_chip.get(field, ...):
                raise ValueError(
                    f"net.{field}: has no effect on the net of --net, got {shown(value)}: leave it "
                    "out, and choose it in the file."
                )
        if self.data.events == "lists":
            raise ValueError(
                "data.events: the net of --net gets frames, got 'lists': leave it out."
            )
        return self

    @model_validator(mode="after")
    def _check_decay(self) -> Self:
        net = self.net
        _check_step("net.tau", "tau", net.tau, net.dt)
        if looks_like_milliseconds(net.tau, net.dt):
            raise ValueError(
                f"net.tau: time constants are in seconds, got {net.tau:g} s, or "
                f"{net.tau / net.dt:,.0f} steps of {net.dt:g} s, expected at most 1,000 steps: for "
                f"{net.tau:g} ms, use {net.tau / 1000:g}"
            )
        if not net.has_default_neuron:
            from nwavesdk.layers.constants import without_step_warnings
            from nwavesdk.presets.lif import hidden_layer

            # The layer rejects constants that are out of their ranges.
            try:
                with without_step_warnings():
                    layer = hidden_layer(self, 1)
            except (TypeError, ValueError) as error:
                raise ValueError(f"net.neuron_options: {error}") from None
            if not all(value.isfinite().all() for value in layer.constants()):
                raise ValueError(
                    f"net.neuron_options: {net.neuron} divides by 0 or has no finite step with "
                    f"these constants, got {shown(net.neuron_options)}: change one of them; "
                    f"`nwave neurons {net.neuron}` describes them."
                )
            for constant in layer.stored_constants:
                if constant.kind.unit == "s":
                    value = layer.constant(constant.name).item()
                    _check_step("net.neuron_options", constant.name, value, net.dt)
        return self

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        """Check what `NWaveDataloaderConfig` checks, whose fields have other names."""
        if self.chip is None:
            return self
        dt, duration, rate = self.net.dt, self.chip.duration, self.data.sample_rate
        # A step that is short by a rounding error counts.
        if dt > duration * (1 + 1e-9):
            raise ValueError(
                f"chip.duration: {duration:g} s hold no time step of net.dt (got {dt:g} s): "
                "raise it, or lower net.dt"
            )
        if rate is not None and dt * rate < 1:
            raise ValueError(
                f"net.dt: a time step of {dt:g} s holds no sample at {rate} Hz: raise it, or the "
                "sample_rate"
            )
        return self

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        """Apply the surrogate's schedule to a layer, which rejects what the surrogate cannot do."""
        schedule = self.learning.surrogate_schedule
        if schedule is None:
            return self
        from torch.nn import Sequential

        from nwavesdk.layers import LIFLayer
        from nwavesdk.optim import SurrogateAnnealing
        from nwavesdk.surrogate import parse

        net = Sequential(LIFLayer(1, self.net.tau, spike_grad=parse(self.net.surrogate)))
        try:
            SurrogateAnnealing(net, self.learning.epochs, **schedule.model_dump())
        except (TypeError, ValueError) as error:
            raise ValueError(f"learning.surrogate_schedule: {error}") from None
        return self

    @classmethod
    def read(cls, path: Path) -> "RunConfig":
        """Read `config.json`.

        Raises:
            FileError: If the file cannot be read, or is not the config of a run.
        """
        content = read_bytes(path)
        try:
            return cls.of(parse_json(content, path))
        except FileError as error:
            reason = f"it {error.what}"
        except (ValueError, TypeError) as error:
            reason = str(error)
        what = f"is not the config of a run: {reason}"
        raise FileError(path, what, "restore it, or begin a new run")

    def check_same(self, choices: Mapping[str, Any]) -> None:
        """Reject choices that differ from those of this run.

        Raises:
            ValueError: If a choice is out of range, or differs; the text names the first one.
        """
        if self.chip is None and choices.get("chip"):
            raise ValueError(
                "chip: the run to resume is not for a chip: leave --chip out, or begin a new run."
            )
        recorded = self.model_dump()
        merged = {
            name: {**recorded[name], **value} if isinstance(value, Mapping) else value
            for name, value in choices.items()
        }
        net = choices.get("net", {})
        if "neuron_options" in net:
            options = parse_neuron_options(net["neuron_options"])
            merged["net"]["neuron_options"] = {**recorded["net"]["neuron_options"], **options}
        name = neuron_name(net.get("neuron", self.net.neuron))
        # Options of one neuron are errors of another one.
        first = ("net.neuron", name, self.net.neuron) if name != self.net.neuron else None
        if first is None:
            changed = RunConfig.of({**recorded, **merged}).model_dump()
            first = next(differences(changed, recorded), None)
        if first is not None:
            name, got, expected = first
            raise ValueError(
                f"{name}: a resumed run keeps its own choices, got {got!r}, expected {expected!r}: "
                "leave the option out, or begin a new run."
            )

    def difference(self, other: "RunConfig", ignored: Set[str] = frozenset()) -> str | None:
        """Name of the first choice in which another config differs, or None.

        Args:
            other: The other config.
            ignored: Choices that do not count, with all that they hold.
        """
        for name, _, _ in differences(self.model_dump(), other.model_dump()):
            if not any(f"{name}.".startswith(f"{each}.") for each in ignored):
                return name
        return None

    def channel_choices(self, profile: "Profile") -> "NWaveDataloaderConfig":
        """How recordings become the channels of a chip, for a run with a sample rate.

        Args:
            profile: The chip.
        """
        from nwavesdk.data import NWaveDataloaderConfig

        assert self.chip is not None
        assert self.data.sample_rate is not None
        return NWaveDataloaderConfig(
            self.data.source,
            sample_rate=self.data.sample_rate,
            recording_duration_s=self.chip.duration,
            sim_time_s=self.net.dt,
            level=self.data.level,
            chip=profile,
            on_error=self.data.on_error,
            max_seconds=self.data.max_seconds,
        )

    def identity(self) -> str:
        """Hash of all choices and facts, except for those that may change; see `MOVABLE`."""
        content = self.model_dump(mode="json")
        for name in MOVABLE:
            section, _, key = name.partition(".")
            if content[section] is not None:
                del content[section][key]
        if content["net_file"] is None:
            del content["net_file"]
        for section, defaults in LATER_FIELDS.items():
            fields = content[section] or {}
            for field, default in defaults.items():
                if fields.get(field, ...) == default:
                    del fields[field]
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def json_text(self) -> str:
        """The text of `config.json`, with lists of numbers on one line."""
        text = self.model_dump_json(indent=2)
        return re.sub(r"\[[^][{}\"]*\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def _check_step(field: str, name: str, tau: float, dt: float) -> None:
    """Reject a time constant that a step is too long or too short for."""
    if not LEAST_DT_PER_TAU <= dt / tau <= MOST_DT_PER_TAU:
        raise ValueError(
            f"{field}: dt / {name} must be from {LEAST_DT_PER_TAU:g} to {MOST_DT_PER_TAU:g}, "
            f"got {dt:g} s / {tau:g} s = {dt / tau:.3g}"
        )


def absolute_choice(field: str, value: Any) -> Any:
    """A choice as the user gives it; a path becomes absolute, the name of a chip lowercase.

    Args:
        field: The field, as `name` or `section.name`.
        value: Its value.

    Raises:
        ValueError: If the file of a net cannot be read.
    """
    if not isinstance(value, str) or "\0" in value:
        return value
    if field == "net_file" and value not in NAMES:
        return NetFileConfig.of(value, "--net").model_dump()
    if field == "chip.profile" and value.lower() in NOT_PATHS[field]:
        return value.lower()
    is_split = field == "data.split" and is_table(value)
    if is_split or (field in NOT_PATHS and value not in NOT_PATHS[field]):
        return os.path.realpath(value)
    return value
