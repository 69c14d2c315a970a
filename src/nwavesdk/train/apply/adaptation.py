"""A trained net for recordings of another origin, such as a new speaker: its batch norms adapt.

What a speaker, a microphone or a sensor changes in a net is, for a large part, the mean and the
variance of its charges. A batch norm removes those of the training set, not those of a new speaker.
Recordings of the speaker show them, and need no classes.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nwavesdk.layers.norms import TimeBatchNorm
from nwavesdk.layers.step_norms import StepBatchNorm
from nwavesdk.net.preparation import prepared
from nwavesdk.train.apply.blocks import MOST_STEPS

__all__ = ["LEAST_RECORDINGS", "adapted_net", "check_adaptable"]

# The training set counts as much as so many recordings: a few of them may not have all classes.
TRAINING_WEIGHT = 20

# One recording does not show how much recordings differ.
LEAST_RECORDINGS = 2

Norm = TimeBatchNorm | _BatchNorm
Net = TypeVar("Net", bound=nn.Module)
Batch = tuple[Tensor, Tensor]


def check_adaptable(net: nn.Module) -> None:
    """Reject a net whose batch norms cannot adapt.

    Raises:
        ValueError: If it has no batch norm, or one with statistics of each step.
    """
    if any(isinstance(module, StepBatchNorm) for module in net.modules()):
        raise ValueError(
            "The net has a StepBatchNorm, whose statistics of each step do not adapt: train it "
            "with TimeBatchNorm."
        )
    if not _norms_of(net):
        raise ValueError("The net has no batch norm to adapt: train with `nwave train --net conv`.")


@torch.no_grad()
def adapted_net(net: Net, recordings: Sequence[Tensor]) -> Net:
    """A copy of a net whose batch norms have statistics of some recordings.

    The norms adapt one after the other, from the input to the output, each to what the norms before
    it give. With n recordings, a mean or a variance is `(n · new + 20 · trained) / (n + 20)`, where
    `new` is that of all their steps.

    Args:
        net: A trained net, in `eval()`.
        recordings: Input of each recording, `[T, F]`; at least two.

    Returns:
        The copy, in `eval()`.

    Raises:
        ValueError: If the net has no norm that can adapt, or calls one several times for a
            recording, or if the values of the recordings are too large.

    References:
        Li et al., "Revisiting batch normalization for practical domain adaptation", 2016,
        arXiv:1603.04779. Schneider et al., "Improving robustness against common corruptions by
        covariate shift adaptation", 2020, arXiv:2006.16971 (the weight of the training set).
    """
    check_adaptable(net)
    net = copy.deepcopy(net).eval()
    batches = _batches_of(recordings)
    share = len(recordings) / (len(recordings) + TRAINING_WEIGHT)
    for norm in _norms_in_order(net, batches[0]):
        for trained, new in zip(_tables(norm), _measure(norm, net, batches), strict=True):
            trained.lerp_(new.to(trained), share)
        if not all(bool(table.isfinite().all()) for table in _tables(norm)):
            raise ValueError(
                "The recordings to adapt to have values that are too large for the batch norms of "
                "the net: leave such recordings out."
            )
    return net


def _norms_of(net: nn.Module) -> list[Norm]:
    """The batch norms with statistics of each channel."""
    norms = (module for module in net.modules() if isinstance(module, TimeBatchNorm | _BatchNorm))
    return [norm for norm in norms if norm.running_mean is not None]


def _tables(norm: Norm) -> tuple[Tensor, Tensor]:
    """Running mean and variance, `[C]`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def _batches_of(recordings: Sequence[Tensor]) -> list[Batch]:
    """Recordings as batches of about the same length: `[B, T, F]`, and steps `[B]`."""
    ordered = sorted(recordings, key=len)
    size = max(2, MOST_STEPS // len(ordered[-1]))
    parts = torch.arange(len(ordered)).chunk(math.ceil(len(ordered) / size))
    batches = []
    for part in parts:
        chosen = [ordered[int(index)] for index in part]
        lengths = torch.tensor([len(one) for one in chosen])
        batches.append((nn.utils.rnn.pad_sequence(chosen, batch_first=True), lengths))
    return batches


def _run(net: nn.Module, batch: Batch) -> None:
    x, lengths = batch
    has_padding = bool((lengths < x.shape[1]).any())
    with prepared(net):
        net(x, lengths if has_padding else None)


def _norms_in_order(net: nn.Module, batch: Batch) -> list[Norm]:
    """The norms in the order of their calls."""
    called: list[Norm] = []
    hooks = [
        norm.register_forward_pre_hook(lambda module, _: called.append(module))
        for norm in _norms_of(net)
    ]
    _run(net, batch)
    for hook in hooks:
        hook.remove()
    if len(set(called)) < len(called):
        raise ValueError(
            "The net calls a batch norm several times for a recording, so it cannot adapt: give "
            "it whole sequences, as in a SpikingSequential."
        )
    return called


def _measure(norm: Norm, net: nn.Module, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """Mean and variance of what a norm gets in all steps of all batches, float64 `[C]`."""
    found = []
    with _measuring(norm):
        for batch in batches:
            _run(net, batch)
            found.append([table.to(torch.float64, copy=True) for table in _tables(norm)])
    means, variances = (torch.stack(tables) for tables in zip(*found, strict=True))
    steps = torch.stack([lengths.sum() for _, lengths in batches]).double()
    weights = (steps / steps.sum())[:, None]
    mean = (weights * means).sum(0)
    # The variance within batches, and that between them.
    return mean, (weights * (variances + (means - mean).square())).sum(0)


@contextmanager
def _measuring(norm: Norm) -> Iterator[None]:
    """A norm whose running statistics are those of its last batch; afterwards it is as before."""
    momentum = norm.momentum
    before = [table.clone() for table in _tables(norm)]
    norm.train()
    norm.momentum = 1.0
    yield
    norm.eval()
    norm.momentum = momentum
    for table, value in zip(_tables(norm), before, strict=True):
        table.copy_(value)
