"""`TemporalConv`: a causal convolution over time, and over feature axes, that streams."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nwavesdk.internal.checks import shown, whole_number
from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers.past import PastSynapse

__all__ = ["TemporalConv"]

# Torch's convolutions have up to three axes, and time is one of them.
_MAX_FEATURE_AXES = 2
_CONVOLUTIONS = {1: functional.conv2d, 2: functional.conv3d}


class TemporalConv(PastSynapse):
    """Convolution over time that reads no later steps, and over one or two feature axes as well.

        y[t] = Σ_k W_k ∗ x[t − (taps − 1 − k) · dilation] + b,    k = 0, ..., taps − 1

    The last tap, `weight[:, :, -1]`, meets the present step, as in `torch.nn.Conv1d` with
    (taps − 1) · dilation zeros in front. With a `kernel`, ∗ is a convolution over the feature axes;
    without, a product. There are as many steps out as in.

    The state is the input of the last (taps − 1) · dilation steps, 0 after `prepare_net`. Parts of
    a sequence, or single steps, have the outputs and gradients of the whole sequence.

    New weights are normal with standard deviation 2/√fan_in; see `nwavesdk.init.fan_in_init`.

    Args:
        in_channels: C.
        out_channels: C'.
        taps: Number of time steps that an output sees.
        dilation: Distance of two taps in time [steps].
        kernel: Sizes over the feature axes: () for none, a number for one axis, or one per axis.
        stride: Strides over the feature axes; one number, or one per axis.
        padding: Zeros at both ends of the feature axes; one number, or one per axis.
        groups: Number of groups of channels that are convolved separately.
        bias: Whether to learn a constant charge per step and channel.

    Attributes:
        weight: [C', C / groups, taps, *kernel], as in torch's convolutions over (time, *features).
        bias: [C'], or None.

    Shape:
        `x` [B, T, C, *features] is a sequence; [B, C, *features] or [C, *features] is one step.
        Without a kernel there are no further axes. Returns the same with C' channels and the
        feature sizes of torch's convolutions, channels-last where torch can.

    Raises:
        TypeError: If the input is not floating, or its dtype differs from the weights' dtype.
        ValueError: If an argument is out of its range, or the input has another shape.
        RuntimeError: If `prepare_net` is missing, or the shape of a step changed without it.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import prepare_net
        >>> conv = TemporalConv(1, 16, taps=3, kernel=5, stride=2)
        >>> x = torch.rand(4, 98, 1, 40)
        >>> prepare_net(conv)
        >>> y = conv(x)
        >>> y.shape
        torch.Size([4, 98, 16, 18])
        >>> prepare_net(conv)
        >>> bool(torch.isclose(conv(x[:, 0]), y[:, 0], atol=1e-6).all())
        True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        taps: int,
        *,
        dilation: int = 1,
        kernel: int | Sequence[int] = (),
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        check = partial(whole_number, type(self).__name__)
        self.in_channels = check("in_channels", in_channels)
        self.out_channels = check("out_channels", out_channels)
        self.groups = check("groups", groups)
        self.taps = check("taps", taps)
        self.dilation = check("dilation", dilation)

        self.kernel = _kernel_sizes(type(self).__name__, kernel)
        axes = len(self.kernel)
        self.stride = _sizes(type(self).__name__, "stride", stride, axes, least=1)
        self.padding = _sizes(type(self).__name__, "padding", padding, axes, least=0)

        # Last, because it makes the weight, and all of these decide its shape.
        super().__init__(self.in_channels, self.out_channels, bias=bias)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """[C', C / groups, taps, *kernel]."""
        return (self.out_channels, self.in_channels // self.groups, self.taps, *self.kernel)

    @property
    def fan_in(self) -> int:
        """Number of inputs of each target neuron, over all taps; at the borders there are fewer."""
        return self.in_channels // self.groups * self.taps * math.prod(self.kernel)

    @property
    def step_axes(self) -> int:
        """Dimensions of one step of the input, without the batch: channels and feature axes."""
        return 1 + len(self.kernel)

    @property
    def past_steps(self) -> int:
        """Number of earlier steps that an output sees, and that the state holds."""
        return (self.taps - 1) * self.dilation

    def _check_input(self, x: object) -> bool:
        require_floating(self._title, x)
        assert isinstance(x, Tensor)

        axes = len(self.kernel)
        channel_axis = x.ndim - axes - 1
        if not 0 <= channel_axis <= 2 or x.shape[channel_axis] != self.in_channels:
            raise ValueError(
                f"{self._title} takes [B, T, {self.in_channels}, *features] (a sequence) or one "
                f"step of it, with {axes} features as its kernel, got an input of shape "
                f"{list(x.shape)}: add the dimension of one channel, as in x.unsqueeze(2), or join "
                "features by nn.Flatten()."
            )

        return channel_axis == 2

    def _as_steps(self, x: Tensor) -> Tensor:
        # Channels last, [B, T, *features, C], without a copy.
        axes = len(self.kernel)
        missing = axes + 3 - x.ndim
        if missing == 2:
            x = x[None]
        if missing:
            x = x[:, None]
        return x.movedim(2, -1) if axes else x

    def _charge_of(
        self, past: Tensor, steps: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        T = steps.shape[1]
        if not T:
            # Torch's convolutions reject an empty axis.
            step = steps.new_zeros(steps.shape[0], 1, *steps.shape[2:])
            return self._charge_of(past, step, weight, bias)[:, :0]

        dilation = self.dilation
        if T == 1:
            # A single step reads only the steps at its taps.
            past = past[:, ::dilation]
            dilation = 1

        # [B, T + past, *features, C]: a single copy joins the past and moves the channels last.
        window = torch.cat([past, steps], 1)
        if self.kernel:
            return self._convolve_features(window, weight, bias, dilation)

        if T == 1 and self.groups == 1:
            # For one step, a product takes two thirds of the time of a convolution.
            return functional.linear(window.transpose(1, 2).flatten(1), weight.flatten(1), bias)[
                :, None
            ]

        # Torch's convolution over one axis runs channels-first and copies. As an image of height 1
        # and width T, channels-last, the sequence is convolved where it is.
        image = window.transpose(1, 2).unsqueeze(2)
        y = functional.conv2d(
            image, weight.unsqueeze(2), bias, dilation=(1, dilation), groups=self.groups
        )
        return y.squeeze(2).transpose(1, 2)

    def _convolve_features(
        self, window: Tensor, weight: Tensor, bias: Tensor | None, dilation: int
    ) -> Tensor:
        """The convolution over time and features; `window` [B, T + past, *features, C]."""
        axes = len(self.kernel)
        y = _CONVOLUTIONS[axes](
            window.movedim(-1, 1),
            weight,
            bias,
            stride=(1, *self.stride),
            padding=(0, *self.padding),
            dilation=(dilation, *[1] * axes),
            groups=self.groups,
        )
        y = y.transpose(1, 2)

        if torch.compiler.is_exporting():
            # An exported program has no memory layouts: neurons flatten the charge in this order.
            y = y.clone(memory_format=torch.contiguous_format)
        return y

    def extra_repr(self) -> str:
        texts = [f"{self.in_channels}, {self.out_channels}, taps={self.taps}"]
        axes = len(self.kernel)
        defaults: dict[str, Any] = {
            "dilation": 1,
            "kernel": (),
            "stride": (1,) * axes,
            "padding": (0,) * axes,
            "groups": 1,
        }

        texts += [
            f"{name}={getattr(self, name)}"
            for name, default in defaults.items()
            if getattr(self, name) != default
        ]
        return ", ".join(texts + (["bias=True"] if self.bias is not None else []))


def _kernel_sizes(owner: str, kernel: object) -> tuple[int, ...]:
    """The sizes over the feature axes."""
    sizes = tuple(kernel) if isinstance(kernel, Sequence) else (kernel,)
    if len(sizes) > _MAX_FEATURE_AXES:
        raise ValueError(
            f"{owner}: kernel must have at most {_MAX_FEATURE_AXES} sizes besides time, got "
            f"{shown(kernel)}: convolve over fewer axes, or join some of them."
        )
    return tuple(whole_number(owner, "kernel", size) for size in sizes)


def _sizes(owner: str, name: str, value: object, axes: int, least: int) -> tuple[int, ...]:
    """One number per feature axis; a single number is for all of them."""
    sizes = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(sizes) != axes:
        raise ValueError(
            f"{owner}: {name} must be one number or one per size of kernel ({axes}), "
            f"got {shown(value)}."
        )
    return tuple(whole_number(owner, name, size, least=least) for size in sizes)
