"""The evaluation of a trained net on a set."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nwavesdk.data import Batch, Series
from nwavesdk.data.batches import batches_of
from nwavesdk.layers.lengths import sum_over_steps, valid_steps
from nwavesdk.net.preparation import prepared
from nwavesdk.net.recording import record_spikes
from nwavesdk.train.fit.learner import lengths_of
from nwavesdk.train.fit.tasks import TrainingTask

__all__ = ["SATURATED", "Evaluation", "evaluate_net"]

# Spikes per step above which a neuron counts as saturated: it hardly carries information.
SATURATED = 0.9


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions on one set, as one row of decisions: all recordings, one after the other.

    Args:
        predicted: Class of each recording, int64 `[B]`; class of each step, int64 `[steps]`; or
            values of each step in the units of the target, float32 `[steps, D]`.
        targets: What is right, in the same shape.
        lengths: Decisions of each recording, `[B]`: 1, or its steps.
        tally: The sums from which the measures follow; see `TrainingTask.tally`.
        measures: Accuracy and others, or R² and others, by name.
        neuron_rates: Spikes per step of each neuron, the mean over recordings, float64 `[N]`, by
            the name of each layer that spikes, by depth.
    """

    predicted: Tensor
    targets: Tensor
    lengths: Tensor
    tally: Tensor
    measures: dict[str, float]
    neuron_rates: dict[str, Tensor]

    @property
    def rates(self) -> tuple[float, ...]:
        """Mean firing rate of each layer [spikes per step and neuron]."""
        return tuple(rates.mean().item() for rates in self.neuron_rates.values())

    @property
    def dead(self) -> tuple[float, ...]:
        """Fraction of each layer's neurons that never fired."""
        return tuple((rates == 0).double().mean().item() for rates in self.neuron_rates.values())

    @property
    def saturated(self) -> tuple[float, ...]:
        """Fraction of each layer's neurons that fired in more than `SATURATED` of steps."""
        return tuple(
            (rates > SATURATED).double().mean().item() for rates in self.neuron_rates.values()
        )

    def named_measures(self, part: str) -> dict[str, float]:
        """The measures with the name of the set, as in `test_accuracy`."""
        return {f"{part}_{name}": value for name, value in self.measures.items()}

    def recording(self, index: int) -> tuple[Tensor, Tensor]:
        """Predictions and targets of one recording."""
        end = int(self.lengths[: index + 1].sum())
        decisions = slice(end - int(self.lengths[index]), end)
        return self.predicted[decisions], self.targets[decisions]


@torch.no_grad()
def evaluate_net(net: nn.Module, task: TrainingTask, series: Series, batch_size: int) -> Evaluation:
    """Run a set through a net without dropout, on the device of the net.

    Args:
        net: A net from input `[B, T, F]` to the output layer of the task.
        task: The task, fitted or scaled.
        series: The set.
        batch_size: Recordings per batch; it changes only the time.

    Returns:
        Predictions in the order of the set.
    """
    was_training = net.training
    net.eval()
    weight = next(net.parameters())
    decoder = task.decoder().to(weight.device, weight.dtype)
    batches = [
        _evaluate_batch(net, decoder, task, batch, series.input.look_ahead)
        for batch in batches_of(series, batch_size)
    ]
    net.train(was_training)

    predicted, targets, lengths, tallies, fired = zip(*batches, strict=True)
    tally = torch.stack(tallies).sum(dim=0)
    return Evaluation(
        predicted=torch.cat(predicted),
        targets=torch.cat(targets),
        lengths=torch.cat(lengths),
        tally=tally,
        measures=task.measures(tally),
        neuron_rates={
            name: torch.stack([rates[name] for rates in fired]).sum(0) / len(series)
            for name in fired[0]
        },
    )


def _evaluate_batch(
    net: nn.Module, decoder: nn.Module, task: TrainingTask, batch: Batch, look_ahead: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Predictions, targets, decisions per recording, tally, and spikes as of `_mean_spikes`."""
    device = next(net.parameters()).device
    lengths = lengths_of(batch)
    on_device = None if lengths is None else lengths.to(device)
    with prepared(net), prepared(decoder):
        recording = record_spikes(net, batch.x.to(device), lengths=on_device)
        outputs = decoder(recording.spk, recording.mem, on_device)

    predicted, targets = task.predict(outputs).cpu(), batch.y
    decisions = torch.ones_like(batch.y)
    if predicted.ndim > 1:  # a decision per step
        is_valid = valid_steps(batch.lengths, batch.x.shape[1])
        is_valid[:, :look_ahead] = False
        decisions = batch.lengths - look_ahead
        predicted, targets = predicted[is_valid], batch.y[is_valid]
    tally = task.tally(outputs, batch.y.to(device), on_device)
    fired = {name: _mean_spikes(spk, on_device).cpu() for name, spk in recording.spiking.items()}
    return predicted, targets, decisions, tally, fired


def _mean_spikes(spk: Tensor, lengths: Tensor | None) -> Tensor:
    """Spikes per step of each neuron, summed over recordings, `[N]`."""
    # Counts are exact, and smaller than the spikes by a factor of T.
    counts = sum_over_steps(spk, lengths).flatten(1).double()
    n_steps = spk.shape[1] if lengths is None else lengths[:, None]
    return (counts / n_steps).sum(0)
