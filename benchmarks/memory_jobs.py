"""Memory, measured in a fresh process: what a layer saves, and the peak of a training step."""

import contextlib
import ctypes
import gc
import math
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import cases
from benchmarks.instrument import (
    LayerCase,
    TrainingCase,
    prepare_timing,
    spike_count_loss,
)
from benchmarks.nets.cases import NETS, ConvNet, training_step
from benchmarks.nets.peers import conv_step, recurrent_peers, recurrent_step
from benchmarks.peers import forms, installed
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, detach_state, prepare_net

DECAY = math.exp(-1 / cases.DECAY_TAU)


def kept(contender: str, shape: tuple[int, int, int]) -> dict[str, float]:
    """Return bytes per neuron-step of one layer, after forward and at the peak of backward.

    `saved` counts the tensors that autograd saved, each storage once. `kept` excludes the spikes,
    which the next layer saves anyway for the gradient of its weights. `held` and `peak` are
    resident memory after forward and at its maximum, relative to that before the call, outputs
    included.
    """
    prepare_timing()
    forward, time_first = _forward(contender)
    for size in ((2, 20, 8), tuple(shape)):  # the small one loads all code
        x, grad = LayerCase(size).draw_data()
        if time_first:
            x, grad = x.transpose(0, 1).contiguous(), grad.transpose(0, 1).contiguous()
        leaf, storages = x.requires_grad_(), {}

        def note(tensor: Tensor, storages: dict[int, int] = storages) -> Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            outputs = forward(leaf)
        saved = sum(storages.values())
        without_spikes = saved - storages.get(outputs[0].untyped_storage().data_ptr(), 0)
        del outputs
        # Neurons of some peers hold the graph of their last call: build a new one.
        forward, _ = _forward(contender)
        before = _settled_rss()
        outputs = forward(leaf)
        after = _settled_rss(reset=False)
        outputs[0].backward(grad)
        highest = _peak()
        del outputs
    per = 1 / x.numel()
    sizes = {
        "saved": saved,
        "kept": without_spikes,
        "held": after - before,
        "peak": highest - before,
    }
    return {name: value * per for name, value in sizes.items()}


def peak(
    contender: str, T: int, B: int, sizes: tuple[int, int, int], chunk: int
) -> dict[str, float]:
    """Return the peak MiB of a training step above parameters, input and labels."""
    prepare_timing()
    for steps in (2 * chunk, T):  # the small one creates kernels and optimizer state
        case = TrainingCase(B, steps, tuple(sizes))
        x, labels = case.draw_data()
        step = _ours(contender, case, x, labels, chunk) if contender.startswith("ours") else None
        if step is None:
            step = forms.training(installed()[0][contender], DECAY, case, x, labels)
        if steps != T or 2 * chunk == T:
            step()
    before = _settled_rss()
    step()
    return {"mib": (_peak() - before) / 2**20}


def net(contender: str, net: str, chunk: int) -> dict[str, float]:
    """Return the peak MiB of a training step of a whole net above weights, input and labels."""
    prepare_timing()
    case = NETS[net]
    small = replace(case, B=2)  # loads all code
    for step in (_net_step(contender, small, chunk), _net_step(contender, case, chunk)):
        before = _settled_rss()
        step()
    return {"mib": (_peak() - before) / 2**20}


def _net_step(contender: str, case: Any, chunk: int) -> Callable[[], object]:
    x, labels = case.draw_data()
    if contender.startswith("ours"):
        options = {"checkpoint": chunk} if contender == "ours, checkpoint" else {}
        return training_step(case.build_net(**options), x, labels)
    name, form = contender.split(", ")
    peers, _ = installed()
    if isinstance(case, ConvNet):
        return conv_step(peers[name], case, x, labels, form)
    neuron, _ = recurrent_peers(peers, cases.NEAREST_RECURRENT)[name]
    return recurrent_step(neuron, case, x, labels, form)


def _ours(contender: str, case: TrainingCase, x: Tensor, labels: Tensor, chunk: int) -> Any:
    N_in, hidden, N_out = case.sizes
    options = {"checkpoint": chunk} if contender == "ours, checkpoint" else {}
    net = SpikingSequential(
        LIFSynapse(N_in, hidden),
        LIFLayer(hidden, 20e-3),
        LIFSynapse(hidden, N_out),
        LIFLayer(N_out, 20e-3),
        **options,
    )
    synapses = [module for module in net if isinstance(module, LIFSynapse)]
    for synapse, weight in zip(synapses, case.weights(), strict=True):
        synapse.weight.data.copy_(weight)
    optimizer = torch.optim.Adam(net.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        prepare_net(net)
        for piece in x.split(chunk, 1) if contender == "ours, streamed" else (x,):
            detach_state(net)
            spike_count_loss(net(piece)[0], labels).backward()
        optimizer.step()

    return step


def _forward(contender: str) -> tuple[Callable[[Tensor], tuple[Tensor, ...]], bool]:
    """Return the forward pass of one layer, and whether its input has time first."""
    if contender != "ours":
        peer = installed()[0][contender]
        sequence = peer.sequence(DECAY)
        return lambda x: (sequence(x, None)[0],), peer.TIME_FIRST

    def forward(x: Tensor) -> tuple[Tensor, ...]:
        layer = LIFLayer(x.shape[2], 20e-3)
        prepare_net(layer)
        return layer(x)

    return forward, False


def _settled_rss(reset: bool = True) -> int:
    """Return the resident bytes; `reset` restarts the measurement of the peak."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # so that resident memory is memory in use
    status = Path("/proc/self/status")
    if not status.is_file():
        return _peak()
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _field("VmRSS")


def _peak() -> int:
    if Path("/proc/self/status").is_file():
        return _field("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _field(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(text.split(f"{name}:")[1].split()[0])
