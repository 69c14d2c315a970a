"""Charges that make neurons spike in many ways, and problems with them."""

import torch

from contract import NEURONS, SURROGATES
from nwavesdk.solvers import Problem, Spec

NAMES = [name for name, row in NEURONS.items() if row.neuron.carry is not None]
DRIVES = [
    "gaussian",
    "poisson 1 %",
    "poisson 30 %",
    "poisson 90 %",
    "constant",
    "noisy constant",
    "bursts",
    "silence",
]
BETAS = [0.5, 0.9, 0.99, 0.999]


def drive(kind: str, B: int, T: int, N: int, beta: float, dtype: torch.dtype) -> torch.Tensor:
    """Charge [B, T, N] with which neurons of this decay spike; with `constant`, regularly."""
    g = torch.Generator().manual_seed(T + N)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=dtype)

    noise = 0.5 * (1 - beta) + 1.5 * (1 - beta**2) ** 0.5 * normal(B, T, N)
    level = (1 - beta) * (0.2 + 4 * torch.rand(B, 1, N, generator=g, dtype=dtype))
    if kind.startswith("poisson"):
        share = float(kind.split()[1]) / 100
        spikes = (torch.rand(B, T, N, generator=g) < share).to(dtype)
        return spikes * (1 - beta) * 1.5 / share**0.5
    return {
        "gaussian": noise,
        "constant": level.expand(B, T, N).contiguous(),
        "noisy constant": level * (1 + 0.05 * normal(B, T, N)),
        "bursts": 2 * noise * (torch.arange(T) % 300 < 60).to(dtype)[:, None],
        "silence": torch.zeros(B, T, N, dtype=dtype),
    }[kind]


def driven(name: str, x: torch.Tensor, beta: float, start: float = 0.0) -> Problem:
    N = x.shape[2]
    constants = torch.full((N,), beta, dtype=x.dtype), torch.ones(N, dtype=x.dtype)
    return Problem(
        Spec(neuron=NEURONS[name].neuron, surrogate=SURROGATES["atan"]),
        x,
        (x.new_full((len(x), N), start),),
        constants,
    )
