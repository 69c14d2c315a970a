"""A module without time, such as a convolution, on a sequence: batch and time are one dimension.

Folding [B, T, C, H, W] to [B · T, C, H, W] needs no copy in either layout of images; see `images`.
"""

from typing import Any

from torch import Tensor, nn

from nwavesdk.layers.layout import place_rows, select_rows
from nwavesdk.layers.lengths import reads_batch, valid_places
from nwavesdk.net.images import as_module_runs_fastest, run_on_images

__all__ = ["require_tensor_output", "run_folded", "run_rows"]


def run_folded(module: nn.Module, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """The output [B, T, ...], twice, of a module without time for a sequence [B, T, *features].

    Args:
        module: A module of torch or of a user; it sees [B · T, *features].
        x: The sequence.
        lengths: Number of steps of each recording, int64 [B], or None. A module that keeps
            statistics of its inputs sees valid steps only, and returns zeros in padding.

    Raises:
        TypeError: If the module does not return a tensor.
    """
    rows = x.flatten(0, 1)
    if lengths is None or not reads_batch(module):
        y = run_rows(module, rows)
    else:
        y = _run_on_valid_rows(module, rows, valid_places(lengths, x.shape[1]))
    y = y.reshape(x.shape[:2] + y.shape[1:])
    return y, y


def run_rows(module: nn.Module, rows: Tensor, **options: Any) -> Tensor:
    """The output of a module for [R, *features], with images in the layout that suits it.

    Raises:
        TypeError: If the module does not return a tensor.
    """
    rows = as_module_runs_fastest(module, rows)
    y = module(rows, **options) if options else run_on_images(module, rows)
    return require_tensor_output(module, y)


def _run_on_valid_rows(module: nn.Module, rows: Tensor, places: Tensor | None) -> Tensor:
    """The module's output for the rows at `places`, zeros at the others; None is all rows."""
    if places is None:
        return run_rows(module, rows)
    y = run_rows(module, select_rows(rows, places))
    return place_rows(y, places, len(rows))


def require_tensor_output(module: nn.Module, y: object) -> Tensor:
    """The output of a module of a net, which must be a tensor.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{type(module).__name__} in a SpikingSequential must give a tensor, "
            f"got {type(y).__name__}."
        )
    return y
