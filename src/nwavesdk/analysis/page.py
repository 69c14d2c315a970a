"""A page that needs no other: interactive curves, a membrane under a slider, tables that sort; dark and light."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import torch
from torch import Tensor

from nwavesdk.internal.files import write_atomically
from nwavesdk.surrogate import Surrogate

__all__ = ["Page"]

REACH, POINTS = 2.0, 401
LONG = 60
"""Letters from which on a cell is broken into lines."""
FACTORS = [2.0 ** (k / 4) for k in range(-16, 13)]
"""By what the slider multiplies a surrogate's first parameter."""


@dataclass
class Page:
    """What stands on a page, in the order in which it was added.

    Args:
        title: Of the page.
        summary: What it shows, in a sentence or two.
    """

    title: str
    summary: str
    _body: list[str] = field(default_factory=list)
    _data: dict[str, Any] = field(default_factory=dict)

    def curves(self, surrogates: Mapping[str, Surrogate]) -> None:
        """Derivatives of surrogates over z, with the forward step."""
        z = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
        rows = [
            {"name": name, "values": _numbers(s.derivative(z))} for name, s in surrogates.items()
        ]
        self._data["curves"] = {"z": _numbers(z), "rows": rows}
        self._section(
            "curves",
            "Surrogates",
            "What backward puts in place of the step's derivative. Grey dashes: the step, which forward always takes.",
            '<div class="keys"></div><svg role="img" aria-label="derivatives of the surrogates"></svg>'
            '<div class="controls"><label><input type="checkbox"> each relative to its peak</label></div>',
        )

    def trace(
        self,
        surrogates: Mapping[str, Surrogate],
        u: Tensor,
        spikes: Tensor,
        threshold: float,
        dt: float,
    ) -> None:
        """A membrane before reset [T] and where a gradient reaches it, under a slider over the first parameter.

        Args:
            surrogates: By name.
            u: Membrane before reset, [T].
            spikes: Its spikes, [T].
            threshold: Of the neuron.
            dt: Length of a step [s].
        """
        arms = []
        for name, surrogate in surrogates.items():
            settings = [
                {"label": _label(s), "derivative": _numbers(s.derivative(u.double() - threshold))}
                for s in _settings(surrogate)
            ]
            arms.append(
                {
                    "name": name,
                    "settings": settings,
                    "own": FACTORS.index(1.0) if len(settings) > 1 else 0,
                }
            )
        fired = spikes.nonzero().flatten().tolist()
        self._data["trace"] = {
            "dt": dt,
            "u": _numbers(u),
            "spikes": fired,
            "threshold": threshold,
            "arms": arms,
        }
        self._section(
            "trace",
            "Where the gradient passes",
            "A neuron's membrane before reset, its spikes on top, the threshold dashed. Shaded: σ' along the trace. "
            "The slider changes the surrogate; spikes never depend on it.",
            '<div class="controls"><select aria-label="surrogate"></select><input type="range" min="0" step="1" '
            'aria-label="slope"><output></output></div><svg role="img" aria-label="membrane and derivative"></svg>'
            '<p class="told"></p>',
        )

    def courses(self, courses: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> None:
        """Quantities over epochs: for each quantity and arm one line a run."""
        self._data["courses"] = {
            quantity: {
                arm: [[_finite(v) for v in run] for run in runs] for arm, runs in arms.items()
            }
            for quantity, arms in courses.items()
        }
        self._section(
            "courses",
            "How the runs went",
            "One line a seed.",
            '<div class="controls"><select aria-label="quantity"></select></div><div class="keys"></div>'
            '<svg role="img" aria-label="quantity over epochs"></svg>',
        )

    def table(
        self,
        heading: str,
        told: str,
        head: Sequence[str],
        rows: Sequence[Sequence[str | int | float]],
    ) -> None:
        """A table that sorts by a click on a column's head."""
        numeric = [
            bool(rows) and not isinstance(value, str) for value in (rows[0] if rows else head)
        ]
        cells = "".join(
            f'<th scope="col"{" class=number" * number}><button>{escape(name)}</button></th>'
            for name, number in zip(head, numeric, strict=True)
        )
        body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
        self._body.append(
            f"<h2>{escape(heading)}</h2><p>{escape(told)}</p>"
            f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        here = files("nwavesdk.analysis")
        data = json.dumps(self._data, allow_nan=False).replace("</", "<\\/")
        page = Template(here.joinpath("page.html").read_text("utf-8")).substitute(
            title=escape(self.title), summary=escape(self.summary), body="\n".join(self._body), data=data,
            script=here.joinpath("page.js").read_text("utf-8"),
        )  # fmt: skip
        write_atomically(path, page.encode())

    def _section(self, part: str, heading: str, told: str, inner: str) -> None:
        self._body.append(
            f'<section data-part="{part}"><h2>{escape(heading)}</h2><p>{escape(told)}</p>{inner}</section>'
        )


def _settings(surrogate: Surrogate) -> list[Surrogate]:
    """The surrogate with its first parameter multiplied by each of `FACTORS`; alone where it has none."""
    names = [f.name for f in fields(surrogate)]  # type: ignore[arg-type]  # surrogates of the catalogue are dataclasses
    if not names:
        return [surrogate]
    own = getattr(surrogate, names[0])
    return [replace(surrogate, **{names[0]: own * factor}) for factor in FACTORS]  # type: ignore[type-var]  # as above


def _label(surrogate: Surrogate) -> str:
    told = [f"{f.name} = {getattr(surrogate, f.name):.3g}" for f in fields(surrogate)]  # type: ignore[arg-type]  # as above
    return ", ".join(told)


def _numbers(values: Tensor) -> list[float]:
    return [float(f"{v:.5g}") for v in values.detach().double().tolist()]


def _finite(value: float) -> float:
    return float(f"{value:.5g}") if math.isfinite(value) else 0.0


def _cell(value: str | int | float) -> str:
    if isinstance(value, str):
        return f"<td{' class=long' * (len(value) > LONG)}>{escape(value)}</td>"
    told = str(value) if isinstance(value, int) else "" if math.isnan(value) else f"{value:.4f}"
    return f'<td class="number" data-value="{"" if math.isnan(value) else value}">{told}</td>'
