"""Accuracy of `nwave train` on all development sets, next to goals and baselines.

Run: python -m benchmarks.accuracy --data-folder FOLDER [--only arabic-words] [--seeds 3]

Each row is `nwave train --data PATH` with the options of its `DevelopmentSet`. The test set is read
once for each seed. Numbers go to `benchmarks/results/accuracy/<row>.json`, runs to `runs/accuracy`;
the same command continues what was killed. `--baselines` adds a CNN and an SVM, `--table` prints
the table of the results that there are.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks import baselines
from benchmarks.development import SETS, DevelopmentSet, chosen_sets, find_data
from benchmarks.results import ROOT, write
from nwavesdk.cli.app import split_commas
from nwavesdk.data.assignment import SPLIT_VERSION

__all__ = ["RESULTS", "main", "run_numbers", "table", "table_row"]

RESULTS = ROOT / "benchmarks" / "results" / "accuracy"
RUNS = ROOT / "runs" / "accuracy"

# Most spikes per step and neuron of a hidden layer that the goal allows.
MAX_SPIKES = 0.05

HEADER = (
    "| set | split version | accuracy, % | goal | | CNN | CNN with augmentation | SVM "
    "| hidden rates, % | parameters | operations, M (dense MACs) | seconds |\n" + "|---" * 12 + "|"
)

# Numbers of a result that are stored, of folds as their means: rates, operations per recording,
# and accuracies of simple models.
MEANS = (
    "hidden_rate",
    "dense_macs",
    "effective_macs",
    "effective_acs",
    "majority_accuracy",
    "linear_accuracy",
)

Result = dict[str, Any]


def read_row(name: str) -> Result:
    """The stored numbers of a row; empty ones if there are none."""
    file = RESULTS / f"{name}.json"
    if not file.is_file():
        return {"name": name, "command": "", "seeds": [], "baselines": []}
    stored: Result = json.loads(file.read_text(encoding="utf-8"))
    return stored


def store(name: str, **parts: Any) -> Result:
    """Replace parts of a row's numbers; others may have been written meanwhile, and stay."""
    row = {**read_row(name), **parts}
    write(RESULTS / f"{name}.json", row)
    return row


def train(data_set: DevelopmentSet, data: Path | str, seed: int, threads: int) -> Result:
    """The result of `nwave train` for a seed: of a new run, a continued one, or a finished one.

    Raises:
        RuntimeError: If the command failed; the message has the end of its output.
    """
    out = RUNS / data_set.name / f"seed-{seed}"
    words = [
        "--data",
        str(data),
        *data_set.options(),
        "--seed",
        str(seed),
        "--out",
        str(out),
        "--json",
    ]
    if (out / "config.json").is_file():  # a single run; folds continue without it
        words.append("--resume")
    # Folds run side by side, on one thread each.
    words += ["--jobs", str(threads)] if data_set.fold is not None else []
    count = {name: str(threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    process = subprocess.run(
        [sys.executable, "-c", "from nwavesdk.cli import main; main()", "train", *words],
        cwd=ROOT,
        env=os.environ | count,
        capture_output=True,
        text=True,
    )
    if process.returncode:
        raise RuntimeError(f"{data_set.name}, seed {seed}: {process.stderr.strip()[-800:]}")
    result: Result = json.loads(process.stdout)
    return result


def run_numbers(result: Mapping[str, Any], *, outputs_spike: bool = False) -> Result:
    """What is stored of a result: numbers, and no path.

    Args:
        result: What `nwave train --json` printed, of a run or of folds.
        outputs_spike: Whether the last layer that spikes is the output layer.
    """
    runs = result.get("cells", [result])
    layers = [*zip(*(run["rates"] for run in runs), strict=True)]
    if outputs_spike:
        layers.pop()
    accuracies = [run["test_accuracy"] for run in runs]
    numbers: Result = {
        "accuracy": statistics.fmean(accuracies),
        "split_version": SPLIT_VERSION,
        "validation": statistics.fmean(run["val_accuracy"] for run in runs),
        "rates": [round(statistics.fmean(layer), 5) for layer in layers],
        "parameters": runs[0]["parameters"],
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "epochs": [run["epochs"] for run in runs],
    }
    for name in MEANS:
        if all(run.get(name) is not None for run in runs):
            numbers[name] = round(statistics.fmean(run[name] for run in runs), 6)
    if len(runs) > 1:
        numbers["folds"] = accuracies
    return numbers


def measure_row(data_set: DevelopmentSet, data: Path | str, seeds: int, threads: int) -> None:
    """Train with each seed that has no numbers yet, and store them."""
    row = read_row(data_set.name)
    command = shlex.join(["nwave", "train", "--data", data_set.path, *data_set.options()])
    results = row["seeds"] if row["command"] == command else []
    for seed in set(range(seeds)) - {result["seed"] for result in results}:
        numbers = run_numbers(
            train(data_set, data, seed, threads),
            outputs_spike=data_set.net_options.get("name") == "lif",
        )
        results = sorted([*results, {"seed": seed, **numbers}], key=lambda result: result["seed"])
        store(data_set.name, command=command, seeds=results)
        print(f"{data_set.name}, seed {seed}: {100 * numbers['accuracy']:.2f} %", file=sys.stderr)


def measure_baselines(
    data_set: DevelopmentSet, data: Path | str, seeds: int, methods: list[str]
) -> None:
    """Measure the baselines that have no numbers yet, and store them."""
    results = read_row(data_set.name)["baselines"]
    done = {(result["method"], result["seed"]) for result in results}
    # A net of ours has no part in the features.
    sections = data_set.choices(data)
    choices = {name: sections[name] for name in ("data", "task") if name in sections}
    for method in methods:
        for seed in range(seeds if baselines.METHODS[method] else 1):
            if (method, seed) in done:
                continue
            result = baselines.measure(
                choices, method, seed, data_set.learning_options.get("epochs")
            )
            if result is None:
                break
            results = [*results, result]
            store(data_set.name, baselines=results)
            print(f"{data_set.name}: {baselines.mean_line([result])}", file=sys.stderr)


def spread(values: list[float], digits: int = 2) -> str:
    """Mean and deviation as text; `-` without values.

    Example:
        >>> spread([1.0, 3.0])
        '2.00 ± 1.41'
    """
    if not values:
        return "-"
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def operations_text(results: list[Result]) -> str:
    """Operations per recording [millions] and, in parentheses, of the same net if dense."""
    counted = [result for result in results if "dense_macs" in result]
    if not counted:
        return ""
    dense = statistics.fmean(result["dense_macs"] for result in counted)
    sparse = statistics.fmean(r["effective_macs"] + r["effective_acs"] for r in counted)
    return f"{sparse / 1e6:.2f} ({dense / 1e6:.2f})"


def table_row(data_set: DevelopmentSet, row: Mapping[str, Any]) -> str:
    """A row of the table, in Markdown."""
    results = row["seeds"]
    accuracies = [100 * result["accuracy"] for result in results]
    verdict = ""
    if accuracies and data_set.goal is not None:
        verdict = "met" if statistics.fmean(accuracies) >= data_set.goal else "missed"
    rates = ""
    if results:
        layers = zip(*(result["rates"] for result in results), strict=True)
        means = [statistics.fmean(layer) for layer in layers]
        rates = ", ".join(f"{100 * rate:.1f}" for rate in means)
        rates += " (above 5)" if any(rate > MAX_SPIKES for rate in means) else ""
    by_method = [
        spread([100 * b["accuracy"] for b in row["baselines"] if b["method"] == method], 1)
        for method in ("cnn", "cnn-augmented", "svm")
    ]
    cells = [
        data_set.name,
        # Results that do not name their version have the first one.
        ", ".join(sorted({str(result.get("split_version", 1)) for result in results})),
        spread(accuracies),
        f"≥ {data_set.goal:g}" if data_set.goal is not None else "-",
        verdict,
        *by_method,
        rates,
        f"{results[0]['parameters']:,}" if results else "",
        operations_text(results),
        spread([result["seconds"] for result in results], 0),
    ]
    return f"| {' | '.join(cells)} |"


def table() -> Iterator[str]:
    """The lines of the table of all rows with results."""
    yield HEADER
    for data_set in SETS:
        row = read_row(data_set.name)
        if row["seeds"] or row["baselines"]:
            yield table_row(data_set, row)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    data_folder: Annotated[Path, typer.Option(help="The folder with all sets.")] = Path("data"),
    only: Annotated[str | None, typer.Option(help="Names or kinds between commas.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each run.")] = 2,
    with_baselines: Annotated[
        bool, typer.Option("--baselines", help="Measure the baselines, too.")
    ] = False,
    only_baselines: Annotated[
        bool, typer.Option("--only-baselines", help="Measure the baselines, and train nothing.")
    ] = False,
    methods: Annotated[str, typer.Option(help="Baselines between commas.")] = ",".join(
        baselines.METHODS
    ),
    only_table: Annotated[bool, typer.Option("--table", help="Print the table only.")] = False,
) -> None:
    """Measure the rows that are asked for, and print the table."""
    torch.set_num_threads(threads)
    names = None if only is None else split_commas("--only", only)
    for data_set in [] if only_table else chosen_sets(names):
        data = find_data(data_set, data_folder.resolve())
        if data is None:
            print(
                f"{data_set.name}: {data_set.path} is not in {data_folder}: skipped",
                file=sys.stderr,
            )
            continue
        if not only_baselines:
            measure_row(data_set, data, seeds, threads)
        if with_baselines or only_baselines:
            measure_baselines(data_set, data, seeds, split_commas("--methods", methods))
    print(*table(), sep="\n")


if __name__ == "__main__":
    app()
