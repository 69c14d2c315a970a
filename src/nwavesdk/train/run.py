"""A run from its config to its report, and its continuation after an interruption.

Design requirements:

- One process trains a run.
- A result that was computed is kept: no log, picture or page that fails ends a run.
- What the user can mend, such as a full disk, ends in one line, and `--resume` continues to the
  same bits.
"""

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.utilities.exceptions import SIGTERMException

from nwavesdk.data import Series
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import (
    FileError,
    FileWriteError,
    check_target,
    one_line,
    write_atomically,
)
from nwavesdk.internal.processes import TERMINATED
from nwavesdk.layers import project
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.presets.lif import hidden_gain
from nwavesdk.train.arithmetic import current_arithmetic, use_arithmetic
from nwavesdk.train.checkpoint import (
    AtomicCheckpointIO,
    EveryEpoch,
    damaged_checkpoint,
)
from nwavesdk.train.config import RunConfig
from nwavesdk.train.costs import describe_run
from nwavesdk.train.evaluation import Evaluation, evaluate_net
from nwavesdk.train.facts import Origin
from nwavesdk.train.first_weights import CannotDriveError, drive_weights
from nwavesdk.train.inputs import constant_note
from nwavesdk.train.learner import Learner, Selection
from nwavesdk.train.loaders import Loaders
from nwavesdk.train.machine import (
    check_machine,
    check_precision,
    check_processes,
    default_threads,
    precision_plugins,
)
from nwavesdk.train.model_file import load_model, save_model
from nwavesdk.train.net_choice import NetChoice, match_net_file, net_name
from nwavesdk.train.net_file import RunNet, load_function, load_module, network_of_run
from nwavesdk.train.network import (
    nearest_tau_note,
    stream_seed,
    warn_of_short_constants,
)
from nwavesdk.train.neuron_choice import DEFAULT_NEURON
from nwavesdk.train.processes import (
    LOST_PROCESS,
    is_first_process,
    is_lost_process,
    other_processes,
)
from nwavesdk.train.progress import EventLog, History, print_line, progress_callbacks
from nwavesdk.train.report import write_report
from nwavesdk.train.run_data import RunData, load_run_data
from nwavesdk.train.run_folder import BrokenRunError, RunFolder
from nwavesdk.train.task_reports import FinishedRun
from nwavesdk.train.tasks import TrainingTask, task_of
from nwavesdk.train.used_fields import check_build_reads, given_to_build

__all__ = ["Run"]

# What is called with the metrics of an epoch.
OnEpoch = Callable[[Mapping[str, float]], None]

WEIGHT_BYTES = 4  # of float32

# Recordings per validation batch if training draws chips; small, so that it uses several.
VAL_BATCH = 16


class Run:
    """A run that can be trained or continued: its folder, its completed config and its data.

    Args:
        folder: The folder of the run.
        config: The config of the run, with facts.
        data: The data of the run.

    Attributes:
        task: What the net learns, before it is fitted to the training set.

    Raises:
        ValueError: If the net cannot learn the task, or its weights do not fit the memory.

    Example:
        >>> run = Run.prepare("runs/digits", RunConfig.of({"data": {"limit": 30}}))
        >>> run.n_features, run.data.map(len)
        (13, Split(train=10, val=10, test=10))
    """

    def __init__(self, folder: RunFolder, config: RunConfig, data: RunData) -> None:
        assert config.facts is not None
        self.folder = folder
        self.task = task_of(config)
        self.config = config
        self.data = data
        self.classes = config.facts.classes
        self.n_features = config.facts.n_features
        self.profile = config.facts.chip
        self._sizes = (self.n_features, *config.net.hidden, self.task.output.n_neurons)
        if config.net_file is None:
            self._require_memory(WEIGHT_BYTES * self._n_weights, "weights")

    @classmethod
    def new(cls, path: str | Path, config: RunConfig) -> "Run":
        """Begin a run in a new or empty folder.

        Raises:
            TypeError: If the config is something else.
            ValueError: If the folder is in use, the data cannot be used, or the memory of this
                machine does not suffice; no folder is made.
            ModuleNotFoundError: If an extra is missing.
        """
        # Further processes join the run that the first one began.
        is_first = is_first_process()
        if is_first:
            RunFolder(path).check_free()
        run = cls.prepare(path, config)
        if is_first:
            run.folder.begin(run.config)
        return run

    @classmethod
    def prepare(cls, path: str | Path, config: RunConfig) -> "Run":
        """Check all that a new run needs, and write nothing.

        Raises:
            TypeError: If the config is something else.
            ValueError: If the data cannot be used, or the memory of this machine does not suffice.
            ModuleNotFoundError: If an extra is missing.
        """
        if not isinstance(config, RunConfig):
            raise TypeError(
                f"config must be a RunConfig, got {type(config).__name__}: give RunConfig.of(...), "
                "with a mapping of its fields."
            )
        check_machine(config.machine)
        if config.net_file is not None:
            load_function(config.net_file)  # its errors come before the data are read
        is_driven_by_choice = config.net.first_weights == "driven"
        given = given_to_build(config)
        config, data = load_run_data(config)
        net = config.net
        if net.neuron != DEFAULT_NEURON:
            net = net.model_copy(update={"charge_gain": hidden_gain(config)})
        threads = config.machine.threads or default_threads(config.machine)
        arithmetic = current_arithmetic(threads)
        machine = config.machine.model_copy(update={"threads": arithmetic.threads})
        decided = {"arithmetic": arithmetic, "machine": machine, "net": net}
        config = config.model_copy(update=decided)
        run = cls(RunFolder(path), config, data)
        run._require_memory_to_train()
        check_build_reads(config, given)
        warn_of_short_constants(run.network())
        if config.net.first_weights == "drawn":
            return run
        try:
            run.first_network()
        except CannotDriveError as error:
            if is_driven_by_choice:
                raise ValueError(
                    f"net.first_weights: the recordings cannot drive them ({error}): give "
                    "--first-weights drawn."
                ) from error
            if is_first_process():
                print_line(
                    f"nwave: note: the recordings cannot drive the first weights ({error}): they "
                    "are drawn."
                )
            net = config.net.model_copy(update={"first_weights": "drawn"})
            return cls(run.folder, config.model_copy(update={"net": net}), data)
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
        config, data = load_run_data(match_net_file(folder.read_config(), net, folder.path))
        return cls(folder, config, data)

    @property
    def _n_weights(self) -> int:
        return sum(n_in * n_out for n_in, n_out in pairwise(self._sizes))

    def _require_memory_to_train(self) -> None:
        """Reject a net and a batch that cannot be trained here, before they are allocated."""
        if self.config.net_file is not None:
            return  # its size is known when it is built
        # Weights, gradients, two moments of AdamW, the best weights; four of these in a checkpoint.
        needed = 9 * WEIGHT_BYTES * self._n_weights
        if self.config.machine.accelerator == "cpu" or not CUDAAccelerator.is_available():
            batch = min(self.config.learning.batch_size, len(self.data.train))
            n_steps = int(self.data.train.lengths.max())
            # Of each neuron and step: charge, saved membrane and spike.
            needed += 3 * WEIGHT_BYTES * batch * n_steps * sum(self._sizes[1:])
        self._require_memory(needed, "weights and a batch")

    def _require_memory(self, needed_bytes: int, what: str) -> None:
        sizes = "–".join(map(str, self._sizes[:8])) + ("–…" if len(self._sizes) > 8 else "")
        remedy = "lower --hidden, --population or --batch-size"
        require_memory("net", f"{what} of {sizes} neurons", needed_bytes, remedy)

    def net_line(self) -> str:
        """The net of the run in one line: name, reason, parameters and schedule."""
        config = self.config
        assert config.facts is not None
        parameters = sum(parameter.numel() for parameter in self.network().parameters())
        epochs = config.learning.epochs
        return (
            f"net {net_name(config)} ({config.facts.net_reason}), {parameters:,} parameters; "
            f"{epochs} epoch{'s' * (epochs != 1)} in batches of {config.learning.batch_size}"
        )

    def network(self, *, deployed: bool = False, mismatch: bool = False) -> RunNet:
        """The network with the initial weights of the seed; see `build_run_network`."""
        torch.manual_seed(stream_seed(self.config.seed, "weights"))
        config = self.config
        assert config.facts is not None
        return network_of_run(config, config.facts, deployed=deployed, mismatch=mismatch)

    def first_network(self, *, mismatch: bool = False) -> RunNet:
        """The network with which training begins: with `net.first_weights`; see `network`.

        Raises:
            CannotDriveError: If the recordings cannot drive the weights.
        """
        net = self.network(mismatch=mismatch)
        if self.config.net.first_weights == "driven":
            net.load_state_dict(self._driven_weights)
        return net

    @cached_property
    def _driven_weights(self) -> dict[str, torch.Tensor]:
        seed = stream_seed(self.config.seed, "weights")
        return drive_weights(self.network(), self.data.train, seed)

    def model(self, *, mismatch: bool = False) -> RunNet:
        """The trained network, read from its file; see `network`.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        net, _ = self.trained(mismatch=mismatch)
        return net

    def trained(self, *, mismatch: bool = False) -> tuple[RunNet, TrainingTask]:
        """The trained network and its task with the scale of the targets, read from their file.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        net = self.network(deployed=True, mismatch=mismatch)
        assert self.config.facts is not None
        scales = load_model(
            self.folder.model,
            net,
            self.n_features,
            self.folder.identity,
            self.config.facts.n_targets,
        )
        return net, self.task.scaled(scales.targets)

    def train(self, on_epoch: OnEpoch | None = None) -> dict[str, Any] | None:
        """Train, from the checkpoint if there is one; test once; write model, result and report.

        A finished run is not trained again; its files are written again from its checkpoint.

        Args:
            on_epoch: Called after each epoch with its metrics, as in `metrics.csv`. The checkpoint
                of the epoch is written, so what this raises ends a run that can be resumed.

        Returns:
            The content of `result.json`; None in processes other than the first.

        Raises:
            BrokenRunError: If another process trains the run, one of its own ended, training
                diverged, the checkpoint is damaged, or the folder cannot be written.
            ValueError: If this machine lacks the precision of the run, or torchrun started other
                processes than its own.
            SystemExit: With code 143, if a signal to terminate came; the run can be resumed.
        """
        self._require_memory_to_train()
        if not self.folder.finished:
            check_processes(self.config.machine)
            check_precision(self.config.machine)
        owns_folder = is_first_process()
        try:
            with self.folder.lock() if owns_folder else contextlib.nullcontext():
                if owns_folder:
                    self._check_files()
                    self._note_other_versions()
                with use_arithmetic(self.config.arithmetic):
                    return self._fit_and_finish(on_epoch)
        except SIGTERMException as error:
            # As Lightning raises it, the process would report success.
            raise SystemExit(TERMINATED) from error
        except FileError as error:
            raise BrokenRunError(str(error)) from error
        except FileWriteError as error:
            raise BrokenRunError(f"{error} Then --resume continues the run.") from error
        except RuntimeError as error:
            if DIVERGED not in str(error):
                raise
            what = str(error).removesuffix(DIVERGED)
            raise BrokenRunError(
                f"{what}training diverged; begin a new run with a lower learning rate."
            ) from error

    def _check_files(self) -> None:
        """Reject what would be an error after hours of training."""
        folder = self.folder
        if folder.finished and not folder.checkpoint.is_file():
            remedy = "restore it: a finished run is not trained again"
            raise FileError(folder.checkpoint, "does not exist", remedy)
        for file in (folder.checkpoint, folder.metrics, folder.model, folder.result):
            check_target(file)
        net_file = self.config.net_file
        if net_file is not None and not folder.net.exists():
            write_atomically(folder.net, net_file.content())

    def _note_other_versions(self) -> None:
        """Print a note if the run began with other versions than those of this process."""
        assert self.config.facts is not None
        origin = self.config.facts.begun_with
        changed = [] if origin is None else origin.changed_versions(Origin.current())
        if changed:
            print_line(
                f"nwave: note: the run began with {', '.join(changed)}: the last bits of its "
                "weights may differ from those of one version."
            )

    @cached_property
    def test_set(self) -> Series:
        """The test set; of a run with `--no-test`, it is read at the first access."""
        if self.config.data.test:
            return self.data.test
        return load_run_data(self.config, reads_test=True)[1].test

    def test(self) -> dict[str, Any]:
        """Read the model from its file and test it, also if the run left the test set unread.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        net, task = self.trained()
        with use_arithmetic(self.config.arithmetic):
            test = self._evaluate(net, task, self.test_set)
        return {
            **test.named_measures("test"),
            "recordings": len(test.lengths),
            "rates": list(test.rates),
        }

    def _evaluate(self, net: RunNet, task: TrainingTask, series: Series) -> Evaluation:
        return evaluate_net(net, task, series, self.config.learning.batch_size)

    def _fit_and_finish(self, on_epoch: OnEpoch | None) -> dict[str, Any] | None:
        learning = self.config.learning
        chip = self.config.chip
        mismatch = chip is not None and chip.training == "mismatch"
        is_new = not self.folder.checkpoint.is_file()
        net = (self.first_network if is_new else self.network)(mismatch=mismatch)
        gain = hidden_gain(self.config)
        is_balanced = learning.class_weights == "balanced"
        task = self.task.fitted(self.data.train, is_balanced=is_balanced)
        model = Learner(net, task, learning, self.config.seed, chip, gain)
        history = History(self.folder.metrics)
        selection = Selection(task.score, learning.patience, keeps_last=learning.keep == "last")
        if is_new and is_first_process():
            self._print_notes(task)
        on_saved = None if on_epoch is None else lambda: on_epoch(history.rows[-1])
        every_epoch = EveryEpoch(self.folder.checkpoint, on_saved)
        if self.config.machine.precision == "64-true":
            # Lightning does so after it has loaded a checkpoint, which then loses digits.
            model.double()
        with _quiet_lightning(), other_processes(self.config.machine.devices):
            trainer = self._trainer(history, selection, every_epoch)
            resumed = every_epoch.path if every_epoch.is_restoring else None
            try:
                trainer.fit(model, self._loaders(mismatch), ckpt_path=resumed)
            except (FileError, FileWriteError):
                raise
            except Exception as error:
                if is_lost_process(error):
                    raise BrokenRunError(LOST_PROCESS) from error
                if every_epoch.is_restoring:  # a damaged file can raise anything
                    raise damaged_checkpoint(every_epoch.path, error) from error
                raise
        if not trainer.is_global_zero:
            return None
        history.write()
        net = self.network(deployed=True).to(model.device)
        net.load_state_dict(
            {
                name.removeprefix("net."): value
                for name, value in selection.weights.items()
                if name.startswith("net.")
            }
        )
        if chip is not None and chip.training == "plain":
            project(net)
        save_model(self.folder.model, net, self.data.standard, self.folder.identity, task.targets)
        return self._finish(net, task, history, selection)

    def _print_notes(self, task: TrainingTask) -> None:
        """Print what to know of the data and of the chip before the first epoch."""
        train = self.data.train
        for note in (task.advice(train), constant_note(train), nearest_tau_note(self.config)):
            if note is not None:
                print_line(f"nwave: note: {note}")

    def _loaders(self, mismatch: bool) -> Loaders:
        config = self.config
        net_file = config.net_file
        return Loaders(
            self.data,
            config.learning.batch_size,
            config.seed,
            VAL_BATCH if mismatch else None,
            config.machine.workers,
            None if net_file is None else partial(load_module, net_file),
            # A page may have batch norms.
            has_similar_lengths=net_file is None,
        )

    def _trainer(self, history: History, selection: Selection, every_epoch: EveryEpoch) -> Trainer:
        machine = self.config.machine
        plugins = precision_plugins(machine)
        return Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.nodes,
            max_epochs=self.config.learning.epochs,
            gradient_clip_val=self.config.learning.clip,
            callbacks=[
                history,
                selection,
                *progress_callbacks(history, self.task.batch_score_name),
                every_epoch,
            ],
            plugins=[AtomicCheckpointIO(self.config), *plugins],
            precision=None if plugins else machine.precision,
            logger=EventLog(self.folder.path / "tensorboard"),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            default_root_dir=self.folder.path,
        )

    def _finish(
        self,
        net: RunNet,
        task: TrainingTask,
        history: History,
        selection: Selection,
    ) -> dict[str, Any]:
        """Test the net, and write the result and, last, the report."""
        has_test = self.config.data.test
        evaluated = self._evaluate(net, task, self.data.test if has_test else self.data.val)
        best = history.rows[selection.epoch]
        measures = [f"val_{name}" for name in (*evaluated.measures, "loss")]
        result = {
            **(evaluated.named_measures("test") if has_test else {}),
            **{name: round(best[name], 6) for name in measures if name in best},
            "seed": self.config.seed,
            "seconds": round(history.seconds, 2),
            "epochs": len(history.rows),
            "best_epoch": selection.epoch + 1,
            "rates": list(evaluated.rates),
            "dead": list(evaluated.dead),
            "saturated": list(evaluated.saturated),
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            **self._projected_score(net, task),
        }
        fields, operations = describe_run(self.data, task, net, evaluated, reads_test=has_test)
        result |= fields
        self.folder.write_result(result)
        try:
            finished = FinishedRun(
                folder=self.folder,
                config=self.config,
                data=self.data,
                net=net,
                task=task,
                history=history.rows,
                evaluation=evaluated,
                result=result,
                operations=operations,
            )
            write_report(finished)
        except Exception as error:  # Whatever a picture raises, the run is finished.
            print_line(
                f"nwave: warning: the run is finished, but {self.folder.report} was not written "
                f"({one_line(error)}): `nwave train --resume` writes it again."
            )
        return result

    def _projected_score(self, net: RunNet, task: TrainingTask) -> dict[str, float]:
        """With plain training for a chip, the validation score after weights were moved."""
        chip = self.config.chip
        if chip is None or chip.training != "plain":
            return {}
        measures = self._evaluate(net, task, self.data.val).measures
        name = "accuracy" if "accuracy" in measures else "r2"
        return {f"projected_{name}": round(measures[name], 6)}


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hide Lightning's advice, and keep standard output free for the result."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            # The data are in memory: worker processes would only copy them.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Lightning with a torch that is newer than it.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
