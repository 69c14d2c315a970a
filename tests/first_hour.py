"""The lines of a first hour, for a type checker, which must reject those that are ignored here.

mypy checks this file with `src`, and reports an ignored line without an error. It is never run.
"""

from typing import assert_type

import torch
from torch import Tensor

import nwavesdk as nw
from nwavesdk.layers import LIFLayer, NeuronLayer, Positive, held, neuron, spike


@neuron
def IntegrateLayer(x: Tensor, v: Tensor, *, threshold: Positive = 1.0) -> tuple[Tensor, Tensor]:
    s = spike(v + x - threshold)
    return s, v + x - threshold * held(s)


def first_hour() -> None:
    own: NeuronLayer = IntegrateLayer(4, threshold=0.5, learn="threshold", dt=1e-3)
    layer = nw.LIFLayer(4, taus=20e-3, spike_grad=nw.surrogate.atan(alpha=2.0))
    assert_type(layer, LIFLayer)
    net = nw.SpikingSequential(nw.LIFSynapse(3, 4), layer, own)
    nw.prepare_net(net)
    spk, mem = net(torch.zeros(2, 5, 3))
    assert_type(nw.topology_loss(net), Tensor)
    assert_type(nw.metrics.accuracy(spk, torch.zeros(2)), Tensor)
    nw.init.fluct_init(net, torch.zeros(2, 5, 3))
    nw.optim.SignAnnealing(net, total_epochs=3)
    nw.surrogate.triangle(alpha=0.3)
    assert_type(nw.encoding.encode_latency(torch.zeros(2, 3), 5), Tensor)
    assert_type(nw.loss.tet_loss(mem, torch.zeros(2)), Tensor)
    nw.misspelled()  # type: ignore[attr-defined]
    nw.metrics.misspelled()  # type: ignore[attr-defined]
    nw.surrogate.misspelled()  # type: ignore[attr-defined]
    nw.surrogate.triangle(slope=3)  # type: ignore[call-arg]
