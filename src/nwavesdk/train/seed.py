"""The random numbers of a run: each use has its own stream, a function of the run's seed and of what it is for.

Nothing random is left over from one epoch to the next, so a run that starts again at an epoch sees the same numbers.
"""

from zlib import crc32

import numpy as np

__all__ = ["chip_seed", "stream"]


def stream(seed: int, use: str, *place: int) -> int:
    """The seed of a stream.

    Args:
        seed: The run's seed.
        use: What the numbers are for.
        place: Where they are used, such as epoch and process.

    Returns:
        An integer below 2^32.

    Example:
        >>> stream(0, "order", 1) == stream(0, "order", 1) != stream(1, "order", 0)
        True
    """
    return int(np.random.SeedSequence([seed, crc32(use.encode()), len(place), *place]).generate_state(1)[0])


def chip_seed(seed: int, use: str, *place: int, drawn: bool) -> int:
    """The seed of one chip of the series: even for those of training and selection, odd for those `drawn` to test.

    So no chip on which a net is tested is one that it has met, whatever the seeds.

    Args:
        seed: The run's seed, or that of the drawing.
        use: What the chip is for.
        place: Which of them it is.
        drawn: Whether it is one to test on.

    Example:
        >>> chip_seed(0, "mismatch", 1, 2, drawn=False) % 2, chip_seed(0, "chips", 7, drawn=True) % 2
        (0, 1)
    """
    return 2 * stream(seed, use, *place) + drawn
