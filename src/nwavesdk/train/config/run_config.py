"""The choices of a run: their sections, which fields belong together, and the kind of the files."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import model_validator

from nwavesdk.internal.checks import close_name, shown
from nwavesdk.internal.model import FrozenModel
from nwavesdk.presets import LAYERED
from nwavesdk.train.config.data import Data, FeatureData
from nwavesdk.train.config.fields import config_field, is_table
from nwavesdk.train.config.learning import (
    ChipConfig,
    ClassTask,
    LearningConfig,
    MachineConfig,
    Task,
)
from nwavesdk.train.config.nets import ConvNet, LifNet, Net

__all__ = [
    "UNIONS",
    "Choices",
    "RunConfig",
    "fields_of",
    "merge_choices",
]

# Nested choices, by section and field.
Choices = Mapping[str, Any]

# The unions of a config, by section: the field that decides, and the class for each of its values.
UNIONS: dict[str, tuple[str, dict[str, type[FrozenModel]]]] = {
    section: (tag, {model.model_fields[tag].default: model for model in models})
    for section, tag, models in (
        ("task", "name", get_args(get_args(Task)[0])),
        ("data", "kind", get_args(get_args(Data)[0])),
        ("net", "name", get_args(get_args(Net)[0])),
    )
}

# The same of all sections. Those without a union have one class, which nothing decides.
SECTIONS = UNIONS | {
    "chip": ("", {"chip": ChipConfig}),
    "learning": ("", {"learning": LearningConfig}),
    "machine": ("", {"machine": MachineConfig}),
}

# In errors, pydantic names the class of a union as if it were a section, as in `net.conv.tau`.
TAGS = "|".join(name for _, models in UNIONS.values() for name in models)
TAGGED = rf"\b({'|'.join(UNIONS)})\.({TAGS})(?=\.)"

# Values of fields with which the input of a step depends on the whole recording.
OF_WHOLE_RECORDINGS = {
    "center": True,
    "standardize": True,
    "level": "peak",
    "padding": "zeros",
    "add_standardized": True,
}

# The kind of data for the net of a chip, by the kind of the recordings.
CHIP_KINDS = {"sound": "filtered", "series": "channels"}


class RunConfig(FrozenModel):
    """The choices of a run.

    `of` takes them nested by section, and looks at the files for their kind. The recipe for the
    data, the task and the net sets all other choices when the run begins.

    Example:
        >>> RunConfig.of({"seed": 3, "learning": {"epochs": 5}}).learning.epochs
        5
    """

    seed: int = config_field(0, "Seed of weights, order, dropout and mismatch.", ge=0, lt=2**32)
    task: Task = ClassTask()
    data: Data = FeatureData()
    net: Net = ConvNet()
    chip: ChipConfig | None = None
    learning: LearningConfig = LearningConfig()
    machine: MachineConfig = MachineConfig()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Reject fields of one section that have no effect with fields of another section."""
        for is_wrong, problem in self._conflicts():
            if is_wrong:
                raise ValueError(problem)
        return self

    def _conflicts(self) -> Iterator[tuple[bool, str]]:
        net, chip, kind, task = self.net, self.chip, self.data.kind, self.task.name

        # Data and task.
        yield (
            kind == "features" and task != "classification",
            f"task.name: the spoken digits have a class per recording, got {task!r}: remove it",
        )
        yield (
            (kind == "pattern") != (task == "pattern"),
            f"data.kind: a pattern is a series for the task pattern, got {kind!r} for {task!r}: "
            "remove it",
        )

        yield from self._conflicts_of_streams()

        # The chip.
        yield (
            kind in CHIP_KINDS.values() and chip is None,
            f"data.kind: a chip filters these recordings, got {kind!r} without a chip: remove it, "
            "or add chip.profile (--chip h1v2)",
        )
        yield (
            net.name == "chip" and chip is None,
            "net.name: the net of a chip needs one, got none: add chip.profile (--chip h1v2)",
        )
        yield (
            net.name not in ("chip", "file") and chip is not None,
            f"chip.profile: the net {net.name} is not for a chip: remove one of them",
        )

        # The net.
        yield (
            getattr(self.data, "events", "frames") == "lists" and net.name != "lif",
            f"data.events: the net {net.name} gets frames, got 'lists': remove it, or use net lif",
        )
        yield (
            net.name == "chip"
            and self.task.name in ("regression", "pattern")
            and net.population % 2 == 1,
            "net.population: on a chip, one half of the neurons of a value adds and the other half "
            f"subtracts, got {getattr(net, 'population', None)}: use an even number",
        )

        if not isinstance(net, LifNet):
            return
        default = LifNet.model_fields["population"].default
        yield (
            net.population != default and task != "classification",
            f"net.population: each output is the membrane of one neuron, got {net.population}: "
            "remove it",
        )
        yield (
            net.first_weights == "driven" and not self.can_drive,
            "net.first_weights: lists of events, patterns and neurons other than LIF cannot drive "
            "weights, and charge_gain replaces it, got 'driven': remove it",
        )

    def _conflicts_of_streams(self) -> Iterator[tuple[bool, str]]:
        """Conflicts of the task `detect`."""
        kind, times = self.data.kind, getattr(self.task, "times", None)
        if self.task.name != "detect":
            return
        yield (
            kind not in ("sound", "filtered") and not (kind == "series" and times),
            "task.name: detect takes sound with a folder background, or sound or series with a "
            f"table of times (--times FILE.csv), got {kind}: remove it",
        )

        given = self.data.model_dump(exclude_unset=True)
        for field, value in (*OF_WHOLE_RECORDINGS.items(), ("length", given.get("length") or 0)):
            yield (
                given.get(field) == value,
                f"data.{field}: the input of a stream cannot depend on whole recordings, got "
                f"{value!r}: remove it",
            )

    @property
    def net_name(self) -> str:
        """The net: its preset, or its file and function."""
        return self.net.page.name if self.net.name == "file" else self.net.name

    @property
    def is_layered(self) -> bool:
        """Whether the net is a plain stack of layers; see `nwavesdk.presets.LAYERED`.

        Any other net may return scores or values in place of spikes.
        """
        return self.net.name in LAYERED

    @property
    def draws_chips(self) -> bool:
        """Whether training draws a new chip for each batch, with the mismatch of its devices."""
        return self.chip is not None and self.chip.training == "mismatch"

    @property
    def can_drive(self) -> bool:
        """Whether recordings can drive the initial weights of the net.

        Patterns and lists of events cannot. Neurons other than LIF have a measured gain instead,
        because some of them spike without input. A net with a given gain is not driven either.
        """
        net = self.net
        has_frames = getattr(self.data, "events", "frames") == "frames"
        is_plain = isinstance(net, LifNet) and net.has_default_neuron and net.charge_gain is None
        return is_plain and has_frames and self.task.name != "pattern"

    @property
    def step_seconds(self) -> float | None:
        """The length of a time step in the recording [s]; None if recordings do not have one.

        Recordings for a chip and patterns have the time of the neurons, `net.dt`.
        """
        if self.chip is not None or self.task.name == "pattern":
            return self.net.dt
        data = self.data
        frame: float | None = getattr(data, "hop", None) or getattr(data, "bin", None)
        hold = getattr(data, "hold", None) or 1
        return frame / hold if frame else None

    @classmethod
    def of(cls, content: object, owner: str = "") -> Self:
        """Validate nested choices.

        If the kind of the data, the task or the net is missing, the files decide it.

        Args:
            content: The choices by section and field.
            owner: The owner of the choices, for the message.

        Raises:
            ValueError: If a field is unknown, has no effect, or is out of its range, or if the
                data cannot be used; one line names the field.
        """
        try:
            return super().of(_with_tags(content), owner)
        except ValueError as error:
            raise ValueError(re.sub(TAGGED, r"\1", str(error))) from None

    def given(self) -> dict[str, Any]:
        """The fields that were set, nested by section, with the kinds of data, task and net."""
        choices = self.model_dump(exclude_unset=True)
        for section, (tag, _) in UNIONS.items():
            choices.setdefault(section, {})[tag] = getattr(getattr(self, section), tag)
        return choices

    def filled(self, values: Choices) -> "RunConfig":
        """The choices with values for fields that are None.

        Args:
            values: Values by section and field; a value for a field that is not None is ignored.
        """
        choices = self.given()
        for section, fields in values.items():
            model = getattr(self, section)
            missing = {name: fields[name] for name in fields if getattr(model, name) is None}
            choices = merge_choices(choices, {section: missing})
        return RunConfig.of(choices)


def fields_of(section: str) -> dict[str, type[FrozenModel]]:
    """The fields of a section by name, each with the first class that has it.

    Args:
        section: `"data"`, `"task"`, `"net"`, `"chip"`, `"learning"` or `"machine"`.
    """
    _, models = SECTIONS[section]
    return {name: model for model in reversed(models.values()) for name in model.model_fields}


def merge_choices(first: Choices, second: Choices) -> dict[str, Any]:
    """Choices by section and field; where both have a field, the value of the second is used.

    Example:
        >>> merge_choices({"net": {"dt": 1e-3}}, {"net": {"tau": 0.02}, "seed": 1})
        {'net': {'dt': 0.001, 'tau': 0.02}, 'seed': 1}
    """
    merged = dict(first)
    for name, value in second.items():
        before = merged.get(name)
        is_section = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = {**before, **value} if is_section else value  # type: ignore[dict-item]  # a mapping
    return merged


def _with_tags(content: object) -> object:
    """Choices with the kind of data, the task and the net; other content is left to pydantic."""
    sections = ("data", "task", "net")
    if not isinstance(content, Mapping):
        return content
    choices = {**content, **{name: content.get(name, {}) for name in sections}}
    if not all(isinstance(choices[name], Mapping) for name in sections):
        return content

    data, task, net = (dict(choices[name]) for name in sections)
    if task.get("name") == "auto":
        del task["name"]
    _check_tags({"data": data, "task": task, "net": net})

    # The files decide the kind and the task. A pattern or a chip changes the kind. `_conflicts`
    # rejects a pattern that is not a series.
    if "kind" not in data or "name" not in task:
        kind_of_files, task_of_files = _inspect_files(data, task)
        data.setdefault("kind", kind_of_files)
        task.setdefault("name", task_of_files)
    if task["name"] == "pattern":
        data["kind"] = "pattern" if data["kind"] == "series" else data["kind"]
    elif choices.get("chip") is not None:
        data["kind"] = _chip_kind(data["kind"])
    if "name" not in net:
        net["name"] = "file" if "page" in net else default_net(data, task, choices.get("chip"))

    choices |= {"data": data, "task": task, "net": net}
    _check_fields(choices)
    return choices


def default_net(data: Choices, task: Choices, chip: object) -> str:
    """The net of a run if the user does not choose one."""
    if chip is not None:
        return "chip"
    return "lif" if task["name"] == "pattern" or data.get("events") == "lists" else "conv"


def _inspect_files(data: Choices, task: Choices) -> tuple[str, str]:
    """The kind of data and the task by the files; no recording is read."""
    source = data.get("source", "digits")
    if source == "digits":
        return "features", "classification"

    # Imported here, because the command line shows its help without NumPy.
    from nwavesdk.data.folder import Faults
    from nwavesdk.data.formats import open_source
    from nwavesdk.data.source import BACKGROUND
    from nwavesdk.data.split_table import read_split_table

    path, split = Path(str(source)), str(data.get("split", ""))
    table = read_split_table(Path(split)) if is_table(split) else None
    has_times = task.get("times") is not None
    opened = open_source(
        path,
        Faults(path, "skip"),
        task="detect" if has_times else task.get("name"),
        has_table=has_times or (table is not None and "class" in table.columns),
    )

    items = opened.items if table is None else table.apply(opened.items)[0]
    has_background = opened.kind == "sound" and BACKGROUND in {item.class_name for item in items}
    finds_events = (opened.task, task.get("name")) == ("classification", None) and has_background
    return opened.kind, "detect" if finds_events else opened.task


def _chip_kind(kind: str) -> str:
    if kind not in (*CHIP_KINDS, *CHIP_KINDS.values()):
        raise ValueError(
            f"chip.profile: a chip takes sound, or series with a channel for each of its filters, "
            f"got {kind}: remove it, or pass --data FOLDER with sound."
        )
    return CHIP_KINDS.get(kind, kind)


def _check_tags(choices: Choices) -> None:
    """Reject kinds of data, tasks and nets that do not exist."""
    for section, (tag, models) in UNIONS.items():
        fields = choices[section]
        if tag in fields and fields[tag] not in list(models):
            raise ValueError(
                f"{section}.{tag}: got {shown(fields[tag])}, expected one of {', '.join(models)}"
                f"{close_name(fields[tag], models)}"
            )


def _check_fields(choices: Choices) -> None:
    """Reject fields that the chosen class of their section lacks, and name the owner of the field.

    All such errors come from here.
    """
    for section, (tag, models) in SECTIONS.items():
        given = choices.get(section)
        if not isinstance(given, Mapping):
            continue

        chosen = given[tag] if tag else section
        for name in given:
            if name in models[chosen].model_fields:
                continue

            # The field acts on other kinds of data, other tasks or other nets.
            owners = [owner for owner, model in models.items() if name in model.model_fields]
            if owners:
                raise ValueError(
                    f"{section}.{name}: has no effect on the {section} {chosen}, got "
                    f"{shown(given[name])}: remove it; it is for {', '.join(owners)}"
                )

            others = [f", use {other}.{name}" for other in SECTIONS if name in fields_of(other)]
            hint = "".join(others) or close_name(name, fields_of(section))
            raise ValueError(f"{section}.{name}: there is no such field{hint}")
