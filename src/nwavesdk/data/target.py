"""The target of a recording in regression: one value or vector per time step, from a file."""

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nwavesdk.data.wav import RecordingError

__all__ = ["fit_target", "read_target"]

Target = npt.NDArray[np.float32]


def read_target(path: Path, data: bytes) -> Target:
    """The target in a file written by `torch.save`; no code in the file is executed.

    Args:
        path: Name of the file, for errors.
        data: Its content.

    Returns:
        `[steps, C]`; a target of one axis has C = 1.

    Raises:
        RecordingError: If it is not a real tensor of one or two axes, or has values that are not
            finite.
    """
    import torch

    try:
        value = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise different kinds, and more
        what = f"is not a tensor ({type(error).__name__})" if data else "is empty (0 bytes)"
        raise RecordingError(path, what, "write it with torch.save(tensor, path)") from None
    is_tensor = isinstance(value, torch.Tensor)
    if not is_tensor or value.ndim not in (1, 2) or not value.numel() or value.is_complex():
        got = list(value.shape) if is_tensor else type(value).__name__
        what = f"holds {got}, expected a real tensor (T,) or (T, C)"
        raise RecordingError(path, what, "write it again")
    target: Target = value.detach().to_dense().reshape(len(value), -1).to(torch.float32).numpy()
    if not np.isfinite(target).all():
        raise RecordingError(path, "has values that are not finite")
    return target


def fit_target(path: Path, target: Target, recorded_steps: int, steps: int) -> Target:
    """The target padded with zeros, or cut, like its recording.

    Args:
        path: Name of the file, for errors.
        target: `[length, C]`.
        recorded_steps: Time steps of the recording before it was cut or padded.
        steps: Time steps after that.

    Returns:
        `[steps, C]`.

    Raises:
        RecordingError: If its length is neither that of the recording, plus or minus one step, nor
            `steps`.
    """
    length = len(target)
    if length != steps and abs(length - recorded_steps) > 1:
        what = (
            f"has {length} steps, expected {recorded_steps} (its recording), plus or minus one, or "
            f"{steps} (after padding)"
        )
        raise RecordingError(path, what, "align it with its recording")
    fitted = np.zeros((steps, target.shape[1]), np.float32)
    fitted[: min(length, steps)] = target[:steps]
    return fitted
