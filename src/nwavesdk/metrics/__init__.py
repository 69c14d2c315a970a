"""The quality of a net's output, and the operations of an inference. Functions are for a batch,
running metrics, which need torchmetrics, for many. `lengths` of the wrong type are a `TypeError`,
wrong shapes and values, or data without a step, a `ValueError`.
"""

from typing import TYPE_CHECKING

from nwavesdk.internal.imports import import_on_use
from nwavesdk.metrics.classes import (
    accuracy,
    accuracy_population,
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    population_counts,
)
from nwavesdk.metrics.detection import Detection, DetectionScore, Event
from nwavesdk.metrics.operation_counter import OperationCounter, count_operations
from nwavesdk.metrics.operations import EdgeOperations, LayerActivity, Operations
from nwavesdk.metrics.values import correlation, mse, r2

__all__ = [
    "Detection",
    "DetectionScore",
    "EdgeOperations",
    "Event",
    "LayerActivity",
    "OperationCounter",
    "Operations",
    "SpikeAccuracy",
    "SpikeAccuracyPopulation",
    "accuracy",
    "accuracy_population",
    "balanced_accuracy",
    "confusion_matrix",
    "correlation",
    "count_operations",
    "get_chip_consumption",
    "macro_f1",
    "mse",
    "population_counts",
    "r2",
]

if TYPE_CHECKING:
    from nwavesdk.deploy import get_chip_consumption
    from nwavesdk.metrics.running import SpikeAccuracy, SpikeAccuracyPopulation
else:
    __getattr__, __dir__ = import_on_use(
        __name__,
        {
            "nwavesdk.metrics.running": ["SpikeAccuracy", "SpikeAccuracyPopulation"],
            "nwavesdk.deploy": ["get_chip_consumption"],  # NWAVE documents it here
        },
    )
