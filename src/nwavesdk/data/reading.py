"""Reading a file by a library: one error for all that it may raise, one check of its values."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.files import FileError, kind_of, one_line, reason_of

__all__ = [
    "MAX_STREAM_VALUES",
    "MAX_VALUES",
    "Array",
    "RecordingError",
    "checked",
    "digest_of",
    "reading",
]

# Largest number of values of a recording: 512 MiB as float32, or 4,000 frames of a camera with
# 128 x 128 pixels and two polarities.
MAX_VALUES = 2**27

# Largest number of values of background and of recordings with events: a day at 48 kHz.
MAX_STREAM_VALUES = 2**32

# numpy's letters for the dtypes of real numbers: booleans, signed and unsigned integers, floats.
NUMBER_KINDS = "biuf"

# Values as a file holds them.
Array = npt.NDArray[Any]


class RecordingError(FileError):
    """A recording, or its target, cannot be used.

    Example:
        >>> str(RecordingError(Path("yes/1.wav"), "is empty"))
        'yes/1.wav is empty: repair or remove it.'
    """


@contextmanager
def reading(
    path: Path, form: str, remedy: str = "repair or remove it", *, max_bytes: float = inf
) -> Iterator[None]:
    """Turn any error of a library within a `with` block into one line that names the file.

    Args:
        path: The file, or the name of a recording in it, such as `set.h5/17`. A link to a file is
            followed; pipes and devices are never opened.
        form: The expected form, such as "sound" or "a .npy file".
        remedy: The remedy for a file of another form.
        max_bytes: Largest allowed size, for a file that is read into memory.

    Raises:
        FileError: If there is no regular file, or it cannot be read.
        RecordingError: If the file is empty or too large, or the block raises anything but a
            `FileError` or a missing extra.
    """
    try:
        file = path.parent if path.parent.is_file() else path
        status = file.stat()
        if not file.is_file():
            raise FileError(
                path, f"is {kind_of(status.st_mode)}, expected a file", "pass the path of a file"
            )
        if not status.st_size:
            raise RecordingError(path, "is empty (0 bytes)", remedy)
        if status.st_size > max_bytes:
            raise ValueError(f"{status.st_size:,} bytes, expected at most {max_bytes:,}")

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage, which becomes an error
            yield
    except (FileError, ModuleNotFoundError):
        raise
    except FileNotFoundError:
        raise FileError(path, "does not exist", "check the name") from None
    except PermissionError as error:
        raise FileError(
            path, f"cannot be read ({reason_of(error)})", "change its permissions or its name"
        ) from None
    except Exception as error:  # a damaged file can raise anything
        # Some libraries name the open file instead of its path.
        reason = re.sub(r" ?<_io[^>]*>?", "", one_line(error))
        raise RecordingError(path, f"cannot be read as {form} ({reason})", remedy) from None


def checked(path: Path, values: Array, max_values: int | None = None) -> npt.NDArray[np.float32]:
    """The values of a recording as float32.

    Args:
        path: The file, for errors.
        values: The values.
        max_values: Largest allowed number of values. [MAX_VALUES]

    Raises:
        RecordingError: If they are not real numbers, none or too many, or not finite.
    """
    limit = max_values or MAX_VALUES
    if values.dtype.kind not in NUMBER_KINDS or not 0 < values.size <= limit:
        raise RecordingError(
            path,
            f"holds values of type {values.dtype} and shape {list(values.shape)}, expected 1 to "
            f"{limit:,} integers or floats",
            "convert or cut it",
        )

    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.ascontiguousarray(values, np.float32)
        # The sum is finite only if all values are. In float64, it cannot overflow.
        is_finite = np.isfinite(converted.sum(dtype=np.float64))
    if not is_finite:
        index = tuple(np.argwhere(~np.isfinite(converted))[0].tolist())
        raise RecordingError(
            path,
            f"has {values[index]} at index {list(index)}, expected finite float32 numbers",
            "fill in missing values (of .csv and .npy: --missing interpolate), or remove it",
        )
    return converted


def digest_of(*parts: str | Array) -> bytes:
    """SHA-256 of texts and arrays; the type and the shape of an array count, too."""
    digest = sha256()
    for array in map(np.asarray, parts):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
