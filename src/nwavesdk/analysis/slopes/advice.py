"""The rule that recommends a surrogate for each layer, from a scan."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwavesdk.analysis.slopes.candidates import surrogate_label
from nwavesdk.surrogate import Surrogate

if TYPE_CHECKING:
    from nwavesdk.analysis.slopes.scan import SlopeScan

__all__ = ["Advice", "percent", "recommend_surrogates"]


@dataclass(frozen=True)
class Advice:
    """The recommendation for one layer.

    Attributes:
        layer: Name of the layer in the net.
        surrogate: The recommended surrogate.
        share: Norm of the gradient in this layer as a multiple of that in the last layer, when all
            layers have the recommended surrogate.
        share_now: The same with the net's present surrogates; NaN if they were not a candidate.
        transfer: Norm as a multiple of that in the next layer, when all layers have the recommended
            surrogate; NaN for the last layer.
        usable: Share of its neurons with a usable gradient under that surrogate; see
            `SlopeScan.usable`.
        reason: The reason in words.
    """

    layer: str
    surrogate: Surrogate
    share: float
    share_now: float
    transfer: float
    usable: float
    reason: str


def recommend_surrogates(
    scan: "SlopeScan", kind: type[Surrogate] | None = None
) -> tuple[Advice, ...]:
    """A surrogate for each layer, from the candidates with one surrogate of a class in all layers.

    The rule: *Of the surrogates under which the layer gets at least as much gradient as the next
    one, take the one under which the gradient grows least. If there is none, take the one that
    loses least.* So the gradient neither vanishes on its way to the first layer nor grows more than
    the grid makes it. The last layer has no next one, so it takes the surrogate of the layer before
    it. A net of one layer keeps its surrogate.

    Args:
        scan: The scan.
        kind: Class of the surrogates to choose from. [in each layer, that of the net]

    Raises:
        ValueError: If no candidate has this class in all layers.
    """
    last = len(scan.layers) - 1
    rows = [_best_row(scan, layer, kind or type(scan.current[layer])) for layer in range(last)]
    advice = [_advice(scan, layer, row) for layer, row in enumerate(rows)]
    return (*advice, _last_advice(scan, rows[-1] if rows else None, kind))


def _candidate_rows(scan: "SlopeScan", kind: type[Surrogate]) -> list[int]:
    rows = scan.uniform_rows(kind)
    if not rows:
        raise ValueError(
            f"no candidate is a {kind.__name__} in all layers: add one, or choose another kind."
        )
    return rows


def _best_row(scan: "SlopeScan", layer: int, kind: type[Surrogate]) -> int:
    """The candidate that the rule takes for a layer."""
    rows = _candidate_rows(scan, kind)
    transfer = np.nan_to_num(scan.transfer[rows, layer], nan=0.0, posinf=0.0)
    lossless = np.flatnonzero(transfer >= 1)
    best = lossless[transfer[lossless].argmin()] if len(lossless) else transfer.argmax()
    return rows[int(best)]


def _advice(scan: "SlopeScan", layer: int, row: int) -> Advice:
    surrogate = scan.surrogates[row][layer]
    current = scan.current[layer]
    transfer = float(scan.transfer[row, layer])
    share = _share_of_last(scan, row, layer)
    share_now = _share_of_last(scan, scan.current_row, layer)
    at = f"{percent(share)} of the last layer's gradient at {surrogate_label(surrogate)}"
    if surrogate == current:
        at += ", its present surrogate"
    elif scan.current_row is not None:
        at = (
            f"{percent(share_now)} of the last layer's gradient at {surrogate_label(current)}, "
            f"{percent(share)} at {surrogate_label(surrogate)}"
        )
    if transfer >= 1:
        why = "of the candidates without loss, this one lets the gradient grow least"
    elif transfer > 0:
        why = "every candidate loses some, and this one loses least"
    else:
        why = "no gradient arrives with any candidate: look for silent layers (nwave diagnose)"
    reason = (
        f"layer {layer + 1} receives {at}; this is {percent(transfer)} of the gradient in layer "
        f"{layer + 2}: {why}."
    )
    usable = float(scan.usable[row, layer])
    return Advice(scan.layers[layer], surrogate, share, share_now, transfer, usable, reason)


def _last_advice(scan: "SlopeScan", row_before: int | None, kind: type[Surrogate] | None) -> Advice:
    """The advice for the last layer, whose gradient comes from the loss whatever its surrogate."""
    if row_before is None:
        row = _candidate_rows(scan, kind or type(scan.current[-1]))[0]
        surrogate = scan.current[-1]
        text = "is the only one and keeps its surrogate"
    else:
        row = row_before
        surrogate = scan.surrogates[row][-1]
        text = f"takes the surrogate of layer {len(scan.layers) - 1}"
    reason = (
        f"layer {len(scan.layers)}, the last, {text}: its gradient is that of the loss, and no "
        "layer follows."
    )
    share_now = math.nan if scan.current_row is None else 1.0
    usable = float(scan.usable[row, -1])
    return Advice(scan.layers[-1], surrogate, 1.0, share_now, math.nan, usable, reason)


def _share_of_last(scan: "SlopeScan", row: int | None, layer: int) -> float:
    """Norm in a layer as a multiple of that in the last layer; NaN if it is not defined."""
    if row is None or not scan.norm[row, -1]:
        return math.nan
    return float(scan.norm[row, layer] / scan.norm[row, -1])


def percent(share: float) -> str:
    """A share for the eye; as a factor from 2 on.

    Example:
        >>> percent(0.0031), percent(1.25), percent(54.3)
        ('0.31 %', '125 %', '54 ×')
    """
    if share >= 2:
        return f"{share:.3g} ×" if share >= 1000 else f"{share:.2g} ×"
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"
