"""Plots of the results: speed against T, N, B and density, and memory against T."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.instrument import BYTES
from benchmarks.peers import NAMES
from nwavesdk.plot.theme import LIGHT, Theme, render_png

LABELS = {
    "T": "T, time steps (B = 64, N = 128)",
    "N": "N, neurons (B = 64, T = 100)",
    "B": "B, batch (T = 100, N = 128)",
    "density": "density of the input (700–256–20, B = 64, T = 100)",
}
PRETTY = {
    "snntorch": "snnTorch",
    "spikingjelly": "SpikingJelly",
    "norse": "Norse",
    "sinabs": "sinabs",
}
OUR_LABELS = {
    "": "nwavesdk",
    "streamed": "nwavesdk, truncated BPTT in chunks",
    "checkpoint": "nwavesdk, checkpoints",
}
MARKERS = {"ours": "o", "snntorch": "s", "spikingjelly": "^", "norse": "D", "sinabs": "v"}


def draw(measured: dict[str, Any], folder: Path) -> list[Path]:
    """Plot the sections that have results, and return the files."""
    pictures = {}
    sections = measured["sections"]
    if sections.get("sweep", {}).get("rows"):
        pictures["speed.png"] = lambda theme: _speed(theme, sections["sweep"])
    if any("axis" in row for row in sections.get("memory", {}).get("rows", [])):
        pictures["memory.png"] = lambda theme: _memory(theme, sections["memory"])
    for name, picture in pictures.items():
        (folder / name).write_bytes(render_png(picture, LIGHT))
    return [folder / name for name in pictures]


def _speed(theme: Theme, section: dict[str, Any]) -> Figure:
    axes_of = [axis for axis in LABELS if any(row.get("axis") == axis for row in section["rows"])]
    figure = Figure(figsize=(10, 3.5 * ((len(axes_of) + 1) // 2)))
    panels = figure.subplots((len(axes_of) + 1) // 2, 2, squeeze=False).flat
    compiled = {
        name
        for row in section["rows"]
        for name in NAMES
        if name in row["times_ms"]
        and row["times_ms"].get(f"{name}, compiled") == row["times_ms"][name]
    }
    for axis, axes in zip(axes_of, panels, strict=False):
        rows = sorted(
            (r for r in section["rows"] if r.get("axis") == axis and r["times_ms"]),
            key=lambda r: r["at"],
        )
        _curves(axes, rows, theme, axis, compiled)
        if axis == "density":
            at, rate = zip(*((r["at"], 1e3 / r["floor_ms"]) for r in rows), strict=True)
            axes.plot(
                at,
                rate,
                color=theme.ink,
                linestyle=":",
                linewidth=1.2,
                label="dense products alone",
            )
            axes.set(title="Training step", ylabel="steps per second")
        else:
            limit = 1e9 * section["limits"]["copy_gb_s"]["median"] / BYTES
            axes.axhline(
                limit,
                color=theme.ink,
                linestyle="--",
                linewidth=1,
                label=f"copy of large tensors, {BYTES} bytes per neuron-step",
            )
            axes.set(title="LIF layer, forward + backward", ylabel="neuron-steps per second")
        axes.set(xscale="log", yscale="log", xlabel=LABELS[axis])
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.grid()
    for axes in panels:
        axes.set_visible(False)
    _legend(figure)
    return figure


def _curves(
    axes: Axes, rows: list[dict[str, Any]], theme: Theme, axis: str, compiled: set[str]
) -> None:
    for name in ("ours", *NAMES):
        points = [row for row in rows if name in row["times_ms"]]
        if not points:
            continue
        at = [row["at"] for row in points]
        work = [1 if axis == "density" else row["bytes"] / BYTES for row in points]
        rate, high, low = (
            [1e3 * w / r["times_ms"][name][key] for w, r in zip(work, points, strict=True)]
            for key in ("median", "low", "high")
        )
        style = _style(theme, name)
        label = (
            "nwavesdk"
            if name == "ours"
            else PRETTY[name] + (", torch.compile where faster" if name in compiled else "")
        )
        axes.fill_between(at, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(at, rate, label=label, **style)


def _memory(theme: Theme, section: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7, 4.4))
    axes = figure.subplots()
    rows = sorted((row for row in section["rows"] if "axis" in row), key=lambda row: row["at"])
    for name in rows[0]["contenders"]:
        family, _, way = name.partition(", ")
        style = _style(theme, family)
        if way:
            style |= {"linestyle": {"streamed": ":", "checkpoint": "--"}[way], "alpha": 0.8}
        pairs = [
            (row["at"], row["contenders"][name])
            for row in rows
            if row["contenders"].get(name, 0) > 0
        ]
        label = PRETTY.get(name) or OUR_LABELS[way]
        if pairs:
            axes.plot(*zip(*pairs, strict=True), label=label, **style)
    axes.set(
        xscale="log", yscale="log", xlabel="T, time steps", ylabel="MiB above parameters and input"
    )
    axes.set(title="Peak memory of a training step, 128–128–20, B = 16")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid()
    axes.legend()
    return figure


def _style(theme: Theme, name: str) -> dict[str, Any]:
    hues = dict(zip(("ours", *NAMES), (*theme.hues, "#7a6a52"), strict=True))
    ours = name == "ours"
    return {
        "color": hues[name],
        "marker": MARKERS[name],
        "markersize": 5 if ours else 4,
        "linewidth": 2.2 if ours else 1.2,
    }


def _legend(figure: Figure) -> None:
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= {
            label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
