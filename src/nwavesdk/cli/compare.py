"""`nwave compare`: surrogates × seeds, everything else the same."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, app, split_commas, user_errors
from nwavesdk.cli.learn import nested, source

__all__ = ["compare"]


@app.command()
def compare(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the study; new, or the study to go on with.")],
    surrogates: Annotated[
        str, typer.Option(metavar="A,B,…", help='Such as "fast_sigmoid,atan(alpha=3)"; one may stand twice.')
    ] = "fast_sigmoid,atan,sigmoid",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each surrogate, with seeds from 0.")] = 5,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part. [20; chip: 40]")] = None,
    data: Annotated[str | None, typer.Option(metavar="digits|FOLDER", help="As of nwave train. [digits]")] = None,
    chip: Annotated[str | None, typer.Option(metavar="h1v1|h1v2|FILE", help="As of nwave train. [none]")] = None,
    hidden: Annotated[str | None, typer.Option(metavar="N,N,…", help="As of nwave train.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use about so many recordings. [all]")] = None,
    hold: Annotated[int | None, typer.Option(help="As of nwave train.")] = None,
    split: Annotated[str | None, typer.Option(help="As of nwave train.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of each cell; recorded, as sums depend on it.")] = 1,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time. [cores / threads]")] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Run cells on Ray instead, here or on a cluster.")] = False,
    as_json: Json = False,
) -> None:
    """Train with each surrogate on the same seeds, and say which differences are more than chance.

    All arms of a seed begin with the same weights and see the same order, dropout and chips. A study that was killed
    goes on with the same command; finished cells are not repeated.
    """
    choices = nested(
        {
            "learning.epochs": epochs,
            "data.source": source(data),
            "data.limit": limit,
            "data.hold": hold,
            "data.split": split,
            "chip.profile": chip if chip in (None, "h1v1", "h1v2") else str(Path(chip).resolve()),
            "net.hidden": None if hidden is None else [int(size) for size in hidden.split(",")],
            "machine.accelerator": "cpu",
        }
    )
    with user_errors(as_json):
        from nwavesdk.lab.compare import Study
        from nwavesdk.lab.compare.workers import finish_on_processes, finish_on_ray
        from nwavesdk.train import BrokenRunError

        study = Study.open(out, split_commas(surrogates), seeds, choices, threads)
        missing = study.missing()

        def told(cell: Any) -> None:
            done = len(study.cells) - len(study.missing())
            line = f"{done}/{len(study.cells)}  {cell.arm}, seed {cell.seed}: {cell.result['test_accuracy']:.4f}"
            print(line, file=sys.stderr, flush=True)

        with user_errors(as_json, (BrokenRunError,)):
            if ray:
                finish_on_ray(study, missing, told)
            elif missing:
                finish_on_processes(study, missing, jobs or max(1, (os.cpu_count() or 1) // threads), told)
        from nwavesdk.lab.compare.report import content, lines, write

        report = write(study)
    print(json.dumps(content(study)) if as_json else "\n".join([*lines(study), f"look at {report}"]))
