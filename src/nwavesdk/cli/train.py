"""`nwave train` and `nwave eval`.

`nwave compare`: surrogates × seeds, everything else the same.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, RunPath, app, split_commas, user_errors

__all__ = ["compare", "evaluate", "nested", "source", "train"]


@app.command()
def train(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the run; new or empty, unless --resume.")
    ],
    seed: Annotated[
        int | None, typer.Option(help="Decides weights, order and dropout. [0]")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="digits|FOLDER", help="Spoken digits, or <class>/*.wav in a folder. [digits]"
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training part. [20; chip: 40]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in DIR from its last epoch.")
    ] = False,
    hidden: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="Hidden layer sizes. [256,256; chip: 50]")
    ] = None,
    chip: Annotated[
        str | None,
        typer.Option(
            metavar="h1v1|h1v2|FILE", help="Train for this chip; FILE is a profile. [none]"
        ),
    ] = None,
    training: Annotated[
        str | None,
        typer.Option(help="What it knows of the chip: plain, hardware or mismatch. [mismatch]"),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="Bits of a weight on the chip. [the profile's]")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(help="Length of a recording for a chip, seconds. [1]")
    ] = None,
    population: Annotated[
        int | None, typer.Option(help="Output neurons for each class. [10]")
    ] = None,
    tau: Annotated[
        float | None, typer.Option(help="Membrane time constant, seconds. [0.01; chip: 0.05]")
    ] = None,
    surrogate: Annotated[
        str | None,
        typer.Option(help="Gradient of a spike; `nwave surrogates` lists them. [fast_sigmoid]"),
    ] = None,
    surrogate_schedule: Annotated[
        str | None,
        typer.Option(
            metavar="FORM(NAME,START,END)",
            help="Move a parameter: linear, exponential, cosine or plateau, as in exponential(slope,5,25). [none]",
        ),
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Share of hidden neurons silenced. [0.05; chip: 0]")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest learning rate of the cycle. [0.008; chip: 0.03]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Recordings a step. [64]")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without gain. [never]")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use about so many recordings. [all]")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="What parts are made by: speaker or recording. [speaker, if names tell it]"
        ),
    ] = None,
    length: Annotated[
        int | None, typer.Option(help="Frames kept of a recording. [whole for 9 of 10]")
    ] = None,
    hold: Annotated[
        int | None, typer.Option(help="Time steps a frame stays. [about 100 steps in all]")
    ] = None,
    bands: Annotated[int | None, typer.Option(help="Mel bands; folders only. [32]")] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Rate of the sound, Hz; folders only. [lowest; chip: 16000]")
    ] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="auto, cpu, gpu, cuda or mps. [auto]")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="Processes or GPUs, data-parallel. [1]")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="32-true, 64-true, bf16-mixed or 16-mixed. [32-true]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a spiking net on recordings; DIR gets its weights, numbers, pictures and report.html."""
    choices = nested(
        {
            "seed": seed,
            "data.source": source(data),
            "data.limit": limit,
            "data.split": split,
            "data.length": length,
            "data.hold": hold,
            "data.bands": bands,
            "data.sample_rate": sample_rate,
            "chip.profile": _profile_path(chip),
            "chip.training": training,
            "chip.bits": bits,
            "chip.duration": duration,
            "net.hidden": None
            if hidden is None
            else [size.strip() for size in hidden.split(",") if size.strip()],
            "net.population": population,
            "net.tau": tau,
            "net.surrogate": surrogate,
            "net.dropout": dropout,
            "learning.epochs": epochs,
            "learning.rate": learning_rate,
            "learning.batch_size": batch_size,
            "learning.patience": patience,
            "learning.surrogate_schedule": surrogate_schedule,
            "machine.accelerator": accelerator,
            "machine.devices": devices,
            "machine.precision": precision,
        }
    )
    with user_errors(as_json):
        from nwavesdk.train import BrokenRunError, Run, RunConfig, RunFolder

        folder = RunFolder(out)
        if resume:
            folder.read_config().check_same(choices)
            if folder.finished:
                print(f"{out} is finished: nothing to resume, nothing changed.", file=sys.stderr)
                return _print_result(out, folder.read_result(), as_json)
        run = Run.open(out) if resume else Run.new(out, RunConfig.of(choices))
    with user_errors(as_json, (BrokenRunError,)):
        result = run.train()
    if result is not None:
        _print_result(out, result, as_json)
    return None


@app.command("eval")
def evaluate(run: RunPath, as_json: Json = False) -> None:
    """Build the net of RUN from its config and weights and test it again."""
    with user_errors(as_json):
        from nwavesdk.train import Run, RunFolder

        opened = Run.open(run)
        result = opened.test()
        folder = RunFolder(run)
        recorded = folder.read_result()["test_accuracy"] if folder.finished else None
    report = {"run": str(run), **result, "recorded_test_accuracy": recorded}
    if as_json:
        print(json.dumps(report))
    else:
        print(
            f"test accuracy {result['test_accuracy']:.4f} on {result['recordings']} recordings (recorded: {recorded})"
        )


def source(data: str | None) -> str | None:
    """Where recordings come from, as a config holds it."""
    return data if data in (None, "digits") else str(Path(data).resolve())


def _profile_path(chip: str | None) -> str | None:
    return chip if chip in (None, "h1v1", "h1v2") else str(Path(chip).resolve())


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"net.tau": 0.02, "seed": None}` to `{"net": {"tau": 0.02}}`: what was not given is left out."""
    choices: dict[str, Any] = {}
    for name, value in flat.items():
        section, _, key = name.rpartition(".")
        if value is not None:
            (choices.setdefault(section, {}) if section else choices)[key] = value
    return choices


def _print_result(out: Path, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"run": str(out), **result}))
    else:
        print(
            f"test accuracy {result['test_accuracy']:.4f}, validation {result['val_accuracy']:.4f}"
        )
        print(f"trained in {result['seconds']:.1f} s; look at {out / 'report.html'}")


@app.command()
def compare(
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of the study; new, or the study to go on with."),
    ],
    surrogates: Annotated[
        str,
        typer.Option(
            metavar="A,B,…", help='Such as "fast_sigmoid,atan(alpha=3)"; one may stand twice.'
        ),
    ] = "fast_sigmoid,atan,sigmoid",
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of each surrogate, with seeds from 0.")
    ] = 5,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training part. [20; chip: 40]")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="digits|FOLDER", help="As of nwave train. [digits]")
    ] = None,
    chip: Annotated[
        str | None, typer.Option(metavar="h1v1|h1v2|FILE", help="As of nwave train. [none]")
    ] = None,
    hidden: Annotated[str | None, typer.Option(metavar="N,N,…", help="As of nwave train.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use about so many recordings. [all]")] = None,
    hold: Annotated[int | None, typer.Option(help="As of nwave train.")] = None,
    split: Annotated[str | None, typer.Option(help="As of nwave train.")] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Of each cell; recorded, as sums depend on it.")
    ] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Cells at a time. [cores / threads]")
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run cells on Ray instead, here or on a cluster.")
    ] = False,
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
        from nwavesdk.analysis.compare import Study
        from nwavesdk.analysis.compare.study import finish_on_processes, finish_on_ray
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
                finish_on_processes(
                    study, missing, jobs or max(1, (os.cpu_count() or 1) // threads), told
                )
        from nwavesdk.analysis.compare.report import content, lines, write

        report = write(study)
    print(
        json.dumps(content(study)) if as_json else "\n".join([*lines(study), f"look at {report}"])
    )
