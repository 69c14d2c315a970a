"""Which surrogate? Eight of them on spoken digits and on yes/no, in shallow and in deep nets.

    python -m research.which_surrogate --yes-no FOLDER [--out FOLDER] [--jobs N] [--quick]

Each study is one `nwave compare` with five seeds; its command is printed before it runs. The same
command resumes a study that was interrupted. Results are stored in
`research/results/which_surrogate/` and printed as Markdown.
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
"""With the defaults of their sources."""
EQUAL_WIDTHS = (
    "atan(2),fast_sigmoid(1.3013),sigmoid(5.538),triangle(1,1.5708),gaussian(0,0.27035,0.67767),"
    "boxcar(0.63662,1),single_exponential(0.45924,0.45924),nonzero_sign_log_abs(3.1416)"
)
"""The same shapes, all with the width at half height of `atan(2)`: 2/π of a threshold."""
SLOPES = ",".join(f"fast_sigmoid({slope})" for slope in (0.5, 1, 2, 5, 10, 25, 100))
DEEP = "--net lif --hidden 64,64,64,64,64,64,64 --hold 1 --epochs 15"


class Study(NamedTuple):
    """One `nwave compare`."""

    name: str
    about: str
    surrogates: str
    options: str
    spoken: bool

    def command(self, out: Path, yes_no: Path | None, seeds: int, more: str = "") -> list[str]:
        """Return the arguments of `nwave`."""
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
    """Yield all studies, with the default net first."""
    tasks = {"digits": ("spoken digits", False), "yes-no": ("yes/no", True)}
    for task, (title, spoken) in tasks.items():
        yield Study(
            f"{task}-defaults", f"{title}, two hidden layers of 256, defaults", DEFAULTS, "", spoken
        )
    kinds = [
        ("defaults", "defaults", DEFAULTS),
        ("alike", "equal widths", EQUAL_WIDTHS),
        ("slopes", "one shape", SLOPES),
    ]
    for task, (title, spoken) in tasks.items():
        for kind, about, surrogates in kinds:
            yield Study(
                f"{task}-deep-{kind}",
                f"{title}, seven hidden layers of 64, {about}",
                surrogates,
                DEEP,
                spoken,
            )


def without_paths(content: dict[str, Any]) -> dict[str, Any]:
    """Return the output of `nwave compare --json` without the paths of this machine."""
    cells = [
        {key: value for key, value in cell.items() if key != "run"} for cell in content["cells"]
    ]
    return {
        "threads": content["threads"],
        "cells": cells,
        "arms": content["arms"],
        "pairs": content["pairs"],
    }


def accuracy_table(content: dict[str, Any]) -> str:
    """Return the table of arms from the best, with widths and differences to the baseline."""
    arms = content["arms"]
    pairs = content["pairs"]
    against = {}
    for pair in pairs:
        for arm, other, sign in (
            (pair["first"], pair["second"], 1),
            (pair["second"], pair["first"], -1),
        ):
            if other == BASELINE:
                low, high = sorted(100 * sign * end for end in pair["interval"])
                against[arm] = f"{100 * sign * pair['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"
    heads = ["surrogate", "width", "mean accuracy", "95 % interval"]
    if BASELINE in arms:
        heads.append("points to `fast_sigmoid(25)`, all pairs together")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, arm in sorted(arms.items(), key=lambda item: -item[1]["mean"]):
        width = derivative_shape(parse(name)).half_width
        width_text = "∞" if width is None else f"{width:.3g}"
        low, high = arm["interval"]
        difference = f" {against.get(name, '-')} |" if BASELINE in arms else ""
        lines.append(
            f"| `{name}` | {width_text} | {arm['mean']:.4f} | [{low:.4f}, {high:.4f}] |{difference}"
        )
    shown = [pair["conclusion"] for pair in pairs if "better" in pair["conclusion"]]
    lines.append(f"\n{len(shown)} of {len(pairs)} pairs differ by more than chance.")
    return "\n".join(lines)


def draw_accuracy(contents: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot accuracy with its interval: one panel per study, arms from narrow to wide."""
    from matplotlib.figure import Figure

    from nwavesdk.plot.theme import LIGHT, Theme, render_png

    def points(theme: Theme) -> Figure:
        about = {study.name: study.about for study in studies() if study.name in contents}
        rows = math.ceil(len(about) / 2)
        figure = Figure(figsize=(11, 2.3 * rows))
        panels = figure.subplots(rows, 2, squeeze=False).T.flat
        for axes, (name, title) in zip(
            panels, sorted(about.items(), key=_panel_order), strict=False
        ):
            arms = sorted(contents[name]["arms"].items(), key=lambda arm: _half_width(arm[0]))
            for height, (surrogate, arm) in enumerate(arms):
                hue = theme.hues[surrogate.startswith("fast_sigmoid")]
                axes.plot(arm["interval"], [height, height], color=hue, linewidth=1.6)
                axes.plot(arm["mean"], height, "o", color=hue, markersize=4)
            names = [f"{text.split('(')[0]}, {_half_width(text):.2g}" for text, _ in arms]
            axes.set(yticks=range(len(arms)), yticklabels=names, ylim=(-0.6, len(arms) - 0.4))
            axes.set_title(title, fontsize=9)
            axes.grid(axis="x")
        figure.supxlabel(
            "test accuracy; the number after a name is its width at half height [thresholds]",
            fontsize=9,
        )
        return figure

    write_atomically(path, render_png(points, LIGHT))


def _half_width(surrogate: str) -> float:
    """Return the width at half height, or infinity if there is none."""
    return derivative_shape(parse(surrogate)).half_width or math.inf


def _panel_order(study: tuple[str, str]) -> tuple[bool, bool]:
    """Sort digits before yes/no, and shallow before deep."""
    return study[0].startswith("yes"), "deep" in study[0]


def run_study(study: Study, command: list[str], folder: Path) -> dict[str, Any]:
    """Run `nwave compare`, store its results in `folder`, and print its table."""
    print(f"nwave {shlex.join(command)}", file=sys.stderr, flush=True)
    process = subprocess.run(
        [sys.executable, "-c", "from nwavesdk.cli import main; main()", *command, "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.returncode:
        raise SystemExit(process.returncode)
    content = without_paths(json.loads(process.stdout))
    provenance = results.provenance("python -m research.which_surrogate")
    about = {"run": provenance, "study": study._asdict()}
    text = json.dumps(about | content) + "\n"
    write_atomically(folder / f"{study.name}.json", text.encode())
    print(f"\n### {study.about}\n\n{accuracy_table(content)}\n", flush=True)
    return content


def main(arguments: list[str] | None = None) -> None:
    """Run the studies; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m research.which_surrogate", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument(
        "--yes-no",
        type=Path,
        help="folder with yes/*.wav and no/*.wav; without it, only the digits run",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/which"), help="folder for the runs of the studies"
    )
    parser.add_argument("--jobs", type=int, help="parallel runs, as in nwave compare")
    parser.add_argument(
        "--quick", action="store_true", help="two seeds, one epoch, 100 recordings: a trial run"
    )
    options = parser.parse_args(arguments)
    more = (f"--jobs {options.jobs} " if options.jobs else "") + (
        "--epochs 1 --limit 100" if options.quick else ""
    )
    folder: Path = options.out / "quick" if options.quick else RESULTS / "which_surrogate"
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, dict[str, Any]] = {}
    for study in studies():
        if study.spoken and options.yes_no is None:
            continue
        command = study.command(options.out, options.yes_no, 2 if options.quick else 5, more)
        contents[study.name] = run_study(study, command, folder)
    draw_accuracy(contents, folder / "accuracy.png")


if __name__ == "__main__":
    main()
