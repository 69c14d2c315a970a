"""The course of a run: training from its checkpoint, the test, the result and the report.

Design requirements:

- One process trains a run.
- A result that was computed is kept: no log, picture or page that fails ends a run.
- What the user can mend, such as a full disk, ends in one line, and `--resume` continues to the
  same bits.
"""

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from nwavesdk.internal.files import (
    FileError,
    FileWriteError,
    check_target,
    one_line,
    write_atomically,
)
from nwavesdk.internal.processes import TERMINATED
from nwavesdk.layers import project
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.presets import LAYERED
from nwavesdk.presets.lif import hidden_gain
from nwavesdk.train.config.facts import Origin
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO, EveryEpoch, damaged_checkpoint
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.learner import Learner, Selection
from nwavesdk.train.fit.loaders import Loaders
from nwavesdk.train.fit.machine import check_precision, check_processes, precision_plugins
from nwavesdk.train.fit.model_file import save_model
from nwavesdk.train.fit.net_file import load_module
from nwavesdk.train.fit.network import RunNet
from nwavesdk.train.fit.processes import (
    LOST_PROCESS,
    is_first_process,
    is_lost_process,
    other_processes,
)
from nwavesdk.train.fit.progress import EventLog, History, print_line, progress_callbacks
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

# Recordings per validation batch if training draws chips; small, so that it uses several.
VAL_BATCH = 16


def train_run(run: "Run", on_epoch: OnEpoch | None = None) -> dict[str, Any] | None:
    """Train a run, from its checkpoint if there is one, and finish it; see `Run.train`."""
    if not run.folder.finished:
        check_processes(run.config.machine)
        check_precision(run.config.machine)
    owns_folder = is_first_process()
    try:
        with run.folder.lock() if owns_folder else contextlib.nullcontext():
            if owns_folder:
                _check_files(run)
                _note_other_versions(run)
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
        what = str(error).removesuffix(DIVERGED)
        raise BrokenRunError(
            f"{what}training diverged; begin a new run with a lower learning rate."
        ) from error


def _check_files(run: "Run") -> None:
    """Reject what would be an error after hours of training."""
    folder = run.folder
    if folder.finished and not folder.checkpoint.is_file():
        remedy = "restore it: a finished run is not trained again"
        raise FileError(folder.checkpoint, "does not exist", remedy)
    for file in (folder.checkpoint, folder.metrics, folder.model, folder.result):
        check_target(file)
    if not folder.net.exists():
        write_atomically(folder.net, run.config.page.content())


def _note_other_versions(run: "Run") -> None:
    """Print a note if the run began with other versions than those of this process."""
    changed = run.config.facts.begun_with.changed_versions(Origin.current())
    if changed:
        print_line(
            f"nwave: note: the run began with {', '.join(changed)}: the last bits of its "
            "weights may differ from those of one version."
        )


def _fit_and_finish(run: "Run", on_epoch: OnEpoch | None) -> dict[str, Any] | None:
    learning = run.config.learning
    chip = run.config.chip
    mismatch = chip is not None and chip.training == "mismatch"
    is_new = not run.folder.checkpoint.is_file()
    net = (run.first_network if is_new else run.network)(mismatch=mismatch)
    gain = hidden_gain(run.config.net) if run.config.net.name == "lif" else 1.0
    task = run.fitted_task()
    model = Learner(net, task, learning, run.config.seed, chip, gain)
    history = History(run.folder.metrics)
    selection = Selection(task.score, learning.patience, keeps_last=learning.keep == "last")
    if is_new and is_first_process():
        for note in run.notes:
            print_line(f"nwave: note: {note}")
    on_saved = None if on_epoch is None else lambda: on_epoch(history.rows[-1])
    every_epoch = EveryEpoch(run.folder.checkpoint, on_saved)
    if run.config.machine.precision == "64-true":
        # Lightning does so after it has loaded a checkpoint, which then loses digits.
        model.double()
    trainer = _fit(run, model, history, selection, every_epoch, mismatch=mismatch)
    if not trainer.is_global_zero:
        return None
    history.write()
    net = run.network(deployed=True).to(model.device)
    net.load_state_dict(
        {
            name.removeprefix("net."): value
            for name, value in selection.weights.items()
            if name.startswith("net.")
        }
    )
    if chip is not None and chip.training == "plain":
        project(net)
    save_model(run.folder.model, net, run.data.standard, run.folder.identity, task.targets)
    return _finish(run, net, task, history, selection)


def _fit(
    run: "Run",
    model: Learner,
    history: History,
    selection: Selection,
    every_epoch: EveryEpoch,
    *,
    mismatch: bool,
) -> Trainer:
    """Train until the last epoch, or until patience ends it."""
    with _quiet_lightning(), other_processes(run.config.machine.devices):
        trainer = _trainer(run, history, selection, every_epoch)
        resumed = every_epoch.path if every_epoch.is_restoring else None
        try:
            trainer.fit(model, _loaders(run, mismatch), ckpt_path=resumed)
        except (FileError, FileWriteError):
            raise
        except Exception as error:
            if is_lost_process(error):
                raise BrokenRunError(LOST_PROCESS) from error
            if every_epoch.is_restoring:  # a damaged file can raise anything
                raise damaged_checkpoint(every_epoch.path, error) from error
            raise
    return trainer


def _loaders(run: "Run", mismatch: bool) -> Loaders:
    config = run.config
    is_layered = config.net.name in LAYERED
    return Loaders(
        run.data,
        config.learning.batch_size,
        config.seed,
        VAL_BATCH if mismatch else None,
        config.machine.workers,
        None if is_layered else partial(load_module, config.page),
        # A page may have batch norms.
        has_batch_norm=not is_layered,
    )


def _trainer(
    run: "Run", history: History, selection: Selection, every_epoch: EveryEpoch
) -> Trainer:
    machine = run.config.machine
    plugins = precision_plugins(machine)
    return Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        max_epochs=run.config.learning.epochs,
        gradient_clip_val=run.config.learning.clip,
        callbacks=[
            history,
            selection,
            *progress_callbacks(history, run.task.batch_score_name),
            every_epoch,
        ],
        plugins=[AtomicCheckpointIO(run.config), *plugins],
        precision=None if plugins else machine.precision,
        logger=EventLog(run.folder.path / "tensorboard"),
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
    evaluated = evaluate_net(net, task, tested, run.config.learning.batch_size)

    best = history.rows[selection.epoch]
    lowest = min(history.rows, key=lambda row: row["val_loss"])
    measures = [f"val_{name}" for name in (*evaluated.measures, "loss")]
    result = {
        **(evaluated.named_measures("test") if has_test else {}),
        **{name: round(best[name], 6) for name in measures if name in best},
        "seed": run.config.seed,
        "seconds": round(history.seconds, 2),
        "epochs": len(history.rows),
        "best_epoch": selection.epoch + 1,
        "lowest_loss": round(lowest["val_loss"], 6),
        "lowest_loss_epoch": int(lowest["epoch"]),
        "rates": list(evaluated.rates),
        "dead": list(evaluated.dead),
        "saturated": list(evaluated.saturated),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        **_projected_score(run, net, task),
    }
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


def _projected_score(run: "Run", net: RunNet, task: TrainingTask) -> dict[str, float]:
    """With plain training for a chip, the validation score after weights were moved."""
    chip = run.config.chip
    if chip is None or chip.training != "plain":
        return {}
    batch_size = run.config.learning.batch_size
    measures = evaluate_net(net, task, run.data.val, batch_size).measures
    name = "accuracy" if "accuracy" in measures else "r2"
    return {f"projected_{name}": round(measures[name], 6)}


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hide Lightning's advice, and keep standard output free for the result."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            # The data are in memory: worker processes would only copy them.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Lightning with a torch that is newer than it.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
