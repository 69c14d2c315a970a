"""The table of calls: our time over that of others, with targets, and the table of live input."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.calls.cases import targets_of
from benchmarks.peers import NAMES
from nwavesdk.analysis.bench import difference_text

ORIGIN = (
    "Least of {runs} interleaved runs, and our time over that of others; in brackets quartiles of "
    "this ratio in pairs of runs. Peers run step by step as their users write it, uncompiled."
)
HEAD = ["call", "ours, ms", *(f"× {name}" for name in NAMES), "× other", "target"]
LIVE_HEAD = ["live", "first, ms", "p50, ms", "p99, ms", "steps/s", "× real time"]


def call_rows(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the table of all rows but live input, its head first; empty if there is none."""
    lines = [call_cells(row) for row in rows if "live" not in row]
    return [HEAD, *lines] if lines else []


def call_cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of one line; the time is that of one step where steps are timed."""
    title = row["name"].partition("/")[2]
    if not row["parity"]["agrees"]:
        return [title, f"differs from the reference ({difference_text(row)}): no number"]
    time = row["least_ms"]["ours"] / row["calls"]
    others = [name for name in row["ratios"] if name not in NAMES]
    return [
        title,
        f"{time:.3g}",
        *(_peer_text(row, name) for name in NAMES),
        ", ".join(f"{over(row, name):.2f} {name}" for name in others),
        ", ".join(_verdict(row, name, bound) for name, bound in targets_of(row).items()) or "-",
    ]


def over(row: dict[str, Any], other: str) -> float:
    """Return our least time over that of another."""
    least = row["least_ms"]
    return float(least["ours"] / least[other])


def live_rows(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the table of live input, its head first; empty if it was not measured."""
    lines = [line for row in rows if "live" in row for line in _live_lines(row)]
    return [LIVE_HEAD, *lines] if lines else []


def origin_of(section: Mapping[str, Any]) -> str:
    """Return how the numbers of a section were measured."""
    runs = [row["times_ms"]["ours"]["runs"] for row in section["rows"] if row.get("times_ms")]
    return ORIGIN.format(runs=min(runs, default=0))


def tables_of(section: Mapping[str, Any]) -> list[list[list[str]]]:
    """Return the tables of a section that have rows."""
    tables = (call_rows(section["rows"]), live_rows(section["rows"]))
    return [cells for cells in tables if cells]


def _live_lines(row: dict[str, Any]) -> list[list[str]]:
    title = row["name"].partition("/")[2]
    if not row["parity"]["agrees"]:
        return [[title, f"differs from the reference ({difference_text(row)}): no number"]]
    return [
        [
            f"{title} {name}",
            *(f"{numbers[key]:.3g}" for key in ("first_ms", "p50_ms", "p99_ms")),
            *(f"{numbers[key]:.0f}" for key in ("steps_per_s", "real_time")),
        ]
        for name, numbers in row["live"].items()
    ]


def _peer_text(row: dict[str, Any], name: str) -> str:
    if name in row["ratios"]:
        return f"{over(row, name):.2f}"
    share = row.get("spikes_differ", {}).get(name)
    return "-" if share is None else f"{share:.1%} other spikes"


def _verdict(row: dict[str, Any], name: str, bound: float) -> str:
    if name not in row["ratios"]:
        return f"≤ {bound:g} {name} not measured"
    verdict = "met" if over(row, name) <= bound else "missed"
    # Our time over theirs is the inverse of the stored ratio.
    low, high = (1 / row["ratios"][name][key] for key in ("high", "low"))
    return f"{over(row, name):.2f} [{low:.2f}, {high:.2f}] ≤ {bound:g} {name} {verdict}"
