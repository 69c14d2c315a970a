"""`nwave predict`: what a trained run predicts about recordings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
MAX_ROWS = 40
MAX_LETTERS = 100


def _check_out(path: Path) -> None:
    from nwavesdk.train.apply.predictions import check_suffix

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
    from nwavesdk.data.folder import SKIP_REMEDY
    from nwavesdk.internal.files import FileError
    from nwavesdk.train import load
    from nwavesdk.train.apply.predictions import prediction_json, write_predictions

    check_spares_run("--out", out, run)
    trained = load(run, net, max_seconds=max_seconds)
    skipped: list[tuple[str, str]] = []
    try:
        if adapt:
            trained = trained.adapt(adapt, skipped, on_error=on_error)
        predictions = list(
            trained.predictions(files or [], skipped, on_error=on_error, spikes=spikes)
        )
    except FileError as error:
        raise ValueError(str(error).replace(SKIP_REMEDY, "--on-error skip leaves it out")) from None
    faults = [f"skipped: {file} {fault}" for file, fault in skipped]
    for note in _first_lines(faults, "--json lists all of them"):
        print_note(note)
    if not predictions:
        raise ValueError(f"none of the {len(skipped)} recordings can be used: see the lines above.")
    _note_cut(predictions)
    if out is not None:
        write_predictions(out, predictions)
    report = {
        "run": run,
        "task": trained.task.name,
        "classes": trained.classes,
        "predictions": [prediction_json(prediction, in_full=False) for prediction in predictions],
        "skipped": skipped,
        "adapted_to": adapt or [],
        "out": out,
    }
    print_report(as_json, report, _lines(predictions, out))


def _first_lines(lines: Sequence[str], remedy: str) -> list[str]:
    """As many lines as a terminal can show, and the number of the others."""
    n_hidden = len(lines) - MAX_ROWS
    rest = [f"and {n_hidden:,} more; {remedy}"] if n_hidden > 0 else []
    return [*lines[:MAX_ROWS], *rest]


def _note_cut(predictions: Sequence["Prediction"]) -> None:
    cut = [prediction for prediction in predictions if prediction.is_cut]
    if cut:
        print_note(
            f"{len(cut):,} of {len(predictions):,} recordings, such as {cut[0].key}, are longer "
            f"than those of the run: only their first {cut[0].steps:,} steps were used, as in "
            "training. Split them to get more."
        )


def _lines(predictions: Sequence["Prediction"], out: Path | None) -> list[str]:
    """The table, as far as a terminal can show it, and where the rest is."""
    first = predictions[0]
    width = max(len("file"), *(len(prediction.key) for prediction in predictions[:MAX_ROWS]))
    class_width = max(map(len, ("class", *first.classes)))
    rows = [
        f"{prediction.key:<{width}}  {_text(prediction, class_width)}{_spike_text(prediction)}"
        for prediction in predictions
    ]
    lines = _first_lines(rows, f"--out {out or 'FILE.csv'} writes all of them")
    if not first.is_per_step:
        lines.insert(0, f"{'file':<{width}}  {'class':<{class_width}}  probability  next best")
    if out is not None:
        lines.append(f"written to {out}")
    elif not first.classes:
        lines.append("--out FILE.csv writes the values of all steps")
    return lines


def _text(prediction: "Prediction", class_width: int) -> str:
    """Class, probability and the class that comes next; classes of steps; or ranges of values."""
    if not prediction.is_per_step:
        (name, share), *others = prediction.ranking
        next_best = [f"{other} {other_share:.3f}" for other, other_share in others[:1]]
        return f"{name:<{class_width}}  {share:>11.3f}  {''.join(next_best)}"
    if not prediction.classes:
        values = prediction.predicted
        ranges = zip(values.min(axis=0), values.max(axis=0), values.mean(axis=0), strict=True)
        texts = [f"{low:.4g} to {high:.4g}, mean {mean:.4g}" for low, high, mean in ranges]
        return f"{prediction.steps} steps: {'; '.join(texts)}"
    spans = prediction.spans()
    text = ", ".join(f"{name} {first}" + f"-{last}" * (last > first) for name, first, last in spans)
    if len(text) <= MAX_LETTERS:
        return text
    return f"{text[:MAX_LETTERS].rpartition(', ')[0]}, … ({len(spans)} spans)"


def _spike_text(prediction: "Prediction") -> str:
    if prediction.spikes is None or prediction.counts is None:
        return ""
    names = prediction.classes or range(1, len(prediction.counts) + 1)
    counts = [f"{name} {count}" for name, count in zip(names, prediction.counts, strict=True)]
    return f"  spikes: {', '.join(counts)}"
