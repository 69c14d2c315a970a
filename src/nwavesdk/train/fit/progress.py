"""The metrics of a run: in `metrics.csv`, for TensorBoard, and as progress on standard error."""

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from nwavesdk.internal.files import printable, write_atomically
from nwavesdk.train.config.learning import LearningConfig
from nwavesdk.train.fit.objective import Objective

__all__ = [
    "EventLog",
    "History",
    "StepBar",
    "print_line",
    "report_lost_log",
]

# About so many epochs of a run get a line of progress, besides the first and the last epoch.
N_LINES = 20


@rank_zero_only
def print_line(line: str) -> None:
    """Print progress of the first process on standard error, if anybody can read it."""
    with suppress(OSError, ValueError):
        print(printable(line), file=sys.stderr, flush=True)


class History(Callback):
    """Collects the metrics of each epoch, and keeps the weights of the best or the last epoch.

    The best epoch has the highest score of the task on the validation set and, among equal scores,
    the lowest validation loss. The history is part of the checkpoint, so one file holds the whole
    state of a run, and a run that is killed and resumed has each epoch once. (Lightning's CSVLogger
    removes the rows of earlier epochs when a run resumes, and its ModelCheckpoint compares one
    number and keeps weights in a second file.) About `N_LINES` epochs get a printed line, including
    the first and the last epoch; on a terminal only the last epoch.

    Args:
        path: `metrics.csv`, written after each epoch.
        task: The task, for its score and for the measure to print.
        learning: The settings `keep` and `patience`.

    Attributes:
        rows: The metrics of each epoch: `epoch` (from 1), `train_…`, `val_…`, `rate_…` [spikes per
            step and neuron], `grad_…`, `learning_rate`, `seconds`.
        weights: The weights of the kept epoch, on the CPU.
        epoch_start: Time when the current epoch began [s]; 0 before the first epoch of this
            process.
    """

    def __init__(self, path: Path, task: Objective, learning: LearningConfig) -> None:
        self.path = path
        self.task = task
        self.learning = learning
        self.rows: list[dict[str, float]] = []
        self.weights: dict[str, Tensor] = {}
        self.epoch_start = 0.0
        self.last_printed = 0.0

    @property
    def kept_index(self) -> int:
        """Index of the epoch whose weights are kept."""
        if self.learning.keep == "last":
            return len(self.rows) - 1
        scores = [(row[f"val_{self.task.score}"], -row["val_loss"]) for row in self.rows]
        return scores.index(max(scores))

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Stop a resumed run whose patience had ended; Lightning does not store this."""
        self._stop_if_over(trainer)

    def on_train_epoch_start(self, *_: Any) -> None:
        self.epoch_start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the metrics and, for a kept epoch, the weights; print a line for some epochs."""
        measured = {
            name: trainer.callback_metrics[name].item()
            for name in sorted(trainer.callback_metrics)
            if name.startswith(("train_", "val_", "rate_", "grad_"))
        }
        row = {
            "epoch": trainer.current_epoch + 1,
            **measured,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": time.perf_counter() - self.epoch_start,
        }
        self.rows.append(row)
        self.write()

        if self.kept_index == len(self.rows) - 1:
            weights = pl_module.state_dict().items()
            self.weights = {name: value.detach().cpu().clone() for name, value in weights}
        self._stop_if_over(trainer)

        interval = math.ceil((trainer.max_epochs or 1) / N_LINES)
        is_due = self.last_printed == 0 or row["epoch"] % interval == 0
        if is_due and not isinstance(trainer.progress_bar_callback, StepBar):
            self.print_latest(trainer.max_epochs)

    def _stop_if_over(self, trainer: Trainer) -> None:
        patience = self.learning.patience
        if patience is not None and self.rows and len(self.rows) - 1 - self.kept_index >= patience:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Print the metrics of the last epoch, if they are not printed yet."""
        if self.rows[-1]["epoch"] != self.last_printed:
            self.print_latest(trainer.max_epochs)

    @rank_zero_only
    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """Print how to continue after an interrupt, or after a signal to terminate."""
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):
            count = f"{len(self.rows)} epoch{'s' * (len(self.rows) != 1)}"
            print_line(f"stopped after {count}: --resume continues the run.")

    @rank_zero_only
    def write(self) -> None:
        """Write the file."""
        lines = [",".join(self.rows[0])]
        lines += [",".join(f"{value:.6g}" for value in row.values()) for row in self.rows]
        write_atomically(self.path, ("\n".join(lines) + "\n").encode())

    @rank_zero_only
    def print_latest(self, n_epochs: int | None) -> None:
        """Print the line of the latest epoch."""
        row, score = self.rows[-1], self.task.batch_score_name
        self.last_printed = row["epoch"]
        print_line(
            f"epoch {row['epoch']:>3}/{n_epochs}  loss {row['train_loss']:.4f}  "
            f"{score} {row[f'train_{score}']:.4f}  rate {row['train_rate']:.3f}  "
            f"validation loss {row['val_loss']:.4f}  {score} {row[f'val_{score}']:.4f}  "
            f"{row['seconds']:.1f} s"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.weights = state_dict["rows"], state_dict["weights"]


class StepBar(TQDMProgressBar):
    """One bar for all epochs, with the measures of the latest batch and the latest validation."""

    BAR_FORMAT = "{desc}  {percentage:3.0f} %{postfix}"

    def init_validation_tqdm(self) -> Tqdm:
        """No bar: a second line would come and go in each epoch."""
        return Tqdm(disable=True)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Begin the bar again, with the number of the epoch."""
        super().on_train_epoch_start(trainer)
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.train_progress_bar.set_description_str(epoch)

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        """Loss, score and firing rate of the latest batch, and `val_…`, under short names."""
        shown = {name: value.item() for name, value in pl_module.latest.items()}
        validated = {f"val_{name}" for name in shown} & trainer.callback_metrics.keys()
        return shown | {name: trainer.callback_metrics[name].item() for name in sorted(validated)}


class EventLog(TensorBoardLogger):
    """Writes metrics for TensorBoard; if a write fails, the run continues without logs.

    The writer has a thread; `report_lost_log` prints its errors.

    Args:
        folder: The folder of the run; its folder `tensorboard` gets a file for each process.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "tensorboard", "")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._attempt(super().log_metrics, metrics, step)

    @rank_zero_only
    def save(self) -> None:
        self._attempt(self.experiment.flush)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self._attempt(super().finalize, status)

    def _attempt(self, write: Callable[..., object], *args: Any) -> None:
        # Lightning turns errors of the writer into a ValueError.
        with suppress(OSError, ValueError):
            write(*args)


def report_lost_log(failed: threading.ExceptHookArgs) -> None:
    """Print the error of a thread of TensorBoard in one line, in place of its traceback."""
    print_line(
        f"nwave: warning: the run goes on without logs for TensorBoard ({failed.exc_value})."
    )
