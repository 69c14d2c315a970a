"""What a process does with one trial: run it, report each epoch, and describe how it ended."""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from nwavesdk.analysis.cells import Job
from nwavesdk.analysis.tune.study import measure_of
from nwavesdk.internal.files import FileWriteError, one_line
from nwavesdk.train import Run, RunConfig, RunFolder
from nwavesdk.train.progress import print_line
from nwavesdk.train.run_folder import BusyError

__all__ = ["Ended", "Report", "run_trial"]

# What is called with the number of an epoch and its validation score; it may end the trial.
Report = Callable[[int, float], None]

# State of a trial that ended, and the reason of a crash. A trial that is "broken" cannot go on now,
# for a reason that is not its own, such as a full disk.
Ended = tuple[str, str]


def run_trial(job: Job, report: Report) -> Ended:
    """Finish the run of a trial: begin it, resume it, or leave it unchanged if it is finished.

    Epochs from before an interruption are reported again, and the last one is not, so that nothing
    stops a run that has all of its epochs.

    Args:
        job: The run.
        report: Called after each epoch.

    Returns:
        How it ended.

    Raises:
        BusyError: If another process runs it.
    """
    path, choices, threads = job
    torch.set_num_threads(threads)
    folder = RunFolder(Path(path))
    try:
        _finish_run(folder, choices, report)
    except BusyError:
        raise
    except Exception as error:  # whatever a net or a loss raises
        if isinstance(error, FileWriteError) or isinstance(error.__cause__, FileWriteError):
            return "broken", one_line(error)
        for line in traceback.format_exc().splitlines():
            print_line(line)
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return "crashed", f"{kind}{one_line(error)}"
    return "finished", ""


def _finish_run(folder: RunFolder, choices: Mapping[str, Any], report: Report) -> None:
    if folder.complete:
        return
    is_begun = folder.config.is_file()
    run = (
        Run.open(folder.path, choices.get("net_file"))
        if is_begun
        else Run.new(folder.path, RunConfig.of(choices))
    )
    reported = 0

    def report_row(row: Mapping[str, float]) -> None:
        nonlocal reported
        epoch = int(row["epoch"])
        if reported < epoch < run.config.learning.epochs:
            reported = epoch
            # As in metrics.csv, so that a resumed trial reports the same number.
            report(epoch, float(f"{row[f'val_{measure_of(row)}']:.6g}"))

    if is_begun and folder.metrics.is_file():
        for row in folder.read_metrics():
            report_row(row)
    run.train(report_row)
