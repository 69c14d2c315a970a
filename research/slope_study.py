"""Do the recommended slopes train better than slope 25? Nets of several depths, paired seeds.

    python -m research.slope_study [--out FOLDER] [--quick]

Both arms of a seed have the same initial weights and the same order of the same recordings (spoken
digits, one step per frame). The recommendation comes from `scan_slopes` on one batch before the
first step. The result is the accuracy on the validation set after the last epoch; the test set is
not read. Cells that are already in the results file are not run again.
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
from nwavesdk.analysis.slopes.candidates import SLOPES, surrogate_label
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.loss import rate_cross_entropy
from nwavesdk.metrics import accuracy_population
from nwavesdk.presets import lif
from nwavesdk.surrogate import Surrogate, fast_sigmoid
from nwavesdk.train import CompletedConfig, RunConfig
from nwavesdk.train.data.load import RunData, complete_data
from research import RESULTS

DEPTHS = (2, 4, 8, 12)
"""Numbers of neuron layers, the output included."""
SEEDS = range(5, 10)
"""The rule was chosen on smaller runs with seeds 0 and 1."""
WIDTH = 64
BATCH = 64
EPOCHS = 15
RATE = 8e-3
SHARPNESS = 25.0
ARMS = ("slope 25", "recommended")
T_QUANTILE = 2.776  # 97.5 % of Student's t with 4 degrees of freedom, for five pairs


def config_of(depth: int, limit: int | None) -> RunConfig:
    """Return the config of a run with this depth."""
    net = {"name": "lif", "hidden": [WIDTH] * (depth - 1), "dropout": 0.0}
    return RunConfig.of({"data": {"limit": limit, "hold": 1}, "net": net})


def mean_loss(spk: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of `nwave train`."""
    return rate_cross_entropy(spk, labels, 10, SHARPNESS)


def build_net_of_seed(config: CompletedConfig, seed: int) -> SpikingSequential:
    """Return the net of a seed; its weights do not depend on the surrogates."""
    torch.manual_seed(seed)
    return lif.build((config.facts.n_features,), 10, config)


def recommend_on_one_batch(net: SpikingSequential, data: RunData, seed: int) -> list[Surrogate]:
    """Return what a scan of one batch recommends."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    batch = order[:BATCH]
    x = data.train.whole().x[batch]
    labels = torch.from_numpy(data.train.recordings.labels)[batch]
    candidates = [fast_sigmoid(slope) for slope in SLOPES]
    scan = scan_slopes(net, x, lambda spk, _: mean_loss(spk, labels), candidates)
    return [advice.surrogate for advice in scan.recommend()]


def train_net(
    net: SpikingSequential, data: RunData, seed: int, epochs: int
) -> list[dict[str, float]]:
    """Train the net and return loss and validation accuracy of each epoch."""
    x = data.train.whole().x
    labels = torch.from_numpy(data.train.recordings.labels)
    val = data.val.whole().x
    val_labels = torch.from_numpy(data.val.recordings.labels)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-2)
    steps = epochs * -(-len(x) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.3)
    generator = torch.Generator().manual_seed(seed)
    history = []
    for _ in range(epochs):
        losses = []
        for batch in torch.split(torch.randperm(len(x), generator=generator), BATCH):
            prepare_net(net)
            loss = mean_loss(net(x[batch])[0], labels[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            cycle.step()
            losses.append(loss.item())
        with torch.no_grad():
            prepare_net(net)
            accuracy = accuracy_population(net(val)[0], val_labels, 10).item()
        history.append({"loss": statistics.mean(losses), "val_accuracy": accuracy})
    return history


def train_cell(depth: int, seed: int, arm: str, quick: bool) -> dict[str, Any]:
    """Train one net and return its curves."""
    config, data = complete_data(config_of(depth, 200 if quick else None))
    net = build_net_of_seed(config, seed)
    layers = [module for module in net.modules() if isinstance(module, NeuronLayer)]
    chosen = (
        recommend_on_one_batch(net, data, seed)
        if arm == "recommended"
        else [fast_sigmoid(25)] * depth
    )
    for layer, surrogate in zip(layers, chosen, strict=True):
        layer.spike_grad = surrogate
    began = time.perf_counter()
    history = train_net(net, data, seed, 1 if quick else EPOCHS)
    return {
        "depth": depth,
        "seed": seed,
        "arm": arm,
        "surrogates": [surrogate_label(surrogate) for surrogate in chosen],
        "val_accuracy": history[-1]["val_accuracy"],
        "rows": history,
        "seconds": round(time.perf_counter() - began, 1),
    }


def summarize_pairs(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return means and the paired difference with its 95 % interval [points] for each depth."""
    rows = []
    for depth in sorted({cell["depth"] for cell in cells}):
        of_depth = [cell for cell in cells if cell["depth"] == depth]
        baseline, recommended = ([c for c in of_depth if c["arm"] == arm] for arm in ARMS)
        if len(baseline) != len(recommended) or len(baseline) < 2:
            continue
        pairs = [
            100 * (second["val_accuracy"] - first["val_accuracy"])
            for first, second in zip(baseline, recommended, strict=True)
        ]
        difference = statistics.mean(pairs)
        half = T_QUANTILE * statistics.stdev(pairs) / len(pairs) ** 0.5
        rows.append(
            {
                "depth": depth,
                ARMS[0]: statistics.mean(cell["val_accuracy"] for cell in baseline),
                ARMS[1]: statistics.mean(cell["val_accuracy"] for cell in recommended),
                "pairs": pairs,
                "slopes": recommended[0]["surrogates"],
                "difference": difference,
                "low": difference - half,
                "high": difference + half,
            }
        )
    return rows


def slope_table(rows: list[dict[str, Any]]) -> str:
    """Return the summary as a Markdown table."""
    lines = [
        "| layers | slope 25 | recommended | difference, points | 95 % interval "
        "| slopes, first layer to last (one seed) |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        slopes = ", ".join(text[text.index("=") + 1 : -1] for text in row["slopes"])
        lines.append(
            f"| {row['depth']} | {row['slope 25']:.4f} | {row['recommended']:.4f} "
            f"| {row['difference']:+.2f} | [{row['low']:+.2f}, {row['high']:+.2f}] | {slopes} |"
        )
    return "\n".join(lines)


def draw_curves(cells: list[dict[str, Any]], path: Path) -> None:
    """Plot validation accuracy by epoch, one panel per depth, one line per seed."""
    from matplotlib.figure import Figure

    from nwavesdk.plot.theme import LIGHT, Theme, render_png

    def curves(theme: Theme) -> Figure:
        depths = sorted({one["depth"] for one in cells})
        figure = Figure(figsize=(11, 3.2))
        panels = figure.subplots(1, len(depths), sharey=True, squeeze=False)[0]
        for axes, depth in zip(panels, depths, strict=True):
            for arm, hue in zip(ARMS, (theme.hues[0], theme.hues[1]), strict=True):
                own = [one for one in cells if (one["depth"], one["arm"]) == (depth, arm)]
                for index, one in enumerate(own):
                    accuracy = [row["val_accuracy"] for row in one["rows"]]
                    axes.plot(
                        range(1, len(accuracy) + 1),
                        accuracy,
                        color=hue,
                        label="" if index else arm,
                        linewidth=1.2,
                    )
            axes.axhline(0.1, color=theme.faint, linestyle=":")
            axes.set(title=f"{depth} layers", xlabel="epoch", ylim=(0, 1))
            axes.grid(axis="y")
        panels[0].set_ylabel("validation accuracy")
        panels[-1].legend(loc="upper left")
        return figure

    write_atomically(path, render_png(curves, LIGHT))


def save_results(file: Path, cells: list[dict[str, Any]]) -> None:
    """Write all cells and their summary."""
    provenance = results.provenance("python -m research.slope_study")
    content = {"run": provenance, "cells": cells, "summary": summarize_pairs(cells)}
    write_atomically(file, (json.dumps(content) + "\n").encode())


def main(arguments: list[str] | None = None) -> None:
    """Run the study; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m research.slope_study", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "slope_study", help="folder for results and plot"
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
    trained = {(one["depth"], one["seed"], one["arm"]) for one in cells}
    for depth in DEPTHS[:2] if options.quick else DEPTHS:
        for seed in SEEDS[:2] if options.quick else SEEDS:
            for arm in ARMS:
                if (depth, seed, arm) not in trained:
                    cells.append(train_cell(depth, seed, arm, options.quick))
                    save_results(file, cells)
    draw_curves(cells, options.out / "curves.png")
    print(slope_table(summarize_pairs(cells)))


if __name__ == "__main__":
    main()
