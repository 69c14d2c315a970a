"""Losses on the spike counts and the rates of the populations of the classes in a recording.

The output neurons form equal groups, the populations, one after the other, one for each class. A
count is all spikes of a population; a rate is the mean over its neurons and over the valid steps.
"""

import torch
from torch import Tensor

from nwavesdk.layers.lengths import sum_over_steps
from nwavesdk.loss.arguments import (
    LossModule,
    check_options,
    check_outputs,
    check_outputs_and_targets,
    cross_entropy,
)
from nwavesdk.metrics import population_counts

__all__ = [
    "CountCrossEntropy",
    "CountMSE",
    "RateCrossEntropy",
    "RateMSE",
    "balanced_population_mse",
    "count_cross_entropy",
    "count_mse",
    "rate_cross_entropy",
    "rate_logits",
    "rate_mse",
]


def rate_logits(
    spk: Tensor,
    num_classes: int | None = None,
    sharpness: float = 25.0,
    lengths: Tensor | None = None,
) -> Tensor:
    """Logits of the classes from the mean firing rates of their populations.

        logit[c] = sharpness · (spikes of population c) / (neurons of population c · T)

    The sharpness of the decision depends neither on T nor on the size of a population.

    Args:
        spk: Output spikes, [B, T, O].
        num_classes: Number of populations; None for one neuron per class.
        sharpness: Logit per spike and step.
        lengths: Number of steps of each recording, int64 [B], in place of T; None for all steps.

    Returns:
        Logits, [B, C]; float32 for spikes in half precision.

    Raises:
        ValueError: If O is not a multiple of `num_classes`, or `sharpness` is not above 0.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> rate_logits(spk, sharpness=8.0)
        tensor([[8., 4.]])
    """
    spk, num_classes, lengths = check_outputs("rate_logits", spk, num_classes, lengths)
    (sharpness,) = check_options("rate_logits", sharpness=sharpness)

    # The largest count: a spike of each neuron of a population in each step.
    n_steps = spk.shape[1] if lengths is None else lengths[:, None]
    max_count = n_steps * spk.shape[2] / num_classes
    return population_counts(spk, num_classes) * (sharpness / max_count)


def rate_cross_entropy(
    spk: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    sharpness: float = 25.0,
    lengths: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of softmax(`rate_logits`), the mean over recordings.

    For weights of the classes, call torch's `cross_entropy` on `rate_logits`.

    Args:
        spk: Output spikes, [B, T, O].
        targets: Class indices, [B].
        num_classes: Number of populations; None for one neuron per class.
        sharpness: Logit per spike and step.
        lengths: Steps of each recording, int64 [B]; None for all.

    References:
        Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs",
        doi:10.1007/978-3-642-76153-9_28, for softmax and cross-entropy.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> rate_cross_entropy(spk, torch.tensor([0]), sharpness=8.0)
        tensor(0.0181)
    """
    spk, num_classes, lengths = check_outputs_and_targets(
        "rate_cross_entropy", spk, targets, num_classes, lengths
    )
    return cross_entropy(rate_logits(spk, num_classes, sharpness, lengths), targets)


def count_cross_entropy(
    spk: Tensor, targets: Tensor, num_classes: int | None = None, lengths: Tensor | None = None
) -> Tensor:
    """The cross-entropy of softmax(counts), the mean over recordings: each spike adds 1 to a logit.

    Long recordings and large populations lead to sharp decisions, and the gradient vanishes when a
    class leads by some spikes. `rate_cross_entropy` does not depend on them.

    Args:
        spk: Output spikes, [B, T, O].
        targets: Class indices, [B].
        num_classes: Number of populations; None for one neuron per class.
        lengths: Steps of each recording, int64 [B]; None for all.

    References:
        Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep
        learning", doi:10.1109/JPROC.2023.3308088.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> count_cross_entropy(spk, torch.tensor([0]))
        tensor(0.3133)
    """
    spk, num_classes, _ = check_outputs_and_targets(
        "count_cross_entropy", spk, targets, num_classes, lengths
    )
    return cross_entropy(population_counts(spk, num_classes), targets)


def rate_mse(
    spk: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    high_rate: float = 0.2,
    low_rate: float = 0.02,
    lengths: Tensor | None = None,
) -> Tensor:
    """The distance of the populations' rates to target rates: high for the right class, else low.

    The mean over recordings and classes of (rate[c] - target[c])². `balanced_population_mse` has a
    target for each neuron.

    Args:
        spk: Output spikes, [B, T, O].
        targets: Class indices, [B].
        num_classes: Number of populations; None for one neuron per class.
        high_rate: Target rate of the right class [spikes per step and neuron].
        low_rate: Target rate of the other classes [spikes per step and neuron].
        lengths: Steps of each recording, int64 [B]; None for all.

    Raises:
        ValueError: Unless 0 ≤ `low_rate` < `high_rate` ≤ 1.

    References:
        Shrestha and Orchard 2018, "SLAYER: spike layer error reassignment in time",
        arXiv:1810.08646, for target numbers of spikes; here they are divided by neurons and steps.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> rate_mse(spk, torch.tensor([0]), high_rate=1.0, low_rate=0.0)
        tensor(0.1250)
    """
    owner = "rate_mse"
    spk, num_classes, lengths = check_outputs_and_targets(owner, spk, targets, num_classes, lengths)
    check_options(owner, high_rate=high_rate, low_rate=low_rate)
    rates = rate_logits(spk, num_classes, 1.0, lengths)
    return _squared_distance(rates, targets, high_rate, low_rate)


def count_mse(
    spk: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    *,
    high_count: float,
    low_count: float,
    lengths: Tensor | None = None,
) -> Tensor:
    """The distance of the populations' counts to target counts: high for the right class, else low.

    The mean over recordings and classes of (count[c] - target[c])². The targets do not depend on
    the length of a recording.

    Args:
        spk: Output spikes, [B, T, O].
        targets: Class indices, [B].
        num_classes: Number of populations; None for one neuron per class.
        high_count: Spikes that the population of the right class should have in a recording.
        low_count: Spikes that the other populations should have.
        lengths: Steps of each recording, int64 [B]; None for all.

    Raises:
        ValueError: Unless 0 ≤ `low_count` < `high_count`.

    References:
        Shrestha and Orchard 2018, "SLAYER: spike layer error reassignment in time",
        arXiv:1810.08646.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> count_mse(spk, torch.tensor([0]), high_count=4, low_count=0)
        tensor(2.5000)
    """
    owner = "count_mse"
    spk, num_classes, _ = check_outputs_and_targets(owner, spk, targets, num_classes, lengths)
    check_options(owner, high_count=high_count, low_count=low_count)
    counts = population_counts(spk, num_classes)
    return _squared_distance(counts, targets, high_count, low_count)


def balanced_population_mse(
    spk: Tensor,
    targets: Tensor,
    num_classes: int,
    high_rate: float = 0.2,
    low_rate: float = 0.02,
    lengths: Tensor | None = None,
) -> Tensor:
    """The distance of output spike counts to target counts: high for the right class, else low.

    The mean over recordings and neurons of (count - T · rate)², where T is the number of valid
    steps. At the default `low_rate`, silent neurons still get a gradient. NWAVE documents neither
    arguments nor rates.

    Args:
        spk: Output spikes, [B, T, O]; the O neurons form `num_classes` equal groups in order.
        targets: Class indices, [B].
        num_classes: Number of groups.
        high_rate: Target rate of the right class's neurons [spikes per step].
        low_rate: Target rate of the other classes [spikes per step].
        lengths: Steps of each recording, int64 [B]; None for all.

    Raises:
        ValueError: Unless 0 ≤ `low_rate` < `high_rate` ≤ 1.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> target = torch.tensor([0])
        >>> balanced_population_mse(spk, target, num_classes=2, high_rate=1.0, low_rate=0.0)
        tensor(0.5000)
    """
    owner = "balanced_population_mse"
    spk, num_classes, lengths = check_outputs_and_targets(owner, spk, targets, num_classes, lengths)
    _, T, outputs = spk.shape
    check_options(owner, high_rate=high_rate, low_rate=low_rate)

    counts = sum_over_steps(spk)
    class_of_neuron = torch.arange(outputs, device=spk.device) // (outputs // num_classes)
    is_right = targets.to(spk.device)[:, None] == class_of_neuron

    steps = torch.full_like(counts[:, :1], T) if lengths is None else lengths[:, None]
    # In float64, so that the product is rounded once.
    steps = steps.double()
    target_counts = torch.where(is_right, steps * high_rate, steps * low_rate).to(counts.dtype)
    return (counts - target_counts).square().mean()


def _squared_distance(values: Tensor, targets: Tensor, high: float, low: float) -> Tensor:
    """The mean of (values [B, C] - high in the column of the target, else low)²."""
    classes = torch.arange(values.shape[1], device=values.device)
    is_right = targets.to(values.device)[:, None] == classes
    wanted = torch.full_like(values, low).masked_fill(is_right, high)
    return (values - wanted).square().mean()


class RateCrossEntropy(LossModule):
    """`rate_cross_entropy` as a module: `loss(spk, targets, lengths)`.

    Args:
        num_classes: Number of populations; None for one neuron per class.
        sharpness: Logit per spike and step.

    Example:
        >>> RateCrossEntropy(num_classes=2)(torch.ones(1, 3, 4), torch.tensor([1]))
        tensor(0.6931)
    """

    function = staticmethod(rate_cross_entropy)

    def __init__(self, num_classes: int | None = None, sharpness: float = 25.0) -> None:
        super().__init__(num_classes=num_classes, sharpness=sharpness)


class CountCrossEntropy(LossModule):
    """`count_cross_entropy` as a module: `loss(spk, targets, lengths)`.

    Args:
        num_classes: Number of populations; None for one neuron per class.

    Example:
        >>> spk = torch.tensor([[[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]])
        >>> CountCrossEntropy()(spk, torch.tensor([1]))
        tensor(0.1269)
    """

    function = staticmethod(count_cross_entropy)

    def __init__(self, num_classes: int | None = None) -> None:
        super().__init__(num_classes=num_classes)


class RateMSE(LossModule):
    """`rate_mse` as a module: `loss(spk, targets, lengths)`.

    Args:
        num_classes: Number of populations; None for one neuron per class.
        high_rate: Target rate of the right class [spikes per step and neuron].
        low_rate: Target rate of the other classes [spikes per step and neuron].

    Example:
        >>> spk = torch.tensor([[[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]])
        >>> RateMSE(high_rate=0.75, low_rate=0.0)(spk, torch.tensor([1]))
        tensor(0.0312)
    """

    function = staticmethod(rate_mse)

    def __init__(
        self, num_classes: int | None = None, high_rate: float = 0.2, low_rate: float = 0.02
    ) -> None:
        super().__init__(num_classes=num_classes, high_rate=high_rate, low_rate=low_rate)


class CountMSE(LossModule):
    """`count_mse` as a module: `loss(spk, targets, lengths)`.

    Args:
        num_classes: Number of populations; None for one neuron per class.
        high_count: Spikes that the population of the right class should have in a recording.
        low_count: Spikes that the other populations should have.

    Example:
        >>> spk = torch.tensor([[[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]])
        >>> CountMSE(high_count=3, low_count=0)(spk, torch.tensor([1]))
        tensor(0.5000)
    """

    function = staticmethod(count_mse)

    def __init__(
        self, num_classes: int | None = None, *, high_count: float, low_count: float
    ) -> None:
        super().__init__(num_classes=num_classes, high_count=high_count, low_count=low_count)
