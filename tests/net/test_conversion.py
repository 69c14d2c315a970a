"""Functions on whole nets: families of modules, `to_gpu` and `to_cpu`, and `project`."""

import warnings

import pytest
import torch
from torch import nn

from layers.nets import chip_net, run
from nwavesdk.chip import load_profile
from nwavesdk.layers import (
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    family_of,
    prepare_net,
    project,
    solved,
    to_cpu,
    to_gpu,
)
from nwavesdk.optim import SignAnnealing
from nwavesdk.surrogate import atan, fast_sigmoid


def test_each_chip_has_its_family_of_modules():
    assert family_of(load_profile("h1v1")) == (H1v1Frontend, H1v1Synapse, H1v1Layer)
    assert family_of(load_profile("h1v2")) == (H1v2Frontend, H1v2Synapse, H1v2Layer)


def test_to_gpu_and_to_cpu_change_nets_in_place_or_not_at_all():
    net = nn.ModuleList([LIFLayer(2, 10e-3), nn.ModuleList([LIFLayer(2, 10e-3)])])
    assert to_gpu(net) is net
    assert [net[0].device, net[1][0].device] == ["gpu", "gpu"]
    assert to_cpu(net) is net
    assert [net[0].device, net[1][0].device] == ["cpu", "cpu"]
    net.append(LIFLayer(2, 10e-3, layer_topology="RC"))
    with pytest.raises(ValueError, match=r'comPaSSo runs feed-forward.*use device="cpu"'):
        to_gpu(net)
    assert net[0].device == "cpu"


def two_layers():
    torch.manual_seed(0)
    options = {"compasso_spike_grad": "layer", "spike_grad": atan()}
    return SpikingSequential(
        LIFSynapse(6, 12),
        LIFLayer(12, 10e-3, solver="auto", **options),
        LIFSynapse(12, 3),
        LIFLayer(3, 10e-3, **options),
    )


def test_training_is_the_same_with_the_same_surrogate(monkeypatch):
    monkeypatch.setattr(solved, "choose_solver", lambda *_: "compasso")
    curves = []
    for move in (to_cpu, to_gpu):
        net = move(two_layers()).double()
        optimizer = torch.optim.SGD(net.parameters(), 0.05)
        g = torch.Generator().manual_seed(1)
        losses, spikes = [], []
        for _ in range(4):
            x = (torch.rand(3, 600, 6, generator=g) < 0.2).double()
            spk, mem = run(net, x)
            loss = mem.square().mean() + spk.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            spikes.append(spk)
        assert net[1].last_solver == ("serial" if move is to_cpu else "compasso")
        curves.append((losses, spikes))
    assert curves[0][0] == pytest.approx(curves[1][0], rel=1e-12)
    assert all(map(torch.equal, curves[0][1], curves[1][1]))


def test_moving_warns_of_another_gradient_and_uses_it():
    layer = LIFLayer(3, 10e-3, spike_grad=atan())
    prepare_net(layer)
    with pytest.warns(UserWarning, match=r"fast_sigmoid\(25\) and spike_grad=ATan"):
        to_gpu(layer)
    x = torch.rand(2, 20, 3, requires_grad=True)
    layer(x)[0].sum().backward()
    expected = LIFLayer(3, 10e-3, spike_grad=fast_sigmoid())
    prepare_net(expected)
    y = x.detach().requires_grad_()
    expected(y)[0].sum().backward()
    assert torch.equal(x.grad, y.grad)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_gpu(layer)  # has warned already


def test_moving_within_a_sequence_chooses_as_from_its_start():
    layer = LIFLayer(3, 10e-3)
    other = LIFLayer(3, 10e-3, device="gpu")
    prepare_net(layer)
    prepare_net(other)
    assert to_gpu(layer)._slowest_decay == other._slowest_decay > 0.9


class TestProject:
    def test_it_moves_each_block_to_the_nearest_that_agrees(self):
        net = chip_net("h1v1", bits=None, topology="RC")
        project(net)
        w = torch.tensor([[0.8], [0.7], [-0.2], [-0.3], [0.1], [-2.0]]).repeat(1, 12)
        net[2].weight.data[:6] = w
        project(net)
        expected = torch.tensor([[0.8], [0.7], [0.0], [0.0], [0.1], [-0.9]]).repeat(1, 12)
        assert torch.equal(net[2].weight.data[:5], expected[:5])

    def test_front_ends_are_only_clamped(self):
        net = chip_net("h1v1", bits=None)
        net[0].weight.data = torch.linspace(-2, 2, 16)
        project(net)
        assert torch.equal(net[0].weight.data, torch.linspace(-2, 2, 16).clamp(-0.9, 0.9))

    def test_another_chip_may_be_given(self):
        net = chip_net("h1v2", bits=None)
        net[2].weight.data.fill_(1.5)
        project(net, load_profile("h1v1"))
        assert torch.equal(net[2].weight.data, torch.full((16, 12), 0.9))

    def test_modules_without_weights_do_not_change_and_numbers_are_rejected(self):
        layer = H1v1Layer(3, 1e-2)
        project(layer)
        with pytest.raises(TypeError, match="expected a torch module with weights, got int"):
            project(3)


def test_a_parametrized_weight_is_not_projected():
    synapse = H1v1Synapse(3, 2)
    SignAnnealing(synapse, 3)
    with pytest.raises(RuntimeError, match=r"weight is parametrized .*call finish\(\)"):
        project(synapse)
