"""Batch normalization of sequences over batch and time, and the base of all norms of sequences.

Design requirements:
    - Padding never enters statistics.
    - In `eval()` every norm multiplies and adds once per value, with the same bits for a whole
      sequence, its parts and single steps, and in any memory layout.
    - In `train()` `torch.nn.functional.batch_norm` computes the statistics and their gradient, on a
      view of the sequence.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from nwavesdk.internal.checks import finite_number, positive_number, switch, whole_number
from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers.checks import check_memory
from nwavesdk.layers.layout import place_rows, select_rows
from nwavesdk.layers.lengths import check_optional_lengths, valid_places
from nwavesdk.layers.prepare import Prepared
from nwavesdk.layers.process_norms import moments_over_processes, process_count

__all__ = [
    "SequenceNorm",
    "ThresholdBatchNorm",
    "TimeBatchNorm",
    "scale_and_shift",
]

_HALF = (torch.float16, torch.bfloat16)


class SequenceNorm(Prepared):
    """Base of all norms: input shapes, running statistics, and the choice between them and a batch.

    Args:
        num_features: C, the channels, which come first.
        table: Shape of the running statistics.
        eps: ε, added to the variance.
        momentum: Weight of a batch in the running statistics.

    Raises:
        ValueError: If an argument is out of its range.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, num_features: int, table: tuple[int, ...], eps: float, momentum: float
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.num_features = num_features
        self.eps = positive_number(owner, "eps", eps)
        self.momentum = finite_number(owner, "momentum", momentum, above=0, most=1)
        check_memory(owner, *table)

        self.register_buffer("running_mean", torch.zeros(table))
        self.register_buffer("running_var", torch.ones(table))
        # As in torch's norms: it also marks a module that reads its whole batch.
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, single_step: bool = False
    ) -> Tensor:
        """The normalized input, in its shape.

        Args:
            x: A sequence [B, T, C, ...], or one step [C] or [B, C].
            lengths: Steps of each recording, int64 [B]; None for all.
            single_step: Whether `x` is one step [B, C, ...] of any shape.
        """
        is_sequence = self._is_sequence(x, single_step)

        if lengths is not None and not is_sequence:
            raise ValueError(
                f"{type(self).__name__}: lengths belong to sequences [B, T, C, ...], got an input "
                f"of shape {list(x.shape)}: remove them for single steps."
            )
        self._require_prepared(is_sequence)

        # One step is a sequence of length 1: [B, 1, C, ...].
        sequence = x if is_sequence else x.reshape(-1, 1, *x.shape[min(x.ndim - 1, 1) :])

        if self.training:
            lengths = check_optional_lengths(type(self).__name__, lengths, x, least=0)
            y = self._normalize_batch(sequence, lengths, is_sequence)
        else:
            places = self._take_steps(sequence.shape[1])
            scale, shift = self.scale_and_shift(sequence.shape[1], places)
            by_channel = (*scale.shape, *[1] * (sequence.ndim - 3))
            # The product and sum run in the dtype of the statistics; 16 bits are rounded once.
            y = torch.addcmul(shift.reshape(by_channel), sequence, scale.reshape(by_channel))
            y = y.to(x.dtype)

        return y if is_sequence else y.reshape(x.shape)

    @abstractmethod
    def scale_and_shift(self, T: int, places: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`y = scale · x + shift` of a call in `eval()`, each [C], or [T, C] if steps differ.

        Args:
            T: Number of steps.
            places: Places of these steps in the sequence, int64 [T]; None for the first steps.
        """

    def _take_steps(self, T: int) -> Tensor | None:  # noqa: ARG002  # part of the signature
        """Count the next T steps; their places, or None for the first steps."""
        return None

    @abstractmethod
    def _normalize_batch(self, x: Tensor, lengths: Tensor | None, is_sequence: bool) -> Tensor:
        """Normalize [B, T, C, ...] with its own statistics, and update the running ones."""

    def _is_sequence(self, x: Tensor, single_step: bool) -> bool:
        """Whether the input is a sequence, after all checks of the input."""
        owner = type(self).__name__
        require_floating(owner, x)
        is_sequence = x.ndim >= 3 and not single_step

        C = self.num_features
        axis = 2 if is_sequence else min(x.ndim - 1, 1)
        if axis < 0 or x.shape[axis] != C:
            raise ValueError(
                f"{owner}({C}) takes a sequence [B, T, {C}, ...] or one step [{C}] or [B, {C}], "
                f"got an input of shape {list(x.shape)}: the channels are the first dimension of "
                "the features."
            )

        if x.dtype is not self.running_mean.dtype and x.dtype not in _HALF:
            raise TypeError(
                f"{owner} has statistics of {self.running_mean.dtype} and got an input of "
                f"{x.dtype}: convert one, as in norm.to(x.dtype)."
            )
        return is_sequence

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps:g}, momentum={self.momentum:g}"


class TimeBatchNorm(SequenceNorm):
    """Batch normalization with statistics over batch and time.

        μ_c, σ²_c = mean and variance of x[b, t, c, ...] over recordings, valid steps and space
        y[b, t, c] = γ_c · (x[b, t, c] - μ_c) / √(σ²_c + ε) + β_c

    In `eval()`, μ and σ² are running statistics as in `torch.nn.BatchNorm1d`, whose `state_dict`
    fits. A `torch.nn.BatchNorm1d` or `2d` in a `SpikingSequential` computes the same. This module
    also works elsewhere, rejects parts of a sequence, and runs faster.

    Args:
        num_features: C, the channels, which come first.
        eps: ε, added to the variance.
        momentum: Weight of a batch in the running statistics.
        affine: Whether to learn γ and β; they start at 1 and 0.

    Attributes:
        is_synchronized: Whether data-parallel training computes the statistics over the batches of
            all processes, as `nwave train` does.

    Shape:
        `x` [B, T, C, ...] is a sequence; [C] or [B, C] is one step, and so is [B, C, ...] with
        `single_step=True`. Returns the same shape. In `train()`, padding after `lengths` gives 0.

    Raises:
        TypeError: If the input is not floating, or not of the dtype of the statistics.
        ValueError: If an argument is out of its range, or the input has other channels.
        RuntimeError: In `train()`, if the input is one step or a second part of a sequence, or has
            fewer than two values per channel.

    References:
        Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
        internal covariate shift", 2015, algorithm 1, arXiv:1502.03167.

    Example:
        >>> norm = TimeBatchNorm(3)
        >>> y = norm(5 + torch.rand(4, 10, 3))
        >>> y.mean((0, 1)).abs().max() < 1e-5
        tensor(True)
    """

    _state_flags = ("_has_run",)
    is_synchronized = False

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
    ) -> None:
        owner = type(self).__name__
        C = whole_number(owner, "num_features", num_features)
        is_affine = switch(owner, "affine", affine)
        super().__init__(C, (C,), eps, momentum)
        self.register_parameter("weight", nn.Parameter(torch.ones(C)) if is_affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(C)) if is_affine else None)
        # Whether a call in `train()` has followed `prepare_net`.
        self._has_run: bool | None = None

    @property
    def scale(self) -> Tensor | None:
        """γ, which multiplies the normalized input, [C]; None is 1."""
        return self.weight

    def scale_and_shift(self, T: int, places: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002  # part of the signature
        return scale_and_shift(self, self.running_mean, self.running_var, self.scale, self.bias)

    def _normalize_batch(self, x: Tensor, lengths: Tensor | None, is_sequence: bool) -> Tensor:
        self._require_whole_sequence(x, is_sequence)
        rows = x.flatten(0, 1)

        # Padding is removed before the statistics, and is 0 afterwards.
        places = None if lengths is None else valid_places(lengths, x.shape[1])
        if places is None:
            y = self._normalize_rows(rows)
        else:
            y = self._normalize_rows(select_rows(rows, places))
            y = place_rows(y, places, len(rows))

        self._has_run = True
        return y.reshape(x.shape)

    def _require_whole_sequence(self, x: Tensor, is_sequence: bool) -> None:
        got = f"one step of shape {[len(x), *x.shape[2:]]}" if not is_sequence else ""
        if self._has_run and self._is_prepared:
            got = got or "a second part of one"
        if got:
            raise RuntimeError(
                f"{type(self).__name__} in train() has statistics over all steps of a sequence, "
                f"got {got}: pass the whole sequence after prepare_net(model), call eval() to "
                "stream, or use StepBatchNorm."
            )

    def _normalize_rows(self, rows: Tensor) -> Tensor:
        """Normalize [M, C, ...] with its statistics."""
        if self.is_synchronized and process_count() > 1:
            return self._normalize_over_processes(rows)

        self._require_two_values(rows.numel() // self.num_features)
        self.num_batches_tracked += 1

        # For images that are channels-last in memory, torch takes four times as long as for the
        # same values as a matrix [values, C].
        channels_last = rows.movedim(1, -1)
        is_matrix = rows.ndim > 2 and channels_last.is_contiguous()
        y = functional.batch_norm(
            channels_last.flatten(0, -2) if is_matrix else rows,
            self.running_mean,
            self.running_var,
            self.scale,
            self.bias,
            training=True,
            momentum=self.momentum,
            eps=self.eps,
        )
        return y.view(channels_last.shape).movedim(-1, 1) if is_matrix else y

    def _normalize_over_processes(self, rows: Tensor) -> Tensor:
        """Normalize rows [M, C, ...] with the statistics of the rows of all processes."""
        x = rows.to(self.running_mean.dtype)
        count, mean, variance, centered = moments_over_processes(x)
        self._require_two_values(count)

        self.num_batches_tracked += 1
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)

        by_channel = (-1, *[1] * (x.ndim - 2))
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.scale is None else scale * self.scale
        y = centered * scale.reshape(by_channel)
        return (y if self.bias is None else y + self.bias.reshape(by_channel)).to(rows.dtype)

    def _require_two_values(self, count: float | Tensor) -> None:
        if count < 2:
            raise RuntimeError(
                f"{type(self).__name__} needs at least 2 values per channel in train(), got "
                f"{count:.0f}: pass longer sequences or more recordings, or call eval()."
            )

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.weight is not None else ", affine=False")


class ThresholdBatchNorm(TimeBatchNorm):
    """tdBN: batch normalization over batch and time, scaled to the threshold of the neurons.

        y[b, t, c] = γ_c · α · V_th · (x[b, t, c] - μ_c) / √(σ²_c + ε) + β_c

    Statistics, shapes, steps and errors are the same as in `TimeBatchNorm`. With γ = 1, the charge
    has the standard deviation α · V_th.

    Args:
        num_features: C, the channels, which come first.
        threshold: V_th of the neurons that follow [membrane].
        alpha: α; in the source 1, or 1/√2 before each of two charges that are added.
        eps: ε, added to the variance.
        momentum: Weight of a batch in the running statistics.

    References:
        Zheng, Wu, Deng, Hu and Li, "Going deeper with directly-trained larger spiking neural
        networks", AAAI 2021, equations 9 to 11, doi:10.1609/aaai.v35i12.17320.

    Example:
        >>> y = ThresholdBatchNorm(3, threshold=0.5)(torch.rand(40, 10, 3))
        >>> y.std().round(decimals=2)
        tensor(0.5000, grad_fn=<RoundBackward1>)
    """

    def __init__(
        self,
        num_features: int,
        threshold: float = 1.0,
        alpha: float = 1.0,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__(num_features, eps, momentum)
        owner = type(self).__name__
        self.threshold = positive_number(owner, "threshold", threshold, "membrane")
        self.alpha = positive_number(owner, "alpha", alpha)

    @property
    def scale(self) -> Tensor:
        """γ · α · V_th, [C]."""
        return self.weight * (self.alpha * self.threshold)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, threshold={self.threshold:g}, alpha={self.alpha:g}"


def scale_and_shift(
    norm: SequenceNorm, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The normalization by given statistics as `scale · x + shift`, with gradient."""
    scale = torch.rsqrt(variance + norm.eps)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias
