"""The table of results, as text for a terminal and as Markdown.

`python -m benchmarks.table` writes it from the JSON file into benchmarks/README.md.
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks import cases, delays, results
from benchmarks.calls import table as calls
from benchmarks.instrument import difference_text, load_warning
from benchmarks.peers import NAMES

BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
HEAD = [
    *("forward + backward", "ours, ms", *NAMES, "× the fastest as it comes", "× compiled"),
    *("lower bound, ms", "target"),
]
NEURON_HEAD = [
    "forward + backward",
    "states",
    "ours, ms",
    "× LIF",
    *("fastest peer as it comes, ms", "× as fast", "fastest compiled peer, ms", "× as fast"),
    *("bytes", "lower bound, ms", "target"),
]
README_SECTIONS = ("layer", "recurrent", "training")


def timed_cells(row: dict[str, Any], limits: dict[str, Any]) -> list[str]:
    """Return the cells of one line of the table of times."""
    title = row["name"].partition("/")[2] if row["name"].startswith("layer") else row["name"]
    if not row["parity"]["agrees"]:
        return [title, f"differs from the reference ({difference_text(row)}): no number"]
    times = row["times_ms"]
    return [
        title,
        _spread_text(times["ours"]),
        *(_peer_time(row, name) for name in NAMES),
        *(_ratio(row, form) for form in FORMS.values()),
        _number_text(row["floor_ms"]) if "floor_ms" in row else "-",
        _target_text(row, limits),
    ]


def neuron_cells(row: dict[str, Any], limits: dict[str, Any]) -> list[str]:
    """Return the cells of one line of the table of neurons."""
    title = row["name"].partition("/")[2]
    if not row["parity"]["agrees"]:
        return [title, f"differs from the reference ({difference_text(row)}): no number"]
    return [
        title,
        str(row["states"]),
        _spread_text(row["times_ms"]["ours"]),
        f"{1 / row['ratios']['LIF']['median']:.2f}",
        *_best_of(row, "eager"),
        *_best_of(row, "compiled"),
        f"{row['moved_bytes']}",
        _number_text(row["floor_ms"]) if "floor_ms" in row else "-",
        _target_text(row, limits),
    ]


def value_cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of one line of the table of memory and start-up."""
    at = f", {row['axis']} = {row['at']:g}" if "axis" in row else ""
    text = f"{row['value']:.3g} {row['unit']}" if "value" in row else ""
    if "contenders" in row:
        text = "; ".join(
            f"{name} {_contender_text(value)}" for name, value in row["contenders"].items()
        )
        text += f" {row['unit']}"
    target = cases.targets_of(row).get("value")
    if target is not None:
        text += f" (target ≤ {target:g}: {'met' if row['value'] <= target else 'missed'})"
    return [row["name"] + at, text]


def as_text(rows: list[list[str]]) -> str:
    """Align the columns; the second cell of a row of two takes the rest of the line."""
    full = [row for row in rows if len(row) > 2]
    widths = [max(len(row[k]) for row in full) for k in range(len(full[0]))] if full else [40]
    left = max([widths[0], *(len(row[0]) for row in rows)])
    lines = []
    for row in rows:
        rest = (
            [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
            if len(row) > 2
            else row[1:]
        )
        lines.append("  ".join([row[0].ljust(left), *rest]).rstrip())
    return "\n".join(lines)


def as_markdown(rows: list[list[str]]) -> str:
    """Return the rows as a Markdown table, the first one as its head."""
    width = len(rows[0])
    padded = [row + [""] * (width - len(row)) for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in padded]
    return "\n".join([lines[0], "|" + "---|" * width, *lines[1:]])


def readme_table(measured: dict[str, Any]) -> str:
    """Return the origin of the numbers and the table, for the place between the markers.

    Raises:
        ValueError: If nothing was measured yet.
    """
    sections = {
        name: measured["sections"][name] for name in README_SECTIONS if name in measured["sections"]
    }
    if not sections:
        raise ValueError(
            "there are no results for benchmarks/README.md: run `python -m benchmarks.run` first."
        )
    first = next(iter(sections.values()))
    run = first["run"]
    runs = [section["run"] for section in sections.values()]
    sources = sorted({(r["date"][:10], r["commit"][:9] + "+" * r["dirty"]) for r in runs})
    measured_rows = [row for section in sections.values() for row in section["rows"]]
    # Rows with learnable constants stay in the JSON; the table would be twice as long with them.
    rows = [HEAD] + [
        timed_cells(row, first["limits"])
        for row in measured_rows
        if not row["parity"]["agrees"] or "learnable" not in row["name"]
    ]
    versions = ", ".join(
        f"{name} {run['versions'][name]}" for name in ("torch", *NAMES) if name in run["versions"]
    )
    measured_at = "; ".join(f"{date}, commit {commit}" for date, commit in sources)
    origin = (
        f"`python -m benchmarks.run`, {measured_at}: {run['cpu']}, {run['threads']} threads; "
        f"{versions}; {describe_limits(first['limits'])}. "
        f"Medians of {_smallest_count(sections)} interleaved runs, quartiles in brackets; "
        "c: faster with torch.compile, in chunks of 10 steps; the ratios are to the fastest peer "
        "without and with it. "
        "Lower bound: a layer's bytes at the speed of a copy, or the dense products of the step."
    )
    text = f"{origin}\n\n{as_markdown(rows)}"
    parts = {"neurons": neuron_table, "calls": call_table, "delays": delay_table}
    tables = [table(measured) for name, table in parts.items() if name in measured["sections"]]
    return "\n\n".join([text, *tables])


def neuron_table(measured: dict[str, Any]) -> str:
    """Return the origin of the numbers of the neurons, and their table."""
    section = measured["sections"]["neurons"]
    run = section["run"]
    rows = [NEURON_HEAD, *(neuron_cells(row, section["limits"]) for row in section["rows"])]
    return (
        f"Neurons, {run['date'][:10]}, commit {run['commit'][:9]}{'+' * run['dirty']}. × LIF: our "
        "time over that of `LIFLayer` of the same shape in the same runs. Bytes: what must be read "
        "and written per neuron and step. No peer has AdLIF: the recurrent one is next to their "
        f"recurrent neurons of two states, and to adLIF in plain torch.\n\n{as_markdown(rows)}"
    )


def call_table(measured: dict[str, Any]) -> str:
    """Return the origin of the numbers of calls, and their tables."""
    section = measured["sections"]["calls"]
    run = section["run"]
    origin = f"Calls, {run['date'][:10]}, commit {run['commit'][:9]}{'+' * run['dirty']}."
    tables = map(as_markdown, calls.tables_of(section))
    return "\n\n".join([f"{origin} {calls.origin_of(section)}", *tables])


def delay_table(measured: dict[str, Any]) -> str:
    """Return the origin of the numbers of delays, and their table."""
    section = measured["sections"]["delays"]
    run = section["run"]
    origin = f"Delays, {run['date'][:10]}, commit {run['commit'][:9]}{'+' * run['dirty']}."
    return f"{origin} {delays.ORIGIN}\n\n{as_markdown(delays.table_of(section))}"


def write_between_markers(file: Path, content: str) -> None:
    """Replace what is between the markers of a file.

    Raises:
        ValueError: If the file does not have each marker once.
    """
    text = file.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{file} needs one {BEGIN} and one {END} around the table.")
    head, _, rest = text.partition(BEGIN)
    file.write_text(f"{head}{BEGIN}\n{content}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def section_text(name: str, section: dict[str, Any]) -> str:
    """Return a section as text for a terminal."""
    limits = section["limits"]
    lines = [f"{name}: {describe_limits(limits)}"]
    rows = section["rows"]
    if name == "calls":
        lines += [calls.origin_of(section), *map(as_text, calls.tables_of(section))]
    elif name == "delays":
        lines.append(as_text(delays.table_of(section)))
    elif name == "neurons":
        lines.append(as_text([NEURON_HEAD, *(neuron_cells(row, limits) for row in rows)]))
    elif rows and "parity" in rows[0]:
        lines.append(as_text([HEAD, *(timed_cells(row, limits) for row in rows)]))
    else:
        lines.append(as_text([value_cells(row) for row in rows]))
    lines += [f"growth with {fit['axis']}: {fit_text(fit)}" for fit in section.get("fits", [])]
    warning = load_warning(section["busy_elsewhere"])
    return "\n".join([*lines, *([warning] if warning else [])])


def fit_text(fit: dict[str, Any]) -> str:
    """Describe how times grow along an axis."""
    slopes = ", ".join(f"{name} {slope:.2f}" for name, slope in fit["slopes"].items())
    return f"exponent over {fit['from']:g}…{fit['to']:g}: {slopes}"


def describe_limits(limits: dict[str, Any]) -> str:
    """Describe how fast this machine copies and multiplies."""
    copy = limits["copy_gb_s"]["median"]
    products = limits["gemm_gflop_s"]["median"]
    return f"copy {copy:.1f} GB/s, products {products:.0f} GFLOP/s"


def _smallest_count(sections: dict[str, Any]) -> int:
    return min(
        row["times_ms"]["ours"]["runs"]
        for section in sections.values()
        for row in section["rows"]
        if row["times_ms"]
    )


def _peer_time(row: dict[str, Any], name: str) -> str:
    if name not in row["times_ms"]:
        return "-"
    return _number_text(row["times_ms"][name]["median"]) + (
        " c" if row["times_ms"].get(f"{name}, compiled") == row["times_ms"][name] else ""
    )


def _target_text(row: dict[str, Any], limits: dict[str, Any]) -> str:
    text = []
    ours = row["times_ms"]["ours"]["median"]
    for kind, bound in cases.targets_of(row).items():
        if kind == "ratio" and row["fastest_peer"] is not None:
            text.append(
                _verdict(row["ratios"][row["fastest_peer"]]["median"] >= bound, f"≥ {bound:g} ×")
            )
        elif kind == "over_lif":
            text.append(_verdict(1 / row["ratios"]["LIF"]["median"] <= bound, f"≤ {bound:g} LIF"))
        elif kind in FORMS and (peer := _fastest_form(row, FORMS[kind])) is not None:
            text.append(
                _verdict(
                    row["ratios"][peer]["median"] >= bound, f"≥ {bound:g} × {FORMS[kind]} peer"
                )
            )
        elif kind == "over_floor":
            text.append(
                _verdict(
                    ours / row["floor_ms"] <= bound,
                    f"{ours / row['floor_ms']:.2f} ≤ {bound:g} lower bounds",
                )
            )
        elif kind == "of_copy":
            share = row["bytes"] / ours / 1e6 / limits["copy_gb_s"]["median"]
            text.append(_verdict(share >= bound, f"{share:.0%} ≥ {bound:.0%} of copy"))
    return ", ".join(text) or "-"


def _verdict(met: bool, bound: str) -> str:
    return f"{bound} {'met' if met else 'missed'}"


def _contender_text(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {number:.1f}" for name, number in value.items()) + ")"
    return f"{value:.1f}"


# Targets that compare with one form of the peers.
FORMS = {"over_plain": "eager", "over_compiled": "compiled"}


def _fastest_form(row: dict[str, Any], form: str) -> str | None:
    """The name of the fastest peer in a form, or None."""
    times = {k: t["median"] for k, t in row["times_ms"].items() if k.endswith(f", {form}")}
    return min(times, key=lambda name: times[name]) if times else None


def _best_of(row: dict[str, Any], form: str) -> list[str]:
    peer = _fastest_form(row, form)
    if peer is None:
        return ["-", "-"]
    time = f"{_number_text(row['times_ms'][peer]['median'])} {peer.partition(',')[0]}"
    return [time, _number_text(row["ratios"][peer]["median"])]


def _ratio(row: dict[str, Any], form: str) -> str:
    """How many times longer the fastest peer takes in a form."""
    peer = _fastest_form(row, form)
    return "-" if peer is None else _spread_text(row["ratios"][peer])


def _spread_text(spread: dict[str, float]) -> str:
    median, low, high = (_number_text(spread[key]) for key in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def _number_text(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Write the table of this machine's results into benchmarks/README.md."""
    try:
        table = readme_table(results.read(results.path()))
        write_between_markers(results.ROOT / "benchmarks" / "README.md", table)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
