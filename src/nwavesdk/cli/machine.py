"""The command about this machine: `nwave info`."""

import json
from typing import Annotated, Any

import typer

import nwavesdk
from nwavesdk.cli.app import Json, aligned, app, print_report
from nwavesdk.internal.imports import missing_packages

__all__ = ["print_info"]


@app.command("info")
def print_info(
    chip: Annotated[
        str | None,
        typer.Option(
            metavar="h1v1|h1v2|FILE", help="Print the numbers of a chip and their sources instead."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print versions, the machine and missing extras; with --chip, the numbers of a chip."""
    if chip is not None:
        _print_chip(chip, as_json)
        return

    import torch

    from nwavesdk.train.config.completed import Origin

    facts: dict[str, Any] = {**Origin.current().model_dump(), "threads": torch.get_num_threads()}
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]

    extras, rows = {}, [*facts.items(), ("cuda", ", ".join(devices) or "none")]
    for name, missing in missing_packages().items():
        extras[name] = {"complete": not missing, "missing": missing}
        lacks = f"lacks {', '.join(missing)}: pip install '.[{name}]' in a clone of nwavesdk"
        rows.append((name, lacks if missing else "complete"))

    print_report(as_json, {**facts, "cuda": devices, "extras": extras}, aligned(rows))


def _print_chip(source: str, as_json: bool) -> None:
    profile = nwavesdk.chip.load_profile(source)
    rows = []
    for name, entry in profile.entries.items():
        values = entry.value if isinstance(entry.value, tuple) else (entry.value,)
        numbers = " ".join(f"{value:g}" if isinstance(value, float) else value for value in values)
        quantity = f"{numbers or 'none'} {entry.unit}".removesuffix(" 1")  # 1 is not a unit
        rows += [
            (f"{'*' if entry.source == 'assumed' else ' '} {name}", quantity),
            ("", f"{entry.source}: {entry.note}"),
        ]

    lines = [f"{profile.name}: * is assumed; put measured numbers in a profile of your own"]
    print_report(as_json, json.loads(profile.to_json()), lines + aligned(rows))
