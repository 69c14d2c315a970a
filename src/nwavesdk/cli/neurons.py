"""`nwave neurons`: the catalogue of neurons, and a picture of what each does."""

import re
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, app, folder_option, print_report
from nwavesdk.internal.files import check_target
from nwavesdk.internal.imports import require

__all__ = ["chosen_neuron", "list_neurons"]

WIDTH = 100


@app.command("neurons")
def list_neurons(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Describe this neuron only, in detail; FILE.py:NAME is one of your own. [all]",
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

    neurons = list(available_neurons().values()) if name is None else [chosen_neuron(name)]
    pictures: dict[str, Path] = {}
    if output is not None:
        require("matplotlib", "train")
        pictures = {neuron.name: output / f"{neuron.name}.png" for neuron in neurons}
        _draw(neurons, pictures)
    facts = [neuron_facts(neuron) for neuron in neurons]
    content = [{**one, "plot": pictures.get(one["name"])} for one in facts]
    lines = _detail_lines(facts[0]) if name is not None else _list_lines(facts)
    if output is not None:
        drawn = [str(path) for path in pictures.values()]
        lines += [
            "",
            f"drawn in {drawn[0] if len(drawn) == 1 else f'{len(drawn)} PNGs in {output}'}",
        ]
    print_report(as_json, {"neurons": content, "output": output}, lines)


def chosen_neuron(name: str) -> Any:
    """The neuron of a name in the catalogue, or of FILE.py:NAME, whose file is run.

    Raises:
        ValueError: If there is none.
    """
    from nwavesdk.layers.catalogue import CataloguedNeuron, find_neuron, plain_name

    if re.search(r"\.py(:|$)", name) is None:
        try:
            return find_neuron(name)
        except ValueError as error:
            raise ValueError(f"NAME: {error}") from None
    from nwavesdk.train.config.nets import NetPage
    from nwavesdk.train.fit.net_file import load_layer

    layer: Any = load_layer(NetPage.of(name, "NAME"))
    return CataloguedNeuron(plain_name(layer.__name__), layer, layer.page)


def _draw(neurons: list[Any], pictures: dict[str, Path]) -> None:
    from nwavesdk.analysis.neuron_picture import plot_neuron
    from nwavesdk.analysis.neurons import neuron_responses

    for path in pictures.values():
        check_target(path)
    for neuron in neurons:
        plot_neuron(pictures[neuron.name], neuron, neuron_responses(neuron))


def _list_lines(facts: list[dict[str, Any]]) -> list[str]:
    """A block of lines per neuron."""
    lines: list[str] = []
    for one in facts:
        constants = ", ".join(map(_constant_text, one["constants"]))
        states = ", ".join(state["name"] for state in one["states"])
        lines += [
            *_head_lines(one),
            *_wrapped("constants", constants),
            *_wrapped("states", states),
            *_wrapped("solvers", ", ".join(one["solvers"])),
            *_wrapped("sources", one["sources"]),
            "",
        ]
    return [*lines, "nwave neurons NAME describes one of them; --output DIR draws them."]


def _detail_lines(one: dict[str, Any]) -> list[str]:
    """A neuron with a table of its input, states and constants."""
    rows = [
        ("name", "kind", "default", "unit", "meaning"),
        _row(one["input"], "input", ""),
        *(_row(state, "state", f"{state['start']:g}") for state in one["states"]),
        *(_row(constant, constant["kind"], _default(constant)) for constant in one["constants"]),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    table = ["  ".join([*map(str.ljust, row[:4], widths), row[4]]) for row in rows]
    return [
        *_head_lines(one),
        "",
        *(f"  {line}".rstrip() for line in table),
        "",
        *_wrapped("solvers", ", ".join(one["solvers"])),
        *_wrapped("sources", one["sources"]),
    ]


def _row(value: dict[str, Any], kind: str, default: str) -> tuple[str, ...]:
    return value["name"], kind, default, value["unit"], value["text"]


def _head_lines(one: dict[str, Any]) -> list[str]:
    equation = [f"    {line}" for line in one["equation"]]
    return [f"{one['name']}  {one['layer']}: {one['summary']}", *equation]


def _constant_text(constant: dict[str, Any]) -> str:
    unit = f" {constant['unit']}" if constant["unit"] else ""
    if constant["default"] is None:
        return f"{constant['name']} ({constant['kind']}, {_default(constant)})"
    return f"{constant['name']} = {_default(constant)}{unit} ({constant['kind']})"


def _default(constant: dict[str, Any]) -> str:
    if constant["argument"] is None:
        return "the chip's"
    return "no default" if constant["default"] is None else f"{constant['default']:.4g}"


def _wrapped(head: str, text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=f"  {head:<11}", subsequent_indent=" " * 13)
