"""Losses on the time of the first spike."""

from torch import Tensor

from nwavesdk.layers.lengths import sum_over_steps
from nwavesdk.loss.arguments import (
    LossModule,
    check_options,
    check_outputs,
    check_targets,
    cross_entropy,
)

__all__ = ["FirstSpikeCrossEntropy", "first_spike_cross_entropy", "first_spike_steps"]


def first_spike_steps(
    spk: Tensor, num_classes: int | None = None, lengths: Tensor | None = None
) -> Tensor:
    """The step of the first spike of each population, with gradient.

        first[c] = Σ over t of Π over k ≤ t and neurons n of c of (1 - s[k, n])

    The product is 1 in the steps before the first spike and 0 after it, so the sum is the step of
    the first spike, from 0, and the number of valid steps if there is none. It is smooth in each
    spike: if spikes were probabilities of independent events, it would be the expected step of the
    first one. Its gradient at a silent step k is minus the number of steps by which a spike there
    would come earlier; at the first spike it is minus the steps to the second. Later spikes have
    none. The surrogate of the neurons takes it further.

    Args:
        spk: Spikes, [B, T, O].
        num_classes: Number of equal groups of the O neurons; None is each neuron by itself.
        lengths: Number of steps of each recording, int64 [B]; None for all steps.

    Returns:
        Steps, [B, num_classes].

    Raises:
        TypeError: If spikes are not floating, or `lengths` is not an int64 tensor.
        ValueError: If a shape differs from the above, O is not a multiple of `num_classes`, or a
            length is not from 1 to T.

    Example:
        >>> import torch
        >>> spk = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]], requires_grad=True)
        >>> steps = first_spike_steps(spk)
        >>> steps.tolist()
        [[1.0, 3.0]]
        >>> (-torch.autograd.grad(steps.sum(), spk)[0]).mT.tolist()
        [[[1.0, 1.0, 0.0], [3.0, 2.0, 1.0]]]
    """
    spk, num_classes, lengths = check_outputs("first_spike_steps", spk, num_classes, lengths)
    is_silent = 1 - spk
    if num_classes != spk.shape[2]:
        is_silent = is_silent.reshape(*spk.shape[:2], num_classes, -1).prod(dim=3)
    return sum_over_steps(is_silent.cumprod(dim=1), lengths)


def first_spike_cross_entropy(
    spk: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    scale: float = 5.0,
    lengths: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of softmax(-first / scale): the right population must spike first.

    `first` is `first_spike_steps`, which describes the gradient. A population that does not spike
    counts as one whose first spike comes after the end, so the right class gets a gradient even if
    it is silent.

    Args:
        spk: Output spikes, [B, T, O].
        targets: Class indices, [B].
        num_classes: Number of populations; None is one neuron per class.
        scale: Lead that makes a class e times as likely [steps].
        lengths: Number of steps of each recording, int64 [B]; None for all steps.

    Returns:
        A scalar, the mean over recordings.

    Raises:
        TypeError: If spikes are not floating, or targets or lengths are not whole numbers.
        ValueError: If a shape differs from the above, O is not a multiple of `num_classes`, a
            target is not a class, `scale` is not above 0, or a length is not from 1 to T.

    References:
        Mostafa 2018, "Supervised learning based on temporal coding in spiking neural networks",
        doi:10.1109/TNNLS.2017.2726060, and Göltz et al. 2021, "Fast and energy-efficient
        neuromorphic deep learning with first-spike times", doi:10.1038/s42256-021-00388-x, for the
        softmax of negative times. The product in `first_spike_steps` is ours.

    Example:
        >>> import torch
        >>> spk = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
        >>> first_spike_cross_entropy(spk, torch.tensor([0]), scale=1.0)
        tensor(0.1269)
    """
    owner = "first_spike_cross_entropy"
    spk, num_classes, lengths = check_outputs(owner, spk, num_classes, lengths)
    check_targets(owner, targets, len(spk), num_classes)
    (scale,) = check_options(owner, scale=scale)
    return cross_entropy(first_spike_steps(spk, num_classes, lengths) / -scale, targets)


class FirstSpikeCrossEntropy(LossModule):
    """`first_spike_cross_entropy` as a module: `loss(spk, targets, lengths)`.

    Args:
        num_classes: Number of populations; None is one neuron per class.
        scale: Lead that makes a class e times as likely [steps].

    Example:
        >>> import torch
        >>> spk = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
        >>> FirstSpikeCrossEntropy()(spk, torch.tensor([1]))
        tensor(0.5981)
    """

    function = staticmethod(first_spike_cross_entropy)

    def __init__(self, num_classes: int | None = None, scale: float = 5.0) -> None:
        super().__init__(num_classes=num_classes, scale=scale)
