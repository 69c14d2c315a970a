"""Commands about this machine: `nwave info` and `nwave tune-kernels`."""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

import nwavesdk
from nwavesdk.cli.app import (
    Json,
    aligned,
    app,
    check_combinations,
    file_option,
    print_report,
)
from nwavesdk.cli.errors import print_note
from nwavesdk.internal.files import check_target, write_atomically
from nwavesdk.internal.imports import missing_packages

__all__ = ["print_info", "tune_kernels"]


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

    from nwavesdk.solvers.sparse.crossover import active_table
    from nwavesdk.train.config.facts import Origin

    facts: dict[str, Any] = {
        **Origin.current().model_dump(),
        "threads": torch.get_num_threads(),
        "crossovers": active_table().source,
    }
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
        quantity = f"{numbers or 'none'} {entry.unit}".removesuffix(" 1")
        rows += [
            (f"{'*' if entry.source == 'assumed' else ' '} {name}", quantity),
            ("", f"{entry.source}: {entry.note}"),
        ]
    lines = [f"{profile.name}: * is assumed; put measured numbers in a profile of your own"]
    print_report(as_json, json.loads(profile.to_json()), lines + aligned(rows))


@app.command("tune-kernels")
@check_combinations(["--reset", "--out"])
def tune_kernels(
    out: Annotated[
        Path | None, file_option("File of the table. [NWAVESDK_CROSSOVER or the settings]")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Remove your table and use the shipped one again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure below which density of spikes sparse products are faster, and use them accordingly.

    Nets that are trained afterwards may differ from earlier ones by rounding. A run that has begun
    keeps its table.
    """
    from nwavesdk.solvers.sparse.crossover import user_table_path

    path = out or user_table_path()
    check_target(path)  # now, not after minutes of measuring
    if reset:
        removed = path.is_file()
        path.unlink(missing_ok=True)
        outcome = f"{path} is removed" if removed else f"there was no {path}"
        content = {"removed": removed, "path": path}
        print_report(as_json, content, [f"{outcome}: the shipped table is used."])
        return

    before, table = _measure_table(path)
    hint = "" if out is None else f"; to use it, set NWAVESDK_CROSSOVER={path}"
    content = {"path": path, "before": before.content(), "table": table.content()}
    print_report(as_json, content, [*table.differences(before), f"written to {path}{hint}"])


def _measure_table(path: Path) -> tuple[Any, Any]:
    """Measure the crossovers of this machine and write them; return the table before and after."""
    import torch

    from nwavesdk.solvers.sparse import crossover, tuner

    before = crossover.shipped_table()
    try:
        before = crossover.read_table(path) if path.is_file() else before
    except ValueError as error:
        print_note(f"nwave: {error}")

    print_note("measuring products; leave the machine idle for some minutes")
    table = tuner.tune(_print_progress)
    comment = f"nwave tune-kernels, {date.today()}, {torch.get_num_threads()} threads"
    write_atomically(path, table.toml(comment).encode())
    return before, table


def _print_progress(fraction: float) -> None:
    print(f"\r{fraction:4.0%}", end="\n" * (fraction == 1), file=sys.stderr, flush=True)
