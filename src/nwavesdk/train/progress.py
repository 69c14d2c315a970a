"""The course of a run: one row an epoch, kept in the checkpoint and in `metrics.csv`.

What a run shows while it goes on, on standard error: a bar on a terminal, one line an epoch elsewhere.
"""

import csv
import io
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from nwavesdk.internal.files import write_atomically

__all__ = ["EpochLines", "History", "StepBar", "progress"]

Row = dict[str, float]


class History(Callback):
    """Collects an epoch's metrics.

    Rows are part of the checkpoint, so a run that is killed and resumed has each epoch once.

    Args:
        path: `metrics.csv`, written anew after each epoch.

    Attributes:
        rows: One for each epoch: `epoch` (from 1), `train_…`, `val_…`, `rate_…` [spikes a step and neuron], `grad_…`,
            `learning_rate`, `seconds`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._began = 0.0

    @property
    def seconds(self) -> float:
        """Time spent in epochs, also before the run was resumed [s]."""
        return sum(row["seconds"] for row in self.rows)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Add this epoch's row."""
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        names = sorted(
            name for name in metrics if name.startswith(("train_", "val_", "rate_", "grad_"))
        )
        row: Row = {"epoch": trainer.current_epoch + 1}
        row |= {name: metrics[name] for name in names if not name.endswith(("_step", "_epoch"))}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row["seconds"] = time.perf_counter() - self._began
        self.rows.append(row)
        if trainer.is_global_zero:
            write_atomically(self.path, self._csv().encode())

    def _csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)
        return text.getvalue()

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows = list(state_dict["rows"])


def progress(history: History) -> list[Callback]:
    """The bar where somebody watches, and a line for each epoch."""
    bar: list[Callback] = [StepBar()] if sys.stderr.isatty() else []
    return [*bar, EpochLines(history)]


class StepBar(TQDMProgressBar):
    """A bar for each epoch with loss, accuracy and firing rate of the latest batch."""

    def __init__(self) -> None:
        super().__init__(leave=False)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The running values, under short names."""
        metrics = super().get_metrics(trainer, pl_module)
        running = {name: value for name, value in metrics.items() if name.endswith("_step")}
        return {
            name.removeprefix("train_").removesuffix("_step"): value
            for name, value in running.items()
        }


class EpochLines(Callback):
    """One line an epoch.

    Args:
        history: Where the numbers come from; it runs before this callback.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """Say how to go on after an interrupt."""
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            print(
                f"stopped after {len(self.history.rows)} epochs: --resume goes on from there.",
                file=sys.stderr,
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Print the epoch's row."""
        if not trainer.is_global_zero:
            return
        row = self.history.rows[-1]
        line = (
            f"epoch {row['epoch']:>3}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  "
            f"accuracy {row['train_accuracy']:.4f}  rate {row['train_rate']:.3f}  "
            f"validation loss {row['val_loss']:.4f}  accuracy {row['val_accuracy']:.4f}  {row['seconds']:.1f} s"
        )
        bar = trainer.progress_bar_callback
        if isinstance(bar, StepBar):
            bar.print(line, file=sys.stderr)  # above the bar, which is still there
        else:
            print(line, file=sys.stderr, flush=True)
