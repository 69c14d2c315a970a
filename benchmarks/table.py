"""The table for a terminal, and for README.md: `python -m benchmarks.table` writes it there from the JSON."""

import sys
from pathlib import Path
from typing import Any

from benchmarks import cases, results
from benchmarks.peers import NAMES
from nwavesdk.analysis.bench import difference_text, load_warning

BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
HEAD = ["forward + backward", "ours, ms", *NAMES, "× the fastest peer", "floor, ms", "target"]
README_ROWS = ("layer", "recurrent", "training")


def timed_cells(row: dict[str, Any], most: dict[str, Any]) -> list[str]:
    """One line of the table of times."""
    title = row["name"].partition("/")[2] if row["name"].startswith("layer") else row["name"]
    if not row["parity"]["agrees"]:
        return [title, f"differs from the reference ({difference_text(row)}): no number"]
    times, best = row["times_ms"], row["fastest_peer"]
    return [
        title,
        _spread(times["ours"]),
        *(_peer(row, name) for name in NAMES),
        "-" if best is None else _spread(row["ratios"][best]),
        _number(row["floor_ms"]) if "floor_ms" in row else "-",
        _target(row, most),
    ]


def value_cells(row: dict[str, Any]) -> list[str]:
    """One line of the table of memory and start-up."""
    at = f", {row['axis']} = {row['at']:g}" if "axis" in row else ""
    told = f"{row['value']:.3g} {row['unit']}" if "value" in row else ""
    if "contenders" in row:
        told = "; ".join(
            f"{name} {_of_contender(value)}" for name, value in row["contenders"].items()
        )
        told += f" {row['unit']}"
    target = cases.TARGETS.get(row["name"], {}).get("value")
    if target is not None:
        told += f" (target ≤ {target:g}: {'met' if row['value'] <= target else 'missed'})"
    return [row["name"] + at, told]


def as_text(rows: list[list[str]]) -> str:
    """Columns of equal width; a row of two cells runs on."""
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
    """The same as a Markdown table."""
    width = len(rows[0])
    padded = [row + [""] * (width - len(row)) for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in padded]
    return "\n".join([lines[0], "|" + "---|" * width, *lines[1:]])


def readme_part(found: dict[str, Any]) -> str:
    """What stands between the markers: where the numbers are from, and the table.

    Raises:
        ValueError: nothing was measured yet.
    """
    parts = {name: found["sections"][name] for name in README_ROWS if name in found["sections"]}
    if not parts:
        raise ValueError(
            "there are no results to put into README.md: run `python -m benchmarks.run` first."
        )
    run, most = next(iter(parts.values()))["run"], next(iter(parts.values()))["limits"]
    runs = [part["run"] for part in parts.values()]
    sources = sorted({(r["date"][:10], r["commit"][:9] + "+" * r["dirty"]) for r in runs})
    rows = [HEAD] + [
        timed_cells(row, most) for part in parts.values() for row in part["rows"]
        if not row["parity"]["agrees"] or "learnable" not in row["name"]
    ]  # fmt: skip
    versions = ", ".join(
        f"{name} {run['versions'][name]}" for name in ("torch", *NAMES) if name in run["versions"]
    )
    told = (
        f"`python -m benchmarks.run`, {'; '.join(f'{date}, commit {commit}' for date, commit in sources)}: "
        f"{run['cpu']}, {run['threads']} threads; {versions}; {_limits(most)}. Medians of {_runs(parts)} runs in turn, "
        "quartiles in brackets; c: faster through torch.compile, in chunks of 10 steps. Floor: a layer's bytes at the "
        "speed of a copy, or the dense products of the step."
    )
    return f"{told}\n\n{as_markdown(rows)}"


def write_readme(file: Path, part: str) -> None:
    """Put the part between the markers of a file.

    Raises:
        ValueError: the markers are not there.
    """
    text = file.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{file} needs one {BEGIN} and one {END} where the table is to stand.")
    head, _, rest = text.partition(BEGIN)
    file.write_text(f"{head}{BEGIN}\n{part}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def report(name: str, section: dict[str, Any]) -> str:
    """A section for the terminal."""
    most = section["limits"]
    lines = [f"{name}: {_limits(most)}"]
    rows = section["rows"]
    if rows and "parity" in rows[0]:
        lines.append(as_text([HEAD, *(timed_cells(row, most) for row in rows)]))
    else:
        lines.append(as_text([value_cells(row) for row in rows]))
    lines += [f"growth with {fit['axis']}: {told_fit(fit)}" for fit in section.get("fits", [])]
    warning = load_warning(section["busy_elsewhere"])
    return "\n".join([*lines, *([warning] if warning else [])])


def told_fit(fit: dict[str, Any]) -> str:
    """A fit in words."""
    slopes = ", ".join(f"{name} {slope:.2f}" for name, slope in fit["slopes"].items())
    return f"exponent over {fit['from']:g}…{fit['to']:g}: {slopes}"


def _limits(most: dict[str, Any]) -> str:
    return f"copy {most['copy_gb_s']['median']:.1f} GB/s, products {most['gemm_gflop_s']['median']:.0f} GFLOP/s"


def _runs(parts: dict[str, Any]) -> int:
    return min(
        row["times_ms"]["ours"]["runs"]
        for p in parts.values()
        for row in p["rows"]
        if row["times_ms"]
    )


def _peer(row: dict[str, Any], name: str) -> str:
    if name not in row["times_ms"]:
        return "-"
    return _number(row["times_ms"][name]["median"]) + (
        " c" if row["peers"][name]["form"] == "compiled" else ""
    )


def _target(row: dict[str, Any], most: dict[str, Any]) -> str:
    told = []
    ours = row["times_ms"]["ours"]["median"]
    for kind, bound in cases.TARGETS.get(row["name"], {}).items():
        if kind == "ratio" and row["fastest_peer"] is not None:
            told.append(
                _verdict(row["ratios"][row["fastest_peer"]]["median"] >= bound, f"≥ {bound:g} ×")
            )
        elif kind == "over_floor":
            told.append(
                _verdict(
                    ours / row["floor_ms"] <= bound,
                    f"{ours / row['floor_ms']:.2f} ≤ {bound:g} floors",
                )
            )
        elif kind == "of_copy":
            share = row["bytes"] / ours / 1e6 / most["copy_gb_s"]["median"]
            told.append(_verdict(share >= bound, f"{share:.0%} ≥ {bound:.0%} of copy"))
    return ", ".join(told) or "-"


def _verdict(met: bool, bound: str) -> str:
    return f"{bound} {'met' if met else 'missed'}"


def _of_contender(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {number:.1f}" for name, number in value.items()) + ")"
    return f"{value:.1f}"


def _spread(spread: dict[str, float]) -> str:
    return f"{_number(spread['median'])} [{_number(spread['low'])}, {_number(spread['high'])}]"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Write the table of this machine's results into README.md."""
    try:
        write_readme(results.ROOT / "README.md", readme_part(results.read(results.path())))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
