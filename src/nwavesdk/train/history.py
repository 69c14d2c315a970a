"""The course of a run: one row an epoch, kept in the checkpoint and in `metrics.csv`."""

import csv
import io
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nwavesdk.data import write_atomically

__all__ = ["History"]

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
        names = sorted(name for name in metrics if name.startswith(("train_", "val_", "rate_", "grad_")))
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
