"""Compare two commits: the same cases in fresh processes that alternate."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nwavesdk
from benchmarks import cases
from benchmarks.calls.cases import CASES as CALLS
from benchmarks.calls.cases import NetCase
from benchmarks.instrument import (
    LayerCase,
    Spread,
    TrainingCase,
    compare_outcomes,
    paired_ratios,
    prepare_timing,
    time_in_turn,
)

ROUNDS = 7


def case_names(quick: bool, wanted: Callable[[str], bool]) -> list[str]:
    """Return the cases to compare: fast_sigmoid and fixed constants, unless others are named."""
    everything = list(_cases())
    plain = [
        n
        for n in everything
        if not any(
            part in n for part in ("/atan/", "/sigmoid/", "/learnable", "neurons/", "calls/")
        )
    ]
    asked = [n for n in everything if wanted(n)]
    if len(asked) == len(everything):
        shapes = ["x".join(map(str, shape)) for shape in cases.QUICK_LAYER_SHAPES]
        return [
            n for n in plain if not quick or not n.startswith("layer") or n.split("/")[1] in shapes
        ]
    return asked


def times(wanted: list[str]) -> dict[str, Any]:
    """Return medians [ms] by case, and the folder of the measured package.

    Runs in a fresh process. The median is None where spikes or gradients differ from the reference.
    """
    prepare_timing()
    medians: dict[str, float | None] = {}
    for name in wanted:
        case = _cases()[name]
        ours = cases.contender_of(case, *case.draw_data())
        if not compare_outcomes(ours.call, ours.reference, ours.tolerance).agrees:
            medians[name] = None
            continue
        medians[name] = Spread.of(time_in_turn({name: ours.call})[name]).median
    return {"package": str(Path(nwavesdk.__file__).parent), "medians": medians}


def compare_with_base(base: str, wanted: list[str], rounds: int = ROUNDS) -> str:
    """Return a table of milliseconds at `base` and here, and the ratio of the two.

    Raises:
        ValueError: If git has no such commit, or no case is given.
        RuntimeError: If a process failed, or measured another tree than intended.
    """
    from benchmarks.fresh import ROOT

    if not wanted:
        raise ValueError("no such case: omit --only to compare the default cases.")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        process = subprocess.run(
            ["git", "worktree", "add", "--detach", str(tree), base],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if process.returncode:
            raise ValueError(f"--base {base}: {process.stderr.strip()}")
        try:
            medians = _measure_rounds({"base": tree, "here": ROOT}, wanted, rounds)
        finally:
            subprocess.run(
                ["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, capture_output=True
            )
    lines = [
        f"{'':<44} {base[:12] + ', ms':>16} {'here, ms':>10}   "
        f"times faster [quartiles of {rounds} rounds]"
    ]
    for name in wanted:
        pairs = [(a[name], b[name]) for a, b in zip(medians["base"], medians["here"], strict=True)]
        differing = {
            where
            for k, where in enumerate(("base", "here"))
            if any(pair[k] is None for pair in pairs)
        }
        if differing:
            lines.append(
                f"{name:<44} differs from the reference ({', '.join(sorted(differing))}): no number"
            )
            continue
        before, now = ([float(pair[k] or 0) for pair in pairs] for k in (0, 1))
        ratio = paired_ratios(before, now)
        lines.append(
            f"{name:<44} {Spread.of(before).median:>16.2f} {Spread.of(now).median:>10.2f}"
            f"{ratio.median:>10.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        )
    return "\n".join(lines)


def _measure_rounds(
    trees: dict[str, Path], wanted: list[str], rounds: int
) -> dict[str, list[dict[str, float | None]]]:
    from benchmarks.fresh import run_child

    medians: dict[str, list[dict[str, float | None]]] = {where: [] for where in trees}
    for k in range(rounds):
        for where in sorted(trees, reverse=bool(k % 2)):
            source = trees[where] / "src"
            measured = run_child({"job": "times", "wanted": wanted}, {"PYTHONPATH": str(source)})
            if Path(measured["package"]).resolve() != (source / "nwavesdk").resolve():
                raise RuntimeError(
                    f"{where}: measured {measured['package']}, expected {source / 'nwavesdk'}."
                )
            medians[where].append(measured["medians"])
        print(f"round {k + 1} of {rounds}", file=sys.stderr)
    return medians


def _cases() -> dict[str, LayerCase | TrainingCase | NetCase]:
    layers = [
        cases.SurrogateCase(shape, surrogate=surrogate, learn=learn)
        for shape in cases.LAYER_SHAPES
        for surrogate in cases.SURROGATES
        for learn in (False, True)
    ]
    everything = [*layers, *cases.RECURRENT, *cases.TRAINING, *cases.NEURON_CASES, *CALLS]
    return {case.name: case for case in everything}
