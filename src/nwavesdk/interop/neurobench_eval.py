"""The numbers of NeuroBench's harness for a net on a set.

Design requirements:
    - The harness gets the recordings in batches of one length, so that it does not count padding.
    - The harness prints a metric that fails, and continues with 0. Here, it is an error.
"""

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader

from nwavesdk.data import Indices, Series
from nwavesdk.internal.imports import require
from nwavesdk.interop.neurobench import NWaveModel
from nwavesdk.net.preparation import prepared
from nwavesdk.train.fit.objective import TrainingTask
from nwavesdk.train.report.costs import MAX_INPUT_VALUES, counted_recordings

__all__ = ["Measured", "measure_net", "run_harness"]

EXTRA = "interop"
MAX_TOGETHER = 32  # recordings of a batch


@dataclass(frozen=True)
class Measured:
    """The numbers of the harness for a set.

    Attributes:
        numbers: The numbers by name; operations and updates are means per recording.
        recordings: Number of recordings.
        not_counted: Names of the modules that the harness does not count.

    Example:
        >>> Measured({"ParameterCount": 6.0}, recordings=8, not_counted=()).numbers
        {'ParameterCount': 6.0}
    """

    numbers: dict[str, float]
    recordings: int
    not_counted: tuple[str, ...]


def _batches_of(series: Series, indices: Indices) -> DataLoader[Any]:
    """Some recordings of a set in batches of one length: the harness takes a data loader."""
    lengths = series.lengths[indices]
    parts: list[list[int]] = []
    for length in sorted(set(lengths.tolist()), reverse=True):
        values = length * series.recordings.n_features
        size = max(1, min(MAX_TOGETHER, MAX_INPUT_VALUES // values))
        same = np.flatnonzero(lengths == length).tolist()
        parts += [same[first : first + size] for first in range(0, len(same), size)]

    def load(part: list[int]) -> tuple[Tensor, Tensor]:
        batch = series.batch(np.array(part))
        return batch.x, batch.y

    return DataLoader(indices.tolist(), batch_sampler=parts, collate_fn=load)


def measure_net(net: nn.Module, series: Series, task: TrainingTask) -> Measured:
    """Run the harness on recordings of a set.

    Args:
        net: A net from input `[B, T, F]`, on the CPU.
        series: The set.
        task: The task of the net.

    Raises:
        ModuleNotFoundError: If the extra `interop` is missing.
        RuntimeError: If a metric of the harness fails.
    """
    indices = counted_recordings(series)
    batches = _batches_of(series, indices)
    static = require("neurobench.metrics.static", EXTRA)
    workload = require("neurobench.metrics.workload", EXTRA)
    static_metrics = [static.Footprint, static.ParameterCount, static.ConnectionSparsity]
    data_metrics = [
        workload.ActivationSparsity,
        workload.SynapticOperations,
        workload.MembraneUpdates,
    ]
    decoder = task.decoder()

    def decode(spk: Tensor, mem: Tensor) -> Tensor:
        with prepared(decoder):
            return task.predict(decoder(spk, mem, None))

    is_class = task.name == "classification"
    if is_class:
        data_metrics.append(workload.ClassificationAccuracy)
    with warnings.catch_warnings(action="ignore"):  # the result lists modules without counts
        model = NWaveModel(net, decode if is_class else None)
    numbers = run_harness(model, batches, [static_metrics, data_metrics])
    return Measured(numbers, len(indices), tuple(model.not_counted))


def run_harness(
    model: NWaveModel, batches: Any, metrics: Sequence[Sequence[Any]]
) -> dict[str, float]:
    """The numbers of the harness by name; a metric with several numbers has `Metric.name`.

    Args:
        model: The net.
        batches: Pairs of input and target, with `len()` and a `dataset`, as a data loader.
        metrics: Classes of metrics: without data, and with data.

    Raises:
        ModuleNotFoundError: If the extra `interop` is missing.
        RuntimeError: If a metric fails.

    Example:
        >>> import torch
        >>> from neurobench.metrics.static import ParameterCount
        >>> from neurobench.metrics.workload import SynapticOperations
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(3, 2), LIFLayer(2, 20e-3))
        >>> data = TensorDataset(torch.ones(4, 10, 3), torch.zeros(4))
        >>> metrics = [[ParameterCount], [SynapticOperations]]
        >>> numbers = run_harness(NWaveModel(net), DataLoader(data), metrics)
        >>> numbers["ParameterCount"], numbers["SynapticOperations.Dense"]
        (6.0, 60.0)
    """
    benchmark = require("neurobench.benchmarks", EXTRA).Benchmark
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        results = benchmark(model, batches, [], [], [list(part) for part in metrics]).run()
    for line in printed.getvalue().splitlines():
        if line.startswith("Error running"):
            raise RuntimeError(f"NeuroBench: {line[0].lower()}{line[1:]}")

    flat: dict[str, float] = {}
    for name, value in results.items():
        parts = value if isinstance(value, dict) else {"": value}
        flat |= {f"{name}.{part}".rstrip("."): float(number) for part, number in parts.items()}
    return flat
