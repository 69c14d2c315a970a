"""What happens in one step of training and of validation.

Which weights a run keeps: those of the epoch that did best on the validation part.
"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy

from nwavesdk.layers import SpikingSequential, Synapse, find_edges, prepare_net
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.metrics import accuracy_population, population_counts
from nwavesdk.optim import SignAnnealing, SurrogateAnnealing
from nwavesdk.train.config import ChipConfig, LearningConfig
from nwavesdk.train.network import chip_seed, stream_seed

__all__ = ["Classifier", "Selection", "population_loss"]


class Classifier(LightningModule):
    """A spiking net that tells classes by the firing rates of its output populations.

    Args:
        net: Input `[B, T, F]` to output spikes `[B, T, classes * population]`.
        n_classes: Number of populations.
        learning: How its weights are learnt.
        seed: The run's seed; dropout draws from a stream of its own in every step.
        chip: What the net knows of its chip, where it is for one: shared signs and a range by `SignAnnealing`, and
            another chip of the series in every batch; the validation part is heard by chips that stay.
    """

    def __init__(
        self,
        net: SpikingSequential,
        n_classes: int,
        learning: LearningConfig,
        seed: int,
        chip: ChipConfig | None = None,
    ) -> None:
        super().__init__()
        aware = chip is not None and chip.training != "plain"
        self.annealing = SignAnnealing(net, learning.epochs) if aware else None
        schedule = learning.surrogate_schedule
        self.schedule = (
            None
            if schedule is None
            else SurrogateAnnealing(net, learning.epochs, **schedule.model_dump())
        )
        self._reached: float | None = None
        self.mismatch = chip is not None and chip.training == "mismatch"
        self._resumed: dict[str, Any] | None = None
        self.net = net
        self.n_classes = n_classes
        self.learning = learning
        self.seed = seed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the signs until the weights are there; go on with the surrogates' schedule."""
        self._resumed = checkpoint.get("annealing")
        if self.schedule is not None:
            self.schedule.load_state_dict(checkpoint["surrogate_schedule"])
            self._reached = checkpoint["reached"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the schedules."""
        if self.annealing is not None:
            checkpoint["annealing"] = self.annealing.state_dict()
        if self.schedule is not None:
            checkpoint["surrogate_schedule"] = self.schedule.state_dict()
            checkpoint["reached"] = self._reached

    def on_train_start(self) -> None:
        """Go on with the signs of a run that is resumed."""
        if self.annealing is not None and self._resumed is not None:
            self.annealing.load_state_dict(self._resumed)

    def on_train_epoch_start(self) -> None:
        """Harden the signs, and move the surrogates."""
        if self.annealing is not None:
            self.annealing.step(self.net, self.current_epoch + 1)
        if self.schedule is not None:
            metric = self._reached if self.schedule.form == "plateau" else None
            self.schedule.step(self.net, self.current_epoch + 1, metric)

    def on_train_epoch_end(self) -> None:
        """Keep what the epoch has reached, for plateaus."""
        if self.schedule is not None and self.schedule.form == "plateau":
            self._reached = self.trainer.callback_metrics["val_loss"].item()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch."""
        # Anew for every step: Lightning and its loaders draw from torch's generator, and not equally often in a run
        # that goes on and in one that is resumed.
        torch.manual_seed(
            stream_seed(self.seed, "dropout", self.current_epoch, batch_idx, self.global_rank)
        )
        self._prepare("mismatch", self.current_epoch, batch_idx, self.global_rank)
        loss, accuracy, rates = self._measure(batch)
        options: dict[str, Any] = {
            "prog_bar": True,
            "on_step": True,
            "on_epoch": True,
            "batch_size": len(batch[1]),
        }
        self.log("train_loss", loss, sync_dist=True, **options)
        self.log("train_accuracy", accuracy, sync_dist=True, **options)
        self.log("train_rate", torch.stack(list(rates.values())).mean(), sync_dist=True, **options)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Refuse weights that are not finite: a NaN never spikes, so no loss and no rate would tell."""
        for name, weight in self.net.named_parameters():
            if not weight.isfinite().all():
                raise RuntimeError(
                    f"{name} is not finite after epoch {self.current_epoch + 1}: {DIVERGED}"
                )

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """The loss, the accuracy and each layer's rate on a batch of the validation part."""
        self._prepare("validation", batch_idx, self.global_rank)
        loss, accuracy, rates = self._measure(batch)
        for name, value in {"val_loss": loss, "val_accuracy": accuracy, **rates}.items():
            self.log(name, value, sync_dist=True, batch_size=len(batch[1]))

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002
        """Note the gradient's norm in the weights before each neuron layer, in order of depth."""
        depth = 0
        for edge in find_edges(self.net).edges:
            if isinstance(edge.module, Synapse):
                depth += 1
                parameters = edge.module.parameters()
                grads = [p.grad.detach().norm() for p in parameters if p.grad is not None]
                if grads:
                    self.log(
                        f"grad_{depth}", torch.stack(grads).norm(), on_step=False, on_epoch=True
                    )

    def configure_optimizers(self) -> Any:
        """AdamW with one cycle of the learning rate over the whole run."""
        learning = self.learning
        optimizer = torch.optim.AdamW(
            self.parameters(), learning.rate, weight_decay=learning.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, learning.rate, total_steps=steps, pct_start=learning.warmup
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def _prepare(self, use: str, *place: int) -> None:
        prepare_net(
            self.net, seed=chip_seed(self.seed, use, *place, drawn=False) if self.mismatch else None
        )

    def _measure(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        x, labels = batch
        record = self.net.record(x)
        rates = {
            f"rate_{depth}": layer.spk.detach().float().mean()
            for depth, layer in enumerate(record.layers.values(), 1)
        }
        loss = population_loss(record.spk, labels, self.n_classes, self.learning.sharpness)
        return loss, accuracy_population(record.spk.detach(), labels, self.n_classes), rates


def population_loss(
    spk: Tensor, labels: Tensor, n_classes: int, sharpness: float, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy of the mean firing rates of the populations.

    `logit[c] = sharpness * (spikes of population c) / (neurons of it * T)`: neither T nor the size of a population
    changes how sharp the decision is.

    Args:
        spk: Output spikes, `[B, T, n_classes * population]`.
        labels: Class indices, `[B]`.
        n_classes: Number of populations.
        sharpness: Logit for each spike a step.
        reduction: `"mean"` over the recordings, or `"none"`.

    Returns:
        A scalar, or `[B]`.
    """
    spikes = population_counts(spk, n_classes)
    most = spk.shape[1] * spk.shape[2] / n_classes
    return cross_entropy(spikes * (sharpness / most), labels, reduction=reduction)


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
            self.weights = {
                name: value.detach().cpu().clone() for name, value in pl_module.state_dict().items()
            }
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
