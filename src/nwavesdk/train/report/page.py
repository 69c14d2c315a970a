"""Self-contained HTML pages: facts, pictures, sortable tables, interactive plots; dark and light.

A page is data: the classes here hold numbers, texts and functions that draw. The template
`page.html` has all of the HTML, the script `page.js` draws the plots. A page is one file that needs
neither a library nor the network. torch computes the derivatives of surrogates, so the script does
not repeat their formulas.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch import Tensor

from nwavesdk.internal.files import printable, write_atomically
from nwavesdk.plot.theme import DARK, LIGHT, Draw, render_png
from nwavesdk.surrogate import Surrogate

__all__ = [
    "SLIDER_FACTORS",
    "Card",
    "CellValue",
    "Details",
    "FactList",
    "Picture",
    "Plot",
    "ReportPage",
    "Section",
    "Table",
    "course_plot",
    "gradient_plot",
    "surrogate_plot",
]

# Derivatives are drawn for z from `-CURVE_REACH` to `CURVE_REACH`.
CURVE_REACH = 2.0
CURVE_POINTS = 401
# Factors by which the slider multiplies the first parameter of a surrogate.
SLIDER_FACTORS = [2.0 ** (k / 4) for k in range(-16, 13)]

CellValue = str | int | float
# For each quantity and each arm of a study: one list of values, one per epoch, for each run.
Courses = Mapping[str, Mapping[str, Sequence[Sequence[float]]]]


@dataclass(frozen=True)
class Card:
    """A card in the summary of a page: a name, a number, and a sentence."""

    name: str
    value: str
    text: str


@dataclass(frozen=True)
class FactList:
    """Texts by name."""

    facts: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table; a click on the name of a column sorts it.

    Args:
        heading: Heading of the table.
        text: Explanation above the table.
        columns: Name of each column.
        rows: Cells; a column holds either texts or numbers.
    """

    heading: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[CellValue]]


@dataclass(frozen=True)
class Picture:
    """A picture, which is also a file `pictures/{name}.png` next to the page.

    Args:
        name: Name of the file.
        caption: Text below the picture.
        draw: Draws it in the colors of a theme.
    """

    name: str
    caption: str
    draw: Draw


@dataclass(frozen=True)
class Details:
    """Preformatted text that is shown after a click on its heading."""

    heading: str
    text: str


@dataclass(frozen=True)
class Plot:
    """A plot that a function in `page.js` draws; a page has at most one plot of each name.

    Args:
        name: Name of the function.
        heading: Heading of the plot.
        text: Explanation above the plot.
        data: The data of the function, as JSON.
    """

    name: Literal["curves", "trace", "courses"]
    heading: str
    text: str
    data: Any


Section = FactList | Table | Picture | Details | Plot


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """The content of a page.

    Args:
        title: Title of the page.
        summary: One or two sentences on the content of the page.
        sections: All content below the summary, in this order.
        headline: A number in large type, and its name.
        cards: Numbers next to each other, between the summary and the sections.
    """

    title: str
    summary: str
    sections: Sequence[Section]
    headline: tuple[str, str] | None = None
    cards: Sequence[Card] = ()

    def write(self, path: Path) -> None:
        """Write the pictures, then the page; it is complete or absent, even after a kill."""
        images = {}
        for section in self.sections:
            if isinstance(section, Picture):
                light, dark = (render_png(section.draw, theme) for theme in (LIGHT, DARK))
                write_atomically(path.parent / "pictures" / f"{section.name}.png", light)
                images[section.name] = [base64.b64encode(png).decode() for png in (light, dark)]

        html = TEMPLATES.get_template("page.html").render(
            page=self,
            sections=[(type(section).__name__, section) for section in self.sections],
            images=images,
            plots={plot.name: plot.data for plot in self.sections if isinstance(plot, Plot)},
        )
        write_atomically(path, html.encode())


def surrogate_plot(surrogates: Mapping[str, Surrogate]) -> Plot:
    """The derivatives of surrogates over z, with the forward step."""
    z = torch.linspace(-CURVE_REACH, CURVE_REACH, CURVE_POINTS, dtype=torch.float64)
    curves = [
        {"name": name, "values": _numbers(surrogate.derivative(z))}
        for name, surrogate in surrogates.items()
    ]
    return Plot(
        "curves",
        "Surrogates",
        "The derivative that the backward pass uses instead of the derivative of the step. "
        "Gray dashes: the step, which the forward pass always takes.",
        {"z": _numbers(z), "curves": curves},
    )


def gradient_plot(
    surrogates: Mapping[str, Surrogate], z: Tensor, spikes: Tensor, dt: float
) -> Plot:
    """The z of a neuron over time, with the derivative of each surrogate along it.

    A slider changes the first parameter of the surrogate.

    Args:
        surrogates: Surrogates by name.
        z: Argument of the spike, `[T]`: the membrane before reset minus the threshold.
        spikes: Spikes, `[T]`.
        dt: Time step [s].
    """
    data = {
        "dt": dt,
        "z": _numbers(z),
        "spikes": spikes.nonzero().flatten().tolist(),
        "arms": [_slider(name, surrogate, z) for name, surrogate in surrogates.items()],
    }
    return Plot(
        "trace",
        "Where the gradient passes",
        "How far a neuron's membrane is above the threshold (z = 0, dashed) before its reset; "
        "its spikes are at the top. Shaded: σ' along z. The slider changes the surrogate; "
        "spikes never depend on it.",
        data,
    )


def _slider(name: str, surrogate: Surrogate, z: Tensor) -> dict[str, Any]:
    """A surrogate with its first parameter multiplied by each factor; unchanged without one."""
    variants, start = [surrogate], 0
    for parameter, value in list(surrogate.parameters.items())[:1]:
        variants = [replace(surrogate, **{parameter: value * k}) for k in SLIDER_FACTORS]  # type: ignore[type-var]  # a surrogate with parameters is a dataclass
        start = SLIDER_FACTORS.index(1.0)

    settings = [
        {
            "label": ", ".join(f"{key} = {value:.3g}" for key, value in variant.parameters.items()),
            "derivative": _numbers(variant.derivative(z.double())),
        }
        for variant in variants
    ]
    return {"name": name, "settings": settings, "start": start}


def course_plot(courses: Courses, text: str = "One line per seed.") -> Plot:
    """Quantities over epochs, one line per run.

    Args:
        courses: The values.
        text: Explanation above the plot.
    """
    data = {
        quantity: {arm: [_numbers(run) for run in runs] for arm, runs in arms.items()}
        for quantity, arms in courses.items()
    }
    return Plot("courses", "Course of the runs", text, data)


def _numbers(values: Tensor | Sequence[float]) -> list[float]:
    """Numbers with five digits, enough for a plot; 0 in place of numbers that are not finite."""
    finite = torch.as_tensor(values, dtype=torch.float64).nan_to_num(0, 0, 0)
    return [float(f"{value:.5g}") for value in finite.tolist()]


def _visible(value: object) -> object:
    """A text without invisible letters, such as letters that change the direction of a line."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return "\n".join(map(printable, value.split("\n")))
    return value


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=_visible,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.policies["json.dumps_kwargs"] = {"allow_nan": False}
