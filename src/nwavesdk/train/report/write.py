"""The report of a finished run: `pictures/*.png`, and `report.html`, which has all in one file."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from nwavesdk.chip import FilterBank
from nwavesdk.layers import NeuronLayer
from nwavesdk.net import record
from nwavesdk.net.preparation import prepared
from nwavesdk.train.config.net_choice import net_name
from nwavesdk.train.report.page import Card, Details, FactList, Picture, Table
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
    FinishedRun,
)
from nwavesdk.train.run_folder import loss_note

__all__ = ["write_report"]

NAN = float("nan")

# What the measures of the validation set of a run for a chip refer to, by what training knew of
# the chip.
VALIDATED_ON = {
    "plain": "the weights as trained, before they were moved to values that the chip can hold",
    "hardware": "the chip as designed",
    "mismatch": "drawn chips, a new one every few recordings, the same ones in each epoch",
}


def write_report(run: FinishedRun) -> None:
    """Write `pictures/*.png` and `report.html`."""
    page = TASK_PAGES[run.task.name](run)
    columns, text = ("note",), "What to know of the data and the chip."
    notes = Table("Notes", text, columns, [[note] for note in run.notes])
    config = run.config.model_dump_json(indent=2, exclude={"arithmetic": {"crossovers"}})
    page = replace(
        page,
        summary=f"{page.summary} {_course(run)}",
        cards=[*_cards(run), *page.cards],
        sections=[
            *([notes] if run.notes else []),
            _measures(run),
            FactList(_facts(run)),
            *page.sections,
            _layers(run),
            *_operations(run),
            *_pictures(run),
            Details("config.json, without its table of crossovers", config),
        ],
    )
    page.write(run.folder.report)


def _course(run: FinishedRun) -> str:
    result = run.result
    course = f"{result['epochs']} epochs in {result['seconds']:.0f} s, seed {result['seed']}."
    note = loss_note(result, run.config)
    return course if note is None else f"{course} Note: {note}."


def _cards(run: FinishedRun) -> list[Card]:
    """The score next to the score of a linear model, and the sparsity, as far as they are known."""
    result, operations, score = run.result, run.operations, run.task.batch_score_name
    cards = []
    if f"linear_{score}" in result:
        linear = result[f"linear_{score}"]
        gain = run.evaluation.measures[score] - linear
        is_whole = run.task.name == "classification"
        inputs = "mean and deviation over time of each feature" if is_whole else "the features of the step"
        if score == "accuracy":
            model, difference = "classifier", f"{100 * gain:+.1f} points"
            majority = f"{100 * result['majority_accuracy']:.1f} %"
            text = (
                f"It has {100 * linear:.1f} %, from {inputs}. The largest class alone has {majority}."
            )
        else:
            model, difference = "model", f"{gain:+.3f}"
            text = f"It has an R² of {linear:.3f}, from {inputs}."
        cards.append(Card(f"Against a linear {model}", difference, text))
    if operations is not None:
        synaptic = f"{operations.synaptic:,.0f}"
        text = (
            f"{synaptic} synaptic operations per recording "
            f"({operations.effective_macs:,.0f} MACs, {operations.effective_acs:,.0f} ACs), of "
            f"{operations.dense:,.0f} dense MACs."
        )
        value = synaptic
        if "hidden_rate" in result:
            value = f"{100 * result['hidden_rate']:.1f} %"
            text = f"is how often a hidden neuron fires in a step. {text}"
        cards.append(Card("How sparse", value, text))
    return cards


def _measures(run: FinishedRun) -> Table:
    """The measures of the test set and of the validation set."""
    result = run.result
    is_selected = run.config.learning.keep == "best"
    reason = "selected on the validation set" if is_selected else "the last one"
    text = f"The kept weights: epoch {result['best_epoch']} of {result['epochs']}, {reason}."
    rows = [
        (MEASURE_NAMES[name], result.get(f"test_{name}", NAN), result.get(f"val_{name}", NAN))
        for name in (*run.evaluation.measures, "loss")
    ]
    return Table("Measures", text, ("measure", "test", "validation"), rows)


def _facts(run: FinishedRun) -> dict[str, str]:
    """What all tasks have; `config.json` has the rest."""
    config, facts, result = run.config, run.facts, run.result
    counts = " / ".join(f"{count:,}" for count in facts.recordings)
    split = "the same" if facts.task == "pattern" else f"split by {facts.split_by}"
    lengths, step = run.evaluated.lengths, f"{1e3 * config.net.dt:g} ms"
    texts = {
        "recordings (training / validation / test)": f"{counts}, {split}",
        "length of a recording": f"{lengths.min():,} to {lengths.max():,} steps of {step}",
        "network": f"{net_name(config)}, {result['parameters']:,} weights",
    }
    if (schedule := config.learning.surrogate_schedule) is not None:
        values = f"{schedule.parameter} from {schedule.start:g} to {schedule.end:g}"
        texts["surrogate in training"] = f"{values} ({schedule.form})"
    if (chip := facts.chip) is not None and config.chip is not None:
        texts |= {
            "chip": f"{chip.name}, {config.chip.bits} bits per weight; {len(chip.assumed())} of "
            f"its {len(chip.entries)} numbers are assumed, see nwave info --chip",
            "the chip in training": config.chip.training,
            "test measures refer to": "the chip as designed, without mismatch; nwave chips draws "
            "chips with mismatch",
            "validation measures refer to": VALIDATED_ON[config.chip.training],
        }
    texts |= {"training time": f"{result['seconds']:.1f} s", "seed": str(result["seed"])}
    if facts.begun_with is not None:
        texts["begun with"] = facts.begun_with.line()
    return texts


def _layers(run: FinishedRun) -> Table:
    """The layers that spike."""
    values = (run.result[key] for key in ("rates", "dead", "saturated"))
    layers = zip(run.layer_titles, run.evaluation.neuron_rates.items(), *values, strict=True)
    rows = []
    for title, (name, rates), *shares in layers:
        neurons = run.net.get_submodule(name)
        constants = [f"{key} = {value:.4g}" for key, value in _constants(neurons).items()]
        neuron = ", ".join([type(neurons).__name__, *constants, repr(neurons.spike_grad)])
        rows.append((title, len(rates), *shares, neuron))
    return Table(
        "Layers",
        f"Of layers that spike, on the {run.part} set: spikes per step and neuron, and shares of "
        "neurons. Constants are means over the neurons, after training.",
        ("layer", "neurons", "rate", "never fire", "fire nearly always", "neuron"),
        rows,
    )


def _constants(layer: torch.nn.Module) -> dict[str, float]:
    """The constants of a neuron layer, means over its neurons."""
    assert isinstance(layer, NeuronLayer)
    names = [constant.name for constant in layer.stored_constants]
    return {name: layer.constant(name).mean().item() for name in names}


def _operations(run: FinishedRun) -> list[Table]:
    """The operations of an inference by weight, if they were counted."""
    operations = run.operations
    if operations is None:
        return []
    rows = [
        (
            edge.name.removeprefix("net."),
            "spikes (ACs)" if edge.takes_spikes else "values (MACs)",
            round(edge.dense),
            round(edge.effective),
            edge.effective / max(edge.dense, 1),
            edge.connection_sparsity,
        )
        for edge in operations.edges
    ]
    text = (
        f"Operations per recording, means over {operations.recordings:,} of the {run.part} set "
        f"with {operations.steps:.0f} steps on average. Effective ones have an input and a weight "
        "that are not 0 (definitions of NeuroBench). Neurons are updated "
        f"{operations.updates:,.0f} times. Not counted: "
        f"{', '.join(operations.not_counted) or 'nothing'}."
    )
    columns = ("weight", "inputs", "dense", "effective", "share", "missing connections")
    return [Table("Operations", text, columns, rows)]


def _pictures(run: FinishedRun) -> list[Picture]:
    """The pictures that all tasks have."""
    val, config, dt = run.data.val, run.config, run.config.net.dt
    # A recording of the usual length.
    example = int(abs(val.lengths - np.median(val.lengths)).argmin())
    x = val.batch([example]).x.to_dense()[:, :MAX_STEPS_DRAWN]
    traces = _traces(run, x)
    has_groups = run.task.name == "classification" and not run.task.output.is_readout
    bands = []
    if run.facts.chip is not None and config.data.sample_rate is not None:
        bands = FilterBank.of(run.facts.chip, config.data.sample_rate).centers.tolist()
    raster = partial(
        spike_raster,
        x[0].numpy(),
        traces,
        dt,
        classes=run.facts.classes if has_groups else (),
        label=int(val.labels[example]),
        bands=bands,
    )
    score, best_epoch = run.task.batch_score_name, run.result["best_epoch"]
    curves = partial(learning_curves, run.history, best_epoch, score, run.layer_titles)
    return [
        Picture(
            "learning_curves",
            "Course of the run. Dotted: the epoch whose weights are kept.",
            curves,
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
def _traces(run: FinishedRun, x: torch.Tensor) -> list[LayerTrace]:
    """What each layer that spikes does with the input of one recording, `[1, T, F]`."""
    net = run.net.eval()
    with prepared(net):
        layers = record(net, x.to(next(net.parameters()).device)).spiking
    traces = []
    for title, (name, layer) in zip(run.layer_titles, layers.items(), strict=True):
        threshold = _constants(net.get_submodule(name)).get("threshold", 0.0)
        spikes, before, after = (
            values[0].flatten(1).float().cpu().numpy()
            for values in (layer.spk, layer.z + threshold, layer.mem)
        )
        traces.append(LayerTrace(title, threshold, spikes, before, after))
    return traces
