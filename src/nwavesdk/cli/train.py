"""`nwave train` and `nwave compare`."""

import os
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import (
    Json,
    Ray,
    RayCommand,
    app,
    check_combinations,
    folder_option,
    print_report,
)
from nwavesdk.cli.errors import print_note
from nwavesdk.cli.help import SectionedCommand
from nwavesdk.cli.options import RUN_FIELDS, add_run_choices, surrogate_texts
from nwavesdk.train.config import Choices, CompletedConfig, fields_of, merge_choices

__all__ = ["compare_surrogates", "measures_text", "train_run"]

LONGEST_LIST = 100  # letters of the names of classes on the screen
CLEARLY_BETTER = 0.1  # difference of two accuracies that is worth a hint


@app.command("train", cls=SectionedCommand)
@add_run_choices(
    "seed",
    *RUN_FIELDS,
    "net.surrogate",
    "learning.surrogate_schedule",
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
    as_json: Json = False,
) -> None:
    """Train a spiking net on recordings; write weights, numbers and report.html to DIR.

    In brackets are the defaults; config.json of a run has all of them.

    With --folds or --leave-one-out, DIR gets a run for each fold and a report of all. The same
    command continues what was killed.
    """
    if config is not None:
        choices = _with_recorded(CompletedConfig.read(config).choices(), choices)
    if resume:
        choices = _with_recorded_folds(out, choices)
    data = choices.get("data", {})
    if (data.get("folds") or data.get("leave_one_out")) and not data.get("fold"):
        _train_folds(out, choices, jobs, as_json)
    elif jobs is not None:
        raise ValueError("--jobs: has no effect on a single run: remove it, or add --folds.")
    elif resume:
        _resume(out, choices, as_json)
    else:
        _begin(out, choices, as_json)


def _begin(out: Path, choices: dict[str, Any], as_json: bool) -> None:
    from nwavesdk.train import Run
    from nwavesdk.train.fit.machine import is_first_process

    run = Run.new(out, choices)
    if is_first_process():
        if classes := run.config.facts.classes:
            print_note(_classes_line(classes))
        print_note(run.config.facts.split_reason)
        print_note(run.net_line())
    result = run.train()
    if result is not None:
        _print_result(out, result, as_json)


def _resume(out: Path, choices: dict[str, Any], as_json: bool) -> None:
    from nwavesdk.train import Run, RunFolder
    from nwavesdk.train.fit.net_file import match_page

    folder = RunFolder(out)
    if not folder.config.is_file():
        raise ValueError(
            f"--resume: {out} holds no run (no config.json): remove it to begin one, or pass the "
            "folder of an earlier `nwave train`."
        )
    net = dict(choices.get("net", {}))
    given = net.pop("page", None) or net.pop("name", None)
    config = match_page(folder.read_config(), given, out)
    config.check_same({**choices, "net": net})
    if folder.complete:
        result: dict[str, Any] | None = folder.read_result()
        print_note(f"{out} is finished: nothing to resume, nothing changed.")
    else:
        result = Run.open(out, given).train()
    if result is not None:
        _print_result(out, result, as_json)


def _classes_line(classes: Sequence[str]) -> str:
    """The classes in one line, which shows immediately if a folder was wrongly taken for one."""
    names = textwrap.shorten(", ".join(classes), LONGEST_LIST, placeholder=" …")
    return f"{len(classes)} classes: {names}"


def _train_folds(out: Path, choices: dict[str, Any], jobs: int | None, as_json: bool) -> None:
    """All folds of a cross-validation, and their report."""
    from nwavesdk.analysis import cells
    from nwavesdk.analysis.folds import FoldStudy
    from nwavesdk.analysis.folds.report import folds_json, folds_lines, write_folds
    from nwavesdk.analysis.folds.study import run_fold

    threads = choices.get("machine", {}).get("threads", 1)
    study = FoldStudy.open(out, choices, threads)
    if missing := study.missing():
        n_jobs = jobs or (1 if study.uses_gpu else max(1, (os.cpu_count() or 1) // threads))
        print_fold = partial(_print_fold, study)
        cells.finish_on_processes(study, missing, n_jobs, print_fold, run_fold)
    report = write_folds(study)
    lines = [*folds_lines(study), f"look at {report}"]
    print_report(as_json, folds_json(study), lines)


def _with_recorded_folds(out: Path, choices: dict[str, Any]) -> dict[str, Any]:
    """The choices of the cross-validation in a folder, if it holds one, and those that are given.

    Given choices that differ are an error later on.
    """
    if not (out / "folds.json").is_file():
        return choices
    from nwavesdk.analysis.folds import FoldStudy

    return _with_recorded(FoldStudy.recorded_choices(out) or {}, choices)


def _with_recorded(recorded: Choices, choices: Choices) -> dict[str, Any]:
    """Recorded choices and those that are given; of another task or net, only those are kept.

    A file of a net that is recorded is not run, because its record may come from anywhere.
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


def _print_fold(study: Any, fold: Any) -> None:
    n_finished = study.n_folds - len(study.missing())
    score = fold.result[study.headline]
    print_note(f"{n_finished}/{study.n_folds}  {fold.name}: {score:.4f}")


def _print_result(out: Path, result: dict[str, Any], as_json: bool) -> None:
    validation = measures_text(result, "val")
    tested = measures_text(result, "test")
    lines = [
        f"test {tested}, validation {validation}"
        if tested
        else f"validation {validation}; the test set is not read: nwave eval {out} reads it",
        *_comparison_lines(result),
        *_centering_lines(out, result),
        *_loss_lines(out, result),
        *_cost_lines(out, result),
        *_projection_lines(result),
        f"trained in {result['seconds']:.1f} s; look at {out / 'report.html'}",
    ]
    print_report(as_json, {"run": out, **result}, lines)


def _comparison_lines(result: dict[str, Any]) -> list[str]:
    """What simple models reach on the same set; nothing for runs of earlier versions."""
    if "linear_r2" in result:
        return [f"a linear model has R² {result['linear_r2']:.4f}"]
    if "linear_accuracy" not in result:
        return []
    majority = result["majority_accuracy"]
    return [
        f"a linear classifier has accuracy {result['linear_accuracy']:.4f}, the largest class "
        f"{majority:.4f}"
    ]


def _centering_lines(out: Path, result: dict[str, Any]) -> list[str]:
    """What to try if the mean of a recording is more useful than what the net gets of it."""
    from nwavesdk.train import RunFolder

    net = result.get("test_accuracy", result.get("val_accuracy"))
    if net is None or result.get("linear_accuracy", 0) < net + CLEARLY_BETTER:
        return []
    if not RunFolder(out).read_config().option("data.center"):
        return []
    return [
        "the linear classifier uses the mean of each recording, which the net does not get: try "
        "--no-center"
    ]


def _loss_lines(out: Path, result: dict[str, Any]) -> list[str]:
    """Whether validation was clearly better before the epoch that is kept."""
    from nwavesdk.train import RunFolder
    from nwavesdk.train.run_folder import loss_note

    note = loss_note(result, RunFolder(out).read_config())
    return [] if note is None else [note]


def _projection_lines(result: dict[str, Any]) -> list[str]:
    """What it changed that weights were moved to values of the chip; nothing for other runs."""
    if (after := result.get("projected_accuracy")) is not None:
        before, title = result["val_accuracy"], "accuracy"
        change = f"{100 * (after - before):+.1f} points"
    elif (after := result.get("projected_r2")) is not None:
        before, title = result["val_r2"], "R²"
        change = f"{after - before:+.4f}"
    else:
        return []
    return [
        f"moving the weights to values that the chip can hold changed the validation {title} by "
        f"{change.replace('-', '−')}, from {before:.4f} to {after:.4f}: see --training"
    ]


def _cost_lines(out: Path, result: dict[str, Any]) -> list[str]:
    """The net and what an inference costs; nothing for runs of earlier versions."""
    if "dense_macs" not in result:
        return []
    from nwavesdk.train import RunFolder
    from nwavesdk.train.config import net_name

    synaptic = result["effective_macs"] + result["effective_acs"]
    name = net_name(RunFolder(out).read_config())
    texts = [f"net {name}: {result['parameters']:,} parameters"]
    if "hidden_rate" in result:
        texts.append(f"hidden layers fire in {100 * result['hidden_rate']:.1f} % of steps")
    texts.append(
        f"{synaptic:,.0f} synaptic operations per recording (dense: {result['dense_macs']:,.0f} "
        "MACs)"
    )
    return [", ".join(texts)]


def measures_text(result: dict[str, Any], part: str) -> str:
    """The measures of a set in `result.json`, with their names; empty if it was not read."""
    names = {"accuracy": "accuracy", "r2": "R²", "correlation": "correlation"}
    accuracy, balanced = result.get(f"{part}_accuracy"), result.get(f"{part}_balanced_accuracy")
    # With balanced classes, both are the same.
    if accuracy is not None and balanced is not None and abs(accuracy - balanced) >= 0.005:
        names["balanced_accuracy"] = "balanced accuracy"
    measured = {name: result.get(f"{part}_{measure}") for measure, name in names.items()}
    return ", ".join(f"{name} {value:.4f}" for name, value in measured.items() if value is not None)


@app.command("compare", cls=RayCommand)
@add_run_choices(*RUN_FIELDS)
@check_combinations(["--ray", "--jobs"])
def compare_surrogates(
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
    defaults are those of nwave train.
    """
    choices["machine"] = {"accelerator": "cpu"}
    from nwavesdk.analysis import cells
    from nwavesdk.analysis.compare import Study
    from nwavesdk.analysis.compare.report import (
        comparison_json,
        comparison_lines,
        write_comparison,
    )

    study = Study.open(out, surrogate_texts("--surrogates", surrogates), seeds, choices, threads)
    n_jobs = jobs or max(1, (os.cpu_count() or 1) // threads)
    finish = (
        partial(cells.finish_on_ray, address=ray)
        if ray
        else partial(cells.finish_on_processes, jobs=n_jobs)
    )
    if missing := study.missing():
        finish(study, missing, on_finished=partial(_print_cell, study))
    # Nothing has read the test set so far.
    if untested := study.untested():
        finish(study, untested, on_finished=_ignore, work=cells.evaluate_cell)
    report = write_comparison(study)
    lines = [*comparison_lines(study), f"look at {report}"]
    print_report(as_json, comparison_json(study), lines)


def _print_cell(study: Any, cell: Any) -> None:
    n_cells = len(study.cells)
    n_finished = n_cells - len(study.missing())
    score = cell.result[f"val_{study.measure}"]
    print_note(f"{n_finished}/{n_cells}  {cell.name}: {score:.4f} on the validation set")


def _ignore(cell: Any) -> None:
    """The test of a cell takes a second and has no line of progress."""
