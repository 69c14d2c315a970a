"""A small, sparse spiking net on spoken words: convolutions over time and frequency, no recurrence.

Run: python -m benchmarks.spoken_words FOLDER [--epochs 45] [--seed 0]

FOLDER has `train`, `val` and `test`, each with a folder of FLAC files per word. Features are 40
log-mel bands in 98 frames of 10 ms. Batch norm is in front of each spiking layer. The rate of each
layer has a bound, which comes in over the first epochs.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.words import BANDS, load_words
from nwavesdk.layers import (
    LIFLayer,
    Recording,
    SpikingSequential,
    TemporalConv,
    TimeBatchNorm,
    prepare_net,
)
from nwavesdk.surrogate import fast_sigmoid

__all__ = ["build", "main"]

BATCH = 64
PEAK_RATE = 4e-3
MAX_SPIKES = 0.03
BOUND_WEIGHT = 0.2
BOUND_EPOCHS = 10


def build(classes: int) -> SpikingSequential:
    """A net for frames [B, T, 40], which gives scores per step [B, T, classes]."""
    return SpikingSequential(
        nn.Unflatten(1, (1, BANDS)),
        # Over 3 steps and 5 bands: 40 -> 18 -> 7 bands.
        *spiking(TemporalConv(1, 16, taps=3, kernel=5, stride=2), 16, 18),
        nn.Dropout(0.15),
        *spiking(TemporalConv(16, 16, taps=3, kernel=5, stride=2), 16, 7),
        nn.Dropout(0.15),
        nn.Flatten(),
        # Over time: 12 steps back, every third; then 16 steps back, every eighth.
        *spiking(TemporalConv(16 * 7, 48, taps=5, dilation=3), 48),
        nn.Dropout(0.15),
        *spiking(TemporalConv(48, 48, taps=3, dilation=8), 48),
        nn.Dropout(0.15),
        nn.Linear(48, classes),
    )


def spiking(conv: TemporalConv, *features: int) -> tuple[nn.Module, ...]:
    """A convolution with batch norm, and neurons whose time constants are from 10 to 100 ms."""
    norm = TimeBatchNorm(features[0])
    nn.init.constant_(norm.weight, 0.6)
    taus = torch.empty(features).uniform_(math.log(0.01), math.log(0.1)).exp()
    return conv, norm, LIFLayer(features, taus, dt=0.01, spike_grad=fast_sigmoid(5))


def scores(recording: Recording) -> Tensor:
    """The scores of each recording, [B, classes]."""
    return 8 * recording.mem.mean(1)


def rates(recording: Recording) -> list[Tensor]:
    """Spikes per step and neuron of each layer."""
    return [layer.spk.mean() for layer in recording.layers.values()]


def center(x: Tensor, scale: Tensor) -> Tensor:
    """Each recording without its mean over time, in units of `scale`."""
    return (x - x.mean(1, keepdim=True)) / scale


def augment(x: Tensor, scale: Tensor) -> Tensor:
    """Gain and noise on log power, a shift of up to 120 ms, centering, masks in both axes."""
    B, T, F = x.shape
    floor = torch.rand(B, 1, 1) * 5 - 9.5 + torch.randn(B, T, F) * 0.5
    x = torch.logaddexp(x + 0.7 * torch.randn(B, 1, 1), floor)
    x = torch.stack([row.roll(int(torch.randint(-12, 13, ())), 0) for row in x])
    x = center(x, scale)
    for row in x:
        for axis, longest in ((1, 6), (0, 15)) * 2:
            width = int(torch.randint(0, longest + 1, ()))
            start = int(torch.randint(0, row.shape[axis] - width + 1, ()))
            row.narrow(axis, start, width).zero_()
    return x


@torch.no_grad()
def evaluate(net: SpikingSequential, x: Tensor, y: Tensor, scale: Tensor) -> str:
    """Accuracy and rates, as text."""
    net.eval()
    right = 0
    total = torch.zeros(4)
    for picked in torch.arange(len(x)).split(240):
        prepare_net(net)
        recording = net.record(center(x[picked], scale))
        right += int((scores(recording).argmax(1) == y[picked]).sum())
        total += len(picked) * torch.stack(rates(recording))
    return f"{right / len(x):.4f}, rates {(total / len(x)).numpy().round(3).tolist()}"


def train_epoch(
    net: SpikingSequential,
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    schedule: torch.optim.lr_scheduler.OneCycleLR,
    bound_weight: float,
) -> None:
    """One pass over all recordings, in a new order."""
    net.train()
    for picked in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
        schedule.optimizer.zero_grad()
        prepare_net(net)
        recording = net.record(augment(x[picked], scale))
        loss = cross_entropy(scores(recording), y[picked], label_smoothing=0.05)
        excess = torch.stack(rates(recording)) / MAX_SPIKES - 1
        (loss + bound_weight * excess.relu().sum()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        schedule.optimizer.step()
        schedule.step()


def main() -> None:
    """Train, and print validation every fifth epoch, and the test set once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    x, y = load_words(options.folder / "train")
    scale = x.std((0, 1))
    net = build(int(y.max()) + 1)
    print(sum(p.numel() for p in net.parameters()), "parameters")
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=options.epochs * (len(x) // BATCH), pct_start=0.2
    )
    validation = load_words(options.folder / "val")
    for epoch in range(options.epochs):
        bound_weight = BOUND_WEIGHT * min(1, epoch / BOUND_EPOCHS)
        train_epoch(net, x, y, scale, schedule, bound_weight)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: validation {evaluate(net, *validation, scale)}", flush=True)
    print(f"test {evaluate(net, *load_words(options.folder / 'test'), scale)}")


if __name__ == "__main__":
    main()
