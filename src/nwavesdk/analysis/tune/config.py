"""The file of a search: fixed choices of its runs, the space, and how it is searched."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from nwavesdk.analysis.cells import MOST_THREADS
from nwavesdk.analysis.tune.space import Dimension, flat_space
from nwavesdk.internal.checks import close_name, shown
from nwavesdk.internal.files import FileError, read_bytes
from nwavesdk.internal.formats import parse_toml
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train import RunConfig
from nwavesdk.train.config import fields_of

__all__ = ["COMPARED", "LUCKY", "SearchConfig", "TuneConfig", "merged_choices"]

MOST_TRIALS = 10_000

# Fields that cannot vary, and why. Scores on different data or sets are not comparable.
COMPARED = "scores on other data or another split are not comparable"
LUCKY = "the search would choose a lucky seed"
FIXED_FIELDS = {
    **{
        f"data.{field}": COMPARED
        for field in (
            *("source", "limit", "split", "speaker_pattern", "folds", "leave_one_out"),
            *("fold", "test", "on_error", "max_seconds", "val_share", "test_share", "kind"),
        )
    },
    **{f"task.{field}": COMPARED for field in ("name", "look_ahead")},
    "seed": LUCKY,
}
FIXED_SECTIONS = {
    "machine": "it does not belong to the net or its learning",
}


class SearchConfig(FrozenModel):
    """How a space is searched.

    Args:
        trials: Number of runs.
        seed: Seed of the proposals.
        out: Folder of the search.
        max_concurrent: Trials at a time; None: as many as fit the CPUs.
        scheduler: `"asha"` stops trials early that are worse than others at the same epoch.
        grace: Epochs before the first such comparison.
        reduction: Of the trials that reach a comparison, one of so many continues; the next
            comparison comes after so many times the epochs.
        threads: Threads of each trial.
    """

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = 20
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    out: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    max_concurrent: Annotated[int, Field(ge=1, le=1024)] | None = None
    scheduler: Literal["asha", "none"] = "asha"
    grace: Annotated[int, Field(ge=1, le=100_000)] = 1
    reduction: Annotated[int, Field(ge=2, le=100)] = 3
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] = 1


class TuneConfig(FrozenModel):
    """The content of the file of `nwave tune`.

    Args:
        run: Choices of all runs, in the form of `RunConfig.of`.
        search: How the space is searched.
        space: The fields that vary, as `section.field`.
    """

    run: Annotated[dict[str, Any], Field(default_factory=dict)]
    search: SearchConfig = SearchConfig()
    space: Annotated[dict[str, Dimension], Field(min_length=1, max_length=100)]

    @model_validator(mode="before")
    @classmethod
    def _flatten_space(cls, content: Any) -> Any:
        if not isinstance(content, Mapping) or not isinstance(content.get("space"), Mapping):
            return content
        return {**content, "space": flat_space(content["space"])}

    @model_validator(mode="after")
    def _check_space(self) -> Self:
        known = _run_fields()
        for field in self.space:
            reason = FIXED_FIELDS.get(field) or FIXED_SECTIONS.get(field.partition(".")[0])
            if reason is not None:
                raise ValueError(
                    f"space.{field}: cannot vary, because {reason}: choose one value in [run]"
                )
            if field not in known:
                raise ValueError(
                    f"space.{field}: is not a field of a run{close_name(field, known)}: "
                    "expected a field of config.json, such as learning.rate"
                )
            section, _, name = field.rpartition(".")
            given = self.run.get(section) if section else self.run
            if isinstance(given, Mapping) and name in given:
                raise ValueError(
                    f"space.{field}: is also in [run], got {shown(given[name])} there: leave one "
                    "of them out"
                )
        return self

    @model_validator(mode="after")
    def _check_run(self) -> Self:
        data, machine = self.run.get("data"), self.run.get("machine")
        for name in ("folds", "leave_one_out", "fold"):
            if isinstance(data, Mapping) and data.get(name) is not None:
                raise ValueError(f"run.data.{name}: a trial is a single run: leave it out")
        for name in ("threads", "devices"):
            if isinstance(machine, Mapping) and name in machine:
                remedy = "use search.threads" if name == "threads" else "leave it out"
                raise ValueError(
                    f"run.machine.{name}: trials run side by side, each on its own threads or "
                    f"device, got {shown(machine[name])}: {remedy}"
                )
        return self

    @model_validator(mode="after")
    def _check_comparisons(self) -> Self:
        search = self.search
        if search.scheduler == "none":
            for name in ("grace", "reduction"):
                value = getattr(search, name)
                if value != SearchConfig.model_fields[name].default:
                    raise ValueError(
                        f"search.{name}: has no effect with scheduler = 'none', got {value}: leave "
                        "it out"
                    )
            return self
        epochs = self._most_epochs()
        # The last epoch of a trial is not compared.
        if isinstance(epochs, int) and search.grace >= epochs > 1:
            raise ValueError(
                f"search.grace: no trial of {epochs} epochs is ever compared, got {search.grace}, "
                f"expected at most {epochs - 1}: lower it, or choose scheduler = 'none' instead"
            )
        return self

    def _most_epochs(self) -> object:
        """The epochs of the longest trial; None if no choice names them."""
        varied = self.space.get("learning.epochs")
        if varied is not None:
            ends = varied.samples()
            return max(ends) if all(isinstance(end, int) for end in ends) else None
        learning = self.run.get("learning")
        return learning.get("epochs") if isinstance(learning, Mapping) else None

    @classmethod
    def read(cls, path: Path) -> "TuneConfig":
        """Read a file, make its paths absolute, look at the data, and try the ends of the space.

        Raises:
            FileError: If the file is missing or is not that of a search; one line names the field.
        """
        content = parse_toml(read_bytes(path), path)
        try:
            return cls.of(content).completed()
        except FileError as error:
            raise FileError(path, error.what, error.remedy) from None
        except ValueError as error:
            what, colon, remedy = str(error).rstrip(".").rpartition(": ")
            if ": " not in what:  # "field: what" without a remedy
                what, remedy = f"{what}{colon}{remedy}", "correct it"
            raise FileError(path, f"has a mistake: {what}", remedy) from None

    def completed(self) -> "TuneConfig":
        """The config with absolute paths, the kind of the data and the task.

        Every choice and end of the space is then that of a run.

        Raises:
            ValueError: If one is not; the text names the field.
        """
        first = {field: dimension.samples()[0] for field, dimension in self.space.items()}
        # The files are looked at once: a search records what they hold.
        run = RunConfig.of(merged_choices(self.run, first)).given()
        for field, dimension in self.space.items():
            for value in dimension.samples()[1:]:
                RunConfig.of(merged_choices(run, {field: value}))
        for field in first:
            section, _, name = field.rpartition(".")
            run[section].pop(name, None)
        return self.model_copy(update={"run": run})


def merged_choices(run: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The choices of a run with a value for each field that varies.

    Example:
        >>> merged_choices({"net": {"dt": 1e-3}}, {"net.tau": 0.02, "seed": 1})
        {'net': {'dt': 0.001, 'tau': 0.02}, 'seed': 1}
    """
    choices = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in run.items()
    }
    for field, value in values.items():
        section, _, name = field.rpartition(".")
        target = choices.setdefault(section, {}) if section else choices
        target[name] = value
    return choices


def _run_fields() -> list[str]:
    """All fields of a run, as `section.field`."""
    sections = ("data", "task", "net", "chip", "learning", "machine")
    return ["seed", *(f"{name}.{field}" for name in sections for field in fields_of(name))]
