"""The metrics of each epoch of a run: in `metrics.csv`, and as progress on standard error."""

import csv
import io
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from nwavesdk.internal.files import write_atomically

__all__ = ["EpochLines", "History", "StepBar", "progress_callbacks"]


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
            is_ours = name.startswith(("train_", "val_", "rate_", "grad_"))
            # Lightning also logs train_… as train_…_step and train_…_epoch.
            if is_ours and not name.endswith(("_step", "_epoch")):
                row[name] = trainer.callback_metrics[name].item()
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row["seconds"] = time.perf_counter() - self._epoch_start
        self.rows.append(row)
        if trainer.is_global_zero:
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


def progress_callbacks(history: History) -> list[Callback]:
    """A line per epoch, and on a terminal a bar for the steps."""
    bar: list[Callback] = [StepBar()] if sys.stderr.isatty() else []
    return [*bar, EpochLines(history)]


class StepBar(TQDMProgressBar):
    """A bar per epoch with loss, accuracy and firing rate of the latest batch."""

    def __init__(self) -> None:
        super().__init__(leave=False)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The values of the latest batch, under short names."""
        metrics = super().get_metrics(trainer, pl_module)
        return {
            name.removeprefix("train_").removesuffix("_step"): value
            for name, value in metrics.items()
            if name.endswith("_step")
        }


class EpochLines(Callback):
    """Prints a line per epoch.

    Args:
        history: The metrics; it must run before this callback.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """Print how to continue after an interrupt."""
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            epochs = len(self.history.rows)
            print(f"stopped after {epochs} epochs: --resume continues the run.", file=sys.stderr)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Print the metrics of the epoch."""
        if not trainer.is_global_zero:
            return
        row = self.history.rows[-1]
        line = (
            f"epoch {row['epoch']:>3}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  "
            f"accuracy {row['train_accuracy']:.4f}  rate {row['train_rate']:.3f}  "
            f"validation loss {row['val_loss']:.4f}  accuracy {row['val_accuracy']:.4f}  "
            f"{row['seconds']:.1f} s"
        )
        bar = trainer.progress_bar_callback
        if isinstance(bar, StepBar):
            bar.print(line, file=sys.stderr)  # above the bar, which stays
        else:
            print(line, file=sys.stderr, flush=True)
