"""A preset trained in a loop of your own, as `nwave train` trains it: about ten seconds.

    python examples/own_loop.py

The net is the page of a preset, which `nwave net conv > net.py` copies. Loss, augmentation, weight
decay, clipping and the cycle of the learning rate are as in a run; `nwave train` adds the
checkpoints, the choice of the best epoch and the report.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from nwavesdk.data import (
    Augmentation,
    Batch,
    NetInput,
    Series,
    Standard,
    choose_split,
    load_digits,
)
from nwavesdk.loss import membrane_readout, rate_excess_loss
from nwavesdk.net import record
from nwavesdk.optim import weight_decay_groups
from nwavesdk.presets import conv
from nwavesdk.train.fit.network import sample_config

EPOCHS, BATCH, PEAK_RATE = 3, 64, 1e-2
MAX_SPIKES, SPIKE_COST = 0.05, 0.2  # bound of the rates of hidden layers, and its weight
CHANGES = Augmentation("series", shift=0.1, scale=0.1, time_mask=0.1)


def load() -> tuple[Series, Series]:
    """The spoken digits to learn from, which change in each epoch, and those to validate on."""
    digits = load_digits()
    indices = choose_split(digits.keys, digits.labels, digits.classes).indices
    scaled = NetInput(standard=Standard.fit(digits.take(indices.train)))
    train, val = (Series(digits.take(part), scaled) for part in (indices.train, indices.val))
    return replace(train, augmentation=CHANGES), val


def scores_and_loss(net: nn.Module, batch: Batch, cost: float) -> tuple[Tensor, Tensor]:
    """The score of each class, `[B, C]`, and the loss of a batch.

    Args:
        net: A net that returns scores for each step.
        batch: Input, labels, and steps of each recording; padding does not count.
        cost: Weight of the spikes above their bound.
    """
    recording = record(net, batch.x, lengths=batch.lengths)
    scores = membrane_readout(recording.mem, "mean", batch.lengths)
    hidden = [layer.spk for layer in recording.spiking.values()]
    excess = rate_excess_loss(hidden, MAX_SPIKES, batch.lengths)
    loss = nn.functional.cross_entropy(scores, batch.y, label_smoothing=0.05)
    return scores, loss + cost * excess


def main() -> None:
    """Train, and print the accuracy and the rates of the layers on the validation set."""
    torch.manual_seed(0)
    train, val = load()
    config = sample_config("conv", (13,), 10, "features", dropout=0.1)
    net = conv.build((13,), 10, config)

    steps = EPOCHS * (len(train) // BATCH)
    optimizer = torch.optim.AdamW(weight_decay_groups(net, 1e-2), PEAK_RATE)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=steps, pct_start=0.2
    )
    for step in range(steps):
        epoch, batch_number = divmod(step, len(train) // BATCH)
        if batch_number == 0:
            order = torch.randperm(len(train)).tolist()
        chosen = order[batch_number * BATCH : (batch_number + 1) * BATCH]
        batch = train.batch([train.variation_index(index, epoch) for index in chosen])
        # The cost of spikes comes in over the first quarter of the steps.
        _, loss = scores_and_loss(net, batch, SPIKE_COST * min(1.0, 4 * step / steps))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        cycle.step()

    net.eval()
    batch = val.whole()
    with torch.no_grad():
        scores, _ = scores_and_loss(net, batch, 0.0)
        rates = record(net, batch.x, lengths=batch.lengths).rates()
    print("rates:", ", ".join(f"{rate:.3f}" for rate in rates.values()))
    print(f"validation accuracy: {(scores.argmax(1) == batch.y).double().mean():.3f}")


if __name__ == "__main__":
    main()
