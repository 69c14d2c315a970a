"""`nwave predict`: what a trained run predicts about recordings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nwavesdk.cli.app import (
    Json,
    NetFile,
    RunPath,
    app,
    check_spares_run,
    checked_option,
    print_report,
)
from nwavesdk.cli.errors import print_note
from nwavesdk.internal.files import check_target

if TYPE_CHECKING:
    from nwavesdk.train import Prediction

__all__ = ["predict_run"]

# Rows of the table, and letters of the steps of a recording, that a terminal gets.
MOST_ROWS = 40
MOST_LETTERS = 100


def _check_out(path: Path) -> None:
    from nwavesdk.train.apply.prediction_files import check_suffix

    check_suffix(path)
    check_target(path)


@app.command("predict")
def predict_run(
    run: RunPath,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE…",
            help="Recordings, or folders and files with many, in any format that `nwave train "
            "--data` takes; none for a run that generates a pattern.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        checked_option(
            metavar="FILE",
            help="Write all predictions to a file: .csv, .npz or .json.",
            checks=[_check_out],
        ),
    ] = None,
    adapt: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Adapt the net first to recordings of the same speaker, microphone or sensor, "
            "whose classes are not needed: a file or a folder; may be repeated.",
        ),
    ] = None,
    spikes: Annotated[
        bool,
        typer.Option("--spikes", help="Count output spikes; .npz and .json get each of them."),
    ] = False,
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(help="Stop at files that cannot be used, or skip and list them."),
    ] = "raise",
    max_seconds: Annotated[
        float | None,
        typer.Option(
            min=1e-3,
            max=86_400,
            help="Length above which a sound is an error [s]. [that of the run]",
        ),
    ] = None,
    net: NetFile = None,
    as_json: Json = False,
) -> None:
    """Predict class, classes of steps or values for recordings; the data of RUN are not needed."""
    from dataclasses import replace

    from nwavesdk.data.folder import SKIP_REMEDY
    from nwavesdk.internal.files import FileError
    from nwavesdk.train import load
    from nwavesdk.train.apply.prediction_files import prediction_json, write_predictions

    check_spares_run("--out", out, run)
    trained = load(run, net)
    if max_seconds is not None:
        trained = replace(trained, max_seconds=max_seconds)
    skipped: list[tuple[str, str]] = []
    try:
        if adapt:
            trained = trained.adapt(adapt, skipped, on_error=on_error)
        predictions = list(
            trained.predictions(files or [], skipped, on_error=on_error, spikes=spikes)
        )
    except FileError as error:
        raise ValueError(str(error).replace(SKIP_REMEDY, "--on-error skip leaves it out")) from None
    _note_skipped(skipped)
    _note_cut(predictions)
    if not predictions:
        raise ValueError(f"none of the {len(skipped)} recordings can be used: see the lines above.")
    if out is not None:
        write_predictions(out, predictions)
    content = {
        "run": run,
        "task": trained.task.name,
        "classes": trained.classes,
        "predictions": [prediction_json(one, in_full=False) for one in predictions],
        "skipped": skipped,
        "adapted_to": adapt or [],
        "out": out,
    }
    print_report(as_json, content, _lines(predictions, out))


def _note_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    for file, fault in skipped[:MOST_ROWS]:
        print_note(f"skipped: {file} {fault}")
    if len(skipped) > MOST_ROWS:
        print_note(f"and {len(skipped) - MOST_ROWS:,} more; --json lists all of them")


def _note_cut(predictions: Sequence["Prediction"]) -> None:
    cut = [one for one in predictions if one.is_cut]
    if cut:
        print_note(
            f"{len(cut):,} of {len(predictions):,} recordings, such as {cut[0].key}, are longer "
            f"than those of the run: only their first {cut[0].steps:,} steps were used, as in "
            "training. Split them to get more."
        )


def _lines(predictions: Sequence["Prediction"], out: Path | None) -> list[str]:
    """The table, as far as a terminal can show it, and where the rest is."""
    shown = predictions[:MOST_ROWS]
    first = predictions[0]
    is_class = first.task == "classification"
    width = max(len("file"), *(len(one.key) for one in shown))
    names = max([len("class"), *map(len, first.classes)])
    lines = [f"{'file':<{width}}  {'class':<{names}}  probability  next best"] if is_class else []
    for one in shown:
        text = _class_text(one, names) if is_class else _step_text(one)
        lines.append(f"{one.key:<{width}}  {text}{_spike_text(one)}")
    n_hidden = len(predictions) - len(shown)
    if n_hidden:
        remedy = "" if out is not None else "; --out FILE.csv writes all of them"
        lines.append(f"and {n_hidden:,} more{remedy}")
    if out is not None:
        lines.append(f"written to {out}")
    elif predictions[0].task in ("regression", "pattern"):
        lines.append("--out FILE.csv writes the values of all steps")
    return lines


def _spike_text(prediction: "Prediction") -> str:
    if prediction.spikes is None or prediction.counts is None:
        return ""
    names: Sequence[Any] = prediction.classes or range(1, len(prediction.counts) + 1)
    counts = (f"{name} {count}" for name, count in zip(names, prediction.counts, strict=True))
    return f"  spikes: {', '.join(counts)}"


def _class_text(prediction: "Prediction", width: int) -> str:
    """Class, probability and the class that comes next."""
    (name, share), *others = prediction.ranking
    next_best = f"{others[0][0]} {others[0][1]:.3f}" if others else ""
    return f"{name:<{width}}  {share:>11.3f}  {next_best}"


def _step_text(prediction: "Prediction") -> str:
    """The classes of steps, or the range of values."""
    if prediction.task == "labels":
        spans = prediction.spans()
        text = ", ".join(
            f"{name} {first}" if first == last else f"{name} {first}-{last}"
            for name, first, last in spans[:MOST_LETTERS]
        )
        if len(text) <= MOST_LETTERS and len(spans) <= MOST_LETTERS:
            return text
        return f"{text[:MOST_LETTERS].rpartition(', ')[0]}, … ({len(spans)} spans)"
    values = prediction.predicted
    columns = (
        f"{least:.4g} to {largest:.4g}, mean {mean:.4g}"
        for least, largest, mean in zip(
            values.min(axis=0), values.max(axis=0), values.mean(axis=0), strict=True
        )
    )
    return f"{prediction.steps} steps: " + "; ".join(columns)
