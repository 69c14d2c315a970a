"""Whether the recommended slopes train better than slope 25: nets of several depths, paired seeds.

    python -m research.slope_study [--out FOLDER] [--quick]

Both arms of a seed have the same initial weights and the same order of the same recordings (spoken digits, one step a
frame). The recommendation comes from `scan_slopes` on one batch before the first step. What counts is the accuracy on
the validation part after the last epoch; the test part is not touched. Cells that are in the file are not run again.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import results
from nwavesdk.analysis import scan_slopes
from nwavesdk.analysis.slopes.advice import SLOPES, surrogate_label
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.metrics import accuracy_population
from nwavesdk.surrogate import Surrogate, fast_sigmoid
from nwavesdk.train import RunConfig
from nwavesdk.train.classifier import population_loss
from nwavesdk.train.network import build_network
from nwavesdk.train.run_data import RunData, load_run_data
from research import RESULTS

DEPTHS = (2, 4, 8, 12)
"""Neuron layers, the last of them the output."""
SEEDS = range(5, 10)
"""The rule was chosen on smaller runs of seeds 0 and 1."""
WIDTH, BATCH, EPOCHS, RATE, SHARPNESS = 64, 64, 15, 8e-3, 25.0
ARMS = ("slope 25", "recommended")
T_QUANTILE = 2.776  # 97.5 % of Student's t with 4 degrees of freedom, as many as five pairs leave


def config_of(depth: int, limit: int | None) -> RunConfig:
    """A run's config of that depth."""
    net = {"hidden": [WIDTH] * (depth - 1), "dropout": 0.0}
    return RunConfig.of({"data": {"limit": limit, "hold": 1}, "net": net})


def loss_of(spk: Tensor, labels: Tensor) -> Tensor:
    """That of `nwave train`."""
    return population_loss(spk, labels, 10, SHARPNESS)


def network(config: RunConfig, seed: int) -> SpikingSequential:
    """The net of a seed, whatever its surrogates will be."""
    assert config.facts is not None
    torch.manual_seed(seed)
    return build_network(config.net, config.facts.n_features, 10)


def recommended(net: SpikingSequential, data: RunData, seed: int) -> list[Surrogate]:
    """What a scan of one batch recommends."""
    some = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:BATCH]
    x, labels = torch.from_numpy(data.train.x)[some], torch.from_numpy(data.train.labels)[some]
    scan = scan_slopes(
        net, x, lambda spk, _: loss_of(spk, labels), [fast_sigmoid(slope) for slope in SLOPES]
    )
    return [advice.surrogate for advice in scan.recommend()]


def trained(net: SpikingSequential, data: RunData, seed: int, epochs: int) -> list[dict[str, float]]:
    """A row for each epoch: loss, validation accuracy."""
    x, labels = torch.from_numpy(data.train.x), torch.from_numpy(data.train.labels)
    val, val_labels = torch.from_numpy(data.val.x), torch.from_numpy(data.val.labels)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-2)
    steps = epochs * -(-len(x) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.3)
    order, rows = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        losses = []
        for some in torch.randperm(len(x), generator=order).split(BATCH):
            prepare_net(net)
            loss = loss_of(net(x[some])[0], labels[some])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            cycle.step()
            losses.append(loss.item())
        with torch.no_grad():
            prepare_net(net)
            accuracy = accuracy_population(net(val)[0], val_labels, 10).item()
        rows.append({"loss": statistics.mean(losses), "val_accuracy": accuracy})
    return rows


def cell(depth: int, seed: int, arm: str, quick: bool) -> dict[str, Any]:
    """One training."""
    config, data = load_run_data(config_of(depth, 200 if quick else None))
    net = network(config, seed)
    layers = [module for module in net.modules() if isinstance(module, NeuronLayer)]
    chosen = recommended(net, data, seed) if arm == "recommended" else [fast_sigmoid(25)] * depth
    for layer, surrogate in zip(layers, chosen, strict=True):
        layer.spike_grad = surrogate
    began = time.perf_counter()
    rows = trained(net, data, seed, 1 if quick else EPOCHS)
    return {
        "depth": depth, "seed": seed, "arm": arm, "surrogates": [surrogate_label(one) for one in chosen],
        "val_accuracy": rows[-1]["val_accuracy"], "rows": rows, "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def summary(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each depth the means, and the paired difference with its 95 % interval [points]."""
    found = []
    for depth in sorted({one["depth"] for one in cells}):
        of = {
            arm: [
                one["val_accuracy"] for one in cells if (one["depth"], one["arm"]) == (depth, arm)
            ]
            for arm in ARMS
        }
        if len(of[ARMS[0]]) != len(of[ARMS[1]]) or len(of[ARMS[0]]) < 2:
            continue
        pairs = [100 * (b - a) for a, b in zip(*of.values(), strict=True)]
        mean = statistics.mean(pairs)
        half = T_QUANTILE * statistics.stdev(pairs) / len(pairs) ** 0.5
        chosen = [
            one["surrogates"] for one in cells if (one["depth"], one["arm"]) == (depth, ARMS[1])
        ]
        row = {arm: statistics.mean(values) for arm, values in of.items()} | {
            "pairs": pairs,
            "slopes": chosen[0],
        }
        found.append(
            {"depth": depth, **row, "difference": mean, "low": mean - half, "high": mean + half}
        )
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The summary as a Markdown table."""
    lines = [
        "| layers | slope 25 | recommended | difference, points | 95 % interval | slopes, first layer to last |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        slopes = ", ".join(text[text.index("=") + 1 : -1] for text in row["slopes"])
        lines.append(
            f"| {row['depth']} | {row['slope 25']:.4f} | {row['recommended']:.4f} | {row['difference']:+.2f} "
            f"| [{row['low']:+.2f}, {row['high']:+.2f}] | {slopes} |"
        )
    return "\n".join(lines)


def draw(cells: list[dict[str, Any]], path: Path) -> None:
    """Curves of validation accuracy, one panel a depth, one line a seed."""
    from matplotlib.figure import Figure

    from nwavesdk.train.theme import LIGHT, Theme, render_png

    def curves(theme: Theme) -> Figure:
        depths = sorted({one["depth"] for one in cells})
        figure = Figure(figsize=(11, 3.2))
        panels = figure.subplots(1, len(depths), sharey=True, squeeze=False)[0]
        for axes, depth in zip(panels, depths, strict=True):
            for arm, hue in zip(ARMS, (theme.hues[0], theme.hues[1]), strict=True):
                own = [one for one in cells if (one["depth"], one["arm"]) == (depth, arm)]
                for place, one in enumerate(own):
                    accuracy = [row["val_accuracy"] for row in one["rows"]]
                    axes.plot(
                        range(1, len(accuracy) + 1),
                        accuracy,
                        color=hue,
                        label="" if place else arm,
                        linewidth=1.2,
                    )
            axes.axhline(0.1, color=theme.faint, linestyle=":")
            axes.set(title=f"{depth} layers", xlabel="epoch", ylim=(0, 1))
            axes.grid(axis="y")
        panels[0].set_ylabel("validation accuracy")
        panels[-1].legend(loc="upper left")
        return figure

    write_atomically(path, render_png(curves, LIGHT))


def main(arguments: list[str] | None = None) -> None:
    """See `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m research.slope_study", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "slope_study", help="for results and picture"
    )
    parser.add_argument(
        "--quick", action="store_true", help="200 recordings, one epoch, two seeds, two depths"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "results.json"
    cells: list[dict[str, Any]] = (
        json.loads(file.read_text("utf-8"))["cells"] if file.is_file() else []
    )
    done = {(one["depth"], one["seed"], one["arm"]) for one in cells}
    for depth in DEPTHS[:2] if options.quick else DEPTHS:
        for seed in SEEDS[:2] if options.quick else SEEDS:
            for arm in ARMS:
                if (depth, seed, arm) not in done:
                    cells.append(cell(depth, seed, arm, options.quick))
                    told_now = {
                        "run": results.provenance("python -m research.slope_study"),
                        "cells": cells,
                    }
                    write_atomically(
                        file, (json.dumps(told_now | {"summary": summary(cells)}) + "\n").encode()
                    )
    draw(cells, options.out / "curves.png")
    print(table(summary(cells)))


if __name__ == "__main__":
    main()
