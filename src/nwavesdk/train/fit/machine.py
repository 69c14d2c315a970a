"""The machine of a run: its devices and processes, and the precision of its numbers."""

import os

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.plugins import MixedPrecision

from nwavesdk.train.config.learning import MachineConfig

__all__ = [
    "check_machine",
    "check_processes",
    "default_threads",
    "is_first_process",
    "precision_plugins",
]


def is_first_process() -> bool:
    """Whether this process prints and writes; it started the others, or torchrun did."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def check_machine(machine: MachineConfig) -> None:
    """Reject what this machine does not have, before anything is written.

    Raises:
        ValueError: If there is no such accelerator, if it has fewer devices than requested, or if
            the CPU would run more processes than it has cores; see also `check_processes`.
    """
    cuda, mps = _cuda_devices(), _mps_devices()
    # Each process has the whole data and net. Two are allowed anywhere, to try data-parallel runs.
    cpu = max(2, os.cpu_count() or 1)
    by_name = {"gpu": cuda or mps, "cuda": cuda, "mps": mps, "cpu": cpu}
    available = by_name.get(machine.accelerator, cuda or mps or cpu)
    if available < machine.devices:
        raise ValueError(
            f"machine.accelerator: got {machine.accelerator!r} with {machine.devices} device(s), "
            f"but this machine has {available}: use --accelerator cpu or auto, or fewer --devices."
        )
    check_processes(machine)


def check_processes(machine: MachineConfig) -> None:
    """Reject processes that are not those of the run, and a precision that its device lacks.

    Raises:
        ValueError: If torchrun started other processes, or none for several machines, or if the
            device does not have the precision.
    """
    if TorchElasticEnvironment.detect():
        TorchElasticEnvironment().validate_settings(machine.devices, machine.nodes)
    elif machine.nodes > 1:
        raise ValueError(
            f"machine.nodes: got {machine.nodes}, but torchrun has not started this process: give "
            "the command to torchrun on each machine, as in docs/scaling.md, or leave it out."
        )

    kind = _device_kind(machine)
    lacks_bfloat16 = kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    lacking = {"bf16-mixed": lacks_bfloat16, "64-true": kind == "mps"}
    if lacking.get(machine.precision):
        raise ValueError(
            f"machine.precision: got {machine.precision!r}, which this GPU ({kind}) does not have: "
            "use --precision 32-true, or --accelerator cpu."
        )


def default_threads(machine: MachineConfig) -> int:
    """Threads of each process: those of torch, or the share of a process in them."""
    return max(1, torch.get_num_threads() // machine.devices)


def precision_plugins(machine: MachineConfig) -> list[MixedPrecision]:
    """What Lightning needs in place of the name of a precision: float16 on a CPU.

    By that name alone, Lightning would compute in bfloat16.
    """
    is_float16_on_cpu = machine.precision == "16-mixed" and _device_kind(machine) == "cpu"
    return [MixedPrecision("16-mixed", "cpu")] if is_float16_on_cpu else []


def _device_kind(machine: MachineConfig) -> str:
    """The kind of device that Lightning takes."""
    if machine.accelerator in ("cpu", "cuda", "mps"):
        return machine.accelerator
    if _cuda_devices():
        return "cuda"
    return "mps" if _mps_devices() else "cpu"


def _cuda_devices() -> int:
    return CUDAAccelerator.auto_device_count() if CUDAAccelerator.is_available() else 0


def _mps_devices() -> int:
    return MPSAccelerator.auto_device_count() if MPSAccelerator.is_available() else 0
