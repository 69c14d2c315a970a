"""Which weights a run keeps: those of the epoch that did best on the validation part."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

__all__ = ["Selection"]


class Selection(Callback):
    """Keeps the best weights and ends a run that no longer gains.

    The best epoch has the highest validation accuracy and, among those, the lowest validation loss. The weights are
    part of the checkpoint, so that one file holds the whole state of a run. (Lightning's EarlyStopping forgets, when
    a run resumes, that it had decided to stop.)

    Args:
        patience: Epochs without gain after which the run ends; None: never early.

    Attributes:
        epoch: The best epoch, from 0; -1 before the first.
        weights: Its weights, on the CPU.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.epoch = -1
        self.score = (-1.0, 0.0)
        self.weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """A run that is resumed after it had decided to stop stops again."""
        self._stop(trainer, trainer.current_epoch - 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare this epoch with the best."""
        metrics = trainer.callback_metrics
        score = (metrics["val_accuracy"].item(), -metrics["val_loss"].item())
        if score > self.score or self.epoch < 0:
            self.epoch, self.score = trainer.current_epoch, score
            self.weights = {name: value.detach().cpu().clone() for name, value in pl_module.state_dict().items()}
        self._stop(trainer, trainer.current_epoch)

    def _stop(self, trainer: Trainer, epoch: int) -> None:
        if self.patience is not None and epoch - self.epoch >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"epoch": self.epoch, "score": list(self.score), "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.epoch, self.weights = state_dict["epoch"], state_dict["weights"]
        self.score = (state_dict["score"][0], state_dict["score"][1])
