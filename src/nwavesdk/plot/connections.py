"""Plots of connections: weights and delays."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import nn

from nwavesdk.plot.theme import LIGHT, Array, Theme, as_array, time_unit, wanted_axes

__all__ = ["delays", "weights"]


def weights(weight: Any, ax: Axes | None = None, *, theme: Theme = LIGHT) -> Axes:
    """Draw weights as an image, from one color over paper at 0 to the other, with a color bar.

    Args:
        weight: A module with a `weight`, or the weight: [N_in, N_out], one row per input; [N] of a
            front end, as one row; or kernels [C_out, C_in, *kernel] of a convolution over one or
            two axes, one per row and column, with gaps between them.
        ax: Where to draw; None makes a figure.
        theme: Colors.

    Returns:
        The axes.

    Example:
        >>> import torch
        >>> ax = weights(torch.randn(4, 2))
        >>> ax.get_xlabel()
        'target neuron'
    """
    is_linear = isinstance(weight, nn.Linear)
    if isinstance(weight, nn.Module):
        weight = getattr(weight, "weight", weight)
    shapes = {1: "weights [N]", 2: "[N_in, N_out]", 3: "[C_out, C_in, K]"}
    shapes[4] = "[C_out, C_in, K, K]"
    array = as_array("weights", weight, shapes, "pass a part of it")
    ax = wanted_axes("weights", ax, theme)

    # [rows, columns]: one row per source, or per output channel.
    image = array
    names = ("target neuron", "source neuron")
    if array.ndim > 2:
        image = _kernel_grid(array.reshape(*array.shape[:2], -1, array.shape[-1]))
        names = ("input channel", "output channel")
    elif is_linear:
        image = array.T  # torch's layers have one row per target
    elif array.ndim == 1:
        image = array[None]

    # The same reach on both sides, so that 0 has the color of the paper.
    reach = float(np.nanmax(np.abs(image))) or 1.0
    options: dict[str, Any] = {"aspect": "equal" if array.ndim > 2 else "auto"}
    drawn = ax.imshow(
        image, cmap=theme.diverging, vmin=-reach, vmax=reach, interpolation="nearest", **options
    )

    ax.set(xlabel=names[0], ylabel=names[1])
    if array.ndim == 1:
        ax.set(yticks=[], ylabel="")
    if array.ndim > 2:
        ax.set(xticks=[], yticks=[])
    ax.figure.colorbar(drawn, ax=ax, label="weight")
    return ax


def _kernel_grid(kernels: Array) -> Array:
    """Kernels [C_out, C_in, H, W] as one image, with NaN in the gaps, which stay paper."""
    C_out, C_in, H, W = kernels.shape
    cells = np.full((C_out, C_in, H + 1, W + 1), np.nan, np.float32)
    cells[:, :, :H, :W] = kernels

    # [C_out, H + 1, C_in, W + 1], without the last gaps
    image = cells.transpose(0, 2, 1, 3).reshape(C_out * (H + 1), C_in * (W + 1))
    return image[:-1, :-1]


def delays(
    delay: Any,
    ax: Axes | None = None,
    *,
    weight: Any = None,
    dt: float | None = None,
    color: str | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw how many connections have each delay, in whole steps.

    Args:
        delay: A `DelayedSynapse`, or delays of any shape [steps].
        ax: Where to draw; None makes a figure.
        weight: Weights in the shape of the delays: bars are then sums of their magnitudes. None
            counts connections.
        dt: Time step [s], for an axis in ms; None is an axis in steps.
        color: Color of the bars; None takes it from the theme.
        theme: Colors.

    Returns:
        The axes.

    Example:
        >>> import torch
        >>> ax = delays(torch.tensor([[0.0, 3.0], [1.0, 1.0]]))
        >>> ax.get_ylabel()
        'connections'
    """
    owner = "delays"
    if isinstance(delay, nn.Module):
        delay = getattr(delay, "delays", delay)
    shapes = dict.fromkeys(range(6), "delays of any shape")
    array = as_array(owner, delay, shapes, "pass a DelayedSynapse or a tensor of delays")
    bad = array[~(np.isfinite(array) & (array >= 0))]
    if bad.size:
        raise ValueError(f"{owner} takes finite delays of at least 0 steps, got {bad[0]:g}.")

    share = None
    if weight is not None:
        share = np.abs(as_array(f"{owner}: weight", weight, shapes, "pass the weight per delay"))
        if share.shape != array.shape:
            raise ValueError(
                f"{owner}: weight has the shape {list(share.shape)}, expected "
                f"{list(array.shape)}, the shape of the delays."
            )

    unit = time_unit(owner, dt)
    ax = wanted_axes(owner, ax, theme)

    # A histogram over whole steps, of connections or of their weights.
    steps = np.rint(array).astype(np.int64).reshape(-1)
    amounts = np.bincount(steps, None if share is None else share.reshape(-1))
    places = np.arange(len(amounts)) * unit
    ax.bar(places, amounts, width=0.9 * unit, color=color or theme.hues[0], linewidth=0)

    name = "connections" if share is None else "sum of magnitudes of weights"
    ax.set(xlabel="delay [steps]" if dt is None else "delay [ms]", ylabel=name)
    return ax
