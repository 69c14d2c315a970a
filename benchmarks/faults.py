"""Try damaged files and bad options against the command `nwave`, and count how each case ends.

    python -m benchmarks.faults [--cases N] [--seed N] [--only GROUP ...] [--case NAME]

Each case must end in success, or in one line that names what is wrong. `tests/faults` holds the
cases; the table goes into `SECURITY.md`.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import results

sys.path.insert(0, str(results.ROOT / "tests"))

from faults.outcome import Case, Trial, Verdict
from faults.suite import GROUPS, all_cases, run_cases, sample
from faults.world import World, make_world

SECURITY = results.ROOT / "SECURITY.md"
MARKERS = ("<!-- faults -->", "<!-- /faults -->")
# Failing cases of a group that are printed.
MAX_PRINTED = 5


def main(arguments: list[str] | None = None) -> None:
    """Run the cases; see `--help`."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(words)
    with tempfile.TemporaryDirectory(prefix="nwave-faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        world = World(options.world) if _is_world(options.world) else None
        if world is None:
            world = make_world(options.world or folder / "world")
        cases = _chosen_cases(world, options)
        begin = time.monotonic()
        verdicts = _run(cases, folder / "cases", options)
        seconds = time.monotonic() - begin
    table = table_text(verdicts)
    failed = [verdict for verdict in verdicts if verdict.problems]
    if options.json:
        print(json.dumps(report(verdicts, seconds, options.seed), indent=2))
    else:
        print(table)
    print(f"{len(verdicts)} cases, {len(failed)} failed, {seconds:.0f} s", file=sys.stderr)
    if options.write:
        command = " ".join(["python -m benchmarks.faults", *words])
        _store(report(verdicts, seconds, options.seed), table, command)
    if failed:
        sys.exit(1)


def _is_world(path: Path | None) -> bool:
    return path is not None and (path / "cache").is_dir()


def _chosen_cases(world: World, options: argparse.Namespace) -> list[Case | Trial]:
    if options.case:
        name = options.case
        group = name.split("/", 1)[0]
        cases = all_cases(world, options.seed, [group])[group]
        chosen = [case for case in cases if case.name == name]
        if not chosen:
            sys.exit(f"there is no case {name!r} with --seed {options.seed}")
        return chosen
    by_group = all_cases(world, options.seed, options.only)
    if options.cases:
        by_group = sample(by_group, options.cases, options.seed)
    cases = [case for cases in by_group.values() for case in cases]
    random.Random(options.seed).shuffle(cases)  # the slow ones are not all at the end
    return cases


def _run(cases: list[Case | Trial], folder: Path, options: argparse.Namespace) -> list[Verdict]:
    verdicts = []
    printed: Counter[str] = Counter()
    deadline = time.monotonic() + 60 * options.minutes
    for verdict in run_cases(cases, folder, options.processes):
        verdicts.append(verdict)
        if time.monotonic() > deadline:
            print(f"{options.minutes:g} minutes are over", file=sys.stderr)
            break
        if verdict.problems:
            printed[verdict.group] += 1
            if printed[verdict.group] <= options.print:
                print(verdict.text(options.seed), file=sys.stderr, flush=True)
        elif options.case:
            print(f"clean: {verdict.outcome}", file=sys.stderr)
        if len(verdicts) % 100 == 0:
            n_failed = sum(printed.values())
            print(f"{len(verdicts)}/{len(cases)}, {n_failed} failed", file=sys.stderr, flush=True)
    return verdicts


def counts(verdicts: list[Verdict]) -> dict[str, tuple[int, int]]:
    """Cases tried and failed, by group."""
    tried = Counter(verdict.group for verdict in verdicts)
    failed = Counter(verdict.group for verdict in verdicts if verdict.problems)
    return {name: (tried[name], failed[name]) for name in GROUPS if tried[name]}


def table_text(verdicts: list[Verdict]) -> str:
    """Return the counts as a Markdown table."""
    rows = counts(verdicts)
    total = (sum(tried for tried, _ in rows.values()), sum(failed for _, failed in rows.values()))
    lines = ["| group | tried | clean | failed |", "|---|---:|---:|---:|"]
    for name, (tried, failed) in {**rows, "all": total}.items():
        lines.append(f"| {name} | {tried:,} | {tried - failed:,} | {failed:,} |")
    return "\n".join(lines)


def report(verdicts: list[Verdict], seconds: float, seed: int) -> dict[str, Any]:
    """Return the counts, and the failing cases, for JSON."""
    return {
        "seconds": round(seconds),
        "groups": {
            name: {"tried": tried, "clean": tried - failed, "failed": failed}
            for name, (tried, failed) in counts(verdicts).items()
        },
        "exit_codes": dict(Counter(str(verdict.outcome.code) for verdict in verdicts)),
        "failed": [
            {"case": verdict.name, "problems": verdict.problems, "text": verdict.text(seed)}
            for verdict in verdicts
            if verdict.problems
        ],
    }


def _store(content: dict[str, Any], table: str, command: str) -> None:
    """Write the table into SECURITY.md, and the details next to the results of this machine."""
    provenance = results.provenance(command)
    file = results.path()
    stored = results.read(file)
    stored["sections"]["faults"] = {"run": provenance, **content}
    results.write(file, stored)
    text = SECURITY.read_text("utf-8")
    before, rest = text.split(MARKERS[0], 1)
    after = rest.split(MARKERS[1], 1)[1]
    date = provenance["date"][:10]
    SECURITY.write_text(
        f"{before}{MARKERS[0]}\n{date}, `{command}`:\n\n{table}\n{MARKERS[1]}{after}", "utf-8"
    )
    print(f"stored in {file} and {SECURITY}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__.split("\n", 1)[0]
    )
    add = parser.add_argument
    add("--seed", type=int, default=0, help="seed of the sample and of drawn values")
    add("--cases", type=int, metavar="N", help="try about N cases [all]")
    add("--only", nargs="+", default=[], choices=list(GROUPS), metavar="GROUP", help=str([*GROUPS]))
    add("--case", metavar="NAME", help="try one case, with the seed with which it failed")
    add("--minutes", type=float, default=float("inf"), metavar="M", help="stop after M minutes")
    add("--processes", type=int, default=2, metavar="N", help="cases at a time [2]")
    add("--world", type=Path, metavar="DIR", help="keep the runs of the suite here, and use them")
    add("--print", type=int, default=MAX_PRINTED, metavar="N", help="failing cases per group")
    add("--json", action="store_true", help="print counts and failing cases as JSON")
    add("--write", action="store_true", help="write the table to SECURITY.md and store the counts")
    return parser


if __name__ == "__main__":
    main()
