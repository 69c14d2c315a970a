"""The gain of a recurrent layer's loop, and its bound in backward.

A spike of neuron i gives the charge W_ij to neuron j, whose membrane keeps it for Σ β_j^k =
1/(1 - β_j) steps, and turns it into spikes with the slope σ'_j. So a loop has the matrix
L_ij = W_ij σ'_j / (1 - β_j). Its spectral radius g is the loop gain. Backward in time, a gradient
is multiplied in each step by β + σ' W: where g is above 1, it grows from step to step.

σ' is not known before a layer has run. Its mean is taken over z ~ N(-θ, θ²): membranes with the
mean and the fluctuation at which 16 % of the neurons fire.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.solvers.problem import Problem, Spec
from nwavesdk.surrogate import Surrogate

__all__ = [
    "bounded_feedback",
    "feedback_scale",
    "has_loop_gain",
    "loop_gain",
    "mean_slope",
    "spectral_radius",
]

_POWERS = 16
_STARTS = 4
# From this N on, NumPy multiplies by threads of its own, which then wait busily for many
# milliseconds and take a core from the kernels: a training step takes 2.7 times as long.
_LARGE = 512
# Points of z / θ: next to 0 as close as the narrowest surrogates need, and up to four deviations.
_POINTS = 161
_NEAREST = 1e-3
_FARTHEST = 4.0


def has_loop_gain(spec: Spec) -> bool:
    """Whether the neuron is leaky and has one state, as the loop gain assumes.

    Example:
        >>> from nwavesdk.layers import ALIFLayer, LIFLayer
        >>> from nwavesdk.surrogate import atan
        >>> neurons = LIFLayer(1, taus=20e-3).page.neuron, ALIFLayer(1).page.neuron
        >>> [has_loop_gain(Spec(neuron=neuron, surrogate=atan(alpha=2.0))) for neuron in neurons]
        [True, False]
    """
    return spec.neuron.carry is not None and len(spec.neuron.constants) == 2


@torch.no_grad()
def bounded_feedback(problem: Problem) -> Tensor:
    """The recurrent weights through which a gradient goes back to the step before, [N, N].

    They are `problem.recurrent` itself, or a copy that is scaled down where the loop gain is above
    `max_loop_gain`.
    """
    weights = problem.recurrent
    assert weights is not None
    scale = feedback_scale(problem)
    return weights if scale is None else weights.detach() * scale


@torch.no_grad()
def feedback_scale(problem: Problem) -> Tensor | None:
    """The factor of the gradient through recurrent weights: a scalar of at most 1.

    None if nothing is bounded.
    """
    limit = problem.spec.max_loop_gain
    weights = problem.recurrent
    if weights is None or limit is None or not has_loop_gain(problem.spec):
        return None
    gain = loop_gain(problem.spec, problem.constants, weights)
    # A gain that is not finite leaves the gradient unchanged, so that the error is seen there.
    return torch.where(gain > limit, limit / gain, 1.0).to(weights)


@torch.no_grad()
def loop_gain(
    spec: Spec, constants: tuple[Tensor, ...], weights: Tensor, slopes: Tensor | None = None
) -> Tensor:
    """The loop gain of leaky neurons: a scalar.

    Args:
        spec: Neuron and surrogate; see `has_loop_gain`.
        constants: Decay and threshold, each [N].
        weights: Recurrent weights [N, N] (from, to); with delays [K·N, N], one block per delay.
        slopes: Mean of σ' of each neuron [N]; None for `mean_slope`.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> constants = torch.full((2,), 0.9), torch.ones(2)
        >>> weights = torch.tensor([[0.0, 0.4], [0.4, 0.0]])
        >>> [round(float(loop_gain(spec, constants, c * weights)), 2) for c in (1, 2)]
        [0.86, 1.72]
    """
    decay, threshold = (constant.detach() for constant in constants)
    slopes = mean_slope(spec.surrogate, threshold) if slopes is None else slopes
    # A decay that rounds to 1 has no leak: its charge stays for longer than any recording.
    leak = (1 - decay).clamp(min=torch.finfo(decay.dtype).eps)
    # A gradient that grows slowly takes the sum of all delays.
    together = weights.detach().reshape(-1, *decay.shape, *decay.shape).sum(0)
    return spectral_radius(together * (slopes / leak).to(weights))


@torch.no_grad()
def mean_slope(surrogate: Surrogate, threshold: Tensor) -> Tensor:
    """The mean of σ'(z) over z ~ N(-θ, θ²) of each neuron, in the shape of `threshold`.

    Example:
        >>> from nwavesdk.surrogate import atan, fast_sigmoid
        >>> one = torch.ones(1)
        >>> [round(float(mean_slope(s, one)), 3) for s in (atan(2), fast_sigmoid(5))]
        [0.215, 0.087]
    """
    places, masses = _reference_points(threshold.dtype, threshold.device)

    # Most layers have one threshold, for which one mean is enough.
    first = threshold.flatten()[:1]
    is_compiled = torch.compiler.is_compiling()
    if threshold.numel() > 1 and not is_compiled and bool((threshold == first).all()):
        return mean_slope(surrogate, first).expand(threshold.shape)

    shape = (_POINTS, *(1,) * threshold.ndim)
    slopes = surrogate.derivative(places.view(shape) * threshold)
    return (slopes * masses.view(shape)).sum(0)


@cache
def _reference_points(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Points z / θ, and the probability under N(-1, 1) of the interval around each."""
    last = math.asinh((1 + _FARTHEST) / _NEAREST)
    t = torch.linspace(-last, last, _POINTS, dtype=torch.float64, device=device)
    places = _NEAREST * t.sinh()
    widths = _NEAREST * t.cosh() * (t[1] - t[0])
    masses = widths * (-0.5 * (places + 1).square()).exp() / math.sqrt(2 * math.pi)
    return places.to(dtype), masses.to(dtype)


@torch.no_grad()
def spectral_radius(matrix: Tensor) -> Tensor:
    """The spectral radius of [N, N], by powers of the matrix on a few fixed vectors.

    It costs less than an eigendecomposition, is the same in each call, and is within a few percent
    where N is large or few eigenvalues lead.

    Example:
        >>> round(float(spectral_radius(torch.diag(torch.tensor([1.0, -3.0, 2.0])))), 2)
        3.0
    """
    rows = _start_vectors(matrix.shape[0], matrix.dtype, matrix.device)
    if matrix.is_cpu and len(matrix) < _LARGE:
        # torch takes several times as long for products as small as these.
        with np.errstate(all="ignore"):
            growth = matrix.new_tensor(_mean_growth(rows.numpy(), matrix.numpy()))
    else:
        growth = _mean_growth(rows, matrix)

    # A nilpotent matrix, such as one without loops, ends in 0/0.
    result: Tensor = torch.where(matrix.isfinite().all(), growth.nan_to_num(nan=0.0), torch.nan)
    return result


def _mean_growth(rows: Any, matrix: Any) -> Any:
    """The factor by which the rows grow per product with the matrix; arrays or tensors."""
    growth = 1.0
    for power in range(_POWERS):
        rows = rows @ matrix
        norm = (rows * rows).sum() ** 0.5
        rows = rows / norm
        # The first half of the steps turns the vectors to the leading eigenvalues.
        if power >= _POWERS // 2:
            growth = growth * norm ** (1 / (_POWERS - _POWERS // 2))
    return growth


@cache
def _start_vectors(N: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(_STARTS, N, generator=generator, dtype=torch.float64)
    unit: Tensor = rows / rows.norm()
    return unit.to(device, dtype)
