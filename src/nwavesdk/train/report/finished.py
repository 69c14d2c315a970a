"""`FinishedRun`: a run with its results, from which its report is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nwavesdk.data import Series
from nwavesdk.layers import H1v1Frontend, H1v2Frontend
from nwavesdk.metrics import Operations
from nwavesdk.net.layer_names import module_layer_names
from nwavesdk.train.apply.detections import DetectorTest
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.completed import Facts
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.evaluation import Evaluation
from nwavesdk.train.fit.network import RunNet
from nwavesdk.train.fit.objective import TrainingTask
from nwavesdk.train.run_folder import RunFolder

__all__ = ["FinishedRun"]


@dataclass(frozen=True, eq=False, kw_only=True)
class FinishedRun:
    """A run with its results.

    Args:
        folder: The folder of the run.
        config: The config of the run, with facts.
        data: The data of the run.
        net: The net with the selected weights.
        task: The task, fitted.
        history: The metrics of each epoch, as in `metrics.csv`.
        evaluation: Predictions on the test set, or on the validation set with `--no-test`.
        result: The content of `result.json`.
        operations: Operations of an inference; None if they could not be counted.
        detector: The test of a detector; None for other tasks.
        notes: Notes on the data and on the chip, as training printed them.
    """

    folder: RunFolder
    config: CompletedConfig
    data: RunData
    net: RunNet
    task: TrainingTask
    history: Sequence[dict[str, float]]
    evaluation: Evaluation
    result: Mapping[str, Any]
    operations: Operations | None = None
    detector: DetectorTest | None = None
    notes: Sequence[str] = ()

    @property
    def facts(self) -> Facts:
        """The facts about the data when the run began."""
        return self.config.facts

    @property
    def layer_titles(self) -> list[str]:
        """Names of the layers that spike, by depth."""
        modules = [name.removeprefix("net.") for name in self.evaluation.neuron_rates]
        has_front_end = any(isinstance(m, H1v1Frontend | H1v2Frontend) for m in self.net.modules())
        has_output = not self.task.is_readout
        names = module_layer_names(modules, has_front_end=has_front_end, has_output=has_output)
        return list(names.values())

    @property
    def part(self) -> str:
        """The name of the evaluated set."""
        return "test" if self.config.data.test else "validation"

    @property
    def evaluated(self) -> Series:
        """The recordings of the evaluated set."""
        return self.data.test if self.config.data.test else self.data.val

    @property
    def split_caveat(self) -> str:
        """What the split leaves in training and in the evaluated set; empty for other splits."""
        if self.facts.split_by != "recording" or self.task.name == "pattern":
            return ""
        if self.config.data.kind == "features":  # the built-in digits are by six speakers
            return f"; same speakers in training and {self.part}"
        return f"; training and {self.part} may share speakers or devices"

    @property
    def source(self) -> str:
        """The data and the use of the test set, in words."""
        source, n_test = self.config.data.source, self.facts.recordings[2]
        if self.config.data.test and self.detector is not None:
            return f"{source}; the test stream, used once"
        if self.config.data.test:
            return f"{source}; {n_test:,} test recordings, used once"
        command = f"`nwave eval {self.folder.path.name}`"
        return f"{source}; the test set was not read (--no-test); {command} reads it"
