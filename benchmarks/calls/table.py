"""The table of calls: ratios of our time to others, with targets, and the table of live input."""

from collections.abc import Mapping
from typing import Any

from benchmarks.calls.cases import targets_of
from benchmarks.instrument import difference_text
from benchmarks.peers import NAMES

ORIGIN = (
    "Medians of {runs} or more interleaved runs, and of our time over the time of others in each "
    "run; quartiles in brackets. Peers run step by step as their users write it, uncompiled."
)
STEPWISE_HEAD = ["call", "ours, ms", *(f"× {name}" for name in NAMES), "× plain torch", "target"]
HEAD = ["call", "ours, ms", "× other", "target"]
LIVE_HEAD = ["live", "first, ms", "p50, ms", "p99, ms", "steps/s", "× real time"]

Row = dict[str, Any]


def tables_of(section: Mapping[str, Any]) -> list[list[list[str]]]:
    """Return the tables of a section that have rows, each with its head first."""
    rows = section["rows"]
    live = [line for row in rows if "live" in row for line in live_lines(row)]
    stepwise = [stepwise_cells(row) for row in rows if "calls" in row and "peers" in row]
    others = [call_cells(row) for row in rows if "calls" in row and "peers" not in row]
    tables = ((STEPWISE_HEAD, stepwise), (HEAD, others), (LIVE_HEAD, live))
    return [[head, *lines] for head, lines in tables if lines]


def origin_of(section: Mapping[str, Any]) -> str:
    """Return how the numbers of a section were measured."""
    runs = [row["times_ms"]["ours"]["runs"] for row in section["rows"] if row.get("times_ms")]
    return ORIGIN.format(runs=min(runs, default=0))


def stepwise_cells(row: Row) -> list[str]:
    """Return the cells of one line of the table with peers."""
    if not row["parity"]["agrees"]:
        return _without_number(row)
    peers = [_peer_text(row, name) for name in (*NAMES, "torch")]
    return [*_start(row), *peers, _target_text(row)]


def call_cells(row: Row) -> list[str]:
    """Return the cells of one line of the table without peers."""
    if not row["parity"]["agrees"]:
        return _without_number(row)
    ratios = ", ".join(f"{_ratio_text(row, name)} {name}" for name in row["ratios"])
    return [*_start(row), ratios, _target_text(row)]


def live_lines(row: Row) -> list[list[str]]:
    """Return the cells of a line for each net that ran the recording."""
    if not row["parity"]["agrees"]:
        return [_without_number(row)]
    return [
        [
            f"{_title(row)} {name}",
            *(f"{numbers[key]:.3g}" for key in ("first_ms", "p50_ms", "p99_ms")),
            *(f"{numbers[key]:.0f}" for key in ("steps_per_s", "real_time")),
        ]
        for name, numbers in row["live"].items()
    ]


def over(row: Row, other: str) -> float:
    """Return our time over the time of another library: the median of runs in pairs."""
    return float(1 / row["ratios"][other]["median"])


def _title(row: Row) -> str:
    return str(row["name"]).partition("/")[2]


def _without_number(row: Row) -> list[str]:
    return [_title(row), f"differs from the reference ({difference_text(row)}): no number"]


def _start(row: Row) -> list[str]:
    """The name and our time, which is the time of one step where steps are timed."""
    return [_title(row), f"{row['times_ms']['ours']['median'] / row['calls']:.3g}"]


def _peer_text(row: Row, name: str) -> str:
    if name in row["ratios"]:
        return _ratio_text(row, name)
    parity = row["peers"].get(name)
    return "-" if parity is None else f"differs ({difference_text({'parity': parity})})"


def _ratio_text(row: Row, name: str) -> str:
    # The stored ratio is their time over ours.
    low, high = (1 / row["ratios"][name][key] for key in ("high", "low"))
    return f"{over(row, name):.2f} [{low:.2f}, {high:.2f}]"


def _target_text(row: Row) -> str:
    verdicts = []
    for name, bound in targets_of(row).items():
        if name not in row["ratios"]:
            verdict = "not measured"
        else:
            verdict = "met" if over(row, name) <= bound else "missed"
        verdicts.append(f"≤ {bound:g} {name} {verdict}")
    return ", ".join(verdicts) or "-"
