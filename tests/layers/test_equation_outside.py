"""A net of a user's neuron and one of the zoo: trained, stored, and resumed by another process."""

import importlib
import inspect
import sys

import numpy as np
import pytest
import torch

from forked import run_code
from layers.nets import drive
from nwavesdk.data import Standard
from nwavesdk.deploy import export, find_violations, place_layers
from nwavesdk.layers import H1v2Layer, H1v2Synapse, SpikingSequential, prepare_net
from nwavesdk.train.fit.model_file import load_model, save_model

# The page of docs/your-neuron.md and tests/layers, so that its kernels are compiled once.
MODULE = '''
import torch

import nwavesdk as nw
from nwavesdk.layers import LILayer, Positive, Real, TimeConstant, decay, held, neuron, spike


@neuron
def AdaptiveLayer(
    x,
    v,
    a,
    *,
    tau: TimeConstant = 20e-3,
    tau_a: TimeConstant = 0.1,
    threshold: Positive = 1.0,
    kappa: Real = 0.3,
):
    """A leaky neuron whose threshold rises with its spikes."""
    u = decay(tau) * v + x
    s = spike(u - threshold - kappa * a)
    return s, u - threshold * held(s), decay(tau_a) * a + (1 - decay(tau_a)) * s


def build():
    adaptive = AdaptiveLayer(8, learn=("kappa", "tau_a"), spike_grad=nw.surrogate.atan())
    return nw.SpikingSequential(nw.LIFSynapse(5, 8), adaptive, nw.LIFSynapse(8, 2), LILayer(2))


def train(net, optimizer, steps, x, targets):
    """The losses, and the weights at the end."""
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        nw.prepare_net(net)
        loss = (net(x)[1].mean(1) - targets).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, net.state_dict()


def resume(path):
    """Continue twice: with the net that was stored, and with a new one."""
    results = []
    for is_new in (False, True):
        stored = torch.load(path, weights_only=False)
        net = build() if is_new else stored["net"]
        net.load_state_dict(stored["weights"])
        optimizer = torch.optim.Adam(net.parameters(), 0.02)
        optimizer.load_state_dict(stored["optimizer"])
        results.append(train(net, optimizer, 3, stored["x"], stored["targets"]))
    torch.save(results, path + ".resumed")
'''


RESUME = """
import sys, warnings
warnings.simplefilter("error")
import own_neurons
own_neurons.resume(sys.argv[1])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The module of a user."""
    (tmp_path / "own_neurons.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_neurons")
    del sys.modules["own_neurons"]


def test_another_process_resumes_with_the_same_bits(own, tmp_path):
    x, targets = drive(16, 40, 5) + 0.4, torch.rand(16, 2)
    net = own.build()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    own.train(net, optimizer, 3, x, targets)
    path = tmp_path / "run.pt"
    stored = {"net": net, "weights": net.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**stored, "x": x, "targets": targets}, path)
    losses, weights = own.train(net, optimizer, 3, x, targets)

    run_code(RESUME, tmp_path, path)
    for other_losses, other_weights in torch.load(f"{path}.resumed"):
        assert other_losses == losses
        assert other_weights.keys() == weights.keys()
        assert all(torch.equal(other_weights[name], weights[name]) for name in weights)
    assert losses[-1] < losses[0]
    assert weights["1.kappa"] != 0.3


def test_a_model_file_holds_it(own, tmp_path):
    net, other, x = own.build(), own.build(), drive(4, 20, 5)
    with torch.no_grad():
        net[1].log_tau_a += 1
    standard = Standard(np.zeros(5, np.float32), np.ones(5, np.float32))
    save_model(tmp_path / "model.safetensors", net, standard)
    load_model(tmp_path / "model.safetensors", other)
    for each in (net, other):
        prepare_net(each)
    assert torch.equal(net(x)[1], other(x)[1])


@pytest.mark.parametrize("function", [export, find_violations, place_layers])
def test_a_chip_has_only_its_own_neurons(own, function, tmp_path):
    chip_layer = H1v2Layer(2, 20e-3)
    net = SpikingSequential(
        *(H1v2Synapse(5, 8), own.AdaptiveLayer(8), H1v2Synapse(8, 2), chip_layer)
    )
    path = [tmp_path / "chip.safetensors"] * ("path" in inspect.signature(function).parameters)
    with pytest.raises(TypeError, match=r"module 1 \(AdaptiveLayer\) is not a module of a chip"):
        function(net, *path)
    assert not any(path) or not path[0].exists()
