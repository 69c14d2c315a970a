"""A first layer with fewer channels: accuracy of spoken words against instructions per frame.

    python -m benchmarks.c_export.first_layer FOLDER [--seeds 3] [--picture FILE]

Each net is trained as `nwave train --data FOLDER --level running --no-test`, with a copy of the
page `conv` whose first layer over bands has so many channels, and exported as C. Accuracy is that
of the exported net on the validation set. Instructions are counted by QEMU on a Cortex-M4 with its
DSP instructions. Results are appended to a file, one JSON object in a line; a net that is in it is
not trained again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.c_export.instructions import count_instructions
from benchmarks.results import FOLDER
from nwavesdk.presets import page_path

__all__ = ["draw", "measure"]

RESULTS = FOLDER / "first_layer.jsonl"
CHANNELS = (8, 16, 32, 44, 56)

# The first layer in the page of the preset.
FIRST_LAYER = "((56, 5, 2, 1),"

Result = dict[str, Any]


def measure(data: str, channels: int, seed: int) -> Result:
    """Train, export and count one net."""
    page = page_path("conv").read_text(encoding="utf-8")
    assert page.count(FIRST_LAYER) == 1

    with tempfile.TemporaryDirectory() as work:
        file, run, firmware = f"{work}/net.py", f"{work}/run", f"{work}/firmware"
        Path(file).write_text(page.replace(FIRST_LAYER, f"(({channels}, 5, 2, 1),"))

        options = ["--level", "running", "--no-test", "--threads", "1", "--seed", str(seed)]
        _nwave("train", "--data", data, "--net", file, *options, "--out", run)
        exported = json.loads(_nwave("export", run, "--net", file, "--c", firmware, "--json"))
        count = count_instructions(Path(firmware), ["-O2"])

    return {
        "channels": channels,
        "seed": seed,
        "accuracy": exported["rounded"]["val_accuracy"],
        "float_accuracy": exported["float"]["val_accuracy"],
        "instructions": round(count.per_frame),
        "flash": count.flash,
        "state": exported["ram"],
        "verdict": count.verdict,
    }


def _nwave(*arguments: str) -> str:
    """What a command prints to standard output."""
    command = [str(Path(sys.executable).with_name("nwave")), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def draw(results: list[Result], path: Path) -> None:
    """Draw the accuracy of all nets against their instructions."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for channels in sorted({result["channels"] for result in results}):
        nets = [result for result in results if result["channels"] == channels]
        x = [net["instructions"] / 1000 for net in nets]
        y = [100 * net["accuracy"] for net in nets]
        axes.plot(x, y, "o", label=f"{channels} channels")
        axes.plot(np.mean(x), np.mean(y), "_", color="black", markersize=16)
    axes.set(xlabel="thousand instructions per frame", ylabel="validation accuracy [%]")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder of spoken words, one folder per class")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--picture", type=Path, help="draw the results to this file")
    arguments = parser.parse_args()

    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    results = [json.loads(line) for line in lines]
    known = {(result["channels"], result["seed"]) for result in results}

    for seed in range(arguments.seeds):
        for channels in CHANNELS:
            if (channels, seed) in known:
                continue
            results.append(measure(arguments.data, channels, seed))
            print(json.dumps(results[-1]), flush=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(results[-1]) + "\n")

    if arguments.picture is not None:
        draw(results, arguments.picture)


if __name__ == "__main__":
    main()
