"""The report of a finished run: `pictures/*.png`, and `report.html`, which has all in one file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nwavesdk.chip import FilterBank, Profile
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import NeuronLayer
from nwavesdk.layers.catalogue import find_neuron
from nwavesdk.layers.constants import without_step_warnings
from nwavesdk.net import record
from nwavesdk.net.preparation import prepared
from nwavesdk.plot.theme import DARK, LIGHT, Draw, render_png
from nwavesdk.presets import LAYERED
from nwavesdk.presets.lif import hidden_layer
from nwavesdk.train.config import CompletedConfig, net_name
from nwavesdk.train.config.facts import Facts
from nwavesdk.train.report.page import Page
from nwavesdk.train.report.pictures import Trace, learning_curves, membrane_traces, spike_raster
from nwavesdk.train.report.summary import summary_cards, summary_tables
from nwavesdk.train.report.task_reports import MOST_STEPS_DRAWN, REPORTS, FinishedRun
from nwavesdk.train.run_folder import loss_note

__all__ = ["write_report"]

CAPTIONS = {
    "learning_curves": "Course of the run. Dotted: the epoch whose weights are kept.",
    "spike_raster": "One recording of the validation set as it passes through the layers"
    f" (of a long one, the first {MOST_STEPS_DRAWN:,} steps).",
    "membrane_traces": "The same recording in a busy and in an average neuron of each layer:"
    " the part with the most output spikes.",
}

# What the measures of the validation set of a run for a chip refer to, by what training knew of
# the chip.
VALIDATED_ON = {
    "plain": "the weights as trained, before they were moved to values that the chip can hold",
    "hardware": "the chip as designed",
    "mismatch": "drawn chips, a new one every few recordings, the same ones in each epoch",
}


def write_report(run: FinishedRun) -> None:
    """Write `pictures/*.png` and `report.html`."""
    config, folder = run.config, run.folder
    report = REPORTS[run.task.name](run)
    folder.pictures.mkdir(exist_ok=True)
    page = Page(
        f"Run {folder.path.name}",
        f"{report.summary} {_course(run)}",
        headline=report.headline,
    )
    page.add_cards(summary_cards(run))
    if run.notes:
        page.add_table(
            "Notes", "What to know of the data and the chip.", ("note",), [[n] for n in run.notes]
        )
    page.add_facts({**report.facts, **_facts(run)})
    drawings = _drawings(run, report.raster_classes)
    pictures = {name: (CAPTIONS[name], draw) for name, draw in drawings.items()}
    _add_pictures(page, run, report.pictures)
    for table in (*report.tables, *summary_tables(run)):
        page.add_table(*table)
    _add_pictures(page, run, pictures)
    page.add_details("config.json, without its table of crossovers", _config_text(config))
    page.add_facts({"begun with": run.facts.begun_with.line()})
    page.write(folder.report)


def _config_text(config: CompletedConfig) -> str:
    """The text of `config.json` without the long table of crossovers."""
    arithmetic = config.arithmetic.model_copy(update={"crossovers": {}})
    return config.model_copy(update={"arithmetic": arithmetic}).json_text()


def _add_pictures(page: Page, run: FinishedRun, pictures: Mapping[str, tuple[str, Draw]]) -> None:
    """Write pictures to their files, and add them to the page."""
    for name, (caption, draw) in pictures.items():
        light = render_png(draw, LIGHT)
        write_atomically(run.folder.pictures / f"{name}.png", light)
        page.add_picture(caption, light, render_png(draw, DARK))


@torch.no_grad()
def _drawings(run: FinishedRun, classes: Sequence[str]) -> dict[str, Draw]:
    """The pictures that all tasks have.

    Args:
        run: The run.
        classes: Classes of a recording, if it has one.
    """
    val = run.data.val
    dt = run.config.net.dt
    has_output = not run.task.output.is_readout
    titles = run.layer_titles
    # A recording of the usual length.
    example = int(abs(val.lengths - np.median(val.lengths)).argmin())
    label = int(val.labels[example])
    x = val.batch([example]).x
    if not x.is_sparse:
        x = x[:, :MOST_STEPS_DRAWN]
    traces, thresholds = _traces(run.net, x)
    spikes = [s for s, _, _ in traces]
    bands = _band_centers(run)
    return {
        "learning_curves": lambda theme: learning_curves(
            run.history,
            run.result["best_epoch"],
            theme,
            run.task.batch_score_name,
            has_output=has_output,
            layers=titles,
        ),
        "spike_raster": lambda theme: spike_raster(
            x[0].to_dense().numpy(),
            spikes,
            dt,
            classes,
            label,
            theme,
            has_output=has_output,
            layers=titles,
            bands=bands,
        ),
        "membrane_traces": lambda theme: membrane_traces(
            traces, dt, thresholds, theme, has_output=has_output, names=titles
        ),
    }


def _traces(net: nn.Module, x: Tensor) -> tuple[list[Trace], list[float]]:
    """Spikes, membrane before the reset and after it of each layer that spikes; its threshold.

    Args:
        net: The net.
        x: The input of one recording, `[1, T, F]`.
    """
    net.eval()
    with prepared(net):
        layers = record(net, x.to(next(net.parameters()).device)).spiking
    thresholds = [_threshold(net.get_submodule(name)) for name in layers]
    traces = [
        (_first(layer.spk), _first(layer.z + threshold), _first(layer.mem))
        for layer, threshold in zip(layers.values(), thresholds, strict=True)
    ]
    return traces, thresholds


def _band_centers(run: FinishedRun) -> Sequence[float]:
    """The center of each filter of the run's chip [Hz]; none without a chip or sound."""
    profile = run.facts.chip
    if profile is None or run.config.option("data.sample_rate") is None:
        return ()
    centers: list[float] = FilterBank.of(
        profile, run.config.option("data.sample_rate")
    ).centers.tolist()
    return centers


def _threshold(layer: nn.Module) -> float:
    """The threshold of a layer; the mean if its neurons have several."""
    assert isinstance(layer, NeuronLayer)
    return layer.constant("threshold").mean().item() if "threshold" in layer.page.constants else 0.0


def _first(batch: Tensor) -> npt.NDArray[np.float32]:
    """The first recording of a batch, `[T, N]`."""
    return np.asarray(batch[0].flatten(1).float().cpu())


def _course(run: FinishedRun) -> str:
    result = run.result
    course = f"{result['epochs']} epochs in {result['seconds']:.0f} s, seed {result['seed']}."
    note = loss_note(result, run.config)
    return course if note is None else f"{course} Note: {note}."


def _facts(run: FinishedRun) -> dict[str, str]:
    """The facts that all tasks have."""
    config, facts, result = run.config, run.facts, run.result
    train, val, test = facts.recordings
    rates = " / ".join(f"{rate:.3f}" for rate in result["rates"])
    how = "the same" if config.task.name == "pattern" else f"split by {facts.split_by}"
    return {
        "validation loss": f"{result['val_loss']:.4f}",
        "recordings (train / validation / test)": f"{train:,} / {val:,} / {test:,}, {how}",
        **_net_facts(run),
        "time": _time_text(config, facts),
        **_chip_facts(config, facts.chip),
        "firing rates by layer [spikes per step and neuron]": rates,
        "training time": f"{result['seconds']:.1f} s",
        "seed": str(result["seed"]),
    }


def _net_facts(run: FinishedRun) -> dict[str, str]:
    """The size of the net, its neurons and their surrogate; of a net from a file, what is known."""
    config, output = run.config, run.task.output
    weights = f"{run.result['parameters']:,} weights"
    if config.net.name not in LAYERED:
        kind = "file" if config.net.name == "file" else "page"
        built = {
            "network": f"{net_name(config)}, {weights}",
            f"SHA-256 of the {kind}": config.page.sha256,
        }
        return built | ({"surrogate": schedule[2:]} if (schedule := _schedule_text(config)) else {})
    net: Any = config.net
    sizes = (run.facts.n_features, *net.hidden, output.n_neurons)
    recurrence = ", recurrent hidden layers" if config.option("net.recurrent") else ""
    readout = ", the last layer is a read-out" if output.is_readout else ""
    return {
        "network": f"{'–'.join(map(str, sizes))}, {weights}{recurrence}{readout}",
        **_neuron_facts(config, run.net),
        "surrogate": config.net.surrogate + _schedule_text(config),
    }


def _neuron_facts(config: CompletedConfig, net: nn.Module) -> dict[str, str]:
    """The neuron of the hidden layers, its constants, and what was learned of them."""
    net_config: Any = config.net
    if getattr(net_config, "has_default_neuron", True):
        return {}
    layers = [module for module in net.modules() if isinstance(module, NeuronLayer)][:-1]
    with without_step_warnings():
        before = hidden_layer(net_config, 1)
    constants = [constant.name for constant in before.stored_constants]
    values = ", ".join(f"{name} = {before.constant(name).item():.4g}" for name in constants)
    facts = {"hidden neurons": f"{find_neuron(config.option('net.neuron')).call}, {values}"}
    if net_config.charge_gain is not None:
        facts["initial weights to hidden neurons"] = (
            f"{config.option('net.charge_gain'):g} × those to LIF"
        )
    for name in net_config.learn:
        learned = ", ".join(f"{layer.constant(name).item():.4g}" for layer in layers)
        facts[f"{name}, learned by each hidden layer"] = learned
    return facts


def _schedule_text(config: CompletedConfig) -> str:
    schedule = config.learning.surrogate_schedule
    return (
        ""
        if schedule is None
        else f", {schedule.parameter} from {schedule.start:g} to {schedule.end:g} ({schedule.form})"
    )


def _time_text(config: CompletedConfig, facts: Facts) -> str:
    chip = facts.chip
    steps = f"steps of {1e3 * config.net.dt:g} ms"
    hold, length = config.option("data.hold"), config.option("data.length")
    seconds = config.option("data.duration")
    if seconds is not None:  # the filters of a chip cut sound to one length
        duration = f"{seconds:g} s in {steps}"
    elif length is not None:
        duration = f"{length} frames × {hold} {steps}"
    elif hold in (1, None):
        duration = f"whole recordings in {steps}"
    else:
        duration = f"whole recordings in {steps}, {hold} for each frame"
    if config.net.name not in LAYERED:
        return duration
    has_profiles = chip is not None and chip.tau_profiles
    nearest = ", or the nearest of the chip's tau profiles" if has_profiles else ""
    where = "" if getattr(config.net, "has_default_neuron", True) else " in the output layer"
    return f"{duration}, τ = {1e3 * config.option('net.tau'):g} ms{where}{nearest}"


def _chip_facts(config: CompletedConfig, chip: Profile | None) -> dict[str, str]:
    if config.chip is None or chip is None:
        return {}
    return {
        "chip": f"{chip.name}, {config.chip.bits} bits per weight; {len(chip.assumed())} of its "
        f"{len(chip.entries)} numbers are assumed, see nwave info --chip",
        "what training knew of the chip": config.chip.training,
        "the numbers of the test set refer to": "the chip as designed, without mismatch; "
        "nwave chips draws chips with mismatch",
        "those of the validation set refer to": VALIDATED_ON[config.chip.training],
    }
