"""The steps of training and validation of a net, as a module of Lightning."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from nwavesdk.data import Batch
from nwavesdk.layers import Synapse, TimeBatchNorm, find_edges
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.loss.limits import rate_excess, rates_of_all_processes
from nwavesdk.net.preparation import prepared
from nwavesdk.net.recording import SpikeRecording, record_spikes
from nwavesdk.optim import SignAnnealing, SurrogateAnnealing, weight_decay_groups
from nwavesdk.train.config.learning import CompletedLearning
from nwavesdk.train.fit.objective import Objective
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.fit.seeds import chip_seed, stream_seed

__all__ = ["Learner", "lengths_of", "spike_cost"]


class Learner(LightningModule):
    """A spiking net that learns a task.

    Means over the batches of an epoch are `EpochMeans`, which are logged once, because a call of
    Lightning's `log` takes a millisecond.

    Args:
        net: A net from input `[B, T, F]` to the output layer of the task.
        task: The task, fitted to the training set, or another objective.
        learning: How weights are learned.
        seed: The run's seed; dropout has its own stream of random numbers in every step.
        anneals_signs: Whether `SignAnnealing` gives weights shared signs and a range.
        draws_mismatch: Whether a new chip is drawn for every batch; the chips of the validation
            set are the same in each epoch.
        charge_gain: Factor of the initial weights of the synapses to hidden layers, and so of their
            learning rates.
    """

    def __init__(
        self,
        net: nn.Module,
        task: Objective,
        learning: CompletedLearning,
        *,
        seed: int,
        anneals_signs: bool = False,
        draws_mismatch: bool = False,
        charge_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.net = net
        self.decoder = task.decoder()
        self.task = task
        self.charge_gain = charge_gain
        self.learning = learning
        self.seed = seed
        self.draws_mismatch = draws_mismatch

        # Schedules. The signs of a resumed run are set after its weights are loaded, because
        # Lightning loads the weights after `on_load_checkpoint`.
        self.sign_annealing = SignAnnealing(net, learning.epochs) if anneals_signs else None
        self._resumed_signs: dict[str, Any] | None = None
        schedule = learning.surrogate_schedule
        self.surrogate_annealing = (
            None
            if schedule is None
            else SurrogateAnnealing(net, learning.epochs, **schedule.model_dump())
        )

        edges = find_edges(net).edges
        self._synapses = [edge.module for edge in edges if isinstance(edge.module, Synapse)]
        self._last_val_loss: float | None = None  # the metric of a plateau
        self._val_tally: Tensor | None = None
        self._means = EpochMeans()
        self.latest: dict[str, Tensor] = {}  # measures of the last batch, for the progress bar

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the schedules; the signs are kept until weights are loaded."""
        self._resumed_signs = checkpoint.get("annealing")
        if self.surrogate_annealing is not None:
            self.surrogate_annealing.load_state_dict(checkpoint["surrogate_schedule"])
            self._last_val_loss = checkpoint["reached"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of both schedules."""
        if self.sign_annealing is not None:
            checkpoint["annealing"] = self.sign_annealing.state_dict()
        if self.surrogate_annealing is not None:
            checkpoint["surrogate_schedule"] = self.surrogate_annealing.state_dict()
            checkpoint["reached"] = self._last_val_loss

    def on_fit_start(self) -> None:
        """Let several processes share the statistics of batch norms."""
        if self.trainer.world_size == 1:
            return
        for name, module in self.net.named_modules():
            if isinstance(module, TimeBatchNorm):
                module.is_synchronized = True
            elif hasattr(module, "num_batches_tracked") and self.trainer.is_global_zero:
                print_line(
                    f"nwave: note: {name} ({type(module).__name__}) has the statistics of each "
                    "process, not of the whole batch: TimeBatchNorm would have these."
                )

    def on_train_start(self) -> None:
        """Restore the signs of a resumed run."""
        if self.sign_annealing is not None and self._resumed_signs is not None:
            self.sign_annealing.load_state_dict(self._resumed_signs)

    def on_train_epoch_start(self) -> None:
        """Advance the schedules of the signs and of the surrogates."""
        if self.sign_annealing is not None:
            self.sign_annealing.step(self.net, self.current_epoch + 1)
        if self.surrogate_annealing is not None:
            self.surrogate_annealing.step(self.net, self.current_epoch + 1, self._last_val_loss)

    def on_train_epoch_end(self) -> None:
        """Store the validation loss of the epoch for plateaus."""
        if self.surrogate_annealing is not None and self.surrogate_annealing.form == "plateau":
            self._last_val_loss = self.trainer.callback_metrics["val_loss"].item()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        # A seed per step: Lightning and its loaders also draw from torch's generator, and in a
        # resumed run not the same number of times.
        step = (self.current_epoch, batch_idx, self.global_rank)
        seed_generators(stream_seed(self.seed, "dropout", *step), self.device)
        outputs, loss, recording = self.run_batch(batch, "mismatch", *step)
        score, n_decisions = self.task.batch_score(outputs.detach(), batch.y, lengths_of(batch))

        rates = recording.rates()
        hidden_rates = [rates[name] for name in recording.hidden]
        progress = self.global_step / int(self.trainer.estimated_stepping_batches)
        cost = spike_cost(hidden_rates, self.learning, progress, batch.lengths.sum())

        # A net without layers that spike has the rate 0.
        spiking = [rate.detach() for rate in rates.values()] or [torch.zeros_like(loss)]
        self.latest = {
            "loss": (loss + cost).detach(),
            self.task.batch_score_name: score,
            "rate": torch.stack(spiking).mean(),
        }
        metrics = {f"train_{name}": value for name, value in self.latest.items()}
        self._means.add(metrics, n_decisions)
        for logger in self.loggers:
            step_metrics = {f"{name}_step": value.item() for name, value in metrics.items()}
            logger.log_metrics(step_metrics, self.global_step)

        return loss * self._share(n_decisions) + cost

    def _share(self, n_decisions: int) -> float:
        """The factor of the loss of this process.

        torch takes the mean of the gradients of all processes, and the factor makes it the mean
        over all decisions. With one decision per recording, all processes have the same number of
        decisions, and the factor is 1.
        """
        world = self.trainer.world_size
        if world == 1 or self.task.name == "classification":
            return 1.0
        count = torch.tensor(float(n_decisions), device=self.device)
        total = self.trainer.strategy.reduce(count, reduce_op="sum")
        return n_decisions * world / max(float(total), 1.0)

    def on_validation_epoch_start(self) -> None:
        """Reject weights that are not finite, and begin a new tally.

        A neuron with NaN never spikes, so neither the loss nor the rates show it.
        """
        for name, weight in self.net.named_parameters():
            if not weight.isfinite().all():
                raise RuntimeError(
                    f"{name} is not finite after epoch {self.current_epoch + 1}: {DIVERGED}"
                )
        self._val_tally = None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and rates on a batch of the validation set, and add it to the measures."""
        outputs, loss, recording = self.run_batch(batch, "validation", batch_idx, self.global_rank)
        lengths = lengths_of(batch)

        rates = enumerate(recording.rates().values(), 1)
        metrics = {"val_loss": loss, **{f"rate_{depth}": rate for depth, rate in rates}}
        _, n_decisions = self.task.batch_score(outputs, batch.y, lengths)
        self._means.add(metrics, n_decisions)

        tally = self.task.tally(outputs, batch.y, lengths)
        self._val_tally = tally if self._val_tally is None else self._val_tally + tally

    def on_validation_epoch_end(self) -> None:
        """Log the means of the epoch and the measures of the whole validation set."""
        tally = self._val_tally
        assert tally is not None
        tally = self.trainer.strategy.reduce(tally.to(self.device), reduce_op="sum")
        measures = self.task.measures(tally.cpu())
        logged: dict[str, Any] = {f"val_{name}": value for name, value in measures.items()}
        logged |= self._means.take(self.trainer)
        # They are equal in all processes already, so the mean of Lightning does not change them.
        self.log_dict(logged, sync_dist=True)

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002
        """Measure the norm of the gradient of each synapse, by depth."""
        for depth, synapse in enumerate(self._synapses, 1):
            norms = [p.grad.detach().norm() for p in synapse.parameters() if p.grad is not None]
            if norms:
                self._means.add({f"grad_{depth}": torch.stack(norms).norm()})

    def configure_optimizers(self) -> Any:
        """The optimizer, which decays only weights, and the schedule of the learning rate."""
        optimizer = self.optimizer_of(self._parameter_groups())
        schedule = self.schedule_of(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_of(self, groups: list[dict[str, Any]]) -> Optimizer:
        """AdamW for groups of parameters with a learning rate and a weight decay each."""
        return torch.optim.AdamW(groups)

    def schedule_of(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """One cycle of the learning rate over all steps of the run."""
        rates, warmup = [group["lr"] for group in optimizer.param_groups], self.learning.warmup
        if warmup * steps == 1:
            warmup *= 1 + 1e-9  # torch divides by 0 if the rate rises for exactly one step
        return OneCycleLR(optimizer, rates, total_steps=steps, pct_start=warmup)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate and weight decay; most nets have two groups.

        The learning rate of scaled weights is larger by the gain, so that they learn as they would
        without a gain. Their weight decay is smaller by the gain, because AdamW multiplies both.
        """
        hidden = self._synapses[:-1] if self.charge_gain != 1 else ()
        scaled = {id(weight) for synapse in hidden for weight in synapse.parameters()}
        groups = []
        for group in weight_decay_groups(self, self.learning.weight_decay):
            for is_scaled, gain in ((False, 1.0), (True, self.charge_gain)):
                parameters = [p for p in group["params"] if (id(p) in scaled) == is_scaled]
                rate, decay = self.learning.rate * gain, group["weight_decay"] / gain
                groups.append({"params": parameters, "lr": rate, "weight_decay": decay})
        return [group for group in groups if group["params"]]

    def run_batch(
        self, batch: Batch, use: str, *step: int
    ) -> tuple[Tensor, Tensor, SpikeRecording]:
        """Outputs, loss of the task, and the record; `use` and `step` choose the chip."""
        seed = chip_seed(self.seed, use, *step, drawn=False) if self.draws_mismatch else None
        lengths = lengths_of(batch)
        with prepared(self.net, seed), prepared(self.decoder):
            recording = record_spikes(self.net, batch.x, lengths=lengths)
            outputs = self.decoder(recording.spk, recording.mem, lengths)
        return outputs, self.task.loss(outputs, batch.y, lengths), recording


class EpochMeans:
    """Weighted means of metrics over the batches of an epoch."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, metrics: Mapping[str, Tensor], weight: int = 1) -> None:
        """Add the metrics of a batch; `weight` is its number of decisions."""
        weight = max(weight, 1)
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach() * weight
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def take(self, trainer: Trainer) -> dict[str, Tensor]:
        """The means over the batches of all processes, and begin again."""
        sums = torch.stack([*map(torch.as_tensor, self._sums.values())])
        weights = torch.tensor(list(self._weights.values())).to(sums)
        sums, weights = trainer.strategy.reduce(torch.stack([sums, weights]), reduce_op="sum")
        means = dict(zip(self._sums, sums / weights, strict=True))
        self._sums.clear()
        self._weights.clear()
        return means


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's generator of the device.

    On a CPU, `torch.manual_seed` takes a millisecond: it keeps a trace of its callers for each kind
    of accelerator.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def spike_cost(
    hidden: Sequence[Tensor], learning: CompletedLearning, progress: float, n_steps: int | Tensor
) -> Tensor | float:
    """The part of the loss for hidden layers above the bound of their rates.

    Rates are means over the batches of all processes. The weight rises over the run, because a
    layer must first learn when to fire.

    Args:
        hidden: The rate of each hidden layer [spikes per step and neuron].
        learning: The bound and the weight.
        progress: The part of the run that is done, from 0 to 1.
        n_steps: Valid steps of the batch; a tensor stays on its device, so nothing waits for it.
    """
    if learning.most_spikes is None or not hidden:
        return 0.0
    rates = rates_of_all_processes(hidden, n_steps)
    excess = rate_excess(rates, [learning.most_spikes] * len(rates))
    return learning.spike_cost * progress * excess


def lengths_of(batch: Batch) -> Tensor | None:
    """Steps of each recording, `[B]`; None if the batch has no padding, which takes less time."""
    has_padding = bool((batch.lengths < batch.x.shape[1]).any())
    return batch.lengths if has_padding else None
