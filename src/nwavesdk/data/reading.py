"""Reading a file by a library: one error for whatever it raises, one check of its values."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.files import FileError, kind_of, one_line, reason_of

__all__ = ["MOST_VALUES", "RecordingError", "checked", "reading"]

# The most values of a recording: 512 MiB as float32, 4,000 frames of a camera with 128 x 128 pixels
# and two polarities.
MOST_VALUES = 2**27

# numpy's letters for the dtypes of real numbers: booleans, signed and unsigned integers, floats.
NUMBER_KINDS = "biuf"


class RecordingError(FileError):
    """A recording, or its target, cannot be used.

    Example:
        >>> str(RecordingError(Path("yes/1.wav"), "is empty"))
        'yes/1.wav is empty: repair or remove it.'
    """


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """Turn whatever a library raises within a `with` block into one line that names the file.

    Args:
        path: The file; a link to a file is followed. Pipes and devices are never opened.
        form: What it should be, such as "sound" or "a .npy file".

    Raises:
        FileError: If there is no regular file, or it cannot be read.
        RecordingError: If the block raises anything but a `FileError` or a missing extra.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise FileError(path, f"is {kind_of(mode)}, expected a file", "name another one")
        yield
    except (FileError, ModuleNotFoundError):
        raise
    except FileNotFoundError:
        raise FileError(path, "does not exist", "check the name") from None
    except PermissionError as error:
        what = f"cannot be read ({reason_of(error)})"
        raise FileError(path, what, "change its permissions or its name") from None
    except Exception as error:  # a damaged file can raise anything
        raise RecordingError(path, f"cannot be read as {form} ({one_line(error)})") from None


def checked(path: Path, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """The values of a recording as float32.

    Raises:
        RecordingError: If they are not real numbers, none or too many, or not finite.
    """
    if values.dtype.kind not in NUMBER_KINDS:
        what = f"holds values of type {values.dtype}, expected numbers"
        raise RecordingError(path, what, "save integers or floats")
    if not 0 < values.size <= MOST_VALUES:
        what = f"holds {values.size:,} values, expected 1 to {MOST_VALUES:,}"
        raise RecordingError(path, what, "cut it into several recordings")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.ascontiguousarray(values, np.float32)
        # The sum is finite only if all values are. In float64, it cannot overflow.
        is_finite = np.isfinite(converted.sum(dtype=np.float64))
    if not is_finite:
        place = tuple(np.argwhere(~np.isfinite(converted))[0].tolist())
        what = f"has {values[place]} at index {list(place)}, expected finite float32 numbers"
        raise RecordingError(path, what, "fill in missing values, or remove the recording")
    return converted
