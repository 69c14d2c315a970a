"""The machine of a run: its devices and processes, and the precision of its numbers."""

import os
from typing import Literal

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.plugins import MixedPrecision

from nwavesdk.train.sections import MachineConfig

__all__ = ["check_machine", "check_precision", "is_first_process", "precision_plugins"]


def is_first_process() -> bool:
    """Whether this process prints and writes; Lightning and torchrun start the others."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def check_machine(machine: MachineConfig) -> None:
    """Reject an accelerator or a precision that is missing, before anything is written.

    Raises:
        ValueError: If there is no such accelerator, if it has fewer devices than requested, if it
            lacks the precision, or if the CPU would run more processes than it has cores.
    """
    cuda, mps = _cuda_devices(), _mps_devices()
    available = {"gpu": cuda or mps, "cuda": cuda, "mps": mps}.get(machine.accelerator)
    if available is not None and available < machine.devices:
        raise ValueError(
            f"machine.accelerator: got {machine.accelerator!r} with {machine.devices} device(s), "
            f"but this machine has {available}: use --accelerator cpu or auto, or fewer --devices."
        )
    # Each process has the whole data and net. Two are allowed anywhere, to try data-parallel runs.
    most = max(2, os.cpu_count() or 1)
    if _device_kind(machine) == "cpu" and machine.devices > most:
        raise ValueError(
            f"machine.devices: got {machine.devices} processes for {os.cpu_count()} cores, "
            f"expected at most {most}: use fewer --devices."
        )
    check_precision(machine)


def check_precision(machine: MachineConfig) -> None:
    """Reject a precision that the device of a run does not have.

    Raises:
        ValueError: If it does not.
    """
    kind = _device_kind(machine)
    lacks_bfloat16 = kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if machine.precision == "bf16-mixed" and lacks_bfloat16:
        raise ValueError(
            "machine.precision: got 'bf16-mixed', but this GPU has no bfloat16: use --precision "
            "16-mixed or 32-true."
        )
    if machine.precision == "64-true" and kind == "mps":
        raise ValueError(
            "machine.precision: got '64-true', but this GPU (mps) has no float64: use --precision "
            "32-true, or --accelerator cpu."
        )


def precision_plugins(machine: MachineConfig) -> list[MixedPrecision]:
    """What Lightning needs in place of the name of a precision: float16 on a CPU.

    By that name alone, Lightning would compute in bfloat16.
    """
    is_float16_on_cpu = machine.precision == "16-mixed" and _device_kind(machine) == "cpu"
    return [MixedPrecision("16-mixed", "cpu")] if is_float16_on_cpu else []


def _device_kind(machine: MachineConfig) -> Literal["cpu", "cuda", "mps"]:
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
