"""Steps of a batch that belong to its recordings: those that measures look at."""

from torch import Tensor

from nwavesdk.layers.lengths import check_lengths, valid_steps

__all__ = ["select_steps"]


def select_steps(
    owner: str, prediction: Tensor, target: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Predictions and targets of all steps within the lengths, in one row.

    Args:
        owner: The function, for errors.
        prediction: `[B]` or `[B, T, *values]`.
        target: In the same shape.
        lengths: Steps of each recording, `[B]`; None for all.

    Returns:
        Both as `[steps, *values]`.

    Raises:
        ValueError: If shapes differ, or lengths are not from 1 to T.
    """
    if prediction.shape != target.shape or not prediction.ndim:
        raise ValueError(
            f"{owner}: predictions have the shape {tuple(prediction.shape)}, targets "
            f"{tuple(target.shape)}: expected the same, with recordings first."
        )
    if prediction.ndim == 1:
        return prediction, target
    if lengths is None:
        return prediction.flatten(0, 1), target.flatten(0, 1)
    is_valid = valid_steps(check_lengths(owner, lengths, prediction), prediction.shape[1])
    return prediction[is_valid], target[is_valid.to(target.device)]
