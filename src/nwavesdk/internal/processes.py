"""Processes that this library starts."""

import ctypes
import signal
import sys

__all__ = ["die_with_the_parent"]


def die_with_the_parent() -> None:
    """End this process with the one that started it.

    Otherwise processes of a run that was killed would go on, and hold its lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_IGN)
