"""What delays bring on spoken words, and what rounding them to whole steps costs.

    python -m research.delayed_words FOLDER [--epochs N] [--seeds N]

FOLDER has the folders `train` and `val` with one folder of FLAC files of up to a second per word.
A net of 40 log-mel bands, two spiking layers of 96 neurons and a linear read-out learns them four
times: without delays, and with delays up to 240 ms between its two spiking layers (fixed random
ones, one learned per input, one learned per connection), with linear interpolation. The table is
printed as Markdown.
"""

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.words import BANDS, load_words
from nwavesdk.layers import (
    DelayedSynapse,
    Dropout,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    TimeBatchNorm,
)
from nwavesdk.net import rounding_change
from nwavesdk.surrogate import fast_sigmoid

HIDDEN, MAX_DELAY = 96, 24
BATCH, PEAK_RATE = 64, 1e-2
KINDS = ("none", "fixed", "per input", "per connection")

Set = tuple[Tensor, Tensor]


def load(folder: Path) -> Set:
    """Frames [recordings, T, bands] without the mean of each recording, and labels."""
    x, y = load_words(folder)
    return x - x.mean(1, keepdim=True), y


def hidden_synapse(kind: str) -> nn.Module:
    """The synapse between the spiking layers."""
    if kind == "none":
        return LIFSynapse(HIDDEN, HIDDEN)
    per = "input" if kind == "per input" else "connection"
    return DelayedSynapse(HIDDEN, HIDDEN, MAX_DELAY, per=per, learn_delays=kind != "fixed")


def build(kind: str, classes: int) -> SpikingSequential:
    """The net; its outputs are scores per step."""

    def neurons() -> list[nn.Module]:
        taus = torch.empty(HIDDEN).uniform_(math.log(0.01), math.log(0.1)).exp()
        norm = TimeBatchNorm(HIDDEN)
        nn.init.constant_(norm.weight, 0.6)
        return [norm, LIFLayer(HIDDEN, taus, dt=0.01, spike_grad=fast_sigmoid(5)), Dropout(0.1)]

    first = LIFSynapse(BANDS, HIDDEN)
    hidden = hidden_synapse(kind)
    return SpikingSequential(first, *neurons(), hidden, *neurons(), nn.Linear(HIDDEN, classes))


def scores(net: nn.Module, x: Tensor) -> Tensor:
    """Scores per class, the mean over all steps."""
    outputs: Tensor = net(x)[0]
    return 8 * outputs.mean(1)


def train(net: nn.Module, data: Set, epochs: int) -> None:
    """AdamW with one cycle; delays are not pulled to 0."""
    x, y = data
    delays = [p for name, p in net.named_parameters() if "delays" in name]
    others = [p for name, p in net.named_parameters() if "delays" not in name]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": delays, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
    batches = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=epochs * batches
    )
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(x))[: batches * BATCH], BATCH):
            loss = nn.functional.cross_entropy(scores(net, x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(net: nn.Module, data: Set) -> float:
    """Share of the recordings whose word has the largest score."""
    x, y = data
    best = torch.cat([scores(net, part).argmax(1) for part in torch.split(x, 240)])
    return float((best == y).double().mean())


def main() -> None:
    """Print one row per kind of delay: means over the seeds."""
    parser = argparse.ArgumentParser(prog="python -m research.delayed_words")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    (x, y), (x_val, y_val) = (load(args.folder / name) for name in ("train", "val"))
    scale = x.std()
    print("| delays | between steps | whole steps | mean distance from whole steps |")
    print("|---|---|---|---|")
    for kind in KINDS:
        rows = []
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            net = build(kind, int(y.max()) + 1)
            train(net, (x / scale, y), args.epochs)
            measure = partial(accuracy, data=(x_val / scale, y_val))
            if kind == "none":
                rows.append((0.0, measure(net.eval()), 0.0))
            else:
                rows.append((*rounding_change(net, measure),))
        means = torch.tensor(rows, dtype=torch.float64).mean(0).tolist()
        between = "" if kind == "none" else f"{means[0]:.1%}"
        print(f"| {kind} | {between} | {means[1]:.1%} | {means[2]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
