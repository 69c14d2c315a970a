"""The default trial of `HPOWrapper`: a user's net on NWAVE's data, with its best epoch on disk.

NWAVE documents the names `train_one_trial` and `model_builder(model_cfg) -> model`; the arguments
of the first and the files are assumed.
"""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.analysis.tune.contract import ModelBuilder, build_model, check_output
from nwavesdk.analysis.tune.folder import Report
from nwavesdk.analysis.tune.namespaces import TrialConfig, read_trial_config
from nwavesdk.data import NWaveDataGen
from nwavesdk.internal.files import FileError, one_line, read_bytes, write_atomically
from nwavesdk.internal.formats import parse_json
from nwavesdk.loss import topology_loss, weight_magnitude_loss
from nwavesdk.metrics import accuracy, accuracy_population, r2
from nwavesdk.net.preparation import prepared
from nwavesdk.optim import weight_decay_groups
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.fit.seeds import chip_seed, stream_seed

__all__ = [
    "BEST",
    "COURSE",
    "evaluate_best",
    "ignore_report",
    "n_outputs_of",
    "open_data",
    "read_course",
    "train_one_trial",
]

# Files of a trial: its score after each epoch, and the states of its best and its last one.
COURSE, BEST, LAST = "course.json", "best.pt", "last.pt"

MOST_BYTES = 2**33


def ignore_report(epoch: int, score: float) -> None:
    """Report to nobody."""


def train_one_trial(
    config: Mapping[str, Any],
    model_builder: ModelBuilder,
    folder: Path,
    report: Report = ignore_report,
) -> float:
    """Train a net with one choice of all values; continue after an interruption.

    Assumed: NWAVE documents the name only.

    Args:
        config: Values by `namespace.key`, such as `"optim.lr"`.
        model_builder: `model_builder(model_cfg) -> model`; it gets the values of `model.*` without
            their prefix, and those of `nwave.*`, if there are any, as `model_cfg["nwave"]`. The
            model maps `[B, T, 16]` to `(spk, mem)`, `[B, T, N]` each, with a neuron or an equal
            population for each class, or a neuron for each target.
        folder: Folder for `course.json`, `best.pt` and `last.pt`.
        report: Called after each epoch but the last with its number and validation score.

    Returns:
        The best score on the validation set.

    Raises:
        ValueError: If a key or value is not valid, the data cannot be used, or the model has other
            outputs.
        FileWriteError: If the disk is full.
    """
    trial = read_trial_config(config)
    torch.manual_seed(stream_seed(trial.trainer.seed, "weights"))
    data = open_data(trial)
    train, val, _ = data.dataloaders()
    model = build_model(model_builder, trial)
    n_outputs = n_outputs_of(trial, data)
    check_output(model, next(iter(val)), n_outputs, trial)
    state = _State(model, trial, len(train), folder)
    course = state.resume(train)
    for epoch in range(len(course) + 1, trial.trainer.epochs + 1):
        if _has_ended(course, trial):
            break
        _train_epoch(state, train, epoch, n_outputs)
        score = _score(model, val, trial, n_outputs)
        course.append(score)
        print_line(f"epoch {epoch:3d}/{trial.trainer.epochs}  validation {score:.4f}")
        state.save(course, train)
        if epoch < trial.trainer.epochs:
            report(epoch, score)
    return max(course)


def open_data(trial: TrialConfig) -> NWaveDataGen:
    """The data of a trial.

    Raises:
        ValueError: If a choice is out of its range.
    """
    return NWaveDataGen(**{"progress": False, **trial.data})


def evaluate_best(config: Mapping[str, Any], model_builder: ModelBuilder, folder: Path) -> float:
    """The score of the best epoch of a trial on the test set.

    Raises:
        FileError: If `best.pt` is missing or damaged.
    """
    trial = read_trial_config(config)
    data = open_data(trial)
    _, val, test = data.dataloaders()
    model = build_model(model_builder, trial)
    n_outputs = n_outputs_of(trial, data)
    check_output(model, next(iter(val)), n_outputs, trial)  # which creates lazy parameters
    _load_into(folder / BEST, model)
    return _score(model, test, trial, n_outputs)


def read_course(folder: Path) -> list[float]:
    """The score after each epoch of a trial; empty if it has none.

    Raises:
        FileError: If the file is damaged.
    """
    file = folder / COURSE
    if not file.is_file():
        return []
    scores = parse_json(read_bytes(file), file).get("scores")
    if not isinstance(scores, list) or not all(
        isinstance(score, int | float) and not isinstance(score, bool) for score in scores
    ):
        raise FileError(file, "does not hold the scores of a trial", "remove it and its trial")
    return [float(score) for score in scores]


class _State:
    """What a trial continues with after an interruption."""

    def __init__(self, model: nn.Module, trial: TrialConfig, n_batches: int, folder: Path) -> None:
        self.model = model
        self.trial = trial
        self.folder = folder
        self.optimizer = _optimizer(model, trial)
        self.scheduler = _scheduler(self.optimizer, trial, n_batches)

    def resume(self, train: Any) -> list[float]:
        """Load the last epoch, and return the scores so far."""
        course = read_course(self.folder)
        file = self.folder / LAST
        if not file.is_file():
            return []
        state = _load(file)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(state["scheduler"])
            train.generator.set_state(state["order"])
            return course[: int(state["epoch"])]
        except Exception as error:  # a damaged file can raise anything
            what = f"is not the state of this trial ({one_line(error)})"
            raise FileError(file, what, "remove the folder of the trial") from error

    def save(self, course: list[float], train: Any) -> None:
        """Write the scores, the best epoch if it is this one, and last what it continues with."""
        is_best = course.index(max(course)) == len(course) - 1
        content = json.dumps({"scores": course}) + "\n"
        write_atomically(self.folder / COURSE, content.encode())
        epoch = len(course)
        if is_best:
            _save(self.folder / BEST, {"model": self.model.state_dict(), "epoch": epoch})
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "order": train.generator.get_state(),
            "epoch": epoch,
        }
        _save(self.folder / LAST, state)


def _train_epoch(state: _State, train: Any, epoch: int, n_outputs: int) -> None:
    trial, model = state.trial, state.model
    seed = trial.trainer.seed
    model.train()
    # A seed per epoch: a resumed trial draws the same dropout.
    torch.manual_seed(stream_seed(seed, "dropout", epoch))
    for place, (x, y) in enumerate(train):
        with prepared(model, chip_seed(seed, "mismatch", epoch, place, drawn=False)):
            loss = _loss(trial, model(x), y, n_outputs) + _weight_loss(trial, model)
        if not math.isfinite(loss.item()):
            raise ValueError(f"the loss is {loss.item()} in epoch {epoch}: training diverged.")
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        if trial.trainer.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), trial.trainer.clip)
        state.optimizer.step()
        if state.scheduler is not None:
            state.scheduler.step()


def _loss(trial: TrialConfig, output: tuple[Tensor, Tensor], y: Tensor, n_outputs: int) -> Tensor:
    chosen = trial.loss_of
    options = {key: value for key, value in trial.loss.items() if key in chosen.options}
    if chosen.task == "classification":
        options["num_classes"] = n_outputs
    spk, mem = output
    loss: Tensor = chosen.function(spk if chosen.reads == "spk" else mem, y, **options)
    return loss


def _weight_loss(trial: TrialConfig, model: nn.Module) -> Tensor | float:
    """The losses on weights of a chip that the config asks for."""
    total: Tensor | float = 0.0
    for name, function in (
        ("topology", topology_loss),
        ("weight_magnitude", weight_magnitude_loss),
    ):
        if weight := trial.loss.get(name):
            total = total + weight * function(model)
    return total


@torch.no_grad()
def _score(model: nn.Module, batches: Any, trial: TrialConfig, n_outputs: int) -> float:
    """The metric on a whole set."""
    model.eval()
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    right = 0.0
    for place, (x, y) in enumerate(batches):
        with prepared(model, chip_seed(trial.trainer.seed, "validation", place, drawn=False)):
            spk, mem = model(x)
        if trial.metric_name == "r2":
            outputs.append(mem)
            targets.append(y)
        elif trial.metric_name == "accuracy_population":
            right += accuracy_population(spk, y, n_outputs).item() * len(y)
        else:
            right += accuracy(spk, y).item() * len(y)
    if trial.metric_name == "r2":
        return float(r2(torch.cat(outputs), torch.cat(targets)).mean())
    return right / len(batches.dataset)


def _has_ended(course: list[float], trial: TrialConfig) -> bool:
    """Whether the score has not improved for as many epochs as the patience."""
    patience = trial.early_stop.patience
    if patience is None or not course:
        return False
    best, since = -math.inf, 0
    for score in course:
        is_better = score > best + trial.early_stop.min_delta
        best, since = (score, 0) if is_better else (best, since + 1)
    return since >= patience


def _optimizer(model: nn.Module, trial: TrialConfig) -> torch.optim.Optimizer:
    optim = trial.optim
    groups = weight_decay_groups(model, optim.weight_decay)
    if optim.name == "sgd":
        return torch.optim.SGD(groups, optim.lr, optim.momentum)
    kind = torch.optim.AdamW if optim.name == "adamw" else torch.optim.Adam
    return kind(groups, optim.lr)


def _scheduler(optimizer: torch.optim.Optimizer, trial: TrialConfig, n_batches: int) -> Any:
    n_steps = trial.trainer.epochs * n_batches
    if trial.sched.name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    if trial.sched.name == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, trial.optim.lr, total_steps=n_steps, pct_start=trial.sched.warmup
        )
    return None


def n_outputs_of(trial: TrialConfig, data: NWaveDataGen) -> int:
    """Number of classes, or of targets per step."""
    if trial.loss_of.task == "classification":
        return len(data.classes)
    return data.channels.n_targets


def _save(file: Path, state: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(file, buffer.getvalue())


def _load(file: Path) -> Any:
    content = read_bytes(file, MOST_BYTES)
    try:
        return torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        what = f"is damaged ({one_line(error)})"
        raise FileError(file, what, "remove the folder of the trial") from error


def _load_into(file: Path, model: nn.Module) -> None:
    state = _load(file)
    try:
        model.load_state_dict(state["model"])
    except Exception as error:  # as above
        what = f"does not hold the weights of this model ({one_line(error)})"
        raise FileError(file, what, "remove the folder of the trial") from error
