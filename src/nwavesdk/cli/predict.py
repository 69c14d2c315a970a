"""`nwave predict` and `nwave detect`: a trained run applied to recordings and to sound."""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Literal

import typer

import nwavesdk
from nwavesdk.cli.app import (
    Json,
    NetFile,
    RunPath,
    aligned,
    app,
    check_spares_run,
    checked_option,
    print_report,
)
from nwavesdk.cli.errors import print_note, print_result
from nwavesdk.cli.step import decision_json
from nwavesdk.internal.files import FileError, check_target, printable

__all__ = ["detect_events", "predict_run"]

# Rows of the table, and letters of the steps of a recording, that a terminal gets.
MAX_ROWS = 40
MAX_LETTERS = 100

STANDARD_INPUT = Path("-")


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
            help="Length above which a sound is an error [s]. [the run's]",
        ),
    ] = None,
    net: NetFile = None,
    as_json: Json = False,
) -> None:
    """Predict class, classes of steps or values for recordings; the data of RUN are not needed."""
    from nwavesdk.train.apply.predictions import prediction_json, write_predictions

    check_spares_run("--out", out, run)
    trained = nwavesdk.train.load(run, net, max_seconds=max_seconds)
    skipped: list[tuple[str, str]] = []
    try:
        if adapt:
            trained = trained.adapt(adapt, skipped, on_error=on_error)
        predictions = trained.predict(files or [], skipped, on_error=on_error, spikes=spikes)
    except FileError as error:
        raise ValueError(str(error).replace('on_error="skip"', "--on-error skip")) from None

    if not predictions:
        raise ValueError(f"none of the {len(skipped)} recordings can be used: see the line above.")
    cut = [prediction for prediction in predictions if prediction.is_cut]
    if cut:
        print_note(
            f"{len(cut):,} of {len(predictions):,} recordings, such as {cut[0].key}, are longer "
            f"than the recordings of the run: only their first {cut[0].steps:,} steps were used, "
            "as in training. Split them to get more."
        )

    if out is not None:
        write_predictions(out, predictions)
    report = {
        "run": run,
        "task": trained.task.name,
        "classes": trained.classes,
        "predictions": list(map(prediction_json, predictions)),
        "skipped": skipped,
        "adapted_to": adapt or [],
        "out": out,
        **decision_json(trained),
    }
    print_report(as_json, report, _lines(predictions, out))


def _lines(predictions: "Sequence[nwavesdk.train.Prediction]", out: Path | None) -> list[str]:
    """The table, as far as a terminal can show it, and the file with all rows."""
    records = [_record(prediction) for prediction in predictions[:MAX_ROWS]]
    lines = aligned([[*records[0]], *(tuple(record.values()) for record in records)])
    if len(predictions) > MAX_ROWS:
        lines.append(f"and {len(predictions) - MAX_ROWS:,} more; --out FILE.csv writes all of them")
    if out is not None:
        lines.append(f"written to {out}")
    return lines


def _record(prediction: "nwavesdk.train.Prediction") -> dict[str, str]:
    """A row of the table, by column: a class, the classes of steps, or ranges of values."""
    record = {"file": prediction.key}

    if not prediction.is_per_step:
        (name, share), *others = prediction.ranking
        record["class"] = name
        record["probability"] = f"{share:.3f}"
        record["next best"] = "".join(f"{other} {rest:.3f}" for other, rest in others[:1])
    elif prediction.classes:
        spans = ", ".join(f"{name} {first}-{last}" for name, first, last in prediction.spans())
        record["classes of steps"] = shorten(spans, MAX_LETTERS, placeholder=" …")
    else:
        values = prediction.predicted
        for column, (low, high) in enumerate(zip(values.min(0), values.max(0), strict=True), 1):
            record[f"value {column}"] = f"{low:.4g} to {high:.4g}"

    if prediction.counts is not None:
        names = prediction.classes or range(1, len(prediction.counts) + 1)
        for label, count in zip(names, prediction.counts, strict=True):
            record[f"spikes {label}"] = str(count)
    return record


@app.command("detect")
def detect_events(
    run: RunPath,
    sounds: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…|-",
            help="Sounds of any length; - reads standard input: a wav, or mono samples of 16 bits "
            "at the sample rate of the run.",
        ),
    ],
    net: NetFile = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Detect from this score on, instead of the threshold of RUN; the report has "
            "misses and false alarms of some."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each detection as a JSON object in a line.")
    ] = False,
) -> None:
    """Detect the events of RUN in sound; a line for each detection, as soon as it is known.

    RUN may be `wake-words`, a detector of alexa, computer and jarvis that is part of nwavesdk.

    `arecord -f S16_LE -r 16000 | nwave detect RUN -` listens until Ctrl-C.
    """
    from nwavesdk.data.decoding import file_blocks, pipe_blocks
    from nwavesdk.data.source import reading

    for sound in sounds:
        if sound != STANDARD_INPUT:
            with reading(sound, "sound"):
                pass  # a wrong name is an error before the run is loaded
    trained = nwavesdk.train.load(run, net)
    trained.detector().finish()  # errors, and the load of kernels, come before the sound
    if threshold is not None and trained.decision is not None:
        trained = replace(trained, decision=trained.decision.at(threshold))

    for sound in sounds:
        is_pipe = sound == STANDARD_INPUT
        with ExitStack() as stack:
            blocks = file_blocks(sound)
            if is_pipe:
                pipe = stack.enter_context(os.fdopen(0, "rb", closefd=False))
                blocks = pipe_blocks(pipe, trained.sample_rate)
                stack.enter_context(suppress(KeyboardInterrupt))  # it ends the sound
            has_detection = False
            for name, time, score in trained.detections(blocks):
                has_detection = True
                record = {"file": str(sound), "time": time, "event": name, "score": score}
                line = f"{time:9.2f} s  {name}  {score:.1f}"
                if len(sounds) > 1:
                    line += f"  {sound}"
                print_result(json.dumps(record) if as_json else printable(line))
            if not has_detection:
                print_note(f"nwave: note: no detection in {sound}")
