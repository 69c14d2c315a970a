"""Blocks with a soft sign, and modules while such a weight is attached."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from nwavesdk.chip import disagreement
from nwavesdk.layers import H1v1Synapse, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.loss import topology_loss, weight_magnitude_loss
from nwavesdk.optim import SignAnnealing
from optim.nets import WEIGHTS, X, annealed, blocks_agree, build, train, weight_of


def test_the_start_equals_values_worked_by_hand():
    synapse = LIFSynapse(7, 1)
    # A block of five that disagrees, and one of two that agrees.
    blocks = [0.2, -0.1, 0.1, 0.0, 0.1, -0.5, -0.3]
    synapse.weight.data = torch.tensor(blocks)[:, None]
    SignAnnealing(synapse, total_epochs=4)
    firm = 2 * 0.3 / 0.5  # alpha · s
    reach = 0.9 * math.tanh(firm)  # 0.75, above all weights of the first block
    expected = [0.2, 0.1, 0.1, 1e-3 * reach, 0.1, -0.5, -0.3]
    torch.testing.assert_close(
        synapse.weight.detach().flatten(), torch.tensor(expected), rtol=1e-5, atol=1e-7
    )
    sign = synapse.parametrizations.weight.original0.flatten().tolist()
    assert sign == pytest.approx([firm / 0.5, -2 / 0.5], rel=1e-5)


def test_a_balanced_block_stays_off_zero_and_is_cut_off_at_its_reach():
    synapse = LIFSynapse(2, 1)
    synapse.weight.data = torch.tensor([[0.5], [-0.5]])
    SignAnnealing(synapse, total_epochs=4)
    assert synapse.parametrizations.weight.original0.item() == pytest.approx(0.2 / 0.5)
    reach = 0.9 * math.tanh(0.2) * (1 - 5e-4)
    assert synapse.weight.flatten().tolist() == pytest.approx([reach, reach], rel=1e-4)


def test_weights_beyond_the_limit_are_cut_off_and_zeros_stay_finite():
    synapse = LIFSynapse(5, 2)
    synapse.weight.data = torch.tensor([[3.0, 0.0]] * 5)
    SignAnnealing(synapse, total_epochs=4)
    assert synapse.weight[:, 0].tolist() == pytest.approx([0.9 * (1 - 1e-3)] * 5, rel=1e-4)
    assert synapse.weight[:, 1].abs().max() < 1e-3


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 13),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from(["inputs", "outputs"]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 999),
)
def test_weights_that_agree_stay(rows, columns, block, axis, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    synapse = LIFSynapse(rows, columns).to(dtype)
    start = (torch.rand(rows, columns, generator=generator, dtype=dtype) * 0.88 + 0.01).contiguous()
    signs = torch.where(torch.rand(rows, columns, generator=generator) < 0.5, -1, 1)
    across = 0 if axis == "inputs" else 1
    first = torch.arange(synapse.weight.shape[across]) // block * block
    start *= signs.index_select(across, first)
    synapse.weight.data = start
    SignAnnealing(synapse, 4, block=block, axis=axis)
    torch.testing.assert_close(synapse.weight.detach(), start, rtol=1e-4, atol=1e-6)
    assert synapse.weight.dtype == dtype


def test_the_weight_is_the_formula_with_its_gradient():
    synapse = LIFSynapse(7, 3).double()
    annealing = SignAnnealing(synapse, 4)
    annealing.step(synapse, 3)
    signed = synapse.parametrizations.weight[0]
    s, m = (
        p.detach().clone().requires_grad_()
        for p in (
            synapse.parametrizations.weight.original0,
            synapse.parametrizations.weight.original1,
        )
    )
    expected = torch.empty(7, 3, dtype=torch.float64)
    for i in range(7):
        for j in range(3):
            expected[i, j] = (
                math.tanh(annealing.alpha * s[i // 5, j].item())
                * 0.9
                / (1 + math.exp(-m[i, j].item()))
            )
    torch.testing.assert_close(synapse.weight.detach(), expected)
    assert torch.autograd.gradcheck(signed, (s, m))


def test_the_end_equals_values_worked_by_hand():
    synapse = LIFSynapse(7, 1)
    annealing = SignAnnealing(synapse, 4)
    with torch.no_grad():
        synapse.parametrizations.weight.original0.copy_(torch.tensor([[0.0], [-0.01]]))
        synapse.parametrizations.weight.original1.copy_(
            torch.tensor([[0.0, 99.0, -99.0, 0.0, 0.0, 0.0, 99.0]]).mT
        )
    annealing.finish()
    expected = [0.45, 0.9, 0.0, 0.45, 0.45, -0.45, -0.9]
    assert synapse.weight.flatten().tolist() == pytest.approx(expected, rel=1e-6, abs=1e-30)


def test_the_state_dict_is_that_of_a_plain_net():
    plain, net = build(), build()
    annealing = SignAnnealing(net, 6)
    state = net.state_dict()
    assert list(state) == list(plain.state_dict())
    assert state._metadata == plain.state_dict()._metadata
    for name in WEIGHTS:
        assert torch.equal(state[name], weight_of(net, name))
        assert not state[name].requires_grad
    assert list(net[2].state_dict(prefix="a.")) == ["a.weight", "a.bias"]
    assert net.state_dict(keep_vars=True)["0.weight"].requires_grad
    plain.load_state_dict(state)
    assert torch.equal(plain[0].weight, net[0].weight)
    annealing.step(net, 4)
    net.load_state_dict(plain.state_dict())  # agrees, so it stays
    for name in WEIGHTS:
        torch.testing.assert_close(
            weight_of(net, name), weight_of(plain, name), rtol=1e-3, atol=1e-3
        )


def test_loading_names_the_keys_of_a_plain_net():
    net, _, _ = annealed()
    state = net.state_dict()
    before = weight_of(net, "0.weight").detach().clone()
    short = {name: value for name, value in state.items() if name != "0.weight"}
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0.weight"\. $'):
        net.load_state_dict(short)
    assert net.load_state_dict(short, strict=False).missing_keys == ["0.weight"]
    assert torch.equal(net[0].weight, before)
    with pytest.raises(
        RuntimeError, match="size mismatch for 0.weight: copying a param with shape"
    ):
        net.load_state_dict(state | {"0.weight": torch.zeros(2, 2)})
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "0.more"'):
        net.load_state_dict(state | {"0.more": torch.zeros(2)})


def test_loading_keeps_dtype_and_parameters():
    net, _, optimizer = annealed()
    held = [id(p) for p in net.parameters()]
    net.load_state_dict({name: value.double() for name, value in net.state_dict().items()})
    assert [id(p) for p in net.parameters()] == held
    assert net[0].weight.dtype == torch.float32
    assert held == [id(p) for p in optimizer.param_groups[0]["params"]]


def test_a_deep_copy_during_training_is_independent():
    net, annealing, optimizer = annealed()
    train(net, annealing, optimizer, range(1, 3))  # layers have state, with a graph
    twin = copy.deepcopy(net)
    assert list(twin.state_dict()) == list(net.state_dict())
    assert torch.equal(twin[0].weight, net[0].weight)
    weight = net[0].weight.detach().clone()
    with torch.no_grad():
        twin[0].parametrizations.weight.original1.add_(1)
    assert torch.equal(net[0].weight, weight)
    with pytest.raises(
        ValueError, match="does not have the weights that it was built for: pass the same net"
    ):
        annealing.step(twin, 3)
    annealing.finish(twin)
    assert type(twin[0]) is H1v1Synapse
    assert isinstance(twin[0].weight, nn.Parameter)
    assert blocks_agree(twin[0].weight)
    train(net, annealing, optimizer, range(3, 5))  # the original continues
    annealing.finish()


def test_a_pickle_of_the_net_is_rejected_until_the_end():
    net, annealing, _ = annealed()
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(net)
    annealing.finish()
    assert torch.equal(pickle.loads(pickle.dumps(net))[0].weight, net[0].weight)


def test_after_the_end_the_net_is_plain_and_agrees_within_the_limit():
    plain, net = build(), build()
    annealing = SignAnnealing(net, 6)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.5)
    train(net, annealing, optimizer, range(1, 7))
    sign = net[0].parametrizations.weight.original0.detach().clone()
    magnitude = net[0].parametrizations.weight.original1.detach().sigmoid() * 0.9
    annealing.finish()
    assert [type(m) for m in net] == [type(m) for m in plain]
    assert [name for name, _ in net.named_parameters()] == [
        name for name, _ in plain.named_parameters()
    ]
    assert [name for name, _ in net.named_modules()] == [name for name, _ in plain.named_modules()]
    plain.load_state_dict(net.state_dict())
    prepare_net(plain)
    assert repr(net) == repr(plain)
    for module, other in zip(net.modules(), plain.modules(), strict=True):
        assert set(vars(module)) == set(vars(other))
        assert list(module._parameters) == list(other._parameters)
    for name in WEIGHTS:
        weight = weight_of(net, name)
        assert weight.requires_grad
        assert weight.is_leaf
        assert disagreement(weight, 5, "inputs").abs().max() == 0
        assert blocks_agree(weight)
        assert weight.abs().max() <= 0.9
    assert weight_magnitude_loss(net) == 0
    signs = torch.where(sign < 0, -1.0, 1.0).repeat_interleave(5, 0)[:7]
    torch.testing.assert_close(net[0].weight.detach(), signs * magnitude)
    prepare_net(net)
    net(X)[0].sum().backward()
    SignAnnealing(net, 6)  # may start again


class Doubled(nn.Module):
    def forward(self, value):
        return 2 * value


def test_other_parametrizations_stay():
    net = SpikingSequential(LIFSynapse(3, 2, bias=True), nn.Linear(2, 2))
    parametrize.register_parametrization(net[0], "bias", Doubled())
    parametrize.register_parametrization(net[1], "bias", Doubled())
    keys = set(net.state_dict())
    annealing = SignAnnealing(net, 3)
    assert set(net.state_dict()) == keys
    net.load_state_dict(net.state_dict())
    annealing.step(net, 3)
    annealing.finish()
    assert parametrize.is_parametrized(net[0], "bias")
    assert parametrize.is_parametrized(net[1], "bias")
    assert isinstance(net[0].weight, nn.Parameter)
    assert set(net.state_dict()) == keys


def test_frozen_weights_stay_frozen():
    synapse = LIFSynapse(3, 2)
    synapse.weight.requires_grad_(False)
    annealing = SignAnnealing(synapse, 3)
    assert not any(p.requires_grad for p in synapse.parameters())
    annealing.finish()
    assert not synapse.weight.requires_grad


def test_the_net_moves_between_dtypes():
    net, annealing, _ = annealed()
    net.double()
    assert net[0].weight.dtype == torch.float64
    annealing.finish()
    assert net[0].weight.dtype == torch.float64


def test_effective_weights_come_from_the_weight_that_acts():
    net, annealing, _ = annealed()
    plain = H1v1Synapse(7, 12, quantization_bits=5, stddev=0.02)
    plain.weight.data = net[0].weight.detach().clone()
    prepare_net(net, seed=5)
    prepare_net(plain, seed=5)
    torch.testing.assert_close(net[0](X), plain(X), rtol=0, atol=0)
    annealing.step(net, 3)
    with pytest.raises(RuntimeError, match="weights have changed since prepare_net"):
        net[0](X)


def test_losses_see_the_weights_that_act():
    net = build()
    with torch.no_grad():
        for name in WEIGHTS:
            weight_of(net, name).mul_(5)
    assert topology_loss(net) > 0
    SignAnnealing(net, 3)
    plain = build()
    plain.load_state_dict(net.state_dict())
    assert topology_loss(net) == topology_loss(plain) == 0
    assert weight_magnitude_loss(net, 0.1) == weight_magnitude_loss(plain, 0.1) > 0
    weight_magnitude_loss(net, 0.1).backward()
    assert net[0].parametrizations.weight.original1.grad.abs().sum() > 0


def test_chunks_of_time_train_and_give_the_same_gradients():
    grads = []
    for checkpoint in (None, 5):
        torch.manual_seed(1)
        net, annealing, _ = annealed(checkpoint)
        annealing.step(net, 2)
        prepare_net(net, seed=0)
        net(X)[0].sum().backward()
        grads.append([p.grad for p in net.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    net, annealing, optimizer = annealed(checkpoint=5, epochs=3)
    train(net, annealing, optimizer, range(1, 4))
    annealing.finish()
    assert all(blocks_agree(weight_of(net, name)) for name in WEIGHTS)
