"""The report of a finished run: `pictures/*.png`, and `report.html`, which has all in one file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.layers.catalogue import find_neuron
from nwavesdk.train.classifier import Evaluation
from nwavesdk.train.config import RunConfig
from nwavesdk.train.network import hidden_layer
from nwavesdk.train.page import Page
from nwavesdk.train.pictures import (
    confusion_matrix,
    learning_curves,
    membrane_traces,
    spike_raster,
)
from nwavesdk.train.run_data import RunData
from nwavesdk.train.run_folder import RunFolder
from nwavesdk.train.sections import Facts, NetConfig
from nwavesdk.train.theme import DARK, LIGHT, Draw, render_png

__all__ = ["write_report"]

CAPTIONS = {
    "learning_curves": "Course of the run. Dotted: the epoch selected on the validation set.",
    "spike_raster": "One recording of the validation set as it passes through the layers.",
    "membrane_traces": "The same recording in a busy and in an average neuron of each layer.",
    "confusion_matrix": "All recordings of the test set by true class and predicted class.",
}

# What the validation accuracy of a run for a chip refers to, by what training knew of the chip.
VALIDATED_ON = {
    "plain": "the weights as trained, before they were moved to values that the chip can hold",
    "hardware": "the chip as designed",
    "mismatch": "drawn chips, a new one every few recordings, the same ones in each epoch",
}


def write_report(
    folder: RunFolder,
    config: RunConfig,
    data: RunData,
    net: SpikingSequential,
    history: Sequence[dict[str, float]],
    test: Evaluation,
    result: Mapping[str, Any],
) -> None:
    """Write `pictures/*.png` and `report.html`.

    Args:
        folder: The folder of the run.
        config: The config of the run, with facts.
        data: The data of the run.
        net: The net with the selected weights.
        history: The metrics of each epoch, as in `metrics.csv`.
        test: Predictions on the test set.
        result: The content of `result.json`.
    """
    facts = config.facts
    assert facts is not None
    folder.pictures.mkdir(exist_ok=True)
    page = Page(
        f"Run {folder.path.name}",
        _summary(config, facts, result),
        headline=(f"{100 * result['test_accuracy']:.2f} %", "test accuracy"),
    )
    page.add_facts(_facts(config, facts, net, result))
    for name, draw in _drawings(config, facts, data, net, history, test, result).items():
        light = render_png(draw, LIGHT)
        write_atomically(folder.pictures / f"{name}.png", light)
        page.add_picture(CAPTIONS[name], light, render_png(draw, DARK))
    page.add_details("config.json", config.json_text())
    page.write(folder.report)


@torch.no_grad()
def _drawings(
    config: RunConfig,
    facts: Facts,
    data: RunData,
    net: SpikingSequential,
    history: Sequence[dict[str, float]],
    test: Evaluation,
    result: Mapping[str, Any],
) -> dict[str, Draw]:
    classes = facts.classes
    dt = config.net.dt
    net.eval()
    prepare_net(net)
    # A recording of the usual length.
    lengths = data.val.lengths
    example = int(abs(lengths - np.median(lengths)).argmin())
    x = data.val.batch([example]).x
    layers = net.record(x.to(next(net.parameters()).device)).spiking
    thresholds = [_threshold(net.get_submodule(name)) for name in layers]
    traces = [
        (_first(layer.spk), _first(layer.z + threshold), _first(layer.mem))
        for layer, threshold in zip(layers.values(), thresholds, strict=True)
    ]
    spikes = [s for s, _, _ in traces]
    label = int(data.val.labels[example])
    counts = test.confusion(len(classes)).numpy()
    return {
        "learning_curves": lambda theme: learning_curves(history, result["best_epoch"], theme),
        "spike_raster": lambda theme: spike_raster(x[0].numpy(), spikes, dt, classes, label, theme),
        "membrane_traces": lambda theme: membrane_traces(traces, dt, thresholds, theme),
        "confusion_matrix": lambda theme: confusion_matrix(counts, classes, theme),
    }


def _threshold(layer: nn.Module) -> float:
    """The threshold of a layer, which all its neurons have."""
    assert isinstance(layer, NeuronLayer)
    return layer.constant("threshold").item() if "threshold" in layer.page.constants else 0.0


def _first(batch: torch.Tensor) -> npt.NDArray[np.float32]:
    """The first recording of a batch, `[T, N]`."""
    return np.asarray(batch[0].float().cpu())


def _summary(config: RunConfig, facts: Facts, result: Mapping[str, Any]) -> str:
    source = "spoken digits" if config.data.source == "digits" else config.data.source
    return (
        f"{len(facts.classes)} classes of {source}; "
        f"{facts.recordings[2]} test recordings, used once. "
        f"{result['epochs']} epochs in {result['seconds']:.0f} s, seed {result['seed']}."
    )


def _facts(
    config: RunConfig, facts: Facts, net: SpikingSequential, result: Mapping[str, Any]
) -> dict[str, str]:
    train, val, test = facts.recordings
    n_outputs = len(facts.classes) * config.net.population
    sizes = (facts.n_features, *config.net.hidden, n_outputs)
    rates = " / ".join(f"{rate:.3f}" for rate in result["rates"])
    return {
        "test accuracy": f"{result['test_accuracy']:.4f}",
        "validation accuracy": f"{result['val_accuracy']:.4f} "
        f"(epoch {result['best_epoch']} of {result['epochs']})",
        "validation loss": f"{result['val_loss']:.4f}",
        "recordings (train / validation / test)": f"{train} / {val} / {test}, "
        f"split by {facts.split_by}",
        "network": f"{'–'.join(map(str, sizes))}, {result['parameters']:,} weights",
        **_neuron_facts(config.net, net),
        "surrogate": config.net.surrogate + _schedule_text(config),
        "time": _time_text(config, facts.chip),
        **_chip_facts(config, facts.chip),
        "firing rates by layer [spikes per step and neuron]": rates,
        "training time": f"{result['seconds']:.1f} s",
        "seed": str(result["seed"]),
    }


def _neuron_facts(config: NetConfig, net: SpikingSequential) -> dict[str, str]:
    """The neuron of the hidden layers, its constants, and what was learned of them."""
    if config.has_default_neuron:
        return {}
    layers = [module for module in net if isinstance(module, NeuronLayer)][:-1]
    before = hidden_layer(config, 1)
    constants = [constant.name for constant in before.stored_constants]
    values = ", ".join(f"{name} = {before.constant(name).item():.4g}" for name in constants)
    facts = {"hidden neurons": f"{find_neuron(config.neuron).call}, {values}"}
    if config.charge_gain is not None:
        facts["initial weights to hidden neurons"] = f"{config.charge_gain:g} × those to LIF"
    for name in config.learned_constants:
        learned = ", ".join(f"{layer.constant(name).item():.4g}" for layer in layers)
        facts[f"{name}, learned by each hidden layer"] = learned
    return facts


def _schedule_text(config: RunConfig) -> str:
    schedule = config.learning.surrogate_schedule
    return (
        ""
        if schedule is None
        else f", {schedule.parameter} from {schedule.start:g} to {schedule.end:g} ({schedule.form})"
    )


def _time_text(config: RunConfig, chip: Profile | None) -> str:
    steps = f"steps of {1e3 * config.net.dt:g} ms"
    duration = (
        f"{config.data.length} frames × {config.data.hold} {steps}"
        if config.chip is None
        else f"{config.chip.duration:g} s in {steps}"
    )
    has_profiles = chip is not None and chip.tau_profiles
    nearest = ", or the nearest of the chip's tau profiles" if has_profiles else ""
    where = "" if config.net.has_default_neuron else " in the output layer"
    return f"{duration}, τ = {1e3 * config.net.tau:g} ms{where}{nearest}"


def _chip_facts(config: RunConfig, chip: Profile | None) -> dict[str, str]:
    if config.chip is None or chip is None:
        return {}
    return {
        "chip": f"{chip.name}, {config.chip.bits} bits per weight; {len(chip.assumed())} of its "
        f"{len(chip.entries)} numbers are assumed, see nwave info --chip",
        "what training knew of the chip": config.chip.training,
        "test accuracy refers to": "the chip as designed, without mismatch; "
        "nwave chips draws chips with mismatch",
        "validation accuracy refers to": VALIDATED_ON[config.chip.training],
    }
