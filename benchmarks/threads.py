"""From how many neuron-steps on a second thread pays: `python -m benchmarks.threads`.

Prints forward and backward times of one and of two threads [µs], for a light neuron (LIF with a
rational surrogate) and a heavy one (an exponential in backward). Least of many rounds; run it on an
idle machine, as a thread that waits for a core costs milliseconds.
"""

import time
from collections.abc import Callable

import torch

from nwavesdk.dynamics import LIF_PAGES
from nwavesdk.solvers import Problem, Spec
from nwavesdk.solvers.cpu import passes, serial
from nwavesdk.solvers.problem import ResultGradient
from nwavesdk.surrogate import Surrogate, fast_sigmoid, sigmoid

SIZES = [(2**i, 1, 128) for i in range(5, 12)] + [(2**i, 100, 64) for i in range(1, 7)]
SECONDS = 1.0  # per size and neuron


def passes_of(size: tuple[int, int, int], surrogate: Surrogate) -> list[Callable[[], object]]:
    """A forward and a backward pass."""
    B, _, N = size
    constants = (torch.full((N,), 0.9), torch.ones(N))
    spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=surrogate)
    problem = Problem(spec, 0.4 * torch.rand(size), (torch.zeros(B, N),), constants)
    solution = serial.forward_cpu(problem)
    grads = ResultGradient(torch.rand(size), None, (None,))
    return [
        lambda: serial.forward_cpu(problem),
        lambda: serial.backward_cpu(problem, solution, grads, learns_constants=False),
    ]


def least_times(size: tuple[int, int, int], surrogate: Surrogate) -> dict[int, list[float]]:
    """The least times [µs] of forward and backward, by the number of threads."""
    least = {1: [float("inf")] * 2, 2: [float("inf")] * 2}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for threads, times in least.items():
            passes._SMALL = 0 if threads == 2 else 2**62
            passes.cached_forward_pass.cache_clear()
            passes.cached_backward_pass.cache_clear()
            for i, run in enumerate(passes_of(size, surrogate)):
                run()
                for _ in range(20):
                    start = time.perf_counter()
                    run()
                    times[i] = min(times[i], 1e6 * (time.perf_counter() - start))
    return least


def main() -> None:
    """Print one line per size and neuron."""
    torch.set_num_threads(2)
    for B, T, N in SIZES:
        for name, surrogate in (("light", fast_sigmoid()), ("heavy", sigmoid())):
            times = zip(*least_times((B, T, N), surrogate).values(), strict=True)
            pairs = zip(("forward", "backward"), times, strict=True)
            text = ", ".join(f"{direction} {a:.1f} and {b:.1f}" for direction, (a, b) in pairs)
            print(f"{B * T * N:7} neuron-steps [{B}, {T}, {N}], {name}: {text}")


if __name__ == "__main__":
    main()
