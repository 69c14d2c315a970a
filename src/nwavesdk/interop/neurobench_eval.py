"""The numbers of NeuroBench's harness for a net on a set, next to our own counts.

Design requirements:
    - The harness and our counter get the same recordings in the same batches, each of one length:
      neither counts padding.
    - A difference is shown, with its reason if the two count differently.
    - The harness prints a metric that fails, and continues with 0. Here, it is an error.
"""

import contextlib
import io
import math
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
from nwavesdk.metrics import Operations, count_operations
from nwavesdk.net import find_edges
from nwavesdk.net.preparation import prepared
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.tasks import TrainingTask
from nwavesdk.train.report.costs import MAX_INPUT_VALUES, counted_recordings

__all__ = ["Comparison", "Row", "compare_counts", "run_harness"]

EXTRA = "interop"
MAX_TOGETHER = 32  # recordings of a batch
# The largest difference that is rounding: the harness rounds connection sparsity to four digits,
# computes accuracy in float32, and adds counts in another order.
ROUNDING = {"ConnectionSparsity": 5e-5, "ClassificationAccuracy": 1e-6}
RELATIVE = 1e-9
CHANGES_ONLY = "the harness counts a step only if the membrane changed, we count every step"


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        name: Its name in the harness.
        harness: The number of the harness.
        ours: Our own number.
        note: The reason for a difference, if the two count differently.

    Example:
        >>> Row("ParameterCount", harness=6.0, ours=6.0).differs
        False
    """

    name: str
    harness: float
    ours: float
    note: str = ""

    @property
    def differs(self) -> bool:
        """Whether the numbers differ by more than rounding."""
        rounding = ROUNDING.get(self.name, 0.0)
        return not math.isclose(self.harness, self.ours, rel_tol=RELATIVE, abs_tol=rounding)


@dataclass(frozen=True)
class Comparison:
    """All numbers.

    Attributes:
        rows: The numbers; operations and updates are means per recording.
        recordings: Number of recordings.
        not_counted: Names of the modules that neither counts.

    Example:
        >>> rows = (Row("ParameterCount", harness=6.0, ours=6.0),)
        >>> any(row.differs for row in Comparison(rows, recordings=8, not_counted=()).rows)
        False
    """

    rows: tuple[Row, ...]
    recordings: int
    not_counted: tuple[str, ...]


def _batches_of(series: Series, indices: Indices) -> DataLoader[Any]:
    """Some recordings of a set in batches of one length, as the harness wants a data loader."""
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


def compare_counts(net: nn.Module, series: Series, task: TrainingTask) -> Comparison:
    """Run the harness and our own counter on recordings of a set.

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the comparison lists modules that are not counted
        model = NWaveModel(net, decode if is_class else None)
    numbers = run_harness(model, batches, [static_metrics, data_metrics])

    ours = _own_counts(net, batches)
    if is_class:
        evaluation = evaluate_net(net, task, series.take(indices), MAX_TOGETHER)
        ours["ClassificationAccuracy"] = evaluation.measures["accuracy"]
    rows = tuple(
        Row(name, value, ours[name], CHANGES_ONLY if name == "MembraneUpdates" else "")
        for name, value in numbers.items()
    )
    return Comparison(rows, len(indices), tuple(model.not_counted))


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


def _own_counts(net: nn.Module, batches: DataLoader[Any]) -> dict[str, float]:
    """Our numbers for the same batches; means over batches weigh recordings, as in the harness."""
    counts = [count_operations(net, x) for x, _ in batches]

    edges = find_edges(net).edges
    weights = [edge.stored_weight() for edge in edges]
    tensors = [*net.parameters(), *net.buffers()]

    return {
        "Footprint": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "ParameterCount": counts[0].parameters,
        "ConnectionSparsity": sum(int((weight == 0).sum()) for weight in weights)
        / sum(weight.numel() for weight in weights),
        "ActivationSparsity": _mean(counts, "activation_sparsity"),
        "SynapticOperations.Effective_MACs": _mean(counts, "effective_macs"),
        "SynapticOperations.Effective_ACs": _mean(counts, "effective_acs"),
        "SynapticOperations.Dense": _mean(counts, "dense"),
        "MembraneUpdates": _mean(counts, "updates"),
    }


def _mean(counts: Sequence[Operations], name: str) -> float:
    values = [getattr(count, name) for count in counts]
    return float(np.average(values, weights=[count.recordings for count in counts]))
