"""The machine of a run: Lightning's Trainer with its devices, processes and precision."""

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import MixedPrecision

from nwavesdk.internal.files import one_line
from nwavesdk.train.config.learning import MachineConfig
from nwavesdk.train.fit.progress import report_lost_log

__all__ = ["is_first_process", "quiet_lightning", "trainer_of"]

# Lightning's warnings that do not apply: data are in memory, and checkpoints may be moved.
QUIET = (
    "does not have many workers",
    "LeafSpec.*deprecated",  # a torch that is newer than Lightning
    "Checkpoint directory .* exists",
    "The dirpath has changed",
    "AMP with fp16 is not supported on CPU",
)


def is_first_process() -> bool:
    """Whether this process prints and writes; it started the others, or torchrun did."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def trainer_of(machine: MachineConfig, **options: Any) -> Trainer:
    """Lightning's Trainer for the machine of a run.

    Args:
        machine: The devices, processes and precision of the run.
        options: Other arguments of the Trainer.

    Raises:
        ValueError: If this machine lacks the devices or their precision, if the CPU would run more
            processes than it has cores, or if torchrun started another number of processes, or
            did not start the processes of several machines.
    """
    if TorchElasticEnvironment.detect():
        TorchElasticEnvironment().validate_settings(machine.devices, machine.nodes)
    elif machine.nodes > 1:
        raise ValueError(
            f"machine.nodes: got {machine.nodes}, but torchrun has not started this process: pass "
            "the command to torchrun on each machine, as in docs/scaling.md, or remove it."
        )

    try:
        with quiet_lightning():
            trainer = Trainer(
                accelerator=machine.accelerator,
                devices=machine.devices,
                num_nodes=machine.nodes,
                precision=machine.precision,
                **options,
            )

        # Each process has the whole data and net. Two processes are always allowed, to try
        # data-parallel runs.
        kind = _device_kind(trainer)
        if kind == "cpu" and machine.devices > max(2, os.cpu_count() or 1):
            raise MisconfigurationException(f"it has {os.cpu_count()} cores")
    except MisconfigurationException as error:
        raise ValueError(
            f"machine.accelerator: got {machine.accelerator!r} with {machine.devices} device(s), "
            f"which this machine does not have ({one_line(error)}): use --accelerator cpu or auto, "
            "or fewer --devices."
        ) from error

    # Emulated bfloat16 does not count, because it is slow.
    lacks_bfloat16 = kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    lacking = {"bf16-mixed": lacks_bfloat16, "64-true": kind == "mps"}
    if lacking.get(machine.precision):
        raise ValueError(
            f"machine.precision: got {machine.precision!r}, which this GPU ({kind}) does not "
            "have: use --precision 32-true, or --accelerator cpu."
        )
    if machine.precision == "16-mixed" and kind == "cpu":
        # By its name alone, Lightning would compute in bfloat16.
        trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu")
    return trainer


def _device_kind(trainer: Trainer) -> str:
    return trainer.strategy.root_device.type


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's advice, and keep standard output free for the result."""
    with contextlib.ExitStack() as stack:
        for name in ("pytorch", "fabric"):
            logger = logging.getLogger(f"lightning.{name}")
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.WARNING)

        stack.enter_context(warnings.catch_warnings())
        for advice in QUIET:
            warnings.filterwarnings("ignore", message=f".*{advice}")
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        stack.enter_context(mock.patch.object(threading, "excepthook", report_lost_log))

        # Lightning's launcher changes variables, and would change the threads of the run.
        stack.enter_context(
            mock.patch.dict(os.environ, OMP_NUM_THREADS=str(torch.get_num_threads()))
        )
        yield
