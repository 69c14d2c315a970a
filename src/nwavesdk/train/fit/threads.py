"""The threads of a run, which decide the order of sums on a CPU, and the last bits of weights."""

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["use_threads"]


@contextlib.contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Compute with the threads with which a run began; None changes nothing."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        yield
    finally:
        torch.set_num_threads(before)
