"""Losses on the membranes of output neurons: of the whole recording, or of each step."""

import torch
from torch import Tensor
from torch.nn import functional

from nwavesdk.internal.tensors import require_floating, widen
from nwavesdk.layers.lengths import (
    check_optional_lengths,
    fill_padding,
    mean_of_recordings,
    sum_over_steps,
)
from nwavesdk.loss.arguments import (
    LossModule,
    OverTime,
    check_options,
    check_outputs_and_targets,
    cross_entropy,
)

__all__ = [
    "MembraneCrossEntropy",
    "TETLoss",
    "membrane_cross_entropy",
    "membrane_readout",
    "tet_loss",
]


def membrane_readout(
    mem: Tensor, over_time: OverTime = "mean", lengths: Tensor | None = None
) -> Tensor:
    """One value per recording and neuron from a membrane, over the valid steps t.

        "sum"        Σ v[t]
        "mean"       Σ v[t] / T
        "max"        max v[t]
        "last"       v[T-1]
        "logsumexp"  log Σ exp(v[t]): between the maximum and the sum

    The gradient of `"last"` and `"max"` reaches one step, the other gradients reach all steps.
    `"sum"` grows with the length of the recording.

    Args:
        mem: Membranes, [B, T, *features], usually of a read-out that does not spike.
        over_time: Which of these values.
        lengths: Steps of each recording, int64 [B]; None for all.

    Returns:
        Values, [B, *features]; float32 for membranes in half precision.

    References:
        Zenke and Vogels 2021, "The remarkable robustness of surrogate gradient learning",
        doi:10.1162/neco_a_01367, for `"max"` and `"sum"` (there over time, before softmax).
        Cramer et al. 2022, "The Heidelberg spiking data sets for the systematic evaluation of
        spiking neural networks", doi:10.1109/TNNLS.2020.3044364, for `"max"` and `"last"`.

    Example:
        >>> mem = torch.tensor([[[1.0], [3.0], [2.0]]])
        >>> [membrane_readout(mem, over_time).item() for over_time in ("sum", "max", "last")]
        [6.0, 3.0, 2.0]
    """
    owner = "membrane_readout"
    require_floating(f"{owner}: the membrane", mem)
    check_options(owner, over_time=over_time)
    if mem.ndim < 2 or not mem.shape[1]:
        raise ValueError(
            f"{owner}: the membrane has the shape {list(mem.shape)}, expected [B, T, *features] "
            "with at least one step."
        )

    mem = widen(mem)
    lengths = check_optional_lengths(owner, lengths, mem)

    if over_time == "sum":
        return sum_over_steps(mem, lengths)
    if over_time == "mean":
        return mean_of_recordings(mem, lengths)
    if over_time == "last":
        if lengths is None:
            return mem[:, -1]
        return mem[torch.arange(len(mem), device=mem.device), lengths - 1]

    # -inf changes neither a maximum nor a sum of exponentials.
    mem = fill_padding(mem, lengths, -torch.inf)
    return mem.amax(dim=1) if over_time == "max" else mem.logsumexp(dim=1)


def membrane_cross_entropy(
    mem: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    over_time: OverTime = "mean",
    lengths: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of softmax(`membrane_readout`), the mean over recordings.

    The logit of a class is the mean over the neurons of its population.

    Args:
        mem: Membranes of the output neurons, [B, T, O].
        targets: Class indices, [B].
        num_classes: Number of populations; None for one neuron per class.
        over_time: See `membrane_readout`.
        lengths: Steps of each recording, int64 [B]; None for all.

    References:
        See `membrane_readout`.

    Example:
        >>> mem = torch.tensor([[[1.0, 0.0], [3.0, 1.0], [2.0, 5.0]]])
        >>> membrane_cross_entropy(mem, torch.tensor([1]), over_time="max")
        tensor(0.1269)
    """
    mem, num_classes, lengths = check_outputs_and_targets(
        "membrane_cross_entropy", mem, targets, num_classes, lengths
    )
    values = membrane_readout(mem, over_time, lengths)
    logits = values.reshape(len(mem), num_classes, -1).mean(dim=2)
    return cross_entropy(logits, targets)


def tet_loss(
    mem: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    mse_share: float = 0.05,
    mse_target: float = 1.0,
    lengths: Tensor | None = None,
) -> Tensor:
    """Temporal efficient training: the output of every step must favor the right class.

        loss = (1 - λ) · mean over t of CE(softmax(o[t]), target) + λ · mean over t of MSE(o[t], φ)

    o[t, c] is the mean of the membranes of class c's population in step t. The loss is the mean
    over the steps of each recording, and then over recordings.

    Args:
        mem: Outputs of each step, [B, T, O]: membranes of a read-out in the paper, or spikes.
        targets: Class indices, [B].
        num_classes: Number of populations; None for one neuron per class.
        mse_share: λ, from 0 to 1; it prevents very large outputs of single steps.
        mse_target: φ [membrane]; in the paper, the threshold.
        lengths: Steps of each recording, int64 [B]; None for all.

    References:
        Deng, Li, Zhang and Gu 2022, "Temporal efficient training of spiking neural network via
        gradient re-weighting", section 4, arXiv:2202.11946.

    Example:
        >>> mem = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
        >>> tet_loss(mem, torch.tensor([0]), mse_share=0.0)
        tensor(1.1269)
    """
    owner = "tet_loss"
    mem, num_classes, lengths = check_outputs_and_targets(owner, mem, targets, num_classes, lengths)
    B, T, _ = mem.shape
    mse_share, mse_target = check_options(owner, mse_share=mse_share, mse_target=mse_target)

    outputs = mem.reshape(B, T, num_classes, -1).mean(dim=3)
    classes = targets.to(mem.device).long()[:, None].expand(B, T)
    # [B, C, T] and [B, T] -> [B, T]
    entropy = functional.cross_entropy(outputs.mT, classes, reduction="none")
    distance = (outputs - mse_target).square().mean(dim=2)
    step_losses = (1 - mse_share) * entropy + mse_share * distance
    return mean_of_recordings(step_losses, lengths).mean()


class MembraneCrossEntropy(LossModule):
    """`membrane_cross_entropy` as a module: `loss(mem, targets, lengths)`.

    Args:
        num_classes: Number of populations; None for one neuron per class.
        over_time: See `membrane_readout`.

    Example:
        >>> mem = torch.tensor([[[0.0, 1.0], [0.0, 3.0]]])
        >>> MembraneCrossEntropy()(mem, torch.tensor([1]))
        tensor(0.1269)
    """

    function = staticmethod(membrane_cross_entropy)

    def __init__(self, num_classes: int | None = None, over_time: OverTime = "mean") -> None:
        super().__init__(num_classes=num_classes, over_time=over_time)


class TETLoss(LossModule):
    """`tet_loss` as a module: `loss(mem, targets, lengths)`.

    Args:
        num_classes: Number of populations; None for one neuron per class.
        mse_share: λ, from 0 to 1.
        mse_target: φ [membrane].

    Example:
        >>> mem = torch.tensor([[[0.0, 1.0], [0.0, 3.0]]])
        >>> TETLoss(mse_share=0.0)(mem, torch.tensor([1]))
        tensor(0.1809)
    """

    function = staticmethod(tet_loss)

    def __init__(
        self, num_classes: int | None = None, mse_share: float = 0.05, mse_target: float = 1.0
    ) -> None:
        super().__init__(num_classes=num_classes, mse_share=mse_share, mse_target=mse_target)
