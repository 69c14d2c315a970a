"""A study: surrogates × seeds, with one run of `nwave train` for each cell.

Cells run on processes of this machine or on a Ray cluster: with the same function and the same
number of threads, so with the same results.
"""

import contextlib
import ctypes
import io
import json
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from nwavesdk.analysis.compare.statistics import Pair, Summary, compare_pairs, summarize
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.files import printable, read_bytes
from nwavesdk.internal.formats import parse_json
from nwavesdk.internal.imports import require
from nwavesdk.internal.model import differences
from nwavesdk.train import BrokenRunError, Run, RunConfig, RunFolder
from nwavesdk.train.model_file import check_model_seal
from nwavesdk.train.run_folder import is_free, lock, write_first

__all__ = ["Cell", "Study", "finish_on_processes", "finish_on_ray", "run_cell"]

# Bounds exclude mistakes; a study of so many seeds would never end.
MOST_SEEDS = 10_000
MOST_THREADS = 1024

# Largest file of weights that is read [bytes].
MOST_MODEL_BYTES = 2**32


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        arm: Name of the surrogate's arm.
        surrogate: The surrogate.
        seed: Seed of the run. Arms with the same seed share initial weights, order of data, dropout
            and mismatch.
        path: Folder of the run.
    """

    arm: str
    surrogate: str
    seed: int
    path: Path

    @property
    def result(self) -> dict[str, Any]:
        """The numbers of the finished run."""
        return RunFolder(self.path).read_result()

    @property
    def weights_sha256(self) -> str:
        """Hash of the file of the selected weights.

        Raises:
            FileError: If the file cannot be read, or is damaged.
        """
        folder = RunFolder(self.path)
        content = read_bytes(folder.model, MOST_MODEL_BYTES)
        check_model_seal(content, folder.model, folder.identity)
        return sha256(content).hexdigest()


class Study:
    """A folder with the runs of a study.

    Args:
        path: The folder.
        surrogates: One for each arm, in the form of `nwave train --surrogate`. A surrogate may
            occur twice.
        seeds: Number of seeds; they count from 0.
        choices: All other choices of a run, in the form of `RunConfig.of`.
        threads: Number of threads of each run.
    """

    def __init__(
        self,
        path: Path,
        surrogates: Sequence[str],
        seeds: int,
        choices: Mapping[str, Any],
        threads: int,
    ) -> None:
        self.path = path
        self.surrogates = tuple(surrogates)
        self.seeds = seeds
        self.choices = dict(choices)
        self.threads = threads

    @classmethod
    def open(
        cls,
        path: Path,
        surrogates: Sequence[str],
        seeds: int,
        choices: Mapping[str, Any],
        threads: int,
    ) -> "Study":
        """Begin or continue a study. The folder must be new, empty, or hold the same study.

        Raises:
            ValueError: If a choice is out of its range, if there are fewer than two arms, if the
                data cannot be used, or if the folder holds something else; nothing is written.
        """
        if len(surrogates) < 2:
            raise ValueError(
                f"a comparison needs at least two surrogates, got {list(surrogates)}: separate "
                "them by commas."
            )
        whole_number("compare", "seeds", seeds, most=MOST_SEEDS)
        whole_number("compare", "threads", threads, most=MOST_THREADS)
        configs = [RunConfig.of(_cell_choices(choices, s, 0)) for s in surrogates]
        study = cls(path, [config.net.surrogate for config in configs], seeds, choices, threads)
        file = study.file
        if not file.exists():
            if not is_free(path):
                raise ValueError(
                    f"{printable(path)} is in use and is not a study: choose a new or empty "
                    "folder for --out."
                )
            # All cells have the same data: an error of each cell is one of the whole study.
            Run.prepare(study.cells[0].path, configs[0])
            with contextlib.suppress(FileExistsError):  # another process was faster
                write_first(file, (json.dumps(study.content(), indent=2) + "\n").encode())
        study._require_equal(parse_json(read_bytes(file), file))
        return study

    @property
    def file(self) -> Path:
        """`study.json`: the choices of the study."""
        return self.path / "study.json"

    def _require_equal(self, existing: dict[str, Any]) -> None:
        content = json.loads(json.dumps(self.content()))
        if existing != content:
            texts = [
                f"{name}: got {got!r:.80}, expected {expected!r:.80}"
                for name, got, expected in differences(content, existing)
            ]
            raise ValueError(
                f"{printable(self.path)} holds another study ({'; '.join(texts)}): choose another "
                "--out, or use the options with which it began."
            )

    def content(self) -> dict[str, Any]:
        """The content of `study.json`: everything on which results depend."""
        return {
            "surrogates": self.surrogates,
            "seeds": self.seeds,
            "choices": self.choices,
            "threads": self.threads,
        }

    @cached_property
    def arms(self) -> dict[str, str]:
        """Name and surrogate of each arm; a repeated surrogate gets a number."""
        arms: dict[str, str] = {}
        for index, surrogate in enumerate(self.surrogates):
            count = self.surrogates[: index + 1].count(surrogate)
            arms[surrogate if count == 1 else f"{surrogate} #{count}"] = surrogate
        return arms

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells, seed by seed, so that an unfinished study has complete seeds."""
        folders = [
            self.path / f"{index}-{re.sub(r'[^a-z0-9_.]+', '-', surrogate.lower()).strip('-')}"
            for index, surrogate in enumerate(self.surrogates)
        ]
        return [
            Cell(arm, surrogate, seed, folder / f"seed-{seed}")
            for seed in range(self.seeds)
            for (arm, surrogate), folder in zip(self.arms.items(), folders, strict=True)
        ]

    def job(self, cell: Cell) -> "Job":
        """What a process needs to run a cell: path, choices, threads.

        The split of the data is that of cells that have begun, so that a study of an earlier
        version keeps its split.
        """
        choices = self.choices
        for folder in (RunFolder(cell.path) for cell in self.cells):
            if folder.config.is_file():
                data = {**choices.get("data", {}), "split": folder.read_config().data.split}
                choices = {**choices, "data": data}
                break
        return str(cell.path), _cell_choices(choices, cell.surrogate, cell.seed), self.threads

    def missing(self) -> list[Cell]:
        """Cells that are not finished, or whose finished run lacks files."""
        return [cell for cell in self.cells if not RunFolder(cell.path).complete]

    def accuracies(self) -> dict[str, list[float]]:
        """Test accuracies of each arm, in the order of seeds."""
        return {
            arm: [cell.result["test_accuracy"] for cell in self.cells if cell.arm == arm]
            for arm in self.arms
        }

    def summaries(self) -> dict[str, Summary]:
        """Mean and interval of each arm."""
        return {arm: summarize(values) for arm, values in self.accuracies().items()}

    def pairs(self) -> list[Pair]:
        """The difference of every two arms."""
        return compare_pairs(self.accuracies())


def _cell_choices(choices: Mapping[str, Any], surrogate: str, seed: int) -> dict[str, Any]:
    return {**choices, "seed": seed, "net": {**choices.get("net", {}), "surrogate": surrogate}}


# Path, choices and number of threads of a cell; see `Study.job`.
Job = tuple[str, dict[str, Any], int]

# Called with each cell when it is finished.
OnFinished = Callable[[Cell], None]


def run_cell(job: Job) -> None:
    """Finish the run of one cell: begin it, resume it, or leave it unchanged if it is finished."""
    path, choices, threads = job
    torch.set_num_threads(threads)
    folder = RunFolder(Path(path))
    if folder.complete:
        return
    if folder.config.is_file():
        Run.open(folder.path).train()
    else:
        Run.new(folder.path, RunConfig.of(choices)).train()


def finish_on_processes(
    study: Study, cells: Sequence[Cell], jobs: int, on_finished: OnFinished
) -> None:
    """Finish cells on `jobs` processes of this machine.

    Raises:
        BrokenRunError: The first error of a cell that the user can fix; it names the cell. Other
            cells that have begun finish before. Also if another process works on the study.
        Exception: Another error of a cell.
    """
    context = multiprocessing.get_context("spawn")  # A fork would inherit thread pools.
    workers = max(1, min(jobs, len(cells)))
    with (
        lock(study.file, "works on the study"),
        ProcessPoolExecutor(workers, context, initializer=_die_with_the_parent) as pool,
    ):
        futures = {pool.submit(_run_cell_with_log, study.job(cell)): cell for cell in cells}
        try:
            for future in as_completed(futures):
                with _name_cell(futures[future]):
                    future.result()
                on_finished(futures[future])
        except KeyboardInterrupt:
            # Their last epochs are on disk; waiting for the ends of their runs could take hours.
            for process in multiprocessing.active_children():
                process.kill()
            raise
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def finish_on_ray(study: Study, cells: Sequence[Cell], on_finished: OnFinished) -> None:
    """Finish cells as Ray tasks, on the cluster that Ray finds or on this machine.

    All machines of the cluster must see the study's folder.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        BrokenRunError: See `finish_on_processes`.
    """
    ray = require("ray", "hpo")
    starts_ray = not ray.is_initialized()
    if starts_ray:
        ray.init(logging_level="error", include_dashboard=False, log_to_driver=False)
    try:
        task = ray.remote(num_cpus=study.threads, max_retries=2)(_run_cell_with_log)
        with lock(study.file, "works on the study"):
            pending = {task.remote(study.job(cell)): cell for cell in cells}
            while pending:
                done, _ = ray.wait(list(pending))
                for reference in done:
                    cell = pending.pop(reference)
                    with _name_cell(cell):
                        ray.get(reference)
                    on_finished(cell)
    finally:
        if starts_ray:
            ray.shutdown()


@contextlib.contextmanager
def _name_cell(cell: Cell) -> Iterator[None]:
    """Name the cell in errors that the user can fix."""
    try:
        yield
    except BrokenProcessPool:
        raise BrokenRunError(
            "a process of the study was killed, perhaps because memory did not suffice: the same "
            "command continues the study; give it fewer --jobs."
        ) from None
    except (ValueError, OSError, BrokenRunError) as error:
        reason = getattr(error, "cause", error)  # Ray's error has a traceback in its text
        raise BrokenRunError(f"{cell.arm}, seed {cell.seed}: {reason}") from error


class _CellLog(io.TextIOBase):
    """The progress of a cell, in a file; a log that cannot be written costs nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> int:
        # Neither through a link, nor waiting for the reader of a pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, flags, 0o666)
            with open(descriptor, "ab", buffering=0) as file:
                file.write(text.encode(errors="backslashreplace"))
        return len(text)


def _run_cell_with_log(job: Job) -> None:
    """Run a cell and write its progress to a log file, because cells run side by side."""
    log = _CellLog(Path(job[0]).with_suffix(".log"))
    with contextlib.redirect_stderr(log):
        run_cell(job)


def _die_with_the_parent() -> None:
    """End this process with its parent.

    Otherwise the processes of a killed study would write to cells that its continuation begins.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_IGN)
