"""The file of `nwave tune`: fixed settings of its runs, the space, and settings of the search."""

import json
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import FileError, one_line, read_bytes
from nwavesdk.internal.formats import parse_json, parse_toml
from nwavesdk.internal.imports import require
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train import RunConfig
from nwavesdk.train.config import fields_of, merge_choices
from nwavesdk.train.config.fields import Epochs, ProcessCount, Seed

__all__ = [
    "SearchConfig",
    "TuneConfig",
    "distribution_of",
    "flat_settings",
    "nested",
    "reject_fixed",
    "sample_values",
    "samples_of",
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

# The entries of a field that varies.
ENTRIES = {"choices", "low", "high", "log", "step"}


def distribution_of(name: str, values: Mapping[str, Any]) -> Any:
    """The possible values of a field, as a distribution of Optuna.

    Args:
        name: The full name of the field.
        values: Either `choices`, of any type that JSON has, which become texts of JSON; or the ends
            `low` and `high`. With `log`, the logarithm of the number is searched evenly; `step` is
            the distance between numbers, counted from `low`. Numbers are whole if all are written
            without a point.

    Raises:
        ValueError: If Optuna does not take the values. The message names the field.
    """
    kinds = require("optuna", "hpo").distributions
    try:
        if "choices" in values:
            texts = [json.dumps(choice) for choice in values["choices"]]
            return kinds.CategoricalDistribution(**{**values, "choices": texts})

        # The sum of whole numbers is whole, and there is none of texts.
        is_whole = isinstance(sum(values.values()), int)
        return (kinds.IntDistribution if is_whole else kinds.FloatDistribution)(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"space.{name}: got {shown(values)} ({one_line(error)}), expected either choices, or a "
            "low and a high end, as in { low = 1e-3, high = 1e-1, log = true }"
        ) from None


def samples_of(distribution: Any) -> list[Any]:
    """Values for a check of a distribution: all choices, or the ends and an inner point."""
    if hasattr(distribution, "choices"):
        return [json.loads(text) for text in distribution.choices]
    low, high = distribution.low, distribution.high
    inside = [] if isinstance(low, int) else [low + INSIDE * (high - low)]
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


def sample_values(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Values with which a space of distributions is checked before the first trial.

    The first values of all fields, then each other sample of a field with the first values of all
    other fields.
    """
    samples = {name: samples_of(distribution) for name, distribution in space.items()}
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
    seed: Seed = 0
    out: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    max_concurrent: ProcessCount | None = None
    scheduler: Literal["asha", "none"] = "asha"
    grace: Epochs = 1
    reduction: Annotated[int, Field(ge=2, le=100)] = 3
    threads: ProcessCount = 1


class TuneConfig(FrozenModel):
    """The content of the file of `nwave tune`.

    Args:
        run: Settings of all runs, in the form of `RunConfig.of`.
        search: Settings of the search.
        space: The fields that vary, as `section.field`, with their values; see `distribution_of`.
    """

    run: Annotated[dict[str, Any], Field(default_factory=dict)]
    search: SearchConfig = SearchConfig()
    space: Annotated[dict[str, dict[str, JsonValue]], Field(min_length=1, max_length=100)]

    @model_validator(mode="before")
    @classmethod
    def _flatten_space(cls, content: Any) -> Any:
        if not isinstance(content, Mapping) or not isinstance(content.get("space"), Mapping):
            return content
        return {**content, "space": flat_settings(content["space"])}

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        given = flat_settings(self.run)

        reject_fixed(FIXED_FIELDS, self.distributions)
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

    @property
    def distributions(self) -> dict[str, Any]:
        """The space as distributions of Optuna."""
        return {name: distribution_of(name, values) for name, values in self.space.items()}

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
        first, *others = sample_values(self.distributions)

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
        is_section = isinstance(value, Mapping) and not value.keys() & ENTRIES
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
