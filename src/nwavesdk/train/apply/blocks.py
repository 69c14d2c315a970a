"""A trained net in blocks of steps, and the adaptation of its batch norms.

The states of the net are kept from block to block, so the spikes equal the spikes of one call, up
to rounding. (The order of sums in a product may depend on the number of rows.)

A new speaker, microphone or sensor changes mostly the mean and the variance of the charges in a
net. A batch norm removes the mean and the variance of the training set, not of the new speaker.
`adapted_net` takes them from recordings of the speaker, which need no classes.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nwavesdk.data import Batch
from nwavesdk.layers.norms import TimeBatchNorm
from nwavesdk.layers.step_norms import StepBatchNorm
from nwavesdk.net.preparation import prepared

__all__ = ["adapted_net", "run_net", "runs_in_blocks"]

# Mean error of the outputs in blocks, as a fraction of the outputs in one call: a spike may differ.
MAX_BLOCK_ERROR = 0.01

# Weight of the training set, in recordings: a few recordings may not have all classes.
TRAINING_WEIGHT = 20

# A single recording does not show how much recordings differ.
MIN_RECORDINGS = 2

Net = TypeVar("Net", bound=nn.Module)


def run_net(net: nn.Module, batch: Batch, block_steps: int) -> Any:
    """The outputs of a net for a batch, in blocks of steps.

    Args:
        net: The net; its state changes.
        batch: One recording, or several of at most `block_steps` steps.
        block_steps: Steps of a call.

    Returns:
        Spikes and membranes of the output layer, `[B, T, N]`; for a single block, the outputs of
        the net.
    """
    x, _, lengths = batch
    n_steps = x.shape[1]
    padded = lengths if bool((lengths < n_steps).any()) else None
    outputs = []
    with prepared(net):
        for first in range(0, n_steps, block_steps):
            block = x.narrow_copy(1, first, min(block_steps, n_steps - first))
            outputs.append(net(block.to_dense(), padded))

    if len(outputs) == 1:
        return outputs[0]
    spk, mem = (torch.cat(blocks, dim=1) for blocks in zip(*outputs, strict=True))
    has_scores = outputs[0][0] is outputs[0][1]
    return spk, spk if has_scores else mem


def runs_in_blocks(net: nn.Module, x: Tensor, block_steps: int) -> bool:
    """Whether a net gives the same outputs in blocks as in one call, up to rounding.

    A net that looks at later steps, or does not keep its states over calls, does not.

    Args:
        net: The net; its state changes.
        x: Steps, `[1, T, F]`.
        block_steps: Steps of a block, fewer than T.
    """
    batch = Batch(x, torch.zeros(1), torch.tensor([x.shape[1]]))
    try:
        with torch.inference_mode():
            in_blocks, expected = (run_net(net, batch, n)[1] for n in (block_steps, x.shape[1]))
        error = (in_blocks - expected).abs().mean()
    except Exception:  # of a net that the user has written
        return False
    return bool(error <= MAX_BLOCK_ERROR * expected.abs().mean())


@torch.no_grad()
def adapted_net(net: Net, batch: Batch) -> Net:
    """A copy of a net with batch norms that are adapted to some recordings.

    The norms adapt in one call of the net, from the input to the output, each to charges behind the
    adapted norms before it. With n recordings, a mean or a variance becomes
    `(n · new + 20 · trained) / (n + 20)`, where `new` is the mean or the variance over all of their
    steps.

    Args:
        net: A trained net, in `eval()`.
        batch: The recordings, at least two, with any targets.

    Returns:
        The copy, in `eval()`.

    Raises:
        ValueError: If there are fewer than two recordings, if the net has no norm that can adapt,
            or calls a norm several times for a recording, or if values are too large.

    References:
        Li et al., "Revisiting batch normalization for practical domain adaptation", 2016,
        arXiv:1603.04779. Schneider et al., "Improving robustness against common corruptions by
        covariate shift adaptation", 2020, arXiv:2006.16971 (the weight of the training set).
    """
    n_recordings = len(batch.lengths)
    if n_recordings < MIN_RECORDINGS:
        raise ValueError(
            f"The net needs at least {MIN_RECORDINGS} recordings to adapt to, got {n_recordings}: "
            "pass a folder or several files, about as many of each class."
        )

    # In training mode, a norm takes the statistics of its input, and mixes them with a share.
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

    # Statistics are right only if each norm saw whole sequences once.
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
            "net: remove such recordings."
        )

    # Only the statistics go into the copy, without the hooks.
    adapted = copy.deepcopy(net).eval()
    adapted.load_state_dict(trial.state_dict())
    return adapted
