"""The cells of a study: runs of `nwave train` side by side, and what a process does with one."""

import contextlib
import io
import os
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from nwavesdk.analysis.study.search_file import flat
from nwavesdk.internal.files import FileError, FileWriteError, one_line
from nwavesdk.internal.formats import read_sealed, write_sealed
from nwavesdk.train import BrokenRunError, Run, RunFolder
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.run_folder import BusyError

__all__ = [
    "MEASURES",
    "Cell",
    "Course",
    "CrashError",
    "Job",
    "PausedError",
    "first_measure",
    "log_beside",
    "open_cell",
    "run_cell",
    "test_cell",
]

# The first measure of each kind of task, and its name in texts.
MEASURES = {"accuracy": "accuracy", "r2": "R²"}

# Classes of the largest confusion matrix that is stored.
MAX_CLASSES = 200

# Path, choices in the form of `RunConfig.of`, and number of threads of a cell; and the epoch until
# which it is trained for now, or None.
Job = tuple[str, Mapping[str, Any], int, int | None]

# The score after each epoch so far; and whether the cell has ended, then also the score of the
# epoch that is kept.
Course = tuple[list[float], bool]


class CrashError(RuntimeError):
    """A cell failed, in one line; its log has the whole error."""


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Args:
        name: Its name, for lines and errors.
        path: Folder of the run.
        changes: What it changes in the choices of the study.
        arm: The cells with which it is averaged.
        error: Why it crashed, in one line.
    """

    name: str
    path: Path
    changes: Mapping[str, Any]
    arm: str
    error: str = ""

    @property
    def folder(self) -> RunFolder:
        """The files of the run."""
        return RunFolder(self.path)

    @property
    def test_file(self) -> Path:
        """The file with its test, which is apart from its training."""
        return self.path / "test.json"

    @property
    def values(self) -> dict[str, Any]:
        """What it changes, by the full names of fields."""
        return flat(self.changes)

    @property
    def facts(self) -> dict[str, Any]:
        """Recordings of each set, and the speakers that it is tested on, if it has begun."""
        if not self.folder.config.is_file():
            return {}
        facts = self.folder.read_config().facts
        tested = {"tested": list(facts.tested)} if facts.tested else {}
        return {"recordings": list(facts.recordings), **tested}

    @property
    def numbers(self) -> dict[str, Any]:
        """Its result and its test; those of its last epoch, if it has not finished.

        Raises:
            FileError: If a file is damaged.
        """
        if not self.folder.complete or self.error:
            epochs = self.metrics()
            return {**epochs[-1], "epochs": len(epochs)} if epochs else {}
        result = self.folder.read_result()
        if self.test_file.is_file():
            try:
                result |= read_sealed(self.test_file, self.folder.identity)
            except FileError as error:
                remedy = "remove it; the same command writes it again"
                raise FileError(self.test_file, error.fault, remedy) from None
        return result

    def metrics(self) -> list[dict[str, float]]:
        """The metrics of each epoch so far; none of a cell that crashed.

        Raises:
            FileError: If they are missing or damaged.
        """
        return [] if self.error else self.folder.read_metrics()


def first_measure(result: Mapping[str, Any]) -> str:
    """The measure by which runs are compared: `"accuracy"`, or `"r2"` for values.

    Args:
        result: The content of `result.json`, or a row of `metrics.csv`.
    """
    return next(name for name in MEASURES if f"val_{name}" in result)


def open_cell(path: Path, choices: Mapping[str, Any]) -> Run:
    """The run of a cell that has begun, with the file of its net, if its choices name one."""
    return Run.open(path, choices.get("net", {}).get("page"))


class PausedError(Exception):
    """A cell has reached the epoch until which it is trained for now."""


def run_cell(job: Job) -> Course:
    """Finish the run of a cell: begin it, resume it, or leave it unchanged if it is finished.

    Returns:
        Its scores on the validation set, and whether it has finished; see `Course`.
    """
    path, choices, threads, until = job
    torch.set_num_threads(threads)
    folder = RunFolder(path)
    with log_beside(folder.path), contextlib.suppress(PausedError):
        if not folder.complete:
            is_begun = folder.config.is_file()
            run = open_cell(folder.path, choices) if is_begun else Run.new(path, choices)
            # A run that has all of its epochs is finished, whatever it was asked for.
            last = run.config.learning.epochs
            pauses = range(until or last, last)

            def pause(row: Mapping[str, float]) -> None:
                if row["epoch"] in pauses:
                    raise PausedError

            if not folder.metrics.is_file() or len(folder.read_metrics()) not in pauses:
                run.train(pause)
    rows = folder.read_metrics()
    kept = [folder.read_result()] if folder.complete else []
    return [row[f"val_{first_measure(row)}"] for row in [*rows, *kept]], folder.complete


def test_cell(job: Job) -> None:
    """Test the finished run of a cell, and store what it gave."""
    path, choices, threads, _ = job
    torch.set_num_threads(threads)
    with log_beside(Path(path)):
        run = open_cell(Path(path), choices)
        net, task = run.trained()
        with use_arithmetic(run.config.arithmetic):
            test = evaluate_net(net, task, run.test_set, run.config.learning.batch_size)
        has_confusion = 0 < len(run.classes) <= MAX_CLASSES
        numbers = {
            **test.named_measures("test"),
            **test.layers(),
            "confusion": test.tally.tolist() if has_confusion else [],
        }
        write_sealed(Path(path, "test.json"), numbers, run.folder.identity)


@contextlib.contextmanager
def log_beside(path: Path) -> Iterator[None]:
    """Write what this process prints to `PATH.log`, and shorten its errors.

    A log that cannot be written costs nothing else.

    Raises:
        BrokenRunError: If the cell cannot go on for a reason that is not its own.
        CrashError: If it failed; the log has the whole error.
    """

    def open_log(name: str, flags: int) -> int:
        # Neither through a link, nor waiting for the reader of a pipe.
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.open(name, flags, 0o666)

    log: TextIO = io.StringIO()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = open(  # noqa: SIM115  # closed below
            path.with_suffix(".log"), "a", 1, errors="backslashreplace", opener=open_log
        )
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield
    except BusyError:
        raise
    except Exception as error:  # whatever a net or a loss raises
        if isinstance(error, FileWriteError) or isinstance(error.__cause__, FileWriteError):
            raise BrokenRunError(one_line(error)) from None
        with contextlib.suppress(OSError):
            traceback.print_exc(file=log)
        is_clear = isinstance(error, ValueError | OSError | BrokenRunError)
        kind = "" if is_clear else f"{type(error).__name__}: "
        raise CrashError(f"{kind}{one_line(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            log.close()
