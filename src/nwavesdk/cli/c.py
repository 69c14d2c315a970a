"""`nwave export --c`: a trained net as C, for microcontrollers."""

import copy
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from nwavesdk.cli.app import measures_text, print_report
from nwavesdk.internal.files import write_atomically
from nwavesdk.interop.c import costs_in_c, export_c
from nwavesdk.interop.c.decision_text import decision_of_run
from nwavesdk.interop.c.log_mel import fixed_log_mel
from nwavesdk.interop.c.log_mel_text import front_end_files
from nwavesdk.train import Run, TrainedRun, load
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.network import RunNet, rounded_network
from nwavesdk.train.report.finished import FinishedRun
from nwavesdk.train.report.page import Section, Table

__all__ = ["export_folder", "program_section"]

WEIGHT_BITS = 8
MAX_RECORDINGS = 64  # of the validation set, for rates and the self-test


def export_folder(run: Path, net: str | None, folder: Path, as_json: bool) -> None:
    """Write the net of a run with rounded inputs and weights as C, with a self-test.

    Raises:
        ValueError: If the net cannot be rounded or has no form in C.
    """
    opened = Run.open(run, net)
    config, validation = opened.config, opened.data.val
    try:
        inner, x, lengths = _rounded(opened.trained().net, config, opened.data)
    except ValueError as error:
        raise ValueError(f"--c {folder}: {str(error).removeprefix('--weight-bits: ')}") from None

    # A run that was trained with rounded weights has no other net to compare with.
    is_rounded = config.learning.weight_bits is not None
    compared = {} if is_rounded else opened.test_rounded(WEIGHT_BITS)
    trained = load(run, net)
    front_end, front_end_note = _front_end(trained, inner[0].step)
    rows = validation.recordings.frames[0][: trained.input.length] if _has_rows(trained) else None
    export = export_c(
        inner,
        folder,
        x,
        lengths=lengths,
        classes=trained.classes if trained.task.name == "classification" else (),
        hold=trained.input.frame_steps,
        notes=[*_notes(trained), *front_end_note, *_accuracies(compared)],
        decision=decision_of_run(trained) if trained.decision is not None else "",
        standard=None if rows is None else trained.input.standard,
        rows=rows,
    )
    for name, text in front_end.items():
        write_atomically(folder / name, text.encode())

    content = {
        "path": folder,
        "files": [*export.files, *front_end],
        "layers": [asdict(cost) for cost in export.costs],
        "flash": export.flash,
        "ram": export.ram,
        "stack": export.stack,
        **compared,
    }
    lines = [f"{folder}: {', '.join(content['files'])}", *str(export).splitlines()]
    print_report(
        as_json, content, [*lines, *_accuracies(compared), *_notes(trained), *front_end_note]
    )


def program_section(run: FinishedRun) -> list[Section]:
    """The costs of the net as C, for the report of a run; none if it has no form in C."""
    net = copy.deepcopy(run.net).cpu().eval()
    try:
        inner, x, lengths = _rounded(net, run.config, run.data)
        costs = costs_in_c(inner, x, lengths=lengths, hold=run.data.val.input.frame_steps)
    except ValueError:
        return []

    bits = run.config.learning.weight_bits or WEIGHT_BITS
    text = (
        f"nwave export RUN --c DIR writes the net as C with weights of {bits} bits: "
        f"{costs.flash:,} bytes of tables in flash, {costs.ram:,} bytes of state, and about "
        f"{costs.stack:,} bytes of stack. Additions and products of a step follow from measured "
        "rates."
    )
    rows = [
        (cost.name, cost.neurons, cost.flash, round(cost.additions), round(cost.multiplications))
        for cost in (*costs.costs, costs.total)
    ]
    columns = ("layer", "neurons", "bytes", "additions", "products")
    return [Table("As a program for a microcontroller", text, columns, rows)]


def _rounded(net: RunNet, config: CompletedConfig, data: RunData) -> tuple[Any, Tensor, Tensor]:
    """The net with rounded weights, without the shape of its inputs, and recordings to run it on.

    A net that was trained with rounded weights stays as it is.

    Returns:
        The net, and recordings of the validation set in this shape, with their lengths.

    Raises:
        ValueError: If the net cannot be rounded.
    """
    if config.learning.weight_bits is None:
        net = rounded_network(net, WEIGHT_BITS, data.train.example_inputs())

    batch = data.val.batch(range(min(MAX_RECORDINGS, len(data.val))))
    shape = getattr(net, "inputs", batch.x.shape[2:])
    x = batch.x.float().reshape(*batch.x.shape[:2], *shape)
    return getattr(net, "net", net), x, batch.lengths


def _front_end(trained: TrainedRun, step: float) -> tuple[dict[str, str], list[str]]:
    """The files from samples to frames of a run on sound, and a note on them."""
    if trained.kind != "sound":
        return {}, []
    try:
        front_end = fixed_log_mel(trained, step)
    except ValueError as error:
        return {}, [f"the folder has no front end for samples: {error}"]

    command = "cc -std=c99 -O2 -I . net.c net_front_end.c listen.c -lm -o listen"
    note = f"samples become frames in net_front_end.c; `{command}` is a net that listens"
    detects = trained.decision is not None
    return front_end_files(front_end, "net", trained.input.hold, detects=detects), [note]


def _accuracies(compared: dict[str, Any]) -> list[str]:
    if not compared:
        return []
    return [
        f"{measures_text(compared['float'])} on the validation set with float weights",
        f"{measures_text(compared['rounded'])} as exported",
    ]


def _has_rows(trained: TrainedRun) -> bool:
    """Whether a frame follows from the values of its step alone, by the scale of the run."""
    needs_more = trained.kind == "sound" or getattr(trained.features, "add_standardized", False)
    return trained.input.is_causal and trained.input.encoder == "current" and not needs_more


def _notes(trained: TrainedRun) -> Iterator[str]:
    """What a program has to know about the frames and the outputs of a run."""
    made = "values of a row" if _has_rows(trained) else "frames, on the scale of the run,"
    yield f"{made} are made of {trained.kind} as in the run; docs/export.md has the steps"

    if trained.input.frame_steps > 1:
        yield f"each frame is held for {trained.input.frame_steps} steps"
    if trained.input.encoder != "current":
        yield "an encoder makes the frames of all steps of an image, before the net runs"
    if not trained.input.is_causal or getattr(trained.features, "add_standardized", False):
        yield "the scale of a frame depends on the whole recording, so frames are prepared before"
    if steps := trained.input.look_ahead:
        yield f"the output of a step is the class of {steps} steps before"
    if trained.decision is not None:
        numbers = trained.decision.model_dump(exclude={"events", "step_seconds"})
        yield "detections (net_decision.h): " + ", ".join(
            f"{name} {value:g}" for name, value in numbers.items()
        )
