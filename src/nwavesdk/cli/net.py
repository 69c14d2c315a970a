"""`nwave net`: the presets of nets, the page of each, and its layers for inputs of some shape."""

from typing import Annotated, get_args

import typer

from nwavesdk.cli.app import Json, aligned, app, check_combinations, print_report, step_shape
from nwavesdk.presets import DESCRIPTIONS, NAMES, USES, PresetName, text
from nwavesdk.train.config.recipes import PRESET_OF, DataKind

__all__ = ["print_net"]

MAX_OUTPUTS = 100_000  # more is a mistake


@app.command("net")
@check_combinations(
    needs={"--inputs": "PRESET", "--classes": "--inputs", "--kind": "--inputs"},
)
def print_net(
    preset: Annotated[
        PresetName | None,
        typer.Argument(metavar="PRESET", help="Print the page of this net. [list all]"),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N…]",
            help="Print its layers for steps of this shape instead, as in 40 or 2,34,34.",
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_OUTPUTS, help="Classes; with --inputs. [10]"),
    ] = None,
    kind: Annotated[
        DataKind | None,
        typer.Option(
            metavar="|".join(get_args(DataKind)),
            help="What the recordings are; with --inputs. [by the shape: sound, image, events]",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a net of `nwave train --net NAME` as a page of Python to copy and change.

    `nwave net conv > net.py`, change net.py, and `nwave train --net net.py:build` trains it.
    """
    if preset is None:
        _list_presets(as_json)
    elif inputs is None:
        content = {"preset": preset, "description": DESCRIPTIONS[preset], "text": text(preset)}
        print_report(as_json, content, text(preset).splitlines())
    else:
        _print_layers(preset, step_shape("--inputs", inputs), classes or 10, kind, as_json)


def _list_presets(as_json: bool) -> None:
    defaults = [*PRESET_OF.items(), ("patterns", "lif"), ("--chip", "chip")]
    presets = [
        {
            "preset": name,
            "description": DESCRIPTIONS[name],
            "default_for": [kind for kind, preset in defaults if preset == name],
            "options": sorted(USES[name]),
        }
        for name in NAMES
    ]
    rows = []
    for facts in presets:
        options = [f"--{option.replace('_', '-')}" for option in facts["options"]]
        rows += [
            (facts["preset"], facts["description"]),
            ("", f"default for {', '.join(facts['default_for']) or 'no data'}"),
            ("", ", ".join(options)),
        ]
    lines = ["", "nwave net NAME prints one of them; nwave train --net NAME trains it."]
    print_report(as_json, {"presets": presets}, aligned(rows) + lines)


def _print_layers(
    preset: PresetName,
    inputs: tuple[int, ...],
    classes: int,
    kind: DataKind | None,
    as_json: bool,
) -> None:
    from nwavesdk.analysis.layer_table import layer_lines, layer_rows
    from nwavesdk.train.fit.net_file import build_preset

    layers = layer_rows(build_preset(preset, inputs, classes, kind), inputs)
    content = {
        "preset": preset,
        "inputs": inputs,
        "classes": classes,
        "parameters": sum(layer.parameters for layer in layers),
        "layers": [vars(layer) for layer in layers],
    }
    print_report(as_json, content, layer_lines(layers))
