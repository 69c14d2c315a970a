"""Processes that this library starts, and the addresses of clusters on which it starts them."""

import ctypes
import multiprocessing
import os
import re
import signal
import sys

from nwavesdk.internal.checks import shown

__all__ = ["AUTO", "LOCAL", "TERMINATED", "check_address", "die_with_the_parent"]

# Addresses of a Ray cluster of this machine alone, and of the cluster that Ray finds.
LOCAL = "local"
AUTO = "auto"

TERMINATED = 128 + 15  # exit code, as shells report a process that SIGTERM ended

HOST_AND_PORT = re.compile(r"([\w.-]{1,253}|\[[0-9a-fA-F:]{2,45}\]):[0-9]{1,5}")


def check_address(address: str) -> None:
    """Reject a text that is not the address of a Ray cluster.

    Raises:
        ValueError: If it is not.

    Example:
        >>> check_address("10.0.0.1:6379")
    """
    if address not in (LOCAL, AUTO) and not HOST_AND_PORT.fullmatch(address):
        raise ValueError(
            f"got {shown(address)}, expected {LOCAL} (this machine), {AUTO} (the cluster that "
            "Ray finds) or HOST:PORT of a Ray cluster"
        )


def die_with_the_parent() -> None:
    """End this process together with its parent, and leave Ctrl-C to the parent.

    Otherwise the processes of a killed run would continue, and hold its lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    # The parent may have ended before the call above, while this process imported.
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
