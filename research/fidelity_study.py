"""Fidelity of all surrogates of the catalogue, and of seven shapes by width.

    python -m research.fidelity_study [--out FOLDER] [--quick]

The nets are small and learn spoken digits, one step per frame: 13 features, 16 neurons per hidden
layer, 10 outputs, the loss of `nwave train`. For several nets, each with its own recordings, and
for each noise, `gradient_fidelity` gives cosines of all candidates. The tables have their mean over
nets with a 95 % interval (Student's t). Cells that are already in the results file are not run
again.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks import results
from nwavesdk.analysis import summarize
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.loss import rate_logits
from nwavesdk.presets import lif
from nwavesdk.surrogate import Surrogate, atan, available, fast_sigmoid, parse, sigmoid
from nwavesdk.train import RunConfig
from nwavesdk.train.data.load import RunData, complete_data
from nwavesdk.train.fit.network import sample_config
from research import RESULTS
from research.fidelity import SHAPES, ThresholdNoise, gradient_fidelity

DEPTHS = (1, 2, 4)
"""Numbers of neuron layers, the output included."""
WIDTHS = (0.1, 0.3, 1.0)
"""Widths of the noise at half height [thresholds]."""
NETS = 5
NEURONS = 16
RECORDINGS = 8
SAMPLES = 2000
SHARPNESS = 25.0
SURROGATE_WIDTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Widths of surrogates at half height [thresholds], for each shape of `FAMILIES`."""
FAMILIES: dict[str, Callable[[float], Surrogate]] = {
    "fast_sigmoid": lambda width: fast_sigmoid(2 * (math.sqrt(2) - 1) / width),
    "atan": lambda width: atan(4 / (math.pi * width)),
    "sigmoid": lambda width: sigmoid(2 * math.acosh(3) / width),
    "piecewise_exp": lambda width: parse(f"piecewise_exp({2 * math.log(2) / width!r})"),
    "gaussian": lambda width: parse(f"gaussian(sigma={width / math.sqrt(8 * math.log(2))!r})"),
    "triangle": lambda width: parse(f"triangle(1, {1 / width!r})"),
    "boxcar": lambda width: parse(f"boxcar({width!r}, 1)"),
}


class Cell(NamedTuple):
    """One net and one noise.

    Its `state` is "initial", "through reset" (the same net, with the reset not detached), or the
    surrogate with which it was trained for one epoch.
    """

    depth: int
    state: str
    net: int
    shape: str
    width: float


def all_cells(quick: bool) -> Iterator[Cell]:
    """Yield all cells, net by net."""
    states = [(depth, "initial") for depth in DEPTHS]
    states += [(2, state) for state in ("through reset", "fast_sigmoid(25)", "atan(2)")]
    for net in range(2 if quick else NETS):
        for depth, state in states[:2] if quick else states:
            for width in WIDTHS:
                yield from (Cell(depth, state, net, shape, width) for shape in SHAPES)


def candidates() -> dict[str, Surrogate]:
    """Return the catalogue with its defaults, and the shapes by width."""
    families = {
        f"{name} {width:g}": make(width)
        for name, make in FAMILIES.items()
        for width in SURROGATE_WIDTHS
    }
    return {name: kind() for name, kind in available().items()} | families


def loss_by_recording(spk: Tensor, _mem: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of `nwave train` for each recording."""
    return cross_entropy(rate_logits(spk, 10, SHARPNESS), labels, reduction="none")


def build_net_of_cell(cell: Cell, data: RunData) -> SpikingSequential:
    """Return the net of a cell, trained if its state is a surrogate."""
    inputs = (data.train.recordings.n_features,)
    hidden = (NEURONS,) * (cell.depth - 1)
    config = sample_config("lif", inputs, 10, hidden=hidden, population=1, dropout=0.0)
    torch.manual_seed(cell.net)
    net = lif.build(inputs, 10, config)
    layers = [module for module in net.modules() if isinstance(module, NeuronLayer)]
    if cell.state == "through reset":
        for layer in layers:
            layer.detach_reset = False
    elif cell.state != "initial":
        for layer in layers:
            layer.spike_grad = parse(cell.state)
        x = data.train.whole().x
        labels = torch.from_numpy(data.train.recordings.labels)
        optimizer = torch.optim.AdamW(net.parameters(), 4e-3)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(cell.net))
        for batch in torch.split(order, 64):
            prepare_net(net)
            spk, mem = net(x[batch])
            loss = loss_by_recording(spk, mem, labels[batch]).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return net


def measure_cell(cell: Cell, data: RunData, quick: bool) -> dict[str, Any]:
    """Return cosines of all candidates: with all weights, and with weights of the first layer."""
    order = torch.randperm(len(data.val), generator=torch.Generator().manual_seed(cell.net))
    chosen = order[:RECORDINGS]
    result = gradient_fidelity(
        build_net_of_cell(cell, data),
        data.val.whole().x[chosen],
        torch.from_numpy(data.val.recordings.labels)[chosen],
        loss_by_recording,
        ThresholdNoise(cell.shape, cell.width),
        candidates(),
        samples=60 if quick else SAMPLES,
        seed=cell.net,
    )
    return cell._asdict() | {
        "loss": [round(loss, 4) for loss in result.loss],
        "explained": round(result.explained, 3),
        "norm": round(float(result.norm[0]), 5),
        "norm_error": round(float(result.norm_error[0]), 5),
        "hidden": _rounded(result.cosine[:, 0]),
        "first": _rounded(result.cosine[:, 1]),
        "error": _rounded(result.error[:, 0]),
    }


def _rounded(values: Iterable[float]) -> list[float | None]:
    """Round to four digits; NaN is null in the file."""
    return [None if math.isnan(value) else round(float(value), 4) for value in values]


def _two_digits(value: float) -> str:
    return f"{value:.2f}"


class Table:
    """Cosines of all cells, averaged in different ways."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.names = [*candidates()]

    def nets(self, name: str, part: str = "hidden", **chosen: Any) -> list[float]:
        """Return the mean over the chosen cells for each net."""
        index = self.names.index(name)
        by_net: dict[int, list[float]] = {}
        for row in self.rows:
            if all(row[key] == value for key, value in chosen.items()):
                value = row[part][index]
                by_net.setdefault(row["net"], []).append(math.nan if value is None else value)
        return [float(np.mean(values)) for values in by_net.values()]

    def entry(
        self, name: str, part: str = "hidden", *, interval: bool = False, **chosen: Any
    ) -> str:
        """Return the mean over nets, with half of the width of its interval."""
        values = self.nets(name, part, **chosen)
        if math.isnan(mean := float(np.mean(values))):
            return "-"
        if not interval or len(values) < 2:
            return _two_digits(mean)
        return f"{_two_digits(mean)} ± {_two_digits(summarize(values).high - mean)}"

    def catalogue(self) -> str:
        """Return the table of surrogates by depth, and by the width of the noise at two layers."""
        two: dict[str, Any] = {"depth": 2, "state": "initial"}
        columns = {f"{n} layer{'s' * (n > 1)}": two | {"depth": n} for n in DEPTHS}
        columns["through reset"] = two | {"state": "through reset"}
        columns |= {f"noise {width:g}": two | {"width": width} for width in WIDTHS}
        columns = {head: chosen for head, chosen in columns.items() if self.nets("atan", **chosen)}

        lines = [f"| surrogate | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        by = two if self.nets("atan", **two) else {}
        order = sorted(
            available(), key=lambda name: -np.nan_to_num(np.mean(self.nets(name, **by)), nan=-2)
        )
        for name in order:
            each = [
                self.entry(name, interval=head.endswith(("layer", "layers")), **chosen)
                for head, chosen in columns.items()
            ]
            lines.append(f"| `{name}` | {' | '.join(each)} |")
        return "\n".join(lines)

    def widths(self, part: str, depth: int = 2) -> str:
        """Return the table of shapes by their own width and the width of the noise."""
        heads = [f"{own_width:g} / {width:g}" for width in WIDTHS for own_width in SURROGATE_WIDTHS]
        lines = [f"| surrogate / noise | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for family in FAMILIES:
            each = [
                self.entry(
                    f"{family} {own_width:g}", part, depth=depth, state="initial", width=width
                )
                for width in WIDTHS
                for own_width in SURROGATE_WIDTHS
            ]
            lines.append(f"| {family} | {' | '.join(each)} |")
        return "\n".join(lines)


def draw_widths(table: Table, path: Path) -> None:
    """Plot the cosine against the surrogate's width, by depth and width of the noise."""
    from matplotlib.figure import Figure

    from nwavesdk.plot.theme import LIGHT, Theme, render_png

    def curves(theme: Theme) -> Figure:
        depths = sorted({row["depth"] for row in table.rows})
        figure = Figure(figsize=(10, 2.6 * len(depths)))
        panels = figure.subplots(len(depths), len(WIDTHS), sharex=True, sharey=True, squeeze=False)
        for row, depth in zip(panels, depths, strict=True):
            for axes, width in zip(row, WIDTHS, strict=True):
                for column, family in enumerate(FAMILIES):
                    at = {"depth": depth, "state": "initial", "width": width}
                    values = [
                        np.mean(table.nets(f"{family} {own_width:g}", "first", **at))
                        for own_width in SURROGATE_WIDTHS
                    ]
                    hue = theme.hues[column % len(theme.hues)]
                    style = "-" if column < len(theme.hues) else "--"
                    axes.plot(
                        SURROGATE_WIDTHS, values, style, color=hue, label=family, linewidth=1.3
                    )
                axes.axvline(width, color=theme.faint, linestyle=":")
                axes.set(
                    xscale="log",
                    title=f"{depth} layer{'s' * (depth > 1)}, noise of width {width:g}",
                    ylim=(0, 1),
                )
                axes.grid(axis="y")
        for axes in panels[-1]:
            axes.set_xlabel("width of the surrogate [thresholds]")
        for axes in panels[:, 0]:
            axes.set_ylabel("cosine, first layer")
        panels[0, 0].legend(loc="lower left", fontsize=7)
        return figure

    write_atomically(path, render_png(curves, LIGHT))


def main(arguments: list[str] | None = None) -> None:
    """Run the study; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m research.fidelity_study", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument(
        "--out", type=Path, help="folder for results and plot [research/results/fidelity]"
    )
    parser.add_argument(
        "--quick", action="store_true", help="60 samples, two nets, up to two layers: a trial run"
    )
    options = parser.parse_args(arguments)
    folder: Path = options.out or (
        Path("runs/fidelity-quick") if options.quick else RESULTS / "fidelity"
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    settings = {"quick": options.quick, "candidates": [*candidates()]}
    rows: list[dict[str, Any]] = []
    if file.is_file():
        earlier = json.loads(file.read_text("utf-8"))
        if {key: earlier.get(key) for key in settings} != settings:
            raise SystemExit(f"{file} has other candidates or quick results: choose another --out.")
        rows = earlier["cells"]
    measured = {Cell(*(row[key] for key in Cell._fields)) for row in rows}
    _, data = complete_data(
        RunConfig.of(
            {"data": {"limit": 300 if options.quick else None, "hold": 1}, "net": {"name": "lif"}}
        )
    )
    provenance = results.provenance("python -m research.fidelity_study")
    content = {"run": provenance, **settings, "cells": rows}
    for cell in all_cells(options.quick):
        if cell not in measured:
            rows.append(measure_cell(cell, data, options.quick))
            write_atomically(file, (json.dumps(content) + "\n").encode())
    table = Table(rows)
    draw_widths(table, folder / "widths.png")
    print("\n\n".join([table.catalogue(), table.widths("hidden"), table.widths("first")]))


if __name__ == "__main__":
    main()
