"""The base of the modules of encoders, and checks of values.

A new encoder is a function, its inverse, a subclass of `Encoder`, and a row in `docs/encoders.md`.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from nwavesdk.internal.tensors import require_floating, widen
from nwavesdk.layers.lengths import check_optional_lengths, fill_padding
from nwavesdk.layers.prepare import Prepared, running_backward_pass

__all__ = ["Encoder", "StatefulEncoder", "check_bounds", "require_sequence", "require_steps"]


class Encoder(Prepared):
    """Base of the encoders: a module from values to spikes, step for step.

    Shape:
        `x` [B, T, *features] is a sequence; [N] or [B, N] is one step, and with `single_step=True`
        [B, *features], whatever its shape. Returns the same shape; encoders with several neurons
        per value have k times as many along the first axis of the features, the k neurons of a
        value next to each other. In padding, there are no spikes.

    Raises:
        TypeError: If the input is not floating, or `lengths` is not an int64 tensor.
        ValueError: If values are outside of the encoder's range, or `lengths` do not suit.
        RuntimeError: If an encoder with state gets a single step before `prepare_net`, or a step of
            a new shape without `prepare_net`.

    Example:
        >>> class Above(Encoder):
        ...     def _encode(self, x):
        ...         return (x > 0.5).to(x.dtype)
        >>> Above()(torch.tensor([[[0.2, 0.9]]]), lengths=torch.tensor([1]))
        tensor([[[0., 1.]]])
    """

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, single_step: bool = False
    ) -> Tensor:
        """The spikes of a sequence or of one step; see the class."""
        owner = type(self).__name__
        require_floating(owner, x)
        is_sequence = x.ndim > 2 and not single_step

        if self._state_attributes and not self._is_prepared:
            self._require_prepared(is_sequence)
        if any(getattr(self, name) is not None for name in self._state_attributes):
            self._require_own_state()
        self._state_pass = running_backward_pass()

        if is_sequence:
            lengths = check_optional_lengths(owner, lengths, x, least=0)
            return fill_padding(self._encode(fill_padding(x, lengths)), lengths)

        if lengths is not None:
            raise ValueError(
                f"{owner}: lengths belong to sequences [B, T, *features], got one step of shape "
                f"{list(x.shape)}: remove them for single steps."
            )
        if x.ndim < 2:
            x = x.reshape(1, -1)
        return self._encode(x[:, None])[:, 0]

    @abstractmethod
    def _encode(self, x: Tensor) -> Tensor:
        """The spikes of a sequence [B, T, *features]."""

    def extra_repr(self) -> str:
        return ", ".join(
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if not name.startswith("_") and name not in ("training", "times_prepared")
        )


class StatefulEncoder(Encoder):
    """Base of encoders with state, which is in the attributes `_state_attributes`."""


def check_bounds(owner: str, values: Tensor, low: float, high: float, remedy: str) -> None:
    """Reject values that are NaN or not from `low` to `high`.

    Args:
        owner: The caller, for the message.
        values: The values.
        low: Smallest value.
        high: Largest value.
        remedy: The remedy for other values.

    Raises:
        ValueError: If a value is outside; in compiled code a RuntimeError.
    """
    is_within = ((values >= low) & (values <= high)).all()
    text = f"{owner}: values must be from {low:g} to {high:g}"
    if torch.compiler.is_compiling():  # compiled code must not read values
        torch._assert_async(is_within, f"{text}.")
    elif not is_within:
        lowest, highest = (float(bound) for bound in torch.aminmax(values))
        raise ValueError(f"{text}, got {lowest:g} to {highest:g}: {remedy}.")


def require_sequence(owner: str, x: object) -> Tensor:
    """A floating sequence [B, T, *features], in at least 32 bits."""
    require_floating(owner, x)
    assert isinstance(x, Tensor)
    if x.ndim < 3:
        raise ValueError(
            f"{owner} takes a sequence [B, T, *features], got the shape {list(x.shape)}: add the "
            "axes that are missing, as in x[None] or x[..., None]."
        )
    return widen(x)


def require_steps(owner: str, spikes: object, *, least: int = 1, multiple: int = 1) -> Tensor:
    """Floating spikes [B, T, *features] of some steps.

    Args:
        owner: The caller, for the message.
        spikes: The spikes.
        least: Smallest T.
        multiple: A number of which T must be a multiple.

    Raises:
        TypeError: If they are not floating.
        ValueError: If the shape differs.
    """
    require_floating(owner, spikes)
    assert isinstance(spikes, Tensor)
    if spikes.ndim < 2 or spikes.shape[1] < least or spikes.shape[1] % multiple:
        raise ValueError(
            f"{owner}: spikes have the shape {list(spikes.shape)}, expected [B, T, *features] with "
            f"T of at least {least} and a multiple of {multiple}."
        )
    return spikes
