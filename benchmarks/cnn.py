"""Convolutional nets without spikes, for comparison: on frames as a picture, and over time.

Design requirements:

- A net gets what a spiking net gets: the frames of `Series`, in the same sets and augmentation.
- What comes after the end of a recording reaches no score.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d, pad, relu
from torch.utils.flop_counter import FlopCounterMode

from nwavesdk.data import Batch, Series
from nwavesdk.data.batches import PADDING_LABEL
from nwavesdk.layers import valid_steps
from nwavesdk.train.fit.loaders import BatchOrder

__all__ = ["Learned", "PictureNet", "StepNet", "learn", "macs_of", "net_for", "score"]

BATCH = 64
UPDATES = 1500
MIN_EPOCHS = 10
MAX_EPOCHS = 200
# Epochs at the end of which the validation set is read, about.
EVALUATIONS = 60
PEAK_RATE = 4e-3
WEIGHT_DECAY = 1e-2
SMOOTHING = 0.05
DROPOUT = 0.15


class PictureNet(nn.Module):
    """Five 3 x 3 convolutions with batch norm, three pools, and the mean over the picture.

    With 12 classes and one channel, the net has 45,996 parameters.

    Args:
        shape: Shape of the features of a frame, `[F]`, `[H, W]` or `[C, H, W]`.
        classes: Number of classes.
        colors_last: Whether the shape is `[H, W, C]`.
        width: By how much the number of channels is multiplied.

    Shape:
        Input `[B, T, F]`; scores `[B, C]`. Frames of sound are the rows of a picture. Images and
        events are one picture: the mean over the steps.
    """

    CHANNELS = (16, 24, 32, 48, 48)
    POOLS = 3

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        colors_last: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.colors_last = colors_last
        n_in = (shape[-1] if colors_last else shape[0]) if len(shape) == 3 else 1
        channels = scaled(self.CHANNELS, width)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False)
            for before, after in zip((n_in, *channels), channels, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in channels)
        self.dropout = nn.Dropout(DROPOUT)
        self.scores = nn.Linear(channels[-1], classes)
        # On a CPU, the convolutions are then 1.6 times as fast.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        x, lengths = self.picture(x, lengths)
        for depth, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            x = relu(norm(convolution(x)))
            if (lengths < x.shape[2]).any():
                x = x * mask_of(lengths, x.shape[2])[:, None, :, None]
            if depth < self.POOLS and min(x.shape[2:]) > 1:
                x = max_pool2d(x, 2, ceil_mode=True)
                lengths = (lengths + 1) // 2
        features = mean_over(x.mean(3).transpose(1, 2), lengths)
        scores: Tensor = self.scores(self.dropout(features))
        return scores

    def picture(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The input as `[B, C, H, W]`, and the valid rows of each picture."""
        if len(self.shape) == 1:
            return x[:, None], lengths
        x = mean_over(x, lengths).unflatten(1, self.shape)
        if self.colors_last:
            x = x.movedim(-1, 1)
        elif len(self.shape) == 2:
            x = x[:, None]
        return x, torch.full_like(lengths, x.shape[2])


class StepNet(nn.Module):
    """Three convolutions over time with batch norm, then the mean over time or scores of steps.

    For a class per recording, it is nearly the net of the reference, with half of its filters. For
    a class per step, the taps of the convolutions are 1, 4 and 16 steps apart, and none sees the
    future: as for a spiking net, the look-ahead of the set decides what a class may depend on.

    Args:
        n_features: Features of a frame.
        classes: Number of classes.
        is_per_step: Whether each step has scores.
        width: By how much the number of filters is multiplied.

    Shape:
        Input `[B, T, F]`; scores `[B, C]`, or `[B, T, C]`.

    References:
        Wang, Yan and Oates 2017, Time series classification from scratch with deep neural
        networks, section II.B, doi:10.1109/IJCNN.2017.7966039.
    """

    def __init__(
        self, n_features: int, classes: int, *, is_per_step: bool, width: float = 1.0
    ) -> None:
        super().__init__()
        self.is_per_step = is_per_step
        filters = scaled((32, 32, 32) if is_per_step else (64, 128, 64), width)
        taps = (9, 9, 9) if is_per_step else (7, 5, 3)
        dilations = (1, 4, 16) if is_per_step else (1, 1, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(
                before,
                after,
                n,
                padding=0 if is_per_step else "same",
                dilation=dilation,
                bias=False,
            )
            for before, after, n, dilation in zip(
                (n_features, *filters), filters, taps, dilations, strict=False
            )
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in filters)
        self.dropout = nn.Dropout(DROPOUT)
        self.scores = nn.Linear(filters[-1], classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = mask_of(lengths, x.shape[1])[:, None]
        x = x.transpose(1, 2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            if self.is_per_step:
                x = pad(x, (convolution.dilation[0] * (convolution.kernel_size[0] - 1), 0))
            x = relu(norm(convolution(x))) * mask
        x = x.transpose(1, 2)
        features = x if self.is_per_step else mean_over(x, lengths)
        scores: Tensor = self.scores(self.dropout(features))
        return scores


def scaled(channels: tuple[int, ...], width: float) -> tuple[int, ...]:
    """The numbers of channels times a width, each at least 1."""
    return tuple(max(1, round(width * count)) for count in channels)


def mask_of(lengths: Tensor, steps: int) -> Tensor:
    """1 for each valid step and 0 after it, float `[B, T]`."""
    return valid_steps(lengths, steps).float()


def mean_over(x: Tensor, lengths: Tensor) -> Tensor:
    """The mean of `[B, T, F]` over the valid steps, `[B, F]`."""
    return (x * mask_of(lengths, x.shape[1])[:, :, None]).sum(1) / lengths[:, None]


def net_for(
    kind: str, shape: tuple[int, ...], classes: int, *, is_per_step: bool, width: float = 1.0
) -> nn.Module:
    """The net for recordings of a kind.

    Args:
        kind: `"sound"`, `"image"`, `"events"`, `"series"` or `"features"`.
        shape: Shape of the features of a frame.
        classes: Number of classes.
        is_per_step: Whether each step has a class.
        width: By how much the numbers of channels are multiplied.
    """
    is_picture = kind in ("sound", "image") or (kind == "events" and len(shape) > 1)
    if is_picture and not is_per_step:
        colors_last = kind == "image" and len(shape) == 3
        return PictureNet(shape, classes, colors_last=colors_last, width=width)
    return StepNet(math.prod(shape), classes, is_per_step=is_per_step, width=width)


def macs_of(net: nn.Module, series: Series) -> int:
    """Multiplications with additions for one recording of median length."""
    lengths = series.lengths
    index = int(np.argsort(lengths)[len(lengths) // 2])
    batch = series.batch([index])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(batch.x, batch.lengths)
    return int(counter.get_total_flops()) // 2


@dataclass(frozen=True)
class Learned:
    """A trained net and its choice of the epoch.

    Attributes:
        net: The net with the weights of the best epoch.
        validation: The fraction of right decisions on the validation set.
        epoch: The best epoch, from 1.
        epochs: Number of epochs.
    """

    net: nn.Module
    validation: float
    epoch: int
    epochs: int


def learn(
    net: nn.Module, train: Series, val: Series, seed: int, epochs: int | None = None
) -> Learned:
    """Train with AdamW and one cycle of the learning rate; select the epoch on the validation set.

    Args:
        net: The net; its weights change.
        train: The training set.
        val: The validation set.
        seed: Seed of order and dropout.
        epochs: Passes over the training set. [as many as give about 1,500 updates]
    """
    size = min(BATCH, max(4, len(train) // 8))
    n_batches = math.ceil(len(train) / size)
    if epochs is None:
        epochs = min(MAX_EPOCHS, max(MIN_EPOCHS, round(UPDATES / n_batches)))
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=epochs * n_batches, pct_start=0.2
    )
    order = BatchOrder(train, size, seed)
    every = math.ceil(epochs / EVALUATIONS)
    best = (-1.0, 0)
    weights: dict[str, Tensor] = {}
    for epoch in range(epochs):
        net.train()
        order.set_epoch(epoch)
        for batch in batches_in(train, list(order), size):
            optimizer.zero_grad()
            loss_of(net, batch).backward()
            optimizer.step()
            schedule.step()
        if (epoch + 1) % every and epoch + 1 < epochs:
            continue
        validation = score(net, val)
        # Of equal epochs the later one: its learning rate is lower.
        if validation >= best[0]:
            best = (validation, epoch + 1)
            weights = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(weights)
    return Learned(net, *best, epochs)


def batches_in(series: Series, indices: list[int], size: int) -> Iterator[Batch]:
    """The recordings at some indices in batches; a last batch of one is left out of an order."""
    for start in range(0, len(indices), size):
        chosen = indices[start : start + size]
        if len(chosen) > 1 or len(indices) == 1:
            yield series.batch(np.array(chosen, np.int64))


def loss_of(net: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of recordings or of valid steps."""
    outputs = net(batch.x, batch.lengths).flatten(0, -2)
    return cross_entropy(
        outputs, batch.y.flatten(), ignore_index=PADDING_LABEL, label_smoothing=SMOOTHING
    )


@torch.no_grad()
def score(net: nn.Module, series: Series) -> float:
    """The fraction of right decisions: of recordings, or of valid steps."""
    net.eval()
    right = total = 0
    for start in range(0, len(series), BATCH):
        batch = series.batch(np.arange(start, min(start + BATCH, len(series))))
        predicted = net(batch.x, batch.lengths).argmax(-1)
        is_valid = batch.y != PADDING_LABEL
        right += int((predicted == batch.y)[is_valid].sum())
        total += int(is_valid.sum())
    return right / total
