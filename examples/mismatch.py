"""Does it pay to train with mismatch? The same net for H1v1 and H1v2, trained three ways, on 200 chips of each.

    python examples/mismatch.py FOLDER [--out runs/mismatch] [--seeds 0 1 2] [--chips 200] [--epochs N]

FOLDER has one subfolder of wavs for each class, such as `yes/` and `no/` of Speech Commands, whose file names tell who
speaks: parts are by speaker, the same for every run, and the test part is read only here. "plain" training knows the
chip's neurons and charge law, and its weights are moved to the chip's range, signs and bits when it ends; "hardware"
trains within them; "mismatch" draws another chip for each batch as well. No chip drawn to test is one of those. Runs
that are finished are not repeated. The table is written to OUT/table.md, all numbers to OUT/table.json.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

from nwavesdk.deploy import ChipRun
from nwavesdk.internal.files import write_atomically
from nwavesdk.train import Run, RunConfig, RunFolder

CHIPS, WAYS = ("h1v1", "h1v2"), ("plain", "hardware", "mismatch")
DRAWING = 1000
"""Seed of the chips: the same 200 for every run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("runs/mismatch"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--chips", type=int, default=200)
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--wanted", type=float, default=0.9, help="accuracy that a chip must have to count as good"
    )
    parser.add_argument("--limit", type=int, help="use about so many recordings")
    options = parser.parse_args()
    rows = []
    for chip in CHIPS:
        for way in WAYS:
            for seed in options.seeds:
                row = measured(options, chip, way, seed)
                rows.append(row)
                print(" ".join(f"{key} {shown(value)}" for key, value in row.items()), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out / "table.json", (json.dumps(rows, indent=2) + "\n").encode())
    text = table(rows, options)
    write_atomically(options.out / "table.md", text.encode())
    print(text)


def measured(options: argparse.Namespace, chip: str, way: str, seed: int) -> dict[str, float | str]:
    """One run, trained if need be, and what 200 chips make of it."""
    path = options.out / f"{chip}-{way}-{seed}"
    if not RunFolder(path).finished:
        choices = {
            "seed": seed,
            "data": {"source": str(options.folder.resolve())} | given("limit", options.limit),
            "chip": {"profile": chip, "training": way},
            "learning": given("epochs", options.epochs),
        }
        begun = RunFolder(path).config.is_file()
        (Run.open(path) if begun else Run.new(path, RunConfig.of(choices))).train()
    run = ChipRun.open(path)
    series = run.series(options.chips, DRAWING, options.wanted)
    return {
        "chip": chip, "training": way, "seed": seed, "clean": series.designed, "mean": mean(series.accuracy),
        "q05": series.q05, "q50": series.q50, "yield": series.share, "power_uw": 1e6 * run.power().total,
    }  # fmt: skip


def given(name: str, value: int | None) -> dict[str, int]:
    return {} if value is None else {name: value}


def shown(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(rows: list[dict[str, float | str]], options: argparse.Namespace) -> str:
    """Means over seeds, and in brackets the least and the largest 5 % quantile."""
    seeds, chips = len(options.seeds), options.chips
    lines = [
        f"Mean of {seeds} seeds; {chips} chips each, the same for all; yield: chips with {options.wanted:g} or more; "
        "power by assumed energies.",
        "",
        "| chip | training | clean | mean over chips | 5 % quantile | yield | power, µW |",
        "|---|---|---|---|---|---|---|",
    ]
    for chip in CHIPS:
        for way in WAYS:
            own = [row for row in rows if (row["chip"], row["training"]) == (chip, way)]
            of = {
                key: [float(row[key]) for row in own]
                for key in ("clean", "mean", "q05", "yield", "power_uw")
            }
            spread = f"[{min(of['q05']):.3f}, {max(of['q05']):.3f}]"
            lines.append(
                f"| {chip} | {way} | {mean(of['clean']):.4f} | {mean(of['mean']):.4f} | {mean(of['q05']):.4f} {spread} "
                f"| {mean(of['yield']):.1%} | {mean(of['power_uw']):.2f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
