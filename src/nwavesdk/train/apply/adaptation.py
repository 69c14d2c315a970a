"""A trained net for recordings of another origin, such as a new speaker: its batch norms adapt.

What a speaker, a microphone or a sensor changes in a net is, for a large part, the mean and the
variance of its charges. A batch norm removes those of the training set, not those of a new speaker.
Recordings of the speaker show them, and need no classes.
"""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nwavesdk.data import Batch
from nwavesdk.layers.norms import TimeBatchNorm
from nwavesdk.layers.step_norms import StepBatchNorm
from nwavesdk.net.preparation import prepared

__all__ = ["adapted_net"]

# The training set counts as much as so many recordings: a few of them may not have all classes.
TRAINING_WEIGHT = 20

# One recording does not show how much recordings differ.
MIN_RECORDINGS = 2

Net = TypeVar("Net", bound=nn.Module)


@torch.no_grad()
def adapted_net(net: Net, batches: Sequence[Batch]) -> Net:
    """A copy of a net whose batch norms have statistics of some recordings.

    The norms adapt one after the other, from the input to the output, each to what the norms before
    it give. With n recordings, a mean or a variance is `(n · new + 20 · trained) / (n + 20)`, where
    `new` is that of all their steps.

    Args:
        net: A trained net, in `eval()`.
        batches: The recordings, at least two, with any targets.

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
    n_recordings = sum(len(batch.lengths) for batch in batches)
    if n_recordings < MIN_RECORDINGS:
        raise ValueError(
            f"The net needs at least {MIN_RECORDINGS} recordings to adapt to, got {n_recordings}: "
            "give a folder or several files, about as many of each class."
        )
    net = copy.deepcopy(net).eval()
    share = n_recordings / (n_recordings + TRAINING_WEIGHT)
    for name in _names_in_order(net, batches[0]):
        statistics = _statistics(net.get_submodule(name))
        for trained, new in zip(statistics, _measure(name, net, batches), strict=True):
            trained.lerp_(new.to(trained), share)
        if not all(bool(statistic.isfinite().all()) for statistic in statistics):
            raise ValueError(
                "The recordings to adapt to have values that are too large for the batch norms of "
                "the net: leave such recordings out."
            )
    return net


def _statistics(norm: Any) -> list[Tensor]:
    """Running mean and variance of a batch norm, `[C]`; none of other modules."""
    is_norm = isinstance(norm, TimeBatchNorm | _BatchNorm) and norm.running_mean is not None
    return [norm.running_mean, norm.running_var] if is_norm else []


def _run(net: nn.Module, batch: Batch) -> None:
    has_padding = bool((batch.lengths < batch.x.shape[1]).any())
    with prepared(net):
        net(batch.x.to_dense(), batch.lengths if has_padding else None)


def _names_in_order(net: nn.Module, batch: Batch) -> list[str]:
    """The names of the norms in the order of their calls."""
    names: list[str] = []
    net = copy.deepcopy(net)
    for name, module in net.named_modules():
        if _statistics(module):
            module.register_forward_pre_hook(lambda *_, name=name: names.append(name))
    _run(net, batch)
    has_steps = any(isinstance(module, StepBatchNorm) for module in net.modules())
    if has_steps or not names or len(set(names)) < len(names):
        raise ValueError(
            f"The net cannot adapt, got {len(names)} calls of {len(set(names))} batch norms"
            f"{' and a StepBatchNorm' * has_steps}, expected TimeBatchNorm or BatchNorm, each "
            "called once with a whole sequence: train with `nwave train --net conv`."
        )
    return names


def _measure(name: str, net: nn.Module, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """Mean and variance of what a norm gets in all steps of all batches, float64 `[C]`."""
    net = copy.deepcopy(net)
    norm: Any = net.get_submodule(name).train()
    norm.momentum = 1.0  # the running statistics are those of the last batch
    measured = []
    for batch in batches:
        _run(net, batch)
        measured.append(torch.stack(_statistics(norm)).double())
    means, variances = torch.stack(measured, dim=1)
    steps = torch.stack([batch.lengths.sum() for batch in batches]).double()
    weights = (steps / steps.sum())[:, None]
    mean = (weights * means).sum(0)
    # The variance within batches, and the variance between them.
    return mean, (weights * (variances + (means - mean).square())).sum(0)
