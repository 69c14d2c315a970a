"""The metrics of a run: in `metrics.csv`, for TensorBoard, and as progress on standard error."""

import csv
import io
import math
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from nwavesdk.internal.files import printable, write_atomically

__all__ = ["EpochLines", "EventLog", "History", "StepBar", "print_line", "progress_callbacks"]


# Epochs of a run with a line of progress, next to its first and its last one.
N_LINES = 20


def print_line(line: str) -> None:
    """Print progress on standard error; a run does not end because nobody can read it."""
    with suppress(OSError, ValueError):
        print(printable(line), file=sys.stderr, flush=True)


class History(Callback):
    """Collects the metrics of each epoch.

    They are part of the checkpoint, so a run that is killed and resumed has each epoch once.

    Args:
        path: `metrics.csv`, written after each epoch.

    Attributes:
        rows: The metrics of each epoch: `epoch` (from 1), `train_…`, `val_…`, `rate_…` [spikes per
            step and neuron], `grad_…`, `learning_rate`, `seconds`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self._epoch_start = 0.0

    @property
    def seconds(self) -> float:
        """Time spent in all epochs, also before the run was resumed [s]."""
        return sum(row["seconds"] for row in self.rows)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._epoch_start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Add the metrics of this epoch."""
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1}
        for name in sorted(trainer.callback_metrics):
            if name.startswith(("train_", "val_", "rate_", "grad_")):
                row[name] = trainer.callback_metrics[name].item()
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row["seconds"] = time.perf_counter() - self._epoch_start
        self.rows.append(row)
        if trainer.is_global_zero:
            self.write()

    def write(self) -> None:
        """Write the file."""
        write_atomically(self.path, self._csv_text().encode())

    def _csv_text(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)
        return text.getvalue()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


def progress_callbacks(history: History, score: str) -> list[Callback]:
    """Lines of epochs, and on a terminal a bar, which is one line for all epochs.

    Args:
        history: The metrics.
        score: The measure to print, such as `"accuracy"`.
    """
    bar: list[Callback] = [StepBar()] if sys.stderr.isatty() else []
    return [*bar, EpochLines(history, score)]


class StepBar(TQDMProgressBar):
    """One bar for all epochs, with the measures of the latest batch and the latest validation."""

    BAR_FORMAT = "{desc}  {percentage:3.0f} %{postfix}"

    def __init__(self) -> None:
        super().__init__(leave=False)

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


class EpochLines(Callback):
    """Prints lines of about `N_LINES` epochs, the last one among them; on a terminal only that one.

    `metrics.csv` has all epochs.

    Args:
        history: The metrics; it must run before this callback.
        score: The measure to print, such as `"accuracy"`.
    """

    def __init__(self, history: History, score: str) -> None:
        self.history = history
        self.score = score
        self._last_printed = 0.0

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """Print how to continue after an interrupt, or after a signal to terminate."""
        is_stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if is_stopped and trainer.is_global_zero:
            n_epochs = len(self.history.rows)
            count = f"{n_epochs} epoch{'s' * (n_epochs != 1)}"
            print_line(f"stopped after {count}: --resume continues the run.")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Print the metrics of the epoch, if its line is due."""
        assert trainer.max_epochs is not None
        interval = math.ceil(trainer.max_epochs / N_LINES)
        is_due = self._last_printed == 0 or self.history.rows[-1]["epoch"] % interval == 0
        if is_due and not isinstance(trainer.progress_bar_callback, StepBar):
            self._print_latest(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Print the metrics of the last epoch, if they are not printed yet."""
        if self.history.rows and self.history.rows[-1]["epoch"] != self._last_printed:
            self._print_latest(trainer)

    def _print_latest(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        row = self.history.rows[-1]
        self._last_printed = row["epoch"]
        score = self.score
        line = (
            f"epoch {row['epoch']:>3}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  "
            f"{score} {row[f'train_{score}']:.4f}  rate {row['train_rate']:.3f}  "
            f"validation loss {row['val_loss']:.4f}  {score} {row[f'val_{score}']:.4f}  "
            f"{row['seconds']:.1f} s"
        )
        print_line(line)


class EventLog(Logger):
    """Writes metrics for TensorBoard; if that fails, the run goes on without.

    The writer of TensorBoard itself has a thread, which prints a traceback if the disk is full.

    Args:
        folder: The folder of the event files; one is added each time a run is resumed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._file: BinaryIO | None = None
        self._has_failed = False

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: `config.json` has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add the metrics of a step."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        event = Event(wall_time=time.time(), step=step or 0, summary=Summary(value=values))
        if not self._has_failed:
            try:
                RecordWriter(self._opened()).write(event.SerializeToString())
            except OSError as error:
                self._has_failed = True
                reason = f"{self.folder}: {error.strerror}"
                text = f"the run goes on without logs for TensorBoard ({reason})"
                print_line(f"nwave: warning: {text}.")

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self.folder.mkdir(exist_ok=True)
            name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.0"
            # Without a buffer, errors occur in a write and not when the file is closed.
            self._file = open(self.folder / name, "ab", buffering=0)  # noqa: SIM115  # see `finalize`
            first = Event(wall_time=time.time(), file_version="brain.Event:2")
            RecordWriter(self._file).write(first.SerializeToString())
        return self._file

    @rank_zero_only
    def finalize(self, status: str) -> None:  # noqa: ARG002  # Lightning passes it
        """Close the file."""
        if self._file is not None:
            self._file.close()
