"""The page of a finished run: its pictures and numbers in one file that needs no other."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import SpikingSequential, prepare_net
from nwavesdk.train.config import RunConfig
from nwavesdk.train.evaluation import Evaluation
from nwavesdk.train.pictures import (
    DARK,
    LIGHT,
    confusion_matrix,
    learning_curves,
    membrane_traces,
    render,
    spike_raster,
)
from nwavesdk.train.run_data import Parts
from nwavesdk.train.run_folder import RunFolder
from nwavesdk.train.theme import Draw

__all__ = ["write_report"]

CAPTIONS = {
    "learning_curves": "How the run went. Dotted: the epoch whose weights were kept, chosen on the validation part.",
    "spike_raster": "One recording of the validation part on its way through the net, layer by layer.",
    "membrane_traces": "The same recording in two neurons of each layer, a busy and an ordinary one.",
    "confusion_matrix": "Every recording of the test part, by what it is and what the net says.",
}


VALIDATED = {
    "plain": "with weights as they were trained, before they were moved to what the chip can hold",
    "hardware": "on the chip as designed",
    "mismatch": "over drawn chips, a new one every few recordings, the same in each epoch",
}
"""What the validation accuracy of a run for a chip is measured on, by what training knew of the chip."""


def write_report(
    folder: RunFolder,
    config: RunConfig,
    parts: Parts,
    net: SpikingSequential,
    rows: Sequence[dict[str, float]],
    test: Evaluation,
    result: Mapping[str, Any],
) -> None:
    """Write `pictures/*.png` and `report.html`.

    Args:
        folder: The run.
        config: Its config, with facts.
        parts: Its data.
        net: The net with the selected weights.
        rows: One for each epoch.
        test: Predictions on the test part.
        result: The content of `result.json`.
    """
    drawings = _drawings(config, parts, net, rows, test, result)
    folder.pictures.mkdir(exist_ok=True)
    figures = []
    for name, draw in drawings.items():
        light, dark = render(draw, LIGHT), render(draw, DARK)
        write_atomically(folder.pictures / f"{name}.png", light)
        figures.append(_figure(CAPTIONS[name], light, dark))
    page = Template(files("nwavesdk.train").joinpath("report.html").read_text("utf-8")).substitute(
        title=escape(folder.path.name),
        accuracy=f"{100 * result['test_accuracy']:.2f} %",
        summary=_summary(config, result),
        numbers=_table(_numbers(config, result)),
        figures="\n".join(figures),
        config=escape(config.json_text()),
    )
    write_atomically(folder.report, page.encode())


@torch.no_grad()
def _drawings(
    config: RunConfig,
    parts: Parts,
    net: SpikingSequential,
    rows: Sequence[dict[str, float]],
    test: Evaluation,
    result: Mapping[str, Any],
) -> dict[str, Draw]:
    assert config.facts is not None
    classes, dt, chip = config.facts.classes, config.net.dt, config.facts.chip
    threshold = config.net.threshold if chip is None else chip.number("threshold")
    net.eval()
    prepare_net(net)
    # The first recording that fills the whole sequence, if there is one.
    example = int(parts.val.x[:, -1].any(axis=1).argmax())
    x = torch.from_numpy(parts.val.x[example : example + 1])
    layers = net.record(x.to(next(net.parameters()).device)).layers.values()
    traces = [(_states(layer.spk), _states(layer.u), _states(layer.mem)) for layer in layers]
    label, counts = int(parts.val.labels[example]), test.confusion(len(classes)).numpy()
    return {
        "learning_curves": lambda theme: learning_curves(rows, result["best_epoch"], theme),
        "spike_raster": lambda theme: spike_raster(
            x[0].numpy(), [s for s, _, _ in traces], dt, classes, label, theme
        ),
        "membrane_traces": lambda theme: membrane_traces(traces, dt, threshold, theme),
        "confusion_matrix": lambda theme: confusion_matrix(counts, classes, theme),
    }


def _states(batch: torch.Tensor) -> npt.NDArray[np.float32]:
    """The only recording of a batch, `[T, N]`."""
    states: npt.NDArray[np.float32] = batch[0].float().cpu().numpy()
    return states


def _figure(caption: str, light: bytes, dark: bytes) -> str:
    sources = [
        f"data:image/png;base64,{base64.b64encode(picture).decode()}" for picture in (light, dark)
    ]
    return (
        f'<figure><picture><source srcset="{sources[1]}" media="(prefers-color-scheme: dark)">'
        f'<img src="{sources[0]}" alt="{escape(caption)}"></picture><figcaption>{escape(caption)}</figcaption></figure>'
    )


def _summary(config: RunConfig, result: Mapping[str, Any]) -> str:
    assert config.facts is not None
    source = "spoken digits" if config.data.source == "digits" else config.data.source
    return escape(
        f"{len(config.facts.classes)} classes of {source}; {config.facts.recordings[2]} test recordings, read once. "
        f"{result['epochs']} epochs in {result['seconds']:.0f} s, seed {result['seed']}."
    )


def _numbers(config: RunConfig, result: Mapping[str, Any]) -> dict[str, str]:
    assert config.facts is not None
    train, val, test = config.facts.recordings
    sizes = (
        config.facts.n_features,
        *config.net.hidden,
        len(config.facts.classes) * config.net.population,
    )
    return {
        "test accuracy": f"{result['test_accuracy']:.4f}",
        "validation accuracy": f"{result['val_accuracy']:.4f} (epoch {result['best_epoch']} of {result['epochs']})",
        "validation loss": f"{result['val_loss']:.4f}",
        "recordings (train / validation / test)": f"{train} / {val} / {test}, parted by {config.facts.split_by}",
        "network": "–".join(map(str, sizes)) + f", {result['parameters']:,} weights",
        "surrogate": config.net.surrogate + _schedule(config),
        "time": f"{_time(config)}, {_tau(config)}",
        **_chip(config),
        "firing rates by layer [spikes a step and neuron]": " / ".join(
            f"{rate:.3f}" for rate in result["rates"]
        ),
        "training time": f"{result['seconds']:.1f} s",
        "seed": str(result["seed"]),
    }


def _schedule(config: RunConfig) -> str:
    schedule = config.learning.surrogate_schedule
    if schedule is None:
        return ""
    return f", {schedule.parameter} from {schedule.start:g} to {schedule.end:g} ({schedule.form})"


def _time(config: RunConfig) -> str:
    step = f"steps of {1e3 * config.net.dt:g} ms"
    if config.chip is not None:
        return f"{config.chip.duration:g} s in {step}"
    return f"{config.data.length} frames × {config.data.hold} {step}"


def _tau(config: RunConfig) -> str:
    profile = None if config.facts is None else config.facts.chip
    snapped = profile is not None and profile.tau_profiles
    return f"τ = {1e3 * config.net.tau:g} ms" + (
        ", or what of the chip's profiles is nearest" if snapped else ""
    )


def _chip(config: RunConfig) -> dict[str, str]:
    if config.chip is None or config.facts is None or config.facts.chip is None:
        return {}
    profile = config.facts.chip
    return {
        "chip": f"{profile.name}, {config.chip.bits} bits a weight; {len(profile.assumed())} of its "
        f"{len(profile.entries)} numbers are assumed, see nwave info --chip",
        "what training knew of it": config.chip.training,
        "test accuracy counts": "on the chip as designed, without mismatch: nwave chips draws some that differ",
        "validation accuracy counts": VALIDATED[config.chip.training],
    }


def _table(numbers: Mapping[str, str]) -> str:
    rows = (
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in numbers.items()
    )
    return "<table>" + "".join(rows) + "</table>"
