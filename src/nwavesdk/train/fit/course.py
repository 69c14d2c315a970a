"""The course of a run: training from its checkpoint, the test, the result and the report.

Design requirements:

- One process owns the folder of a run and writes it. Lightning starts the other processes of a
  data-parallel run.
- A result that was computed is kept: no log, picture or page that fails ends a run.
- A fault that the user can repair, such as a full disk, ends in one line, and `--resume` continues
  to the same bits.
"""

import copy
import sys
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from nwavesdk.data.composed import ComposedSeries
from nwavesdk.internal.files import (
    FileError,
    check_folder,
    check_target,
    one_line,
    write_atomically,
)
from nwavesdk.layers import project
from nwavesdk.train.apply.detections import DetectorTest
from nwavesdk.train.apply.trained import TrainedRun
from nwavesdk.train.config.completed import Origin
from nwavesdk.train.config.learning import MachineConfig
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO, OnEpoch, damaged_checkpoint
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.learner import Learner
from nwavesdk.train.fit.loaders import Loaders, loaders_of_run
from nwavesdk.train.fit.machine import is_first_process, quiet_lightning, trainer_of
from nwavesdk.train.fit.mining import HardPlaces
from nwavesdk.train.fit.model_file import save_model
from nwavesdk.train.fit.network import RunNet, finish_network
from nwavesdk.train.fit.objective import TrainingTask
from nwavesdk.train.fit.progress import EventLog, History, StepBar, print_line
from nwavesdk.train.prepared import PreparedRun
from nwavesdk.train.report.costs import describe_run
from nwavesdk.train.report.finished import FinishedRun
from nwavesdk.train.report.write import write_report
from nwavesdk.train.run_folder import BrokenRunError, RunFolder

__all__ = ["check_before_training", "fit", "fit_and_finish"]

LOST_PROCESS = (
    "another process of the run ended or does not answer (its own error, if it had time for one, "
    "is above): --resume continues the run after its last epoch."
)


def check_before_training(run: PreparedRun) -> None:
    """Reject faults that would end the run only after hours, and print notes on the run.

    The copy of the page that builds the net is written here, too.
    """
    folder, origin = run.folder, run.config.facts.begun_with
    if folder.finished and not folder.checkpoint.is_file():
        raise FileError(
            folder.checkpoint, "does not exist", "restore it: a finished run is not trained again"
        )

    for file in (folder.checkpoint, folder.metrics, folder.model, folder.result):
        check_target(file)
    check_folder(folder.path / "tensorboard")
    if not folder.net.exists():
        write_atomically(folder.net, run.config.page.content())

    notes = [] if folder.checkpoint.is_file() else run.notes
    if origin != Origin.current():
        notes = [
            f"the run began with {origin.line()}, and continues with {Origin.current().line()}: "
            "the last bits of its weights may differ",
            *notes,
        ]
    for note in notes:
        print_line(f"nwave: note: {note}")


def fit_and_finish(run: PreparedRun, on_epoch: OnEpoch | None) -> dict[str, Any] | None:
    """Train a run, from its checkpoint if there is one, and finish it; see `Run.train`."""
    config, chip = run.config, run.config.chip
    mismatch = config.draws_chips
    is_resumed = run.folder.checkpoint.is_file()

    # The weights of a resumed run come from its checkpoint, and need not be driven.
    net = (
        run.network(mismatch=mismatch, trains=True)
        if is_resumed
        else run.first_network(mismatch=mismatch)
    )
    task = run.fitted_task
    model = Learner(
        net,
        task,
        config.learning,
        seed=config.seed,
        anneals_signs=chip is not None and chip.training != "plain",
        draws_mismatch=mismatch,
        charge_gain=getattr(config.net, "charge_gain", None) or 1.0,
    )
    if config.machine.precision == "64-true":
        # Lightning converts the net only after it has loaded a checkpoint, which loses digits.
        model.double()

    identity = config.identity()
    checkpoints = AtomicCheckpointIO(identity, on_epoch)
    loaders = loaders_of_run(run.data, config)
    train = run.data.train
    history = fit(
        model,
        loaders,
        run.folder,
        checkpoints=checkpoints,
        machine=config.machine,
        callbacks=[HardPlaces(train)] if isinstance(train, ComposedSeries) else [],
    )
    if not is_first_process():
        return None

    # The trained net is built again without mismatch, as it is used after training. The weights in
    # the history are the weights of the whole learner.
    history.write()
    has_grids = config.learning.weight_bits is not None
    if not has_grids:
        net = run.network(deployed=True).to(model.device)
        model.net = net
    model.load_state_dict(history.weights)
    if has_grids:
        finish_network(net)
    if chip is not None and chip.training == "plain":
        project(net)
    save_model(run.folder.model, net, run.data.standard, identity, task.targets)
    return _finish(run, net, task, history)


def fit(
    model: Learner,
    loaders: Loaders,
    folder: RunFolder,
    *,
    checkpoints: AtomicCheckpointIO,
    machine: MachineConfig,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train from the checkpoint of the folder, if there is one, until the last epoch or patience.

    Args:
        model: The net with its task and its settings of learning.
        loaders: The training and the validation set.
        folder: The folder for the metrics, the checkpoint and the logs.
        checkpoints: Reads and writes the checkpoint.
        machine: The devices, processes and precision.
        callbacks: Further callbacks of Lightning.

    Returns:
        The metrics of all epochs and the weights of the epoch that is kept.

    Raises:
        BrokenRunError: If another process of a data-parallel run ended.
        FileError: If the checkpoint is damaged or was written with other choices.
        FileWriteError: If the disk is full.
    """
    checkpoint = folder.checkpoint
    history = History(folder.metrics, model.task, model.learning)

    # The bar ends before the history prints the last epoch.
    bar: list[Callback] = [StepBar(leave=False)] if sys.stderr.isatty() else []
    last_epoch = ModelCheckpoint(
        checkpoint.parent.absolute(),
        checkpoint.stem,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    trainer = trainer_of(
        machine,
        max_epochs=model.learning.epochs,
        gradient_clip_val=model.learning.clip,
        callbacks=[*bar, *callbacks, history, last_epoch],
        plugins=[checkpoints],
        logger=EventLog(folder.path),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders share sets between processes
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        default_root_dir=folder.path,
    )

    resumed_from = checkpoint if checkpoint.is_file() else None
    try:
        with quiet_lightning():
            trainer.fit(model, loaders, ckpt_path=resumed_from)
    except Exception as error:
        if isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error):
            raise BrokenRunError(LOST_PROCESS) from error

        # A damaged checkpoint can raise anything, but only before the first epoch begins.
        if resumed_from and not history.epoch_start and not isinstance(error, FileError | OSError):
            raise damaged_checkpoint(checkpoint, error) from error
        raise
    return history


def _finish(run: PreparedRun, net: RunNet, task: TrainingTask, history: History) -> dict[str, Any]:
    """Test the net, and write the result, then the report."""
    has_test = run.config.data.test
    tested = run.data.test if has_test else run.data.val
    evaluated = evaluate_net(net, task, tested, run.config.learning.batch_size)

    detector = _test_detector(run, net, task) if task.name == "detect" else None

    best = history.rows[history.kept_index]
    lowest = min(history.rows, key=lambda row: row["val_loss"])
    val_names = [f"val_{name}" for name in (*evaluated.measures, "loss")]
    result = {
        **(detector.fields if detector else {}),
        **(evaluated.named_measures("test") if has_test else {}),
        **{name: round(best[name], 6) for name in val_names if name in best},
        "seed": run.config.seed,
        "seconds": round(sum(row["seconds"] for row in history.rows), 2),
        "epochs": len(history.rows),
        "best_epoch": history.kept_index + 1,
        "lowest_loss": round(lowest["val_loss"], 6),
        "lowest_loss_epoch": int(lowest["epoch"]),
        **evaluated.layers(),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }

    fields, operations = describe_run(run.data, task, net, tested, evaluated)
    result |= fields
    run.folder.write_result(result, run.config.identity())

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
            detector=detector,
            notes=(*run.data.notes, *run.notes, *(detector.notes if detector else ())),
        )
        write_report(finished, run.report_sections)
    except Exception as error:  # the run is finished, even if a picture fails
        print_line(
            f"nwave: warning: the run is finished, but {run.folder.report} was not written "
            f"({one_line(error)}): `nwave train --resume` writes it again."
        )
    return result


def _test_detector(run: PreparedRun, net: RunNet, task: TrainingTask) -> DetectorTest:
    """Fit the decision on the validation streams, and test it on the test streams."""
    train = run.data.train
    assert run.data.streams is not None
    assert isinstance(train, ComposedSeries)
    print_line("nwave: the validation and the test streams run through the net")
    on_cpu = copy.deepcopy(net).cpu()  # the device of use
    trained = TrainedRun.of(run.config, on_cpu, task, run.data.standard)
    detector = DetectorTest.of(trained, run.data.streams, train.framing)
    for note in detector.notes:
        print_line(f"nwave: warning: {note}")
    return detector
