"""A study: surrogates × seeds, one run of `nwave train` a cell, each finished once.

Cells on processes of this machine, or on a Ray cluster: the same function, the same threads, the same results.
"""

import ctypes
import json
import multiprocessing
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from nwavesdk.analysis.compare.statistics import Pair, Summary, compare_pairs, summarize
from nwavesdk.internal.extras import require
from nwavesdk.internal.files import write_atomically
from nwavesdk.train import RunConfig, RunFolder

__all__ = ["Cell", "Study", "finish_on_processes", "finish_on_ray", "run_cell"]


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        arm: name of the surrogate's arm.
        surrogate: the surrogate.
        seed: of the run; arms share it, and with it weights, order, dropout and mismatch.
        path: folder of the run.
    """

    arm: str
    surrogate: str
    seed: int
    path: Path

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return RunFolder(self.path).finished

    @property
    def result(self) -> dict[str, Any]:
        """The numbers of the finished run."""
        return RunFolder(self.path).read_result()

    @property
    def weights_sha256(self) -> str:
        """Hash of the file of the selected weights."""
        return sha256(RunFolder(self.path).model.read_bytes()).hexdigest()


class Study:
    """The folder of a study.

    Args:
        path: The folder.
        surrogates: One for each arm, as `nwave train --surrogate` takes them; one may stand twice.
        seeds: How many seeds, from 0.
        choices: All other choices of a run, as `RunConfig.of` takes them.
        threads: With which each cell computes.
    """

    def __init__(
        self,
        path: Path,
        surrogates: Sequence[str],
        seeds: int,
        choices: Mapping[str, Any],
        threads: int,
    ) -> None:
        self.path, self.seeds, self.choices, self.threads = path, seeds, dict(choices), threads
        self.surrogates = tuple(surrogates)

    @classmethod
    def open(
        cls,
        path: Path,
        surrogates: Sequence[str],
        seeds: int,
        choices: Mapping[str, Any],
        threads: int,
    ) -> "Study":
        """Begin a study, or go on with one: the folder is new, empty, or holds this very study.

        Raises:
            ValueError: A choice is out of its range, there are less than two arms, or the folder holds something else.
        """
        if len(surrogates) < 2:
            raise ValueError(
                f"a comparison needs two surrogates or more, got {list(surrogates)}: separate by commas."
            )
        if seeds < 1 or threads < 1:
            raise ValueError(
                f"a comparison needs one seed and one thread or more, got {seeds} and {threads}."
            )
        full = [RunConfig.of(_with(choices, s, 0)).net.surrogate for s in surrogates]
        study = cls(path, full, seeds, choices, threads)
        file = path / "study.json"
        if file.is_file():
            found = json.loads(file.read_text("utf-8"))
            if found != study.content():
                differ = [key for key, value in study.content().items() if found.get(key) != value]
                raise ValueError(
                    f"{path} holds another study ({', '.join(differ)} differ): choose another --out, or give the "
                    "options with which it began."
                )
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ValueError(
                f"{path} is in use and holds no study: choose a new or empty folder for --out."
            )
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_atomically(file, (json.dumps(study.content(), indent=2) + "\n").encode())
        return study

    def content(self) -> dict[str, Any]:
        """What decides the study, as JSON holds it."""
        content: dict[str, Any] = json.loads(
            json.dumps(
                {
                    "surrogates": self.surrogates,
                    "seeds": self.seeds,
                    "choices": self.choices,
                    "threads": self.threads,
                }
            )
        )
        return content

    @cached_property
    def arms(self) -> dict[str, str]:
        """Name and surrogate of each arm; a surrogate that stands again is numbered."""
        arms: dict[str, str] = {}
        for surrogate in self.surrogates:
            name, again = surrogate, 2
            while name in arms:
                name, again = f"{surrogate} #{again}", again + 1
            arms[name] = surrogate
        return arms

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells, seed by seed, so that an unfinished study has whole seeds."""
        return [
            Cell(name, surrogate, seed, self.path / f"{index}-{_slug(surrogate)}" / f"seed-{seed}")
            for seed in range(self.seeds)
            for index, (name, surrogate) in enumerate(self.arms.items())
        ]

    def job(self, cell: Cell) -> tuple[str, dict[str, Any], int]:
        """What a process needs to finish a cell: path, choices, threads; parts are those of cells that have begun."""
        choices = self.choices
        begun = next(
            (folder for one in self.cells if (folder := RunFolder(one.path)).config.is_file()), None
        )
        if begun is not None:
            choices = {
                **choices,
                "data": {**choices.get("data", {}), "split": begun.read_config().data.split},
            }
        return str(cell.path), _with(choices, cell.surrogate, cell.seed), self.threads

    def missing(self) -> list[Cell]:
        """Cells that are not finished."""
        return [cell for cell in self.cells if not cell.finished]

    def values(self, read: Callable[[Cell], float]) -> dict[str, list[float]]:
        """A number of every cell, by arm and in the order of seeds."""
        return {arm: [read(cell) for cell in self.cells if cell.arm == arm] for arm in self.arms}

    def accuracies(self) -> dict[str, list[float]]:
        """Test accuracies."""
        return self.values(lambda cell: cell.result["test_accuracy"])

    def summaries(self) -> dict[str, Summary]:
        """Each arm by itself."""
        return {arm: summarize(values) for arm, values in self.accuracies().items()}

    def pairs(self) -> list[Pair]:
        """Each arm against each other."""
        return compare_pairs(self.accuracies())


def _with(choices: Mapping[str, Any], surrogate: str, seed: int) -> dict[str, Any]:
    return {**choices, "seed": seed, "net": {**choices.get("net", {}), "surrogate": surrogate}}


def _slug(surrogate: str) -> str:
    return re.sub(r"[^a-z0-9_.]+", "-", surrogate.lower()).strip("-")


Job = tuple[str, dict[str, Any], int]
Told = Callable[[Cell], None]


def run_cell(job: Job) -> None:
    """Finish the run of one cell: begin it, go on from its last epoch, or leave it as it is."""
    import torch

    from nwavesdk.train import Run, RunConfig, RunFolder

    path, choices, threads = job
    torch.set_num_threads(threads)
    folder = RunFolder(Path(path))
    if not folder.finished:
        (
            Run.open(folder.path)
            if folder.config.is_file()
            else Run.new(folder.path, RunConfig.of(choices))
        ).train()


def finish_on_processes(study: Study, cells: Sequence[Cell], jobs: int, told: Told) -> None:
    """Finish cells, `jobs` at a time.

    Raises:
        Exception: The first that a cell raised; other cells that had begun are finished before.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit thread pools
    with ProcessPoolExecutor(
        max(1, min(jobs, len(cells))), context, initializer=_die_with_the_parent
    ) as pool:
        futures = {pool.submit(_quietly, study.job(cell)): cell for cell in cells}
        try:
            for future in as_completed(futures):
                future.result()
                told(futures[future])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def finish_on_ray(study: Study, cells: Sequence[Cell], told: Told) -> None:
    """Finish cells as Ray tasks, on the cluster that Ray finds or on this machine; all must see the study's folder.

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """
    ray = require("ray", "hpo")
    began = not ray.is_initialized()
    if began:
        ray.init(logging_level="error", include_dashboard=False, log_to_driver=False)
    try:
        task = ray.remote(num_cpus=study.threads, max_retries=2)(_quietly)
        waiting = {task.remote(study.job(cell)): cell for cell in cells}
        while waiting:
            done, _ = ray.wait(list(waiting))
            for reference in done:
                ray.get(reference)
                told(waiting.pop(reference))
    finally:
        if began:
            ray.shutdown()


def _quietly(job: Job) -> None:
    """Run a cell with its lines of progress in `train.log`, as cells run side by side."""
    import contextlib

    folder = Path(job[0])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".log"), "a") as log, contextlib.redirect_stderr(log):
        run_cell(job)


def _die_with_the_parent() -> None:
    """A study that is killed must not leave processes behind that write to cells which the next one begins."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_IGN)
