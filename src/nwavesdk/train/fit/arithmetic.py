"""The threads of a run, which decide the order of sums on a CPU."""

import contextlib
from collections.abc import Iterator

import torch

from nwavesdk.train.config.facts import ArithmeticConfig

__all__ = ["current_arithmetic", "use_arithmetic"]


def current_arithmetic(threads: int | None = None) -> ArithmeticConfig:
    """The arithmetic of a run that begins, with a number of threads.

    Args:
        threads: Threads of the run; None: the threads of this process.
    """
    return ArithmeticConfig(threads=threads or torch.get_num_threads())


@contextlib.contextmanager
def use_arithmetic(config: ArithmeticConfig | None) -> Iterator[None]:
    """Compute with the threads with which a run began; None changes nothing."""
    config = config or current_arithmetic()
    threads = torch.get_num_threads()

    try:
        torch.set_num_threads(config.threads)
        yield
    finally:
        torch.set_num_threads(threads)
