"""The same nets in other libraries, built of their multi-step neurons and torch's modules.

The weights do not see time, so they process all time steps together, which is the fastest way in
each of these libraries.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from benchmarks.instrument import spike_count_loss
from benchmarks.nets.cases import TAU, ConvNet, Net, RecurrentNet
from benchmarks.peers import PeerNeuron, decay_of, plain
from benchmarks.peers.forms import CHUNK, over_time, scale_of

FORMS = ("eager", "channels-last", "compiled")

Run = Callable[[Tensor], Tensor]


def forms_of(net: Net) -> tuple[str, ...]:
    """The forms in which peers run a net."""
    return FORMS if isinstance(net, ConvNet) else ("eager", "compiled")


def recurrent_peers(
    peers: dict[str, ModuleType], nearest: dict[str, str]
) -> dict[str, tuple[PeerNeuron, str]]:
    """For each peer its nearest neuron of two states, and plain torch's adLIF."""
    neurons = {name: (peer.NEURONS[nearest[name]](), nearest[name]) for name, peer in peers.items()}
    return {**neurons, "torch": (plain.NEURONS["AdLIFLayer"](), "AdLIFLayer")}


def conv_step(
    peer: ModuleType, net: ConvNet, x: Tensor, labels: Tensor, form: str
) -> Callable[[], Tensor]:
    """A training step of the conv net with the neurons of a peer.

    Args:
        peer: The adapter.
        net: The net.
        x: Frames [B, T, 2, H, W].
        labels: Labels [B].
        form: One of `FORMS`.
    """
    decay = decay_of(TAU)
    time = 0 if peer.TIME_FIRST else 1
    weights = [nn.Parameter(w * scale_of(peer, decay)) for w in net.weights()]
    runs = [over_time(peer, peer.sequence(decay), form == "compiled") for _ in weights]
    x = x.transpose(0, 1).contiguous() if peer.TIME_FIRST else x
    leading = x.shape[:2]
    frames = x.flatten(0, 1)
    if form == "channels-last":
        frames = frames.contiguous(memory_format=torch.channels_last)

    def fold(y: Tensor, run: Run) -> Tensor:
        spikes = run(y.unflatten(0, leading)).flatten(0, 1)
        if form != "channels-last" or spikes.ndim != 4:
            return spikes
        return spikes.contiguous(memory_format=torch.channels_last)

    def call() -> Tensor:
        for weight in weights:
            weight.grad = None
        y = max_pool2d(fold(conv2d(frames, weights[0]), runs[0]), 2)
        y = avg_pool2d(fold(conv2d(y, weights[1]), runs[1]), 2)
        y = fold(y.flatten(1) @ weights[2].t(), runs[2]).unflatten(0, leading)
        spike_count_loss(y, labels, time).backward()
        return y.detach()

    return call


def recurrent_step(
    neuron: PeerNeuron, net: RecurrentNet, x: Tensor, labels: Tensor, form: str
) -> Callable[[], Tensor]:
    """A training step of the recurrent net with another neuron; time is first for every peer.

    Args:
        neuron: The neuron of a peer.
        net: The net.
        x: Spikes [B, T, N_in].
        labels: Labels [B].
        form: `"eager"` or `"compiled"`.
    """
    weights = [nn.Parameter(neuron.charge(weight)) for weight in net.weights()]
    layers = [_recurrent_layer(neuron, form == "compiled") for _ in net.sizes[1:]]
    x = x.transpose(0, 1).contiguous()

    def call() -> Tensor:
        for weight in weights:
            weight.grad = None
        y = x
        for k, layer in enumerate(layers):
            recurrent = weights[2 * k + 1] if 2 * k + 1 < len(weights) else None
            y = layer(y @ weights[2 * k], recurrent)
        spike_count_loss(y, labels, 0).backward()
        return y.detach()

    return call


def _recurrent_layer(neuron: PeerNeuron, compiled: bool) -> Callable[..., Tensor]:
    """A layer over [T, B, N] as a loop over the peer's step; compiled in chunks of steps."""
    step: Any = neuron.step

    def chunk(
        x: Tensor, s: Tensor, state: Any, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Any]:
        spikes = []
        for x_t in x.unbind(0):
            s, state = step(x_t if weight is None else x_t + s @ weight, state)
            spikes.append(s)
        return torch.stack(spikes), s, state

    run = torch.compile(chunk, dynamic=False) if compiled else chunk

    def layer(x: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None and step is None:
            return neuron.sequence(x, None)[0]
        s, state = torch.zeros_like(x[0]), None
        parts = []
        for piece in x.split(CHUNK if compiled else len(x)):
            spikes, s, state = run(piece, s, state, weight)
            parts.append(spikes)
        return torch.cat(parts)

    return layer


def batch_first(spikes: Tensor, net: Net) -> Tensor:
    """Output spikes [B, T, N] of a peer, whatever its order is."""
    return spikes if spikes.shape[:2] == (net.B, net.T) else spikes.transpose(0, 1)
