"""Effective weights: trained weights as they act on a chip, computed once per `prepare_net`.

The steps are quantization, charge law and additive mismatch, in this order. The gradient is the
product of the elementwise derivatives. These are computed together with the effective weights, so
several backward passes may follow one `prepare_net`.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from nwavesdk.chip import Profile, Quantizer
from nwavesdk.internal.checks import positive_number
from nwavesdk.internal.tensors import have_equal_bits
from nwavesdk.layers.checks import check_unchanged, profile_of_chip
from nwavesdk.layers.masks import current_parameter
from nwavesdk.layers.noise import Noise
from nwavesdk.layers.prepare import DIVERGED, Prepared, leave_graph

__all__ = ["ChipWeight", "parameter_of"]


def parameter_of(module: nn.Module, name: str) -> Any:
    """The value of a parameter, in a sixth of the time of `getattr` for a plain parameter.

    torch's own read of a parameter takes as long as a tenth of a small product. A weight that is
    pruned or parametrized is not among the parameters.
    """
    parameters = module._parameters
    value = parameters.get(name)
    if value is None and name not in parameters:
        return current_parameter(module, name)
    return value


class _Computed(NamedTuple):
    """The results of a preparation.

    Attributes:
        value: The effective weight.
        slope: Its elementwise derivative with respect to the weight.
        source: The weight from which it was computed.
        is_finite: Whether the weight is finite.
    """

    value: Tensor
    slope: Tensor
    source: Tensor
    is_finite: bool


class ChipWeight(Prepared):
    """A module with a weight of a chip: the profile, and an effective weight from `prepare_net`."""

    chip: ClassVar[str]
    # The name of the weight, which may be None.
    weight_key: ClassVar[str] = "weight"
    _preparation_attributes: tuple[str, ...] = ("_computed",)
    _computed: _Computed | None = None

    def _set_chip_options(
        self,
        quantization_bits: int | None,
        stddev: float | None,
        profile: str | Path | Profile | None,
    ) -> None:
        """Set the profile and the options of the effective weight.

        Args:
            quantization_bits: Number of bits, from 2 to 8, or None for weights without
                quantization.
            stddev: Standard deviation of the additive mismatch on the effective weight, or None.
            profile: Profile of the chip.

        Raises:
            ValueError: If an option is out of its range.
        """
        self.profile = profile_of_chip(type(self).__name__, self.chip, profile)
        limit = self.profile.number("weight_limit")
        self._quantizer = None if quantization_bits is None else Quantizer(quantization_bits, limit)

        # 0 is allowed and means no mismatch. False is not a number.
        has_mismatch = stddev is not None and not (type(stddev) in (int, float) and stddev == 0)
        self._mismatch_stddev = (
            positive_number(self._weight_title, "stddev", stddev, "normalized charge")
            if has_mismatch
            else None
        )
        self.quantization_bits = quantization_bits
        self.stddev = stddev

    @property
    def _weight_title(self) -> str:
        """The name of the weight in error messages."""
        owner = type(self).__name__
        return owner if self.weight_key == "weight" else f"{owner}.{self.weight_key}"

    def check_parameters(self) -> None:
        super().check_parameters()
        weight = parameter_of(self, self.weight_key)
        if weight is not None and not bool(torch.isfinite(weight).all()):
            raise RuntimeError(f"{self._weight_title}: weights are not finite: {DIVERGED}")

    def prepare(self, noise: Noise, keep_state: bool) -> None:
        super().prepare(noise, keep_state)
        weight = parameter_of(self, self.weight_key)
        if weight is not None:
            self._computed = self._compute(weight, noise)

    def prepare_in_graph(self) -> None:
        if parameter_of(self, self.weight_key) is not None:
            leave_graph(type(self).__name__)
        super().prepare_in_graph()

    @torch.inference_mode(False)
    @torch.no_grad()
    def _compute(self, weight: Tensor, noise: Noise) -> _Computed:
        """The effective weight, with new mismatch."""
        stored = weight
        slope = torch.ones_like(weight)
        if self._quantizer is not None:
            stored = self._quantizer.quantize(weight)
            slope = self._quantizer.inside(weight)

        law = self.profile.charge_law
        value = law.charge(stored)
        if self._mismatch_stddev is not None:
            value = value + self._mismatch_stddev * noise.normal(stored.shape).to(value)

        source = weight.detach().clone()
        return _Computed(value, slope * law.slope(stored), source, math.isfinite(source.sum()))

    def _effective(self, weight: Tensor) -> Tensor:
        """The effective weight, with gradient for `weight`.

        Raises:
            RuntimeError: If `prepare_net` is missing, or the weight has changed since.
        """
        if torch.compiler.is_compiling():
            value, slope, source, _ = _results(self, weight)
            check_unchanged(self._weight_title, weight, source)
            effective: Tensor = _Effective.apply(weight, value, slope)  # type: ignore[no-untyped-call]  # torch does not type it
            return effective

        value, slope = _fresh_results(self, weight)
        if _needs_no_graph(weight):
            return value.detach()
        return _apply_effective(weight, value, slope)

    def _effective_product(self, x: Tensor, weight: Tensor) -> Tensor:
        """`x @ self._effective(weight)` for an `x` that `is_plain`, with one node in the graph.

        Raises:
            RuntimeError: If `prepare_net` is missing, or the weight has changed since.
        """
        value, slope = _fresh_results(self, weight)
        if _needs_no_graph(weight):
            return x @ value

        # Under autocast, torch chooses the dtypes of the product, forward and backward.
        if torch.is_autocast_enabled("cpu"):
            return x @ _apply_effective(weight, value, slope)
        return _apply_product(x, weight, value, slope)

    def _stored_value(self, effective: Tensor) -> Tensor:
        """The stored tensor behind `effective`, the result of a call; `effective` if there is none.

        The stored tensor is the same object in all calls after a preparation.
        """
        if self._computed is None or self._computed.value.data_ptr() != effective.data_ptr():
            return effective
        return self._computed.value


# Functions are called in less time than methods of a torch module.


def _fresh_results(module: ChipWeight, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The effective weight and its derivative; an error if they are stale."""
    value, slope, source, is_finite = _results(module, weight)
    # NaN may have equal bits, but never equals itself: `check_unchanged` decides.
    if not (is_finite and have_equal_bits(weight, source)):
        check_unchanged(module._weight_title, weight, source)
    return value, slope


def _results(module: ChipWeight, weight: Tensor) -> _Computed:
    """The results of the preparation, with the dtype of `weight`."""
    computed = module._computed
    if computed is None:
        raise RuntimeError(
            f"{module._weight_title} has no effective weights yet: call prepare_net(model) "
            "before a batch."
        )

    value, slope, source, is_finite = computed
    if value.dtype is weight.dtype and value.is_cpu and weight.is_cpu:
        return computed
    return _Computed(value.to(weight), slope.to(weight), source.to(weight), is_finite)


def _needs_no_graph(weight: Tensor) -> bool:
    """Whether no gradient is wanted, neither backward nor forward mode (the weight may be dual)."""
    has_gradient = torch.is_grad_enabled() and weight.requires_grad
    return not has_gradient and forward_ad._current_level < 0


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


class _EffectiveProduct(torch.autograd.Function):
    """The product of an input and the effective weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, value, slope)
        # A second derivative needs the weight's place in the graph, but never its values, which
        # may have changed since.
        ctx.weight = weight
        return x @ value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, value, slope = ctx.saved_tensors

        # For a second derivative, the effective weight depends on the weight.
        is_recorded = torch.is_grad_enabled()
        if is_recorded:
            value = _apply_effective(ctx.weight, value, slope)
        grad_x = grad @ value.t() if ctx.needs_input_grad[0] else None

        # [B, T, N] as rows [B · T, N], over which the gradient of the weight is a sum.
        if grad.ndim > 2:
            x = x.flatten(0, -2)
            grad = grad.flatten(0, -2)
        # The product of one row is an outer product, which takes half of the time elementwise.
        product = x.t() * grad if len(x) == 1 else x.t() @ grad
        grad_weight = product * slope if is_recorded else product.mul_(slope)
        return grad_x, grad_weight, None, None


# `Function.apply` prepares each call for the transforms of torch.func. Outside of them, the `apply`
# of its base class does the same in half of the time.
_apply_in_eager: Callable[..., Tensor] = super(torch.autograd.Function, _Effective).apply
_apply_product: Callable[..., Tensor] = super(torch.autograd.Function, _EffectiveProduct).apply


def _apply_effective(weight: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    if torch._C._are_functorch_transforms_active():
        effective: Tensor = _Effective.apply(weight, value, slope)  # type: ignore[no-untyped-call]  # torch does not type it
        return effective
    return _apply_in_eager(weight, value, slope)
