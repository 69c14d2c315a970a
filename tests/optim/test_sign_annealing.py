"""Sign annealing: its start, its course, its end; checkpoints to the bit; what it leaves behind, which is nothing."""

import copy
import gc
import io
import math
import pickle
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize
from torch.optim.optimizer import _global_optimizer_pre_hooks

from nwavesdk.chip import disagreement, load_profile
from nwavesdk.layers import (
    H1v1Layer,
    H1v1Synapse,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    Synapse,
    prepare_net,
)
from nwavesdk.loss import topology_loss, weight_magnitude_loss
from nwavesdk.optim import SignAnnealing

PLANES = ("0.weight", "1.recurrent_weights", "2.weight")


def build(checkpoint=None):
    return SpikingSequential(
        H1v1Synapse(7, 12, quantization_bits=5, stddev=0.02), H1v1Layer(12, 20e-3, layer_topology="RC"),
        LIFSynapse(12, 3, bias=True), LIFLayer(3, 20e-3, learn_taus=True), checkpoint=checkpoint,
    )  # fmt: skip


def weight_of(net, name):
    index, _, key = name.partition(".")
    return getattr(net[int(index)], key)


DATA = torch.Generator().manual_seed(3)
X = (torch.rand(8, 24, 7, generator=DATA) < 0.3).float()
Y = torch.randint(0, 3, (8,), generator=DATA)


def train(net, annealing, optimizer, epochs):
    for epoch in epochs:
        annealing.step(net, epoch)
        prepare_net(net, seed=epoch)
        loss = nn.functional.cross_entropy(net(X)[0].sum(dim=1), Y) + 0.1 * topology_loss(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def annealed(checkpoint=None, epochs=6, lr=0.05):
    net = build(checkpoint)
    annealing = SignAnnealing(net, total_epochs=epochs)
    return net, annealing, torch.optim.Adam(net.parameters(), lr=lr)


def agree_by_hand(weight, block=5):
    return all(
        bool((piece >= 0).all() or (piece <= 0).all())
        for column in weight.detach().T
        for piece in column.split(block)
    )


# ---- start -----------------------------------------------------------------------------------------------------------


def test_the_start_by_hand():
    synapse = LIFSynapse(7, 1)
    w = [
        0.2,
        -0.1,
        0.1,
        0.0,
        0.1,
        -0.5,
        -0.3,
    ]  # a block of five that disagrees, one of two that agrees
    synapse.weight.data = torch.tensor(w)[:, None]
    SignAnnealing(synapse, total_epochs=4)
    firm = 2 * 0.3 / 0.5  # alpha · s
    reach = 0.9 * math.tanh(firm)  # 0.75: all of the first block lie within
    expected = [0.2, 0.1, 0.1, 1e-3 * reach, 0.1, -0.5, -0.3]
    torch.testing.assert_close(
        synapse.weight.detach().flatten(), torch.tensor(expected), rtol=1e-5, atol=1e-7
    )
    sign = synapse.parametrizations.weight.original0.flatten().tolist()
    assert sign == pytest.approx([firm / 0.5, -2 / 0.5], rel=1e-5)


def test_a_block_in_balance_is_kept_from_zero_and_cut_off_at_its_reach():
    synapse = LIFSynapse(2, 1)
    synapse.weight.data = torch.tensor([[0.5], [-0.5]])
    SignAnnealing(synapse, total_epochs=4)
    assert synapse.parametrizations.weight.original0.item() == pytest.approx(0.2 / 0.5)
    reach = 0.9 * math.tanh(0.2) * (1 - 5e-4)
    assert synapse.weight.flatten().tolist() == pytest.approx([reach, reach], rel=1e-4)


def test_weights_beyond_the_limit_come_to_a_thousandth_of_it_and_zeros_stay_finite():
    synapse = LIFSynapse(5, 2)
    synapse.weight.data = torch.tensor([[3.0, 0.0]] * 5)
    SignAnnealing(synapse, total_epochs=4)
    assert synapse.weight[:, 0].tolist() == pytest.approx([0.9 * (1 - 1e-3)] * 5, rel=1e-4)
    assert synapse.weight[:, 1].abs().max() < 1e-3


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 13), st.integers(1, 4), st.integers(1, 6), st.sampled_from(["inputs", "outputs"]),
    st.sampled_from([torch.float32, torch.float64]), st.integers(0, 999),
)  # fmt: skip
def test_weights_that_agree_are_kept(rows, columns, block, axis, dtype, seed):
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


def test_each_module_has_the_rules_of_its_chip_unless_told():
    net = SpikingSequential(
        H1v2Synapse(6, 4), H1v2Layer(4, 20e-3), LIFSynapse(4, 2), LIFLayer(2, 20e-3)
    )
    net[0].profile = load_profile("h1v2")
    SignAnnealing(net, 3)
    assert [net[i].parametrizations.weight[0].limit for i in (0, 2)] == [1.66, 0.9]
    told = copy.deepcopy(build())
    SignAnnealing(told, 3, block=3, axis="outputs", limit=0.5)
    signed = told[1].parametrizations.recurrent_weights[0]
    assert (signed.block, signed.axis, signed.limit) == (3, "outputs", 0.5)


class FrontEnd(Synapse):
    def __init__(self, n):
        super().__init__(n, n)
        self.weight = nn.Parameter(torch.ones(n))


def test_front_ends_keep_their_weight():
    net = SpikingSequential(FrontEnd(4), LIFSynapse(4, 3))
    SignAnnealing(net, 3)
    assert not parametrize.is_parametrized(net[0])
    assert isinstance(net[0].weight, nn.Parameter)


# ---- course ----------------------------------------------------------------------------------------------------------


def test_alpha_grows_by_one_factor_from_start_to_end():
    synapse = LIFSynapse(3, 2)
    annealing = SignAnnealing(synapse, 5, alpha_start=0.5, alpha_end=8.0)
    assert (annealing.epoch, annealing.alpha) == (0, 0.5)
    seen = []
    for epoch in range(1, 6):
        annealing.step(synapse, epoch)
        assert synapse.parametrizations.weight[0].alpha == annealing.alpha
        seen.append(annealing.alpha)
    assert seen == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0])
    assert annealing.epoch == 5


def test_a_single_epoch_is_the_last():
    synapse = LIFSynapse(3, 2)
    annealing = SignAnnealing(synapse, 1)
    annealing.step(synapse, 1)
    assert annealing.alpha == 20.0


def test_a_step_changes_no_weight():
    net, annealing, _ = annealed()
    with torch.no_grad():
        net[0].parametrizations.weight.original0[0, 0] = 0
    start = [weight_of(net, name).detach().clone() for name in PLANES]
    assert start[0][:5, 0].abs().max() == 0
    for epoch in range(1, 7):
        annealing.step(net, epoch)
        for name, before in zip(PLANES, start, strict=True):
            torch.testing.assert_close(weight_of(net, name).detach(), before, rtol=1e-5, atol=1e-3)
    assert all(p.isfinite().all() for p in net.parameters())
    annealing.step(net, 6)  # the same once more is nothing
    with torch.no_grad():
        net[0].parametrizations.weight.original1[0, 1] = math.nan
    annealing.step(net, 5)
    assert net[0].weight[0, 1].isnan()  # divergence is not hidden


def test_the_weight_is_the_formula_and_has_its_gradient():
    synapse = LIFSynapse(7, 3).double()
    annealing = SignAnnealing(synapse, 4)
    annealing.step(synapse, 3)
    signed = synapse.parametrizations.weight[0]
    s, m = (p.detach().clone().requires_grad_() for p in (
        synapse.parametrizations.weight.original0, synapse.parametrizations.weight.original1,
    ))  # fmt: skip
    by_hand = torch.empty(7, 3, dtype=torch.float64)
    for i in range(7):
        for j in range(3):
            by_hand[i, j] = (
                math.tanh(annealing.alpha * s[i // 5, j].item())
                * 0.9
                / (1 + math.exp(-m[i, j].item()))
            )
    torch.testing.assert_close(synapse.weight.detach(), by_hand)
    assert torch.autograd.gradcheck(signed, (s, m))


@pytest.mark.parametrize("checkpoint", [None, 5])
def test_a_net_learns_while_its_signs_are_decided(checkpoint):
    torch.manual_seed(1)
    net, annealing, optimizer = annealed(checkpoint, epochs=30, lr=0.3)
    start = [weight_of(net, name).detach().clone() for name in PLANES]
    signs = [net[0].parametrizations.weight.original0.detach().sign()]
    train(net, annealing, optimizer, range(1, 31))
    for name, before in zip(PLANES, start, strict=True):
        assert not torch.allclose(weight_of(net, name), before, atol=0.05)
    signs.append(net[0].parametrizations.weight.original0.detach().sign())
    assert (signs[0] != signs[1]).any()
    assert topology_loss(net).item() == 0
    annealing.finish()
    for name in PLANES:
        assert agree_by_hand(weight_of(net, name))


def test_chunks_of_time_give_the_same_gradients():
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


def test_effective_weights_are_those_of_the_weight_that_acts():
    net, annealing, _ = annealed()
    plain = H1v1Synapse(7, 12, quantization_bits=5, stddev=0.02)
    plain.weight.data = net[0].weight.detach().clone()
    prepare_net(net, seed=5)
    prepare_net(plain, seed=5)
    torch.testing.assert_close(net[0](X), plain(X), rtol=0, atol=0)
    annealing.step(net, 3)
    with pytest.raises(RuntimeError, match="weights have changed since prepare_net"):
        net[0](X)


def test_losses_count_the_weights_that_act():
    net = build()
    with torch.no_grad():
        for name in PLANES:
            weight_of(net, name).mul_(5)
    assert topology_loss(net) > 0
    SignAnnealing(net, 3)
    plain = build()
    plain.load_state_dict(net.state_dict())
    assert topology_loss(net) == topology_loss(plain) == 0
    assert weight_magnitude_loss(net, 0.1) == weight_magnitude_loss(plain, 0.1) > 0
    weight_magnitude_loss(net, 0.1).backward()
    assert net[0].parametrizations.weight.original1.grad.abs().sum() > 0


# ---- checkpoints and copies ------------------------------------------------------------------------------------------


def test_a_run_that_was_broken_off_ends_in_the_same_bits():
    torch.manual_seed(1)
    net, annealing, optimizer = annealed()
    twin = copy.deepcopy(build())  # other weights
    train(net, annealing, optimizer, range(1, 4))
    buffer = io.BytesIO()
    torch.save([net.state_dict(), annealing.state_dict(), optimizer.state_dict()], buffer)
    train(net, annealing, optimizer, range(4, 7))

    buffer.seek(0)
    states = torch.load(buffer, weights_only=True)
    twin_annealing = SignAnnealing(twin, total_epochs=6)
    twin_optimizer = torch.optim.Adam(twin.parameters(), lr=0.05)
    for one, state in zip((twin, twin_annealing, twin_optimizer), states, strict=True):
        one.load_state_dict(state)
    assert twin_annealing.epoch == 3
    train(twin, twin_annealing, twin_optimizer, range(4, 7))
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)
    annealing.finish()
    twin_annealing.finish()
    for name, value in net.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name]), name


def test_the_state_dict_is_that_of_a_plain_net():
    plain, net = build(), build()
    annealing = SignAnnealing(net, 6)
    state = net.state_dict()
    assert list(state) == list(plain.state_dict())
    assert state._metadata == plain.state_dict()._metadata
    for name in PLANES:
        assert torch.equal(state[name], weight_of(net, name))
        assert not state[name].requires_grad
    assert list(net[2].state_dict(prefix="a.")) == ["a.weight", "a.bias"]
    assert net.state_dict(keep_vars=True)["0.weight"].requires_grad
    plain.load_state_dict(state)
    assert torch.equal(plain[0].weight, net[0].weight)
    annealing.step(net, 4)
    net.load_state_dict(plain.state_dict())  # agrees, so it is kept as it is
    for name in PLANES:
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


def test_a_state_of_another_run_is_refused():
    _, annealing, _ = annealed()
    state = annealing.state_dict()
    with pytest.raises(
        ValueError, match="the state is of the schedule {'total_epochs': 7, .*this one is"
    ):
        annealing.load_state_dict(state | {"total_epochs": 7})
    other = SignAnnealing(LIFSynapse(3, 2), 6)
    with pytest.raises(
        ValueError,
        match=r"the state is of the weights {'weight': \[\[1, 2\], \[3, 2\]\]}, the net has",
    ):
        annealing.load_state_dict(other.state_dict())


def test_a_deep_copy_is_its_own_net_in_mid_training():
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
        ValueError, match="has not the weights that it was built for: hand on the same net"
    ):
        annealing.step(twin, 3)
    annealing.finish(twin)
    assert type(twin[0]) is H1v1Synapse
    assert isinstance(twin[0].weight, nn.Parameter)
    assert agree_by_hand(twin[0].weight)
    train(net, annealing, optimizer, range(3, 5))  # the net goes on
    annealing.finish()


def test_a_pickle_of_the_net_is_refused_until_the_end():
    net, annealing, _ = annealed()
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(net)
    annealing.finish()
    assert torch.equal(pickle.loads(pickle.dumps(net))[0].weight, net[0].weight)


# ---- end -------------------------------------------------------------------------------------------------------------


def test_after_the_end_the_net_is_plain_agrees_and_keeps_the_limit():
    plain, net = build(), build()
    annealing = SignAnnealing(net, 6)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.5)
    train(net, annealing, optimizer, range(1, 7))
    raw = [stack.original0.detach().clone() for stack in (net[0].parametrizations.weight,)]
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
    for name in PLANES:
        weight = weight_of(net, name)
        assert weight.requires_grad
        assert weight.is_leaf
        assert disagreement(weight, 5, "inputs").abs().max() == 0
        assert agree_by_hand(weight)
        assert weight.abs().max() <= 0.9
    assert weight_magnitude_loss(net) == 0
    signs = torch.where(raw[0] < 0, -1.0, 1.0).repeat_interleave(5, 0)[:7]
    torch.testing.assert_close(net[0].weight.detach(), signs * magnitude)
    prepare_net(net)
    net(X)[0].sum().backward()
    SignAnnealing(net, 6)  # may begin anew


def test_the_end_by_hand():
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


class Doubled(nn.Module):
    def forward(self, value):
        return 2 * value


def test_parametrizations_of_the_user_s_own_stay():
    net = SpikingSequential(LIFSynapse(3, 2, bias=True), nn.Linear(2, 2))
    parametrize.register_parametrization(net[0], "bias", Doubled())
    parametrize.register_parametrization(net[1], "weight", Doubled())
    keys = set(net.state_dict())
    annealing = SignAnnealing(net, 3)
    assert set(net.state_dict()) == keys
    net.load_state_dict(net.state_dict())
    annealing.step(net, 3)
    annealing.finish()
    assert parametrize.is_parametrized(net[0], "bias")
    assert parametrize.is_parametrized(net[1], "weight")
    assert isinstance(net[0].weight, nn.Parameter)
    assert set(net.state_dict()) == keys


def test_frozen_weights_stay_frozen():
    synapse = LIFSynapse(3, 2)
    synapse.weight.requires_grad_(False)
    annealing = SignAnnealing(synapse, 3)
    assert not any(p.requires_grad for p in synapse.parameters())
    annealing.finish()
    assert not synapse.weight.requires_grad


def test_after_the_end_nothing_can_be_asked():
    net, annealing, _ = annealed()
    annealing.finish()
    for call in (
        lambda: annealing.step(net, 1), annealing.finish, annealing.state_dict, lambda: annealing.load_state_dict({}),
    ):  # fmt: skip
        with pytest.raises(
            RuntimeError, match=r"finish\(\) was called and the net has plain weights"
        ):
            call()


# ---- the optimizer that was built before -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_an_optimizer_that_was_built_before_is_refused(kind):
    net = build()
    early = kind(net.parameters(), lr=0.1)
    annealing = SignAnnealing(net, 3)
    with pytest.raises(
        RuntimeError, match=f"{kind.__name__} holds weights that SignAnnealing has replaced since"
    ):
        early.step()
    kind(net.parameters(), lr=0.1).step()
    other = LIFSynapse(2, 2)
    kind(other.parameters(), lr=0.1).step()
    annealing.finish()
    early.step()


def test_an_optimizer_of_other_parameters_may_be_older():
    net, other = build(), LIFSynapse(2, 2)
    early = torch.optim.SGD([*other.parameters(), *net[3].parameters()], lr=0.1)
    held = net[0].weight  # alive, but of no optimizer
    annealing = SignAnnealing(net, 3)
    early.step()
    del held
    annealing.finish()


def test_replaced_parameters_are_not_kept_alive():
    net = build()
    seen = weakref.ref(net[0].weight)
    annealing = SignAnnealing(net, 3)
    gc.collect()
    assert seen() is None
    annealing.finish()


def test_the_guard_goes_with_the_annealing():
    gc.collect()
    before = len(_global_optimizer_pre_hooks)
    net = build()
    early = torch.optim.SGD(net.parameters(), lr=0.1)
    annealing = SignAnnealing(net, 3)
    assert len(_global_optimizer_pre_hooks) == before + 1
    seen = weakref.ref(annealing)
    del annealing
    gc.collect()
    assert seen() is None
    assert len(_global_optimizer_pre_hooks) == before
    early.step()
    ended = SignAnnealing(build(), 3)
    ended.finish()
    assert len(_global_optimizer_pre_hooks) == before


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"total_epochs": 0}, ValueError, "total_epochs must be a whole number of at least 1, got 0"),
        ({"alpha_start": 0.0}, ValueError, "alpha_start must be a finite number above 0"),
        (
            {"alpha_end": 0.1},
            ValueError,
            "alpha_end must not lie below alpha_start, got 0.1 and 0.5",
        ),
        ({"block": 0}, ValueError, "block must be a whole number of at least 1, got 0"),
        ({"axis": "rows"}, ValueError, "axis must be one of 'inputs', 'outputs', got 'rows'"),
        ({"limit": -1.0}, ValueError, "limit must be a finite number above 0"),
        (
            {"net": nn.Linear(2, 2)},
            ValueError,
            "SignAnnealing: Linear has no 2-D weights of synapses or neuron layers",
        ),
        ({"net": "net"}, TypeError, "weights are those of a torch module, got str"),
    ],
)
def test_arguments_are_checked(change, kind, words):
    with pytest.raises(kind, match=words):
        SignAnnealing(**{"net": LIFSynapse(2, 2), "total_epochs": 3} | change)


@pytest.mark.parametrize("epoch", [0, 7, -1, 1.0, True])
def test_epochs_are_checked(epoch):
    net, annealing, _ = annealed()
    with pytest.raises(ValueError, match=f"epoch must be a whole number from 1 to 6, got {epoch!r}"):
        annealing.step(net, epoch)


def test_a_net_is_annealed_once_and_a_refusal_changes_nothing():
    net, annealing, _ = annealed()
    before = len(_global_optimizer_pre_hooks)
    with pytest.raises(RuntimeError, match=r"0.weight is parametrized already: call finish\(\)"):
        SignAnnealing(net, 3)
    assert len(_global_optimizer_pre_hooks) == before
    both = SpikingSequential(LIFSynapse(3, 3), LIFSynapse(3, 3))
    both[1].weight = both[0].weight
    with pytest.raises(ValueError, match="0.weight and 1.weight are one parameter"):
        SignAnnealing(both, 3)
    assert not parametrize.is_parametrized(both[0])
    with pytest.raises(ValueError, match="Linear has no annealed weights"):
        annealing.finish(nn.Linear(2, 2))
    annealing.step(nn.Sequential(net), 2)  # a module that has it within


def test_the_net_moves_between_dtypes():
    net, annealing, _ = annealed()
    net.double()
    assert net[0].weight.dtype == torch.float64
    annealing.finish()
    assert net[0].weight.dtype == torch.float64
