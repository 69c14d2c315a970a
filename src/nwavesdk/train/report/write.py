"""The report of a finished run: `pictures/*.png`, and `report.html`, which has all in one file."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from functools import partial

import numpy as np
import torch

from nwavesdk.data import Series
from nwavesdk.layers import NeuronLayer
from nwavesdk.net import record
from nwavesdk.net.preparation import prepared
from nwavesdk.train.report.costs import linear_note, loss_note
from nwavesdk.train.report.finished import FinishedRun
from nwavesdk.train.report.page import Card, Details, FactList, Picture, Section, Table
from nwavesdk.train.report.pictures import (
    LayerTrace,
    learning_curves,
    membrane_traces,
    spike_raster,
)
from nwavesdk.train.report.task_reports import (
    MAX_STEPS_DRAWN,
    MEASURE_NAMES,
    TASK_PAGES,
)

__all__ = ["write_report"]

NAN = float("nan")

# The reason for the kept weights, by `learning.keep`.
KEPT = {"best": "selected on the validation set", "last": "the last epoch"}

# The inputs of the linear model, unless they are the features of a step.
LINEAR_INPUTS = {"classification": "mean and deviation over time of each feature"}

# The weights or chips to which the validation measures of a run for a chip refer, by
# `chip.training`.
VALIDATED_ON = {
    "plain": "the weights as trained, before they were moved to values that the chip can hold",
    "hardware": "the chip as designed",
    "mismatch": "drawn chips: a new chip every few recordings, the same chips in each epoch",
}


def write_report(
    run: FinishedRun, more: Sequence[Callable[[FinishedRun], Sequence[Section]]] = ()
) -> None:
    """Write `pictures/*.png` and `report.html`.

    Args:
        run: The finished run.
        more: Functions that make more sections, which follow the operations.
    """
    page = TASK_PAGES[run.task.name](run)
    result = run.result
    course = f"{result['epochs']} epochs in {result['seconds']:.0f} s, seed {result['seed']}."

    hints = (loss_note(result, run.config), linear_note(result, run.config))
    notes = [note for note in (*run.notes, *hints) if note]
    text = "On the data and the result, with what to try next."
    note_table = Table("Notes", text, ("note",), [[note] for note in notes])
    page = replace(
        page,
        summary=f"{page.summary} {course}",
        cards=[*_cards(run), *page.cards],
        sections=[
            *([note_table] if notes else []),
            _measures(run),
            FactList(_facts(run)),
            *page.sections,
            *_pictures(run),
            _layers(run),
            *_operations(run),
            *(section for sections in more for section in sections(run)),
            Details("The net", repr(run.net)),
            Details(
                "Settings, versions, machine and hash of the data: config.json",
                run.config.model_dump_json(indent=2),
            ),
        ],
    )
    page.write(run.folder.report)


def _cards(run: FinishedRun) -> list[Card]:
    """The score next to the score of a linear model, and the sparsity, if they are known."""
    result, operations, score = run.result, run.operations, run.task.batch_score_name
    if operations is None:
        return []

    fired = f"{100 * result['hidden_rate']:.1f} %" if "hidden_rate" in result else "no hidden layer"
    unit = "A recording" if run.detector is None else "A part of the stream"
    cost = (
        f"Steps in which a hidden neuron fires. {unit} takes {operations.synaptic:,.0f} synaptic "
        f"operations, without sparsity {operations.dense:,.0f}."
    )
    sparsity = Card("How sparse", fired, cost)
    if run.detector is not None:
        return [sparsity]

    linear = result[f"linear_{score}"]
    text = (
        f"The model has {linear:.3f}, from "
        f"{LINEAR_INPUTS.get(run.task.name, 'the features of a step')}."
    )
    if score == "accuracy":
        text += f" The largest class alone has {result['majority_accuracy']:.3f}."

    gain = f"{run.evaluation.measures[score] - linear:+.3f}"
    name = f"{MEASURE_NAMES[score]} against a linear model".capitalize()
    return [Card(name, gain, text), sparsity]


def _measures(run: FinishedRun) -> Table:
    """The measures of the test set and of the validation set."""
    result = run.result
    text = (
        f"Of the weights of epoch {result['best_epoch']} of {result['epochs']}, "
        f"{KEPT[run.config.learning.keep]}."
    )
    rows = [
        (MEASURE_NAMES[name], result.get(f"test_{name}", NAN), result.get(f"val_{name}", NAN))
        for name in (*run.evaluation.measures, "loss")
    ]
    return Table("Measures", text, ("measure", "test", "validation"), rows)


def _facts(run: FinishedRun) -> dict[str, str]:
    """Facts of runs of all tasks; `config.json` has the remaining facts."""
    config, facts, result = run.config, run.facts, run.result
    lengths = sorted({run.evaluated.lengths.min(), run.evaluated.lengths.max()})
    step = f"; the neurons use {1e3 * config.net.dt:g} ms per step"
    if run.config.step_seconds is not None:
        step = f" of {1e3 * run.config.step_seconds:g} ms"
    unit = "a recording" if run.detector is None else "a part of a stream"
    texts = {
        "recordings": facts.split_reason,
        f"length of {unit}": " to ".join(f"{length:,}" for length in lengths) + f" steps{step}",
        "network": f"{config.net_name}, {result['parameters']:,} weights",
    }

    # Facts of some runs: a schedule of the surrogate, a chip.
    if (schedule := config.learning.surrogate_schedule) is not None:
        texts["surrogate in training"] = (
            f"{schedule.parameter} from {schedule.start:g} to {schedule.end:g} ({schedule.form})"
        )
    if (chip := facts.chip) is not None and config.chip is not None:
        texts |= {
            "chip": f"{chip.name}, {config.chip.bits} bits per weight; {len(chip.assumed())} of "
            f"its {len(chip.entries)} numbers are assumed, see nwave info --chip",
            "test measures refer to": "the chip as designed, without mismatch; nwave chips draws "
            "chips with mismatch",
            "validation measures refer to": VALIDATED_ON[config.chip.training],
        }
    return texts


def _layers(run: FinishedRun) -> Table:
    """The layers that spike."""
    shares = zip(*(run.result[name] for name in ("rates", "dead", "saturated")), strict=True)
    layers = zip(run.layer_titles, run.evaluation.neuron_rates.values(), shares, strict=True)
    return Table(
        "Layers",
        f"Of layers that spike, on the {run.part} set: spikes per step and neuron, and shares of "
        "neurons.",
        ("layer", "neurons", "rate", "never fire", "fire nearly always"),
        [(title, len(rates), *numbers) for title, rates, numbers in layers],
    )


def _operations(run: FinishedRun) -> list[Table]:
    """The operations of an inference by weight, if they were counted."""
    operations = run.operations
    if operations is None:
        return []

    text = (
        f"Operations per recording, means over {operations.recordings:,} of the {run.part} set "
        f"with {operations.steps:.0f} steps on average. Effective operations have an input and a "
        "weight that are not 0 (definitions of NeuroBench): accumulations for spikes, "
        f"multiplications for values. Neurons are updated {operations.updates:,.0f} times. Not "
        f"counted: {', '.join(operations.not_counted) or 'nothing'}."
    )
    columns = ("weight", "dense", "effective", "of spikes", "input density", "missing connections")
    return [Table("Operations", text, columns, [astuple(edge) for edge in operations.edges])]


def _pictures(run: FinishedRun) -> list[Picture]:
    """The pictures of all tasks."""
    # A validation recording of median length.
    val, dt = run.data.val, run.config.step_seconds
    example = int(abs(val.lengths - np.median(val.lengths)).argmin())
    x, traces = _traces(run, val, example)

    has_groups = run.task.name == "classification" and not run.task.is_readout
    raster = partial(
        spike_raster,
        x.numpy(),
        traces,
        dt,
        classes=run.facts.classes if has_groups else (),
        label=int(val.recordings.labels[example]),
    )

    best_epoch, score = run.result["best_epoch"], run.task.batch_score_name
    return [
        Picture(
            "learning_curves",
            "Course of the run. Dotted: the epoch whose weights are kept.",
            partial(learning_curves, run.history, best_epoch, score, run.layer_titles),
        ),
        Picture(
            "spike_raster",
            "One recording of the validation set as it passes through the layers (of a long one, "
            f"the first {MAX_STEPS_DRAWN:,} steps).",
            raster,
        ),
        Picture(
            "membrane_traces",
            "The same recording in a busy and in an average neuron of each layer: the part with "
            "the most output spikes.",
            partial(membrane_traces, traces, dt),
        ),
    ]


@torch.no_grad()
def _traces(run: FinishedRun, series: Series, index: int) -> tuple[torch.Tensor, list[LayerTrace]]:
    """The input of a recording, `[T, F]`, and the spikes and membranes of each layer for it."""
    x = series.batch([index]).x.to_dense()[:, :MAX_STEPS_DRAWN]
    net = run.net.eval()
    with prepared(net):
        layers = record(net, x.to(next(net.parameters()).device)).spiking

    traces = []
    for title, (name, layer) in zip(run.layer_titles, layers.items(), strict=True):
        neurons = net.get_submodule(name)
        assert isinstance(neurons, NeuronLayer)
        has_threshold = "threshold" in neurons.page.constants
        threshold = neurons.constant("threshold").mean().item() if has_threshold else 0.0

        spikes, before, after = (
            values[0].flatten(1).float().cpu().numpy()
            for values in (layer.spk, layer.z + threshold, layer.mem)
        )
        traces.append(
            LayerTrace(name=title, threshold=threshold, spikes=spikes, before=before, after=after)
        )
    return x[0], traces
