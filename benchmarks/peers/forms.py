"""A peer's layer, recurrent layer and training step, as it comes and through torch.compile; the faster one counts.

`torch.compile` unrolls a loop over time: SpikingJelly's 100 steps at once took it more than two minutes. So chunks of
`CHUNK` steps are compiled and called one after the other, which needs seconds, whatever T is.
"""

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.analysis.bench import TrainingCase, spike_count_loss

CHUNK = 10

Call = Callable[[], Tensor]


def layer(peer: ModuleType, decay: float, x: Tensor, grad: Tensor, compiled: bool) -> Call:
    """Forward and backward of one layer; `x` and `grad` are [B, T, N] and are laid out as the peer wants them."""
    run, (x, grad) = (
        _over_time(peer, decay, compiled),
        _laid_out(peer, x * _scale(peer, decay), grad),
    )

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
    """A training step with both linear layers over all time steps at once."""
    first, second = _over_time(peer, decay, compiled), _over_time(peer, decay, compiled)
    (x,), weights = (
        _laid_out(peer, x),
        [nn.Parameter(w * _scale(peer, decay)) for w in case.weights()],
    )
    optimizer, axis = torch.optim.Adam(weights, 1e-4, fused=True), 0 if peer.TIME_FIRST else 1

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
    """Forward and backward of a recurrent layer: the peer's single step and a dense product, step by step."""
    step = peer.step(decay)
    x, grad = (t.transpose(0, 1).contiguous() for t in (x * _scale(peer, decay), grad))
    weight = nn.Parameter(weights * _scale(peer, decay))

    def chunk(x: Tensor, s: Tensor, state: Any, weight: Tensor) -> tuple[Tensor, Tensor, Any]:
        spikes = []
        for x_t in x.unbind(0):
            s, state = step(x_t + s @ weight, state)
            spikes.append(s)
        return torch.stack(spikes), s, state

    run = torch.compile(chunk, dynamic=False) if compiled else chunk

    def call() -> Tensor:
        leaf, weight.grad = x.detach().requires_grad_(), None
        s, state, spikes = torch.zeros_like(x[0]), None, []
        for piece in leaf.split(CHUNK if compiled else len(x)):
            chunk_spikes, s, state = run(piece, s, state, weight)
            spikes.append(chunk_spikes)
        whole = torch.cat(spikes)
        whole.backward(grad)
        return whole.detach()

    return call


def fastest(make: Callable[[bool], Call], compile_too: bool) -> tuple[Call | None, dict[str, Any]]:
    """The faster of a peer's forms, and what each of them did: first call [s], best of three further ones [ms].

    Without `compile_too` there is nothing to choose, and nothing is tried.
    """
    if not compile_too:
        return make(False), {"form": "eager"}
    told: dict[str, Any] = {}
    calls: dict[str, Call] = {}
    for name in ("eager", "compiled"):
        torch._dynamo.reset()
        try:
            call = make(name == "compiled")
            first = _seconds(call)
            told[name] = {
                "first_call_s": first,
                "best_ms": 1e3 * min(_seconds(call) for _ in range(3)),
            }
        except Exception as error:  # whatever a peer raises, the table goes on without that form
            told[name] = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        else:
            calls[name] = call
    if not calls:
        return None, told
    best = min(calls, key=lambda name: told[name]["best_ms"])
    return calls[best], {"form": best, **told}


def batch_first(peer: ModuleType, spikes: Tensor) -> Tensor:
    """The peer's spikes as [B, T, N]."""
    return spikes.transpose(0, 1) if peer.TIME_FIRST else spikes


def _over_time(peer: ModuleType, decay: float, compiled: bool) -> Callable[[Tensor], Tensor]:
    run = peer.sequence(decay)
    if not compiled:
        return lambda x: run(x, None)[0]
    chunk, axis = torch.compile(run, dynamic=False), 0 if peer.TIME_FIRST else 1

    def chunks(x: Tensor) -> Tensor:
        state, spikes = None, []
        for piece in x.split(CHUNK, axis):
            s, state = chunk(piece, state)
            spikes.append(s)
        return torch.cat(spikes, axis)

    return chunks


def _laid_out(peer: ModuleType, *tensors: Tensor) -> list[Tensor]:
    return [t.transpose(0, 1).contiguous() if peer.TIME_FIRST else t for t in tensors]


def _scale(peer: ModuleType, decay: float) -> float:
    return peer.scale(decay) if hasattr(peer, "scale") else 1.0


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
