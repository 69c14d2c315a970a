"""A cross-validation: one run of `nwave train` per fold, each tested on another part of the data.

Design requirement: a fold is an ordinary run, in its own folder, with the choices of the
study and its number as `data.fold`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nwavesdk.analysis.cells import (
    MOST_THREADS,
    Job,
    begin_study,
    check_unchanged,
    evaluate_cell,
    run_cell,
)
from nwavesdk.analysis.statistics import Summary, limits_of, summarize
from nwavesdk.analysis.tested import file_of_test, first_measure, read_tested
from nwavesdk.data import Indices
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.files import FileError, printable, read_bytes
from nwavesdk.internal.formats import parse_json
from nwavesdk.train import CompletedConfig, Run, RunConfig, RunFolder
from nwavesdk.train.config.facts import Facts

__all__ = ["Fold", "FoldStudy", "run_fold"]

FILE = "folds.json"

# Names of tested speakers that a line has.
MOST_NAMED = 3


@dataclass(frozen=True)
class Fold:
    """One run of a cross-validation.

    Attributes:
        number: Number of the fold, from 1.
        path: Folder of the run.
    """

    number: int
    path: Path

    @property
    def name(self) -> str:
        """The number and, as soon as the run has begun, what it is tested on."""
        names = self.facts.tested if RunFolder(self.path).config.is_file() else ()
        shown = ", ".join(map(printable, names[:MOST_NAMED]))
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return f"fold {self.number}" + (f" ({shown}{more})" if names else "")

    @property
    def config(self) -> CompletedConfig:
        """The config of the run.

        Raises:
            FileError: If it is damaged.
        """
        return RunFolder(self.path).read_config()

    @property
    def facts(self) -> Facts:
        """What the data of the fold are."""
        return self.config.facts

    @property
    def result(self) -> dict[str, Any]:
        """The numbers of the finished run."""
        return RunFolder(self.path).read_result()

    @property
    def confusion(self) -> Indices:
        """Decisions of the test by true and predicted class, `[C, C]`; empty without classes."""
        counts = read_tested(self.path).confusion
        return np.array(counts, np.int64).reshape(len(counts), len(counts))


class FoldStudy:
    """A folder with the runs of a cross-validation.

    Args:
        path: The folder.
        choices: The choices of all runs, in the form of `RunConfig.of`.
        threads: Number of threads of each run.
        n_folds: Number of folds.
    """

    def __init__(self, path: Path, choices: Mapping[str, Any], threads: int, n_folds: int) -> None:
        self.path = path
        self.choices = dict(choices)
        self.threads = threads
        self.n_folds = n_folds

    @classmethod
    def open(cls, path: Path, choices: Mapping[str, Any], threads: int) -> "FoldStudy":
        """Begin or continue a cross-validation.

        Args:
            path: The folder; new, empty, or with the same study.
            choices: As in `RunConfig.of`, with `data.folds` or `data.leave_one_out`.
            threads: Number of threads of each run.

        Raises:
            ValueError: If a choice is out of its range, the data cannot be used or not be divided
                into these folds, or the folder holds something else; nothing is written.
        """
        choices = RunConfig.of(choices).given()
        config = RunConfig.of(_fold_choices(choices, 1))
        whole_number("folds", "threads", threads, most=MOST_THREADS)
        if config.machine.devices > 1:
            raise ValueError(
                f"machine.devices: folds run side by side, each on one device, got "
                f"{config.machine.devices}: leave the option out."
            )
        study = cls(path, choices, threads, config.option("data.folds") or 0)
        run = begin_study(
            study.file, study.content(), lambda: Run.prepare(study.path / "fold-1", config)
        )
        # Leaving one out, the number of speakers is the number of folds.
        if not study.n_folds:
            study.n_folds = _count_folds(study, config, run)
        # Without a test set, a fold has not read what it would be tested on: another one has.
        check_unchanged(study.folds, most=2)
        return study

    @staticmethod
    def recorded_choices(path: Path) -> dict[str, Any] | None:
        """The choices with which a cross-validation began in a folder, or None without one.

        Raises:
            FileError: If its file is damaged.
        """
        file = path / FILE
        if not file.is_file():
            return None
        choices = parse_json(read_bytes(file), file).get("choices")
        if not isinstance(choices, dict) or not isinstance(choices.get("data"), dict):
            raise FileError(file, "does not hold the choices of folds", "restore or remove it")
        return choices

    @property
    def uses_gpu(self) -> bool:
        """Whether runs are on a GPU, which they would share."""
        accelerator = self.choices.get("machine", {}).get("accelerator", "auto")
        return accelerator != "cpu" and torch.cuda.is_available()

    @property
    def file(self) -> Path:
        """`folds.json`: the choices of the study."""
        return self.path / FILE

    def content(self) -> dict[str, Any]:
        """The content of `folds.json`: everything on which results depend."""
        return {"choices": self.choices, "threads": self.threads}

    @cached_property
    def folds(self) -> list[Fold]:
        """All folds."""
        return [Fold(number, self.path / f"fold-{number}") for number in range(1, self.n_folds + 1)]

    @property
    def has_test(self) -> bool:
        """Whether folds are tested; otherwise, they are validated only."""
        return bool(self.choices.get("data", {}).get("test", True))

    def job(self, fold: Fold) -> Job:
        """What a process needs to run a fold."""
        return str(fold.path), _fold_choices(self.choices, fold.number), self.threads

    def missing(self) -> list[Fold]:
        """Folds that are not finished, or lack files."""
        return [fold for fold in self.folds if not self._is_complete(fold)]

    def _is_complete(self, fold: Fold) -> bool:
        is_tested = not self.has_test or file_of_test(fold.path).is_file()
        return is_tested and RunFolder(fold.path).complete

    @cached_property
    def measure(self) -> str:
        """The measure of the headline, by any finished fold: `"accuracy"`, or `"r2"` for values."""
        finished = (fold for fold in self.folds if RunFolder(fold.path).complete)
        return first_measure(next(finished, self.folds[0]).result)

    @property
    def headline(self) -> str:
        """The number of a result that the study is about, such as `test_accuracy`."""
        return f"{'test' if self.has_test else 'val'}_{self.measure}"

    def summaries(self) -> dict[str, Summary]:
        """Mean and interval of each measure of the test set, or of the validation set."""
        part = "test_" if self.has_test else "val_"
        results = [fold.result for fold in self.folds]
        names = [name for name in results[0] if name.startswith(part) and name != "val_loss"]
        return {
            name: summarize(
                [result[name] for result in results],
                limits=limits_of(name.removeprefix(part)),
            )
            for name in names
            if all(name in result for result in results)
        }

    def confusion(self) -> Indices:
        """The sum of the confusion matrices of all folds, `[C, C]`; empty if there are none."""
        if not self.has_test:
            return np.zeros((0, 0), np.int64)
        total: Indices = np.sum([fold.confusion for fold in self.folds], axis=0)
        return total


def _count_folds(study: FoldStudy, config: RunConfig, run: Run | None) -> int:
    """Number of folds by the facts of the first one, which may have begun or been prepared."""
    first = Fold(1, study.path / "fold-1")
    if not RunFolder(first.path).config.is_file():
        run = run or Run.prepare(first.path, config)
        return run.config.facts.n_folds
    return max(1, first.facts.n_folds)


def run_fold(job: Job) -> None:
    """Finish the run of a fold, and store its test."""
    run_cell(job)
    _, choices, _ = job
    if choices["data"].get("test", True):
        evaluate_cell(job)


def _fold_choices(choices: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {**choices, "data": {**choices.get("data", {}), "fold": number}}
