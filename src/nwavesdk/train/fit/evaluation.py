"""The evaluation of a trained net on a set."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nwavesdk.data import Batch, Series
from nwavesdk.layers.lengths import sum_over_steps, valid_steps
from nwavesdk.net.preparation import prepared
from nwavesdk.net.recording import record_spikes
from nwavesdk.train.fit.learner import lengths_of
from nwavesdk.train.fit.loaders import batches_of
from nwavesdk.train.fit.objective import TrainingTask

__all__ = ["SATURATED", "Evaluation", "evaluate_net"]

# A neuron with more spikes per step is saturated: it hardly carries information.
SATURATED = 0.9


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """Predictions on one set, as one list of decisions: all recordings, one after the other.

    Args:
        predicted: Class of each recording, int64 `[B]`; class of each step, int64 `[steps]`; or
            values of each step in the units of the target, float32 `[steps, D]`.
        targets: The true classes or values, in the same shape.
        lengths: Number of decisions of each recording, `[B]`: 1, or its number of steps.
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

    def layers(self) -> dict[str, list[float]]:
        """Numbers of each layer, by depth.

        `rates` are spikes per step and neuron; `dead` and `saturated` are the fractions of neurons
        that never fired, and of neurons that fired in more than `SATURATED` of their steps.
        """
        rates = self.neuron_rates.values()
        return {
            "rates": [layer.mean().item() for layer in rates],
            "dead": [(layer == 0).double().mean().item() for layer in rates],
            "saturated": [(layer > SATURATED).double().mean().item() for layer in rates],
        }

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
    """Run a set through a net in `eval()`, without dropout, on the device of the net.

    Args:
        net: A net from input `[B, T, F]` to the output layer of the task.
        task: The task, fitted or scaled.
        series: The set.
        batch_size: Recordings per batch; it changes only the time.

    Returns:
        Predictions in the order of the set.
    """
    net.eval()
    weight = next(net.parameters())
    decoder = task.decoder().to(weight.device, weight.dtype)
    results = []
    for loaded in batches_of(series, batch_size):
        batch = Batch(*[value.to(weight.device) for value in loaded])
        lengths = lengths_of(batch)
        with prepared(net), prepared(decoder):
            recording = record_spikes(net, batch.x, lengths=lengths)
            outputs = decoder(recording.spk, recording.mem, lengths)

        predicted, targets = task.predict(outputs), batch.y
        n_decisions = torch.ones_like(batch.lengths)
        if predicted.ndim > 1:  # a decision per step
            is_valid = valid_steps(batch.lengths, batch.x.shape[1])
            is_valid[:, : series.input.look_ahead] = False  # these steps have no class
            n_decisions = is_valid.sum(dim=1)
            predicted, targets = predicted[is_valid], targets[is_valid]

        tally = task.tally(outputs, batch.y, lengths)
        fired = {name: _mean_spikes(spk, lengths) for name, spk in recording.spiking.items()}
        results.append((predicted, targets, n_decisions, tally, fired))

    all_predicted, all_targets, all_lengths, tallies, all_fired = zip(*results, strict=True)
    tally = torch.stack(tallies).sum(dim=0)
    return Evaluation(
        predicted=torch.cat(all_predicted).cpu(),
        targets=torch.cat(all_targets).cpu(),
        lengths=torch.cat(all_lengths).cpu(),
        tally=tally,
        measures=task.measures(tally),
        neuron_rates={
            name: torch.stack([rates[name] for rates in all_fired]).sum(0).cpu() / len(series)
            for name in all_fired[0]
        },
    )


def _mean_spikes(spk: Tensor, lengths: Tensor | None) -> Tensor:
    """Spikes per step of each neuron, summed over recordings, `[N]`."""
    # Counts are exact, and take 1 / T of the memory of the spikes.
    counts = sum_over_steps(spk, lengths).flatten(1).double()
    n_steps = spk.shape[1] if lengths is None else lengths[:, None]
    return (counts / n_steps).sum(0)
