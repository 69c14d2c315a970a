"""A search: its folder, its trials and what they gave.

Design requirements:

- A trial is an ordinary run that does not read the test set. Only the winner does; see `winner`.
- The folder is the state of the search: a record of each trial is written before it begins and
  after it ended, so that no trial is lost or repeated, whenever the search is killed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from nwavesdk.analysis.cells import Job, begin_study
from nwavesdk.analysis.tested import MEASURE_TEXTS, first_measure
from nwavesdk.analysis.tune.config import TuneConfig, merged_choices
from nwavesdk.analysis.tune.proposals import State, Tried, propose
from nwavesdk.internal.files import FileError, one_line, read_bytes, write_atomically
from nwavesdk.internal.formats import parse_json
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train import Run, RunConfig, RunFolder

__all__ = ["Search", "Trial", "TrialRecord", "measure_of"]

FILE = "tune.json"

# Proposals that are tried before a search begins.
MOST_PREPARED = 3


class TrialRecord(FrozenModel):
    """The content of a trial's record.

    Args:
        values: The value of each field that varies.
        state: `"running"` until it has ended; then how it ended.
        error: Why it crashed, in one line.
    """

    values: dict[str, Any]
    state: Literal["running", "finished", "stopped", "crashed"] = "running"
    error: Annotated[str, Field(max_length=10_000)] = ""


@dataclass(frozen=True)
class Trial:
    """One run of a search.

    Attributes:
        number: Its number, from 0.
        path: Folder of the run.
    """

    number: int
    path: Path

    @property
    def name(self) -> str:
        """The number, for lines and errors."""
        return f"trial {self.number}"

    @property
    def file(self) -> Path:
        """The record of the trial."""
        return self.path.with_suffix(".json")

    @property
    def record(self) -> TrialRecord:
        """What was recorded of the trial.

        Raises:
            FileError: If the record is missing or damaged.
        """
        remedy = f"restore it, or remove it with {self.path.name}; the trial is run again"
        try:
            return TrialRecord.of(parse_json(read_bytes(self.file), self.file))
        except FileError as error:
            raise FileError(self.file, error.what, remedy) from None
        except ValueError as error:
            what = f"is not the record of a trial ({one_line(error)})"
            raise FileError(self.file, what, remedy) from None

    @property
    def state(self) -> State:
        """How the trial ended; a run that is complete counts, whatever was recorded."""
        state = self.record.state
        return "finished" if state == "running" and RunFolder(self.path).complete else state

    @property
    def result(self) -> dict[str, Any]:
        """The numbers of the finished run."""
        return RunFolder(self.path).read_result()

    def course(self) -> dict[int, float]:
        """The validation score after each epoch so far."""
        folder = RunFolder(self.path)
        if not folder.metrics.is_file():
            return {}
        rows = folder.read_metrics()
        return {int(row["epoch"]): row[f"val_{measure_of(row)}"] for row in rows}

    def write(self, record: TrialRecord) -> None:
        """Write the record."""
        content = json.dumps(record.model_dump(mode="json"), indent=2) + "\n"
        write_atomically(self.file, content.encode(), make_folders=True)


class Search:
    """A folder with the trials of a search.

    Args:
        path: The folder.
        config: The content of the file of the search, with absolute paths.
    """

    def __init__(self, path: Path, config: TuneConfig) -> None:
        self.path = path
        self.config = config

    @classmethod
    def open(cls, path: Path, config: TuneConfig) -> "Search":
        """Begin or continue a search. The folder must be new, empty, or hold the same search.

        Raises:
            ValueError: If the data cannot be used, or the folder holds something else; nothing is
                written.
        """
        search = cls(path, config)

        begin_study(search.file, search.content(), search.prepare)
        return search

    @classmethod
    def read(cls, path: Path) -> "Search":
        """Continue the search in a folder.

        Raises:
            FileError: If the folder holds no search, or its file is damaged.
        """
        file = path / FILE
        if not file.exists():
            remedy = "give the folder of an earlier `nwave tune`, or a file to begin one"
            raise FileError(path, f"holds no search (no {FILE})", remedy)
        content = parse_json(read_bytes(file), file)
        try:
            return cls.open(path, TuneConfig.of(content).completed())
        except FileError:
            raise
        except ValueError as error:
            raise FileError(file, f"is not a search ({one_line(error)})", "restore it") from None

    def prepare(self) -> None:
        """Check that one of the first proposals can run; others may crash and are recorded.

        Raises:
            ValueError: What is wrong with the first one, if none can.
        """
        space, seed = self.config.space, self.config.search.seed
        errors: list[ValueError] = []
        for number in range(MOST_PREPARED):
            choices = self.choices(propose(space, [], seed, number))
            try:
                Run.prepare(self.trial(number).path, RunConfig.of(choices))
                return
            except ValueError as error:
                errors.append(error)
        raise errors[0]

    @property
    def file(self) -> Path:
        """`tune.json`: the content of the file of the search."""
        return self.path / FILE

    @property
    def threads(self) -> int:
        """Threads of each trial."""
        return self.config.search.threads

    @property
    def reads_test(self) -> bool:
        """Whether the winner is tested."""
        data = self.config.run.get("data") or {}
        return bool(data.get("test", True))

    def content(self) -> dict[str, Any]:
        """The content of `tune.json`: everything on which results depend."""
        content = self.config.model_dump(mode="json")
        del content["search"]["out"]
        content["space"] = {
            field: dimension.model_dump(mode="json", exclude_defaults=True)
            for field, dimension in self.config.space.items()
        }
        return content

    def trial(self, number: int) -> Trial:
        """The trial with a number, which may not have begun."""
        return Trial(number, self.path.absolute() / f"trial-{number}")

    @property
    def trials(self) -> list[Trial]:
        """All trials that have begun."""
        all_trials = (self.trial(number) for number in range(self.config.search.trials))
        return [trial for trial in all_trials if trial.file.exists()]

    def unfinished(self) -> list[Trial]:
        """Trials that have begun and not ended."""
        return [trial for trial in self.trials if trial.state == "running"]

    @property
    def n_ended(self) -> int:
        """Number of trials that have ended."""
        return len(self.trials) - len(self.unfinished())

    def begin_trial(self) -> Trial | None:
        """Propose the next trial and record it; None if all have begun."""
        begun = {trial.number for trial in self.trials}
        free = (n for n in range(self.config.search.trials) if n not in begun)
        number = next(free, None)
        if number is None:
            return None
        trial = self.trial(number)
        space, seed = self.config.space, self.config.search.seed
        trial.write(TrialRecord(values=propose(space, self.tried(), seed, number)))
        return trial

    def end_trial(self, trial: Trial, state: State, error: str = "") -> None:
        """Record how a trial ended."""
        trial.write(TrialRecord(values=trial.record.values, state=state, error=error[:10_000]))

    def tried(self) -> list[Tried]:
        """All trials that have begun, as the sampler sees them.

        Raises:
            FileError: If a file of a trial is damaged, or its values are not of the space.
        """
        return [self._tried(trial) for trial in self.trials]

    def _tried(self, trial: Trial) -> Tried:
        values, state = self.values(trial), trial.state
        if state == "finished":
            result = trial.result
            return Tried(values, state, result[f"val_{first_measure(result)}"])
        return Tried(values, state, course=trial.course() if state == "stopped" else {})

    def values(self, trial: Trial) -> dict[str, Any]:
        """The value of each field in a trial.

        Raises:
            FileError: If the record of the trial is damaged or that of another search.
        """
        values = trial.record.values
        space = self.config.space
        is_whole = values.keys() == space.keys()
        if not is_whole or not all(space[name].contains(value) for name, value in values.items()):
            what = "holds values that are not of the space of this search"
            raise FileError(trial.file, what, f"remove it with {trial.path.name}")
        return {name: values[name] for name in space}

    def choices(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The choices of a run with these values, in the form of `RunConfig.of`."""
        choices = merged_choices(self.config.run, values)
        choices["data"] = {**choices.get("data", {}), "test": False}
        # A trial occupies CPUs of the cluster, unless the file asks for a GPU.
        machine = {"accelerator": "cpu", **choices.get("machine", {})}
        choices["machine"] = {**machine, "threads": self.threads}
        return choices

    def job(self, trial: Trial) -> Job:
        """What a process needs to run a trial: path, choices, threads."""
        return str(trial.path), self.choices(self.values(trial)), self.threads

    def finished(self) -> list[Trial]:
        """Trials that ran to their end."""
        return [trial for trial in self.trials if trial.state == "finished"]

    def best(self) -> Trial | None:
        """The finished trial with the best validation score, then loss; None without one."""

        def rank(trial: Trial) -> tuple[float, float, int]:
            result = trial.result
            return result[f"val_{first_measure(result)}"], -result["val_loss"], -trial.number

        return max(self.finished(), key=rank, default=None)


def measure_of(row: Mapping[str, float]) -> str:
    """The measure by which trials are compared, from a row of `metrics.csv`."""
    return next(name for name in MEASURE_TEXTS if f"val_{name}" in row)
