"""What describes the net of a finished run: costs of an inference, and scores of simple models."""

from typing import Any

import numpy as np
import torch
from torch import nn

from nwavesdk.data import Indices, Series
from nwavesdk.internal.files import one_line
from nwavesdk.metrics import OperationCounter, Operations
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.evaluation import Evaluation
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.fit.tasks import TrainingTask
from nwavesdk.train.report.simple_models import simple_scores

__all__ = ["MAX_VALUES", "count_on_series", "counted_recordings", "describe_run"]

# Recordings on which operations are counted, so that it takes about a second.
MAX_RECORDINGS = 256
# Of different lengths, they do not run together.
MAX_OF_DIFFERENT_LENGTHS = 64
# Values of a batch of inputs: 64 MB.
MAX_VALUES = 2**24


def describe_run(
    data: RunData, task: TrainingTask, net: nn.Module, evaluation: Evaluation, *, reads_test: bool
) -> tuple[dict[str, Any], Operations | None]:
    """The fields of `result.json` that follow from the net, and its operations.

    What fails is reported and left out, because the run is finished.

    Args:
        data: The data of the run.
        task: The task.
        net: The net with the selected weights.
        evaluation: Its evaluation.
        reads_test: Whether the evaluated set is the test set, not the validation set.
    """
    evaluated = data.test if reads_test else data.val
    fields: dict[str, Any] = {}
    operations = None
    try:
        operations = count_on_series(net, evaluated)
        rates = list(evaluation.neuron_rates.values())
        if hidden := rates if task.output.is_readout else rates[:-1]:
            fields["hidden_rate"] = round(torch.cat(hidden).mean().item(), 6)
        fields |= {
            "dense_macs": round(operations.dense, 1),
            "effective_macs": round(operations.effective_macs, 1),
            "effective_acs": round(operations.effective_acs, 1),
            "neuron_updates": round(operations.updates, 1),
            "counted_recordings": operations.recordings,
            "not_counted": list(operations.not_counted),
        }
        fields |= simple_scores(data.train, data.val, evaluated, task.name)
    except Exception as error:  # whatever a net of the user raises
        print_line(
            "nwave: warning: the run is finished, but costs of the net or scores of simple models "
            f"are missing ({one_line(error)})."
        )
    return fields, operations


def count_on_series(net: nn.Module, series: Series) -> Operations:
    """Count the operations of a net on recordings from the whole of a set.

    Args:
        net: A net from input `[B, T, F]`.
        series: The set.
    """
    indices = counted_recordings(series)
    largest = int(series.lengths.max()) * series.recordings.n_features
    per_batch = max(1, MAX_VALUES // largest)
    counter = OperationCounter(net)
    device = next(net.parameters()).device
    for first in range(0, len(indices), per_batch):
        batch = series.batch(indices[first : first + per_batch])
        counter.count(batch.x.to(device), batch.lengths)
    return counter.result()


def counted_recordings(series: Series) -> Indices:
    """The recordings of a set on which operations are counted, from long to short.

    Recordings of one length then run together.

    Args:
        series: The set.
    """
    has_one_length = bool((series.lengths == series.lengths[0]).all())
    limit = MAX_RECORDINGS if has_one_length else MAX_OF_DIFFERENT_LENGTHS
    indices = np.linspace(0, len(series) - 1, min(limit, len(series))).astype(np.int64)
    return indices[np.argsort(-series.lengths[indices], kind="stable")]
