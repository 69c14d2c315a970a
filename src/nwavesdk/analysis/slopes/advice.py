"""Which surrogates are compared: the default grid, and what they are called.

Which surrogate each layer should have, and why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwavesdk.surrogate import ATan, FastSigmoid, Sigmoid, Surrogate, available

if TYPE_CHECKING:
    from nwavesdk.analysis.slopes.scan import SlopeScan

__all__ = [
    "Advice",
    "Candidate",
    "Candidates",
    "advise",
    "default_grid",
    "name_candidates",
    "percent",
    "surrogate_label",
]

Candidate = Surrogate | Sequence[Surrogate]
"""One surrogate for all layers, or one a layer."""

Candidates = Mapping[str, Candidate] | Sequence[Candidate]

SLOPES = (1.0, 2.0, 4.0, 8.0, 16.0, 25.0, 50.0, 100.0)
ALPHAS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def default_grid() -> tuple[Surrogate, ...]:
    """Fast sigmoids, arctangents and sigmoids, from gentle to steep.

    Example:
        >>> len(default_grid())
        22
    """
    return (*map(FastSigmoid, SLOPES), *map(ATan, ALPHAS), *map(Sigmoid, SLOPES))


def surrogate_label(surrogate: Surrogate) -> str:
    """The surrogate as `parse` reads it, where it is one of the catalogue.

    Example:
        >>> surrogate_label(FastSigmoid(25.0))
        'fast_sigmoid(slope=25)'
    """
    name = next((name for name, kind in available().items() if kind is type(surrogate)), None)
    if name is None or not is_dataclass(surrogate):
        return repr(surrogate)
    values = {field.name: getattr(surrogate, field.name) for field in fields(surrogate)}
    parameters = (
        f"{key}={v:g}" if isinstance(v, float) else f"{key}={v!r}" for key, v in values.items()
    )
    return f"{name}({', '.join(parameters)})"


def name_candidates(
    candidates: Candidates | None, own: Sequence[Surrogate]
) -> dict[str, tuple[Surrogate, ...]]:
    """The candidates by name, each as one surrogate a layer.

    Args:
        candidates: As given; None: the default grid, and the net's own surrogates where they are not in it.
        own: The net's own, by layer.

    Raises:
        ValueError: There is none, two have one name, or one has another number of surrogates than there are layers.
        TypeError: One is no surrogate.
    """
    layers, given = len(own), candidates
    if given is None:
        alike = own[0] if len({*own}) == 1 else tuple(own)
        given = [*default_grid(), *([] if alike in default_grid() else [alike])]
    pairs = given.items() if isinstance(given, Mapping) else [(_name(one), one) for one in given]
    found: dict[str, tuple[Surrogate, ...]] = {}
    for name, one in pairs:
        chosen = (one,) * layers if isinstance(one, Surrogate) else tuple(one)
        for surrogate in chosen:
            if not isinstance(surrogate, Surrogate):
                raise TypeError(
                    f"a candidate is a surrogate, or one a layer, got {surrogate!r} in {name!r}."
                )
        if len(chosen) != layers:
            raise ValueError(
                f"candidate {name!r} has {len(chosen)} surrogates, the net has {layers} neuron layers."
            )
        if name in found:
            raise ValueError(
                f"there are two candidates {name!r}: give them as a dict with names of their own."
            )
        found[name] = chosen
    if not found:
        raise ValueError("there is no candidate: give at least one surrogate.")
    return found


def _name(candidate: Candidate) -> str:
    if isinstance(candidate, Surrogate):
        return surrogate_label(candidate)
    return " | ".join(
        surrogate_label(one) if isinstance(one, Surrogate) else repr(one) for one in candidate
    )


@dataclass(frozen=True)
class Advice:
    """What one layer should have.

    Attributes:
        layer: Its name in the net.
        surrogate: For it.
        share: What of the last layer's gradient reaches it when all layers have that surrogate.
        share_now: The same with the net as it is; NaN where that was no candidate.
        transfer: What of the gradient of the layer above reaches it with that surrogate; NaN for the last layer.
        usable: Share of its neurons with a usable gradient with that surrogate, see `SlopeScan.usable`.
        reason: In words.
    """

    layer: str
    surrogate: Surrogate
    share: float
    share_now: float
    transfer: float
    usable: float
    reason: str


def advise(scan: "SlopeScan", kind: type[Surrogate] | None = None) -> tuple[Advice, ...]:
    """A surrogate for each layer, from the candidates that have one surrogate of the class in all layers.

    The rule: *of the surrogates with which at least as much gradient reaches the layer as the one above it has, the one
    with which it grows least; where none lets as much through, the one that lets most through.* So the gradient neither
    vanishes on its way down nor grows more than the grid makes it. The last layer, which has none above it, takes what
    the one below it takes; a net of one layer keeps its own.

    Args:
        scan: What was measured.
        kind: Of which class; None: that of the net's own surrogate in each layer.

    Raises:
        ValueError: No candidate is of that class for all layers.
    """
    last = len(scan.layers) - 1
    rows = [_best(scan, layer, kind or type(scan.own[layer])) for layer in range(last)]
    found = [_advice(scan, layer, row) for layer, row in enumerate(rows)]
    return (*found, _last(scan, last, rows[-1] if rows else None, kind))


def _rows(scan: "SlopeScan", kind: type[Surrogate]) -> list[int]:
    """Candidates with one surrogate of the class in all layers."""
    rows = [
        row
        for row, chosen in enumerate(scan.surrogates)
        if type(chosen[0]) is kind and len({*chosen}) == 1
    ]
    if not rows:
        raise ValueError(
            f"no candidate is a {kind.__name__} for all layers: add some to the grid, or choose a kind of those there."
        )
    return rows


def _best(scan: "SlopeScan", layer: int, kind: type[Surrogate]) -> int:
    rows = _rows(scan, kind)
    passed = np.nan_to_num(scan.transfer[rows, layer], nan=0.0, posinf=0.0)
    enough = np.flatnonzero(passed >= 1)
    place = enough[passed[enough].argmin()] if len(enough) else passed.argmax()
    return rows[int(place)]


def _advice(scan: "SlopeScan", layer: int, row: int) -> Advice:
    now = scan.own_row
    surrogate, transfer = scan.surrogates[row][layer], float(scan.transfer[row, layer])
    share, own = _share(scan, row, layer), scan.own[layer]
    share_now = float("nan") if now is None else _share(scan, now, layer)
    subject = f"layer {layer + 1} receives"
    if now is None or surrogate == own:
        keeps = " as it has it now" if surrogate == own else ""
        what = f"{subject} {percent(share)} of the last layer's gradient at {surrogate_label(surrogate)}{keeps}"
    else:
        what = (
            f"{subject} {percent(share_now)} of the last layer's gradient at {surrogate_label(own)}, {percent(share)} at "
            f"{surrogate_label(surrogate)}"
        )
    if transfer >= 1:
        why = "of the candidates that let nothing get lost, it is the one that lets the gradient grow least"
    elif transfer > 0:
        why = "with every candidate some is lost, and with this one least"
    else:
        why = "nothing comes through with any candidate: look for silent layers (nwave diagnose)"
    reason = f"{what}; there it gets {percent(transfer)} of what layer {layer + 2} has: {why}."
    return Advice(
        scan.layers[layer],
        surrogate,
        share,
        share_now,
        transfer,
        float(scan.usable[row, layer]),
        reason,
    )


def _last(scan: "SlopeScan", layer: int, below: int | None, kind: type[Surrogate] | None) -> Advice:
    """The last layer: its gradient comes from the loss, and no slope lets more or less of it through to others."""
    row = _rows(scan, kind or type(scan.own[layer]))[0] if below is None else below
    surrogate = scan.own[layer] if below is None else scan.surrogates[below][layer]
    what = (
        "is the only one and keeps its own" if below is None else f"takes what layer {layer} takes"
    )
    reason = f"layer {layer + 1}, the last, {what}: its gradient is that of the loss, and there is none above it."
    now = float("nan") if scan.own_row is None else 1.0
    return Advice(
        scan.layers[layer],
        surrogate,
        1.0,
        now,
        float("nan"),
        float(scan.usable[row, layer]),
        reason,
    )


def _share(scan: "SlopeScan", row: int, layer: int) -> float:
    most = float(scan.norm[row, -1])
    return float(scan.norm[row, layer]) / most if most else float("nan")


def percent(share: float) -> str:
    """A share for the eye; from the double on as a factor.

    Example:
        >>> percent(0.0031), percent(1.25), percent(54.3)
        ('0.31 %', '125 %', '54 ×')
    """
    if share >= 2:
        return f"{share:.3g} ×" if share >= 1000 else f"{share:.2g} ×"
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"
