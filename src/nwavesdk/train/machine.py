"""Whether the machine that a run asks for is here."""

from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from nwavesdk.train.config import MachineConfig

__all__ = ["check_machine"]


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
