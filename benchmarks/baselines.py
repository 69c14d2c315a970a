"""A small CNN and an SVM on the features, sets and augmentation of a run of `nwave train`.

Run: python -m benchmarks.baselines --data PATH [options of nwave train] [--seeds 3]

The CNN is in `benchmarks/cnn.py`, the SVM in `benchmarks/svm.py`. All choices are made on the
validation set. The test set is read once for each seed, or for each fold of each seed.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.cnn import learn, macs_of, net_for, score
from benchmarks.svm import fit_svm
from nwavesdk.cli.app import split_commas
from nwavesdk.cli.options import DATA_FIELDS, add_run_choices
from nwavesdk.data import Series, Split
from nwavesdk.train import RunConfig
from nwavesdk.train.data.load import complete_data

__all__ = ["METHODS", "fold_sets", "mean_line", "measure"]

# Every method, and whether its result depends on the seed.
METHODS = {"svm": False, "cnn": True, "cnn-augmented": True}

Choices = Mapping[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Sets:
    """The sets of one run or fold.

    Attributes:
        series: The training, validation and test set, one step per frame.
        kind: What a recording is.
        shape: Shape of the features of a frame.
        n_classes: Number of classes.
        is_per_step: Whether each step has a class.
    """

    series: Split[Series]
    kind: str
    shape: tuple[int, ...]
    n_classes: int
    is_per_step: bool


def measure(
    choices: Choices, method: str, seed: int = 0, epochs: int | None = None
) -> Result | None:
    """Train a method on a run's data, and test it once; with folds, on each of them.

    Args:
        choices: Choices of a run in the form of `RunConfig.of`.
        method: A name in `METHODS`.
        seed: Seed of weights, order and dropout.
        epochs: Passes over the training set. [see `benchmarks.cnn.learn`]

    Returns:
        Accuracy on the test set, on the validation set, parameters, multiplications with
        additions (MACs) of a decision, and seconds of the processor, which other programs do not
        change; with folds, the mean, and each accuracy. None if the run has no augmentation: the
        method would be the same as the one without.
    """
    run = measure_svm if method == "svm" else measure_cnn
    results = []
    is_augmented = method == "cnn-augmented"
    for sets in fold_sets(choices, seed, is_augmented=is_augmented):
        if is_augmented and not sets.series.train.is_augmented:
            return None
        start = time.process_time()
        result = run(sets, seed, epochs)
        results.append({**result, "seconds": time.process_time() - start})
    means = {name: statistics.fmean(result[name] for result in results) for name in results[0]}
    summary: Result = {
        "method": method,
        "seed": seed,
        "accuracy": round(means["accuracy"], 6),
        "validation": round(means["validation"], 6),
        "parameters": round(means["parameters"]),
        "macs": round(means["macs"]),
        "seconds": round(len(results) * means["seconds"], 1),
    }
    if len(results) > 1:
        summary["folds"] = [round(result["accuracy"], 6) for result in results]
    return summary


def fold_sets(choices: Choices, seed: int = 0, *, is_augmented: bool = False) -> Iterator[Sets]:
    """The sets of a run, or of one fold after the other.

    Args:
        choices: Choices of a run in the form of `RunConfig.of`.
        seed: Seed of the random changes.
        is_augmented: Whether the training set is augmented as in the run.
    """
    data = choices.get("data", {})
    has_folds = bool({"folds", "leave_one_out"} & data.keys()) and "fold" not in data
    number = 1
    while True:
        fold = {"fold": number} if has_folds else {}
        config = RunConfig.of({**choices, "seed": seed, "data": {**data, **fold}})
        completed, loaded = complete_data(config)
        facts, task = completed.facts, completed.task.name
        if task not in ("classification", "labels"):
            raise ValueError(
                f"data.source: the task is {task}, but the baselines have classes: expected "
                "recordings with a class for each recording or step."
            )
        yield Sets(
            series=loaded.map(partial(frame_series, is_augmented=is_augmented)),
            kind=completed.data.source_kind,
            shape=facts.feature_shape or (facts.n_features,),
            n_classes=len(facts.classes),
            is_per_step=task == "labels",
        )
        if number >= facts.n_folds or not has_folds:
            return
        number += 1


def frame_series(series: Series, *, is_augmented: bool) -> Series:
    """The sequences of a run with one step per frame, and changed only where that is wanted."""
    augmentation = series.augmentation if is_augmented else None
    frame_input = replace(series.input, hold=1, encoder="current", as_lists=False)
    return replace(series, input=frame_input, augmentation=augmentation)


def measure_cnn(sets: Sets, seed: int, epochs: int | None) -> Result:
    """The numbers of a CNN."""
    torch.manual_seed(seed)
    net = net_for(sets.kind, sets.shape, sets.n_classes, is_per_step=sets.is_per_step)
    macs = macs_of(net, sets.series.val)
    learned = learn(net, sets.series.train, sets.series.val, seed, epochs)
    return {
        "accuracy": score(learned.net, sets.series.test),
        "validation": learned.validation,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "macs": macs,
    }


def measure_svm(sets: Sets, seed: int, epochs: int | None) -> Result:
    """The numbers of an SVM, which has neither a seed nor epochs."""
    del seed, epochs
    fitted = fit_svm(sets.series.train, sets.series.val)
    return {
        "accuracy": fitted.score(sets.series.test),
        "validation": fitted.validation,
        "parameters": fitted.parameters,
        "macs": fitted.macs,
    }


def mean_line(results: list[Result]) -> str:
    """Mean and deviation of a method over its seeds, as a line."""
    accuracies = [100 * result["accuracy"] for result in results]
    spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    first = results[0]
    seconds = statistics.fmean(result["seconds"] for result in results)
    return (
        f"{first['method']:<14} {statistics.fmean(accuracies):.2f}{spread} %, "
        f"{first['parameters']:,} parameters, {first['macs']:,} MACs, {seconds:.0f} s"
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
@add_run_choices(
    *("data.source", *DATA_FIELDS, "data.folds", "data.leave_one_out"),
    *("task.name", "task.look_ahead"),
)
def main(
    choices: dict[str, Any],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 3,
    methods: Annotated[str, typer.Option(help="Methods between commas.")] = ",".join(METHODS),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of the CNN. [about 1,500 updates]")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    out: Annotated[Path | None, typer.Option(help="JSON file for all numbers.")] = None,
) -> None:
    """Measure the methods one after the other, and print a line for each."""
    torch.set_num_threads(threads)
    names = split_commas("--methods", methods)
    if unknown := set(names) - METHODS.keys():
        raise typer.BadParameter(f"{unknown.pop()!r}: expected {', '.join(METHODS)}")
    measured: list[Result] = []
    for name in names:
        n_seeds = seeds if METHODS[name] else 1
        tried = (measure(choices, name, seed, epochs) for seed in range(n_seeds))
        try:
            results = [result for result in tried if result is not None]
        except ValueError as error:
            sys.exit(str(error))
        if not results:
            typer.echo(f"{name}: a run on these data has no augmentation")
            continue
        typer.echo(mean_line(results))
        measured += results
        if out is not None:
            out.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
