"""Is training with mismatch worthwhile? Nets for H1v1 and H1v2, trained in three ways.

    python examples/mismatch.py FOLDER [--out runs/mismatch] [--seeds 0 1 2] [--chips 200]

FOLDER has one subfolder of wavs for each class, such as `yes/` and `no/` of Speech Commands,
whose file names identify the speaker. Recordings are split by speaker, equally for every run, and
the test set is read only here, on 200 chips. "plain" training uses the chip's neurons and charge
law, and converts weights to the chip's range, signs and bits at its end. "hardware" trains within
them. "mismatch" also draws another chip for each batch; no test chip is one of those. Finished
runs are not repeated. The table is written to OUT/table.md, all numbers to OUT/table.json.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

from nwavesdk.deploy import ChipRun
from nwavesdk.internal.files import write_atomically
from nwavesdk.train import Run, RunConfig, RunFolder

TRAININGS = ("plain", "hardware", "mismatch")
SERIES_SEED = 1000
"""Seed of the chips: the same 200 for every run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("runs/mismatch"))
    parser.add_argument("--profiles", nargs="+", default=["h1v1", "h1v2"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--chips", type=int, default=200)
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--wanted", type=float, default=0.9, help="accuracy from which a chip counts as good"
    )
    parser.add_argument("--limit", type=int, help="approximate number of recordings to use")
    options = parser.parse_args()
    rows = []
    for chip in options.profiles:
        for training in TRAININGS:
            for seed in options.seeds:
                row = run_and_evaluate(options, chip, training, seed)
                rows.append(row)
                print(" ".join(f"{key} {as_text(value)}" for key, value in row.items()), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out / "table.json", (json.dumps(rows, indent=2) + "\n").encode())
    text = table(rows, options)
    write_atomically(options.out / "table.md", text.encode())
    print(text)


def run_and_evaluate(
    options: argparse.Namespace, chip: str, training: str, seed: int
) -> dict[str, float | str]:
    """Train a run unless it is finished, and evaluate it on all chips."""
    path = options.out / f"{chip}-{training}-{seed}"
    if not RunFolder(path).finished:
        choices = {
            "seed": seed,
            "data": {"source": str(options.folder.resolve())} | if_given("limit", options.limit),
            "chip": {"profile": chip, "training": training},
            "learning": if_given("epochs", options.epochs),
        }
        has_started = RunFolder(path).config.is_file()
        (Run.open(path) if has_started else Run.new(path, RunConfig.of(choices))).train()
    run = ChipRun.open(path)
    series = run.series(options.chips, SERIES_SEED, options.wanted)
    return {
        "chip": chip,
        "training": training,
        "seed": seed,
        "clean": series.designed,
        "mean": mean(series.accuracy),
        "q05": series.quantile(0.05),
        "q50": series.quantile(0.5),
        "yield": series.share,
        "power_uw": 1e6 * run.power().total,
    }


def if_given(name: str, value: int | None) -> dict[str, int]:
    return {} if value is None else {name: value}


def as_text(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(rows: list[dict[str, float | str]], options: argparse.Namespace) -> str:
    """Return means over seeds, with the smallest and largest 5 % quantile in brackets."""
    lines = [
        f"Mean of {len(options.seeds)} seeds; {options.chips} chips each, the same for all; "
        f"yield: chips with {options.wanted:g} or more; power from assumed energies.",
        "",
        "| chip | training | clean | mean over chips | 5 % quantile | yield | power, µW |",
        "|---|---|---|---|---|---|---|",
    ]
    for chip in options.profiles:
        for training in TRAININGS:
            runs = [row for row in rows if (row["chip"], row["training"]) == (chip, training)]
            values = {
                key: [float(row[key]) for row in runs]
                for key in ("clean", "mean", "q05", "yield", "power_uw")
            }
            spread = f"[{min(values['q05']):.3f}, {max(values['q05']):.3f}]"
            lines.append(
                f"| {chip} | {training} | {mean(values['clean']):.4f} | {mean(values['mean']):.4f} "
                f"| {mean(values['q05']):.4f} {spread} "
                f"| {mean(values['yield']):.1%} | {mean(values['power_uw']):.2f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
