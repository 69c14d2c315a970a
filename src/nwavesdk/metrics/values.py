"""The fit of predicted values to targets: R², mean squared error, correlation.

Each is a pure function of the values of a batch, and returns a number per output. All follow from
the sums of `value_sums`, which can be added over batches.
"""

import torch
from torch import Tensor

from nwavesdk.internal.tensors import require_tensor
from nwavesdk.metrics.classes import select_steps

__all__ = [
    "correlation",
    "correlation_of",
    "mse",
    "mse_of",
    "r2",
    "r2_of",
    "value_sums",
]


def mse(prediction: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Mean squared error of each output: the mean of `(prediction - target)²` over all steps.

    Args:
        prediction: Values of the net, `[B, T, D]`.
        target: In the same shape.
        lengths: Steps of each recording, `[B]`; None for all.

    Returns:
        `[D]`.

    Example:
        >>> mse(torch.tensor([[[1.0], [2.0], [9.0]]]), torch.zeros(1, 3, 1), torch.tensor([2]))
        tensor([2.5000])
    """
    return mse_of(_sums_around_mean("mse", prediction, target, lengths)).float()


def r2(prediction: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Coefficient of determination of each output.

        R² = 1 - sum of (prediction - target)² / sum of (target - mean of the target)²

    If the target of an output is constant, it is 1 for a perfect prediction, and otherwise 0.

    Args:
        prediction: Values of the net, `[B, T, D]`.
        target: In the same shape.
        lengths: Steps of each recording, `[B]`; None for all.

    Returns:
        `[D]`.

    Example:
        >>> target = torch.tensor([[[0.0], [1.0], [2.0]]])
        >>> r2(target + 0.5, target)
        tensor([0.6250])
    """
    return r2_of(_sums_around_mean("r2", prediction, target, lengths)).float()


def correlation(prediction: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Pearson correlation of prediction and target, of each output.

    It does not depend on the scale and the offset of the prediction. If the prediction or the
    target is constant, it is 0.

    Args:
        prediction: Values of the net, `[B, T, D]`.
        target: In the same shape.
        lengths: Steps of each recording, `[B]`; None for all.

    Returns:
        `[D]`, from -1 to 1.

    Example:
        >>> target = torch.tensor([[[0.0], [1.0], [2.0]]])
        >>> correlation(7.0 - 2.0 * target, target)
        tensor([-1.])
    """
    return correlation_of(_sums_around_mean("correlation", prediction, target, lengths)).float()


def value_sums(prediction: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The sums over all steps from which the measures follow; sums of batches can be added.

    Args:
        prediction: Values of the net, `[B, T, D]`, of about size 1.
        target: In the same shape.
        lengths: Steps of each recording, `[B]`; None for all.

    Returns:
        float64 `[7, D]` on the CPU: the number of steps, and the sums of y, y², p, p², p·y and
        (p - y)² of prediction p and target y.

    Raises:
        ValueError: If shapes differ.
    """
    # Some devices lack float64.
    p, y = (
        values.cpu().double() for values in _selected("value_sums", prediction, target, lengths)
    )
    return _sums(p, y)


def mse_of(sums: Tensor) -> Tensor:
    """`mse` from the sums of `value_sums`, `[D]`."""
    count, squared_errors = sums[0], sums[6]
    return squared_errors / count


def r2_of(sums: Tensor) -> Tensor:
    """`r2` from the sums of `value_sums`, `[D]`."""
    spread = _spread(sums[0], sums[1], sums[2])
    is_constant = spread == 0
    squared_errors = sums[6]
    share = squared_errors / spread.where(~is_constant, 1)
    return 1 - share.where(~is_constant, (squared_errors > 0).double())


def correlation_of(sums: Tensor) -> Tensor:
    """`correlation` from the sums of `value_sums`, `[D]`."""
    count, y, y_squared, p, p_squared, product, _ = sums.unbind()
    spread: Tensor = _spread(count, y, y_squared) * _spread(count, p, p_squared)
    spread = spread.sqrt()
    is_constant = spread == 0
    together = product - p * y / count
    result = together / spread.where(~is_constant, 1)
    return result.where(~is_constant, 0).clamp(-1, 1)


def _spread(count: Tensor, total: Tensor, squares: Tensor) -> Tensor:
    """Sum of squared distances from the mean; 0 if it is within rounding errors."""
    spread = squares - total.square() / count
    return spread.where(spread > 1e-13 * squares, 0)


def _sums_around_mean(
    owner: str, prediction: Tensor, target: Tensor, lengths: Tensor | None
) -> Tensor:
    """The sums of values from which the mean target is subtracted, so that no digits are lost."""
    p, y = (values.cpu().double() for values in _selected(owner, prediction, target, lengths))
    if not len(y):
        raise ValueError(f"{owner}: got no step, expected at least 1.")
    mean = y.detach().mean(dim=0)
    return _sums(p - mean, y - mean)


def _selected(
    owner: str, prediction: Tensor, target: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Predictions and targets of all valid steps, each [steps, D]."""
    require_tensor(f"{owner}: prediction", prediction)
    require_tensor(f"{owner}: target", target)
    if prediction.ndim != 3:
        raise ValueError(
            f"{owner}: predictions have the shape {tuple(prediction.shape)}, expected [B, T, D]."
        )
    return select_steps(owner, prediction, target, lengths)


def _sums(p: Tensor, y: Tensor) -> Tensor:
    """The sums over steps of predictions p and targets y, each [steps, D]."""
    count = torch.full_like(y[:1].sum(0), len(y))
    products = (y, y * y, p, p * p, p * y, (p - y) ** 2)
    return torch.stack([count, *(values.sum(dim=0) for values in products)])
