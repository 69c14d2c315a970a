"""Initial weights with which recordings make each neuron fire from the start, but rarely."""

import warnings

import numpy as np
import torch

from nwavesdk.data import Series
from nwavesdk.init import fluct_init
from nwavesdk.internal.files import one_line
from nwavesdk.train.fit.network import RunNet

__all__ = ["CannotDriveError", "drive_weights"]

# Number of recordings that drive the weights, and the share of the input in the fluctuations of a
# recurrent layer.
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
    # Recordings at equal distances, because neighbors are often of one class.
    count = min(DRIVING_RECORDINGS, len(train))
    batch = train.batch(np.arange(count) * len(train) // count)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # of neurons that stay dead
            fluct_init(net, batch, alpha=FEED_FORWARD_SHARE, seed=seed)
    except (RuntimeError, RuntimeWarning) as error:
        # The text after these marks has remedies for a user's own training loop.
        reason = one_line(error).split(", expected")[0].split(": shorten")[0]
        raise CannotDriveError(reason) from error
    return net.state_dict()
