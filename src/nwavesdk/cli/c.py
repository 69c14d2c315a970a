"""`nwave export --c`: a trained net as C, for microcontrollers."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nwavesdk
from nwavesdk.cli.app import print_report
from nwavesdk.cli.options import name_options
from nwavesdk.cli.train import measures_text

__all__ = ["export_folder"]

WEIGHT_BITS = 8
MAX_RECORDINGS = 64  # of the validation set, for rates and the self-test


def export_folder(run: Path, net: str | None, folder: Path, as_json: bool) -> None:
    """Write the net of a run with rounded inputs and weights as C, with a self-test.

    Raises:
        ValueError: If the net cannot be rounded or has no form in C.
    """
    from nwavesdk.interop.c import export_c

    opened = nwavesdk.train.Run.open(run, net)
    try:
        model, compared = _rounded(opened)
    except ValueError as error:
        raise ValueError(name_options(str(error), ["learning.weight_bits"])) from None

    validation = opened.data.val
    batch = validation.batch(list(range(min(MAX_RECORDINGS, len(validation)))))
    inner, shape = getattr(model, "net", model), getattr(model, "inputs", batch.x.shape[2:])
    trained = nwavesdk.train.load(run, net)
    export = export_c(
        inner,
        folder,
        batch.x.float().reshape(*batch.x.shape[:2], *shape),
        lengths=batch.lengths,
        classes=trained.classes if trained.task.name == "classification" else (),
        hold=trained.input.hold,
        notes=[*_notes(trained), *_accuracies(compared)],
    )

    content = {
        "path": folder,
        "files": list(export.files),
        "layers": [asdict(cost) for cost in export.costs],
        "flash": export.flash,
        "ram": export.ram,
        "stack": export.stack,
        **compared,
    }
    lines = [f"{folder}: {', '.join(export.files)}", *str(export).splitlines()]
    print_report(as_json, content, [*lines, *_accuracies(compared), *_notes(trained)])


def _rounded(opened: Any) -> tuple[Any, dict[str, Any]]:
    """The net with rounded weights, and the measures of both nets on the validation set.

    A run that was trained with rounded weights has no other net to compare with.
    """
    from nwavesdk.train.fit.finetuning import example_inputs
    from nwavesdk.train.fit.network import rounded_network

    model, _ = opened.trained()
    if opened.config.learning.weight_bits is not None:
        return model, {}
    rounded = rounded_network(model, WEIGHT_BITS, example_inputs(opened.data.train))
    return rounded, opened.test_rounded(WEIGHT_BITS)


def _accuracies(compared: dict[str, Any]) -> list[str]:
    if not compared:
        return []
    return [
        f"{measures_text(compared['float'])} on the validation set with float weights",
        f"{measures_text(compared['rounded'])} as exported",
    ]


def _notes(trained: "nwavesdk.train.TrainedRun") -> Iterator[str]:
    """What a program has to know about the frames and the outputs of a run."""
    yield (
        f"frames of {trained.kind} are made as in the run, and on its scale; docs/export.md has "
        "the steps"
    )
    if trained.input.hold > 1:
        yield f"each frame is held for {trained.input.hold} steps"
    if not trained.input.is_causal:
        yield "the scale of a frame depends on the whole recording, so frames are prepared before"
    if steps := trained.input.look_ahead:
        yield f"the output of a step is the class of {steps} steps before"
    if trained.decision is not None:
        numbers = trained.decision.model_dump(exclude={"events", "step_seconds"})
        yield "detections: " + ", ".join(f"{name} {value:g}" for name, value in numbers.items())
