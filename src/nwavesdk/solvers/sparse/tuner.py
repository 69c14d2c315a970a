"""Measure the crossover table of this machine.

A crossover is the density of spikes at which a sparse product takes as long as the dense one.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import keep_large_blocks
from nwavesdk.solvers.sparse.crossover import CrossoverTable
from nwavesdk.solvers.sparse.product import (
    Nonzeros,
    find_nonzeros,
    gather_product,
    gather_weight_gradient,
)

__all__ = ["INPUTS", "OUTPUTS", "tune"]

INPUTS = (16, 64, 256, 1024, 4096)
OUTPUTS = (4, 16, 64, 256, 1024)
MARGIN = 0.8  # share of the dense product's time that the sparse one must stay below: times vary
LOWEST = 1e-3  # densities that are tried; above the highest the dense product is always taken
HIGHEST = 0.5
_VALUES = 1 << 22  # values of the input
_ROWS = 6400  # most rows of the input
_TURNS = 8  # runs of each product per comparison

Timed = Callable[[], object]


@torch.no_grad()
def tune(progress: Callable[[float], object] = bool) -> CrossoverTable:
    """Measure on this machine, with the number of threads that torch has now.

    Args:
        progress: Called with the share of the work that is done, from 0 to 1.

    Returns:
        A table for spikes, in float32.
    """
    keep_large_blocks()
    generator = torch.Generator().manual_seed(0)
    sizes = [(n_in, n_out) for n_in in INPUTS for n_out in OUTPUTS]
    crossovers = []
    for n_in, n_out in sizes:
        crossovers.append(_measure_crossovers(n_in, n_out, generator))
        progress(len(crossovers) / (len(sizes) + 1))
    work = _measure_least_work(generator)
    progress(1.0)
    # From one list in the order of `sizes` to one grid [inputs, outputs] for each product.
    columns = len(OUTPUTS)
    forward, gradient = (
        tuple(densities[i : i + columns] for i in range(0, len(sizes), columns))
        for densities in zip(*crossovers, strict=True)
    )
    return CrossoverTable(INPUTS, OUTPUTS, forward, gradient, work, "measured")


def _measure_crossovers(n_in: int, n_out: int, generator: torch.Generator) -> tuple[float, float]:
    """The crossovers of the forward product and the weight's gradient."""
    rows = min(_ROWS, _VALUES // n_in)
    weight = torch.randn(n_in, n_out, generator=generator)
    grad = torch.randn(rows, n_out, generator=generator)
    noise = torch.rand(rows, n_in, generator=generator)

    def products(density: float) -> tuple[Timed, Timed]:
        x = (noise < density).float()
        return lambda: _sparse_product(x, weight), lambda: x @ weight

    def gradients(density: float) -> tuple[Timed, Timed]:
        x = (noise < density).float()
        active = _all_nonzeros(x)
        return lambda: gather_weight_gradient(active, grad, n_in), lambda: x.t() @ grad

    return _bisect_crossover(products), _bisect_crossover(gradients)


def _sparse_product(x: Tensor, weight: Tensor) -> Tensor:
    return gather_product(_all_nonzeros(x), weight)


def _all_nonzeros(x: Tensor) -> Nonzeros:
    active = find_nonzeros(x, x.numel())
    assert active is not None
    return active


def _bisect_crossover(pair: Callable[[float], tuple[Timed, Timed]]) -> float:
    """The highest density at which the first call of the pair is faster; 0 if at none.

    It bisects the logarithm of the density.
    """
    if not _is_faster(*pair(LOWEST)):
        return 0.0
    low = math.log(LOWEST)
    high = math.log(HIGHEST)
    for _ in range(6):
        middle = (low + high) / 2
        if _is_faster(*pair(math.exp(middle))):
            low = middle
        else:
            high = middle
    return float(f"{math.exp(low):.2g}")


def _measure_least_work(generator: torch.Generator) -> int:
    """Multiplications of a 256 × 256 product at 2 % above which the sparse one is faster."""
    size = 256
    weight = torch.randn(size, size, generator=generator)
    rows = 1
    while rows < 4096:
        x = (torch.rand(rows, size, generator=generator) < 0.02).float()
        if _is_faster(lambda x=x: _sparse_product(x, weight), lambda x=x: x @ weight):  # type: ignore[misc]
            break
        rows *= 2
    return rows * size * size


def _is_faster(call: Timed, reference: Timed) -> bool:
    """Whether `call` takes less than `MARGIN` of the time of `reference`.

    The shortest of several alternating runs counts, as other work on the machine only adds time.
    """
    shortest = [math.inf, math.inf]
    for _ in range(_TURNS):
        for i, timed in enumerate((call, reference)):
            start = time.perf_counter()
            timed()
            shortest[i] = min(shortest[i], time.perf_counter() - start)
    return shortest[0] < MARGIN * shortest[1]
