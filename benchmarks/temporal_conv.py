"""`TemporalConv` next to torch's convolutions with the transposes and padding that they need.

Run: python -m benchmarks.temporal_conv

Forward and backward of one sequence: the least of many alternating runs on one thread. A hidden
layer has a gradient for its input, too. Outputs and gradients of both forms are compared first.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nwavesdk.layers import TemporalConv
from nwavesdk.net import streaming

__all__ = ["main"]

# Batch, steps, channels, feature sizes, and the convolution.
CASES: dict[str, tuple[Any, ...]] = {
    "112 -> 48, 5 taps, every third": (64, 98, 112, (), (48, 5), {"dilation": 3}),
    "48 -> 48, 3 taps, every eighth": (64, 98, 48, (), (48, 3), {"dilation": 8}),
    "128 -> 128, 5 taps": (64, 100, 128, (), (128, 5), {}),
    "1 x 40 -> 16 x 18, 3 x 5": (64, 98, 1, (40,), (16, 3), {"kernel": 5, "stride": 2}),
    "16 x 18 -> 16 x 7, 3 x 5": (64, 98, 16, (18,), (16, 3), {"kernel": 5, "stride": 2}),
    "12 x 16 x 16 -> 16 x 14 x 14, 3 x 3 x 3": (8, 20, 12, (16, 16), (16, 3), {"kernel": (3, 3)}),
}
DENSITY = 0.05


def convolve_channels_first(conv: TemporalConv, x: Tensor) -> Tensor:
    """The same by torch, as its documentation suggests: channels in front, then padding."""
    axes = len(conv.kernel)
    convolve: Callable[..., Tensor] = [functional.conv1d, functional.conv2d, functional.conv3d][
        axes
    ]
    padded = functional.pad(x.transpose(1, 2), (*[0, 0] * axes, conv.past_steps, 0))
    y = convolve(
        padded,
        conv.weight,
        stride=(1, *conv.stride),
        dilation=(conv.dilation, *[1] * axes),
    )
    # Neuron layers take [B, T, ...], contiguous.
    return y.transpose(1, 2).contiguous()


def put_past_in_front(conv: TemporalConv, x: Tensor) -> Tensor:
    """Silence and the sequence, [B, T + past, C], which is channels-last of [B, C, T + past]."""
    return torch.cat([x.new_zeros(len(x), conv.past_steps, x.shape[2]), x], 1)


def convolve_transposed(conv: TemporalConv, x: Tensor) -> Tensor:
    """`conv1d` on a view of the sequence."""
    channels = put_past_in_front(conv, x).transpose(1, 2)
    return functional.conv1d(channels, conv.weight, dilation=conv.dilation).transpose(1, 2)


def convolve_column(conv: TemporalConv, x: Tensor) -> Tensor:
    """`conv2d` with time as the height of an image of width 1."""
    image = put_past_in_front(conv, x).transpose(1, 2).unsqueeze(3)
    y = functional.conv2d(image, conv.weight.unsqueeze(3), dilation=(conv.dilation, 1))
    return y.squeeze(3).transpose(1, 2)


def multiply_all_taps(conv: TemporalConv, x: Tensor) -> Tensor:
    """One product with the inputs of all taps next to each other."""
    padded = put_past_in_front(conv, x)
    seen = [padded[:, k * conv.dilation :][:, : x.shape[1]] for k in range(conv.taps)]
    return torch.cat(seen, 2) @ conv.weight.permute(2, 1, 0).flatten(0, 1)


Form = Callable[[TemporalConv, Tensor], Tensor]
FORMS: dict[str, Form] = {
    "TemporalConv": lambda conv, x: conv(x),
    "channels first": convolve_channels_first,
}
# Other ways to convolve over time alone; see `docs/decisions/layers.md`.
WAYS = FORMS | {
    "conv1d, transposed": convolve_transposed,
    "conv2d, one column": convolve_column,
    "one product": multiply_all_taps,
}


def run(form: Callable[[], Tensor], upstream: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Output and gradients of one pass."""
    y = form()
    # A gradient comes in the layout of what it is for.
    upstream = torch.empty_like(y).copy_(upstream)
    return [y, *torch.autograd.grad(y, leaves, upstream)]


def measure(
    name: str, needs_input_gradient: bool, rounds: int, forms: dict[str, Form] = FORMS
) -> dict[str, float]:
    """Time of each form [ms]."""
    B, T, C, sizes, (channels, taps), options = CASES[name]
    torch.manual_seed(0)
    conv = TemporalConv(C, channels, taps, **options)
    x = (torch.rand(B, T, C, *sizes) < DENSITY).float().requires_grad_(needs_input_gradient)
    leaves = [conv.weight, *([x] if needs_input_gradient else [])]
    calls = {form_name: partial(form, conv, x) for form_name, form in forms.items()}
    upstream = torch.randn_like(conv(x))
    expected, *others = (run(call, upstream, leaves) for call in calls.values())
    for tensors in others:
        for mine, theirs in zip(expected, tensors, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for form_name, call in calls.items():
            start = time.process_time()
            run(call, upstream, leaves)
            best[form_name] = min(best[form_name], time.process_time() - start)
    return {form_name: 1e3 * seconds for form_name, seconds in best.items()}


def measure_step(name: str, rounds: int) -> float:
    """Time of one step of one recording, without gradient, by the state [µs]."""
    _, _, C, sizes, (channels, taps), options = CASES[name]
    conv = TemporalConv(C, channels, taps, **options)
    x = (torch.rand(rounds, 1, C, *sizes) < DENSITY).float()
    best = float("inf")
    with torch.no_grad(), streaming(conv):
        for step in x:
            start = time.process_time()
            conv(step)
            best = min(best, time.process_time() - start)
    return 1e6 * best


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"| convolution over time alone, hidden layer [ms] | {' | '.join(WAYS)} |")
    for name, case in CASES.items():
        if not case[3]:
            times = measure(name, True, rounds, WAYS)
            print(f"| {name} | {' | '.join(f'{value:.1f}' for value in times.values())} |")
    print(
        "\n| convolution | first layer [ms] | by torch | hidden layer [ms] | by torch | step [µs] |"
    )
    for name in CASES:
        first, hidden = (measure(name, needs, rounds) for needs in (False, True))
        cells = [f"{value:.1f}" for value in (*first.values(), *hidden.values())]
        cells.append(f"{measure_step(name, 20 * rounds):.0f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
