"""`nwave tune`: a search over the settings of runs, and the test of the best run."""

import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

from nwavesdk.analysis.study.cells import (
    MEASURES,
    MISSES,
    Cell,
    first_measure,
    run_cell,
    test_cell,
)
from nwavesdk.analysis.study.executors import Executor
from nwavesdk.analysis.study.report import cell_table, draw_optuna
from nwavesdk.analysis.study.search import ERROR, Search, state_of
from nwavesdk.analysis.study.search_file import TuneConfig, nested, sample_values
from nwavesdk.analysis.study.study import begin_study, has_begun
from nwavesdk.internal.checks import shown
from nwavesdk.internal.imports import require
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.config import merge_choices
from nwavesdk.train.report.page import Picture, Section, Table
from nwavesdk.train.run_folder import lock

__all__ = ["RunSearch"]

FILE = "tune.json"

# The importance of fields is drawn from this many finished trials on: with fewer, it is mostly
# noise.
MIN_IMPORTANCE = 8


class RunSearch(Search):
    """A search whose trials are runs of `nwave train`. Only the best trial reads the test set.

    Args:
        path: The folder.
        config: The content of the file of the search, with absolute paths.
    """

    def __init__(self, path: Path, config: TuneConfig) -> None:
        self.config = config
        # Results do not depend on the folder, so `out` is not part of the description.
        super().__init__(
            path,
            file=FILE,
            content=config.model_dump(mode="json", exclude={"search": {"out"}}),
            settings=config.search,
            space=config.distributions,
            work=run_cell,
            choices=self._choices,
        )

    @classmethod
    def open(cls, path: Path, config: TuneConfig) -> "RunSearch":
        """Begin or continue a search. The folder must be new, empty, or hold the same search.

        Raises:
            ValueError: If the data cannot be used or have changed since the search began, or the
                folder holds other files; nothing is written.
        """
        search = cls(path, config)
        run = None if has_begun(search.file) else search._check_values()
        folders = [RunFolder(search.path_of(number)) for number in range(config.search.trials)]
        begin_study(search.file, search.content, run, folders)
        return search

    def _check_values(self) -> Run:
        """Prepare a run for each sample of the space, without training; return the first run.

        Raises:
            ValueError: If a run cannot begin. The message names the values.
        """
        first, *others = sample_values(self.space)
        run = Run.prepare(self.path, self.choices(first))
        for values in others:
            try:
                # Notes of all runs but the first would repeat its notes.
                with redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
                    Run.prepare(self.path, self.choices(values))
            except ValueError as error:
                changes = [f"space.{n}: got {shown(v)}" for n, v in values.items() if v != first[n]]
                raise ValueError(f"{', '.join(changes)}, which cannot be used: {error}") from error
        return run

    def _choices(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a trial's run, in the form of `RunConfig.of`."""
        # A trial runs on CPUs, unless the file sets another accelerator.
        run = merge_choices({"machine": {"accelerator": "cpu"}}, self.config.run)
        fixed = {"data": {"test": False}, "machine": {"threads": self.settings.threads}}
        return merge_choices(merge_choices(run, nested(values)), fixed)

    @property
    def uses_gpu(self) -> bool:
        """Whether each trial needs a GPU."""
        return bool(self._choices({})["machine"]["accelerator"] != "cpu")

    @property
    def has_test(self) -> bool:
        """Whether the best trial is tested."""
        return bool(self.config.run.get("data", {}).get("test", True))

    @property
    def title(self) -> str:
        """The number of trials, and how many have finished, stopped early or crashed."""
        states = [cell.arm for cell in self.cells]
        counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
        return f"{len(states)} trials: {', '.join(counts)}"

    @property
    def summary(self) -> str:
        """How trials are compared, and whether the test set was read."""
        tested = "was read once, by the best one" if self.has_test else "has not been read"
        return f"Trials are compared on the validation set. The test set {tested}."

    @property
    def headline(self) -> tuple[str, str]:
        """The score of the best trial, on the test set if the trial was tested."""
        cell = self.best_cell
        name = f"{'test' if self.has_test else 'val'}_{first_measure(cell.numbers)}"
        return f"{cell.numbers[name]:.4f}", f"{name.replace('_', ' ')} of {cell.name}"

    @property
    def tables(self) -> dict[str, Table]:
        """The best trial: its values and its scores."""
        return {"best": cell_table([self.best_cell], "Best trial", self.summary)}

    @property
    def sections(self) -> list[Section]:
        """The trials as parallel coordinates, and the importance of the fields."""
        plots = require("optuna.visualization.matplotlib", "hpo")
        measure = first_measure(self.best_cell.numbers)
        label = f"{'1 - ' * (measure == MISSES)}validation {MEASURES[measure]}"
        lines = "Each line is a finished trial: its score, and its values."
        pictures = {plots.plot_parallel_coordinate: lines}

        n_finished = sum(cell.arm == "finished" for cell in self.cells)
        if n_finished >= MIN_IMPORTANCE:
            pictures[plots.plot_param_importances] = (
                "How much each field decides whether a trial is among the best (PED-ANOVA of "
                f"Optuna), from {n_finished} finished trials. With few trials, it is mostly noise."
            )

        return [
            Picture(
                plot.__name__.removeprefix("plot_"),
                caption,
                partial(draw_optuna, plot, self.study, label),
            )
            for plot, caption in pictures.items()
        ]

    def cell(self, trial: Any) -> Cell:
        """The run of a trial. Its arm is the state of the trial."""
        return Cell(
            f"trial {trial.number}",
            self.path_of(trial.number),
            changes=nested(self.values_of(trial)),
            arm=state_of(trial),
            error=trial.user_attrs.get(ERROR, ""),
        )

    @property
    def cells(self) -> list[Cell]:
        """The runs of all trials."""
        return [self.cell(trial) for trial in self.trials]

    def rank(self, trial: Any) -> tuple[float, float]:
        """The validation score; the loss decides between equal scores."""
        return trial.value, -self.cell(trial).folder.read_result()["val_loss"]

    @property
    def best_cell(self) -> Cell:
        """The run of the best trial.

        Raises:
            BrokenRunError: If no trial has finished.
        """
        return self.cell(self.best)

    def finish(self, executor: Executor, on_ended: Callable[[Cell], None]) -> None:
        """Run all trials that have not ended, then test the best one; see `Search.finish`."""
        super().finish(executor, lambda trial: on_ended(self.cell(trial)))
        if self.has_test and not self.best_cell.test_file.is_file():
            with lock(self.file, "works on the search"):
                test_cell(self.job(self.best))
