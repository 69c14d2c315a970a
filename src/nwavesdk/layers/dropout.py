"""`Dropout` for sequences: a neuron is silenced for a whole recording."""

import torch
from torch import Tensor

from nwavesdk.internal.checks import finite_number
from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers.prepare import Prepared

__all__ = ["Dropout"]


class Dropout(Prepared):
    """Silences neurons for a whole recording: one mask per batch element, the same in all steps.

    The masks of `torch.nn.Dropout`, one per step, average out in a membrane. Here the mask is drawn
    from torch's global generator in the first call after `prepare_net`, and it stays until the
    next. In `eval()` the input passes unchanged.

    Args:
        p: Probability that a neuron is silenced, 0 ≤ p < 1; the others are scaled by 1 / (1 - p).

    Shape:
        `x` [B, T, *features] is a sequence; [N] or [B, N] is one step, and with `single_step=True`
        also [B, *features]. Returns the same shape.

    Raises:
        TypeError: If the input is not floating.
        RuntimeError: In training, if `prepare_net` is missing, or the shape of a step changed
            without it.
        ValueError: If `p` is not in [0, 1).

    References:
        Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural
        networks", 2016.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import prepare_net
        >>> drop = Dropout(0.5)
        >>> prepare_net(drop)
        >>> y = drop(torch.ones(4, 100, 8))
        >>> bool((y == y[:, :1]).all())
        True
    """

    _state_attributes = ("_mask",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = finite_number("Dropout", "p", p, least=0, below=1)
        self._mask: Tensor | None = None

    def forward(self, x: Tensor, single_step: bool = False) -> Tensor:
        """`x` with the neurons of the mask silenced; see the class."""
        require_floating("Dropout", x)
        if not self.training or self.p == 0:
            return x

        is_sequence = x.ndim > 2 and not single_step
        if not self._is_prepared:
            self._require_prepared(is_sequence)

        # The mask has no axis of time, so parts of a sequence and single steps share it.
        if is_sequence:
            step_shape = (x.shape[0], *x.shape[2:])
        else:
            step_shape = (1, *x.shape) if x.ndim == 1 else tuple(x.shape)
        if self._mask is None:
            self._mask = torch.rand(step_shape, device=x.device) >= self.p
        if self._mask.shape != step_shape:
            raise RuntimeError(
                f"Dropout has a mask for steps of shape {list(self._mask.shape)}, got one of "
                f"{list(step_shape)}: call prepare_net(model) before a new batch."
            )

        mask = self._mask.to(x) / (1 - self.p)
        return x * (mask[:, None] if is_sequence else mask.reshape(x.shape))

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
