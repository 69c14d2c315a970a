"""What a net says about a part of the data: every prediction, and how active its layers were."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from nwavesdk.data import Series
from nwavesdk.layers import SpikingSequential, prepare_net
from nwavesdk.metrics import population_counts
from nwavesdk.train.loaders import tensors

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions on one part.

    Args:
        predicted: Class with the most spikes, `[B]`.
        labels: True class, `[B]`.
        rates: Mean firing rate of each neuron layer, in order of depth [spikes a step and neuron].
    """

    predicted: Tensor
    labels: Tensor
    rates: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return (self.predicted == self.labels).double().mean().item()

    def confusion(self, n_classes: int) -> Tensor:
        """Number of recordings by true class (rows) and predicted class (columns), `[C, C]`."""
        cells = self.labels * n_classes + self.predicted
        return torch.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


@torch.no_grad()
def evaluate(net: SpikingSequential, series: Series, n_classes: int, batch_size: int) -> Evaluation:
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
    predicted, rates = [], torch.zeros(0, dtype=torch.float64)
    for x, labels in DataLoader(tensors(series), batch_size):
        prepare_net(net)
        record = net.record(x.to(device))
        predicted.append(population_counts(record.spk, n_classes).argmax(dim=1).cpu())
        active = torch.stack([layer.spk.double().mean().cpu() for layer in record.layers.values()]) * len(labels)
        rates = active if not len(rates) else rates + active
    net.train(was_training)
    mean = rates / len(series)
    return Evaluation(torch.cat(predicted), torch.from_numpy(series.labels), tuple(mean.tolist()))
