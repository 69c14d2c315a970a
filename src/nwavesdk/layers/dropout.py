"""`Dropout` that knows time: what it drops, it drops for a whole recording."""

from collections.abc import Callable

import torch
from torch import Tensor

from nwavesdk.chip import Noise
from nwavesdk.internal.checks import finite_number
from nwavesdk.layers.prepare import Prepared

__all__ = ["Dropout"]


class Dropout(Prepared):
    """Silences neurons for a whole recording: one mask for each batch element, held over all time steps.

    A mask anew for each step, as `torch.nn.Dropout` draws it, averages out in a membrane that sums over many steps,
    and costs a random number a neuron-step: about as much as the rest of a small net. The mask is drawn from torch's
    global generator, whatever seed `prepare_net` has, in the first call after `prepare_net`, and stays until the next.
    In `eval()` the input passes unchanged.

    Args:
        p: Probability that a neuron is silenced, 0 ≤ p < 1; what is left is scaled by 1 / (1 - p).

    Shape:
        `x` [B, T, *features] is a sequence; [N] or [B, N] is one step. Returns the same shape.

    Raises:
        TypeError: the input is not floating.
        RuntimeError: in training, `prepare_net` is missing, or the shape of a step changed without it.
        ValueError: `p` is not in [0, 1).

    Source:
        Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", 2016.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import prepare_net
        >>> drop = Dropout(0.5)
        >>> prepare_net(drop)
        >>> y = drop(torch.ones(4, 100, 8))
        >>> bool((y == y[:, :1]).all())
        True
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = finite_number("Dropout", "p", p, least=0, below=1)
        self._mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`x` with the neurons of the mask silenced; see the class."""
        if not self.training or self.p == 0:
            return x
        if not self.times_prepared:
            raise RuntimeError(
                "Dropout is not prepared: call prepare_net(model) before the first batch."
            )
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(
                f"Dropout takes a floating tensor, got {getattr(x, 'dtype', type(x).__name__)}."
            )
        sequence = x.ndim > 2
        step = (x.shape[0], *x.shape[2:]) if sequence else (1, *x.shape)[-2:]
        if self._mask is None:
            self._mask = torch.rand(step, device=x.device) >= self.p
        if self._mask.shape != step:
            raise RuntimeError(
                f"Dropout has a mask for steps of shape {list(self._mask.shape)}, got one of {list(step)}: "
                "call prepare_net(model) before a new batch."
            )
        mask = self._mask.to(x) / (1 - self.p)
        return x * (mask[:, None] if sequence else mask.reshape(x.shape))

    def prepare(self, noise: Noise, keep_state: bool) -> None:  # noqa: ARG002
        """Forget the mask, unless `keep_state`."""
        if not keep_state:
            self._mask = None

    def hold_state(self) -> Callable[[], None]:
        mask = self._mask

        def restore() -> None:
            self._mask = mask

        return restore

    def give_state(self) -> list[Tensor]:
        return [] if self._mask is None else [self._mask]

    def take_state(self, given: list[Tensor]) -> None:
        self._mask = given[0] if given else None

    def extra_repr(self) -> str:
        """The probability, for `print(model)`."""
        return f"p={self.p:g}"
