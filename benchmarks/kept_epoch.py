"""Choose which weights of a run are kept: of the last epoch, of the best one, or an average.

Run: python -m benchmarks.kept_epoch --data-folder FOLDER [--only digits,ecg] [--seeds 2]

Each set is trained on once per seed, as `nwave train --no-test`: no test set is read. The best
epoch has the highest accuracy on the recordings that choose it, so these cannot also measure it.
The validation set is split into halves, by speaker where file names give one: each half measures
the epoch that the other one chose, and the numbers are the means of both. The average is of the
weights of the last quarter of the epochs. Its batch norms have the average of their statistics, or
statistics of the training set, computed again.

Numbers go to `benchmarks/results/kept_epoch/<set>-<seed>.json`; the same command continues what was
killed. `--table` prints the table of the results that there are.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from benchmarks.development import DevelopmentSet, chosen_sets, find_data
from benchmarks.recipe import merged, parse_assignment
from benchmarks.results import ROOT
from nwavesdk.cli.app import split_commas
from nwavesdk.data import Series
from nwavesdk.data.speakers import speakers_of
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.net.preparation import prepared
from nwavesdk.net.recording import record_spikes
from nwavesdk.train import Run, RunConfig
from nwavesdk.train.fit.learner import lengths_of
from nwavesdk.train.fit.loaders import BatchOrder, batches_of
from nwavesdk.train.fit.objective import TrainingTask

__all__ = ["RESULTS", "choose", "halves", "main", "mean_weights", "table"]

RESULTS = ROOT / "benchmarks" / "results" / "kept_epoch"

# Share of the epochs, at the end of a run, whose weights are averaged.
AVERAGED_SHARE = 0.25

# The ways to keep weights, and the title of each in the table.
WAYS = {
    "last": "last epoch",
    "best": "best epoch by accuracy",
    "lowest loss": "best epoch by loss",
    "average": "average",
    "average, new statistics": "average, statistics again",
}

Weights = Mapping[str, Tensor]
# Accuracy and loss.
Score = tuple[float, float]


def halves(keys: Sequence[str]) -> tuple[list[int], list[int]]:
    """The recordings of both halves of a set: every other speaker, or every other recording.

    Example:
        >>> halves(["no/a_nohash_0.wav", "no/b_nohash_0.wav", "yes/a_nohash_0.wav"])
        ([0, 2], [1])
        >>> halves(["1", "2", "3"])
        ([0, 2], [1])
    """
    groups = speakers_of(keys)
    if "" in groups or len(set(groups)) == 1:
        groups = tuple(keys)
    number = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    first = [index for index, group in enumerate(groups) if number[group] % 2 == 0]
    second = [index for index, group in enumerate(groups) if number[group] % 2 == 1]
    return first, second


def mean_weights(epochs: Sequence[Weights]) -> dict[str, Tensor]:
    """The mean of the weights and buffers of several epochs; counters are from the last epoch.

    Example:
        >>> mean_weights([{"w": torch.tensor(1.0)}, {"w": torch.tensor(2.0)}])
        {'w': tensor(1.5000)}
    """
    return {
        name: torch.stack([weights[name] for weights in epochs]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in epochs[-1].items()
    }


def choose(scores: Sequence[Score], way: str) -> int:
    """The index of the epoch that is kept, from the scores of all epochs.

    Example:
        >>> scores = [(0.9, 0.4), (1.0, 0.3), (1.0, 0.5), (0.9, 0.2)]
        >>> choose(scores, "last"), choose(scores, "best"), choose(scores, "lowest loss")
        (3, 1, 3)
    """
    epochs = range(len(scores))
    if way == "last":
        return epochs[-1]
    if way == "best":
        return max(epochs, key=lambda epoch: (scores[epoch][0], -scores[epoch][1]))
    return min(epochs, key=lambda epoch: scores[epoch][1])


@torch.no_grad()
def score(net: nn.Module, task: TrainingTask, series: Series, batch_size: int) -> Score:
    """Accuracy and loss of a net on a set."""
    net.eval()
    decoder = task.decoder()
    losses, decisions = 0.0, 0
    tally: Tensor | float = 0.0
    for batch in batches_of(series, batch_size):
        lengths = lengths_of(batch)
        with prepared(net), prepared(decoder):
            recording = record_spikes(net, batch.x, lengths=lengths)
            outputs = decoder(recording.spk, recording.mem, lengths)
        _, weight = task.batch_score(outputs, batch.y, lengths)
        losses += weight * task.loss(outputs, batch.y, lengths).item()
        decisions += weight
        tally = tally + task.tally(outputs, batch.y, lengths)
    assert isinstance(tally, Tensor)
    return round(task.measures(tally)["accuracy"], 6), round(losses / decisions, 6)


@torch.no_grad()
def measure_statistics(net: nn.Module, run: Run) -> None:
    """Give batch norms the mean of their statistics over the batches of one epoch of training.

    `torch.optim.swa_utils.update_bn` does so for the norms of torch.
    """
    norms = [module for module in net.modules() if isinstance(module, SequenceNorm)]
    momenta = [norm.momentum for norm in norms]
    batch_size = run.config.learning.batch_size
    order = BatchOrder(run.data.train, batch_size, 0, replicas=1, rank=0, has_batch_norm=True)
    order.set_epoch(run.config.learning.epochs)
    net.train()
    for count, batch in enumerate(batches_of(run.data.train, batch_size, order), 1):
        for norm in norms:
            norm.momentum = 1 / count
        with prepared(net):
            record_spikes(net, batch.x, lengths=lengths_of(batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def train(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of both halves of the validation set: of each epoch, and of the averages."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run.new(Path(folder) / "run", RunConfig.of(choices))
        epochs: list[Weights] = []

        def store_weights(_: Mapping[str, float]) -> None:
            state = torch.load(run.folder.checkpoint, weights_only=True)["state_dict"]
            epochs.append({name.removeprefix("net."): value for name, value in state.items()})

        run.train(store_weights)
    recordings = run.data.val.recordings
    sets = [
        replace(run.data.val, recordings=recordings.take(np.array(half)))
        for half in halves(recordings.keys)
    ]
    task, net = run.fitted_task, run.network()

    def scores() -> list[Score]:
        return [score(net, task, half, run.config.learning.batch_size) for half in sets]

    by_epoch = []
    for weights in epochs:
        net.load_state_dict(weights)
        by_epoch.append(scores())
    net.load_state_dict(mean_weights(epochs[-round(AVERAGED_SHARE * len(epochs)) :]))
    average = scores()
    measure_statistics(net, run)
    return {
        "recordings": [len(half) for half in sets],
        "epochs": by_epoch,
        "average": average,
        "average, new statistics": scores(),
    }


def kept_scores(result: Mapping[str, Any], way: str) -> Score:
    """Accuracy and loss of the weights that a way keeps: the means of both halves."""
    if way in result:
        measured = result[way]
    else:
        measured = []
        for chooses, measures in ((0, 1), (1, 0)):
            kept_epoch = choose([tuple(epoch[chooses]) for epoch in result["epochs"]], way)
            measured.append(result["epochs"][kept_epoch][measures])
    accuracies, losses = zip(*measured, strict=True)
    return statistics.fmean(accuracies), statistics.fmean(losses)


def table(results: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of the table: accuracy [%] and loss by set and way, and the gain over the last."""
    by_set: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_set.setdefault(result["set"], []).append(result)
    yield f"| set, epochs, seeds | {' | '.join(WAYS.values())} |"
    yield "|" + "---|" * (1 + len(WAYS))
    gains: dict[str, list[Score]] = {way: [] for way in WAYS}
    for name, runs in by_set.items():
        texts = []
        last: Score = (0.0, 0.0)
        for way in WAYS:
            pairs = [kept_scores(run, way) for run in runs]
            accuracy, loss = (statistics.fmean(values) for values in zip(*pairs, strict=True))
            if way == "last":
                last = accuracy, loss
            gains[way].append((accuracy - last[0], loss - last[1]))
            texts.append(f"{100 * accuracy:.2f} ({loss:.3f})")
        yield f"| {name}, {len(runs[0]['epochs'])}, {len(runs)} | {' | '.join(texts)} |"
    if len(by_set) > 1:
        texts = [_gain_text(gains[way]) for way in WAYS if way != "last"]
        yield f"| all sets: gain over the last epoch | | {' | '.join(texts)} |"


def _gain_text(gains: Sequence[Score]) -> str:
    """Mean and standard error over sets of the gain in accuracy [points], and of that in loss."""
    accuracies, losses = zip(*gains, strict=True)

    def error(values: Sequence[float]) -> float:
        return statistics.stdev(values) / len(values) ** 0.5

    points = [100 * accuracy for accuracy in accuracies]
    return (
        f"{statistics.fmean(points):+.2f} ± {error(points):.2f} "
        f"({statistics.fmean(losses):+.3f} ± {error(losses):.3f})"
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    data_folder: Annotated[Path, typer.Option(help="The folder with all sets.")] = Path("data"),
    only: Annotated[str | None, typer.Option(help="Names or kinds between commas.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 1,
    fix: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="For all runs.")
    ] = None,
    print_only: Annotated[bool, typer.Option("--table", help="Train nothing.")] = False,
) -> None:
    """Train all runs that are missing, and print the table."""
    fixed = {field: values[0] for field, values in map(parse_assignment, fix or [])}
    RESULTS.mkdir(parents=True, exist_ok=True)
    sets = [] if print_only else chosen_sets(None if only is None else split_commas("--only", only))
    for data_set in sets:
        data = find_data(data_set, data_folder.resolve())
        if data is None:
            print(f"{data_set.name}: {data_set.path} is missing: skipped", file=sys.stderr)
            continue
        for seed in range(seeds):
            file = RESULTS / f"{data_set.name}-{seed}.json"
            if not file.is_file():
                choices = _choices(data_set, data, fixed)
                numbers = train({**choices, "seed": seed})
                result = {"set": data_set.name, "seed": seed, "with": fixed, **numbers}
                write_atomically(file, (json.dumps(result) + "\n").encode())
    stored = [
        json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))
    ]
    print(*table(stored), sep="\n")


def _choices(
    data_set: DevelopmentSet, data: Path | str, fixed: Mapping[str, Any]
) -> dict[str, Any]:
    """The choices of a run on one thread that reads no test set."""
    values = {**fixed, "data.test": False, "machine.threads": 1}
    if data_set.fold is not None:
        values["data.fold"] = data_set.fold
    return merged(data_set.choices(data), values)


if __name__ == "__main__":
    app()
