"""The interval of an accuracy: how far chance in the choice of the recordings may have moved it."""

import math

from torch import Tensor

__all__ = ["accuracy_interval"]

# Quantile of the normal distribution for 95 %.
_REACH = 1.959964


def accuracy_interval(right: Tensor, counts: Tensor) -> tuple[float, float]:
    """The 95 % interval of an accuracy over recordings that were drawn independently.

    With one decision per recording, it is Wilson's. Decisions of the steps of one recording are not
    independent, so the interval of several is that of a ratio of sums over recordings.

    Args:
        right: Right decisions of each recording, [R].
        counts: Decisions of each recording, [R].

    Returns:
        Low and high, from 0 to 1; 0 and 1 without a decision.

    References:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference", Journal
        of the American Statistical Association 22, doi:10.1080/01621459.1927.10502953.
        Cochran 1977, Sampling Techniques, equation 2.46 (the variance of a ratio).

    Example:
        >>> import torch
        >>> low, high = accuracy_interval(torch.tensor([1] * 9 + [0]), torch.ones(10))
        >>> f"{low:.3f} to {high:.3f}"
        '0.596 to 0.982'
    """
    right, counts = right.double(), counts.double()
    n_decisions = counts.sum().item()
    n_recordings = len(counts)
    if not n_decisions:
        return 0.0, 1.0
    share = right.sum().item() / n_decisions
    if bool((counts == 1).all()):
        spread = _REACH**2 / n_recordings
        middle = (share + spread / 2) / (1 + spread)
        variance = share * (1 - share) / n_recordings + spread / (4 * n_recordings)
        reach = _REACH * math.sqrt(variance) / (1 + spread)
    elif n_recordings < 2:
        return 0.0, 1.0
    else:
        middle = share
        residuals = (right - share * counts).square().sum().item()
        scale = n_recordings / (n_recordings - 1)
        reach = _REACH * math.sqrt(scale * residuals) / n_decisions
    return max(0.0, middle - reach), min(1.0, middle + reach)
