"""What a recording should be answered with, step by step: the tensor of a regression's target file."""

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from nwavesdk.data.wav import RecordingError

__all__ = ["aligned", "read_target"]

Target = npt.NDArray[np.float32]


def read_target(path: Path, data: bytes) -> Target:
    """The target of a file written by `torch.save`; nothing in the file is executed.

    Args:
        path: Its name, for errors.
        data: Its content.

    Returns:
        `[steps, C]`; a target of one axis has C = 1.

    Raises:
        RecordingError: It is no real tensor of one or two axes, or holds values that are not finite.
    """
    try:
        value = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch have one kind each, and more
        what = f"is no tensor ({type(error).__name__})" if data else "is empty (0 bytes)"
        raise RecordingError(path, what, "write it with torch.save(tensor, path)") from None
    shape = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
    if (
        not isinstance(value, torch.Tensor)
        or value.ndim not in (1, 2)
        or not value.numel()
        or value.is_complex()
    ):
        raise RecordingError(
            path, f"holds {shape}, expected a real tensor (T,) or (T, C)", "write it anew"
        )
    target: Target = value.detach().to_dense().reshape(len(value), -1).to(torch.float32).numpy()
    if not np.isfinite(target).all():
        raise RecordingError(path, "holds values that are not finite")
    return target


def aligned(path: Path, target: Target, own: int, steps: int) -> Target:
    """The target padded with zeros, or cut, as its recording is.

    Args:
        path: Its name, for errors.
        target: `[length, C]`.
        own: Time steps of the recording as it was recorded.
        steps: Time steps that it is brought to.

    Returns:
        `[steps, C]`.

    Raises:
        RecordingError: It is as long neither as the recording, give or take a step, nor as `steps`.
    """
    length = len(target)
    if length != steps and abs(length - own) > 1:
        what = f"has {length} steps, expected {own} (its recording), give or take one, or {steps} (after padding)"
        raise RecordingError(path, what, "align it with its recording")
    fitted = np.zeros((steps, target.shape[1]), np.float32)
    fitted[: min(length, steps)] = target[:steps]
    return fitted
