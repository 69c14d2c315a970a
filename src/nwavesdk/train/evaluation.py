"""The predictions of a net on a set of recordings, and the activity of its layers."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from nwavesdk.data import Series
from nwavesdk.layers import SpikingSequential, prepare_net
from nwavesdk.metrics import population_counts
from nwavesdk.train.run_data import tensor_dataset

__all__ = ["SATURATED", "Evaluation", "evaluate_net"]

SATURATED = 0.9
"""Spikes per step above which a neuron counts as saturated: it hardly carries information."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions on one set.

    Args:
        predicted: Class with the most spikes, `[B]`.
        labels: True class, `[B]`.
        rates: Mean firing rate of each neuron layer, by depth [spikes per step and neuron].
        dead: Fraction of each layer's neurons that never fired.
        saturated: Fraction of each layer's neurons that fired in more than `SATURATED` of steps.
    """

    predicted: Tensor
    labels: Tensor
    rates: tuple[float, ...]
    dead: tuple[float, ...]
    saturated: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """Fraction of correct predictions."""
        return (self.predicted == self.labels).double().mean().item()

    def confusion(self, n_classes: int) -> Tensor:
        """Number of recordings by true class (rows) and predicted class (columns), `[C, C]`."""
        cells = self.labels * n_classes + self.predicted
        return torch.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


@torch.no_grad()
def evaluate_net(
    net: SpikingSequential, series: Series, n_classes: int, batch_size: int
) -> Evaluation:
    """Run a set through a net without dropout, on the device of the net.

    Args:
        net: A net from input `[B, T, F]` to output spikes `[B, T, n_classes * population]`.
        series: The set.
        n_classes: Number of populations.
        batch_size: Recordings per batch; it changes only the time.

    Returns:
        Predictions in the order of the set.
    """
    was_training = net.training
    net.eval()
    device = next(net.parameters()).device
    predicted: list[Tensor] = []
    fired: list[list[Tensor]] = []  # by batch and layer: spikes per step, summed over recordings
    for x, _ in DataLoader(tensor_dataset(series), batch_size):
        prepare_net(net)
        record = net.record(x.to(device))
        predicted.append(population_counts(record.spk, n_classes).argmax(dim=1).cpu())
        layers = record.layers.values()
        fired.append([layer.spk.double().mean(1).sum(0).cpu() for layer in layers])
    net.train(was_training)
    rates = [sum(batches[1:], batches[0]) / len(series) for batches in zip(*fired, strict=True)]
    return Evaluation(
        torch.cat(predicted),
        torch.from_numpy(series.labels),
        rates=tuple(r.mean().item() for r in rates),
        dead=tuple((r == 0).double().mean().item() for r in rates),
        saturated=tuple((r > SATURATED).double().mean().item() for r in rates),
    )
