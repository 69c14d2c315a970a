"""A causal CNN of the size of the spiking detector, trained, tuned and measured as `nwave train`.

    python -m benchmarks.detector FOLDER --split FOLDER/split.csv --test --run runs/wake-words

The CNN is the net of the preset `conv` with ReLU in place of its neurons. It gets the features,
chunks, hard places and number of updates of a run with the same options. Its decision is fitted on
the same validation stream for the same budget of false alarms, and the net runs in the same blocks.
The test set is read only with `--test`. Results are appended to a file, one JSON object in a line.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from lightning.pytorch import Callback, Trainer
from torch import nn

from benchmarks.cnn import DROPOUT, PEAK_RATE
from benchmarks.results import FOLDER
from nwavesdk.cli.train import measures_text
from nwavesdk.data.composed import ComposedSeries
from nwavesdk.layers import NeuronLayer, SpikingSequential, TemporalConv
from nwavesdk.train import CompletedConfig, RunConfig, RunFolder
from nwavesdk.train.apply.detections import DetectorTest
from nwavesdk.train.apply.trained import TrainedRun
from nwavesdk.train.data.load import RunData, complete_data
from nwavesdk.train.fit.learner import Learner
from nwavesdk.train.fit.loaders import loaders_of_run
from nwavesdk.train.fit.machine import quiet_lightning, trainer_of
from nwavesdk.train.fit.mining import HardPlaces
from nwavesdk.train.fit.network import RunNet, network_of_run
from nwavesdk.train.fit.tasks import task_of

__all__ = ["cnn_of", "learn", "main", "measure", "read_run"]

RESULTS = FOLDER / "detector.jsonl"

Result = dict[str, Any]


def cnn_of(config: CompletedConfig) -> RunNet:
    """The net of a detector's config with ReLU in place of its neurons.

    The scores have dropout before them, as in `benchmarks.cnn`, and are not integrated over time.
    """
    net = network_of_run(config)
    modules = dict(net.named_modules())
    *hidden, integrator = (name for name in modules if isinstance(modules[name], NeuronLayer))
    *_, scores = (name for name in modules if isinstance(modules[name], TemporalConv))

    for name in hidden:
        net.set_submodule(name, nn.ReLU())
    net.set_submodule(integrator, nn.Identity())
    net.set_submodule(scores, SpikingSequential(nn.Dropout(DROPOUT), modules[scores]))
    return net


class EpochLines(Callback):
    """Prints the number of updates and the loss of the last batch after each epoch."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        total = int(trainer.estimated_stepping_batches)
        loss = pl_module.latest["loss"].item()
        print(f"{trainer.global_step:,} of {total:,} updates, loss {loss:.3f}", file=sys.stderr)


def learn(net: RunNet, config: CompletedConfig, data: RunData, updates: int | None = None) -> int:
    """Train a net as a run of `nwave train` is trained, and return the number of updates.

    Args:
        net: The net; its weights change.
        config: The config of the run.
        data: The data of the run.
        updates: Number of updates. [as many as the run]
    """
    train, learning = data.train, config.learning
    assert isinstance(train, ComposedSeries)
    n_batches = math.ceil(len(train) / learning.batch_size)
    model = Learner(net, task_of(config).fitted(train), learning, seed=config.seed)

    trainer = trainer_of(
        config.machine,
        max_epochs=learning.epochs if updates is None else math.ceil(updates / n_batches),
        max_steps=-1 if updates is None else updates,
        gradient_clip_val=learning.clip,
        callbacks=[HardPlaces(train), EpochLines()],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    with quiet_lightning():
        trainer.fit(model, loaders_of_run(data, config))
    return trainer.global_step


def measure(config: RunConfig, updates: int | None = None) -> Result:
    """Train a CNN on the data of a detector, fit its decision, and measure it.

    Args:
        config: The settings of a run, which decide whether the test set is read.
        updates: Number of updates. [as many as the run]

    Returns:
        Misses, false alarms per hour and latencies under the names of `result.json`, the decision,
        the seed, and numbers of parameters, updates and seconds of the processor.
    """
    start = time.process_time()
    completed, data = complete_data(config)
    assert data.streams is not None
    assert isinstance(data.train, ComposedSeries)

    torch.manual_seed(completed.seed)
    net = cnn_of(completed)
    n_updates = learn(net, completed, data, updates)
    trained = TrainedRun.of(completed, net, task_of(completed), data.standard)
    tested = DetectorTest.of(trained, data.streams, data.train.framing)
    return {
        "net": "cnn",
        "seed": completed.seed,
        "updates": n_updates,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "seconds": round(time.process_time() - start, 1),
        **tested.fields,
    }


def read_run(path: Path) -> Result:
    """The same numbers of a trained run, as far as its `result.json` has them."""
    result = RunFolder(path).read_result()
    names = [name for name in result if name.startswith(("val_", "test_"))]
    shared = ("seed", "parameters", "rates", *names, "decision")
    return {"net": path.name, **{name: result[name] for name in shared}}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(help="A folder for each event, and background.")],
    split: Annotated[Path | None, typer.Option(help="Table of the sets.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, chunks and dropout.")] = 0,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Number of updates. [as nwave train]")
    ] = None,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = PEAK_RATE,
    test: Annotated[bool, typer.Option("--test", help="Read the test set.")] = False,
    run: Annotated[
        list[Path] | None, typer.Option(help="A trained run to compare with; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="File to which results are appended.")] = RESULTS,
) -> None:
    """Measure a CNN and print a line, and a line for each run to compare with."""
    data: dict[str, Any] = {"source": str(folder), "test": test}
    if split is not None:
        data["split"] = str(split)
    choices = {
        "seed": seed,
        "data": data,
        "task": {"name": "detect"},
        "net": {"name": "conv"},
        "learning": {"rate": rate},
        "machine": {"accelerator": "cpu"},
    }
    try:
        # A wrong folder is an error before the CNN is trained.
        runs = [read_run(path) for path in run or []]
        results = [measure(RunConfig.of(choices), updates), *runs]
    except ValueError as error:
        sys.exit(str(error))

    parts = ("val_", "test_") if test else ("val_",)
    for result in results:
        shown = {name: value for name, value in result.items() if name.startswith(parts)}
        print(f"{result['net']:<12} {result['parameters']:,} parameters, {measures_text(shown)}")
    with open(out, "a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(result)}\n" for result in results)


if __name__ == "__main__":
    app()
