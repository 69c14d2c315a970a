"""What an inference of a run costs, next to a CNN of about the same accuracy.

Run: python -m benchmarks.energy RUN [--cnn-run RUN] [--output FILE]

Each number is marked: `counted` on recordings of the test set, `measured` on all of it, or
`assumed`, which means counts times energies that others have published. No energy is measured.

Memory traffic is counted in words of 4 bytes, by two rules that bound it:

    least   each parameter, input, charge and spike moves once, each state twice per step
    most    nothing is reused: each effective operation reads a weight and an input, and reads and
            writes its sum; neurons as before

Norms, pools and ReLU of either net are not counted. The CNN has the least width whose validation
accuracy is at most half a percent below the accuracy of the run.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import results
from benchmarks.baselines import frame_series
from benchmarks.cnn import learn, net_for, score
from nwavesdk.data import Series
from nwavesdk.deploy import Consumption, get_chip_consumption
from nwavesdk.layers import NeuronLayer
from nwavesdk.metrics import OperationCounter
from nwavesdk.net import record
from nwavesdk.net.preparation import prepared
from nwavesdk.net.wiring import watch_calls
from nwavesdk.train import Run
from nwavesdk.train.report.costs import counted_recordings

FILE = results.FOLDER / "energy.json"
WIDTHS = 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0
AS_GOOD = 0.005  # by which the validation accuracy of the CNN may be lower

# Energies of 45 nm at 0.9 V in pJ, of 32-bit floats: Horowitz 2014, "Computing's energy problem
# (and what we can do about it)", ISSCC, doi:10.1109/ISSCC.2014.6757323. A word of 32 bits is half
# of the 64 bits in its table, from 8 KB of SRAM (least) and from 1 MB (most).
ADD, MULTIPLY = 0.9, 3.7
MIN_WORD, MAX_WORD = 5.0, 50.0


@dataclass(frozen=True)
class Costs:
    """What one inference costs: means over the counted recordings.

    Attributes:
        name: The net.
        accuracy: On the whole test set.
        parameters: Parameters.
        dense: Multiply-accumulates if zeros are multiplied, too.
        macs: Effective ones.
        acs: Effective accumulates.
        updates: Updates of neurons.
        least_words: Words moved, at least.
        most_words: Words moved, at most.
    """

    name: str
    accuracy: float
    parameters: int
    dense: float
    macs: float
    acs: float
    updates: float
    least_words: float
    most_words: float

    @property
    def arithmetic(self) -> float:
        """Energy of operations [nJ]; the update of a neuron is a MAC and a comparison."""
        pairs = self.macs + self.updates
        return (pairs * (ADD + MULTIPLY) + (self.acs + self.updates) * ADD) / 1e3

    @property
    def memory(self) -> tuple[float, float]:
        """Energy of memory [nJ]: few words from a small memory, and many from a large one."""
        return self.least_words * MIN_WORD / 1e3, self.most_words * MAX_WORD / 1e3


class OfOneLength(nn.Module):
    """A CNN as a net that is called as `net(x)`, for recordings of one length."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net(x, torch.full((len(x),), x.shape[1]))


class _Traffic:
    """Words that move at least, counted while a net runs."""

    def __init__(self) -> None:
        self.least = self.neurons = 0

    def on_synapse(self, module: nn.Module, x: Tensor, charge: Tensor) -> None:  # noqa: ARG002
        values = x.to_dense().numel() if x.is_sparse else x.numel()
        self.least += values + charge.numel()

    def on_layer(self, layer: NeuronLayer, charge: Tensor, fired: Tensor) -> None:  # noqa: ARG002
        # Each state is read and written, the charge is read and the spike written.
        self.neurons += fired.numel() * (2 * len(layer.neuron.states) + 2)
        if layer.recurrent_weights is not None:
            self.least += 2 * fired.numel()


def costs_of(name: str, net: nn.Module, accuracy: float, series: Series) -> Costs:
    """Count an inference on recordings of a set.

    Args:
        name: How to call the net.
        net: A net from `[B, T, F]`, of any kind.
        accuracy: What it reaches on the whole set.
        series: The set.
    """
    counter, traffic = OperationCounter(net.eval()), _Traffic()
    for x in _batches(series):
        counter.count(x)
        with (
            torch.no_grad(),
            prepared(net),
            watch_calls(net, traffic.on_synapse, traffic.on_layer),
        ):
            net(x)
    counts = counter.result()
    if counts.not_counted:
        raise ValueError(f"operations of {', '.join(counts.not_counted)} cannot be counted.")
    neurons = traffic.neurons / counts.recordings
    return Costs(
        name=name,
        accuracy=accuracy,
        parameters=counts.parameters,
        dense=counts.dense,
        macs=counts.effective_macs,
        acs=counts.effective_acs,
        updates=counts.updates,
        least_words=counts.parameters + traffic.least / counts.recordings + neurons,
        most_words=4 * counts.synaptic + neurons,
    )


def _batches(series: Series) -> Iterator[Tensor]:
    """The counted recordings in batches of one length."""
    indices = counted_recordings(series)
    lengths = series.lengths[indices]
    for length in np.unique(lengths):
        yield series.batch(indices[lengths == length]).x


def equal_cnn(run: Run, least: float, seed: int = 0) -> tuple[nn.Module, float, float]:
    """The narrowest CNN that is about as good on the validation set, its width and test accuracy.

    Args:
        run: A run with the sets to learn.
        least: Its validation accuracy, at least; the widest CNN is taken if none has it.
        seed: Seed of weights, order and dropout.
    """
    facts = run.config.facts
    parts = run.data.train, run.data.val, run.test_set
    train, val, test = (frame_series(part, is_augmented=False) for part in parts)
    shape = facts.feature_shape or (facts.n_features,)
    for width in WIDTHS:
        torch.manual_seed(seed)
        net = net_for(
            run.config.data.source_kind, shape, len(facts.classes), is_per_step=False, width=width
        )
        learned = learn(net, train, val, seed)
        print(f"CNN of width {width:g}: validation accuracy {learned.validation:.4f}", flush=True)
        if learned.validation >= least:
            break
    return OfOneLength(learned.net), width, score(learned.net, test)


def chip_power(run: Run, net: nn.Module) -> tuple[Consumption, float] | None:
    """Average power of a net for a chip by the model of its profile, and joules per recording."""
    if run.config.chip is None:
        return None
    indices = counted_recordings(run.test_set)
    batch = run.test_set.batch(indices)
    lengths = torch.from_numpy(run.test_set.lengths[indices])
    with torch.no_grad(), prepared(net):
        recording = record(net, batch.x)
        power = get_chip_consumption(net, recording, dt=run.config.net.dt, lengths=lengths)
    return power, power.total * lengths.double().mean().item() * run.config.net.dt


def table_lines(costs: list[Costs], chip: tuple[Consumption, float] | None) -> list[str]:
    """All numbers as a table of Markdown, with how each is known."""
    rows = [
        ("accuracy on the test set", "measured", [f"{each.accuracy:.4f}" for each in costs]),
        ("parameters", "counted", [f"{each.parameters:,}" for each in costs]),
        ("MACs if zeros are multiplied", "counted", [f"{each.dense:,.0f}" for each in costs]),
        ("effective MACs", "counted", [f"{each.macs:,.0f}" for each in costs]),
        ("effective ACs", "counted", [f"{each.acs:,.0f}" for each in costs]),
        ("updates of neurons", "counted", [f"{each.updates:,.0f}" for each in costs]),
        ("words moved, least", "counted by rule", [f"{each.least_words:,.0f}" for each in costs]),
        ("words moved, most", "counted by rule", [f"{each.most_words:,.0f}" for each in costs]),
        ("energy of operations, nJ", "assumed", [f"{each.arithmetic:,.0f}" for each in costs]),
        ("energy of memory, nJ", "assumed", [_range(each.memory) for each in costs]),
    ]
    if chip is not None:
        power, energy = chip
        blank = ["-"] * (len(costs) - 1)
        rows.append(("power on the chip, µW", "assumed", [f"{1e6 * power.total:.2f}", *blank]))
        rows.append(("energy on the chip, nJ", "assumed", [f"{1e9 * energy:,.0f}", *blank]))
    names = " | ".join(each.name for each in costs)
    lines = [f"| per recording | how | {names} |", "|---|---|" + "---|" * len(costs)]
    return lines + [f"| {name} | {how} | {' | '.join(cells)} |" for name, how, cells in rows]


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:,.0f} to {bounds[1]:,.0f}"


def main() -> None:
    """Count a run and a CNN, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run with a class for each recording")
    parser.add_argument("--cnn-run", type=Path, help="the run whose frames the CNN learns")
    parser.add_argument("--output", type=Path, default=FILE, help="a section per name of RUN")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = Run.open(options.run)
    net = run.trained().net
    recorded = run.folder.read_result()
    ours = costs_of("spiking net", net, recorded["test_accuracy"], run.test_set)
    other = run if options.cnn_run is None else Run.open(options.cnn_run)
    cnn, width, accuracy = equal_cnn(other, recorded["val_accuracy"] - AS_GOOD)
    frames = frame_series(other.test_set, is_augmented=False)
    costs = [ours, costs_of(f"CNN of width {width:g}", cnn, accuracy, frames)]
    chip = chip_power(run, net)
    stored = json.loads(options.output.read_text()) if options.output.is_file() else {}
    stored[options.run.name] = {
        **results.provenance("python -m benchmarks.energy"),
        "costs": [asdict(each) for each in costs],
        "chip": None if chip is None else {"power": asdict(chip[0]), "joules": chip[1]},
    }
    results.write(options.output, stored)
    print(*table_lines(costs, chip), sep="\n")
    if chip is not None:
        print(chip[0])


if __name__ == "__main__":
    main()
