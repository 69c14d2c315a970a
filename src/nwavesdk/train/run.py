"""A run: its folder, its config, its data and its nets; `fit/course.py` trains and tests it."""

import contextlib
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from nwavesdk.data import Series
from nwavesdk.data.composed import ComposedSeries, Framing
from nwavesdk.data.streams import Sounds
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import FileError, FileWriteError
from nwavesdk.internal.processes import TERMINATED, die_with_the_parent
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.metrics import count_operations
from nwavesdk.net import RoundedInput
from nwavesdk.optim import SurrogateAnnealing
from nwavesdk.presets import LAYERED
from nwavesdk.train.apply.detections import SetDetections
from nwavesdk.train.apply.trained import TrainedRun
from nwavesdk.train.config import CompletedConfig, RunConfig, net_name
from nwavesdk.train.data.inputs import constant_note, outlier_note
from nwavesdk.train.data.load import RunData, complete_data, load_run_data
from nwavesdk.train.fit.checkpoint import OnEpoch
from nwavesdk.train.fit.course import check_before_training, fit_and_finish
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.first_weights import (
    CannotDriveError,
    drive_weights,
    example_inputs,
    finetuned_network,
)
from nwavesdk.train.fit.machine import is_first_process, trainer_of
from nwavesdk.train.fit.net_file import NetChoice, load_function, match_page
from nwavesdk.train.fit.network import (
    RunNet,
    nearest_tau_note,
    network_of_run,
    rounded_network,
    warn_of_constants,
)
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.fit.seeds import stream_seed, use_threads
from nwavesdk.train.fit.tasks import TrainingTask, task_of
from nwavesdk.train.report.page import Section
from nwavesdk.train.report.task_reports import FinishedRun
from nwavesdk.train.run_folder import BrokenRunError, RunFolder

__all__ = ["Run"]

VALUE_BYTES = 4  # of float32

# The confusion matrix is in the result of a test if there are up to this many classes.
MAX_CLASSES = 200

# Letters of the names of classes in a summary.
MAX_LETTERS = 100

# A net is small if a batch has fewer updates of neurons than this.
SMALL_BATCH = 2**20


class Run:
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

    def __init__(self, folder: RunFolder, config: CompletedConfig, data: RunData) -> None:
        self.folder = folder
        self.config = config
        self.data = data
        self.classes = config.facts.classes
        self.n_features = config.facts.n_features
        self.profile = config.facts.chip
        self.report_sections: list[Callable[[FinishedRun], Sequence[Section]]] = []

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
    def prepare(cls, path: str | Path, config: RunConfig | Mapping[str, Any]) -> "Run":
        """Check all that a new run needs, and write nothing; see `new`."""
        if isinstance(config, CompletedConfig):
            config = config.choices()
        if not isinstance(config, RunConfig):
            config = RunConfig.of(config)

        # Errors of the machine and of the net's file come before the data are read.
        trainer_of(config.machine, logger=False)
        if config.net.name == "file":
            load_function(config.net.page)

        run = cls(RunFolder(path), *complete_data(config))

        # The memory is checked before the net is built.
        run._require_memory()
        if config.machine.threads is None and run._is_small:
            machine = run.config.machine.model_copy(update={"threads": 1})
            run.config = run.config.model_copy(update={"machine": machine})
        net = run.network()
        warn_of_constants(net)
        if (schedule := config.learning.surrogate_schedule) is not None:
            # It rejects parameters that the surrogates do not have.
            SurrogateAnnealing(net, run.config.learning.epochs, **schedule.model_dump())
        run._settle_first_weights(must_drive=getattr(config.net, "first_weights", None) == "driven")
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

    @property
    def task(self) -> TrainingTask:
        """The task, before it is fitted to the training set."""
        return task_of(self.config)

    def _settle_first_weights(self, *, must_drive: bool) -> None:
        """Change the config to drawn initial weights if the recordings cannot drive them.

        Raises:
            ValueError: If they cannot, and the user asked for driven weights.
        """
        try:
            self.first_network()
        except CannotDriveError as error:
            if must_drive:
                raise ValueError(
                    f"net.first_weights: the recordings cannot drive them ({error}): use "
                    "--first-weights drawn."
                ) from error

            print_line(
                f"nwave: note: the recordings cannot drive the initial weights ({error}): they "
                "are drawn."
            )
            net = self.config.net.model_copy(update={"first_weights": "drawn"})
            self.config = self.config.model_copy(update={"net": net})

    @property
    def _is_small(self) -> bool:
        """Whether the net is so small that several threads would be slower than one."""
        if self.config.net.name == "file":
            return False

        typical = torch.zeros(1, self.config.facts.typical_steps, self.n_features)
        updates = count_operations(self.network(), typical).updates
        return updates * self.config.learning.batch_size < SMALL_BATCH

    def _require_memory(self) -> None:
        """Reject a net and a batch that cannot be trained here, before they are allocated."""
        net: Any = self.config.net
        batch = min(self.config.learning.batch_size, len(self.data.train))
        n_steps = max(int(part.lengths.max()) for part in self.data if len(part))

        # Only nets of layers have known sizes before they are built.
        hidden = (*net.hidden, self.task.n_neurons) if net.name in LAYERED else ()
        sizes = (self.n_features, *hidden)

        # Nine copies of the weights: the weights, gradients, two moments of AdamW and the best
        # weights; a checkpoint holds all but the gradients again.
        values = 9 * sum(n_in * n_out for n_in, n_out in pairwise(sizes))
        values += batch * n_steps * self.n_features
        if self.config.machine.accelerator == "cpu" or not torch.cuda.is_available():
            # Charge, saved membrane and spike of each neuron and step.
            values += 3 * batch * n_steps * sum(hidden)

        require_memory(
            "net",
            f"a batch of {batch:,} sequences of {n_steps:,} steps and a net of "
            f"{sum(sizes):,} neurons",
            VALUE_BYTES * values,
            "lower --batch-size, --hidden or --population, or use shorter recordings (--length, "
            "--hold)",
        )

    def summary(self) -> list[str]:
        """The classes of the run, if it has some, its split and its net, in a line each."""
        names, noun, hint = self.classes, "classes", ""
        if self.config.task.name == "detect":
            names = names[1:]
            noun = f"event{'s' * (len(names) > 1)} to detect"
            hint = "; --task classification makes background a class"

        # The names show immediately if another folder was taken for a class.
        lines = []
        if names:
            listed = textwrap.shorten(", ".join(names), MAX_LETTERS, placeholder=" …")
            lines.append(f"{len(names)} {noun}: {listed}{hint}")
        lines.append(self.config.facts.split_reason)

        parameters = sum(parameter.numel() for parameter in self.network().parameters())
        epochs, batch_size = self.config.learning.epochs, self.config.learning.batch_size
        lines.append(
            f"net {net_name(self.config)} for {self.config.data.kind}, {parameters:,} parameters; "
            f"{epochs} epoch{'s' * (epochs != 1)} in batches of {batch_size}"
        )
        return lines

    def fitted_task(self) -> TrainingTask:
        """The task, fitted to the training set: with the scale of values or weights of classes."""
        is_balanced = getattr(self.config.task, "class_weights", None) == "balanced"
        return self.task.fitted(self.data.train, is_balanced=is_balanced)

    @cached_property
    def notes(self) -> list[str]:
        """Notes on the data and the chip, for the user before the first epoch."""
        train = self.data.train
        notes = (
            self.fitted_task().advice(train),
            constant_note(train),
            outlier_note(train, self.config),
            nearest_tau_note(self.config),
        )
        return [note for note in notes if note is not None]

    def network(
        self, *, deployed: bool = False, mismatch: bool = False, trains: bool = False
    ) -> RunNet:
        """The network with the initial weights of the seed; see `network_of_run`."""
        torch.manual_seed(stream_seed(self.config.seed, "weights"))
        return network_of_run(self.config, deployed=deployed, mismatch=mismatch, trains=trains)

    def first_network(self, *, mismatch: bool = False) -> RunNet:
        """The network with which training begins: with `net.first_weights`; see `network`.

        Raises:
            CannotDriveError: If the recordings cannot drive the weights.
            ValueError: If the run to begin with has other data, or its weights cannot be rounded.
        """
        if self.config.learning.finetune is not None:
            folder = RunFolder(self.config.learning.finetune)
            return finetuned_network(self.config, folder, self.data.train, mismatch=mismatch)
        net = self.network(mismatch=mismatch)
        if getattr(self.config.net, "first_weights", None) == "driven":
            net.load_state_dict(self._driven_weights)
        return net

    @cached_property
    def _driven_weights(self) -> dict[str, torch.Tensor]:
        seed = stream_seed(self.config.seed, "weights")
        return drive_weights(self.network(), self.data.train, seed)

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
        rounded = rounded_network(trained.net, weight_bits, example_inputs(self.data.train))
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
