"""Measure the crossovers of this machine: at which density a sparse product takes as long as the dense one."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import keep_large_blocks
from nwavesdk.solvers.sparse import product as sparse
from nwavesdk.solvers.sparse.crossover import CrossoverTable

__all__ = ["INPUTS", "OUTPUTS", "tune"]

INPUTS = (16, 64, 256, 1024, 4096)
OUTPUTS = (4, 16, 64, 256, 1024)
MARGIN = 0.8  # of the dense product's time, which the sparse one must not pass: times differ from run to run
LOWEST, HIGHEST = (
    1e-3,
    0.5,
)  # densities that are tried; above the highest the dense product keeps the field
_VALUES = 1 << 22  # values of the input; 6,400 rows at the most
_TURNS = 8

Timed = Callable[[], object]


@torch.no_grad()
def tune(progress: Callable[[float], object] = bool) -> CrossoverTable:
    """Measure on this machine, with as many threads as torch has now.

    Args:
        progress: is told how much is done, from 0 to 1.

    Returns:
        A table for spikes, float32.
    """
    keep_large_blocks()
    generator = torch.Generator().manual_seed(0)
    cells = len(INPUTS) * len(OUTPUTS)
    grids: tuple[list[list[float]], list[list[float]]] = ([], [])
    for n_in in INPUTS:
        rows: tuple[list[float], list[float]] = ([], [])
        for n_out in OUTPUTS:
            for row, density in zip(rows, _crossovers(n_in, n_out, generator), strict=True):
                row.append(density)
            progress((len(grids[0]) * len(OUTPUTS) + len(rows[0])) / (cells + 1))
        for grid, row in zip(grids, rows, strict=True):
            grid.append(row)
    forward, gradient = (tuple(map(tuple, grid)) for grid in grids)
    work = _least_work(generator)
    progress(1.0)
    return CrossoverTable(INPUTS, OUTPUTS, forward, gradient, work, "measured")


def _crossovers(n_in: int, n_out: int, generator: torch.Generator) -> tuple[float, float]:
    """The densities for forward and the weight's gradient; 0 where even the lowest is no gain."""
    rows = min(6400, _VALUES // n_in)
    weight, grad = (
        torch.randn(n_in, n_out, generator=generator),
        torch.randn(rows, n_out, generator=generator),
    )
    noise = torch.rand(rows, n_in, generator=generator)

    def forward(density: float) -> tuple[Timed, Timed]:
        x = (noise < density).float()
        return lambda: _sparse_forward(x, weight), lambda: x @ weight

    def gradient(density: float) -> tuple[Timed, Timed]:
        x = (noise < density).float()
        active = sparse.find_nonzeros(x, x.numel())
        assert active is not None
        return lambda: sparse.gather_weight_gradient(active, grad, n_in), lambda: x.t() @ grad

    return _crossover(forward), _crossover(gradient)


def _sparse_forward(x: Tensor, weight: Tensor) -> Tensor:
    active = sparse.find_nonzeros(x, x.numel())
    assert active is not None
    return sparse.gather_product(active, weight)


def _crossover(case: Callable[[float], tuple[Timed, Timed]]) -> float:
    """The highest density at which the first of the two that `case` gives is faster, by bisection of its logarithm."""
    low, high = math.log(LOWEST), math.log(HIGHEST)
    if not _faster(*case(LOWEST)):
        return 0.0
    for _ in range(6):
        middle = (low + high) / 2
        low, high = (middle, high) if _faster(*case(math.exp(middle))) else (low, middle)
    return float(f"{math.exp(low):.2g}")


def _least_work(generator: torch.Generator) -> int:
    """Multiplications of a product 256 × 256 at 2 % from which on the sparse one is faster."""
    weight, rows = torch.randn(256, 256, generator=generator), 1
    while rows < 4096:
        x = (torch.rand(rows, 256, generator=generator) < 0.02).float()
        if _faster(lambda x=x: _sparse_forward(x, weight), lambda x=x: x @ weight):  # type: ignore[misc]
            break
        rows *= 2
    return rows * 256 * 256


def _faster(one: Timed, other: Timed) -> bool:
    """Whether `one` takes less than its share of the time of `other`.

    The least of some runs in turn is compared: what else goes on in the machine only adds time.
    """
    least = [math.inf, math.inf]
    for _ in range(_TURNS):
        for i, call in enumerate((one, other)):
            start = time.perf_counter()
            call()
            least[i] = min(least[i], time.perf_counter() - start)
    return least[0] < MARGIN * least[1]
