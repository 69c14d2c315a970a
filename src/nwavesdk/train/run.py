"""A run that trains and tests; `fit/course.py` has the course of its training."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from nwavesdk.data import Series
from nwavesdk.data.composed import ComposedSeries, Framing
from nwavesdk.data.streams import Sounds
from nwavesdk.internal.files import FileError, FileWriteError
from nwavesdk.internal.processes import TERMINATED, die_with_the_parent
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.net import RoundedInput
from nwavesdk.train.apply.detections import SetDetections
from nwavesdk.train.apply.trained import TrainedRun
from nwavesdk.train.config import RunConfig
from nwavesdk.train.data.load import RunData, load_run_data
from nwavesdk.train.fit.checkpoint import OnEpoch
from nwavesdk.train.fit.course import check_before_training, fit_and_finish
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.machine import is_first_process
from nwavesdk.train.fit.network import (
    rounded_network,
)
from nwavesdk.train.fit.seeds import use_threads
from nwavesdk.train.prepared import PreparedRun
from nwavesdk.train.run_folder import BrokenRunError, NetChoice, RunFolder, match_page

__all__ = ["Run"]

# The confusion matrix is in the result of a test if there are up to this many classes.
MAX_CLASSES = 200


class Run(PreparedRun):
    """A run that can be trained or continued: its folder, its completed config and its data.

    Args:
        folder: The folder of the run.
        config: The config of the run.
        data: The data of the run.

    Attributes:
        report_sections: Functions that make more sections of the report from the finished run.

    Example:
        >>> run = Run.prepare("runs/digits", {"data": {"limit": 30}})
        >>> run.n_features, run.data.map(len)
        (13, Split(train=10, val=10, test=10))
    """

    @classmethod
    def new(cls, path: str | Path, config: RunConfig | Mapping[str, Any]) -> "Run":
        """Begin a run in a new or empty folder.

        Args:
            path: The folder.
            config: The choices; or a mapping, as `RunConfig.of` takes it; or the config of another
                run, to begin a run with the same choices.

        Raises:
            TypeError: If the config is something else.
            ValueError: If the folder is in use, the data cannot be used, or the memory of this
                machine does not suffice; no folder is made.
            ModuleNotFoundError: If an extra is missing.
        """
        # Further processes join the run that the first process began.
        rank_zero_only(RunFolder(path).check_free)()
        run = cls.prepare(path, config)
        rank_zero_only(run.folder.begin)(run.config)
        return run

    @classmethod
    def open(cls, path: str | Path, net: NetChoice | None = None) -> "Run":
        """Open a run that was begun earlier.

        Args:
            path: The folder of the run.
            net: The file that builds its net, `"FILE.py:build"`, for a run that has one.

        Raises:
            ValueError: If there is no run, its data have changed, or another file built its net.
        """
        folder = RunFolder(path)
        config = match_page(folder.read_config(), net, folder.path)
        return cls(folder, config, load_run_data(config))

    def trained(self, *, mismatch: bool = False) -> TrainedRun:
        """The trained net, its task and its decision, read from their files; see `network`.

        Raises:
            ValueError: If a file is missing or damaged.
        """
        return TrainedRun.read(self.folder, self.config, mismatch=mismatch)

    def train(self, on_epoch: OnEpoch | None = None) -> dict[str, Any] | None:
        """Train, from the checkpoint if there is one; test once; write model, result and report.

        A finished run is not trained again; its files are written again from its checkpoint.

        Args:
            on_epoch: Called after each epoch with its metrics, as in `metrics.csv`. The checkpoint
                of the epoch is written by then, so a run that an error in it ends can be resumed.

        Returns:
            The content of `result.json`; None in processes other than the first.

        Raises:
            BrokenRunError: If another process trains the run, a process of this run ended, training
                diverged, the checkpoint is damaged, or the folder cannot be written.
            ValueError: If this machine lacks the precision of the run, or torchrun started another
                number of processes.
            SystemExit: With code 143, if a signal to terminate came; the run can be resumed.
        """
        self._require_memory()
        owns_folder = is_first_process()
        if not owns_folder:
            # Otherwise, this process would wait on the GPU forever if the first process is lost.
            die_with_the_parent()

        try:
            with (
                self.folder.lock() if owns_folder else contextlib.nullcontext(),
                use_threads(self.config.machine.threads),
            ):
                if owns_folder:
                    check_before_training(self)
                return fit_and_finish(self, on_epoch)
        except SIGTERMException as error:
            # With Lightning's exception, the process would report success.
            raise SystemExit(TERMINATED) from error
        except (FileError, FileWriteError) as error:
            raise BrokenRunError(f"{error} Then --resume continues the run.") from error
        except RuntimeError as error:
            if DIVERGED not in str(error):
                raise
            cause = str(error).removesuffix(DIVERGED)
            raise BrokenRunError(
                f"{cause}training diverged; begin a new run with a lower learning rate."
            ) from error

    @cached_property
    def test_set(self) -> Series:
        """The test set; of a run with `--no-test`, it is read at the first access."""
        return self._data_with_test.test

    @cached_property
    def _data_with_test(self) -> RunData:
        if self.config.data.test:
            return self.data
        return load_run_data(self.config, reads_test=True)

    def test(self) -> dict[str, Any]:
        """Read the model from its file and test it, also if the run left the test set unread.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        return self._measure(self.trained(), "test")

    def test_rounded(
        self, weight_bits: int, part: Literal["val", "test"] = "val"
    ) -> dict[str, Any]:
        """Compare the trained net with the same net with rounded inputs and weights.

        Args:
            weight_bits: Number of bits of a weight, from 4 to 8.
            part: The set, `"val"` or `"test"`.

        Returns:
            The measures of both, as of `test`, as `"float"` and `"rounded"`, and the step of the
            inputs.

        Raises:
            ValueError: If the net cannot be rounded, or the file of the model is damaged.
        """
        trained = self.trained()
        rounded = rounded_network(trained.net, weight_bits, self.data.train.example_inputs())
        step: Any = next(m.step for m in rounded.modules() if isinstance(m, RoundedInput))
        return {
            "weight_bits": weight_bits,
            "input_step": step,
            "float": self._measure(trained, part),
            "rounded": self._measure(replace(trained, net=rounded), part),
        }

    def _measure(self, trained: TrainedRun, part: Literal["val", "test"]) -> dict[str, Any]:
        """The measures on the validation or the test set, of a detector also on its streams."""
        series = self.test_set if part == "test" else self.data.val
        with use_threads(self.config.machine.threads):
            batch_size = self.config.learning.batch_size
            evaluation = evaluate_net(trained.net, trained.task, series, batch_size)

        detected = {}
        if trained.decision is not None:
            sounds, framing = self.streams(part)
            detections = SetDetections.of(trained, trained.decision, sounds, framing)
            detected = detections.fields(part)
        has_confusion = 0 < len(self.classes) <= MAX_CLASSES
        return {
            **detected,
            **evaluation.named_measures(part),
            **evaluation.layers(),
            "confusion": evaluation.tally.tolist() if has_confusion else [],
            "recordings": len(evaluation.lengths),
        }

    def streams(self, part: Literal["val", "test"] = "test") -> tuple[Sounds, Framing]:
        """A set of a detector: its sounds, and how they become frames."""
        data = self._data_with_test if part == "test" else self.data
        assert data.streams is not None
        assert isinstance(data.train, ComposedSeries)
        return getattr(data.streams, part), data.train.framing
