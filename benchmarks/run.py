"""Time `layer(cur)`, forward and backward, against the torch reference and against snnTorch where it is installed.

Run: python -m benchmarks.run

Each row first checks that spikes and gradients are the reference's; a row that differs prints no time. Figures are
medians in milliseconds of interleaved runs in this one process, so they are comparable with each other and with nothing
else. The last column is the rate at which the bytes that must move (12 forward, 16 backward per neuron-step) moved.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from nwavesdk.layers import LIFLayer, prepare_net

SHAPES = [(64, 100, 20), (64, 100, 128), (64, 100, 512), (64, 250, 128)]
RUNS = 7


def step(layer: LIFLayer, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """One call as users write it, and its backward pass."""
    leaf = x.detach().requires_grad_()
    prepare_net(layer)
    spk, _ = layer(leaf)
    spk.backward(grad)
    assert leaf.grad is not None
    return spk.detach(), leaf.grad


def rival(beta: float) -> Callable[[Tensor, Tensor], object] | None:
    """The Leaky of snnTorch in its loop over time, or None."""
    try:
        import snntorch
    except ImportError:
        return None
    neuron = snntorch.Leaky(beta, spike_grad=snntorch.surrogate.fast_sigmoid(25), reset_delay=False)

    def run(x: Tensor, grad: Tensor) -> None:
        leaf, mem, spikes = x.detach().requires_grad_(), neuron.init_leaky(), []
        for t in range(x.shape[1]):
            s, mem = neuron(leaf[:, t], mem)
            spikes.append(s)
        torch.stack(spikes, 1).backward(grad)

    return run


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median time of each call [ms], after a warm-up, in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(RUNS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    """Print the table."""
    torch.set_num_threads(min(2, torch.get_num_threads()))
    print(f"{'[B, T, N]':>16} {'ours':>8} {'reference':>10} {'snnTorch':>9} {'GB/s':>6}   (ms, median of {RUNS})")
    for shape in SHAPES:
        torch.manual_seed(0)
        x, grad = 0.4 * torch.rand(shape), torch.randn(shape)
        ours, reference = LIFLayer(shape[2], 10e-3), LIFLayer(shape[2], 10e-3, solver="reference")
        mine, theirs = step(ours, x, grad), step(reference, x, grad)
        if not torch.equal(mine[0], theirs[0]) or not torch.allclose(mine[1], theirs[1], rtol=1e-4, atol=1e-5):
            print(f"{shape!s:>16} differs from the reference: no time is told")
            continue
        calls: dict[str, Callable[[], object]] = {
            "ours": lambda x=x, g=grad, layer=ours: step(layer, x, g),  # type: ignore[misc]
            "reference": lambda x=x, g=grad, layer=reference: step(layer, x, g),  # type: ignore[misc]
        }
        other = rival(ours.constants()[0][0].item())
        if other is not None:
            calls["snnTorch"] = lambda x=x, g=grad, other=other: other(x, g)  # type: ignore[misc]
        ms = medians(calls)
        rate = 28 * x.numel() / ms["ours"] / 1e6
        told = f"{ms['snnTorch']:9.2f}" if "snnTorch" in ms else f"{'-':>9}"
        print(f"{shape!s:>16} {ms['ours']:8.2f} {ms['reference']:10.2f} {told} {rate:6.1f}")


if __name__ == "__main__":
    main()
