"""The machine of a run: its devices and processes, and the precision of its numbers."""

import os
from typing import Literal

import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.plugins import MixedPrecision

from nwavesdk.train.config.learning import MachineConfig

__all__ = [
    "check_machine",
    "check_precision",
    "check_processes",
    "default_threads",
    "precision_plugins",
]


def check_machine(machine: MachineConfig) -> None:
    """Reject what this machine does not have, before anything is written.

    Raises:
        ValueError: If there is no such accelerator, if it has fewer devices than requested, if it
            lacks the precision, if the CPU would run more processes than it has cores, or if
            torchrun started others.
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
    check_processes(machine)
    check_precision(machine)


def check_processes(machine: MachineConfig) -> None:
    """Reject processes of torchrun that are not those of a run.

    Raises:
        ValueError: If their number differs, or if there are several machines without torchrun.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        if machine.nodes > 1:
            raise ValueError(
                f"machine.nodes: got {machine.nodes}, but torchrun has not started this process: "
                "give the command to torchrun on each machine, as in docs/scaling.md, or leave it "
                "out."
            )
        return
    per_node = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // per_node
    if (nodes, per_node) != (machine.nodes, machine.devices):
        raise ValueError(
            f"machine.nodes: torchrun started {per_node} process(es) on each of {nodes} "
            f"machine(s), got --devices {machine.devices} and --nodes {machine.nodes}: give "
            f"--devices {per_node} --nodes {nodes}, or change --nproc-per-node and --nnodes."
        )


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


def default_threads(machine: MachineConfig) -> int:
    """Threads of each process: those of torch, or the share of a process in them."""
    return max(1, torch.get_num_threads() // machine.devices)


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
