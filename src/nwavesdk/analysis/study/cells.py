"""The cells of a study, each a run of `nwave train`, and the work of a process on a cell."""

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch

from nwavesdk.analysis.study.search_file import flat_settings
from nwavesdk.internal.checks import finite_number
from nwavesdk.internal.files import FileWriteError, check_target, one_line
from nwavesdk.internal.formats import read_sealed, write_sealed
from nwavesdk.train import BrokenRunError, Run, RunFolder
from nwavesdk.train.run_folder import BusyError, reading_run_file

__all__ = [
    "MEASURES",
    "MISSES",
    "Cell",
    "Course",
    "CrashError",
    "Job",
    "Report",
    "first_measure",
    "log_beside",
    "open_cell",
    "run_cell",
    "run_job",
    "test_cell",
]

# The first measure of each kind of task, and its display name. Only the result of a detector has
# misses, of which fewer are better; its epochs have the balanced accuracy of steps.
MISSES = "misses"
MEASURES = {
    "accuracy": "accuracy",
    "r2": "R²",
    MISSES: MISSES,
    "balanced_accuracy": "balanced accuracy",
}

# Path of a cell, its settings in the form of `RunConfig.of`, its number of threads, and the epoch
# after which it pauses; None if it does not.
Job = tuple[str, Mapping[str, Any], int, int | None]

# The score after each epoch so far, and whether the cell has ended. If it has, the score of the
# selected epoch takes the place of the score of the last epoch.
Course = tuple[list[float], bool]

# A function that is called after each epoch but the last with its number and its score. If a
# training continues, it is first called for all earlier epochs. An exception in it ends the
# training.
Report = Callable[[int, float], None]

# A function that trains with choices in a folder, and returns the score of the selected epoch.
Train = Callable[[Mapping[str, Any], Path, Report], float]


class CrashError(RuntimeError):
    """A cell failed. The message has one line; the log of the cell has the whole error."""


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Args:
        name: Name of the cell in lines and errors.
        path: Folder of the run.
        changes: Settings of the cell that differ from the settings of the study.
        arm: Name of the group of cells over which results are averaged.
        error: The error in one line if the cell crashed.
    """

    name: str
    path: Path
    _: KW_ONLY
    changes: Mapping[str, Any]
    arm: str
    error: str = ""

    @property
    def folder(self) -> RunFolder:
        """The files of the run."""
        return RunFolder(self.path)

    @property
    def test_file(self) -> Path:
        """The file with the result of the test, which follows the training as a separate job."""
        return self.path / "test.json"

    @property
    def values(self) -> dict[str, Any]:
        """The changed settings, by the full names of fields."""
        return flat_settings(self.changes)

    @property
    def facts(self) -> dict[str, Any]:
        """Number of recordings of each set, and speakers of the test set; empty before the run."""
        if not self.folder.config.is_file():
            return {}
        facts = self.folder.read_config().facts
        tested = {"tested": list(facts.tested)} if facts.tested else {}
        return {"recordings": list(facts.recordings), **tested}

    @property
    def numbers(self) -> dict[str, Any]:
        """The result and the test of the cell, or the metrics of its last epoch before it finishes.

        Raises:
            FileError: If a file is damaged.
        """
        if not self.folder.complete or self.error:
            epochs = self.metrics()
            return {**epochs[-1], "epochs": len(epochs)} if epochs else {}

        result = self.folder.read_result()
        if self.test_file.is_file():
            # The test can be repeated, so the file need not be restored.
            remedy = "remove it; the same command writes it again"
            with reading_run_file(self.test_file, "is not the test of a run", remedy):
                result |= read_sealed(self.test_file, self.folder.identity)
        return result

    def metrics(self) -> list[dict[str, float]]:
        """The metrics of each epoch so far; empty if the cell crashed.

        Raises:
            FileError: If the file of the metrics is missing or damaged.
        """
        return [] if self.error else self.folder.read_metrics()


def first_measure(result: Mapping[str, Any]) -> str:
    """The measure by which runs are compared: the first of `MEASURES` that a run has.

    Args:
        result: The content of `result.json`, or a row of `metrics.csv`.
    """
    return next(name for name in MEASURES if f"val_{name}" in result)


def score_of(row: Mapping[str, Any]) -> float:
    """The score on the validation set that a search maximizes; of a detector, 1 - misses.

    Args:
        row: The content of `result.json`, or a row of `metrics.csv`.
    """
    measure = first_measure(row)
    value: float = row[f"val_{measure}"]
    return 1 - value if measure == MISSES else value


def open_cell(path: Path, choices: Mapping[str, Any]) -> Run:
    """Open the run of a cell that has begun, with the file of its net if its settings name one."""
    return Run.open(path, choices.get("net", {}).get("page"))


class PausedError(Exception):
    """A cell has reached the epoch after which it pauses."""


def run_job(train: Train, job: Job) -> Course:
    """Begin or continue the training of a job, until it pauses or ends.

    Args:
        train: Trains in a folder. It is called again after each pause, and continues.
        job: The job.

    Returns:
        The scores of all epochs but the last, and whether the training has ended; see `Course`.
    """
    path, choices, threads, until = job
    torch.set_num_threads(threads)
    scores: list[float] = []

    def report(epoch: int, score: float) -> None:
        scores.append(score)
        if epoch == until:
            raise PausedError

    with log_beside(Path(path)), contextlib.suppress(PausedError):
        score = train(choices, Path(path), report)
        return [*scores, finite_number("the trial", "score", score)], True
    return scores, False


def run_cell(job: Job) -> Course:
    """Begin or continue the run of a cell; see `run_job`. A finished run does not change."""
    return run_job(train_run, job)


def train_run(choices: Mapping[str, Any], path: Path, report: Report) -> float:
    """Train a run, or continue it after its last epoch; return the score of the epoch it keeps."""
    folder = RunFolder(path)
    is_begun = folder.config.is_file()
    run = open_cell(path, choices) if is_begun else Run.new(path, choices)

    def report_row(row: Mapping[str, float]) -> None:
        if row["epoch"] < run.config.learning.epochs:
            report(int(row["epoch"]), score_of(row))

    for row in folder.read_metrics() if folder.metrics.is_file() else []:
        report_row(row)
    if not folder.complete:
        run.train(report_row)
    return score_of(folder.read_result())


def test_cell(job: Job) -> None:
    """Test the finished run of a cell, and write the result to its test file."""
    path, choices, threads, _ = job
    torch.set_num_threads(threads)
    with log_beside(Path(path)):
        run = open_cell(Path(path), choices)
        write_sealed(Path(path, "test.json"), run.test(), run.folder.identity)


@contextlib.contextmanager
def log_beside(path: Path) -> Iterator[None]:
    """Redirect the output of this process to `PATH.log`, and shorten its errors to one line.

    Raises:
        BrokenRunError: If the cell cannot continue because of its environment, such as a full disk.
        CrashError: If the cell itself failed; the log has the whole error.
        FileError: If something other than a file has the name of the log.
    """
    file = path.with_suffix(".log")
    check_target(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a", 1, errors="backslashreplace") as log:
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        except BusyError:
            raise
        except Exception as error:  # a net or a loss can raise anything
            if isinstance(error, FileWriteError) or isinstance(error.__cause__, FileWriteError):
                raise BrokenRunError(one_line(error)) from None

            traceback.print_exc(file=log)
            # Our own errors are clear without the name of their class.
            is_clear = isinstance(error, ValueError | OSError | BrokenRunError)
            kind = "" if is_clear else f"{type(error).__name__}: "
            raise CrashError(f"{kind}{one_line(error)}") from None
