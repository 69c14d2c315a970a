"""The test of a finished run of a study, apart from its training, and the file that stores it.

So a study can read the test set when all of its runs are finished, and nobody chooses by it before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from nwavesdk.internal.files import FileError, one_line
from nwavesdk.internal.formats import read_sealed, write_sealed
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.evaluation import evaluate_net

__all__ = [
    "MEASURE_TEXTS",
    "Tested",
    "file_of_test",
    "first_measure",
    "read_tested",
    "write_tested",
]

# The first measure of each kind of task, and its name in texts.
MEASURE_TEXTS = {"accuracy": "accuracy", "r2": "R²"}

# Classes of the largest confusion matrix that is stored.
MOST_CLASSES = 200

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Tested(FrozenModel):
    """What the test of a run gave.

    Args:
        measures: Measures of the test set by name, such as `test_accuracy`.
        rates: Mean firing rate of each layer that spikes [spikes per step and neuron].
        dead: Share of each layer's neurons that never fired.
        saturated: Share of each layer's neurons that fired nearly always.
        confusion: Decisions by true class (row) and predicted class; empty without classes, or with
            more than 200.
    """

    measures: Annotated[dict[str, Finite], Field(min_length=1)]
    rates: tuple[Share, ...]
    dead: tuple[Share, ...]
    saturated: tuple[Share, ...]
    confusion: tuple[tuple[Count, ...], ...] = ()

    @model_validator(mode="after")
    def _check_square(self) -> Self:
        if any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("confusion: expected as many columns as rows")
        return self

    @property
    def numbers(self) -> dict[str, Any]:
        """Everything but the confusion matrix, in the names of `result.json`."""
        layers = {name: list(getattr(self, name)) for name in ("rates", "dead", "saturated")}
        return {**self.measures, **layers}


def first_measure(result: Mapping[str, Any]) -> str:
    """The measure by which runs are compared: `"accuracy"`, or `"r2"` for values.

    Args:
        result: The content of `result.json`.
    """
    return next(name for name in MEASURE_TEXTS if f"val_{name}" in result)


def file_of_test(run: Path) -> Path:
    """The file in the folder of a run."""
    return run / "test.json"


def write_tested(run: Run) -> None:
    """Test the net of a finished run and store what it gave.

    Raises:
        ValueError: If a file of the run is missing or damaged.
        FileWriteError: If the disk is full.
    """
    net, task = run.trained()
    with use_arithmetic(run.config.arithmetic):
        batch_size = run.config.learning.batch_size
        test = evaluate_net(net, task, run.test_set, batch_size)
    has_confusion = 0 < len(run.classes) <= MOST_CLASSES
    confusion = test.tally.tolist() if has_confusion else []
    tested = Tested.of(
        {
            "measures": test.named_measures("test"),
            **test.layers(),
            "confusion": confusion,
        }
    )
    values = tested.model_dump(mode="json")
    write_sealed(file_of_test(run.folder.path), values, run.folder.identity)


def read_tested(run: Path) -> Tested:
    """What `write_tested` stored in the folder of a run.

    Raises:
        FileError: If the file is missing or damaged, or belongs to another run.
    """
    file = file_of_test(run)
    remedy = "remove it; the same command writes it again"
    try:
        return Tested.of(read_sealed(file, RunFolder(run).identity))
    except FileError as error:
        raise FileError(file, error.what, remedy) from None
    except ValueError as error:
        raise FileError(file, f"is not the test of a run ({one_line(error)})", remedy) from None
