"""Charges of 16 bits: a layer computes with them in float32, under autocast and without."""

import pytest
import torch

from layers.nets import LAYERS, RECURRENT_KINDS, drive
from nwavesdk.layers import LIFSynapse, prepare_net


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("solver", ["serial", "reference"])
@pytest.mark.parametrize(
    ("kind", "topology"),
    [*((kind, "FF") for kind in LAYERS), *((kind, "RC") for kind in RECURRENT_KINDS)],
)
def test_autocast_gives_spikes_and_gradients_of_the_charge_as_float32(
    kind, topology, solver, dtype
):
    layer, x = LAYERS[kind](6, solver=solver, layer_topology=topology), drive(2, 40, 8)
    synapse = LIFSynapse(8, 6)
    torch.nn.init.uniform_(synapse.weight, -0.2, 0.4)
    upstream = torch.randn(2, 2, 40, 6).to(dtype)
    prepare_net(synapse)
    prepare_net(layer)
    with torch.autocast("cpu", dtype):
        charge = synapse(x)
        charge.retain_grad()
        half = layer(charge)
    torch.autograd.backward(half, list(upstream))
    assert charge.dtype == half[0].dtype == half[1].dtype == dtype
    states = layer.state
    assert {state.dtype for state in states.values()} == {torch.float32}

    wide = charge.detach().float().requires_grad_()
    prepare_net(layer)
    full = layer(wide)
    torch.autograd.backward(full, list(upstream.float()))
    assert full[0].any()
    assert all(torch.equal(a, b.to(dtype)) for a, b in zip(half, full, strict=True))
    assert all(torch.equal(states[name], value) for name, value in layer.state.items())
    assert wide.grad.any()
    assert torch.equal(charge.grad, wide.grad.to(dtype))
