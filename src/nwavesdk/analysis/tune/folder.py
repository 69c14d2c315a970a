"""The folder of a search: its trials, the record of each, and the next one.

Design requirement: the folder is the state of the search. A record of each trial is written before
it begins and after it ended, so that no trial is lost or repeated, whenever the search is killed.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field

from nwavesdk.analysis.cells import Job
from nwavesdk.analysis.tune.config import SearchConfig
from nwavesdk.analysis.tune.proposals import State, Tried, propose
from nwavesdk.analysis.tune.space import Space
from nwavesdk.internal.files import FileError, one_line, read_bytes, write_atomically
from nwavesdk.internal.formats import parse_json
from nwavesdk.internal.model import FrozenModel

__all__ = ["AnyTrial", "Ended", "Report", "SearchFolder", "TrialRecord"]

# Letters of an error that a record keeps.
MOST_LETTERS = 10_000

# What is called with the number of an epoch and its score; it may end the trial.
Report = Callable[[int, float], None]

# State of a trial that ended, and the reason of a crash. A trial that is "broken" cannot go on now,
# for a reason that is not its own, such as a full disk.
Ended = tuple[str, str]


class TrialRecord(FrozenModel):
    """The content of a trial's record.

    Args:
        values: The value of each field that varies.
        state: `"running"` until it has ended; then how it ended.
        error: Why it crashed, in one line.
    """

    values: dict[str, Any]
    state: Literal["running", "finished", "stopped", "crashed"] = "running"
    error: Annotated[str, Field(max_length=MOST_LETTERS)] = ""


@dataclass(frozen=True)
class AnyTrial(ABC):
    """One trial of a search; a class for each kind of search describes what it wrote.

    Attributes:
        number: Its number, from 0.
        path: Its folder.
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
        """How the trial ended; one that is complete counts, whatever was recorded."""
        state = self.record.state
        return "finished" if state == "running" and self.is_complete else state

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether all files of a finished trial are there."""

    @property
    @abstractmethod
    def score(self) -> float:
        """The score of a finished trial."""

    @abstractmethod
    def course(self) -> dict[int, float]:
        """The score after each epoch so far."""

    def write(self, record: TrialRecord) -> None:
        """Write the record."""
        content = json.dumps(record.model_dump(mode="json"), indent=2) + "\n"
        write_atomically(self.file, content.encode())


T = TypeVar("T", bound=AnyTrial)


class SearchFolder(ABC, Generic[T]):
    """A folder with the trials of a search; a class for each kind of search has the rest.

    Args:
        path: The folder.
        settings: How the space is searched.
        space: The space.
    """

    def __init__(self, path: Path, settings: SearchConfig, space: Space) -> None:
        self.path = path
        self.settings = settings
        self.space = space

    @property
    @abstractmethod
    def file(self) -> Path:
        """The file that describes the search."""

    @property
    @abstractmethod
    def uses_gpu(self) -> bool:
        """Whether each trial needs a GPU."""

    @property
    @abstractmethod
    def work(self) -> Callable[[Job, Report], Ended]:
        """What a process does with a trial; a function of a module."""

    @abstractmethod
    def trial(self, number: int) -> T:
        """The trial with a number, which may not have begun."""

    @abstractmethod
    def job(self, trial: T) -> Job:
        """What a process needs to run a trial: path, choices, threads."""

    @property
    def threads(self) -> int:
        """Threads of each trial."""
        return self.settings.threads

    @property
    def trials(self) -> list[T]:
        """All trials that have begun."""
        all_trials = (self.trial(number) for number in range(self.settings.trials))
        return [trial for trial in all_trials if trial.file.exists()]

    def unfinished(self) -> list[T]:
        """Trials that have begun and not ended."""
        return [trial for trial in self.trials if trial.state == "running"]

    def finished(self) -> list[T]:
        """Trials that ran to their end."""
        return [trial for trial in self.trials if trial.state == "finished"]

    @property
    def n_ended(self) -> int:
        """Number of trials that have ended."""
        return len(self.trials) - len(self.unfinished())

    def begin_trial(self) -> T | None:
        """Propose the next trial and record it; None if all have begun.

        Raises:
            FileError: If a trial has a folder but no record, or a file of a trial is damaged.
        """
        begun = {trial.number for trial in self.trials}
        number = next((n for n in range(self.settings.trials) if n not in begun), None)
        if number is None:
            return None
        trial = self.trial(number)
        if trial.path.exists():
            what = f"does not exist, although {trial.path.name} does"
            raise FileError(trial.file, what, f"restore it, or remove {trial.path.name}")
        values = propose(self.space, self.tried(), self.settings.seed, number)
        trial.write(TrialRecord(values=values))
        return trial

    def end_trial(self, trial: T, state: State, error: str = "") -> None:
        """Record how a trial ended."""
        values = trial.record.values
        trial.write(TrialRecord(values=values, state=state, error=error[:MOST_LETTERS]))

    def tried(self) -> list[Tried]:
        """All trials that have begun, as the sampler sees them.

        Raises:
            FileError: If a file of a trial is damaged, or its values are not of the space.
        """
        return [self._tried(trial) for trial in self.trials]

    def _tried(self, trial: T) -> Tried:
        values, state = self.values(trial), trial.state
        if state == "finished":
            return Tried(values, state, trial.score)
        return Tried(values, state, course=trial.course() if state == "stopped" else {})

    def values(self, trial: T) -> dict[str, Any]:
        """The value of each field in a trial.

        Raises:
            FileError: If the record of the trial is damaged or that of another search.
        """
        values = trial.record.values
        space = self.space
        is_whole = values.keys() == space.keys()
        if not is_whole or not all(space[name].contains(value) for name, value in values.items()):
            what = "holds values that are not of the space of this search"
            raise FileError(trial.file, what, f"remove it with {trial.path.name}")
        return {name: values[name] for name in space}
