"""The contract table: every neuron and surrogate in it must pass every law and parity test."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from dynamics.adaptive import adaptive
from nwavesdk.dynamics import Neuron, h1, lif
from nwavesdk.surrogate import Surrogate, atan, custom, fast_sigmoid, sigmoid

DrawConstants = Callable[[int, Generator], tuple[Tensor, ...]]


def _leaky(n: int, generator: Generator) -> tuple[Tensor, ...]:
    decay = 0.8 + 0.2 * torch.rand(n, generator=generator)
    threshold = 0.9 + 0.2 * torch.rand(n, generator=generator)
    return decay, threshold


def _adaptive(n: int, generator: Generator) -> tuple[Tensor, ...]:
    recovery = 0.9 + 0.09 * torch.rand(n, generator=generator)
    strength = 0.5 * torch.rand(n, generator=generator)
    return *_leaky(n, generator), recovery, strength


@dataclass(frozen=True)
class Row:
    """A neuron, and a function that draws constants for n of them."""

    neuron: Neuron
    constants: DrawConstants = _leaky


NEURONS = {
    "lif_subtraction": Row(lif("subtraction")),
    "lif_zero": Row(lif("zero")),
    "lif_none": Row(lif("none")),
    "h1v1": Row(h1(1)),
    "h1v2": Row(h1(2)),
    "adaptive": Row(adaptive(), _adaptive),
}


def lorentzian(z: Tensor) -> Tensor:
    return 1 / (1 + 9 * z * z)


SURROGATES: dict[str, Surrogate] = {
    "atan": atan(alpha=3.0),
    "fast_sigmoid": fast_sigmoid(slope=10.0),
    "sigmoid": sigmoid(slope=5.0),
    "custom": custom(lorentzian),
}
