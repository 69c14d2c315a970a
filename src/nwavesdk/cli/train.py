"""`nwave train`, `nwave compare` and `nwave tune`."""

import math
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import nwavesdk
from nwavesdk.cli.app import (
    MEASURE_TITLES,
    Json,
    Ray,
    aligned,
    app,
    check_combinations,
    folder_option,
    measures_text,
    print_report,
    split_commas,
)
from nwavesdk.cli.errors import print_note
from nwavesdk.cli.options import MORE_OPTIONS, RUN_FIELDS, SectionedCommand, add_run_choices
from nwavesdk.internal.files import check_folder
from nwavesdk.internal.imports import require
from nwavesdk.internal.processes import TERMINATED
from nwavesdk.train.config import Choices, CompletedConfig, fields_of, merge_choices

__all__ = ["compare_run", "train_run", "tune_run"]

# A run that begins with trained weights needs fewer epochs and smaller steps than the run before.
FEWER_EPOCHS = 5
LOWER_RATE = 10


@app.command("train", cls=SectionedCommand, epilog=MORE_OPTIONS)
@add_run_choices(
    "seed",
    *RUN_FIELDS,
    "net.surrogate",
    "learning.surrogate_schedule",
    "learning.finetune",
    "learning.weight_bits",
    "data.folds",
    "data.leave_one_out",
    "data.test",
    *(f"machine.{name}" for name in fields_of("machine")),
)
def train_run(
    out: Annotated[
        Path,
        folder_option("Folder of the run; new or empty, except for --resume."),
    ],
    choices: dict[str, Any],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in DIR after its last epoch.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The config.json of another run, whose choices are the defaults."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Folds at a time. [cores / threads; GPU: 1]"),
    ] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Train a spiking net on recordings; write weights, numbers and report.html to DIR.

    In brackets are the defaults; config.json of a run has all of them.

    With --folds or --leave-one-out, DIR gets a run for each fold and a report of all. The same
    command continues a study that was killed.
    """
    if config is not None:
        choices = _with_recorded(CompletedConfig.read(config).choices(), choices)
    if resume:
        choices = _with_recorded(_choices_of_study(out), choices)
    finetuned = choices.get("learning", {}).get("finetune")
    if finetuned is not None and not resume:
        choices = _with_recorded(_finetuning_choices(Path(finetuned)), choices)

    data = choices.get("data", {})
    if (data.get("folds") or data.get("leave_one_out")) and not data.get("fold"):
        _train_folds(out, choices, jobs, ray, as_json)
        return
    for option, value in {"--jobs": jobs, "--ray": ray}.items():
        if value is not None:
            raise ValueError(f"{option}: has no effect on a single run: remove it, or add --folds.")

    result = _run(out, choices, resume=resume)
    if result is not None:
        notes = _notes(result, nwavesdk.train.RunFolder(out).read_config())
        time = f"trained in {result['seconds']:.1f} s; look at {out / 'report.html'}"
        print_report(as_json, {"run": out, **result}, [measures_text(result), *notes, time])


def _finetuning_choices(run: Path) -> Choices:
    """The choices of a trained run, with fewer epochs and a lower learning rate."""
    config = nwavesdk.train.RunFolder(run).read_config()
    epochs = math.ceil(config.learning.epochs / FEWER_EPOCHS)
    learning = {"epochs": epochs, "rate": config.learning.rate / LOWER_RATE}
    return merge_choices(config.choices(), {"learning": learning})


def _with_recorded(recorded: Choices, choices: Choices) -> dict[str, Any]:
    """The recorded choices, with the choices of the command where both have a field.

    The recorded options of another task or net are dropped. The recorded file of a net is not run,
    because the record may come from anywhere.
    """
    for section in ("task", "net"):
        fields = choices.get(section, {})
        name = "file" if "page" in fields else fields.get("name")
        if name not in (None, recorded.get(section, {}).get("name")):
            recorded = {**recorded, section: {}}

    merged = merge_choices(recorded, choices)
    if "page" in merged.get("net", {}) and "page" not in choices.get("net", {}):
        raise ValueError("--net: missing, the recorded net is from a file: pass that file.")
    return merged


def _run(out: Path, choices: Choices, *, resume: bool) -> dict[str, Any] | None:
    """Train a new run, or continue a run; the result of a finished run in the first process.

    The report has the costs of the net as a program.
    """
    from nwavesdk.train.fit.machine import is_first_process
    from nwavesdk.train.run_folder import match_page

    if resume:
        folder = nwavesdk.train.RunFolder(out)
        net = dict(choices.get("net", {}))
        given = net.pop("page", None) or net.pop("name", None)
        config = match_page(folder.read_config(), given, out)

        # `match_page` has compared the net; all other choices are compared here.
        config.check_same({**choices, "net": net})
        if folder.complete:
            print_note(f"{out} is finished: nothing to resume, nothing changed.")
            return folder.read_result()
        run = nwavesdk.train.Run.open(out, given)
    else:
        run = nwavesdk.train.Run.new(out, choices)
        if is_first_process():
            for line in run.summary():
                print_note(line)

    from nwavesdk.cli.c import program_section

    run.report_sections.append(program_section)
    return run.train()


def _choices_of_study(out: Path) -> Choices:
    """The choices with which a cross-validation began in a folder; empty without one."""
    if not (out / "study.json").is_file():
        return {}
    from nwavesdk.analysis.study.study import read_study

    choices: Choices = read_study(out / "study.json")["choices"]
    return choices


def _train_folds(
    out: Path, choices: Choices, jobs: int | None, ray: str | None, as_json: bool
) -> None:
    """All folds of a cross-validation, and their report."""
    from nwavesdk.analysis.study import cross_validate

    threads = choices.get("machine", {}).get("threads", 1)
    folds = cross_validate(out, choices, threads)
    gpus = int(_uses_gpu(choices))
    if gpus and not ray:
        jobs = jobs or 1
    finish_study(folds, as_json, threads=threads, jobs=jobs, ray=ray, gpus=gpus)


def _uses_gpu(choices: Choices) -> bool:
    """Whether the runs of a study are on a GPU, which they would share."""
    import torch

    accelerator = choices.get("machine", {}).get("accelerator", "auto")
    return accelerator != "cpu" and torch.cuda.is_available()


def finish_study(
    study: Any, as_json: bool, *, threads: int, jobs: int | None, ray: str | None, gpus: int = 0
) -> None:
    """Run the missing runs of a study, with a line for each; write and print its report.

    Args:
        study: The study.
        as_json: Whether to print the report as JSON.
        threads: Threads of each run.
        jobs: Runs at a time; None for as many as there are cores or CPUs of the cluster.
        ray: The cluster of Ray; None for processes of this machine.
        gpus: GPUs that a run occupies on Ray.
    """
    from nwavesdk.analysis.study import on_processes, on_ray
    from nwavesdk.analysis.study.report import result_of, write_study_report

    n_jobs = jobs or max(1, (os.cpu_count() or 1) // threads)
    executor = on_ray(ray, threads, gpus, jobs) if ray else on_processes(n_jobs)

    def print_cell(cell: Any) -> None:
        text = cell.error or measures_text(cell.numbers)
        if cell.arm == "stopped":
            text = f"stopped after epoch {cell.numbers['epochs']}, {text}"
        print_note(f"{cell.name}: {text}")

    # SIGTERM ends the processes and their semaphores in the same way as an interrupt.
    previous_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        study.finish(executor, print_cell)
    finally:
        signal.signal(signal.SIGTERM, previous_handler)

    page = write_study_report(study)
    lines = [" ".join(study.headline)]
    for table in study.tables.values():
        lines += ["", table.heading, *aligned([table.columns, *table.rows])]
    print_report(as_json, result_of(study), [*lines, f"look at {page}"])


def _notes(result: dict[str, Any], config: CompletedConfig) -> list[str]:
    """Lines below the result: scores to compare it with, the cost of the net, options to try."""
    from nwavesdk.train.report.costs import linear_note, loss_note

    score = "r2" if "val_r2" in result else "accuracy"
    if "val_misses" in result:
        score = "balanced_accuracy"
    notes = [loss_note(result, config)]
    if result["best_epoch"] < result["epochs"]:
        notes.append(f"these are the weights of epoch {result['best_epoch']}: see --keep")

    linear = result.get(f"linear_{score}")  # missing if the net cannot be counted
    if linear is not None:
        notes.append(f"a linear model has {MEASURE_TITLES[score]} {linear:.4f}")
        notes.append(linear_note(result, config))

    if "hidden_rate" in result:
        n_operations = result["effective_macs"] + result["effective_acs"]
        notes.append(
            f"hidden layers fire in {100 * result['hidden_rate']:.1f} % of steps, "
            f"{n_operations:,.0f} synaptic operations per recording (dense: "
            f"{result['dense_macs']:,.0f} MACs)"
        )
    return [note for note in notes if note is not None]


@app.command("compare", cls=SectionedCommand, epilog=MORE_OPTIONS)
@add_run_choices(*RUN_FIELDS)
@check_combinations(["--ray", "--jobs"])
def compare_run(
    out: Annotated[
        Path,
        folder_option("Folder of the study; new, or a study to continue."),
    ],
    choices: dict[str, Any],
    surrogates: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help='Surrogates, as in "fast_sigmoid,atan(alpha=3)"; the same one may appear twice.',
        ),
    ] = "fast_sigmoid,atan,sigmoid",
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Runs of each surrogate, with seeds from 0.")
    ] = 5,
    threads: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Threads per run; recorded, because sums depend on it."),
    ] = 1,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Runs at a time. [cores / threads]"),
    ] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Train with each surrogate on the same seeds; report which differences exceed chance.

    All runs of a seed share initial weights, order, dropout and drawn chips. The same command
    continues a study that was killed; finished runs are not repeated. Other options and their
    defaults are the same as in nwave train.
    """
    from nwavesdk.analysis.study import compare_surrogates

    choices["machine"] = {"accelerator": "cpu"}
    arms = split_commas("--surrogates", surrogates)
    study = compare_surrogates(out, arms, seeds, choices, threads)
    finish_study(study, as_json, threads=threads, jobs=jobs, ray=ray)


@app.command("tune")
def tune_run(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="TOML file with [run], [search] and [space], or tune.json of an earlier search.",
        ),
    ],
    out: Annotated[
        Path | None,
        folder_option("Folder of the search; new, or a search to continue. [search.out]"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Threads of each trial. [search.threads or 1]"),
    ] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Search the choices of `nwave train` that CONFIG names; test the best net once.

    Trials run side by side, and bad ones stop early. They are compared on the validation set. The
    same command continues a search that was killed; trials that have ended are not repeated.
    """
    from nwavesdk.analysis.study import RunSearch, TuneConfig

    require("optuna", "hpo")
    content = TuneConfig.read(config)
    if threads is not None:
        content = TuneConfig.of(
            merge_choices(content.model_dump(), {"search": {"threads": threads}})
        )

    settings = content.search
    folder = out or settings.out
    if folder is None:
        raise ValueError("--out: missing, expected a folder for the search: pass a folder.")
    check_folder(Path(folder))

    search = RunSearch.open(Path(folder), content)
    n_gpus = int(search.uses_gpu)
    jobs = settings.max_concurrent
    finish_study(search, as_json, threads=settings.threads, jobs=jobs, ray=ray, gpus=n_gpus)
