"""The pictures of the first page: a report in a browser, and one picture per card.

nwave train --out runs/digits
python -m docs.pictures.home runs/digits, in the folder of the repository, with Chromium installed
"""

import io
import runpy
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from docs.pictures.augmentation import spoken
from docs.pictures.make import moving_bar
from nwavesdk.plot.theme import DARK, LIGHT, Theme, render_png

DOCS = Path(__file__).parents[1]
FOLDER = DOCS / "images"
THEMES = {"light": LIGHT, "dark": DARK}
SIZE = (4.0, 2.5)  # of a card [inch]
KAPPA = 10  # of the neuron that the tutorial draws last
# Windows in which the report is shown [pixels].
WINDOWS = {"report": {"width": 820, "height": 440}, "report-phone": {"width": 390, "height": 560}}


def tutorial(name: str) -> dict[str, Any]:
    """The variables of a tutorial after it has run."""
    return runpy.run_path(str(DOCS / "tutorials" / f"plot_{name}.py"))


def card_data(_: dict[str, Any], theme: Theme) -> Figure:
    """Three kinds of data: a sound, a series of three values, and events of a moving bar."""
    figure = Figure(SIZE)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.4, 1))
    sound, series, events = (
        figure.add_subplot(grid[cell]) for cell in (np.s_[:, 0], np.s_[0, 1], np.s_[1, 1])
    )
    sound.imshow(spoken().T, origin="lower", aspect="auto", cmap=theme.ramp)
    time = np.linspace(0, 3, 200)
    noise = np.random.default_rng(0).normal(0, 0.15, (3, len(time)))
    for axis, color in enumerate(theme.hues[:3]):
        values = np.sin(7 * time + 2 * axis) * (1 + 0.5 * np.sin(2 * time)) + noise[axis]
        series.plot(time, values + 3 * axis, color=color, linewidth=1)
    bar = moving_bar()[5:20:7].sum(0)
    events.imshow(
        (bar[0] - bar[1]).numpy(), cmap=theme.diverging.reversed(), aspect="auto", vmin=-2, vmax=2
    )
    for axes, title in ((sound, "sound"), (series, "series"), (events, "events")):
        axes.set(title=title, xticks=[], yticks=[])
    return figure


def card_neuron(end: dict[str, Any], theme: Theme) -> Figure:
    """The membrane of a neuron whose threshold rises with its spikes."""
    states, record = end["states"], end["record"]
    figure = Figure(SIZE)
    axes = figure.subplots()
    axes.plot(states["v"], color=theme.hues[0])
    axes.plot(1 + KAPPA * states["a"], color=theme.hues[1])
    spikes = record.spk.flatten().nonzero().flatten()
    axes.eventplot(spikes, lineoffsets=2.4, linelengths=0.4, colors=theme.ink)
    axes.text(395, 1.8, "threshold", color=theme.hues[1], ha="right")
    axes.text(395, 0.1, "membrane", color=theme.hues[0], ha="right")
    axes.set(xlabel="time [ms]", yticks=[], title="spikes adapt")
    return figure


def card_chip(end: dict[str, Any], theme: Theme) -> Figure:
    """The accuracy of one net on 100 simulated chips."""
    series = end["series"]
    figure = Figure(SIZE)
    axes = figure.subplots()
    axes.hist(series.accuracy, bins=np.arange(0.5, 1.03, 0.02), color=theme.hues[0])
    axes.axvline(series.designed, color=theme.hues[1], linewidth=2)
    axes.set(title="one net on 100 simulated chips", xlabel="accuracy", yticks=[])
    axes.text(
        series.designed,
        axes.get_ylim()[1],
        "as designed ",
        color=theme.hues[1],
        ha="right",
        va="top",
    )
    axes.set_xlim(0.5, 1.02)
    return figure


def card_detector(end: dict[str, Any], theme: Theme) -> Figure:
    """Sound with two bells, and the score of a detector."""
    figure = Figure(SIZE)
    top, bottom = figure.subplots(2, 1, sharex=True)
    sound = end["sound"]
    top.plot(np.arange(len(sound)) / end["RATE"], sound, linewidth=0.4, color=theme.faint)
    bottom.plot(end["times"], end["score"], color=theme.hues[0])
    bottom.axhline(end["trained"].decision.threshold, color=theme.hues[1], linestyle="--")
    for event in end["events"]:
        for axes in (top, bottom):
            axes.axvspan(event.start, event.end, color=theme.hues[2], alpha=0.35)
    top.set(yticks=[], title="sound; bells are green")
    bottom.set(yticks=[], xlabel="time [s]", title="score and threshold")
    return figure


# The tutorial that has what a card shows, and the drawing.
CARDS: dict[str, tuple[str | None, Callable[[dict[str, Any], Theme], Figure]]] = {
    "data": (None, card_data),
    "neuron": ("12_neuron", card_neuron),
    "chip": ("08_chip", card_chip),
    "detector": ("15_detector", card_detector),
}


def save(png: bytes, name: str) -> None:
    """Save a picture with few colors, which makes the file a third as large."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(64, dither=Image.Dither.NONE).save(FOLDER / f"home-{name}.png", optimize=True)


def draw_cards() -> None:
    """Draw each card on light and on dark paper, from what its tutorial ends with."""
    for name, (source, draw) in CARDS.items():
        end = tutorial(source) if source else {}
        for scheme, theme in THEMES.items():
            save(render_png(partial(draw, end), theme), f"{name}-{scheme}")


def draw_report(run: Path) -> None:
    """Take the first screen of the report of a run, wide and on a phone."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox"],
        )
        for name, window in WINDOWS.items():
            for scheme in THEMES:
                page = browser.new_page(viewport=window, color_scheme=scheme)
                page.goto((run / "report.html").resolve().as_uri())
                save(page.screenshot(), f"{name}-{scheme}")
        browser.close()


def main() -> None:
    """Draw the cards, and the report of the run that the command line names."""
    draw_cards()
    for run in sys.argv[1:]:
        draw_report(Path(run))


if __name__ == "__main__":
    main()
