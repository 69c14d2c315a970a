"""Self-contained HTML pages: facts, pictures, sortable tables, interactive plots; dark and light.

A page is one file that needs neither a library nor the network. Its numbers are JSON inside the
page, which the script `page.js` draws. All derivatives of surrogates are computed here by torch, so
no formula exists twice.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nwavesdk.internal.files import printable, write_atomically
from nwavesdk.surrogate import Surrogate

__all__ = ["SLIDER_FACTORS", "Card", "Page"]

# Derivatives are drawn for z from `-CURVE_REACH` to `CURVE_REACH`.
CURVE_REACH = 2.0
CURVE_POINTS = 401
# A table cell with more letters than this may wrap.
LONG_TEXT = 60
# Factors by which the slider multiplies the first parameter of a surrogate.
SLIDER_FACTORS = [2.0 ** (k / 4) for k in range(-16, 13)]

# For each quantity and each arm of a study: one list of values, one per epoch, for each run.
Courses = Mapping[str, Mapping[str, Sequence[Sequence[float]]]]


class Card(NamedTuple):
    """A number of the summary of a page: what it is, the number, and a sentence."""

    name: str
    value: str
    text: str


@dataclass
class Page:
    """The content of a page, in the order in which it was added.

    Args:
        title: Title of the page.
        summary: What the page shows, in a sentence or two.
        headline: A number to print large, and its name.
    """

    title: str
    summary: str
    headline: tuple[str, str] | None = None
    _body: list[str] = field(default_factory=list)
    _plot_data: dict[str, Any] = field(default_factory=dict)
    _needs_script: bool = False

    def add_facts(self, facts: Mapping[str, str]) -> None:
        """Add a table of names and values."""
        rows = "".join(
            f"<tr><th>{_html(name)}</th><td>{_html(value)}</td></tr>"
            for name, value in facts.items()
        )
        self._body.append(f'<table class="facts">{rows}</table>')

    def add_cards(self, cards: Sequence[Card]) -> None:
        """Add the numbers of the summary, next to each other."""
        self._body.append(
            '<div class="cards">'
            + "".join(
                f"<section><h2>{_html(card.name)}</h2><strong>{_html(card.value)}</strong>"
                f"<p>{_html(card.text)}</p></section>"
                for card in cards
            )
            + "</div>"
        )

    def add_picture(self, caption: str, light: bytes, dark: bytes) -> None:
        """Add a picture.

        Args:
            caption: Text below the picture.
            light: PNG for a light page.
            dark: PNG for a dark page.
        """
        light_url, dark_url = (
            f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in (light, dark)
        )
        text = _html(caption)
        self._body.append(
            f'<figure><picture><source srcset="{dark_url}" media="(prefers-color-scheme: dark)">'
            f'<img src="{light_url}" alt="{text}"></picture>'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def add_details(self, heading: str, text: str) -> None:
        """Add preformatted text that is shown after a click on its heading."""
        self._body.append(
            f"<details><summary>{_html(heading)}</summary><pre>{_html(text)}</pre></details>"
        )

    def add_table(
        self,
        heading: str,
        text: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str | int | float]],
    ) -> None:
        """Add a table that is sorted by a click on a column's name.

        Args:
            heading: Heading of the table.
            text: Explanation above the table.
            columns: Name of each column.
            rows: Cells; a column holds either texts or numbers.
        """
        self._needs_script = True
        samples = rows[0] if rows else columns
        head = "".join(
            f'<th scope="col"{"" if isinstance(sample, str) else " class=number"}>'
            f"<button>{_html(name)}</button></th>"
            for name, sample in zip(columns, samples, strict=True)
        )
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        self._body.append(
            f"<h2>{_html(heading)}</h2><p>{_html(text)}</p>"
            '<div class="wide"><table class="sortable">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def add_curves(self, surrogates: Mapping[str, Surrogate]) -> None:
        """Add the derivatives of surrogates over z, with the forward step."""
        z = torch.linspace(-CURVE_REACH, CURVE_REACH, CURVE_POINTS, dtype=torch.float64)
        curves = [
            {"name": name, "values": _numbers(surrogate.derivative(z))}
            for name, surrogate in surrogates.items()
        ]
        self._add_plot(
            "curves",
            {"z": _numbers(z), "curves": curves},
            "Surrogates",
            "The derivative that the backward pass uses instead of that of the step. "
            "Gray dashes: the step, which the forward pass always takes.",
            '<div class="keys"></div>'
            '<svg role="img" aria-label="derivatives of the surrogates"></svg>'
            '<div class="controls">'
            '<label><input type="checkbox"> each relative to its peak</label></div>',
        )

    def add_trace(
        self,
        surrogates: Mapping[str, Surrogate],
        z: Tensor,
        spikes: Tensor,
        dt: float,
    ) -> None:
        """Add a neuron's z, and how strongly each surrogate lets the gradient pass along it.

        A slider changes the first parameter of the surrogate.

        Args:
            surrogates: Surrogates by name.
            z: Argument of the spike, `[T]`: the membrane before reset minus the threshold.
            spikes: Spikes, `[T]`.
            dt: Time step [s].
        """
        arms = [
            {
                "name": name,
                "settings": [
                    {
                        "label": _label(setting),
                        "derivative": _numbers(setting.derivative(z.double())),
                    }
                    for setting in _slider_settings(surrogate)
                ],
                "start": SLIDER_FACTORS.index(1.0) if _parameter_names(surrogate) else 0,
            }
            for name, surrogate in surrogates.items()
        ]
        data = {
            "dt": dt,
            "z": _numbers(z),
            "spikes": spikes.nonzero().flatten().tolist(),
            "arms": arms,
        }
        self._add_plot(
            "trace",
            data,
            "Where the gradient passes",
            "How far a neuron's membrane is above the threshold (z = 0, dashed) before its reset; "
            "its spikes are at the top. Shaded: σ' along z. The slider changes the surrogate; "
            "spikes never depend on it.",
            '<div class="controls"><select aria-label="surrogate"></select>'
            '<input type="range" min="0" step="1" aria-label="parameter"><output></output></div>'
            '<svg role="img" aria-label="z and derivative"></svg><p class="reached"></p>',
        )

    def add_courses(self, courses: Courses, text: str = "One line per seed.") -> None:
        """Add quantities over epochs, one line per run.

        Args:
            courses: The values.
            text: Explanation above the plot.
        """
        data = {
            quantity: {
                arm: [
                    _numbers(torch.tensor(run, dtype=torch.float64).nan_to_num(0, 0, 0))
                    for run in runs
                ]
                for arm, runs in arms.items()
            }
            for quantity, arms in courses.items()
        }
        self._add_plot(
            "courses",
            data,
            "Course of the runs",
            text,
            '<div class="controls"><select aria-label="quantity"></select></div>'
            '<div class="keys"></div><svg role="img" aria-label="quantity over epochs"></svg>',
        )

    def write(self, path: Path) -> None:
        """Write the page; it is complete or absent, even if the process is killed."""
        package = files("nwavesdk.train.report")
        headline = script = ""
        if self.headline is not None:
            value, name = map(_html, self.headline)
            headline = f'<p class="headline">{value} <small>{name}</small></p>'
        if self._needs_script:
            # "</" would end the script element, wherever it is inside of the JSON.
            data = json.dumps(self._plot_data, allow_nan=False).replace("</", "<\\/")
            script = (
                f'<script type="application/json" id="data">{data}</script>\n'
                f"<script>\n{package.joinpath('page.js').read_text('utf-8')}</script>"
            )
        html = Template(package.joinpath("page.html").read_text("utf-8")).substitute(
            title=_html(self.title),
            headline=headline,
            summary=_html(self.summary),
            body="\n".join(self._body),
            script=script,
        )
        write_atomically(path, html.encode())

    def _add_plot(self, name: str, data: Any, heading: str, text: str, elements: str) -> None:
        """Add a section that the function `name` of `page.js` draws from `data`."""
        self._needs_script = True
        self._plot_data[name] = data
        self._body.append(
            f'<section data-plot="{name}"><h2>{_html(heading)}</h2>'
            f"<p>{_html(text)}</p>{elements}</section>"
        )


def _parameter_names(surrogate: Surrogate) -> list[str]:
    return [f.name for f in fields(surrogate)]  # type: ignore[arg-type]  # surrogates of the catalogue are dataclasses


def _slider_settings(surrogate: Surrogate) -> list[Surrogate]:
    """The surrogate with its first parameter multiplied by each factor; alone if it has none."""
    names = _parameter_names(surrogate)
    if not names:
        return [surrogate]
    value = getattr(surrogate, names[0])
    return [replace(surrogate, **{names[0]: value * factor}) for factor in SLIDER_FACTORS]  # type: ignore[type-var]  # as above


def _label(surrogate: Surrogate) -> str:
    return ", ".join(
        f"{name} = {getattr(surrogate, name):.3g}" for name in _parameter_names(surrogate)
    )


def _numbers(values: Tensor) -> list[float]:
    return [float(f"{v:.5g}") for v in values.detach().double().tolist()]


def _html(text: str) -> str:
    """A text as HTML; what a reader could not see is escaped, such as letters that turn a line."""
    return escape("\n".join(map(printable, text.split("\n"))))


def _cell(value: str | int | float) -> str:
    if isinstance(value, str):
        return f"<td{' class=long' if len(value) > LONG_TEXT else ''}>{_html(value)}</td>"
    if math.isnan(value):
        return '<td class="number" data-value=""></td>'
    text = str(value) if isinstance(value, int) else f"{value:.4f}"
    return f'<td class="number" data-value="{value}">{text}</td>'
