"""Effective weights: what of a trained weight arrives on a chip, computed once per `prepare_net`.

Order: quantization, charge law, + stddev · noise. The gradient is the product of the elementwise derivatives, taken
when the weights were computed, so that no graph outlives a backward pass.
"""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.chip import Noise, Profile, Quantizer
from nwavesdk.internal.checks import positive_number
from nwavesdk.layers.prepare import DIVERGED

__all__ = ["EffectiveWeight", "check_fresh"]


class EffectiveWeight:
    """The effective form of one weight parameter.

    Args:
        owner: whose weight it is, for error messages.
        profile: the chip's numbers.
        quantization_bits: from 2 to 8, or None for weights that are not quantized.
        stddev: standard deviation of the additive mismatch on the effective weight, or None.

    Raises:
        ValueError: `quantization_bits` or `stddev` is out of its range.
    """

    def __init__(
        self, owner: str, profile: Profile, quantization_bits: int | None, stddev: float | None
    ) -> None:
        limit = profile.number("weight_limit")
        off = stddev is None or (type(stddev) in (int, float) and stddev == 0)
        self.owner, self.law = owner, profile.charge_law
        self.quantizer = None if quantization_bits is None else Quantizer(quantization_bits, limit)
        self.stddev = None if off else positive_number(owner, "stddev", stddev, "normalized charge")
        self._designed: Tensor | None = None  # without mismatch
        self._value: Tensor | None = None
        self._slope: Tensor | None = None
        self._seen: Tensor | None = None  # the weight that they were computed from

    def check(self, weight: Tensor) -> None:
        """Raise a RuntimeError when no effective weight can come of it."""
        if not bool(torch.isfinite(weight).all()):
            raise RuntimeError(f"{self.owner}: weights are not finite: {DIVERGED}")

    @torch.inference_mode(False)
    @torch.no_grad()
    def prepare(self, weight: Tensor, noise: Noise) -> None:
        """Compute the effective weight anew, with a fresh draw."""
        kept, slope = weight, torch.ones_like(weight)
        if self.quantizer is not None:
            kept, slope = self.quantizer.quantize(weight), self.quantizer.inside(weight)
        self._designed, self._slope = self.law.charge(kept), slope * self.law.slope(kept)
        self._value, self._seen = self.drawn(noise), weight.detach().clone()

    def drawn(self, noise: Noise) -> Tensor:
        """The effective weight on the chip of that noise, for the weight of the last `prepare`; no gradient."""
        designed = self._designed
        assert designed is not None
        return (
            designed + self.stddev * noise.normal(designed.shape).to(designed)
            if self.stddev
            else designed
        )

    def __call__(self, weight: Tensor) -> Tensor:
        """The effective weight, with gradient for `weight`.

        Raises:
            RuntimeError: `prepare_net` is missing, or the weight has changed since.
        """
        if self._value is None or self._slope is None or self._seen is None:
            raise RuntimeError(
                f"{self.owner} has no effective weights yet: call prepare_net(model) before a batch."
            )
        value, slope, seen = (t.to(weight) for t in (self._value, self._slope, self._seen))
        if torch.compiler.is_compiling():
            from nwavesdk.layers.weight_operator import effective

            return effective(weight, value, slope, seen, self.owner)
        check_fresh(weight, seen, self.owner)
        exact: Tensor = _Effective.apply(weight, value, slope)  # type: ignore[no-untyped-call]
        return exact


def check_fresh(weight: Tensor, seen: Tensor, owner: str) -> None:
    """Raise a RuntimeError unless the weight is what the effective one was computed from."""
    # Compared by value: fused optimizers and writes to weight.data leave the version counter as it was.
    if not torch.equal(weight, seen):
        raise RuntimeError(
            f"{owner}: the weights have changed since prepare_net (an optimizer step, a loaded checkpoint) "
            "and the effective weights are stale: call prepare_net(model), or prepare_net(model, keep_state=True) "
            "to go on from the current state."
        )


class _Effective(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Tensor, slope: Tensor) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(slope)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None
