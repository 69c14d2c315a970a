"""A trained net for recordings of another origin, such as a new speaker: its batch norms adapt.

What a speaker, a microphone or a sensor changes in a net is, for a large part, the mean and the
variance of its charges. A batch norm removes both, but those of the training set. Recordings of the
new origin show its own; they need no classes.
"""

import copy
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.rnn import pad_sequence

from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.net.preparation import prepared

__all__ = ["LEAST_RECORDINGS", "adapted_net"]

# The training set counts as much as so many recordings: a few of them may not have all classes.
TRAINING_WEIGHT = 20

# One recording does not show how much recordings differ, and one step has no variance.
LEAST_RECORDINGS = 2

# Recordings that run through the net together; it changes only time and memory.
BATCH_SIZE = 64

Net = TypeVar("Net", bound=nn.Module)


@torch.no_grad()
def adapted_net(net: Net, recordings: Sequence[Tensor]) -> Net | None:
    """A copy of a net whose batch norms have statistics of some recordings.

    The norms adapt one after the other, from the input to the output, each to what the norms before
    it give. With n recordings, a statistic is `(n · new + 20 · trained) / (n + 20)`.

    Args:
        net: A trained net, in `eval()`.
        recordings: Input of each recording, `[T, F]`; at least two.

    Returns:
        The copy, in `eval()`; None if the net has no batch norm.

    References:
        Li et al., "Revisiting batch normalization for practical domain adaptation", 2016,
        arXiv:1603.04779. Schneider et al., "Improving robustness against common corruptions by
        covariate shift adaptation", 2020, arXiv:2006.16971 (the weight of the training set).
    """
    net = copy.deepcopy(net).eval()
    norms = [one for one in net.modules() if isinstance(one, SequenceNorm | _BatchNorm)]
    if not norms:
        return None
    parts = torch.arange(len(recordings)).chunk(math.ceil(len(recordings) / BATCH_SIZE))
    batches = [_padded([recordings[int(index)] for index in part]) for part in parts]
    for norm in norms:
        momentum = norm.momentum
        count = TRAINING_WEIGHT
        norm.train()
        for x, lengths in batches:
            count += len(x)
            norm.momentum = len(x) / count
            with prepared(net):
                net(x, lengths)
        norm.eval()
        norm.momentum = momentum
    return net


def _padded(recordings: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Recordings as a batch `[B, T, F]`, and their steps if these differ, `[B]`."""
    lengths = torch.tensor([len(one) for one in recordings])
    x = pad_sequence(list(recordings), batch_first=True)
    return x, None if bool((lengths == x.shape[1]).all()) else lengths
