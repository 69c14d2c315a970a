"""Which surrogate to take: eight of them on spoken digits and on yes/no, five seeds, shallow nets and deep ones.

    python -m research.which_surrogate --yes-no FOLDER [--out FOLDER] [--jobs N] [--quick]

Each study is one `nwave compare`; the command is printed before it runs. A study that was killed goes on with the same
command. What they said is kept in `research/results/which_surrogate/`, and told as Markdown.
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import results
from nwavesdk.analysis.shapes import derivative_shape
from nwavesdk.internal.files import write_atomically
from nwavesdk.surrogate import parse
from research import RESULTS

BASELINE = "fast_sigmoid(slope=25.0)"
DEFAULTS = (
    "atan,fast_sigmoid,sigmoid,triangle,gaussian,boxcar,single_exponential,nonzero_sign_log_abs"
)
"""As their sources have them."""
ALIKE = (
    "atan(2),fast_sigmoid(1.3013),sigmoid(5.538),triangle(1,1.5708),gaussian(0,0.27035,0.67767),boxcar(0.63662,1),"
    "single_exponential(0.45924,0.45924),nonzero_sign_log_abs(3.1416)"
)
"""The same shapes, all with the width at half height that `atan(2)` has, 2/π of a threshold."""
SLOPES = ",".join(f"fast_sigmoid({slope})" for slope in (0.5, 1, 2, 5, 10, 25, 100))
DEEP = "--hidden 64,64,64,64,64,64,64 --hold 1 --epochs 15"


class Study(NamedTuple):
    """One `nwave compare`."""

    name: str
    about: str
    surrogates: str
    options: str
    spoken: bool

    def command(self, out: Path, yes_no: Path | None, seeds: int, more: str = "") -> list[str]:
        """What is run."""
        data = f"--data {shlex.quote(str(yes_no))}" if self.spoken else ""
        options = shlex.split(f"{self.options} {data} {more}")
        return [
            "compare",
            "--out",
            str(out / self.name),
            "--surrogates",
            self.surrogates,
            "--seeds",
            str(seeds),
            *options,
        ]


def studies() -> Iterator[Study]:
    """All of them, those of the default net first."""
    tasks = {"digits": ("spoken digits", False), "yes-no": ("yes/no", True)}
    for task, (said, spoken) in tasks.items():
        yield Study(
            f"{task}-defaults", f"{said}, two hidden layers of 256, defaults", DEFAULTS, "", spoken
        )
    for task, (said, spoken) in tasks.items():
        for kind, told, surrogates in (
            ("defaults", "defaults", DEFAULTS), ("alike", "equal widths", ALIKE), ("slopes", "one shape", SLOPES),
        ):  # fmt: skip
            yield Study(
                f"{task}-deep-{kind}",
                f"{said}, seven hidden layers of 64, {told}",
                surrogates,
                DEEP,
                spoken,
            )


def lean(content: dict[str, Any]) -> dict[str, Any]:
    """What `nwave compare --json` says, without the paths of this machine."""
    cells = [
        {key: value for key, value in cell.items() if key != "run"} for cell in content["cells"]
    ]
    return {
        "threads": content["threads"],
        "cells": cells,
        "arms": content["arms"],
        "pairs": content["pairs"],
    }


def table(content: dict[str, Any]) -> str:
    """Arms, from the best, with the width of the derivative, and the difference to the baseline where it took part."""
    arms, pairs = content["arms"], content["pairs"]
    against = {}
    for pair in pairs:
        for own, other, sign in (
            (pair["first"], pair["second"], 1),
            (pair["second"], pair["first"], -1),
        ):
            if other == BASELINE:
                low, high = sorted(100 * sign * end for end in pair["interval"])
                against[own] = f"{100 * sign * pair['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"
    heads = ["surrogate", "width", "mean accuracy", "95 % interval"]
    if BASELINE in arms:
        heads.append("points to `fast_sigmoid(25)`, all pairs at once")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, arm in sorted(arms.items(), key=lambda item: -item[1]["mean"]):
        width, (low, high) = derivative_shape(parse(name)).half_width, arm["interval"]
        told = "∞" if width is None else f"{width:.3g}"
        difference = f" {against.get(name, '-')} |" if BASELINE in arms else ""
        lines.append(
            f"| `{name}` | {told} | {arm['mean']:.4f} | [{low:.4f}, {high:.4f}] |{difference}"
        )
    shown = [pair["conclusion"] for pair in pairs if "better" in pair["conclusion"]]
    lines.append(f"\n{len(shown)} of {len(pairs)} pairs differ by more than chance.")
    return "\n".join(lines)


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Accuracy with its interval: a panel a study, the arms from the narrowest to the widest."""
    from matplotlib.figure import Figure

    from nwavesdk.train.theme import LIGHT, Theme, render_png

    def points(theme: Theme) -> Figure:
        about = {study.name: study.about for study in studies() if study.name in found}
        rows = math.ceil(len(about) / 2)
        figure = Figure(figsize=(11, 2.3 * rows))
        panels = figure.subplots(rows, 2, squeeze=False).T.flat
        for axes, (name, told) in zip(panels, sorted(about.items(), key=_panel), strict=False):
            arms = sorted(
                found[name]["arms"].items(),
                key=lambda arm: derivative_shape(parse(arm[0])).half_width or math.inf,
            )
            for place, (surrogate, arm) in enumerate(arms):
                hue = theme.hues[surrogate.startswith("fast_sigmoid")]
                axes.plot(arm["interval"], [place, place], color=hue, linewidth=1.6)
                axes.plot(arm["mean"], place, "o", color=hue, markersize=4)
            names = [
                f"{surrogate.split('(')[0]}, {derivative_shape(parse(surrogate)).half_width or math.inf:.2g}"
                for surrogate, _ in arms
            ]
            axes.set(yticks=range(len(arms)), yticklabels=names, ylim=(-0.6, len(arms) - 0.4))
            axes.set_title(told, fontsize=9)
            axes.grid(axis="x")
        figure.supxlabel(
            "test accuracy; behind each name its width at half height [thresholds]", fontsize=9
        )
        return figure

    write_atomically(path, render_png(points, LIGHT))


def _panel(study: tuple[str, str]) -> tuple[bool, bool]:
    """Digits before yes/no, shallow before deep."""
    return study[0].startswith("yes"), "deep" in study[0]


def main(arguments: list[str] | None = None) -> None:
    """See `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m research.which_surrogate", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument(
        "--yes-no", type=Path, help="folder with yes/*.wav and no/*.wav; without it only the digits"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/which"), help="for the runs of the studies"
    )
    parser.add_argument("--jobs", type=int, help="runs at a time, as of nwave compare")
    parser.add_argument(
        "--quick", action="store_true", help="two seeds, one epoch, 100 recordings: does it run?"
    )
    options = parser.parse_args(arguments)
    more = (f"--jobs {options.jobs} " if options.jobs else "") + (
        "--epochs 1 --limit 100" if options.quick else ""
    )
    kept: Path = options.out / "quick" if options.quick else RESULTS / "which_surrogate"
    kept.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Any]] = {}
    for study in studies():
        if study.spoken and options.yes_no is None:
            continue
        command = study.command(options.out, options.yes_no, 2 if options.quick else 5, more)
        print(f"nwave {shlex.join(command)}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-c", "from nwavesdk.cli import main; main()", *command, "--json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise SystemExit(done.returncode)
        found[study.name] = lean(json.loads(done.stdout))
        about = {
            "run": results.provenance("python -m research.which_surrogate"),
            "study": study._asdict(),
        }
        text = json.dumps(about | found[study.name]) + "\n"
        write_atomically(kept / f"{study.name}.json", text.encode())
        print(f"\n### {study.about}\n\n{table(found[study.name])}\n", flush=True)
    draw(found, kept / "accuracy.png")


if __name__ == "__main__":
    main()
