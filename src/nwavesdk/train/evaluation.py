"""What a net says about a part of the data: every prediction, and how active its layers were."""

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
"""Spikes a step from which on a neuron counts as saturated: it tells nothing any more."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions on one part.

    Args:
        predicted: Class with the most spikes, `[B]`.
        labels: True class, `[B]`.
        rates: Mean firing rate of each neuron layer, in order of depth [spikes a step and neuron].
        dead: Share of each layer's neurons that never fired.
        saturated: Share of each layer's neurons that fired in more than `SATURATED` of all steps.
    """

    predicted: Tensor
    labels: Tensor
    rates: tuple[float, ...]
    dead: tuple[float, ...]
    saturated: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return (self.predicted == self.labels).double().mean().item()

    def confusion(self, n_classes: int) -> Tensor:
        """Number of recordings by true class (rows) and predicted class (columns), `[C, C]`."""
        cells = self.labels * n_classes + self.predicted
        return torch.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


@torch.no_grad()
def evaluate_net(
    net: SpikingSequential, series: Series, n_classes: int, batch_size: int
) -> Evaluation:
    """Run a part through a net, on the device of the net, without dropout.

    Args:
        net: Input `[B, T, F]` to output spikes `[B, T, n_classes * population]`.
        series: The part.
        n_classes: Number of populations.
        batch_size: Recordings at once; it changes the time only.

    Returns:
        Predictions in the order of the part.
    """
    was_training = net.training
    net.eval()
    device = next(net.parameters()).device
    predicted, fired = [], [torch.zeros((), dtype=torch.float64)]
    for x, _ in DataLoader(tensor_dataset(series), batch_size):
        prepare_net(net)
        record = net.record(x.to(device))
        predicted.append(population_counts(record.spk, n_classes).argmax(dim=1).cpu())
        spikes = [layer.spk.double().mean(1).sum(0).cpu() for layer in record.layers.values()]
        fired = (
            spikes if fired[0].ndim == 0 else [a + b for a, b in zip(fired, spikes, strict=True)]
        )
    net.train(was_training)
    rates = [neurons / len(series) for neurons in fired]
    return Evaluation(
        torch.cat(predicted),
        torch.from_numpy(series.labels),
        rates=tuple(r.mean().item() for r in rates),
        dead=tuple((r == 0).double().mean().item() for r in rates),
        saturated=tuple((r > SATURATED).double().mean().item() for r in rates),
    )
