"""First weights that recordings drive, so that each neuron fires from the start, but rarely."""

import warnings

import numpy as np
import torch

from nwavesdk.data import Series
from nwavesdk.init import fluct_init
from nwavesdk.internal.files import one_line
from nwavesdk.train.fit.network import RunNet

__all__ = ["CannotDriveError", "drive_weights"]

# Recordings that drive the weights, and the share of the fluctuations of a recurrent layer that
# its input then causes.
DRIVING_RECORDINGS = 32
FEED_FORWARD_SHARE = 0.9


class CannotDriveError(ValueError):
    """Recordings cannot drive the weights of a net; the text is the reason."""


def drive_weights(net: RunNet, train: Series, seed: int) -> dict[str, torch.Tensor]:
    """Draw the weights of a net with `fluct_init`.

    Args:
        net: The net of a run; its weights change.
        train: The training set, from which recordings are taken at equal distances.
        seed: Seed of the weights.

    Returns:
        The state of the net.

    Raises:
        CannotDriveError: If the recordings are silent, neurons cannot be woken, or they do not
            forget.
    """
    count = min(DRIVING_RECORDINGS, len(train))
    # Neighbors are often of one class.
    batch = train.batch(np.arange(count) * len(train) // count)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # of neurons that stay dead
            fluct_init(net, batch, alpha=FEED_FORWARD_SHARE, seed=seed)
    except (RuntimeError, RuntimeWarning) as error:
        # What follows are remedies for a loop of one's own.
        reason = one_line(error).split(", expected")[0].split(": shorten")[0]
        raise CannotDriveError(reason) from error
    return net.state_dict()
