"""Picture: what the filters of a chip let through, and what they make of one recording.

What a data folder holds, in numbers: for `nwave data`, as one object or as lines.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nwavesdk.chip import FilterBank
from nwavesdk.data import FrontEnd, NWaveDataGen, NWaveDataloaderConfig, decode
from nwavesdk.internal.files import write_atomically
from nwavesdk.train.theme import LIGHT, Theme, render_png

__all__ = ["data_lines", "data_report", "plot_front_end"]

Hue = tuple[float, float, float, float]

FLOOR = -40
"""The lowest gain that is shown [dB]."""


def plot_front_end(path: Path, config: NWaveDataloaderConfig, recording: Path) -> None:
    """Write a PNG of the bank's response, and of the waveform and channels of a recording.

    Args:
        path: The file; its folder is made if it is not there.
        config: How recordings are heard.
        recording: A wav.

    Raises:
        RecordingError: The recording cannot be read.
    """
    front_end = FrontEnd(config)
    samples = front_end.prepare(decode(recording, recording.read_bytes()))
    channels = front_end(samples)
    name = f"{recording.parent.name}/{recording.name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(
        path,
        render_png(lambda theme: _draw(theme, config, config.bank, samples, channels, name), LIGHT),
    )


def _draw(
    theme: Theme,
    config: NWaveDataloaderConfig,
    bank: FilterBank,
    samples: npt.NDArray[np.float32],
    channels: npt.NDArray[np.float32],
    name: str,
) -> Figure:
    figure = Figure(figsize=(10, 9))
    response, waveform, ridges = figure.subplots(3, 1, height_ratios=(3, 1.3, 5))
    rainbow = LinearSegmentedColormap.from_list(
        "bands", [theme.hues[0], theme.hues[3], theme.hues[1]]
    )
    hues = [rainbow(float(place)) for place in np.linspace(0, 1, bank.count)]
    _response(response, bank, hues, theme)

    time = np.arange(len(samples)) / bank.sample_rate
    waveform.plot(time, samples, color=theme.ink, linewidth=0.5)
    reach = float(np.abs(samples).max()) or 1.0
    waveform.set(
        title=f"A recording: {name}", ylabel="full scale 1", ylim=(-1.1 * reach, 1.1 * reach)
    )
    _ridges(ridges, channels, config.sim_time_s, bank.centers, hues, theme)
    for axes in (waveform, ridges):
        axes.set_xlim(0, config.T * config.sim_time_s)
    waveform.tick_params(labelbottom=False)
    figure.align_ylabels()
    return figure


def _response(axes: Axes, bank: FilterBank, hues: list[Hue], theme: Theme) -> None:
    highest = bank.sample_rate / 2
    frequencies = np.geomspace(bank.edges[0, 0] / 3, 0.9999 * highest, 1500)
    gains = 20 * np.log10(np.maximum(bank.response(frequencies), 1e-6))
    for gain, hue in zip(gains, hues, strict=True):
        axes.plot(frequencies, gain, color=hue, linewidth=1.4)
        axes.fill_between(frequencies, gain, FLOOR, color=hue, alpha=0.06, linewidth=0)
    axes.axhline(-3, color=theme.faint, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.text(frequencies[0] * 1.04, -3, "−3 dB: bands touch", va="top", fontsize=7.5)
    axes.set(
        title=f"{bank.count} band-pass filters, Butterworth of order {bank.order}, sound at {bank.sample_rate:,.0f} Hz",
        xlabel="frequency [Hz]", ylabel="gain [dB]", xscale="log", xlim=(frequencies[0], highest), ylim=(FLOOR, 2),
    )  # fmt: skip
    ticks = [
        tick
        for tick in (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
        if frequencies[0] <= tick < highest
    ]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.grid()


def _ridges(
    axes: Axes, channels: npt.NDArray[np.float32], step: float, centres: npt.NDArray[np.float64],
    hues: list[Hue], theme: Theme,
) -> None:  # fmt: skip
    """One line a channel, all on one scale, the lowest band at the bottom."""
    time = (np.arange(len(channels)) + 0.5) * step
    scale = 2.6 / (float(channels.max()) or 1.0)
    for row in reversed(range(len(centres))):
        height = row + scale * channels[:, row]
        depth = 3 * (len(centres) - row)
        axes.fill_between(
            time, row, height, color=theme.paper, alpha=0.75, linewidth=0, zorder=depth
        )
        axes.fill_between(
            time, row, height, color=hues[row], alpha=0.3, linewidth=0, zorder=depth + 1
        )
        axes.plot(time, height, color=hues[row], linewidth=0.9, zorder=depth + 2)
    axes.set_yticks(np.arange(len(centres)), [f"{centre:,.0f}" for centre in centres])
    for label, hue in zip(axes.get_yticklabels(), hues, strict=True):
        label.set_color(hue)
    title = f"What the net is given: {len(centres)} rectified channels, averaged over steps of {step * 1e3:g} ms"
    axes.set(title=title, xlabel="time [s]", ylabel="centre of the band [Hz]", ylim=(-0.4, None))
    axes.grid(axis="x")


def data_report(gen: NWaveDataGen) -> dict[str, Any]:
    """Read the folder and count.

    Args:
        gen: The folder and how it is read.

    Raises:
        ValueError: The folder, or a file in it, cannot be used.
    """
    channels = gen.channels
    parts = channels.split.as_dict()
    per_class = {
        name: dict(zip(gen.classes, np.bincount(channels.y[part], minlength=len(gen.classes)).tolist(), strict=True))
        for name, part in parts.items()
    } if gen.classes else {}  # fmt: skip
    return {
        "folder": str(gen.config.folder),
        "task": gen.config.task,
        "classes": list(gen.classes),
        "steps": gen.T,
        "channels": channels.x.shape[2],
        "recordings": gen.recordings,
        "per_class": per_class,
        "split_by": gen.split_by,
        "speakers": gen.speakers,
        "cached": channels.cached,
        "skipped": [{"file": file, "reason": reason} for file, reason in gen.skipped],
        "fingerprint": channels.fingerprint,
    }


def data_lines(report: dict[str, Any]) -> list[str]:
    """The report for the eye."""
    count = sum(report["recordings"].values())
    heads = [*report["classes"], "all", *(["speakers"] if report["speakers"] else [])]
    widths = [max(6, len(head)) for head in heads]
    rows = [["", *heads]]
    for part, number in report["recordings"].items():
        of_class = report["per_class"].get(part, {})
        numbers = [
            *of_class.values(),
            number,
            *([report["speakers"][part]] if report["speakers"] else []),
        ]
        rows.append([part, *map(str, numbers)])
    table = [
        "  ".join(
            [row[0].ljust(5), *(cell.rjust(w) for cell, w in zip(row[1:], widths, strict=True))]
        )
        for row in rows
    ]
    skipped = [f"skipped {one['file']}: {one['reason']}" for one in report["skipped"]]
    return [
        f"{count} recordings of {report['steps']} steps and {report['channels']} channels; "
        f"{report['cached']} from the cache, {len(skipped)} skipped; parted by {report['split_by']}",
        *table,
        *skipped,
    ]
