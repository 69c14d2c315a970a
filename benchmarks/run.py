"""Measure speed and memory, print the table, and store and plot the numbers.

Run `python -m benchmarks.run` from the root of the repository. `cases.py` lists what is measured,
and in which order. Every case passes its parity check before it is timed.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import compare, delays, fresh, growth, pictures, results, table, timed
from benchmarks.calls import suite as calls
from benchmarks.instrument import machine_limits, prepare_timing
from benchmarks.peers import installed
from nwavesdk.internal.load import LoadMonitor

SUITES: dict[str, Callable[..., Iterator[list[dict[str, Any]]]]] = {
    "layer": timed.layer,
    "training": timed.training,
    "recurrent": timed.recurrent,
    "neurons": timed.neurons,
    "calls": calls.measure,
    "delays": delays.measure,
    "memory": fresh.memory,
    "startup": fresh.startup,
    "job": fresh.job,
    "sweep": timed.sweep,
}
QUICK = ("layer", "training")


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmarks; see `--help`."""
    options = _parser().parse_args(arguments)

    def wanted(name: str) -> bool:
        return not options.only or any(name.startswith(prefix) for prefix in options.only)

    if options.base is not None:
        try:
            print(
                compare.compare_with_base(options.base, compare.case_names(options.quick, wanted))
            )
        except ValueError as error:
            sys.exit(str(error))
        return
    command = " ".join(
        ["python -m benchmarks.run", *(sys.argv[1:] if arguments is None else arguments)]
    )
    file = options.out or (None if options.quick else results.path())
    measured = results.read(file) if file is not None else results.read(Path())
    prepare_timing()
    peers, missing = installed()
    for name, why in missing.items():
        print(f"{name} is skipped: {why}", file=sys.stderr)
    for name in QUICK if options.quick else SUITES:
        if options.only and not any(o.split("/")[0] == name for o in options.only):
            continue
        section = _measure(name, peers, command, options.quick, wanted)
        print(table.section_text(name, section), "", sep="\n", flush=True)
        if file is not None and (not options.only or name in options.only):
            measured["sections"][name] = section
            results.write(file, measured)
    if file is not None and measured["sections"]:
        for picture in pictures.draw(measured, file.parent):
            print(f"plotted in {picture}")


def _measure(
    name: str, peers: dict[str, Any], command: str, quick: bool, wanted: Callable[[str], bool]
) -> dict[str, Any]:
    load, rows = LoadMonitor(), []
    section = {"run": results.provenance(command), "limits": machine_limits()}
    for group in SUITES[name](peers, quick, wanted):
        rows += group
        print(*(row["name"] for row in group), "measured", file=sys.stderr, flush=True)
    return {**section, "busy_elsewhere": load.elsewhere(), "rows": rows, "fits": growth.fits(rows)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few cases, peers without torch.compile; nothing is stored",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"sections ({', '.join(SUITES)}), or prefixes of rows such as layer/64x100x512; "
        "only complete sections are stored",
    )
    parser.add_argument(
        "--base", metavar="REF", help="compare this tree with another commit, in fresh processes"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="another file for the results, with plots next to it",
    )
    return parser


if __name__ == "__main__":
    main()
