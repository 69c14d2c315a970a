"""The pictures of `docs/your-neuron.md`, `docs/recipes.md`, `docs/chip.md` and `docs/nir.md`."""

import re
import runpy
import tempfile
from pathlib import Path

import nir
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from nwavesdk.deploy import place_layers
from nwavesdk.deploy.chip_run import placement_picture
from nwavesdk.interop.nir import from_nir, to_nir
from nwavesdk.layers import (
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    LILayer,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.plot.theme import LIGHT

__all__ = ["chip", "exchange", "recipes", "your_neuron"]

INK, BLUE, ORANGE = "#30343b", "#2b6cb0", "#d9662b"
PAGE = Path(__file__).parents[1] / "your-neuron.md"


def your_neuron() -> Figure:
    """The states of the neuron of `docs/your-neuron.md` under a constant drive, and its rates."""
    code = re.findall(r"```python\n(# my_neurons.py\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "my_neurons.py"
        file.write_text(code[0], encoding="utf-8")
        adaptive_layer = runpy.run_path(str(file))["AdaptiveLayer"]

    figure = Figure(figsize=(10, 3.1), layout="constrained")
    states, curve = figure.subplots(1, 2, width_ratios=(2, 1))
    net = SpikingSequential(adaptive_layer(1, kappa=10.0))
    record = net.record(torch.full((1, 400, 1), 0.12)).layers["0"]
    membrane, rise = (record.states[name].flatten().detach() for name in ("v", "a"))
    states.plot(membrane, color=BLUE, label="membrane v")
    states.plot(1 + 10 * rise, color=ORANGE, label="threshold + kappa · a")
    steps = record.spk.flatten().nonzero().flatten()
    states.scatter(steps, torch.full((len(steps),), -0.15), marker="|", color=INK, label="spikes")
    states.set(title="a constant drive of 0.12, kappa=10", xlabel="step of 1 ms")
    states.legend(fontsize=8, ncols=3, loc="upper right")
    states.set_ylim(-0.3, 2.6)

    drives = torch.linspace(0, 0.4, 81)
    for kappa, color in ((0.0, INK), (0.3, BLUE), (10.0, ORANGE)):
        layer = adaptive_layer(81, kappa=kappa)
        prepare_net(layer)
        spk, _ = layer(drives.expand(1, 2000, 81))
        curve.plot(drives, spk[0, 1000:].sum(0).detach(), color=color, label=f"kappa={kappa:g}")
    curve.set(title="spikes per second, after 1 s", xlabel="drive")
    curve.legend(fontsize=8)
    return figure


def recipes() -> Figure:
    """The accuracies in the table of `docs/recipes.md`."""
    page = PAGE.with_name("recipes.md").read_text("utf-8")
    table = re.search(r"<!-- development -->\n(.*?)\n\n", page, re.DOTALL)
    assert table is not None
    rows = [
        [re.findall(r"[\d.]+", cell) for cell in line.split("|")[3:6]]
        for line in table[1].splitlines()[2:]
    ]
    names = [line.split("|")[1].strip() for line in table[1].splitlines()[2:]]

    figure = Figure(figsize=(8, 0.3 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    styles = [("spiking net", BLUE, "o"), ("SVM", INK, "x"), ("CNN", ORANGE, "d")]
    for column, (label, color, marker) in enumerate(styles):
        places = [index for index, row in enumerate(rows) if row[column]]
        means = [float(rows[index][column][0]) for index in places]
        errors = [float((rows[index][column] + ["0"])[1]) for index in places]
        axes.errorbar(
            means, places, xerr=errors, fmt=marker, color=color, label=label, markersize=5
        )
    axes.set(yticks=range(len(names)), xlabel="accuracy on the test set [%]")
    axes.set_yticklabels(names)
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    return figure


def chip() -> Figure:
    """The placement of the net of `docs/chip.md` on H1v2."""
    sizes = {"1": 16, "3": 50, "5": 20}
    modules = [H1v2Frontend(16), H1v2Layer(16, taus=50e-3)]
    for inputs, outputs in ((16, 50), (50, 20)):
        modules += [H1v2Synapse(inputs, outputs), H1v2Layer(outputs, taus=50e-3)]
    return placement_picture(place_layers(SpikingSequential(*modules)), sizes, LIGHT)


def exchange() -> Figure:
    """The modules of a net and the nodes of its graph, and the two methods of solving a node."""
    figure = Figure(figsize=(10, 3.1), layout="constrained")
    graph, curves = figure.subplots(1, 2, width_ratios=(1.5, 1))
    net = SpikingSequential(
        LIFSynapse(16, 8),
        LIFLayer(8, taus=20e-3, reset_mechanism="zero"),
        LIFSynapse(8, 4),
        LILayer(4),
    )
    written = to_nir(net, discretization="exact")
    nodes = [type(node).__name__ for node in written.nodes.values()]
    modules = ["", *(type(module).__name__ for module in net), ""]
    ordered = sorted(
        zip(written.nodes, nodes, strict=True), key=lambda pair: _rank(written, pair[0])
    )
    for column, ((_, node), module) in enumerate(zip(ordered, modules, strict=True)):
        _draw_box(graph, column, 0.0, node, ORANGE)
        if module:
            _draw_box(graph, column, 1.2, module, BLUE)
            graph.annotate("", (column, 0.42), (column, 0.78), arrowprops={"arrowstyle": "<->"})
        if column:
            start, end = (column - 0.56, 0.0), (column - 0.44, 0.0)
            graph.annotate("", end, start, arrowprops={"arrowstyle": "->"})
    graph.text(-0.45, 1.2, "net", color=BLUE, va="center")
    graph.set(xlim=(-0.6, 5.6), ylim=(-0.6, 1.8), title="modules of a net, nodes of its graph")
    graph.axis("off")

    readout = nir.LI(
        tau=torch.tensor([20e-3]).numpy(), r=torch.ones(1).numpy(), v_leak=torch.zeros(1).numpy()
    )
    for method, color in (("exact", BLUE), ("euler", ORANGE)):
        step = 10e-3
        single = from_nir(nir.NIRGraph.from_list(readout), dt=step, discretization=method)
        prepare_net(single)
        _, mem = single(torch.ones(1, 8, 1))
        time = torch.arange(9) * step * 1e3
        curves.plot(time, [0.0, *mem.flatten().tolist()], ".-", color=color, label=method)
    curves.set(title="LI, τ = 20 ms, steps of 10 ms", xlabel="time [ms]", ylabel="membrane")
    curves.legend(fontsize=8)
    return figure


def _rank(graph: nir.NIRGraph, name: str) -> int:
    """The number of edges from the input to a node of a chain."""
    before = {target: source for source, target in graph.edges}
    rank = 0
    while name in before:
        name = before[name]
        rank += 1
    return rank


def _draw_box(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    box = FancyBboxPatch(
        (x - 0.38, y - 0.25), 0.76, 0.5, boxstyle="round,pad=0.04", ec=color, fc="white"
    )
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=8, color=color)
