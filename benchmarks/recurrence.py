"""Whether a recurrent net learns twelve spoken words, by surrogate and bound on its loop gain.

    python -m benchmarks.recurrence FOLDER --seeds 0 1 --output results.json

FOLDER has `train/WORD/*.flac` and `val/WORD/*.flac`. The net is 40-128-128-12: batch norm before
each of two recurrent layers, time constants drawn from 3 to 30 ms and learned, dropout 0.2, and a
read-out whose largest membranes are the logits. AdamW with a peak rate of 5e-3, one cycle, gradient
norm clipped at 1.

It prints, by epoch: validation accuracy, median and largest gradient norm before clipping, and of
both recurrent layers the loop gain and the factor per step by which gradients grow, as
`nwave diagnose` reports them.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.words import BANDS, load_words
from nwavesdk.analysis import examine_recording
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, Recording, prepare_net
from nwavesdk.surrogate import Surrogate, parse

HIDDEN, CLASSES = 128, 12
BATCH, PEAK_RATE, DROPOUT = 64, 5e-3, 0.2
READOUT_GAIN = 0.1
EXAMINED = 64


class Words(NamedTuple):
    """Log-mel frames [B, T, 40], centered in time and scaled, and labels [B]."""

    x: Tensor
    y: Tensor


def load(folder: Path, scale: Tensor | None = None) -> tuple[Words, Tensor]:
    """The recordings of a set, and the deviation of each band over them, [40]."""
    x, y = load_words(folder)
    scale = x.std((0, 1)) if scale is None else scale
    return Words((x - x.mean(1, keepdim=True)) / scale, y), scale


class Net(nn.Module):
    """Two recurrent layers between batch norms, and a read-out."""

    def __init__(self, surrogate: Surrogate, max_loop_gain: float | None, readout_gain: float):
        super().__init__()
        options = {"layer_topology": "RC", "max_loop_gain": max_loop_gain, "learn_taus": True}
        self.synapses = nn.ModuleList(LIFSynapse(n, HIDDEN) for n in (BANDS, HIDDEN))
        self.norms = nn.ModuleList(nn.BatchNorm1d(HIDDEN) for _ in range(2))
        self.layers = nn.ModuleList(
            LIFLayer(
                HIDDEN,
                torch.empty(HIDDEN).uniform_(3e-3, 30e-3),
                spike_grad=surrogate,
                **options,
            )
            for _ in range(2)
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.readout = LIFSynapse(HIDDEN, CLASSES)
        self.membranes = LILayer(CLASSES, tau=20e-3)
        with torch.no_grad():
            self.readout.weight.mul_(readout_gain)

    def charge(self, index: int, x: Tensor) -> Tensor:
        """The input charge [B, T, N] of a recurrent layer."""
        charge = self.synapses[index](x)
        normed: Tensor = self.norms[index](charge.flatten(0, 1)).view_as(charge)
        return normed

    def forward(self, x: Tensor) -> Tensor:
        prepare_net(self)
        for index, layer in enumerate(self.layers):
            x = self.dropout(layer(self.charge(index, x))[0])
        logits: Tensor = self.membranes(self.readout(x))[1].amax(1)
        return logits

    def loops(self, x: Tensor, y: Tensor) -> list[tuple[float | None, float | None]]:
        """Loop gain and growth per step of both recurrent layers on some recordings."""
        prepare_net(self)
        records = {}
        spikes = x
        for index, layer in enumerate(self.layers):
            records[str(index)] = layer.record(self.charge(index, spikes), charge=True)
            spikes = records[str(index)].spk
        membranes = self.membranes(self.readout(spikes))[1]
        charges = [record.cur for record in records.values()]
        gradients = torch.autograd.grad(cross_entropy(membranes.amax(1), y), charges)
        recording = Recording(spk=membranes, mem=membranes, layers=records)
        health = examine_recording(recording, dict(zip(records, gradients, strict=True)))
        return [(layer.loop_gain, layer.growth) for layer in health.layers]


@torch.no_grad()
def accuracy(net: Net, words: Words) -> float:
    """The share of recordings whose word is right."""
    parts = zip(words.x.split(240), words.y.split(240), strict=True)
    return sum(int((net(x).argmax(1) == y).sum()) for x, y in parts) / len(words.y)


def train(train_set: Words, val_set: Words, arguments: argparse.Namespace, **case: object) -> list:
    """One run: a row of numbers for each epoch."""
    torch.manual_seed(case["seed"])
    net = Net(parse(case["surrogate"]), case["max_loop_gain"], arguments.readout_gain)
    optimizer = torch.optim.AdamW(net.parameters(), PEAK_RATE)
    batches = len(train_set.y) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=arguments.epochs * batches
    )
    rows = []
    for epoch in range(1, arguments.epochs + 1):
        net.train()
        norms = []
        losses = []
        for picked in torch.randperm(len(train_set.y))[: batches * BATCH].view(batches, BATCH):
            optimizer.zero_grad()
            loss = cross_entropy(net(train_set.x[picked]), train_set.y[picked])
            loss.backward()
            norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), 1.0)))
            losses.append(loss.item())
            optimizer.step()
            schedule.step()
        net.eval()
        row = {
            "epoch": epoch,
            "first loss": losses[0],
            "loss": float(np.mean(losses)),
            "validation": accuracy(net, val_set),
            "median norm": float(np.median(norms)),
            "largest norm": max(norms),
            "loops": net.loops(val_set.x[:EXAMINED], val_set.y[:EXAMINED]),
        }
        rows.append(row)
        loops = ", ".join(f"gain {gain:.2f} growth {growth:.3f}" for gain, growth in row["loops"])
        print(
            f"{epoch:3d} loss {row['loss']:.3f} validation {row['validation']:.3f} "
            f"norm {row['median norm']:.2g} up to {row['largest norm']:.2g}; {loops}",
            flush=True,
        )
    return rows


def main() -> None:
    """Train all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--surrogates", nargs="+", default=["atan(2)", "fast_sigmoid(5)"])
    parser.add_argument("--bounds", nargs="+", default=["none", "1"], help="max_loop_gain, or none")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--readout-gain", type=float, default=READOUT_GAIN)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train_set, scale = load(arguments.folder / "train")
    val_set, _ = load(arguments.folder / "val", scale)
    results = []
    for seed in arguments.seeds:
        for surrogate in arguments.surrogates:
            for bound in arguments.bounds:
                limit = None if bound == "none" else float(bound)
                case = {"surrogate": surrogate, "max_loop_gain": limit, "seed": seed}
                print(case, flush=True)
                rows = train(train_set, val_set, arguments, **case)
                results.append({**case, "epochs": rows})
                if arguments.output is not None:
                    arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
