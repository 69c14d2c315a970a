"""Agreement with snnTorch, where both simulate the same neuron.

Its `reset_delay=False` resets in the step of the spike as ours does, but lets the gradient through the reset, and
resets a second time in the next step where the membrane stayed above threshold: so `detach_reset=False` and drives
below 2θ.
"""

import pytest
import torch

from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.surrogate import atan, fast_sigmoid, sigmoid
from tolerances import GRADIENT, assert_close

snntorch = pytest.importorskip("snntorch")
from snntorch import surrogate as theirs  # noqa: E402

PAIRS = {
    "atan": (atan(2.0), lambda: theirs.atan(alpha=2.0)),
    "fast_sigmoid": (fast_sigmoid(25.0), lambda: theirs.fast_sigmoid(slope=25)),
    "sigmoid": (sigmoid(5.0), lambda: theirs.sigmoid(slope=5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_surrogates_have_its_gradient(name):
    ours, make = PAIRS[name]
    z = torch.linspace(-3, 3, 601, requires_grad=True)
    make()(z).sum().backward()
    torch.testing.assert_close(ours.derivative(z.detach()), z.grad, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("reset", "mechanism"), [("subtraction", "subtract"), ("zero", "zero"), ("none", "none")]
)
@pytest.mark.parametrize("name", PAIRS)
def test_a_layer_is_its_leaky(name, reset, mechanism):
    ours, make = PAIRS[name]
    layer = LIFLayer(40, 10e-3, reset_mechanism=reset, spike_grad=ours, detach_reset=False)
    beta = layer.constants()[0][0].item()
    leaky = snntorch.Leaky(beta, spike_grad=make(), reset_mechanism=mechanism, reset_delay=False)
    x = (0.4 * torch.rand(8, 60, 40)).clamp(max=0.9)
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    prepare_net(layer)
    spk, _ = layer(mine)
    mem, spikes = leaky.init_leaky(), []
    for t in range(60):
        s, mem = leaky(other[:, t], mem)
        spikes.append(s)
    expected = torch.stack(spikes, 1)
    weight = torch.randn(expected.shape)
    (spk * weight).sum().backward()
    (expected * weight).sum().backward()
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(spk, expected)
    assert_close(mine.grad, other.grad, GRADIENT, "gradient")
