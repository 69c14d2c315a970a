"""Effective weights: what a trained weight becomes on a chip, computed once per `prepare_net`.

The steps are quantization, charge law and additive mismatch, in this order. The gradient is the
product of the elementwise derivatives. These are computed together with the effective weights, so
several backward passes may follow one `prepare_net`.
"""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.chip import Noise, Profile, Quantizer
from nwavesdk.internal.checks import positive_number
from nwavesdk.layers.checks import check_unchanged
from nwavesdk.layers.prepare import DIVERGED

__all__ = ["EffectiveWeight"]


class EffectiveWeight:
    """The effective form of one weight parameter.

    Args:
        owner: Name of the weight's module, for error messages.
        profile: Profile of the chip.
        quantization_bits: Number of bits, from 2 to 8, or None for weights without quantization.
        stddev: Standard deviation of the additive mismatch on the effective weight, or None.

    Raises:
        ValueError: If `quantization_bits` or `stddev` is out of its range.
    """

    def __init__(
        self, owner: str, profile: Profile, quantization_bits: int | None, stddev: float | None
    ) -> None:
        limit = profile.number("weight_limit")
        self.owner = owner
        self.law = profile.charge_law
        self.quantizer = None if quantization_bits is None else Quantizer(quantization_bits, limit)
        # 0 is allowed and means no mismatch. False is not a number.
        has_mismatch = stddev is not None and not (type(stddev) in (int, float) and stddev == 0)
        self.stddev = (
            positive_number(owner, "stddev", stddev, "normalized charge") if has_mismatch else None
        )
        # Set by `prepare`: the effective weight without and with mismatch, its derivative with
        # respect to the weight, and the weight from which they were computed.
        self._designed: Tensor | None = None
        self._value: Tensor | None = None
        self._slope: Tensor | None = None
        self._source: Tensor | None = None

    def check_finite(self, weight: Tensor) -> None:
        """Raise a RuntimeError if the weight is not finite."""
        if not bool(torch.isfinite(weight).all()):
            raise RuntimeError(f"{self.owner}: weights are not finite: {DIVERGED}")

    @torch.inference_mode(False)
    @torch.no_grad()
    def prepare(self, weight: Tensor, noise: Noise) -> None:
        """Compute the effective weight, with new mismatch."""
        stored = weight
        slope = torch.ones_like(weight)
        if self.quantizer is not None:
            stored = self.quantizer.quantize(weight)
            slope = self.quantizer.inside(weight)
        self._designed = self.law.charge(stored)
        self._slope = slope * self.law.slope(stored)
        self._value = self.draw_weight(noise)
        self._source = weight.detach().clone()

    def draw_weight(self, noise: Noise) -> Tensor:
        """The effective weight under that noise, after a `prepare`; no gradient."""
        designed = self._designed
        assert designed is not None
        if not self.stddev:
            return designed
        return designed + self.stddev * noise.normal(designed.shape).to(designed)

    def __call__(self, weight: Tensor) -> Tensor:
        """The effective weight, with gradient for `weight`.

        Raises:
            RuntimeError: If `prepare_net` is missing, or the weight has changed since.
        """
        if self._value is None or self._slope is None or self._source is None:
            raise RuntimeError(
                f"{self.owner} has no effective weights yet: call prepare_net(model) before a "
                "batch."
            )
        value, slope, source = (t.to(weight) for t in (self._value, self._slope, self._source))
        if torch.compiler.is_compiling():
            # Imported here because registering an operator loads a large part of torch.
            from nwavesdk.layers.weight_operator import effective_in_graph

            effective: Tensor = effective_in_graph(weight, value, slope, source, self.owner)
        else:
            check_unchanged(self.owner, weight, source)
            effective = _Effective.apply(weight, value, slope)  # type: ignore[no-untyped-call]
        return effective


class _Effective(torch.autograd.Function):
    """The effective weight, with the saved elementwise derivative."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Tensor, slope: Tensor) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(slope)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None
