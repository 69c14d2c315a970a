"""Jobs of the tests of executors; a process that runs one imports nothing but this file."""

import os
import signal
import time


def halve(job: int) -> float:
    """Jobs of 3 fail."""
    if job == 3:
        raise ValueError("three is odd")
    return job / 2


def die(job: int) -> None:  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGKILL)


def wait_if_even(job: int) -> None:
    if job % 2:
        raise ValueError("three is odd")
    time.sleep(job)
