"""Two commits against each other: the same cases in fresh processes that take turns."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nwavesdk
from benchmarks import cases
from nwavesdk.analysis.bench import (
    LayerCase,
    Spread,
    TrainingCase,
    compare_outcomes,
    layer_contender,
    layer_input,
    paired_ratios,
    prepare_timing,
    time_in_turn,
    training_contender,
    training_data,
)

ROUNDS = 7


def names(quick: bool, wanted: Callable[[str], bool]) -> list[str]:
    """The cases to compare: fast_sigmoid and fixed constants unless others are asked for by name."""
    everything = list(_cases())
    plain = [
        n
        for n in everything
        if "/atan/" not in n and "/sigmoid/" not in n and "/learnable" not in n
    ]
    asked = [n for n in everything if wanted(n)]
    if len(asked) == len(everything):
        shapes = ["x".join(map(str, shape)) for shape in cases.QUICK_LAYER_SHAPES]
        return [
            n for n in plain if not quick or not n.startswith("layer") or n.split("/")[1] in shapes
        ]
    return asked


def times(wanted: list[str]) -> dict[str, Any]:
    """In a fresh process: medians [ms] by case, and which nwavesdk was measured; None where it is not at parity."""
    prepare_timing()
    medians: dict[str, float | None] = {}
    for name in wanted:
        case = _cases()[name]
        if isinstance(case, LayerCase):
            contender = layer_contender(case, *layer_input(case))
        else:
            contender = training_contender(case, *training_data(case))
        if not compare_outcomes(contender.call, contender.reference).agrees:
            medians[name] = None
            continue
        medians[name] = Spread.of(time_in_turn({name: contender.call})[name]).median
    return {"package": str(Path(nwavesdk.__file__).parent), "medians": medians}


def against(base: str, wanted: list[str], rounds: int = ROUNDS) -> str:
    """A table: milliseconds at `base` and here, and how many times faster it is here.

    Raises:
        ValueError: git knows no such commit, or no case was asked for.
        RuntimeError: a process failed, or measured another tree than it was meant to.
    """
    from benchmarks.fresh import ROOT

    if not wanted:
        raise ValueError("no such case: leave out --only to compare the usual ones.")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        added = subprocess.run(
            ["git", "worktree", "add", "--detach", str(tree), base],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if added.returncode:
            raise ValueError(f"--base {base}: {added.stderr.strip()}")
        try:
            found = _rounds({"base": tree, "here": ROOT}, wanted, rounds)
        finally:
            subprocess.run(
                ["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, capture_output=True
            )
    lines = [
        f"{'':<44} {base[:12] + ', ms':>16} {'here, ms':>10}   times faster [quartiles of {rounds} rounds]"
    ]
    for name in wanted:
        pairs = [(a[name], b[name]) for a, b in zip(found["base"], found["here"], strict=True)]
        red = {
            where
            for k, where in enumerate(("base", "here"))
            if any(pair[k] is None for pair in pairs)
        }
        if red:
            lines.append(
                f"{name:<44} differs from the reference ({', '.join(sorted(red))}): no number"
            )
            continue
        before, now = ([float(pair[k] or 0) for pair in pairs] for k in (0, 1))
        ratio = paired_ratios(before, now)
        lines.append(
            f"{name:<44} {Spread.of(before).median:>16.2f} {Spread.of(now).median:>10.2f}"
            f"{ratio.median:>10.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        )
    return "\n".join(lines)


def _rounds(
    trees: dict[str, Path], wanted: list[str], rounds: int
) -> dict[str, list[dict[str, float | None]]]:
    from benchmarks.fresh import child

    found: dict[str, list[dict[str, float | None]]] = {where: [] for where in trees}
    for k in range(rounds):
        for where in sorted(trees, reverse=bool(k % 2)):
            source = trees[where] / "src"
            told = child({"job": "times", "wanted": wanted}, {"PYTHONPATH": str(source)})
            if Path(told["package"]).resolve() != (source / "nwavesdk").resolve():
                raise RuntimeError(
                    f"{where}: measured {told['package']}, expected {source / 'nwavesdk'}."
                )
            found[where].append(told["medians"])
        print(f"round {k + 1} of {rounds}", file=sys.stderr)
    return found


def _cases() -> dict[str, LayerCase | TrainingCase]:
    layers = [
        LayerCase(shape, surrogate, learn)
        for shape in cases.LAYER_SHAPES for surrogate in cases.SURROGATES for learn in (False, True)
    ]  # fmt: skip
    return {case.name: case for case in [*layers, *cases.RECURRENT, *cases.TRAINING]}
