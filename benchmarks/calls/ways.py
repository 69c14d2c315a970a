"""The ways of calling a net: step by step without a gradient, step by step with backward, whole.

`STEP` is T steps under `no_grad`; the state goes on from call to call, as with live input. `LOOP`
is T steps from rest, a sum over all spikes, and backward. `WHOLE` is one call with the sequence,
and backward.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.instrument import Outcome

STEP, LOOP, WHOLE, LIVE = "step", "loop", "whole", "live"

Call = Callable[[], Outcome]


@dataclass(frozen=True)
class Net:
    """A net or a layer that is called.

    Attributes:
        reset: Go back to rest.
        forward: Spikes of one step [B, N], or of a sequence [B, T, N] if it takes sequences.
        parameters: Tensors whose gradients are computed, by name.
        trains_input: Whether the gradient of the input is computed, too.
    """

    reset: Callable[[], object]
    forward: Callable[[Tensor], Tensor]
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    trains_input: bool = False


def make_call(way: str, net: Net, x: Tensor, grad: Tensor | None = None) -> Call:
    """Return the call of a net in one of the ways.

    Args:
        way: One of the ways; `LIVE` is `STEP` with one recording.
        net: The net.
        x: Input [B, T, N].
        grad: Upstream gradient [B, T, N] of `WHOLE`.
    """
    if way in (STEP, LIVE):
        return _steps(net, x)
    return _loop(net, x) if way == LOOP else _whole(net, x, grad)


def _steps(net: Net, x: Tensor) -> Call:
    net.reset()

    @torch.no_grad()
    def call() -> Outcome:
        spikes = [net.forward(x[:, t]) for t in range(x.shape[1])]
        return Outcome(torch.stack(spikes, 1), {})

    return call


def _loop(net: Net, x: Tensor) -> Call:
    def call() -> Outcome:
        leaves = _leaves(net, x)
        # Slices of a leaf would each have a gradient of the size of the whole sequence.
        inputs = leaves["x"].unbind(1) if "x" in leaves else (x[:, t] for t in range(x.shape[1]))
        net.reset()
        total: Tensor | float = 0.0
        spikes = []
        for x_t in inputs:
            spk = net.forward(x_t)
            total = total + spk.sum()
            spikes.append(spk)
        assert isinstance(total, Tensor)
        torch.autograd.backward(total)
        with torch.no_grad():
            return _outcome(torch.stack(spikes, 1), leaves)

    return call


def _whole(net: Net, x: Tensor, grad: Tensor | None) -> Call:
    def call() -> Outcome:
        leaves = _leaves(net, x)
        net.reset()
        spikes = net.forward(leaves.get("x", x))
        spikes.backward(grad)
        return _outcome(spikes.detach(), leaves)

    return call


def _leaves(net: Net, x: Tensor) -> dict[str, Tensor]:
    """The tensors whose gradients are computed, without a gradient yet."""
    for parameter in net.parameters.values():
        parameter.grad = None
    inputs = {"x": x.detach().requires_grad_()} if net.trains_input else {}
    return {**inputs, **net.parameters}


def _outcome(spikes: Tensor, leaves: Mapping[str, Tensor]) -> Outcome:
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return Outcome(spikes, gradients)
