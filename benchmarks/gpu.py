"""Time `layer(cur)` on a CUDA device, forward and backward, against the torch reference and SpikingJelly if installed.

Run: python -m benchmarks.gpu

Each row first checks that spikes and gradients are the reference's; a row that differs prints no time. Figures are
medians in milliseconds of runs in turn, each with the device synchronized before and after; the first two runs of each,
in which kernels are compiled, do not count. GB/s is the rate at which the bytes that must move (16 forward, 12 backward
per neuron-step) moved, and `copy` that of a device copy of the same tensor, the limit on this device. SpikingJelly runs
its multi-step LIF of the same decay and reset on `[T, B, N]`, on the first of its backends that works.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.surrogate import atan

SHAPES = [
    (1, 8, 1 << 20),
    (1, 128, 1 << 20),
    (64, 100, 20),
    (64, 100, 512),
    (64, 1000, 512),
    (8, 4096, 512),
]
RUNS = 9


def step(layer: LIFLayer, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """One call as users write it, and its backward pass."""
    leaf = x.detach().requires_grad_()
    prepare_net(layer)
    spk, _ = layer(leaf)
    spk.backward(grad)
    assert leaf.grad is not None
    return spk.detach(), leaf.grad


def spikingjelly(decay: float, x: Tensor, grad: Tensor) -> tuple[str, Callable[[], None]] | None:
    """The first backend of SpikingJelly's LIFNode that runs here, and a call of it; None without one."""
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate
    except ImportError:
        return None
    x, grad = x.transpose(0, 1).contiguous(), grad.transpose(0, 1).contiguous()
    for backend in ("triton", "cupy", "torch"):
        try:
            node = neuron.LIFNode(
                tau=1 / (1 - decay), decay_input=False, v_threshold=1.0, v_reset=None, detach_reset=True,
                surrogate_function=surrogate.ATan(alpha=2.0), step_mode="m", backend=backend,
            )  # fmt: skip
            _pass(functional.reset_net, node, x, grad)
        except Exception as error:
            print(f"  SpikingJelly's backend {backend} does not run here: {error!r}")
        else:
            return backend, partial(_pass, functional.reset_net, node, x, grad)
    return None


def _pass(
    reset: Callable[[torch.nn.Module], None], node: torch.nn.Module, x: Tensor, grad: Tensor
) -> None:
    reset(node)
    node(x.detach().requires_grad_()).backward(grad)


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median time of each call [ms], in turn, the device synchronized."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(RUNS + 2):
        for name, call in calls.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            torch.cuda.synchronize()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def measure(shape: tuple[int, int, int]) -> str:
    """A row of the table."""
    torch.manual_seed(0)
    x, grad = 0.4 * torch.rand(shape, device="cuda"), torch.randn(shape, device="cuda")
    ours, reference = (
        LIFLayer(shape[2], 10e-3, spike_grad=atan(), solver=solver).cuda()
        for solver in ("serial", "reference")
    )
    mine, theirs = step(ours, x, grad), step(reference, x, grad)
    if not torch.equal(mine[0], theirs[0]) or not torch.allclose(
        mine[1], theirs[1], rtol=1e-4, atol=1e-5
    ):
        return "differs from the reference: no time is told"
    del mine, theirs
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: step(ours, x, grad),
        "reference": lambda: step(reference, x, grad),
        "copy": x.clone,
    }
    peer = spikingjelly(ours.constants()[0][0].item(), x, grad)
    if peer is not None:
        calls["peer"] = peer[1]
    ms = medians(calls)
    rate, copy = 28 * x.numel() / ms["ours"] / 1e6, 8 * x.numel() / ms["copy"] / 1e6
    told = "-" if peer is None else f"{ms['peer']:.2f} ({peer[0]})"
    return f"{ms['ours']:9.3f} {ms['reference']:10.2f} {rate:7.0f} {copy:7.0f}   {told}"


def main() -> None:
    """Print the table.

    Raises:
        SystemExit: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise SystemExit(
            "benchmarks.gpu measures on a CUDA device, and torch sees none here: run it on a machine with one and "
            "with a CUDA build of torch; `python -m benchmarks.run` measures on the CPU."
        )
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, ms, medians of {RUNS}")
    print(f"{'[B, T, N]':>20} {'ours':>9} {'reference':>10} {'GB/s':>7} {'copy':>7}   SpikingJelly")
    for shape in SHAPES:
        print(f"{shape!s:>20} {measure(shape)}")


if __name__ == "__main__":
    main()
