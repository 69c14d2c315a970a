"""Sign annealing: its schedule, resumed runs, optimizers that were built too early, errors."""

import gc
import io
import math
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.optim.optimizer import _global_optimizer_pre_hooks

from nwavesdk.chip import load_profile
from nwavesdk.layers import (
    DenseSynapse,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
)
from nwavesdk.loss import topology_loss
from nwavesdk.optim import SignAnnealing
from optim.nets import WEIGHTS, annealed, blocks_agree, build, train, weight_of


def test_each_module_takes_block_axis_and_limit_of_its_chip_unless_given():
    net = SpikingSequential(
        H1v2Synapse(6, 4), H1v2Layer(4, 20e-3), LIFSynapse(4, 2), LIFLayer(2, 20e-3)
    )
    net[0].profile = load_profile("h1v2")
    SignAnnealing(net, 3)
    assert [net[i].parametrizations.weight[0].limit for i in (0, 2)] == [1.66, 0.9]
    given = build()
    SignAnnealing(given, 3, block=3, axis="outputs", limit=0.5)
    signed = given[1].parametrizations.recurrent_weights[0]
    assert (signed.block, signed.axis, signed.limit) == (3, "outputs", 0.5)


class FrontEnd(DenseSynapse):
    def __init__(self, n):
        super().__init__(n, n)
        self.weight = nn.Parameter(torch.ones(n))


def test_a_linear_layer_has_the_signs_of_the_synapse_with_its_transposed_weight():
    synapse, linear = LIFSynapse(7, 4), nn.Linear(7, 4)
    linear.weight.data = synapse.weight.detach().T.clone()
    for module in (synapse, linear):
        SignAnnealing(module, 1).finish()
    assert torch.equal(linear.weight, synapse.weight.T)
    assert topology_loss(linear) == topology_loss(synapse) == 0


def test_front_ends_keep_their_weight():
    net = SpikingSequential(FrontEnd(4), LIFSynapse(4, 3))
    SignAnnealing(net, 3)
    assert not parametrize.is_parametrized(net[0])
    assert isinstance(net[0].weight, nn.Parameter)


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
    start = [weight_of(net, name).detach().clone() for name in WEIGHTS]
    assert start[0][:5, 0].abs().max() == 0
    for epoch in range(1, 7):
        annealing.step(net, epoch)
        for name, before in zip(WEIGHTS, start, strict=True):
            torch.testing.assert_close(weight_of(net, name).detach(), before, rtol=1e-5, atol=1e-3)
    assert all(p.isfinite().all() for p in net.parameters())
    annealing.step(net, 6)  # a repeated step changes nothing
    with torch.no_grad():
        net[0].parametrizations.weight.original1[0, 1] = math.nan
    annealing.step(net, 5)
    assert net[0].weight[0, 1].isnan()  # divergence stays visible


def test_a_net_learns_while_its_signs_are_decided():
    torch.manual_seed(1)
    net, annealing, optimizer = annealed(epochs=30, lr=0.3)
    start = [weight_of(net, name).detach().clone() for name in WEIGHTS]
    signs = [net[0].parametrizations.weight.original0.detach().sign()]
    train(net, annealing, optimizer, range(1, 31))
    for name, before in zip(WEIGHTS, start, strict=True):
        assert not torch.allclose(weight_of(net, name), before, atol=0.05)
    signs.append(net[0].parametrizations.weight.original0.detach().sign())
    assert (signs[0] != signs[1]).any()
    assert topology_loss(net).item() == 0
    annealing.finish()
    for name in WEIGHTS:
        assert blocks_agree(weight_of(net, name))


def test_a_resumed_run_ends_in_the_same_bits():
    torch.manual_seed(1)
    net, annealing, optimizer = annealed()
    twin = build()  # other weights
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


def test_a_state_of_another_run_is_rejected():
    _, annealing, _ = annealed()
    state = annealing.state_dict()
    with pytest.raises(
        ValueError, match="the state is of the schedule {'total_epochs': 7, .*this one is"
    ):
        annealing.load_state_dict(state | {"total_epochs": 7})
    other = SignAnnealing(LIFSynapse(3, 2), 6)
    with pytest.raises(
        ValueError,
        match=r"the state is of the weights {'weight': \(\[1, 2\], \[3, 2\]\)}, the net has",
    ):
        annealing.load_state_dict(other.state_dict())


def test_after_the_end_every_method_is_rejected():
    net, annealing, _ = annealed()
    annealing.finish()
    for call in (
        lambda: annealing.step(net, 1),
        annealing.finish,
        annealing.state_dict,
        lambda: annealing.load_state_dict({}),
    ):
        with pytest.raises(
            RuntimeError, match=r"finish\(\) was called and the net has plain weights"
        ):
            call()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_an_optimizer_that_was_built_before_is_rejected(kind):
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
    held = net[0].weight  # alive, but in no optimizer
    annealing = SignAnnealing(net, 3)
    early.step()
    del held
    annealing.finish()


def test_replaced_parameters_are_released():
    net = build()
    seen = weakref.ref(net[0].weight)
    annealing = SignAnnealing(net, 3)
    gc.collect()
    assert seen() is None
    annealing.finish()


def test_the_guard_disappears_with_the_annealing():
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


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (
            {"total_epochs": 0},
            ValueError,
            "total_epochs must be a whole number of at least 1, got 0",
        ),
        ({"alpha_start": 0.0}, ValueError, "alpha_start must be a finite number above 0"),
        (
            {"alpha_end": 0.1},
            ValueError,
            "alpha_end must not be below alpha_start, got 0.1 and 0.5",
        ),
        ({"block": 0}, ValueError, "block must be a whole number of at least 1, got 0"),
        ({"axis": "rows"}, ValueError, "axis must be one of 'inputs', 'outputs', got 'rows'"),
        ({"limit": -1.0}, ValueError, "limit must be a finite number above 0"),
        (
            {"net": nn.BatchNorm1d(2)},
            ValueError,
            "SignAnnealing: BatchNorm1d has no 2-D weights of synapses or neuron layers",
        ),
        (
            {"net": nn.Sequential(nn.Conv1d(1, 1, 3), LIFSynapse(2, 2))},
            ValueError,
            "SignAnnealing: Conv1d '0' is not dense, and chips have dense synapses only",
        ),
        (
            {"net": LIFLayer(3, 1e-2, layer_topology="RC", recurrent_delays=2)},
            ValueError,
            "SignAnnealing: LIFLayer is not dense, and chips have dense synapses only",
        ),
        (
            {"net": prune.random_unstructured(LIFSynapse(4, 4), "weight", 0.5)},
            RuntimeError,
            "SignAnnealing: weight is pruned, and annealed weights are never 0",
        ),
        ({"net": "net"}, TypeError, "expected a torch module with weights, got str"),
    ],
)
def test_arguments_are_checked(change, kind, words):
    with pytest.raises(kind, match=words):
        SignAnnealing(**{"net": LIFSynapse(2, 2), "total_epochs": 3} | change)


@pytest.mark.parametrize("epoch", [0, 7, -1, 1.0, True])
def test_epochs_are_checked(epoch):
    net, annealing, _ = annealed()
    with pytest.raises(
        ValueError, match=f"epoch must be a whole number from 1 to 6, got {epoch!r}"
    ):
        annealing.step(net, epoch)


def test_a_net_is_annealed_once_and_an_error_changes_nothing():
    net, annealing, _ = annealed()
    before = len(_global_optimizer_pre_hooks)
    with pytest.raises(
        RuntimeError, match=r"is already parametrized: before you build it, call finish\(\)"
    ):
        SignAnnealing(net, 3)
    assert len(_global_optimizer_pre_hooks) == before
    both = SpikingSequential(LIFSynapse(3, 3), LIFSynapse(3, 3))
    both[1].weight = both[0].weight
    with pytest.raises(ValueError, match="0.weight and 1.weight are one parameter"):
        SignAnnealing(both, 3)
    assert not parametrize.is_parametrized(both[0])
    with pytest.raises(ValueError, match="Linear has no annealed weights"):
        annealing.finish(nn.Linear(2, 2))
    annealing.step(nn.Sequential(net), 2)  # a module that contains it
