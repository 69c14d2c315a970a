"""One benchmark: parity first, then times in turn, then ratios."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nwavesdk.lab.bench.parity import Outcome, compare
from nwavesdk.lab.bench.timing import RUNS, Spread, ratios, time_in_turn

__all__ = ["Contender", "measure"]


@dataclass(frozen=True, eq=False)
class Contender:
    """Something of ours to time, and the reference that it must agree with."""

    call: Callable[[], Outcome]
    reference: Callable[[], Outcome]


def measure(
    ours: Mapping[str, Contender], others: Mapping[str, Callable[[], object]], runs: int = RUNS
) -> list[dict[str, Any]]:
    """Rows of a table: each of ours against all others, measured in the same runs.

    Args:
        ours: Contenders by the name of their row.
        others: What to compare with, by name.
        runs: Numbers for each median.

    Returns:
        For each contender `name`, `parity`, `times_ms` (`ours` and the others) and `ratios` (how many times longer
        each other one takes). A contender that differs from its reference has neither times nor ratios.
    """
    parities = {name: compare(contender.call, contender.reference) for name, contender in ours.items()}
    green = {f"ours {name}": ours[name].call for name, parity in parities.items() if parity.agrees}
    samples = time_in_turn({**green, **others}, runs) if green else {}
    rows: list[dict[str, Any]] = []
    for name, parity in parities.items():
        row: dict[str, Any] = {"name": name, "parity": parity.as_json(), "times_ms": {}, "ratios": {}}
        if parity.agrees:
            mine = samples[f"ours {name}"]
            row["times_ms"] = {"ours": Spread.of(mine).as_json()}
            row["times_ms"] |= {other: Spread.of(samples[other]).as_json() for other in others}
            row["ratios"] = {other: ratios(samples[other], mine).as_json() for other in others}
        rows.append(row)
    return rows
