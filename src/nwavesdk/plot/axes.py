"""What plots share: new axes, arrays of tensors, and the axis of time."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes

from nwavesdk.internal.checks import positive_number, shown
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.plot.theme import Theme

__all__ = ["Array", "as_array", "label_time", "time_unit", "wanted_axes"]

Array = npt.NDArray[np.float32]


def wanted_axes(owner: str, ax: Axes | None, theme: Theme) -> Axes:
    """The given axes, or those of a new figure of pyplot; checks the theme, too.

    Raises:
        TypeError: If `ax` is neither axes nor None, or `theme` is not a theme.
    """
    if not isinstance(theme, Theme):
        raise TypeError(
            f"{owner}: theme must be a Theme, got {shown(theme)}: take plot.LIGHT or plot.DARK."
        )
    if ax is None:
        # Loaded here, because it chooses a way to show figures, which reports do not need.
        from matplotlib import pyplot

        return pyplot.subplots(layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(
            f"{owner}: ax must be matplotlib axes, got {shown(ax)}: take them from a figure, as in "
            "figure.subplots()."
        )
    return ax


def as_array(owner: str, values: Any, shapes: dict[int, str], remedy: str) -> Array:
    """Values as a float32 array on the CPU.

    Args:
        owner: The plot, for the message.
        values: A tensor, or what NumPy takes as an array of numbers.
        shapes: The shapes that it takes, by their number of dimensions.
        remedy: What to do about another shape.

    Raises:
        TypeError: If the values are not numbers.
        ValueError: If the number of dimensions is another one, or there are no values.
    """
    if isinstance(values, torch.Tensor):
        require_tensor(owner, values)
        array = values.detach().to("cpu", torch.float32).numpy()
    else:
        try:
            array = np.asarray(values, np.float32)
        except (TypeError, ValueError):
            raise TypeError(
                f"{owner} takes a tensor or an array of numbers, got {shown(values)}."
            ) from None
    if array.ndim not in shapes or not array.size:
        expected = " or ".join(shapes.values())
        raise ValueError(
            f"{owner} takes {expected} with at least one element, got the shape "
            f"{list(array.shape)}: {remedy}."
        )
    return array


def time_unit(owner: str, dt: float | None) -> float:
    """Length of a step on the axis of time: in ms with `dt`, else 1."""
    return 1.0 if dt is None else 1e3 * positive_number(owner, "dt", dt, "s")


def label_time(ax: Axes, n_steps: int, unit: float, dt: float | None) -> None:
    """Name the axis of time and let it end with the recording."""
    ax.set(xlabel="step" if dt is None else "time [ms]", xlim=(0, n_steps * unit))
