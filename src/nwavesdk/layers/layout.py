"""How images lie in memory: channels first, or channels last.

Kernels of neurons are elementwise: they run [B, T, N] in any order of the neurons. So a layer takes
its input in the order that it has in memory, without a copy, and returns outputs in that order.

Design requirements: shapes never depend on the layout, only strides do. Constants and recurrent
weights are stored in the order of the features, and states in any order.
"""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Layout", "is_channels_last", "layout_of", "place_rows", "select_rows"]


@dataclass(frozen=True)
class Layout:
    """The order of neurons in memory.

    Attributes:
        features: Shape of the neurons, such as (C, H, W).
        is_channels_last: Whether the first dimension, the channel, comes last in memory.
    """

    features: tuple[int, ...]
    is_channels_last: bool

    def flatten(self, x: Tensor) -> Tensor:
        """[..., *features] as [..., N] in the order of the layout; a view if `x` has this order."""
        if len(self.features) == 1:
            return x
        if self.is_channels_last:
            x = x.movedim(-len(self.features), -1)
        return x.flatten(-len(self.features))

    def unflatten(self, y: Tensor) -> Tensor:
        """The inverse of `flatten`, as a view of an array."""
        if len(self.features) == 1:
            return y
        if not self.is_channels_last:
            return y.reshape(*y.shape[:-1], *self.features)
        channels, *places = self.features
        return y.reshape(*y.shape[:-1], *places, channels).movedim(-1, -len(self.features))

    def arrange(self, values: Tensor) -> Tensor:
        """Values [..., N] in the order of the features, in the order of memory."""
        if not self.is_channels_last:
            return values
        return self.flatten(values.reshape(*values.shape[:-1], *self.features))


def layout_of(x: Tensor, features: tuple[int, ...]) -> Layout:
    """The layout in which [..., *features] is run: its own, or channels first."""
    return Layout(features, is_channels_last(x, len(features)))


def is_channels_last(x: Tensor, dimensions: int) -> bool:
    """Whether the last dimensions of `x`, of which the first is the channel, are channels-last.

    Only the strides of these dimensions are read: batch and time may have any. With a single
    channel or pixel, both orders are the same, and the answer is False.

    Args:
        x: A tensor.
        dimensions: Number of dimensions of the features.
    """
    if dimensions < 2 or x.ndim < dimensions or x.is_contiguous():
        return False

    # In channels-last order, channels have stride 1, then come the last dimension and the others.
    channels, *places = x.shape[-dimensions:]
    step, *strides = x.stride()[-dimensions:]
    expected = channels
    for size, stride in zip(reversed(places), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size

    return step == 1 and channels > 1 and expected > channels


def select_rows(rows: Tensor, places: Tensor) -> Tensor:
    """The rows at some places, in their layout, which `index_select` of images does not keep.

    Args:
        rows: Any rows [R, *features].
        places: Places of rows, int64.
    """
    if rows.ndim < 3:
        return rows.index_select(0, places)
    layout = layout_of(rows, tuple(rows.shape[1:]))
    return layout.unflatten(layout.flatten(rows).index_select(0, places))


def place_rows(rows: Tensor, places: Tensor, count: int) -> Tensor:
    """A tensor of `count` rows: `rows` at their places, 0 elsewhere; see `select_rows`."""
    if rows.ndim < 3:
        return rows.new_zeros(count, *rows.shape[1:]).index_copy(0, places, rows)
    layout = layout_of(rows, tuple(rows.shape[1:]))
    flat = layout.flatten(rows)
    return layout.unflatten(flat.new_zeros(count, flat.shape[1]).index_copy(0, places, flat))
