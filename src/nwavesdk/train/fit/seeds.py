"""The seeds of the random numbers of a run.

Each use of random numbers has its own seed, a function of the run's seed and of the use. No state
of a generator is carried from one epoch to the next, so a resumed run draws the same numbers.
"""

from zlib import crc32

import numpy as np

__all__ = ["chip_seed", "stream_seed"]


def stream_seed(seed: int, use: str, *place: int) -> int:
    """The seed of a stream of random numbers.

    Args:
        seed: The run's seed.
        use: What the numbers are for.
        place: Where they are used, for example the epoch and the process.

    Returns:
        An integer below 2^32.

    Example:
        >>> stream_seed(0, "order", 1) == stream_seed(0, "order", 1)
        True
        >>> stream_seed(0, "order", 1) == stream_seed(1, "order", 0)
        False
    """
    entropy = [seed, crc32(use.encode()), len(place), *place]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def chip_seed(seed: int, use: str, *place: int, drawn: bool) -> int:
    """The seed of one chip of the series.

    Seeds are even for training and selection and odd for testing. So a net is never tested on a
    chip that it was trained on, whatever the seeds.

    Args:
        seed: The run's seed, or the seed of the test.
        use: What the chip is for.
        place: Which of the chips for this use it is.
        drawn: Whether the chip is drawn for testing.

    Example:
        >>> chip_seed(0, "mismatch", 1, 2, drawn=False) % 2
        0
        >>> chip_seed(0, "chips", 7, drawn=True) % 2
        1
    """
    return 2 * stream_seed(seed, use, *place) + drawn
