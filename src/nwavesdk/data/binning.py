"""Events as counts per time step: pairs of step and place, and frames.

A bin contains its beginning, but not its end: an event at k · `bin_seconds` is in bin k. An event
up to half a nanosecond before the end of a bin is in the next bin. So rounding of times in seconds
does not matter, and for times and bins of whole microseconds the step is the quotient of whole
numbers.
"""

import math

import numpy as np

from nwavesdk.data.recordings import Array, Frames, Pairs
from nwavesdk.data.source import Events
from nwavesdk.internal.checks import require_memory

__all__ = ["bin_events", "count_steps", "sort_pairs", "to_frames"]

HALF_NANOSECOND = 0.5e-9


def count_steps(events: Events, bin_seconds: float) -> int:
    """The number of steps that a recording takes.

    Args:
        events: The recording.
        bin_seconds: Length of a step [s].

    Example:
        >>> count_steps(Events(np.array([0.0, 0.01]), np.array([0, 0]), (1,), 0.01), 1e-3)
        11
    """
    return int((events.duration + HALF_NANOSECOND) // bin_seconds) + 1


def bin_events(events: Events, bin_seconds: float, steps: int) -> Pairs:
    """Step and place of each event; the events after the last step are dropped.

    Args:
        events: The recording.
        bin_seconds: Length of a step [s], at least a microsecond.
        steps: Number of steps.

    Returns:
        int32 `[n, 2]`, in the order of steps and then of places. Two events at the same step and
        place are two rows.

    Example:
        >>> events = Events(np.array([0.0, 0.5e-3, 1e-3]), np.array([4, 2, 0]), (6,), 1e-3)
        >>> bin_events(events, 1e-3, 10).tolist()
        [[0, 2], [0, 4], [1, 0]]
    """
    # Times never fall, so the events after the last step are at the end.
    step = (events.times + HALF_NANOSECOND) // bin_seconds
    step = step[: np.searchsorted(step, steps)].astype(np.int64)
    return sort_pairs(step, events.places[: len(step)], math.prod(events.shape))


def sort_pairs(steps: Array, places: Array, n_places: int) -> Pairs:
    """Step and place of each event, in the order of steps and then of places.

    Args:
        steps: Whole numbers, `[n]`.
        places: Whole numbers, `[n]`. Arrays of other shapes are broadcast, and n counts their
            elements.
        n_places: Number of places.

    Returns:
        int32 `[n, 2]`.
    """
    # One number per event has the order of both: step · n_places + place.
    order = np.sort(steps.astype(np.int64) * n_places + places, axis=None)
    steps = order // n_places
    return np.stack([steps, order - steps * n_places], axis=1, dtype=np.int32, casting="unsafe")


def to_frames(pairs: Pairs, steps: int, n_places: int) -> Frames:
    """How many events there are at each step and place.

    Args:
        pairs: See `bin_events`.
        steps: Number of steps, T.
        n_places: Number of places, F.

    Returns:
        float32 `[T, F]`.

    Raises:
        ValueError: If the frames do not fit into memory.
        IndexError: If an event is after these steps.

    Example:
        >>> to_frames(np.array([[0, 1], [0, 1], [2, 0]], np.int32), 3, 2).tolist()
        [[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]]
    """
    require_memory(
        "to_frames",
        f"frames of {steps:,} steps and {n_places:,} places",
        4 * steps * n_places,
        "use longer bins, or lists of events",
    )

    frames = np.zeros((steps, n_places), np.float32)
    cells = pairs[:, 0].astype(np.int64) * n_places + pairs[:, 1]
    # With one index and a number of the same type, `add.at` takes a tenth of the time.
    np.add.at(frames.reshape(-1), cells, np.float32(1))
    return frames
