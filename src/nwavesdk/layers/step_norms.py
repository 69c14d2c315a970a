"""Batch normalization that differs by step: BNTT and TEBN. Their state is the number of steps."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nwavesdk.internal.checks import whole_number
from nwavesdk.layers.checks import check_memory
from nwavesdk.layers.lengths import valid_steps
from nwavesdk.layers.norms import SequenceNorm, TimeBatchNorm, scale_and_shift

__all__ = ["StepBatchNorm", "StepNorm", "TemporalEffectiveBatchNorm"]


class StepNorm(SequenceNorm):
    """Base of norms that differ by step: their state is the number of steps since `prepare_net`."""

    _state_attributes = ("_step",)

    max_steps: int
    _step: Tensor | None = None

    def _take_steps(self, T: int) -> Tensor | None:
        self._check_steps(T)
        start = self._step
        if start is not None:
            self._require_own_state()
        self._set_state(torch.full((), T) if start is None else start + T)
        return None if start is None else start + torch.arange(T)

    def _check_steps(self, T: int) -> None:
        """Reject a sequence with more than `max_steps` steps."""
        text = f"{type(self).__name__} has values for max_steps={self.max_steps} steps"
        remedy = "call prepare_net(model) before a new sequence, or build it with more steps."
        last = T if self._step is None else self._step + T
        if isinstance(last, Tensor) and torch.compiler.is_compiling():  # must not read values
            torch._assert_async(last <= self.max_steps, f"{text}: {remedy}")
        elif int(last) > self.max_steps:
            raise RuntimeError(f"{text}, got step {int(last)}: {remedy}")

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, max_steps={self.max_steps}"


class StepBatchNorm(StepNorm, SequenceNorm):
    """BNTT: batch normalization with separate statistics and a separate scale in each step.

        μ_tc, σ²_tc = mean and variance of x[b, t, c, ...] over recordings and space
        y[b, t, c] = γ_tc · (x[b, t, c] - μ_tc) / √(σ²_tc + ε)

    There is no bias, as in the source. The norm streams in `train()`, too; it counts the steps from
    `prepare_net` on. In `train()`, a step of a single value per channel is normalized with its
    running statistics.

    Args:
        num_features: C, the channels, which come first.
        max_steps: T_max, the largest number of steps of a sequence.
        eps: ε, added to the variance.
        momentum: Weight of a batch in the running statistics.

    Shape:
        As `TimeBatchNorm`.

    Raises:
        RuntimeError: After more than `max_steps` steps; in `train()`, if no step has two values per
            channel. Other errors as in `TimeBatchNorm`.

    References:
        Kim and Panda, "Revisiting batch normalization for training low-latency deep spiking neural
        networks from scratch", Frontiers in Neuroscience 2021, equation 7,
        doi:10.3389/fnins.2021.773954.

    Example:
        >>> y = StepBatchNorm(3, max_steps=10)(torch.rand(4, 10, 3))
        >>> y.mean(0).abs().max() < 1e-5
        tensor(True)
    """

    def __init__(
        self, num_features: int, max_steps: int, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        owner = type(self).__name__
        C = whole_number(owner, "num_features", num_features)
        self.max_steps = whole_number(owner, "max_steps", max_steps)
        super().__init__(C, (self.max_steps, C), eps, momentum)
        self.weight = nn.Parameter(torch.ones(self.max_steps, C))

    def scale_and_shift(self, T: int, places: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, variance, weight = (
            _rows(table, places, T) for table in (self.running_mean, self.running_var, self.weight)
        )
        return scale_and_shift(self, mean, variance, weight, None)

    def _normalize_batch(self, x: Tensor, lengths: Tensor | None, is_sequence: bool) -> Tensor:  # noqa: ARG002  # part of the signature
        T = x.shape[1]
        if not T:
            return x
        if x.numel() // (T * self.num_features) < 2:
            raise RuntimeError(
                "StepBatchNorm needs at least 2 values per channel and step in train(), got "
                f"{len(x)}: pass more recordings, or call eval()."
            )

        places = self._take_steps(T)
        weight = _rows(self.weight, places, T)

        # Copies, because backward must not see that a later part writes to the tables.
        mean = _rows(self.running_mean, places, T).clone()
        variance = _rows(self.running_var, places, T).clone()
        self.num_batches_tracked += 1
        if lengths is None:
            y = self._normalize_steps(x, weight, mean, variance)
        else:
            y = self._normalize_valid(x, weight, mean, variance, valid_steps(lengths, T))

        written = torch.arange(T) if places is None else places
        self.running_mean.index_copy_(0, written.to(mean.device), mean)
        self.running_var.index_copy_(0, written.to(mean.device), variance)
        return y

    def _normalize_steps(self, x: Tensor, weight: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        """Normalize [B, T, C, ...]; every pair of step and channel is one of T · C channels."""
        # Images in the order [B, T, H, W, C] are copied, here and back.
        y = functional.batch_norm(
            x.flatten(1, 2),
            mean.view(-1),
            var.view(-1),
            weight.reshape(-1),
            None,
            training=True,
            momentum=self.momentum,
            eps=self.eps,
        )
        y = y.reshape(x.shape)
        return y if x.is_contiguous() else torch.empty_like(x).copy_(y)

    def _normalize_valid(
        self, x: Tensor, weight: Tensor, mean: Tensor, var: Tensor, is_valid: Tensor
    ) -> Tensor:
        """As `_normalize_steps`, over the valid values; `is_valid` [B, T]; padding gives 0."""
        dtype = x.dtype
        x = x.to(mean.dtype)
        is_valid_value = is_valid.reshape(*is_valid.shape, *[1] * (x.ndim - 2))

        # Recordings and space are pooled. Each step has its own number of valid values.
        pooled = (0, *range(3, x.ndim))
        values_per_step = x.numel() // (x.shape[0] * x.shape[1] * self.num_features)
        count = (is_valid.sum(0)[:, None] * values_per_step).to(mean.dtype)  # [T, 1]
        is_known = count >= 2
        divisor = count.clamp(min=1)

        # The running statistics normalize a step with a single value. Padding, which may be NaN, is
        # replaced by 0 and never multiplied.
        batch_mean = torch.where(is_valid_value, x, 0).sum(pooled) / divisor
        used_mean = torch.where(is_known, batch_mean, mean)
        channel_shape = (*used_mean.shape, *[1] * (x.ndim - 3))
        centered = torch.where(is_valid_value, x - used_mean.reshape(channel_shape), 0)
        batch_var = centered.square().sum(pooled) / divisor
        used_var = torch.where(is_known, batch_var, var)

        with torch.no_grad():
            unbiased = batch_var * (count / (count - 1).clamp(min=1))
            rate = self.momentum * is_known.to(mean.dtype)
            mean += rate * (batch_mean - mean)
            var += rate * (unbiased - var)

        scale = weight * torch.rsqrt(used_var + self.eps)
        return (centered * scale.reshape(channel_shape)).to(dtype)


class TemporalEffectiveBatchNorm(StepNorm, TimeBatchNorm):
    """TEBN: batch normalization over batch and time, with a learned factor for each step.

        y[b, t, c] = p_t · (γ_c · (x[b, t, c] - μ_c) / √(σ²_c + ε) + β_c)

    Statistics, shapes, steps and errors are the same as in `TimeBatchNorm`. Steps are counted from
    `prepare_net` on.

    Args:
        num_features: C, the channels, which come first.
        max_steps: T_max, the largest number of steps of a sequence. The factors p start at 1.
        eps: ε, added to the variance.
        momentum: Weight of a batch in the running statistics.

    Raises:
        RuntimeError: Also after more than `max_steps` steps.

    References:
        Duan, Ding, Chen, Yu and Huang, "Temporal effective batch normalization in spiking neural
        networks", NeurIPS 2022, equations 7 to 9.

    Example:
        >>> norm = TemporalEffectiveBatchNorm(3, max_steps=10)
        >>> norm(torch.rand(4, 10, 3)).shape
        torch.Size([4, 10, 3])
    """

    def __init__(
        self, num_features: int, max_steps: int, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(num_features, eps, momentum)
        owner = type(self).__name__
        self.max_steps = whole_number(owner, "max_steps", max_steps)
        check_memory(owner, self.max_steps)
        self.step_factor = nn.Parameter(torch.ones(self.max_steps))

    def scale_and_shift(self, T: int, places: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scale, shift = super().scale_and_shift(T, places)
        factor = _rows(self.step_factor, places, T)[:, None]
        return factor * scale, factor * shift

    def _require_whole_sequence(self, x: Tensor, is_sequence: bool) -> None:
        super()._require_whole_sequence(x, is_sequence)
        self._check_steps(x.shape[1])

    def _normalize_batch(self, x: Tensor, lengths: Tensor | None, is_sequence: bool) -> Tensor:
        y = super()._normalize_batch(x, lengths, is_sequence)
        factor = _rows(self.step_factor, self._take_steps(x.shape[1]), x.shape[1])
        return y * factor.to(y.dtype).reshape(-1, *[1] * (x.ndim - 2))


def _rows(table: Tensor, places: Tensor | None, T: int) -> Tensor:
    """The rows of the steps at `places`, or of the first T steps."""
    return table[:T] if places is None else table.index_select(0, places.to(table.device))
