"""Commands that list parts of the library: `nwave net`, `neurons`, `kernels` and `surrogates`."""

import re
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer

import nwavesdk
from nwavesdk.cli.app import (
    Json,
    aligned,
    app,
    folder_option,
    print_report,
    record_table,
)
from nwavesdk.internal.imports import require
from nwavesdk.presets import DESCRIPTIONS, NAMES, PresetName, page_path
from nwavesdk.train.config.run_config import UNIONS

__all__ = ["list_kernels", "list_neurons", "list_surrogates", "print_net"]

DTYPE = "float32"  # of the kernels

# Head and key of the columns of `nwave surrogates`.
SHAPE_COLUMNS = {
    "name and defaults": "call",
    "peak": "peak",
    "area": "area",
    "width at half height": "half_width",
    "derivative at z = u − threshold": "formula",
}


@app.command("net")
def print_net(
    preset: Annotated[
        PresetName | None,
        typer.Argument(metavar="PRESET", help="Print the page of this net. [list all]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a net of `nwave train --net NAME` as a page of Python to copy and change.

    `nwave net conv > net.py`, change net.py, and `nwave train --net net.py:build` trains it.
    """
    if preset is None:
        _list_presets(as_json)
    else:
        page = page_path(preset).read_text(encoding="utf-8")
        content = {"preset": preset, "description": DESCRIPTIONS[preset], "text": page}
        print_report(as_json, content, page.splitlines())


def _list_presets(as_json: bool) -> None:
    _, models = UNIONS["net"]
    presets, rows = [], []

    for name in NAMES:
        description = DESCRIPTIONS[name]
        options = sorted(models[name].model_fields.keys() - {"name"})
        typed = [f"--{option.replace('_', '-')}" for option in options]
        presets.append({"preset": name, "description": description, "options": options})
        rows += [(name, description), ("", ", ".join(typed))]

    lines = ["", "nwave net NAME prints one of them; nwave train --net NAME trains it."]
    print_report(as_json, {"presets": presets}, aligned(rows) + lines)


@app.command("neurons")
def list_neurons(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="This neuron only; FILE.py:NAME is a neuron of your own. [all]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        folder_option("Draw each neuron to a PNG in this folder.", "--output", "--out"),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the neurons with equation, constants, states, solvers and sources, and draw them.

    A picture shows the response to a constant drive and to a burst, the firing rates, and the
    derivatives along the burst. The drives are found by trying.
    """
    from nwavesdk.analysis.neurons import neuron_facts
    from nwavesdk.layers.catalogue import available_neurons

    neurons = list(available_neurons().values()) if name is None else [_chosen_neuron(name)]
    pictures = {} if output is None else _draw(neurons, output)
    facts = [{**neuron_facts(neuron), "plot": pictures.get(neuron.name)} for neuron in neurons]

    lines = [line for neuron in facts for line in _neuron_lines(neuron)]
    lines += [f"drawn in {picture}" for picture in pictures.values()]
    print_report(as_json, {"neurons": facts, "output": output}, lines)


def _chosen_neuron(name: str) -> Any:
    """The neuron of a name in the catalogue, or of FILE.py:NAME, whose file is run.

    Raises:
        ValueError: If there is none.
    """
    from nwavesdk.layers.catalogue import CataloguedNeuron, find_neuron, plain_name
    from nwavesdk.train.config.net_file import NetPage, load_layer

    if re.search(r"\.py(:|$)", name) is None:
        return find_neuron(name)
    layer: Any = load_layer(NetPage.parse(name))
    return CataloguedNeuron(plain_name(layer.__name__), layer, layer.page)


def _draw(chosen: list[Any], folder: Path) -> dict[str, Path]:
    """Draw neurons; return the picture of each name."""
    require("matplotlib", "train")
    from nwavesdk.analysis import neuron_picture, neurons

    pictures = {neuron.name: folder / f"{neuron.name}.png" for neuron in chosen}
    for neuron in chosen:
        responses = neurons.neuron_responses(neuron)
        nwavesdk.plot.theme.write_png(
            pictures[neuron.name], partial(neuron_picture.draw_neuron, neuron, responses)
        )
    return pictures


def _neuron_lines(neuron: dict[str, Any]) -> list[str]:
    """A neuron as a block of lines, with a table of its input, states and constants."""
    values = [(neuron["input"], "input", "")]
    values += [(state, "state", f"{state['start']:g}") for state in neuron["states"]]
    values += [(value, value["kind"], _default_text(value)) for value in neuron["constants"]]

    rows = [
        (value["name"], kind, default, value["unit"], value["text"])
        for value, kind, default in values
    ]
    table = aligned([("name", "kind", "default", "unit", "meaning"), *rows])

    return [
        f"{neuron['name']}  {neuron['layer']}: {neuron['summary']}",
        *(f"    {line}" for line in neuron["equation"]),
        *(f"  {line}" for line in table),
        f"  solvers: {', '.join(neuron['solvers'])}",
        *wrap(f"  sources: {neuron['sources']}", 100, subsequent_indent="    "),
        "",
    ]


def _default_text(constant: dict[str, Any]) -> str:
    if constant["argument"] is None:
        return "the chip's"
    return "no default" if constant["default"] is None else f"{constant['default']:.4g}"


@app.command("kernels")
def list_kernels(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A neuron that `nwave neurons` lists, or FILE.py:NAME. [lif]"
        ),
    ] = "lif",
    surrogate: Annotated[
        str,
        typer.Option(metavar="NAME", help="The surrogate of backward. [fast_sigmoid]"),
    ] = "fast_sigmoid",
    gpu: Annotated[
        bool, typer.Option("--gpu", help="The kernels of GPUs (Triton), not of CPUs (numba).")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Print their source.")] = False,
    as_json: Json = False,
) -> None:
    """List the kernels that the library generates for a neuron and a surrogate, in float32.

    The kernels are for the serial solver with a gradient of the charge, not of the constants.
    Nothing is compiled.
    """
    from nwavesdk.dynamics import program_of
    from nwavesdk.solvers.cpu import render as cpu_texts
    from nwavesdk.solvers.gpu import render as gpu_texts

    neuron = _chosen_neuron(name)
    chosen = nwavesdk.surrogate.parse(surrogate)
    program = program_of(neuron.page.neuron)
    adjoint = program.adjoint(False)

    # The backward pass of a neuron without spikes has no surrogate.
    used = chosen if adjoint.uses_surrogate else None
    arguments = () if used is None else (type(used), len(used.constants))
    texts = gpu_texts if gpu else cpu_texts
    sources = {
        "forward": texts.render_forward(program.step, DTYPE),
        "backward": texts.render_backward(adjoint, DTYPE, *arguments),
    }

    lengths = {direction: len(source.splitlines()) for direction, source in sources.items()}
    content = {
        "saved": program.step.saved,
        "uses_surrogate": adjoint.uses_surrogate,
        "name": neuron.name,
        "surrogate": used and nwavesdk.surrogate.text(used),
        "machine": "gpu" if gpu else "cpu",
        "kernels": sources if show else lengths,
    }
    lines = [
        f"{neuron.name} with {content['surrogate'] or 'no surrogate'}: numbers of 4 bytes saved "
        f"per step and neuron: {program.step.saved}",
        *aligned((direction, f"{length} lines") for direction, length in lengths.items()),
        "--show prints the source.",
    ]
    if show:
        lines = "\n".join(sources.values()).splitlines()
    print_report(as_json, content, lines)


@app.command("surrogates")
def list_surrogates(as_json: Json = False) -> None:
    """List the surrogates with formula, defaults, peak and area."""
    shapes = nwavesdk.analysis.catalogue_shapes()
    records = []
    for shape in shapes:
        defaults = ", ".join(f"{name}={value:g}" for name, value in shape["defaults"].items())
        records.append({**shape, "call": f"{shape['name']}({defaults})"})
    print_report(as_json, {"surrogates": shapes}, record_table(records, SHAPE_COLUMNS))
