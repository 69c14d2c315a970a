"""The net with which a run begins that goes on from the weights of another run."""

from typing import Any

import numpy as np
from torch import Tensor

from nwavesdk.data import Series
from nwavesdk.internal.model import differences
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.fit.model_file import load_model
from nwavesdk.train.fit.network import RunNet, network_of_run, rounded_network
from nwavesdk.train.run_folder import RunFolder

__all__ = ["example_inputs", "finetuned_network"]

# Values of inputs from which the steps of rounded inputs and weights are chosen.
MAX_EXAMPLE_VALUES = 2**18


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
    return net if bits is None else rounded_network(net, bits, example_inputs(train), trains=True)


def _data_of(config: CompletedConfig) -> dict[str, Any]:
    """All that decides the recordings of the three sets."""
    choices = config.data.model_dump(exclude={"source", "test"})
    return {"data": choices, "facts": {"fingerprint": config.facts.fingerprint}}


def example_inputs(train: Series) -> Tensor:
    """Inputs of recordings that are spread over the training set, [B, T, F]."""
    values = int(train.lengths.max()) * len(train.input.standard.mean)
    count = min(len(train), max(1, MAX_EXAMPLE_VALUES // values))
    return train.batch(np.linspace(0, len(train) - 1, count).astype(np.int64)).x
