"""The course of a run: training from its checkpoint, the test, the result and the report.

Design requirements:

- One process trains a run; Lightning starts the other processes of a data-parallel one.
- A result that was computed is kept: no log, picture or page that fails ends a run.
- What the user can mend, such as a full disk, ends in one line, and `--resume` continues to the
  same bits.
"""

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from nwavesdk.internal.files import (
    FileError,
    FileWriteError,
    check_folder,
    check_target,
    one_line,
    write_atomically,
)
from nwavesdk.internal.processes import TERMINATED, die_with_the_parent
from nwavesdk.layers import project
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.presets.lif import hidden_gain
from nwavesdk.train.config.facts import Origin
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.checkpoint import (
    AtomicCheckpointIO,
    EpochCheckpoint,
    Patience,
    Selection,
    damaged_checkpoint,
)
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.learner import Learner
from nwavesdk.train.fit.loaders import Loaders
from nwavesdk.train.fit.machine import check_processes, is_first_process, precision_plugins
from nwavesdk.train.fit.model_file import save_model
from nwavesdk.train.fit.network import RunNet
from nwavesdk.train.fit.progress import (
    EventLog,
    History,
    StepBar,
    print_line,
    report_lost_log,
)
from nwavesdk.train.fit.tasks import TrainingTask
from nwavesdk.train.report.costs import describe_run
from nwavesdk.train.report.task_reports import FinishedRun
from nwavesdk.train.report.write import write_report
from nwavesdk.train.run_folder import BrokenRunError

if TYPE_CHECKING:
    from nwavesdk.train.run import Run

__all__ = ["OnEpoch", "train_run"]

# What is called with the metrics of an epoch.
OnEpoch = Callable[[Mapping[str, float]], None]

LOST_PROCESS = (
    "another process of the run ended or does not answer (its own error, if it had time for one, "
    "is above): --resume continues the run after its last epoch."
)

# Lightning's warnings that do not apply: data are in memory, and checkpoints may be moved.
QUIET = (
    "does not have many workers",
    "LeafSpec.*deprecated",  # a torch that is newer than Lightning
    "Checkpoint directory .* exists",
    "The dirpath has changed",
)


def train_run(run: "Run", on_epoch: OnEpoch | None = None) -> dict[str, Any] | None:
    """Train a run, from its checkpoint if there is one, and finish it; see `Run.train`."""
    if not run.folder.finished:
        check_processes(run.config.machine)
    owns_folder = is_first_process()
    if not owns_folder:
        # On a GPU, it would wait for a lost first process for ever.
        die_with_the_parent()

    try:
        with run.folder.lock() if owns_folder else contextlib.nullcontext():
            if owns_folder:
                _check_files(run)
                _print_notes(run)
            with use_arithmetic(run.config.arithmetic):
                return _fit_and_finish(run, on_epoch)
    except SIGTERMException as error:
        # As Lightning raises it, the process would report success.
        raise SystemExit(TERMINATED) from error
    except FileError as error:
        raise BrokenRunError(str(error)) from error
    except FileWriteError as error:
        raise BrokenRunError(f"{error} Then --resume continues the run.") from error
    except RuntimeError as error:
        if DIVERGED not in str(error):
            raise
        cause = str(error).removesuffix(DIVERGED)
        raise BrokenRunError(
            f"{cause}training diverged; begin a new run with a lower learning rate."
        ) from error


def _check_files(run: "Run") -> None:
    """Reject what would be an error after hours of training."""
    folder = run.folder
    if folder.finished and not folder.checkpoint.is_file():
        remedy = "restore it: a finished run is not trained again"
        raise FileError(folder.checkpoint, "does not exist", remedy)
    for file in (folder.checkpoint, folder.metrics, folder.model, folder.result):
        check_target(file)
    check_folder(folder.path / "tensorboard")
    if not folder.net.exists():
        write_atomically(folder.net, run.config.page.content())


def _print_notes(run: "Run") -> None:
    """Print what to know of a new run, or of other versions than those that a run began with."""
    notes = [] if run.folder.checkpoint.is_file() else run.notes
    if changed := ", ".join(run.config.facts.begun_with.changed_versions(Origin.current())):
        notes = [f"the run began with {changed}: the last bits of its weights may differ", *notes]
    for note in notes:
        print_line(f"nwave: note: {note}")


def _fit_and_finish(run: "Run", on_epoch: OnEpoch | None) -> dict[str, Any] | None:
    config, chip = run.config, run.config.chip
    mismatch = chip is not None and chip.training == "mismatch"
    is_resumed = run.folder.checkpoint.is_file()
    net = (run.network if is_resumed else run.first_network)(mismatch=mismatch)
    task = run.fitted_task()
    gain = hidden_gain(config.net) if config.net.name == "lif" else 1.0
    model = Learner(net, task, config.learning, config.seed, chip=chip, charge_gain=gain)
    if config.machine.precision == "64-true":
        # Lightning does so after it has loaded a checkpoint, which then loses digits.
        model.double()

    history = History(run.folder.metrics, run.task.batch_score_name)
    selection = Selection(task.score, keeps_last=config.learning.keep == "last")
    trainer = _trainer(run, history, selection, on_epoch)
    _fit(run, trainer, model, history)
    if not trainer.is_global_zero:
        return None

    history.write()
    net = run.network(deployed=True).to(model.device)
    model.net = net
    model.load_state_dict(selection.weights)
    if chip is not None and chip.training == "plain":
        project(net)
    save_model(run.folder.model, net, run.data.standard, run.folder.identity, task.targets)
    return _finish(run, net, task, history, selection)


def _fit(run: "Run", trainer: Trainer, model: Learner, history: History) -> None:
    """Train until the last epoch, or until patience ends it."""
    checkpoint = run.folder.checkpoint
    resumed = checkpoint if checkpoint.is_file() else None
    with _quiet_lightning():
        try:
            trainer.fit(model, Loaders(run.data, run.config), ckpt_path=resumed)
        except Exception as error:
            if isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error):
                raise BrokenRunError(LOST_PROCESS) from error
            is_restored = resumed is None or history.epoch_start > 0
            if is_restored or isinstance(error, FileError | OSError):
                raise
            # A damaged file can raise anything.
            raise damaged_checkpoint(checkpoint, error) from error


def _trainer(
    run: "Run", history: History, selection: Selection, on_epoch: OnEpoch | None
) -> Trainer:
    machine, learning = run.config.machine, run.config.learning
    plugins = precision_plugins(machine)

    def on_saved() -> None:
        if on_epoch is not None:
            on_epoch(history.rows[-1])

    # The bar ends before the history prints the last epoch.
    callbacks: list[Callback] = [StepBar(leave=False)] if sys.stderr.isatty() else []
    callbacks += [
        history,
        selection,
        EpochCheckpoint(run.folder.checkpoint, on_saved),
    ]
    if learning.patience is not None:
        callbacks.append(Patience(learning.patience))
    with _quiet_lightning():
        return Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.nodes,
            max_epochs=learning.epochs,
            gradient_clip_val=learning.clip,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO(run.config.identity()), *plugins],
            precision=None if plugins else machine.precision,
            logger=EventLog(run.folder.path),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the loaders share sets between processes
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            default_root_dir=run.folder.path,
        )


def _finish(
    run: "Run",
    net: RunNet,
    task: TrainingTask,
    history: History,
    selection: Selection,
) -> dict[str, Any]:
    """Test the net, and write the result and, last, the report."""
    has_test = run.config.data.test
    tested = run.data.test if has_test else run.data.val
    batch_size = run.config.learning.batch_size
    evaluated = evaluate_net(net, task, tested, batch_size)

    best = history.rows[selection.epoch]
    lowest = min(history.rows, key=lambda row: row["val_loss"])
    measures = [f"val_{name}" for name in (*evaluated.measures, "loss")]
    result = {
        **(evaluated.named_measures("test") if has_test else {}),
        **{name: round(best[name], 6) for name in measures if name in best},
        "seed": run.config.seed,
        "seconds": round(sum(row["seconds"] for row in history.rows), 2),
        "epochs": len(history.rows),
        "best_epoch": selection.epoch + 1,
        "lowest_loss": round(lowest["val_loss"], 6),
        "lowest_loss_epoch": int(lowest["epoch"]),
        "rates": list(evaluated.rates),
        "dead": list(evaluated.dead),
        "saturated": list(evaluated.saturated),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }
    if (chip := run.config.chip) is not None and chip.training == "plain":
        validated = evaluate_net(net, task, run.data.val, batch_size).measures
        result[f"projected_{task.batch_score_name}"] = round(validated[task.batch_score_name], 6)
    fields, operations = describe_run(run.data, task, net, evaluated, reads_test=has_test)
    result |= fields
    run.folder.write_result(result)

    try:
        finished = FinishedRun(
            folder=run.folder,
            config=run.config,
            data=run.data,
            net=net,
            task=task,
            history=history.rows,
            evaluation=evaluated,
            result=result,
            operations=operations,
            notes=(*run.data.notes, *run.notes),
        )
        write_report(finished)
    except Exception as error:  # Whatever a picture raises, the run is finished.
        print_line(
            f"nwave: warning: the run is finished, but {run.folder.report} was not written "
            f"({one_line(error)}): `nwave train --resume` writes it again."
        )
    return result


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hide Lightning's advice, and keep standard output free for the result."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(sys.stderr),
            mock.patch.object(threading, "excepthook", report_lost_log),
            # Lightning's launcher changes variables, and would change the threads of the run.
            mock.patch.dict(os.environ, OMP_NUM_THREADS=str(torch.get_num_threads())),
        ):
            for advice in QUIET:
                warnings.filterwarnings("ignore", message=f".*{advice}")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
