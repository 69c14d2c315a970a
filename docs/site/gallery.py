"""Pages of the gallery: each neuron and each surrogate, drawn by the library itself."""

import math
from functools import partial
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.analysis import catalogue_shapes
from nwavesdk.analysis.neuron_picture import draw_neuron
from nwavesdk.analysis.neurons import neuron_facts, neuron_responses
from nwavesdk.layers.catalogue import CataloguedNeuron, available_neurons
from nwavesdk.plot.theme import LIGHT, Theme, render_png
from nwavesdk.surrogate import Surrogate, available, text

__all__ = ["neuron_pages", "surrogate_pages"]

# The node of NIR that `to_nir` writes. With a reset by subtraction, NIR has it only as allowed.
ALLOWED = "with `--allow soft-reset`"
NIR_NODES = {
    "lif": f"LIF, {ALLOWED}",
    "lif_zero": "LIF",
    "lif_none": "LI, as a read-out",
    "cubalif": f"CubaLIF, {ALLOWED}",
    "if": f"IF, {ALLOWED}",
    "li": "LI",
}
# The peers that have the neuron, as installed in November 2026: snnTorch 1.0.0, SpikingJelly 2.0.0,
# Norse 1.1.0, sinabs 3.1.3. Units, resets, and the step in which a reset or a current acts, differ.
LIF_PEERS = "snnTorch (Leaky), SpikingJelly (LIFNode), Norse (LIFBoxCell), sinabs (LIF)"
PEERS = {
    **dict.fromkeys(("lif", "lif_zero"), LIF_PEERS),
    "lif_none": "snnTorch (Leaky)",
    "adex": "Norse (LIFAdExCell)",
    "alif": "Norse (LSNNCell), sinabs (ALIF)",
    "alpha": "snnTorch (Alpha)",
    "cubalif": "snnTorch (Synaptic), SpikingJelly (CUBALIFNode), Norse (LIFCell)",
    "eif": "SpikingJelly (EIFNode), Norse (LIFExCell)",
    "if": "SpikingJelly (IFNode), Norse (IAFCell), sinabs (IAF)",
    "izhikevich": "SpikingJelly (IzhikevichNode), Norse (IzhikevichCell)",
    "klif": "SpikingJelly (KLIFNode)",
    "li": "SpikingJelly (NonSpikingLIFNode), Norse (LICell), sinabs (ExpLeak)",
    "qif": "SpikingJelly (QIFNode)",
    "refractorylif": "Norse (LIFRefracCell)",
    "resonateandfire": "SpikingJelly (RAFNode)",
}


def neuron_pages() -> dict[str, str | bytes]:
    """A page with all neurons, and a picture of each."""
    pages: dict[str, str | bytes] = {}
    sections = []
    for name, neuron in available_neurons().items():
        draw = partial(draw_neuron, neuron, neuron_responses(neuron))
        pages[f"gallery/neuron-{name}.png"] = render_png(draw, LIGHT)
        sections.append(_neuron_section(neuron))
    pages["gallery/neurons.md"] = "\n".join([NEURONS_HEAD, *sections])
    return pages


NEURONS_HEAD = """\
# Neurons, drawn

`nwave neurons --out DIR` draws the same pictures: what a neuron does under a constant drive and
under a burst, its firing rates, and the derivatives along the burst. A time constant without a
default is 20 ms here. [Neurons](../neurons.md) describes which to choose,
[Write your own neuron](../your-neuron.md) how to add one.

Peaks far above the threshold are cut. The dashed line is the threshold of each step: it moves if a
state adds to it. Rates are those of a second window: a neuron that adapts until it is silent has
the rate 0.
"""


def _neuron_section(neuron: CataloguedNeuron) -> str:
    facts = neuron_facts(neuron)
    name = facts["name"]
    equation = "\n".join(neuron.equation)
    rows = [
        ("solvers", ", ".join(facts["solvers"])),
        ("NIR", NIR_NODES.get(name, "no node")),
        ("also in", PEERS.get(name, "none of snnTorch, SpikingJelly, Norse and sinabs")),
        ("sources", neuron.sources),
    ]
    table = "\n".join(f"| {head} | {text} |" for head, text in rows)
    constants = "\n".join(map(_constant_row, facts["constants"]))
    return f"""\
## {name}

`{neuron.call}`: {neuron.summary}

```python
{equation}
```

![{name}: a constant drive, firing rates, a burst, derivatives](neuron-{name}.png){{ width=720 }}

| constant | kind | default | unit | meaning |
|---|---|---|---|---|
{constants}

| | |
|---|---|
{table}
"""


def _constant_row(constant: dict[str, Any]) -> str:
    default = constant.get("default")
    cells = [
        f"`{constant['name']}`",
        constant["kind"],
        "" if default is None else f"{default:g}",
        constant.get("unit") or "",
        constant.get("text") or "",
    ]
    return f"| {' | '.join(cells)} |"


# Derivatives are drawn for z from -REACH to REACH.
REACH = 2.0

# The picture of all surrogates: its number of columns, and the end of its y axis, which
# `SURROGATES_HEAD` names.
COLUMNS = 4
OVERVIEW_TOP = 1.5

SURROGATES_HEAD = """\
# Surrogates, drawn

The derivative that replaces the derivative of a spike, at z = u − threshold.
[Surrogates](../surrogates.md) explains the parameters, [Which surrogate?](../which-surrogate.md)
compares them. Sources are in the [reference](../reference/surrogate.md).

All on the same axes, with their default parameters. Values above 1.5 or below 0 are cut here. The
pictures below have a y axis each.

![Derivatives of all surrogates in panels with the same axes](surrogates.png)
"""


def surrogate_pages() -> dict[str, str | bytes]:
    """A page with all surrogates, and the curve of each."""
    pages: dict[str, str | bytes] = {
        "gallery/surrogates.png": render_png(_draw_overview, LIGHT),
    }
    sections = []
    classes = available()
    for shape in catalogue_shapes():
        name = shape["name"]
        draw = partial(_draw_surrogate, classes[name]())
        pages[f"gallery/surrogate-{name}.png"] = render_png(draw, LIGHT)
        sections.append(_surrogate_section(shape))
    pages["gallery/surrogates.md"] = "\n".join([SURROGATES_HEAD, *sections])
    return pages


def _draw_overview(theme: Theme) -> Figure:
    """Draw the derivatives of all surrogates, each in its panel, in a color for each kind."""
    surrogates = [kind() for kind in available().values()]
    rows = math.ceil(len(surrogates) / COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 0.6 + 1.7 * rows))
    figure.suptitle("σ' against z = u − threshold; one color for each kind of shape", fontsize=11)

    # Surrogates of one kind of shape are defined in one module.
    kinds = list(dict.fromkeys(type(surrogate).__module__ for surrogate in surrogates))
    hues = (*theme.hues, theme.ink)
    for index, surrogate in enumerate(surrogates):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        kind = kinds.index(type(surrogate).__module__)
        _draw_derivative(axes, surrogate, hues[kind % len(hues)])
        axes.tick_params(labelsize=9, labelbottom=index + COLUMNS >= len(surrogates))
        axes.set_ylim(0, OVERVIEW_TOP)
    return figure


def _draw_derivative(axes: Axes, surrogate: Surrogate, color: str) -> None:
    """Draw the derivative of a surrogate, with its name and parameters as the title."""
    z = torch.linspace(-REACH, REACH, 2001, dtype=torch.float64)
    height = surrogate.derivative(z)
    axes.plot(z, height, color=color, linewidth=1.4)
    axes.fill_between(z, height, color=color, alpha=0.15, linewidth=0)

    name = text(surrogate).partition("(")[0]
    parameters = ", ".join(f"{key}={value:g}" for key, value in surrogate.parameters.items())
    axes.set_title(f"{name}\n{parameters}" if parameters else name, fontsize=9)
    axes.set_ylim(min(0.0, 1.1 * height.min().item()), 1.3 * height.max().item())
    axes.grid()


def _draw_surrogate(surrogate: Surrogate, theme: Theme) -> Figure:
    figure = Figure(figsize=(5, 2.6))
    axes = figure.subplots()
    _draw_derivative(axes, surrogate, theme.hues[0])
    axes.set(xlabel="z = u − threshold", ylabel="σ'(z)")
    return figure


def _surrogate_section(shape: dict[str, Any]) -> str:
    name = shape["name"]
    defaults = ", ".join(f"{key}={value:g}" for key, value in shape["defaults"].items())
    numbers = [shape["peak"], shape["area"], shape["half_width"]]
    peak, area, width = ("none" if number is None else f"{number:.4g}" for number in numbers)
    return f"""\
## {name}

`{name}({defaults})`

![The derivative of {name} over z]({f"surrogate-{name}.png"})

| formula | peak | area | full width at half height |
|---|---|---|---|
| `{shape["formula"]}` | {peak} | {area} | {width} |
"""
