"""What the rule between sparse and dense products costs, next to the faster one of each case.

Run: python -m benchmarks.products

For sizes of weights, rows and densities of spikes, it times the product without a graph, sparse and
dense, and forward and backward with each of them sparse or dense. It prints how much longer the
choices of `nwavesdk.solvers.sparse.limits` take than the fastest ones, and always dense products.
All run on one thread.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.instrument import prepare_timing
from nwavesdk.solvers.sparse.limits import SparseLimits
from nwavesdk.solvers.sparse.product import product_limits, product_within

WEIGHTS = [
    *((700, 256), (256, 256), (256, 20), (700, 20), (128, 128), (64, 10), (512, 512)),
    *((1024, 1024), (2312, 128), (100, 35), (16, 4), (1024, 10), (784, 100), (40, 64)),
]
ROWS = (1, 2, 8, 32, 64, 320, 6400)
DENSITIES = (0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4)
MAX_WORK = 2_000_000_000  # multiplications of a dense product
SECONDS = 0.012  # least time of each call of a case

Choice = tuple[bool, ...]


def shortest_times(calls: dict[Choice, Callable[[], object]]) -> dict[Choice, float]:
    """The shortest of several alternating runs of each call, in time of the processor [s]."""
    shortest = dict.fromkeys(calls, math.inf)
    end = time.perf_counter() + SECONDS * len(calls)
    turns = 0
    while turns < 6 or time.perf_counter() < end:
        turns += 1
        for choice, call in calls.items():
            start = time.process_time()
            call()
            shortest[choice] = min(shortest[choice], time.process_time() - start)
    return shortest


def losses(x: Tensor, weight: Tensor) -> Iterator[tuple[str, float]]:
    """The logarithm of time over the shortest time: of the rule, and of dense products."""
    count = int(x.count_nonzero())
    forward, with_graph, gradient = (count <= limit for limit in product_limits(x, weight))
    learned = weight.clone().requires_grad_()
    grad = torch.randn(len(x), weight.shape[1])

    def multiply(weight: Tensor, *is_sparse: bool) -> Tensor:
        limits = SparseLimits(*(x.numel() if sparse else -1 for sparse in is_sparse))
        return product_within(x, weight, limits, None, lambda: True)

    def learn(with_graph: bool, gradient: bool) -> None:
        multiply(learned, False, with_graph, gradient).backward(grad)

    without = {(s,): lambda s=s: multiply(weight, s, s, s) for s in (False, True)}
    training = {
        (s, g): lambda s=s, g=g: learn(s, g) for s, g in itertools.product((False, True), repeat=2)
    }
    for name, calls, choice in (
        ("forward", without, (forward,)),
        ("training", training, (with_graph, gradient)),
    ):
        times = shortest_times(calls)
        best = min(times.values())
        yield f"{name}, rule", math.log(times[choice] / best)
        yield f"{name}, dense", math.log(times[(False,) * len(choice)] / best)


def main() -> None:
    """Measure and print the table; see the description of this module."""
    prepare_timing()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    columns: dict[str, list[float]] = {}
    for (n_in, n_out), rows in itertools.product(WEIGHTS, ROWS):
        if rows * n_in * n_out > MAX_WORK:
            continue
        weight = torch.randn(n_in, n_out, generator=generator)
        noise = torch.rand(rows, n_in, generator=generator)
        for density in DENSITIES:
            for name, loss in losses((noise < density).float(), weight):
                columns.setdefault(name, []).append(loss)
    print(f"{'':16} {'mean':>6} {'largest':>8}   time over that of the fastest choice")
    for name, values in columns.items():
        print(f"{name:16} {math.exp(sum(values) / len(values)):6.3f} {math.exp(max(values)):8.2f}")


if __name__ == "__main__":
    main()
