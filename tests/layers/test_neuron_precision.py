"""Charges of 16 bits: a layer computes with them in float32, under autocast and without."""

import pytest
import torch

from layers.nets import LAYERS, RECURRENT_KINDS, drive, run
from nwavesdk.layers import LIFSynapse


@pytest.mark.parametrize("is_autocast", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("kind", "topology"),
    [*((kind, "FF") for kind in LAYERS), *((kind, "RC") for kind in RECURRENT_KINDS)],
)
def test_spikes_and_gradients_of_a_half_charge_are_as_in_float32(
    kind, topology, solver, dtype, is_autocast
):
    layer, x = LAYERS[kind](6, solver=solver, layer_topology=topology), drive(2, 40, 8)
    synapse = LIFSynapse(8, 6)
    torch.nn.init.uniform_(synapse.weight, -0.2, 0.4)
    upstream = torch.randn(2, 2, 40, 6).to(dtype)
    with torch.autocast("cpu", dtype):
        charge = run(synapse, x)
    charge.retain_grad()
    with torch.autocast("cpu", dtype, enabled=is_autocast):
        half = run(layer, charge)
    torch.autograd.backward(half, list(upstream))
    assert charge.dtype == half[0].dtype == half[1].dtype == dtype
    states = layer.state
    assert {state.dtype for state in states.values()} == {torch.float32}

    wide = charge.detach().float().requires_grad_()
    full = run(layer, wide)
    torch.autograd.backward(full, list(upstream.float()))
    assert full[0].any()
    assert all(torch.equal(a, b.to(dtype)) for a, b in zip(half, full, strict=True))
    assert all(torch.equal(states[name], value) for name, value in layer.state.items())
    assert wide.grad.any()
    assert torch.equal(charge.grad, wide.grad.to(dtype))
