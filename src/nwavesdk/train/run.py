"""A run from its config to its report, and on from where it was killed.

Whether the machine that a run asks for is here.

What decides the order of sums on a CPU, as the config of a run holds it: read at its begin, set when it goes on.
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.loggers import TensorBoardLogger

from nwavesdk.layers import SpikingSequential, project
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.solvers.sparse import crossover
from nwavesdk.train.checkpoint import AtomicCheckpointIO, EveryEpoch, load_model, save_model
from nwavesdk.train.classifier import Classifier, Selection
from nwavesdk.train.config import ArithmeticConfig, MachineConfig, RunConfig
from nwavesdk.train.evaluation import evaluate
from nwavesdk.train.network import build_chip_network, build_network, stream
from nwavesdk.train.progress import History, progress
from nwavesdk.train.report import write_report
from nwavesdk.train.run_data import Loaders, Parts, load_parts
from nwavesdk.train.run_folder import BrokenRunError, RunFolder

__all__ = ["Run", "arithmetic_now", "check_machine", "same_arithmetic"]

VAL_BATCH = 16
"""Recordings of the validation part that one chip hears, where training draws chips: so that several are heard."""


class Run:
    """A run that is ready to go on: its folder, its config with the data's facts, its data.

    Args:
        folder: Where it is kept.
        config: Its config, with facts.
        parts: Its data.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, parts: Parts) -> None:
        assert config.facts is not None
        self.folder = folder
        self.config = config
        self.parts = parts
        self.classes = config.facts.classes
        self.n_features = config.facts.n_features
        self.profile = config.facts.chip

    @classmethod
    def new(cls, path: Path, config: RunConfig) -> "Run":
        """Begin a run in an empty or new folder.

        Raises:
            ValueError: The folder is in use, or the data cannot be used; then no folder is made.
            ModuleNotFoundError: An extra is missing.
        """
        folder = RunFolder(path)
        # Processes after the first, started by Lightning or torchrun, join the run that the first one began.
        leads = getattr(rank_zero_only, "rank", 0) == 0
        if leads:
            folder.check_free()
        check_machine(config.machine)
        config, parts = load_parts(config)
        config = config.model_copy(update={"arithmetic": arithmetic_now()})
        if leads:
            folder.begin(config)
        return cls(folder, config, parts)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """A run that was begun earlier.

        Raises:
            ValueError: There is no run, or its data are no longer what they were.
        """
        folder = RunFolder(path)
        config, parts = load_parts(folder.read_config())
        return cls(folder, config, parts)

    def network(self, *, deployed: bool = False, mismatch: bool = False) -> SpikingSequential:
        """The network with the weights of the seed.

        Args:
            deployed: As it will be in the end; for a chip, with its bits, which training may not know of.
            mismatch: For a chip, that `prepare_net` draws how chips differ.
        """
        torch.manual_seed(stream(self.config.seed, "weights"))
        net, chip = self.config.net, self.config.chip
        if chip is None:
            return build_network(net, self.n_features, len(self.classes))
        assert self.profile is not None
        bits = chip.bits if deployed or chip.training != "plain" else None
        return build_chip_network(
            net, self.n_features, len(self.classes), self.profile, bits, mismatch
        )

    def model(self, *, mismatch: bool = False) -> SpikingSequential:
        """The trained network as it is used, read from its file; see `network`.

        Raises:
            ValueError: The model is missing or damaged.
        """
        net = self.network(deployed=True, mismatch=mismatch)
        load_model(self.folder.model, net)
        return net

    def train(self) -> dict[str, Any] | None:
        """Learn, from the latest checkpoint if there is one; select, test once, write model, pictures and report.

        Returns:
            The content of `result.json`; None in processes other than the first.

        Raises:
            BrokenRunError: Training diverged, or the checkpoint is damaged.
        """
        with same_arithmetic(self.config.arithmetic):
            try:
                return self._train()
            except RuntimeError as error:
                if DIVERGED not in str(error):
                    raise
                what = str(error).removesuffix(DIVERGED)
                raise BrokenRunError(
                    f"{what}training diverged; begin a new run with a lower learning rate."
                ) from error

    def _train(self) -> dict[str, Any] | None:
        learning = self.config.learning
        chip = self.config.chip
        net = self.network(mismatch=chip is not None and chip.training == "mismatch")
        model = Classifier(net, len(self.classes), learning, self.config.seed, chip)
        history, selection = History(self.folder.metrics), Selection(learning.patience)
        checkpoint = self.folder.checkpoint
        with _quiet():
            trainer = self._trainer(history, selection)
            loaders = Loaders(
                self.parts,
                learning.batch_size,
                self.config.seed,
                VAL_BATCH if model.mismatch else None,
            )
            trainer.fit(model, loaders, ckpt_path=checkpoint if checkpoint.is_file() else None)
        if not trainer.is_global_zero:
            return None
        net = self.network(deployed=True).to(model.device)
        net.load_state_dict(
            {name.removeprefix("net."): value for name, value in selection.weights.items()}
        )
        if chip is not None and chip.training == "plain":
            project(net)
        save_model(self.folder.model, net, self.parts.standard)
        return self._finish(net, history, selection)

    def test(self) -> dict[str, Any]:
        """Read the model from its file and test it.

        Raises:
            ValueError: The model is missing or damaged.
        """
        net = self.model()
        with same_arithmetic(self.config.arithmetic):
            result = evaluate(
                net, self.parts.test, len(self.classes), self.config.learning.batch_size
            )
        return {
            "test_accuracy": result.accuracy,
            "recordings": len(result.labels),
            "rates": list(result.rates),
        }

    def _finish(
        self, net: SpikingSequential, history: History, selection: Selection
    ) -> dict[str, Any]:
        test = evaluate(net, self.parts.test, len(self.classes), self.config.learning.batch_size)
        result = {
            "test_accuracy": test.accuracy,
            "val_accuracy": round(selection.score[0], 6),
            "val_loss": round(-selection.score[1], 6),
            "seed": self.config.seed,
            "seconds": round(history.seconds, 2),
            "epochs": len(history.rows),
            "best_epoch": selection.epoch + 1,
            "rates": list(test.rates),
            "dead": list(test.dead),
            "saturated": list(test.saturated),
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
        }
        write_report(self.folder, self.config, self.parts, net, history.rows, test, result)
        self.folder.write_result(result)
        return result

    def _trainer(self, history: History, selection: Selection) -> Trainer:
        machine = self.config.machine
        board = TensorBoardLogger(self.folder.path, name="", version="tensorboard")
        return Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            precision=machine.precision,
            max_epochs=self.config.learning.epochs,
            callbacks=[history, selection, *progress(history), EveryEpoch(self.folder.checkpoint)],
            plugins=[AtomicCheckpointIO()],
            logger=board,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            default_root_dir=self.folder.path,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice away and standard output free for the result."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            # The data lie in memory: workers would only copy them.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Lightning on a newer torch than its own.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
            yield
    finally:
        logger.setLevel(level)


def check_machine(machine: MachineConfig) -> None:
    """Refuse an accelerator that is missing, before anything is written.

    Raises:
        ValueError: There is no such accelerator, or there are less devices than asked for.
    """
    cuda = CUDAAccelerator.auto_device_count() if CUDAAccelerator.is_available() else 0
    apple = MPSAccelerator.auto_device_count() if MPSAccelerator.is_available() else 0
    here = {"gpu": cuda or apple, "cuda": cuda, "mps": apple}
    found = here.get(machine.accelerator)
    if found is not None and found < machine.devices:
        raise ValueError(
            f"machine.accelerator: got {machine.accelerator!r} with {machine.devices} device(s), found {found} here: "
            f"use --accelerator cpu or auto, or less --devices."
        )


def arithmetic_now() -> ArithmeticConfig:
    """Threads and crossovers of this process.

    Raises:
        ValueError: the user's own table is broken.
    """
    return ArithmeticConfig(
        threads=torch.get_num_threads(), crossovers=crossover.active_table().content()
    )


@contextlib.contextmanager
def same_arithmetic(config: ArithmeticConfig | None) -> Iterator[None]:
    """Compute as the run did when it began; a run of before this was recorded goes on with what is set."""
    if config is None:
        yield
        return
    threads, table, cores = torch.get_num_threads(), crossover.chosen_table(), os.cpu_count() or 1
    if config.threads > max(threads, cores):
        warnings.warn(
            f"the run began with {config.threads} threads, this machine has {cores} cores: it goes on with "
            f"{config.threads} threads for the same weights, more slowly than a new run.",
            stacklevel=3,
        )
    try:
        torch.set_num_threads(config.threads)
        crossover.use_table(config.table())
        yield
    finally:
        torch.set_num_threads(threads)
        crossover.use_table(table)
