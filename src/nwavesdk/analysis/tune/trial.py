"""What a process does with one trial: run it, report each epoch, and describe how it ended."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nwavesdk.analysis.cells import Job, open_cell
from nwavesdk.analysis.tested import first_measure
from nwavesdk.analysis.tune.folder import Ended, Report
from nwavesdk.internal.files import FileWriteError, one_line
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.run_folder import BusyError

__all__ = ["ended_by", "run_trial"]


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
        return ended_by(error)
    return "finished", ""


def ended_by(error: Exception) -> Ended:
    """How a trial ended that raised an error; its log gets the whole of it."""
    if isinstance(error, FileWriteError) or isinstance(error.__cause__, FileWriteError):
        return "broken", one_line(error)
    for line in "".join(traceback.format_exception(error)).splitlines():
        print_line(line)
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return "crashed", f"{kind}{one_line(error)}"


def _finish_run(folder: RunFolder, choices: Mapping[str, Any], report: Report) -> None:
    if folder.complete:
        return
    is_begun = folder.config.is_file()
    run = open_cell(folder.path, choices) if is_begun else Run.new(folder.path, choices)
    reported = 0

    def report_row(row: Mapping[str, float]) -> None:
        nonlocal reported
        epoch = int(row["epoch"])
        if reported < epoch < run.config.learning.epochs:
            reported = epoch
            # As in metrics.csv, so that a resumed trial reports the same number.
            report(epoch, float(f"{row[f'val_{first_measure(row)}']:.6g}"))

    if is_begun and folder.metrics.is_file():
        for row in folder.read_metrics():
            report_row(row)
    run.train(report_row)
