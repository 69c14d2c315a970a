"""The contract table: every neuron and surrogate in it must pass every law and parity test."""

# mypy: disable-error-code="no-untyped-def"
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nwavesdk.dynamics import (
    H1_PAGES,
    LIF_PAGES,
    Neuron,
    Page,
    Positive,
    Real,
    TimeConstant,
    decay,
    held,
    read_page,
    spike,
)
from nwavesdk.surrogate import Surrogate, atan, custom, fast_sigmoid, sigmoid

DT = 1e-3  # [s]

Draw = Callable[..., Tensor]


def adaptive(x, v, a, *, tau: TimeConstant, tau_a: TimeConstant, threshold: Positive, kappa: Real):
    """A threshold that rises with the spikes."""
    u = decay(tau) * v + x
    s = spike(u - threshold - kappa * a)
    return s, u - threshold * held(s), decay(tau_a) * a + (1 - decay(tau_a)) * s


def resonator(x, re, im, q, *, omega: Positive, b: Positive, threshold: Positive, dt):
    """A damped oscillation; it has all operations whose bits are the same on every machine."""
    p = b + q
    r = re + dt * (-p * re - omega * im) + x / (1.0 + torch.abs(im))
    i = im + dt * (omega * re - p * im)
    s = spike(r - threshold - 0.3 * torch.where(q > 0.1, torch.sqrt(q), 0.0))
    return s, r - held(0.5 * s), i, torch.minimum(0.9 * q + s, 2.0)


def smooth(x, s, *, tau: TimeConstant, threshold: Positive, width: Positive):
    """The functions that machines round differently, and names that kernels use themselves."""
    k0 = width * torch.exp(torch.minimum((s - threshold) / width, 1.0))
    sigma = torch.sin(s) * torch.cos(x) + torch.log(1.0 + x * x) - (1.0 + s * s) ** -1.5
    exp = decay(tau) * s + torch.tanh(x) + 0.3 * k0 + 0.2 * sigma
    y = spike(exp - threshold)
    return y, exp * (1.0 - held(y))


def readout(x, v, i):
    """No spike and no constant."""
    j = 0.7 * i + x
    return 0.9 * v + 0.1 * j, j


def draw_leaky(draw: Draw) -> dict[str, Tensor]:
    return {"tau": -DT / torch.log(draw(0.8, 1.0)), "threshold": draw(0.9, 1.1)}


def draw_adaptive(draw: Draw) -> dict[str, Tensor]:
    tau_a = -DT / torch.log(draw(0.9, 0.99))
    return {**draw_leaky(draw), "tau_a": tau_a, "kappa": draw(-0.1, 0.5)}


def draw_resonator(draw: Draw) -> dict[str, Tensor]:
    return {"omega": draw(50, 500), "b": draw(1, 100), "threshold": draw(0.9, 1.1)}


def draw_smooth(draw: Draw) -> dict[str, Tensor]:
    # Fast decays: slow ones would let differences of a rounding grow.
    tau = -DT / torch.log(draw(0.4, 0.6))
    return {"tau": tau, "threshold": draw(0.4, 0.6), "width": draw(0.2, 0.5)}


@dataclass(frozen=True)
class Row:
    """A neuron, and a function that draws constants of its page.

    Attributes:
        page: The page.
        draw: It gets a function `draw(low, high)` of random numbers, one per neuron.
    """

    page: Page
    draw: Callable[[Draw], dict[str, Tensor]] = draw_leaky

    @property
    def neuron(self) -> Neuron:
        return self.page.neuron

    def page_constants(self, n: int, generator: Generator) -> dict[str, Tensor]:
        """The constants of the page for n neurons, each [n], in float64; `dt` if it takes one."""

        def draw(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)

        steps = {"dt": torch.full((n,), DT, dtype=torch.float64)} if self.page.takes_dt else {}
        return self.draw(draw) | steps

    def constants(self, n: int, generator: Generator) -> tuple[Tensor, ...]:
        """What solvers get of the constants of n neurons, each [n], in float64."""
        return self.neuron.evaluate_constants(self.page_constants(n, generator), DT)


# Solvers are equal to the bit on these.
NEURONS = {
    "lif_subtraction": Row(LIF_PAGES["subtraction"]),
    "lif_zero": Row(LIF_PAGES["zero"]),
    "lif_none": Row(LIF_PAGES["none"]),
    "h1v1": Row(H1_PAGES[1]),
    "h1v2": Row(H1_PAGES[2]),
    "adaptive": Row(read_page(adaptive), draw_adaptive),
    "resonator": Row(read_page(resonator), draw_resonator),
}
# Tested by themselves: roundings differ, or there are no spikes.
MORE_NEURONS = {
    "smooth": Row(read_page(smooth), draw_smooth),
    "readout": Row(read_page(readout), lambda _: {}),
}


def lorentzian(z: Tensor) -> Tensor:
    return 1 / (1 + 9 * z * z)


SURROGATES: dict[str, Surrogate] = {
    "atan": atan(alpha=3.0),
    "fast_sigmoid": fast_sigmoid(slope=10.0),
    "sigmoid": sigmoid(slope=5.0),
    "custom": custom(lorentzian),
}
