"""A run before training: its checked config, its data and its initial net."""

import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from nwavesdk.init import fluct_init
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import one_line
from nwavesdk.internal.model import differences
from nwavesdk.metrics import count_operations
from nwavesdk.optim import SurrogateAnnealing
from nwavesdk.train.config import CompletedConfig, RunConfig
from nwavesdk.train.config.net_file import load_function
from nwavesdk.train.data.inputs import constant_note, outlier_note
from nwavesdk.train.data.load import RunData, complete_data
from nwavesdk.train.fit.machine import trainer_of
from nwavesdk.train.fit.model_file import load_model
from nwavesdk.train.fit.network import (
    RunNet,
    nearest_tau_note,
    network_of_run,
    rounded_network,
    warn_of_constants,
)
from nwavesdk.train.fit.objective import TrainingTask
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.fit.seeds import stream_seed
from nwavesdk.train.fit.tasks import task_of
from nwavesdk.train.report.finished import FinishedRun
from nwavesdk.train.report.page import Section
from nwavesdk.train.run_folder import RunFolder

__all__ = ["CannotDriveError", "PreparedRun"]

VALUE_BYTES = 4  # of float32

# Letters of the names of classes in a summary.
MAX_LETTERS = 100

# A net is small if a batch has fewer updates of neurons than this.
SMALL_BATCH = 2**20

# Number of recordings that drive the weights, and the share of the input in the fluctuations of a
# recurrent layer.
DRIVING_RECORDINGS = 32
FEED_FORWARD_SHARE = 0.9


class CannotDriveError(ValueError):
    """Recordings cannot drive the weights of a net; the text is the reason."""


class PreparedRun:
    """A run before its first epoch: its folder, its config, its data and its nets.

    Args:
        folder: The folder of the run.
        config: The config of the run.
        data: The data of the run.

    Attributes:
        report_sections: Functions that make more sections of the report from the finished run.
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
    def prepare(cls, path: str | Path, config: RunConfig | Mapping[str, Any]) -> Self:
        """Check all that a new run needs, and write nothing; see `Run.new`."""
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
        hidden = (*net.hidden, self.task.n_neurons) if self.config.is_layered else ()
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
            f"net {self.config.net_name} for {self.config.data.kind}, {parameters:,} parameters; "
            f"{epochs} epoch{'s' * (epochs != 1)} in batches of {batch_size}"
        )
        return lines

    @cached_property
    def fitted_task(self) -> TrainingTask:
        """The task, fitted to the training set: with the scale of values or weights of classes."""
        is_balanced = getattr(self.config.task, "class_weights", None) == "balanced"
        return self.task.fitted(self.data.train, is_balanced=is_balanced)

    @cached_property
    def notes(self) -> list[str]:
        """Notes on the data and the chip, for the user before the first epoch."""
        train = self.data.train
        notes = (
            self.fitted_task.advice(train),
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
        finetune = self.config.learning.finetune
        if finetune is not None:
            return self._finetuned_network(RunFolder(finetune), mismatch)
        net = self.network(mismatch=mismatch)
        if getattr(self.config.net, "first_weights", None) == "driven":
            net.load_state_dict(self._driven_weights)
        return net

    @cached_property
    def _driven_weights(self) -> dict[str, torch.Tensor]:
        """The state of the net with weights that `fluct_init` draws.

        Raises:
            CannotDriveError: If the recordings are silent, neurons cannot be woken, or they do not
                forget.
        """
        # Recordings at equal distances, because neighbors are often of one class.
        train = self.data.train
        count = min(DRIVING_RECORDINGS, len(train))
        batch = train.batch(np.arange(count) * len(train) // count)
        net = self.network()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # of neurons that stay dead
                seed = stream_seed(self.config.seed, "weights")
                fluct_init(net, batch, alpha=FEED_FORWARD_SHARE, seed=seed)
        except (RuntimeError, RuntimeWarning) as error:
            # The text after these marks has remedies for a user's own training loop.
            reason = one_line(error).split(", expected")[0].split(": shorten")[0]
            raise CannotDriveError(reason) from error
        return net.state_dict()

    def _finetuned_network(self, folder: RunFolder, mismatch: bool) -> RunNet:
        """The trained net of a run, with rounded weights if the config has bits for them.

        Raises:
            ValueError: If the other run has other data, another net or no model, or the weights
                cannot be rounded.
        """
        config = self.config
        recorded = folder.read_config()
        for name, got, expected in differences(_data_of(config), _data_of(recorded)):
            raise ValueError(
                f"learning.finetune: {folder.path} was trained with {name} {expected!r}, got "
                f"{got!r}: train on the same data, so that its training set has no recording of a "
                "test."
            )

        net = network_of_run(
            config.model_copy(update={"learning": recorded.learning}), mismatch=mismatch
        )
        load_model(folder.model, net, folder.identity)
        bits, train = config.learning.weight_bits, self.data.train
        if bits is None:
            return net
        return rounded_network(net, bits, train.example_inputs(), trains=True)


def _data_of(config: CompletedConfig) -> dict[str, Any]:
    """All that decides the recordings of the three sets."""
    choices = config.data.model_dump(exclude={"source", "test"})
    return {"data": choices, "facts": {"fingerprint": config.facts.fingerprint}}
