"""Measure the crossover table of this machine.

A crossover is the density of spikes at which a sparse product takes as long as the dense one.
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import keep_large_blocks
from nwavesdk.solvers.sparse.crossover import CrossoverTable, Grid
from nwavesdk.solvers.sparse.few_rows import FEW_ROWS, gather_few_gradient_rows
from nwavesdk.solvers.sparse.many_rows import find_nonzeros, gather_weight_gradient
from nwavesdk.solvers.sparse.product import product_limits, product_within

__all__ = ["INPUTS", "OUTPUTS", "ROWS", "tune"]

ROWS = (1, 4, 16, 64, 6400)
INPUTS = (16, 64, 128, 256, 1024, 4096)
OUTPUTS = (4, 16, 64, 128, 256, 1024)
MARGIN = 0.8  # share of the dense product's time that the sparse one must stay below: times vary
LOWEST = 1e-3  # densities that are tried; above the highest the dense product is always taken
HIGHEST = 0.5
_VALUES = 1 << 22  # most values of the input
_TURNS = 8  # least runs of each product per comparison
_SECONDS = 4e-3  # least time of a comparison: short products run more often

Timed = Callable[[], object]
Pair = Callable[[float], tuple[Timed, Timed]]


def tune(progress: Callable[[float], object] = bool) -> CrossoverTable:
    """Measure on this machine, with the number of threads that torch has now.

    Args:
        progress: Called with the share of the work that is done, from 0 to 1.

    Returns:
        A table for spikes, in float32.
    """
    keep_large_blocks()
    generator = torch.Generator().manual_seed(0)
    graph_seconds = _measure_graph()
    sizes = list(itertools.product(ROWS, INPUTS, OUTPUTS))
    crossovers = []
    for place in sizes:
        crossovers.append(_measure_crossovers(*place, graph_seconds, generator))
        progress(len(crossovers) / len(sizes))
    # From one list in the order of `sizes` to one grid [rows, inputs, outputs] for each product.
    forward, with_graph, gradient = map(_nested, zip(*crossovers, strict=True))
    return CrossoverTable(ROWS, INPUTS, OUTPUTS, forward, with_graph, gradient, source="measured")


def _nested(densities: Sequence[float]) -> Grid:
    rest = iter(densities)
    return tuple(tuple(tuple(next(rest) for _ in OUTPUTS) for _ in INPUTS) for _ in ROWS)


@torch.no_grad()
def _measure_crossovers(
    rows: int, n_in: int, n_out: int, graph_seconds: float, generator: torch.Generator
) -> tuple[float, float, float]:
    """The crossovers of the product without and with a graph, and of the weight's gradient.

    The gradient comes on top of a sparse product, so it needs no other graph.
    """
    rows = min(rows, _VALUES // n_in)
    weight = torch.randn(n_in, n_out, generator=generator)
    grad = torch.randn(rows, n_out, generator=generator)
    noise = torch.rand(rows, n_in, generator=generator)

    def products(density: float) -> tuple[Timed, Timed]:
        x = (noise < density).float()
        return lambda: _sparse_product(x, weight), lambda: x @ weight

    def gradients(density: float) -> tuple[Timed, Timed]:
        x = (noise < density).float()
        if rows <= FEW_ROWS:
            return lambda: gather_few_gradient_rows(x, grad), lambda: x.t() @ grad
        active = find_nonzeros(x, x.numel())
        assert active is not None
        return lambda: gather_weight_gradient(active, grad, n_in), lambda: x.t() @ grad

    return (
        _bisect_crossover(products),
        _bisect_crossover(products, graph_seconds),
        _bisect_crossover(gradients),
    )


def _sparse_product(x: Tensor, weight: Tensor) -> Tensor:
    """The product as a synapse calls it, at any density."""
    always = product_limits(x, weight, always=True)
    return product_within(x, weight, always, None, lambda: True)


def _measure_graph() -> float:
    """How much longer forward and backward take where the product is a Python function [s]."""
    weight = torch.ones(4, 4, requires_grad=True)
    x = torch.ones(1, 4, requires_grad=True)
    grad = torch.ones(1, 4)
    always = product_limits(x, weight, always=True)

    def run(product: Callable[[], Tensor]) -> None:
        torch.autograd.grad(product(), (x, weight), grad)

    def sparse() -> Tensor:
        return product_within(x, weight, always, None, lambda: True)

    run(sparse)
    sparse_seconds, dense_seconds = _shortest(lambda: run(sparse), lambda: run(lambda: x @ weight))
    return max(0.0, sparse_seconds - dense_seconds)


def _bisect_crossover(pair: Pair, extra: float = 0.0) -> float:
    """The highest density at which the first call of the pair is faster; 0 if at none.

    It bisects the logarithm of the density.

    Args:
        pair: The calls to compare, for a density.
        extra: Time that the first call needs in addition [s].
    """
    if not _is_faster(*pair(LOWEST), extra):
        return 0.0
    if _is_faster(*pair(HIGHEST), extra):
        return HIGHEST
    low = math.log(LOWEST)
    high = math.log(HIGHEST)
    for _ in range(6):
        middle = (low + high) / 2
        if _is_faster(*pair(math.exp(middle)), extra):
            low = middle
        else:
            high = middle
    return float(f"{math.exp(low):.2g}")


def _is_faster(call: Timed, reference: Timed, extra: float = 0.0) -> bool:
    """Whether `call` takes less than `MARGIN` of the time of `reference`."""
    seconds, reference_seconds = _shortest(call, reference)
    return seconds + extra < MARGIN * reference_seconds


def _shortest(*calls: Timed) -> list[float]:
    """The shortest of several alternating runs: other work on the machine only adds time [s]."""
    shortest = [math.inf] * len(calls)
    begin = time.perf_counter()
    turns = 0
    while turns < _TURNS or time.perf_counter() - begin < _SECONDS:
        turns += 1
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            shortest[i] = min(shortest[i], time.perf_counter() - start)
    return shortest
