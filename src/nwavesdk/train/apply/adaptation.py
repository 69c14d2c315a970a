"""A trained net for recordings of another origin, such as a new speaker: its batch norms adapt.

What a speaker, a microphone or a sensor changes in a net is, for a large part, the mean and the
variance of its charges. A batch norm removes those of the training set, not those of a new speaker.
Recordings of the speaker show them, and need no classes.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nwavesdk.data import Batch
from nwavesdk.layers.norms import TimeBatchNorm
from nwavesdk.layers.step_norms import StepBatchNorm
from nwavesdk.train.apply.blocks import run_net

__all__ = ["adapted_net"]

# The training set counts as much as so many recordings: a few of them may not have all classes.
TRAINING_WEIGHT = 20

# One recording does not show how much recordings differ.
MIN_RECORDINGS = 2

Net = TypeVar("Net", bound=nn.Module)


@torch.no_grad()
def adapted_net(net: Net, batch: Batch) -> Net:
    """A copy of a net whose batch norms have statistics of some recordings.

    The norms adapt in one call of the net, from the input to the output, each to what the norms
    before it give. With n recordings, a mean or a variance is `(n · new + 20 · trained) / (n +
    20)`, where `new` is that of all their steps.

    Args:
        net: A trained net, in `eval()`.
        batch: The recordings, at least two, with any targets.

    Returns:
        The copy, in `eval()`.

    Raises:
        ValueError: If there are fewer than two recordings, if the net has no norm that can adapt,
            or calls one several times for a recording, or if values are too large.

    References:
        Li et al., "Revisiting batch normalization for practical domain adaptation", 2016,
        arXiv:1603.04779. Schneider et al., "Improving robustness against common corruptions by
        covariate shift adaptation", 2020, arXiv:2006.16971 (the weight of the training set).
    """
    n_recordings = len(batch.lengths)
    if n_recordings < MIN_RECORDINGS:
        raise ValueError(
            f"The net needs at least {MIN_RECORDINGS} recordings to adapt to, got {n_recordings}: "
            "give a folder or several files, about as many of each class."
        )
    trial = copy.deepcopy(net).eval()
    share = n_recordings / (n_recordings + TRAINING_WEIGHT)
    called: list[Any] = []

    def normalize_as_adapted(norm: Any, args: Any, options: Any, _: Tensor) -> Any:
        """The output of a norm, after its call in `train()` has updated its statistics."""
        called.append(norm)
        return norm.eval().forward(*args, **options)

    for module in trial.modules():
        norm: Any = module
        if isinstance(norm, TimeBatchNorm | _BatchNorm) and norm.running_mean is not None:
            norm.train().momentum = share
            norm.register_forward_hook(normalize_as_adapted, with_kwargs=True)
    run_net(trial, batch, batch.x.shape[1])

    has_steps = any(isinstance(module, StepBatchNorm) for module in trial.modules())
    if has_steps or not called or len(set(called)) < len(called):
        raise ValueError(
            f"The net cannot adapt, got {len(called)} calls of {len(set(called))} batch norms"
            f"{' and a StepBatchNorm' * has_steps}, expected TimeBatchNorm or BatchNorm, each "
            "called once with a whole sequence: train with `nwave train --net conv`."
        )
    if not all(bool((norm.running_mean + norm.running_var).isfinite().all()) for norm in called):
        raise ValueError(
            "The recordings to adapt to have values that are too large for the batch norms of the "
            "net: leave such recordings out."
        )
    adapted = copy.deepcopy(net).eval()
    adapted.load_state_dict(trial.state_dict())
    return adapted
