"""The file of `nwave tune`: fixed settings of its runs, the space, and settings of the search."""

import json
from collections.abc import Container, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import FileError, read_bytes
from nwavesdk.internal.formats import parse_json, parse_toml
from nwavesdk.internal.imports import require
from nwavesdk.internal.model import FrozenModel, expect
from nwavesdk.train import RunConfig
from nwavesdk.train.config import fields_of, merge_choices

__all__ = [
    "Dimension",
    "SearchConfig",
    "TuneConfig",
    "flat_settings",
    "nested",
    "reject_fixed",
    "sample_values",
]

# The fields that cannot vary.
FIXED_FIELDS = {
    "data.source",
    "data.kind",
    "data.limit",
    "data.split",
    "data.speaker_pattern",
    "data.val_share",
    "data.test_share",
    "data.folds",
    "data.leave_one_out",
    "data.fold",
    "data.test",
    "data.on_error",
    "data.max_seconds",
    "task.name",
    "task.look_ahead",
    "seed",
    *(f"machine.{name}" for name in fields_of("machine")),
}

# A position inside a range, as a share of its length, that is not on any usual grid.
INSIDE = 0.381966

Number = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)],
    expect("a finite number"),
]


class Dimension(FrozenModel):
    """The possible values of a field: a list of choices, or the numbers from `low` to `high`.

    Numbers are whole if both ends are written without a point.

    Args:
        choices: The choices, of any type that JSON has.
        low: The smallest number.
        high: The largest number.
        log: Whether the logarithm of the number is searched evenly.
        step: Distance between numbers, counted from `low`.
    """

    choices: Annotated[list[JsonValue], Field(min_length=1, max_length=1000)] | None = None
    low: Number | None = None
    high: Number | None = None
    log: bool = False
    step: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        is_range = self.low is not None and self.high is not None
        has_range = self.low is not None or self.high is not None or self.log or self.step
        if (self.choices is None) != is_range or (self.choices is not None and has_range):
            raise ValueError(
                "expected either choices, or a low and a high end, as in "
                "{ low = 1e-3, high = 1e-1, log = true }"
            )

        if find_spec("optuna") is not None:
            _ = self.distribution  # Optuna checks the rest
        return self

    @property
    def is_whole(self) -> bool:
        """Whether the numbers are whole."""
        numbers = (self.low, self.high, self.step or 1)
        return all(isinstance(number, int) for number in numbers)

    @property
    def distribution(self) -> Any:
        """The dimension as a distribution of Optuna. Choices become texts of JSON."""
        kinds = require("optuna", "hpo").distributions
        if self.choices is not None:
            return kinds.CategoricalDistribution([json.dumps(choice) for choice in self.choices])
        if self.is_whole:
            step = 1 if self.step is None else self.step
            return kinds.IntDistribution(self.low, self.high, self.log, step)
        return kinds.FloatDistribution(self.low, self.high, self.log, self.step)

    def samples(self) -> list[Any]:
        """Values for a check of the dimension: all choices, or the ends and an inner point."""
        if self.choices is not None:
            return self.choices
        low, high = self.low or 0, self.high or 0
        inside = [] if self.is_whole else [low + INSIDE * (high - low)]
        return [low, high, *inside]


def reject_fixed(fixed: Container[str], space: Iterable[str]) -> None:
    """Reject a field that cannot vary.

    Args:
        fixed: The full names of these fields.
        space: The full names of the fields that vary.

    Raises:
        ValueError: If there is one. The message names it.
    """
    if rejected := [name for name in space if name in fixed]:
        raise ValueError(
            f"{rejected[0]} cannot vary, because scores on other data, metrics, seeds or machines "
            "are not comparable: pass one value."
        )


def sample_values(space: Mapping[str, Dimension]) -> list[dict[str, Any]]:
    """Values with which a space is checked before the first trial.

    The first values of all fields, then each other sample of a field with the first values of all
    other fields.

    Example:
        >>> sample_values({"a": Dimension(choices=[1, 2]), "b": Dimension(low=3, high=4)})
        [{'a': 1, 'b': 3}, {'a': 2, 'b': 3}, {'a': 1, 'b': 4}]
    """
    samples = {name: dimension.samples() for name, dimension in space.items()}
    first = {name: values[0] for name, values in samples.items()}
    others = [{**first, name: value} for name, values in samples.items() for value in values[1:]]
    return [first, *others]


class SearchConfig(FrozenModel):
    """Settings of a search.

    Args:
        trials: Number of runs.
        seed: Seed of the proposals.
        out: Folder of the search.
        max_concurrent: Maximal number of trials at a time; None for as many as the CPUs allow.
        scheduler: `"asha"` stops trials early that are worse than others at the same epoch.
        grace: Number of epochs before ASHA first compares a trial with others.
        reduction: With `reduction=3`, a third of the trials that reach a comparison continue, and
            the next comparison comes after three times as many epochs.
        threads: Threads of each trial.
    """

    trials: Annotated[int, Field(ge=1, le=10_000)] = 20
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    out: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    max_concurrent: Annotated[int, Field(ge=1, le=1024)] | None = None
    scheduler: Literal["asha", "none"] = "asha"
    grace: Annotated[int, Field(ge=1, le=100_000)] = 1
    reduction: Annotated[int, Field(ge=2, le=100)] = 3
    threads: Annotated[int, Field(ge=1, le=1024)] = 1


class TuneConfig(FrozenModel):
    """The content of the file of `nwave tune`.

    Args:
        run: Settings of all runs, in the form of `RunConfig.of`.
        search: Settings of the search.
        space: The fields that vary, as `section.field`, with their possible values.
    """

    run: Annotated[dict[str, Any], Field(default_factory=dict)]
    search: SearchConfig = SearchConfig()
    space: Annotated[dict[str, Dimension], Field(min_length=1, max_length=100)]

    @model_validator(mode="before")
    @classmethod
    def _flatten_space(cls, content: Any) -> Any:
        if not isinstance(content, Mapping) or not isinstance(content.get("space"), Mapping):
            return content
        return {**content, "space": flat_settings(content["space"])}

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        given = flat_settings(self.run)

        reject_fixed(FIXED_FIELDS, self.space)
        for name in self.space:
            if name in given:
                raise ValueError(
                    f"space.{name}: is also in [run], got {shown(given[name])} there: remove one "
                    "of them"
                )

        for name in ("data.folds", "data.leave_one_out", "machine.threads", "machine.devices"):
            if name in given:
                raise ValueError(
                    f"run.{name}: a trial is a single run on search.threads, got "
                    f"{shown(given[name])}: remove it"
                )
        return self

    @classmethod
    def read(cls, path: Path) -> "TuneConfig":
        """Read a file in TOML, or the `tune.json` of a search, and complete it; see `completed`.

        Raises:
            FileError: If the file is missing or does not describe a search. The message names the
                field.
        """
        parse = parse_json if path.suffix == ".json" else parse_toml
        content = parse(read_bytes(path), path)
        content.pop("sha256", None)  # the seal of `tune.json`, which `begin_study` checks
        try:
            return cls.of(content).completed()
        except ValueError as error:
            fault = f"has a mistake: {str(error).rstrip('.')}"
            raise FileError(path, fault, "correct it") from None

    def completed(self) -> "TuneConfig":
        """The config with absolute paths, the kind of the data and the task.

        All choices and ends of the space are checked.

        Raises:
            ValueError: If a value of the space is not valid in a run. The message names the field.
        """
        first, *others = sample_values(self.space)

        # The first check opens the data files and records their kind. The other checks then do not
        # open them again.
        run = RunConfig.of(merge_choices(self.run, nested(first))).given()
        for values in others:
            RunConfig.of(merge_choices(run, nested(values)))

        # The fields that vary are not part of the fixed settings.
        for name in first:
            section, _, field = name.partition(".")
            run[section].pop(field, None)
        return self.model_copy(update={"run": run})


def flat_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the full names of their fields. TOML also reads a dot in a name as nesting.

    Example:
        >>> flat_settings({"net": {"tau": {"low": 1e-3, "high": 1e-2}}, "seed": 1})
        {'net.tau': {'low': 0.001, 'high': 0.01}, 'seed': 1}
    """
    values: dict[str, Any] = {}
    for name, value in content.items():
        is_section = isinstance(value, Mapping) and not value.keys() & Dimension.model_fields.keys()
        inner = flat_settings(value) if is_section else {"": value}
        values |= {f"{name}.{field}".rstrip("."): content for field, content in inner.items()}
    return values


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by section, from values by the full names of their fields.

    Example:
        >>> nested({"net.tau": 0.02, "net.name": "lif"})
        {'net': {'tau': 0.02, 'name': 'lif'}}
    """
    sections: dict[str, Any] = {}
    for name, value in values.items():
        section, _, field = str(name).partition(".")
        sections.setdefault(section, {})[field] = value
    return sections
