"""`nwave net`: the presets of nets, the page of each, and its layers for inputs of some shape."""

from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, app, print_report
from nwavesdk.internal.checks import close_name, shown
from nwavesdk.presets import DESCRIPTIONS, NAMES, PresetName, text
from nwavesdk.train.config.run_config import UNIONS

__all__ = ["print_net"]

KINDS = ("sound", "series", "image", "events", "features")

# What has another shape than these is a mistake.
MOST_AXES = 3
MOST_INPUTS = 1_000_000
MOST_OUTPUTS = 100_000


@app.command("net")
def print_net(
    preset: Annotated[
        str | None,
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
        typer.Option(min=1, max=MOST_OUTPUTS, help="Classes; with --inputs. [10]"),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(KINDS),
            help="What the recordings are; with --inputs. [by the shape: sound, image, events]",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a net of `nwave train --net NAME` as a page of Python to copy and change.

    `nwave net conv > net.py`, change net.py, and `nwave train --net net.py:build` trains it.
    """
    if preset is None:
        for option, value in {"--inputs": inputs, "--classes": classes, "--kind": kind}.items():
            if value is not None:
                raise ValueError(f"{option}: has no effect without the name of a net: name one.")
        _list_presets(as_json)
        return
    name = _preset_named(preset)
    if inputs is None:
        for option, value in {"--classes": classes, "--kind": kind}.items():
            if value is not None:
                raise ValueError(f"{option}: has no effect without --inputs: give both.")
        content = {"preset": name, "description": DESCRIPTIONS[name], "text": text(name)}
        print_report(as_json, content, text(name).splitlines())
        return
    if kind not in (None, *KINDS):
        raise ValueError(f"--kind: got {shown(kind)}, expected one of {', '.join(KINDS)}.")
    _print_layers(name, _shape_of(inputs), classes or 10, kind, as_json)


def _list_presets(as_json: bool) -> None:
    kinds: dict[str, list[str]] = {name: [] for name in NAMES}
    kinds["conv"] += KINDS
    kinds["lif"] += ["patterns", "lists of events"]
    kinds["chip"].append("--chip")
    facts = [
        {
            "preset": name,
            "description": DESCRIPTIONS[name],
            "default_for": kinds[name],
            "options": _options_of(name),
        }
        for name in NAMES
    ]
    lines = []
    for name in NAMES:
        options = ", ".join(f"--{option.replace('_', '-')}" for option in _options_of(name))
        lines.append(f"{name:<10} {DESCRIPTIONS[name]}")
        if kinds[name]:
            lines.append(f"{'':<10} default for {', '.join(kinds[name])}")
        lines.append(f"{'':<10} {options}")
    lines += ["", "nwave net NAME prints one of them; nwave train --net NAME trains it."]
    print_report(as_json, {"presets": facts}, lines)


def _options_of(name: str) -> list[str]:
    """The options of a net, sorted."""
    _, models = UNIONS["net"]
    return sorted(models[name].model_fields.keys() - {"name"})


def _preset_named(given: str) -> PresetName:
    for name in NAMES:
        if given == name:
            return name
    raise ValueError(
        f"PRESET: unknown net {shown(given)}{close_name(given, NAMES)}: expected one of "
        f"{', '.join(NAMES)}; `nwave net` describes them."
    )


def _shape_of(given: str) -> tuple[int, ...]:
    """The shape of a step."""
    parts = [part.strip() for part in given.split(",")]
    is_size = [part.isascii() and part.isdecimal() and len(part) < 8 for part in parts]
    sizes = tuple(map(int, parts)) if all(is_size) else ()
    total = 1
    for size in sizes:
        total *= size
    if not 1 <= len(sizes) <= MOST_AXES or not 1 <= total <= MOST_INPUTS:
        raise ValueError(
            f"--inputs: got {shown(given)}, expected up to {MOST_AXES} sizes from 1 with a product "
            f"of at most {MOST_INPUTS:,}, as in 40 or 2,34,34."
        )
    return sizes


def _print_layers(
    preset: PresetName, inputs: tuple[int, ...], classes: int, kind: Any, as_json: bool
) -> None:
    from nwavesdk.analysis.layer_table import layer_lines, layer_rows
    from nwavesdk.train.fit.network import build_preset

    net = build_preset(preset, inputs, classes, kind)
    rows = layer_rows(net, inputs)
    content: dict[str, Any] = {
        "preset": preset,
        "inputs": inputs,
        "classes": classes,
        "parameters": sum(row.parameters for row in rows),
        "layers": [vars(row) for row in rows],
    }
    print_report(as_json, content, layer_lines(rows))
