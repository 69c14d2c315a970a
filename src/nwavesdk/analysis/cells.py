"""The cells of a study: runs of `nwave train` side by side, which continue after an interruption.

Cells run on processes of this machine or on a Ray cluster: with the same function and the same
number of threads, so with the same results.
"""

import contextlib
import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from nwavesdk.analysis.cluster import finish_tasks
from nwavesdk.analysis.tested import file_of_test, write_tested
from nwavesdk.internal.files import printable, read_bytes
from nwavesdk.internal.formats import parse_json
from nwavesdk.internal.model import differences
from nwavesdk.internal.processes import LOCAL, die_with_the_parent
from nwavesdk.train import BrokenRunError, Run, RunFolder
from nwavesdk.train.data.load import load_run_data
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.run_folder import is_free, lock, write_first

__all__ = [
    "MOST_THREADS",
    "AnyCell",
    "AnyStudy",
    "Job",
    "Work",
    "begin_study",
    "check_unchanged",
    "evaluate_cell",
    "finish_on_processes",
    "finish_on_ray",
    "log_beside",
    "open_cell",
    "run_cell",
]

MOST_THREADS = 1024

# Path, choices in the form of `RunConfig.of`, and number of threads of a cell.
Job = tuple[str, dict[str, Any], int]

# What a process does with a cell.
Work = Callable[[Job], None]


class AnyCell(Protocol):
    """One run of a study, whose name is for lines and errors."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...


C = TypeVar("C", bound=AnyCell)
C_contra = TypeVar("C_contra", bound=AnyCell, contravariant=True)


class AnyStudy(Protocol[C_contra]):
    """A folder with cells, and the file that says what they are."""

    @property
    def file(self) -> Path: ...

    @property
    def threads(self) -> int: ...

    def job(self, cell: C_contra) -> Job:
        """What a process needs to run a cell."""


def begin_study(
    file: Path, content: Mapping[str, Any], prepare: Callable[[], Run | None]
) -> Run | None:
    """Begin or continue a study in the folder of its file.

    What the first run has to say about its data is printed, because all runs have a log of
    their own.

    Args:
        file: The file that describes the study.
        content: Everything on which results depend.
        prepare: One of its runs, or None if it has other ones; raises if the study cannot run.
            Called before anything is written.

    Returns:
        The run that was prepared; None if the study had begun.

    Raises:
        ValueError: If the folder holds something else, or another study.
        FileWriteError: If the file cannot be written.
    """
    run = None
    if not file.exists():
        if not is_free(file.parent):
            raise ValueError(
                f"{printable(file.parent)} is in use and is not a study: choose a new or empty "
                "folder for --out."
            )
        run = prepare()
        with contextlib.suppress(FileExistsError):  # another process was faster
            write_first(file, (json.dumps(content, indent=2) + "\n").encode())
        for note in run.notes if run is not None else ():
            print_line(f"nwave: note: {note}")
    existing = parse_json(read_bytes(file), file)
    expected = json.loads(json.dumps(content))
    if existing != expected:
        texts = [
            f"{name}: got {got!r:.80}, expected {recorded!r:.80}"
            for name, got, recorded in differences(expected, existing)
        ]
        raise ValueError(
            f"{printable(file.parent)} holds another study ({'; '.join(texts)}): choose another "
            "--out, or use the options with which it began."
        )
    return run


def check_unchanged(cells: Sequence[AnyCell], most: int = 1) -> None:
    """Reject data that changed while a study was interrupted: its remaining cells would get others.

    A cell that has begun but is not finished checks its data itself.

    Args:
        cells: All cells of the study.
        most: How many of the cells that have begun to compare with the data.

    Raises:
        ValueError: If the data have changed.
    """
    begun = [cell for cell in cells if RunFolder(cell.path).config.is_file()]
    if len(begun) == len(cells):
        return
    for cell in begun[:most]:
        load_run_data(RunFolder(cell.path).read_config())


def open_cell(path: Path, choices: Mapping[str, Any]) -> Run:
    """The run of a cell that has begun, with the file of its net, if its choices name one."""
    return Run.open(path, choices.get("net", {}).get("page"))


def run_cell(job: Job) -> None:
    """Finish the run of one cell: begin it, resume it, or leave it unchanged if it is finished."""
    path, choices, threads = job
    torch.set_num_threads(threads)
    folder = RunFolder(Path(path))
    if folder.complete:
        return
    if folder.config.is_file():
        open_cell(folder.path, choices).train()
    else:
        Run.new(folder.path, choices).train()


def evaluate_cell(job: Job) -> None:
    """Test the finished run of a cell, unless it has been tested."""
    path, choices, threads = job
    torch.set_num_threads(threads)
    if not file_of_test(Path(path)).is_file():
        write_tested(open_cell(Path(path), choices))


def finish_on_processes(
    study: AnyStudy[C],
    cells: Sequence[C],
    jobs: int,
    on_finished: Callable[[C], None],
    work: Work = run_cell,
) -> None:
    """Finish cells on `jobs` processes of this machine.

    Args:
        study: Their study.
        cells: The cells.
        jobs: Number of processes.
        on_finished: Called with each cell when it is finished.
        work: What a process does with a cell; a function of a module.

    Raises:
        BrokenRunError: The first error of a cell that the user can fix; it names the cell. Other
            cells that have begun finish before. Also if another process works on the study.
        Exception: Another error of a cell.
    """
    context = multiprocessing.get_context("spawn")  # A fork would inherit thread pools.
    workers = max(1, min(jobs, len(cells)))
    with (
        lock(study.file, "works on the study"),
        ProcessPoolExecutor(workers, context, initializer=die_with_the_parent) as pool,
    ):
        futures = {pool.submit(_work_with_log, work, study.job(cell)): cell for cell in cells}
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


def finish_on_ray(
    study: AnyStudy[C],
    cells: Sequence[C],
    on_finished: Callable[[C], None],
    work: Work = run_cell,
    address: str = LOCAL,
) -> None:
    """Finish cells as Ray tasks; all machines of the cluster must see the study's folder.

    Args:
        study: Their study.
        cells: The cells.
        on_finished: Called with each cell when it is finished.
        work: What a task does with a cell; a function of a module.
        address: The cluster; see `join_ray`.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        BrokenRunError: See `finish_on_processes`. Cells that have begun are stopped; the same
            command continues them.
    """
    jobs = [study.job(cell) for cell in cells]
    tasks = finish_tasks(partial(_work_with_log, work), jobs, study.threads, address)
    with lock(study.file, "works on the study"), contextlib.closing(tasks):
        for task in tasks:
            cell = cells[task.place]
            with _name_cell(cell):
                task.result()
            on_finished(cell)


@contextlib.contextmanager
def _name_cell(cell: AnyCell) -> Iterator[None]:
    """Name the cell in errors that the user can fix."""
    try:
        yield
    except BrokenProcessPool:
        raise BrokenRunError(
            "a process of the study was killed, perhaps because memory did not suffice: the same "
            "command continues the study; give it fewer --jobs."
        ) from None
    except (ValueError, OSError, BrokenRunError) as error:
        raise BrokenRunError(f"{cell.name}: {error}") from error


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


def _work_with_log(work: Work, job: Job) -> None:
    """Work on a cell and write its progress to a log file, because cells run side by side."""
    with log_beside(Path(job[0])):
        work(job)


def log_beside(path: Path) -> contextlib.AbstractContextManager[Any]:
    """Write what this process prints on standard error to `PATH.log` instead."""
    return contextlib.redirect_stderr(_CellLog(path.with_suffix(".log")))
