"""What `nwave slopes` tells: one object, and the same for the eye."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nwavesdk.lab.run_batch import RunBatch
from nwavesdk.lab.slopes.advice import Advice, percent
from nwavesdk.lab.slopes.grid import told
from nwavesdk.lab.slopes.scan import SlopeScan, measure
from nwavesdk.lab.slopes.tape import Tape
from nwavesdk.surrogate import Surrogate

__all__ = ["SlopeReport"]

RECOMMENDED = "recommended"


@dataclass(frozen=True, eq=False)
class SlopeReport:
    """A scan, what follows from it, and what that gives when it is measured in turn.

    Attributes:
        scan: Of the candidates.
        advice: By layer.
        checked: A scan of the one candidate that is recommended.
        loss: Of the batch.
        seconds: What pass and scan took.
    """

    scan: SlopeScan
    advice: tuple[Advice, ...]
    checked: SlopeScan
    loss: float
    seconds: float

    @classmethod
    def of(
        cls, batch: RunBatch, surrogates: Sequence[Surrogate] | None = None, kind: type[Surrogate] | None = None
    ) -> "SlopeReport":
        """Scan a run's batch.

        Args:
            batch: Net, input, loss.
            surrogates: Candidates for all layers, beside the net as it is. [the default grid]
            kind: Of what class the recommendation is. [that of the net's own surrogates]
        """
        began = time.perf_counter()
        tape = Tape(batch.net, batch.x, batch.loss, batch.chip)
        if surrogates is not None:
            own = tape.surrogates
            surrogates = [*dict.fromkeys([*surrogates, *([own[0]] if len({*own}) == 1 else [])])]
        scan = measure(tape, surrogates)
        seconds = time.perf_counter() - began
        advice = scan.recommend(kind)
        checked = measure(tape, {RECOMMENDED: [one.surrogate for one in advice]})
        return cls(scan, advice, checked, tape.loss.item(), seconds)

    def as_json(self) -> dict[str, Any]:
        """All numbers; null stands for what is not defined."""
        scan = self.scan
        return {
            "layers": list(scan.layers),
            "rates": list(scan.rates),
            "loss": self.loss,
            "usable_floor": scan.floor,
            "seconds": self.seconds,
            "candidates": [_candidate(scan, row) for row in range(len(scan.candidates))],
            RECOMMENDED: {**_candidate(self.checked, 0), "advice": [_advice(one) for one in self.advice]},
        }

    def lines(self) -> list[str]:
        """A table of what of the last layer's gradient reaches each layer, and the reasons."""
        scan, L = self.scan, len(self.scan.layers)
        heads = [f"layer {k}" for k in range(1, L)] + ["last, norm", "usable, least"]
        names = [*scan.candidates, RECOMMENDED]
        width = max(map(len, names)) + 2
        table = [" " * width + "".join(head.rjust(15 if "," in head else 10) for head in heads)]
        rows = [*((scan, row) for row in range(len(scan.candidates))), (self.checked, 0)]
        for name, (source, row) in zip(names, rows, strict=True):
            last = float(source.norm[row, -1])
            shares = [percent(float(norm) / last) if last else "none" for norm in source.norm[row, :-1]]
            mark = " *" if source is scan and row == scan.own_row else ""
            numbers = f"{last:>15.3g}" + f"{100 * source.usable[row].min():.0f} %".rjust(15)
            table.append((name + mark).ljust(width) + "".join(share.rjust(10) for share in shares) + numbers)
        what = [
            "What of the last layer's gradient reaches each layer, as norms of ∂L/∂charge; * is the net as it is.",
            f"Usable: neurons that get at least {scan.floor:g} of what one of the last gets; the layer with least.",
        ]
        return [*table, *what, "", *(f"{told(one.surrogate)}: {one.reason}" for one in self.advice)]


def _candidate(scan: SlopeScan, row: int) -> dict[str, Any]:
    return {
        "name": scan.candidates[row],
        "surrogates": [told(surrogate) for surrogate in scan.surrogates[row]],
        "norm": scan.norm[row].tolist(),
        "by_time": scan.by_time[row].tolist(),
        "usable": scan.usable[row].tolist(),
        "transfer": [_number(value) for value in scan.transfer[row]],
        "ratio": _number(scan.ratio[row]),
    }


def _advice(one: Advice) -> dict[str, Any]:
    numbers = {name: _number(getattr(one, name)) for name in ("share", "share_now", "transfer", "usable")}
    return {"layer": one.layer, "surrogate": told(one.surrogate), **numbers, "reason": one.reason}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
