"""Keep large blocks of memory in the process, so that a fresh tensor costs no page faults.

glibc hands blocks of some MiB back to the system and asks for them anew, and then the faults cost more than our
kernels. The first serial call raises both of its thresholds once; `NWAVESDK_KEEP_MEMORY=0` leaves them as they are.
Other C libraries have no such call, and nothing happens there.
"""

import ctypes
import os
from functools import cache

__all__ = ["keep_large_blocks"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameter numbers of mallopt(3)


@cache
def keep_large_blocks() -> bool:
    """Raise the thresholds, once in this process; returns whether they were raised."""
    if os.environ.get("NWAVESDK_KEEP_MEMORY", "1") == "0":
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
    except (OSError, AttributeError):
        return False
