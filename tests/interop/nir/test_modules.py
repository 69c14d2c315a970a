"""`Delay`, `Scale` and `SpikingGraph` as modules of any net."""

import copy

import pytest
import torch
from torch import nn

from nwavesdk.interop.nir import Delay, Scale, SpikingGraph
from nwavesdk.layers import LIFLayer, LIFSynapse, prepare_net
from nwavesdk.net import SpikingSequential, streaming


def test_a_delay_waits_in_parts_as_in_whole_sequences() -> None:
    steps = torch.tensor([[0, 1], [3, 7]])
    delay = Delay(steps)
    x = torch.rand(2, 10, 2, 2)
    expected = torch.zeros_like(x)
    for i in range(2):
        for j in range(2):
            d = int(steps[i, j])
            expected[:, d:, i, j] = x[:, : 10 - d, i, j]
    assert torch.equal(delay(x), expected)
    net = SpikingSequential(delay)
    with streaming(net):
        parts = [net(x[:, :4])[0], *(net.step(x[:, t])[0][:, None] for t in range(4, 10))]
    assert torch.equal(torch.cat(parts, 1), expected)


def test_a_delay_has_gradients_copies_and_clear_errors() -> None:
    delay = Delay(torch.tensor([1, 2]))
    x = torch.rand(1, 4, 2, requires_grad=True)
    delay(x).sum().backward()
    assert x.grad is not None
    assert x.grad[0].tolist() == [[1, 1], [1, 1], [1, 0], [0, 0]]
    prepare_net(delay)
    delay(x)
    again = copy.deepcopy(delay)
    assert torch.equal(again(x), delay(x))
    with pytest.raises(RuntimeError, match="has state for a batch of 1, the input has 3"):
        delay(torch.rand(3, 4, 2))
    with pytest.raises(ValueError, match=r"features \[2\], got an input of shape \[1, 4, 3\]"):
        delay(torch.rand(1, 4, 3))


def graph() -> SpikingGraph:
    layer = LIFLayer(3, 10e-3, reset_mechanism="zero")
    modules = {"in": LIFSynapse(2, 3), "neurons": layer, "back": LIFSynapse(3, 3)}
    sources = {"in": ["input"], "neurons": ["in", "back"], "back": ["neurons"]}
    return SpikingGraph(
        modules,
        {**sources, "output": ["neurons"]},
        delayed=[("back", "neurons")],
        shape=(2,),
        shapes={"back": (3,)},
    )


def test_a_graph_with_a_cycle_is_recurrent_weights() -> None:
    net = graph()
    layer = LIFLayer(3, 10e-3, reset_mechanism="zero", layer_topology="RC")
    layer.recurrent_weights.data = net.get_submodule("back").weight.data
    same = SpikingSequential(net.get_submodule("in"), layer)
    x = 2 * torch.rand(2, 30, 2)
    spk, mem = net(x)
    assert spk.sum() > 10
    for got, expected in zip((spk, mem), same(x), strict=True):
        torch.testing.assert_close(got, expected)
    assert net.connections()[1] == "neurons <- in + back of the step before"
    assert "5 connections, 1 of the step before" in repr(net)


def test_a_failed_call_leaves_the_state_of_a_graph_as_it_was() -> None:
    net = graph()
    prepare_net(net)
    x = 2 * torch.rand(2, 5, 2)
    net(x)
    before = copy.deepcopy(net)
    with pytest.raises(ValueError, match="shape"):
        net(torch.rand(2, 5, 4))
    with pytest.raises(RuntimeError, match="state for a batch of 2, the input has 3"):
        net(torch.rand(3, 5, 2))
    assert torch.equal(net(x)[0], before(x)[0])


def test_a_scale_multiplies_and_learns() -> None:
    scale = Scale(torch.tensor([1.0, 2.0]))
    assert scale(torch.ones(4, 2)).sum() == 12
    assert [name for name, _ in scale.named_parameters()] == ["scale"]
    assert isinstance(scale, nn.Module)
