"""A peer's layer, recurrent layer and training step, with and without torch.compile.

`torch.compile` unrolls a loop over time: with all 100 steps of SpikingJelly it took more than two
minutes. Therefore chunks of `CHUNK` steps are compiled and called one after the other, which takes
seconds for any T.
"""

import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.instrument import TrainingCase, spike_count_loss

CHUNK = 10

Call = Callable[[], Tensor]


def layer(peer: ModuleType, decay: float, x: Tensor, grad: Tensor, compiled: bool) -> Call:
    """Return forward and backward of one layer.

    Args:
        peer: The adapter.
        decay: Decay of the membrane.
        x: Input [B, T, N]; it is transposed if the peer needs time first.
        grad: Upstream gradient [B, T, N].
        compiled: Whether to use torch.compile.
    """
    run = over_time(peer, peer.sequence(decay), compiled)
    return _forward_and_backward(peer, run, x * scale_of(peer, decay), grad)


def neuron(peer: ModuleType, name: str, x: Tensor, grad: Tensor, compiled: bool) -> Call:
    """Return forward and backward of a layer of another neuron.

    Args:
        peer: The adapter.
        name: Name of the neuron in its `NEURONS`.
        x: Input [B, T, N] of our neuron.
        grad: Upstream gradient [B, T, N].
        compiled: Whether to use torch.compile.
    """
    of_peer = peer.NEURONS[name]()
    run = over_time(peer, of_peer.sequence, compiled)
    return _forward_and_backward(peer, run, of_peer.charge(x), grad)


def _forward_and_backward(
    peer: ModuleType, run: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor
) -> Call:
    x, grad = _in_layout_of(peer, x, grad)

    def call() -> Tensor:
        leaf = x.detach().requires_grad_()
        spikes = run(leaf)
        spikes.backward(grad)
        return spikes.detach()

    return call


def training(
    peer: ModuleType,
    decay: float,
    case: TrainingCase,
    x: Tensor,
    labels: Tensor,
    compiled: bool = False,
) -> Call:
    """Return a training step; both linear layers process all time steps together."""
    first = over_time(peer, peer.sequence(decay), compiled)
    second = over_time(peer, peer.sequence(decay), compiled)
    (x,) = _in_layout_of(peer, x)
    weights = [nn.Parameter(weight * scale_of(peer, decay)) for weight in case.weights()]
    optimizer = torch.optim.Adam(weights, 1e-4, fused=True)
    axis = 0 if peer.TIME_FIRST else 1

    def call() -> Tensor:
        optimizer.zero_grad()
        spikes = second(first(x @ weights[0]) @ weights[1])
        spike_count_loss(spikes, labels, axis).backward()
        optimizer.step()
        return spikes.detach()

    return call


def recurrent(
    peer: ModuleType, decay: float, x: Tensor, grad: Tensor, weights: Tensor, compiled: bool
) -> Call:
    """Return forward and backward of a recurrent layer.

    Each step is the peer's single step and a dense product.
    """
    scale = scale_of(peer, decay)
    return _recurrent(peer.step(decay), x * scale, grad, weights * scale, compiled)


def recurrent_neuron(
    peer: ModuleType, name: str, x: Tensor, grad: Tensor, weights: Tensor, compiled: bool
) -> Call:
    """Return forward and backward of a recurrent layer of another neuron; see `neuron`."""
    of_peer = peer.NEURONS[name]()
    charge = of_peer.charge
    return _recurrent(of_peer.step, charge(x), grad, charge(weights), compiled)


def _recurrent(step: Any, x: Tensor, grad: Tensor, weights: Tensor, compiled: bool) -> Call:
    x, grad = (t.transpose(0, 1).contiguous() for t in (x, grad))
    weight = nn.Parameter(weights)

    def chunk(x: Tensor, s: Tensor, state: Any, weight: Tensor) -> tuple[Tensor, Tensor, Any]:
        spikes = []
        for x_t in x.unbind(0):
            s, state = step(x_t + s @ weight, state)
            spikes.append(s)
        return torch.stack(spikes), s, state

    run = torch.compile(chunk, dynamic=False) if compiled else chunk

    def call() -> Tensor:
        leaf = x.detach().requires_grad_()
        weight.grad = None
        s = torch.zeros_like(x[0])
        state = None
        spikes = []
        for piece in leaf.split(CHUNK if compiled else len(x)):
            chunk_spikes, s, state = run(piece, s, state, weight)
            spikes.append(chunk_spikes)
        whole = torch.cat(spikes)
        whole.backward(grad)
        return whole.detach()

    return call


def both(
    make: Callable[[bool], Call], names: Sequence[str] = ("eager", "compiled")
) -> tuple[dict[str, Call], dict[str, Any]]:
    """Return the forms of a peer that run, and the times of each, or the error.

    The times are the first call [s] and the best of three more [ms].
    """
    description: dict[str, Any] = {}
    calls: dict[str, Call] = {}
    for name in names:
        torch._dynamo.reset()
        try:
            call = make(name == "compiled")
            first = _seconds(call)
            description[name] = {
                "first_call_s": first,
                "best_ms": 1e3 * min(_seconds(call) for _ in range(3)),
            }
        except Exception as error:  # whatever a peer raises, the other form is measured
            description[name] = {
                "error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            }
        else:
            calls[name] = call
    return calls, description


def batch_first(peer: ModuleType, spikes: Tensor) -> Tensor:
    """Return the peer's spikes as [B, T, N]."""
    return spikes.transpose(0, 1) if peer.TIME_FIRST else spikes


def over_time(peer: ModuleType, run: Any, compiled: bool) -> Callable[[Tensor], Tensor]:
    """Return a peer's run from rest; compiled, it goes over chunks of `CHUNK` steps."""
    if not compiled:
        return lambda x: run(x, None)[0]
    chunk = torch.compile(run, dynamic=False)
    axis = 0 if peer.TIME_FIRST else 1

    def chunks(x: Tensor) -> Tensor:
        state = None
        spikes = []
        for piece in x.split(CHUNK, axis):
            s, state = chunk(piece, state)
            spikes.append(s)
        return torch.cat(spikes, axis)

    return chunks


def _in_layout_of(peer: ModuleType, *tensors: Tensor) -> list[Tensor]:
    return [t.transpose(0, 1).contiguous() if peer.TIME_FIRST else t for t in tensors]


def scale_of(peer: ModuleType, decay: float) -> float:
    """Return the factor for the input of a peer's LIF neurons."""
    return peer.scale(decay) if hasattr(peer, "scale") else 1.0


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
