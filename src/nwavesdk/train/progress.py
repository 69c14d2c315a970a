"""What a run shows while it goes on, on standard error: a bar on a terminal, one line an epoch elsewhere."""

import sys
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from nwavesdk.train.history import History

__all__ = ["EpochLines", "StepBar", "progress"]


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
        return {name.removeprefix("train_").removesuffix("_step"): value for name, value in running.items()}


class EpochLines(Callback):
    """One line an epoch.

    Args:
        history: Where the numbers come from; it runs before this callback.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Say how to go on after an interrupt."""
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            print(f"stopped after {len(self.history.rows)} epochs: --resume goes on from there.", file=sys.stderr)

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
