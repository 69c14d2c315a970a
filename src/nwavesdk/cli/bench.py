"""`nwave bench` and `nwave tune-kernels`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nwavesdk.cli.app import Json, app, user_errors

__all__ = ["bench", "tune_kernels"]


@app.command()
def bench(as_json: Json = False) -> None:
    """Time layers and training steps on this machine, against the torch reference and the machine's own limits."""
    with user_errors(as_json):
        from nwavesdk.analysis.bench import quick_lines, quick_report

        report = quick_report()
    print(json.dumps(report) if as_json else "\n".join(quick_lines(report)))


@app.command("tune-kernels")
def tune_kernels(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the table goes. [NWAVESDK_CROSSOVER or the settings]"
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Remove the own table: the shipped one counts again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure below which density of spikes sparse products pay on this machine, and go by that from now on.

    Nets that are trained afterwards may differ by rounding from earlier ones; a run that was begun keeps its table.
    """
    with user_errors(as_json):
        from nwavesdk.solvers.sparse.crossover import read_table, shipped_table, user_path

        path = out or user_path()
        own = path.is_file()
        if reset:
            path.unlink(missing_ok=True)
            outcome = f"{path} is removed" if own else f"there was no {path}"
            print(
                json.dumps({"removed": own, "path": str(path)})
                if as_json
                else f"{outcome}: the shipped table counts."
            )
            return
        if path.is_dir():
            raise ValueError(
                f"{path} is a folder: give the name of a file, as in --out {path / 'crossover.toml'}."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.tmp")
        draft.write_text(
            ""
        )  # now, not after a minute of measuring, it must be known that it can be written
        try:
            before = read_table(path) if own else shipped_table()
        except ValueError as error:
            print(f"nwave: {error}", file=sys.stderr)
            before = shipped_table()

        from datetime import date

        import torch

        from nwavesdk.solvers.sparse.tuner import tune

        print("measuring products; leave the machine alone for a minute", file=sys.stderr)
        table = tune(
            lambda done: print(
                f"\r{done:4.0%}", end="\n" if done == 1 else "", file=sys.stderr, flush=True
            )
        )
        draft.write_text(
            table.toml(f"nwave tune-kernels, {date.today()}, {torch.get_num_threads()} threads"),
            "utf-8",
        )
        draft.replace(path)
    if as_json:
        print(json.dumps({"path": str(path), "before": before.content(), "table": table.content()}))
        return
    for line in table.differences(before):
        print(line)
    counts = out is None or out.resolve() == user_path().resolve()
    print(f"written to {path}" + ("" if counts else f"; to use it, set NWAVESDK_CROSSOVER={path}"))
