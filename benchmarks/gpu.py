"""Time forward and backward of a layer on a CUDA device.

Run: python -m benchmarks.gpu

It is compared with the torch reference, and with SpikingJelly if that is installed. Each row first
checks that spikes and gradients equal the reference; otherwise it has no time. Numbers are
medians in milliseconds of interleaved runs, each with the device synchronized before and after. The
first two runs of each, in which kernels are compiled, do not count. GB/s is the rate of the bytes
that must move (16 in forward, 12 in backward per neuron-step), and `copy` of a device copy of
the same tensor, the limit of this device. SpikingJelly runs its multi-step LIF with the same decay
and reset on `[T, B, N]`, on the first of its backends that works.
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
    """Run forward and backward as users write it."""
    leaf = x.detach().requires_grad_()
    prepare_net(layer)
    spk, _ = layer(leaf)
    spk.backward(grad)
    assert leaf.grad is not None
    return spk.detach(), leaf.grad


def spikingjelly(decay: float, x: Tensor, grad: Tensor) -> tuple[str, Callable[[], None]] | None:
    """Return the first backend of SpikingJelly's LIFNode that runs here, with a call, or None."""
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate
    except ImportError:
        return None
    x, grad = x.transpose(0, 1).contiguous(), grad.transpose(0, 1).contiguous()
    for backend in ("triton", "cupy", "torch"):
        try:
            node = neuron.LIFNode(
                tau=1 / (1 - decay),
                decay_input=False,
                v_threshold=1.0,
                v_reset=None,
                detach_reset=True,
                surrogate_function=surrogate.ATan(alpha=2.0),
                step_mode="m",
                backend=backend,
            )
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
    """Return the median time of each call [ms], interleaved, with the device synchronized."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(RUNS + 2):
        for name, call in calls.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            torch.cuda.synchronize()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def measure_row(shape: tuple[int, int, int]) -> str:
    """Return a row of the table."""
    torch.manual_seed(0)
    x = 0.4 * torch.rand(shape, device="cuda")
    grad = torch.randn(shape, device="cuda")
    ours, reference = (
        LIFLayer(shape[2], 10e-3, spike_grad=atan(), solver=solver).cuda()
        for solver in ("serial", "reference")
    )
    spikes, gradient = step(ours, x, grad)
    expected_spikes, expected = step(reference, x, grad)
    same_gradient = torch.allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    if not torch.equal(spikes, expected_spikes) or not same_gradient:
        return "differs from the reference: no time"
    del spikes, gradient, expected_spikes, expected
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: step(ours, x, grad),
        "reference": lambda: step(reference, x, grad),
        "copy": x.clone,
    }
    peer = spikingjelly(ours.constants()[0][0].item(), x, grad)
    if peer is not None:
        calls["peer"] = peer[1]
    ms = medians(calls)
    rate = 28 * x.numel() / ms["ours"] / 1e6
    copy = 8 * x.numel() / ms["copy"] / 1e6
    peer_text = "-" if peer is None else f"{ms['peer']:.2f} ({peer[0]})"
    return f"{ms['ours']:9.3f} {ms['reference']:10.2f} {rate:7.0f} {copy:7.0f}   {peer_text}"


def main() -> None:
    """Print the table.

    Raises:
        SystemExit: If there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise SystemExit(
            "benchmarks.gpu needs a CUDA device, and torch sees none: run it on a machine with "
            "one, with a CUDA build of torch. `python -m benchmarks.run` measures on the CPU."
        )
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, ms, medians of {RUNS}")
    print(f"{'[B, T, N]':>20} {'ours':>9} {'reference':>10} {'GB/s':>7} {'copy':>7}   SpikingJelly")
    for shape in SHAPES:
        print(f"{shape!s:>20} {measure_row(shape)}")


if __name__ == "__main__":
    main()
