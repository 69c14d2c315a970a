"""A search: Optuna proposes the values of trials and stores their states in its journal.

Design requirements:

- Only the process that drives the search writes the journal.
- After a kill, no trial is lost or run twice: interrupted trials continue, with their scores and
  the comparisons that they have passed.
- Optuna does not store the state of its sampler. The sampler's seed depends on the number of
  trials, so that a continued search does not repeat values.
"""

import json
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from nwavesdk.analysis.study.cells import Course, CrashError, Job
from nwavesdk.analysis.study.executors import Executor, LostError, Work, finish_all
from nwavesdk.analysis.study.search_file import SearchConfig
from nwavesdk.internal.files import (
    FileError,
    one_line,
    printable,
    read_bytes,
    write_atomically,
)
from nwavesdk.internal.imports import require
from nwavesdk.train import BrokenRunError
from nwavesdk.train.run_folder import lock

__all__ = ["Search", "state_of"]

# The user attributes of trials: the error of their crash, and how often their process was lost.
ERROR, LOSSES = "error", "losses"

# A trial whose process was lost this often counts as crashed. Otherwise, a trial that needs more
# memory than the machine has would be repeated forever.
MAX_LOSSES = 3

STATES = {"COMPLETE": "finished", "PRUNED": "stopped", "FAIL": "crashed"}


def state_of(trial: Any) -> str:
    """The state of a trial: `"running"`, `"finished"`, `"crashed"`, or `"stopped"` early."""
    return STATES.get(trial.state.name, "running")


class Search:
    """The trials of a folder.

    Args:
        path: The folder.
        file: The name of the file that describes the search.
        content: All settings on which results depend.
        settings: Settings of the search.
        space: A distribution of Optuna for each value. Categorical choices are texts of JSON.
        work: The function that a process calls with the job of a trial. It returns a `Course`,
            whose score is maximized.
        choices: The function that makes the settings of a job from the values of a trial.
    """

    def __init__(
        self,
        path: Path,
        *,
        file: str,
        content: Mapping[str, Any],
        settings: SearchConfig,
        space: Mapping[str, Any],
        work: Work,
        choices: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        self.path = path
        self.file = path / file
        self.journal = path / "journal.log"
        self.content = content
        self.settings = settings
        self.space = space
        self.work = work
        self.choices = choices

    @cached_property
    def study(self) -> Any:
        """The study of Optuna.

        Raises:
            ModuleNotFoundError: If Optuna is not installed.
            FileError: If the journal is damaged.
        """
        optuna = require("optuna", "hpo")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        is_new = not self.journal.exists() or not self.journal.stat().st_size

        pruner = optuna.pruners.NopPruner()
        if self.settings.scheduler == "asha":
            pruner = optuna.pruners.SuccessiveHalvingPruner(
                self.settings.grace, self.settings.reduction
            )

        try:
            with warnings.catch_warnings(action="ignore"):  # Optuna's journal is experimental
                # No other process writes the journal, so a lock between threads suffices.
                backend = optuna.storages.journal.JournalFileBackend
                files = backend(str(self.journal), threading.Lock())
                storage = optuna.storages.JournalStorage(files)
                if is_new:
                    optuna.create_study(storage=storage, study_name="", direction="maximize")
                study = optuna.load_study(storage=storage, study_name="", pruner=pruner)
                study.sampler = self.sampler(len(study.trials))
        except OSError:
            raise
        except Exception as error:  # a damaged journal can raise anything
            fault = f"is not the journal of a search ({one_line(error)})"
            raise FileError(self.journal, fault, "restore it") from None
        return study

    def sampler(self, n_trials: int) -> Any:
        """The sampler that proposes the next values after so many trials."""
        seed = sha256(f"{self.settings.seed}/{n_trials}".encode()).digest()[:4]
        samplers = require("optuna.samplers", "hpo")
        with warnings.catch_warnings(action="ignore"):  # the option `constant_liar` is experimental
            return samplers.TPESampler(seed=int.from_bytes(seed), constant_liar=True)

    @property
    def trials(self) -> list[Any]:
        """Optuna's trials, in the order of their numbers.

        They have Optuna's attributes `state`, `params`, `value` and `intermediate_values`, the
        score by epoch; see `values_of` and `state_of`.
        """
        trials: list[Any] = self.study.get_trials(deepcopy=False)
        return trials

    @property
    def best(self) -> Any:
        """The finished trial with the highest `rank`.

        Raises:
            BrokenRunError: If no trial has finished.
        """
        finished = [trial for trial in self.trials if state_of(trial) == "finished"]
        if not finished:
            errors = [trial.user_attrs[ERROR] for trial in self.trials if ERROR in trial.user_attrs]
            raise BrokenRunError(
                f"no trial of {printable(self.path)} has finished; the first error: "
                f"{next(iter(errors), 'none has begun').rstrip('.')}: correct the settings, and "
                "begin a new search in another folder. The log next to the folder of a trial has "
                "the whole error."
            )
        return max(finished, key=self.rank)

    def rank(self, trial: Any) -> Any:
        """The number, or several numbers, by which finished trials are compared."""
        return trial.value

    def values_of(self, trial: Any) -> dict[str, Any]:
        """The values of a trial, with choices as JSON values in place of their texts."""
        return {
            name: json.loads(trial.params[name])
            if hasattr(dimension, "choices")
            else trial.params[name]
            for name, dimension in self.space.items()
            if name in trial.params
        }

    def path_of(self, number: int) -> Path:
        """The folder of a trial."""
        return self.path.absolute() / f"trial-{number}"

    def job(self, trial: Any, n_epochs: int = 0) -> Job:
        """The job that runs a trial until its next comparison.

        Args:
            trial: The trial.
            n_epochs: Number of epochs that the trial has run.
        """
        settings, until = self.settings, None
        # ASHA compares trials after `grace` epochs, and then after `reduction` times as many.
        if settings.scheduler == "asha":
            until = settings.grace
            while until <= n_epochs:
                until *= settings.reduction

        choices = self.choices(self.values_of(trial))
        return str(self.path_of(trial.number)), choices, settings.threads, until

    def finish(self, executor: Executor, on_ended: Callable[[Any], None]) -> None:
        """Run all trials that have not ended.

        Args:
            executor: The processes that run the trials.
            on_ended: Called with each trial that has ended.

        Raises:
            BrokenRunError: If a trial cannot continue because of its environment, such as a full
                disk, or another process works on the search.
        """
        with lock(self.file, "works on the search"):
            self._repair_journal()
            states = [state_of(trial) for trial in self.trials]
            if len(states) - states.count("running") == self.settings.trials:
                return

            with executor as workers:
                finish_all(workers, self.work, self._remaining(), partial(self._end, on_ended))

    def _end(
        self, on_ended: Callable[[Any], None], trial: Any, result: Callable[[], Course]
    ) -> Job | None:
        """Report the result of a job to Optuna; return the next job if the trial continues.

        Args:
            on_ended: Called with the trial if it has ended.
            trial: The trial.
            result: Returns the result of the job, or raises its error.
        """
        states = require("optuna", "hpo").trial.TrialState
        try:
            scores, is_over = result()
            value = scores.pop() if is_over else None
        except (CrashError, LostError) as error:
            losses = trial.user_attrs.get(LOSSES, 0) + isinstance(error, LostError)
            trial.set_user_attr(LOSSES, losses)
            if isinstance(error, CrashError) or losses == MAX_LOSSES:
                trial.set_user_attr(ERROR, str(error))
                on_ended(self.study.tell(trial, state=states.FAIL))
            if isinstance(error, LostError):
                raise
            return None
        except BrokenRunError as error:
            raise BrokenRunError(f"trial-{trial.number}: {error}") from error

        # The journal may have the first scores already, from before an interruption.
        known = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        is_worse = False
        for epoch, score in enumerate(scores[len(known) :], len(known) + 1):
            trial.report(score, epoch)
            # Asked after each epoch, because Optuna stores a comparison when it is asked.
            is_worse = trial.should_prune()

        if not is_over and not is_worse:
            return self.job(trial, len(scores))
        on_ended(self.study.tell(trial, value, None if is_over else states.PRUNED))
        return None

    def _repair_journal(self) -> None:
        """Remove the incomplete line that a kill may leave."""
        if self.journal.exists():
            lines, end, rest = read_bytes(self.journal).rpartition(b"\n")
            if rest:
                write_atomically(self.journal, lines + end)

    def _remaining(self) -> Iterator[tuple[Any, Job]]:
        """The trials to run: interrupted trials, then new ones, proposed when a process is free."""
        # Trials that were running when the last process ended.
        optuna = require("optuna", "hpo")
        for stored in self.trials:
            if state_of(stored) == "running":
                trial = optuna.trial.Trial(self.study, stored._trial_id)
                for name, distribution in self.space.items():
                    trial._suggest(name, distribution)  # a kill may come between two values
                yield trial, self.job(trial, len(stored.intermediate_values))

        while (number := len(self.trials)) < self.settings.trials:
            # A folder without a trial in the journal belongs to a journal that was lost.
            if self.path_of(number).exists():
                fault = f"has no trial of the folder trial-{number}"
                raise FileError(self.journal, fault, f"restore it, or remove trial-{number}")
            trial = self.study.ask(dict(self.space))
            yield trial, self.job(trial)
