"""The seeds and the threads of a run, which decide its numbers to the last bit.

Each use of random numbers has its own seed, a function of the run's seed and of the use. No state
of a generator is carried from one epoch to the next, so a resumed run draws the same numbers. The
threads decide the order of sums on a CPU.
"""

import contextlib
from collections.abc import Iterator
from zlib import crc32

import numpy as np
import torch

__all__ = ["chip_seed", "stream_seed", "use_threads"]


def stream_seed(seed: int, use: str, *indices: int) -> int:
    """The seed of a stream of random numbers.

    Args:
        seed: The run's seed.
        use: The use of the numbers, such as "order".
        indices: Indices of the use, for example the epoch and the process.

    Returns:
        An integer below 2^32.

    Example:
        >>> stream_seed(0, "order", 1) == stream_seed(0, "order", 1)
        True
        >>> stream_seed(0, "order", 1) == stream_seed(1, "order", 0)
        False
    """
    entropy = [seed, crc32(use.encode()), len(indices), *indices]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def chip_seed(seed: int, use: str, *indices: int, drawn: bool) -> int:
    """The seed of one chip of the series.

    Seeds are even for training and selection and odd for testing. So a net is never tested on a
    chip that it was trained on, whatever the seeds of the run and of the test.

    Args:
        seed: The run's seed, or the seed of the test.
        use: The use of the chip, such as "mismatch".
        indices: Indices of the chip within this use.
        drawn: Whether the chip is drawn for testing.

    Example:
        >>> chip_seed(0, "mismatch", 1, 2, drawn=False) % 2
        0
        >>> chip_seed(0, "chips", 7, drawn=True) % 2
        1
    """
    return 2 * stream_seed(seed, use, *indices) + drawn


@contextlib.contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Compute with the threads with which a run began; None changes nothing."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        yield
    finally:
        torch.set_num_threads(before)
