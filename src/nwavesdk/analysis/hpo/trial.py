"""The default trial of `HPOWrapper`: a user's net on NWAVE's data, in the training loop of a run.

NWAVE documents the names `train_one_trial` and `model_builder(model_cfg) -> model`. The arguments
of `train_one_trial` and the files of a trial are assumed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler

from nwavesdk.analysis.hpo.namespaces import LOSSES, TrialConfig, read_trial_config
from nwavesdk.analysis.study.cells import Report
from nwavesdk.data import NetInput, NWaveDataGen, Series, Split, Standard
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import one_line
from nwavesdk.loss import topology_loss, weight_magnitude_loss
from nwavesdk.metrics.classes import correct_recordings
from nwavesdk.metrics.values import r2_of, value_sums
from nwavesdk.net.preparation import prepared
from nwavesdk.train import RunFolder
from nwavesdk.train.config.learning import CompletedLearning, MachineConfig
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO, damaged_checkpoint
from nwavesdk.train.fit.course import fit
from nwavesdk.train.fit.learner import Learner
from nwavesdk.train.fit.loaders import Loaders, batches_of
from nwavesdk.train.fit.objective import Objective
from nwavesdk.train.fit.seeds import stream_seed

__all__ = [
    "BEST",
    "SCORE",
    "ModelBuilder",
    "evaluate_best",
    "open_trial",
    "train_one_trial",
]

# The file of the best epoch, and the column of `metrics.csv` with the score.
BEST, SCORE = "best.pt", "val_score"

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}

# The user's function that builds the net of a trial from the settings of `model.*`.
ModelBuilder = Callable[[dict[str, Any]], nn.Module]


def train_one_trial(
    config: Mapping[str, Any],
    model_builder: ModelBuilder,
    folder: str | Path,
    report: Report = lambda *_: None,
) -> float:
    """Train a net with one choice of all values; continue after an interruption.

    Assumed: NWAVE documents the name only.

    Args:
        config: Values by `namespace.key`, such as `"optim.lr"`.
        model_builder: `model_builder(model_cfg) -> model`. `model_cfg` has the values of `model.*`
            without their prefix, and `model_cfg["nwave"]` the values of `nwave.*`, if there are
            any. The model maps `[B, T, 16]` to `(spk, mem)`, `[B, T, N]` each, with one neuron or a
            population of neurons for each class, all of equal size, or one neuron for each target.
        folder: Folder for `metrics.csv`, `checkpoint.ckpt` and, at the end, `best.pt`.
        report: Called after each epoch but the last, with the number and the validation score of
            the epoch. If a trial continues, it is first called for all earlier epochs.

    Returns:
        The best score on the validation set.

    Raises:
        ValueError: If a key or value is not valid, the data cannot be used, or the outputs of the
            model have the wrong shape.
        RuntimeError: If training diverged.
        FileError: If the checkpoint is damaged or was written with another config.
        FileWriteError: If the disk is full.
    """
    trial, learner, data = open_trial(config, model_builder)
    run = RunFolder(folder)

    def report_row(row: Mapping[str, float]) -> None:
        if row["epoch"] < trial.trainer.epochs:
            # Rounded as in metrics.csv, so that a continued trial reports the same numbers.
            report(int(row["epoch"]), float(f"{row[SCORE]:.6g}"))

    for row in run.read_metrics() if run.metrics.is_file() else []:
        report_row(row)

    history = fit(
        learner,
        Loaders(data, batch_size=trial.data.batch_size, seed=trial.data.seed),
        run,
        checkpoints=AtomicCheckpointIO(str(trial), report_row),
        machine=MachineConfig(accelerator="cpu"),
    )

    learner.load_state_dict(history.weights)
    best = {"model": learner.net.state_dict(), "epoch": history.kept_index + 1}
    AtomicCheckpointIO(str(trial)).save_checkpoint(best, run.path / BEST)
    return history.rows[history.kept_index][SCORE]


def evaluate_best(
    config: Mapping[str, Any], model_builder: ModelBuilder, folder: str | Path
) -> float:
    """The score of the best epoch of a trial on the test set.

    Raises:
        FileError: If `best.pt` is missing or damaged, or belongs to another model.
    """
    trial, learner, data = open_trial(config, model_builder)
    file = Path(folder, BEST)
    try:
        learner.net.load_state_dict(torch.load(file, weights_only=True)["model"])
    except Exception as error:  # a damaged file can raise anything
        raise damaged_checkpoint(file, error) from error

    learner.eval()
    batches = enumerate(batches_of(data.test, trial.data.batch_size))
    with torch.no_grad():
        tallies = [
            learner.task.tally(learner.run_batch(batch, "test", index)[0], batch.y)
            for index, batch in batches
        ]
    return learner.task.measures(torch.stack(tallies).sum(0))["score"]


def open_trial(
    config: Mapping[str, Any], model_builder: ModelBuilder
) -> tuple[TrialConfig, Learner, Split[Series]]:
    """The settings of a trial, its net with initial weights, ready to be trained, and its data.

    Raises:
        ValueError: If a key or value is not valid, the data cannot be used, the builder fails, or
            the outputs of the model have the wrong shape.
    """
    trial = read_trial_config(config)
    torch.manual_seed(stream_seed(trial.trainer.seed, "weights"))

    # NWAVE's channels are the input of the net without a further scale.
    generator = NWaveDataGen(trial.data)
    recordings = generator.channels
    unscaled = NetInput(standard=Standard(np.zeros(1, np.float32), np.ones(1, np.float32)))
    data = generator.split.indices.map(lambda indices: Series(recordings.take(indices), unscaled))

    n_outputs = len(recordings.classes) or recordings.n_targets
    x = next(iter(batches_of(data.val, trial.data.batch_size))).x
    net = build_model(model_builder, trial, x, n_outputs)

    task = TrialObjective(trial, net, n_outputs)
    learning = CompletedLearning(
        epochs=trial.trainer.epochs,
        batch_size=trial.data.batch_size,
        rate=trial.optim.lr,
        weight_decay=trial.optim.weight_decay,
        warmup=trial.sched.warmup,
        clip=trial.trainer.clip,
        most_spikes=None,
        keep="best",
        patience=trial.early_stop.patience,
    )
    learner = TrialLearner(net, task, learning, seed=trial.trainer.seed, draws_mismatch=True)
    return trial, learner, data


def build_model(
    model_builder: ModelBuilder, trial: TrialConfig, x: Tensor, n_outputs: int
) -> nn.Module:
    """Build the net of a trial, and run it once to create lazy parameters and check its outputs.

    Args:
        model_builder: The user's function.
        trial: The settings of the trial.
        x: The input of a batch, `[B, T, F]`.
        n_outputs: Number of classes or targets.

    Raises:
        ValueError: If the builder fails or does not return a module, or if the model fails or does
            not have the outputs that loss and metric need.
    """
    model_cfg = {**trial.model, **({"nwave": {**trial.nwave}} if trial.nwave else {})}
    try:
        model = model_builder(model_cfg)
        # The pass must change neither the random numbers of training nor the gradients.
        with torch.no_grad(), torch.random.fork_rng(devices=[]), prepared(model, 0):
            spk, mem = model.eval()(x)

        N = max(spk.shape[-1], 1) if trial.metric_name == "accuracy_population" else n_outputs
        if not spk.shape == mem.shape == (*x.shape[:2], N) or N % n_outputs:
            raise ValueError(f"it returned outputs of shape {[*spk.shape]} and {[*mem.shape]}")
    except Exception as error:  # a user's code can raise anything
        raise ValueError(
            f"HPOWrapper: model_builder({shown(model_cfg)}) failed, or its model for an "
            f"input of shape {[*x.shape]} ({type(error).__name__}: {one_line(error)}): expected a "
            f"torch.nn.Module that returns (spk, mem), [B, T, N] each with N = {n_outputs}, or a "
            'multiple of it with metric.name "accuracy_population".'
        ) from error
    return model.train()


class TrialLearner(Learner):
    """A user's net that learns with the optimizer and the schedule of a trial."""

    task: "TrialObjective"

    def optimizer_of(self, groups: list[dict[str, Any]]) -> Optimizer:
        """The optimizer that `optim.name` names."""
        optim = self.task.trial.optim
        options = {"momentum": optim.momentum} if optim.name == "sgd" else {}
        return OPTIMIZERS[optim.name](groups, **options)

    def schedule_of(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """The schedule that `sched.name` names."""
        name = self.task.trial.sched.name
        if name == "one_cycle":
            return super().schedule_of(optimizer, steps)
        return CosineAnnealingLR(optimizer, steps) if name == "cosine" else ConstantLR(optimizer, 1)


@dataclass(frozen=True, eq=False)
class TrialObjective(Objective):
    """The loss and the metric of a trial, by their names.

    The outputs are spikes and membranes as one tensor, `[2, B, T, N]`.

    Args:
        trial: The settings of the trial.
        net: The net, for losses on its weights.
        n_outputs: Number of classes, or of targets.
    """

    name = "trial"
    batch_score_name = "score"

    trial: TrialConfig
    net: nn.Module
    n_outputs: int

    def decoder(self) -> nn.Module:
        """Both outputs of the net as one tensor."""
        return BothOutputs()

    def loss(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """The loss on the outputs plus the weighted losses on chip weights."""
        chosen, (spk, mem) = self.trial.loss, outputs
        computed = {"spk": spk, "mem": mem, "targets": y, "num_classes": self.n_outputs}
        arguments = {name: computed[name] for name in computed.keys() & chosen.parameters}
        loss: Tensor = LOSSES[chosen.name](**arguments, **(chosen.model_extra or {}))

        if chosen.topology:
            loss = loss + chosen.topology * topology_loss(self.net)
        if chosen.weight_magnitude:
            loss = loss + chosen.weight_magnitude * weight_magnitude_loss(self.net)
        return loss

    def batch_score(
        self,
        outputs: Tensor,
        y: Tensor,
        lengths: Tensor | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, int]:
        return torch.tensor(self.measures(self.tally(outputs, y))["score"]), len(y)

    def tally(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """The sums of `value_sums`, or the numbers of correct and of all recordings."""
        if self.trial.metric_name == "r2":
            return value_sums(outputs[1].detach(), y)
        is_right = correct_recordings(outputs[0], y, self.n_outputs)
        return torch.stack([is_right.sum(), torch.tensor(len(y))])

    def measures(self, tally: Tensor) -> dict[str, float]:
        """The mean R² of all targets, or the accuracy."""
        score = r2_of(tally).mean() if self.trial.metric_name == "r2" else tally[0] / tally[1]
        return {"score": score.item()}


class BothOutputs(nn.Module):
    """A decoder that returns spikes and membranes, `[2, B, T, N]`."""

    def forward(self, spk: Tensor, mem: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Spikes and membranes as one tensor."""
        return torch.stack([spk, mem])
