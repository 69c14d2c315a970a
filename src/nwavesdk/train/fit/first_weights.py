"""The net with which a run begins: driven by recordings, or with the weights of another run."""

import warnings
from typing import Any

import numpy as np
from torch import Tensor

from nwavesdk.data import Series
from nwavesdk.init import fluct_init
from nwavesdk.internal.files import one_line
from nwavesdk.internal.model import differences
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.fit.model_file import load_model
from nwavesdk.train.fit.network import RunNet, network_of_run, rounded_network
from nwavesdk.train.run_folder import RunFolder

__all__ = ["CannotDriveError", "drive_weights", "finetuned_network"]

# Number of recordings that drive the weights, and the share of the input in the fluctuations of a
# recurrent layer.
DRIVING_RECORDINGS = 32
FEED_FORWARD_SHARE = 0.9


class CannotDriveError(ValueError):
    """Recordings cannot drive the weights of a net; the text is the reason."""


def drive_weights(net: RunNet, train: Series, seed: int) -> dict[str, Tensor]:
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


def finetuned_network(
    config: CompletedConfig, folder: RunFolder, train: Series, *, mismatch: bool = False
) -> RunNet:
    """The trained net of another run, with rounded weights if the config has bits for them.

    Args:
        config: The config of the run that begins.
        folder: The folder of the other run.
        train: The training set.
        mismatch: See `network_of_run`.

    Raises:
        ValueError: If the other run has other data, another net or no model, or the weights cannot
            be rounded.
    """
    recorded = folder.read_config()
    for name, got, expected in differences(_data_of(config), _data_of(recorded)):
        raise ValueError(
            f"learning.finetune: {folder.path} was trained with {name} {expected!r}, got {got!r}: "
            "train on the same data, so that its training set has no recording of a test."
        )

    bits = config.learning.weight_bits
    config = config.model_copy(update={"learning": recorded.learning})
    net = network_of_run(config, mismatch=mismatch)
    load_model(folder.model, net, folder.identity)
    return net if bits is None else rounded_network(net, bits, train.example_inputs(), trains=True)


def _data_of(config: CompletedConfig) -> dict[str, Any]:
    """All that decides the recordings of the three sets."""
    choices = config.data.model_dump(exclude={"source", "test"})
    return {"data": choices, "facts": {"fingerprint": config.facts.fingerprint}}
