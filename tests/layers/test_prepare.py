"""`prepare_net`, `ChipInstance`, and the state that a layer carries from call to call."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from layers.nets import CHIPS, LAYERS, RECURRENT_KINDS, chip_net, drive, run
from layers.pages import AdaptiveLayer
from nwavesdk.layers import (
    ChipInstance,
    DelayedSynapse,
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    TemporalEffectiveBatchNorm,
    detach_state,
    prepare_net,
)
from tolerances import GRADIENT, assert_close


def test_seed_does_not_touch_the_global_generator():
    net = SpikingSequential(HWSynapse(4, 6, stddev=0.02))
    before = torch.get_rng_state()
    prepare_net(net, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_objects_that_are_not_modules_are_rejected():
    for function in (prepare_net, detach_state):
        with pytest.raises(TypeError, match=rf"{function.__name__} takes a torch module, got list"):
            function([LIFLayer(3, 20e-3)])


def test_prepare_net_that_fails_has_changed_nothing():
    net = SpikingSequential(LIFLayer(3, 20e-3), LIFLayer(3, 20e-3, learn_taus=True))
    run(net, drive(2, 5, 3))
    before = net[0].state["v"].clone()
    net[1].log_taus.data.fill_(math.nan)
    with pytest.raises(RuntimeError, match="taus are not finite"):
        prepare_net(net)
    assert torch.equal(net[0].state["v"], before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("explicit", [True, False])
def test_a_value_that_is_not_finite_is_noticed_before_the_next_batch(bad, explicit):
    net = SpikingSequential(
        nn.Linear(6, 5), LIFLayer(5, 20e-3), HWSynapse(5, 3), HWLayer(3, 20e-3, layer_topology="RC")
    )
    if explicit:
        prepare_net(net)
    net(drive(2, 5, 6))
    damaged = drive(2, 5, 6)
    damaged[1, 2, 0] = bad

    if explicit:
        prepare_net(net)
    spk, mem = net(damaged)
    assert torch.stack([spk, mem]).isfinite().all()  # nothing shows it here
    with pytest.raises(RuntimeError, match="LIFLayer: states are NaN or infinite after the last"):
        prepare_net(net) if explicit else net(drive(2, 5, 6))

    # The damage is gone with the state.
    if explicit:
        prepare_net(net)
    net(drive(2, 5, 6))


def test_large_finite_states_are_not_damage():
    layer = LIFLayer(4, 20e-3, reset_mechanism="none")
    run(layer, torch.full((1, 1, 4), 3e38))  # their sum is infinite
    prepare_net(layer)


class TestInstance:
    @pytest.mark.parametrize("chip", CHIPS)
    def test_a_held_chip_stays_the_same_and_is_that_of_the_seed(self, chip):
        net, x = chip_net(chip), 3 * torch.rand(4, 30, 16)

        def mem(seed=None):
            prepare_net(net, seed=seed)
            return net(x)[1]

        with ChipInstance(7).on(net):
            a, b = mem(), mem()
        c = mem(seed=7)
        assert torch.equal(a, b)
        assert torch.equal(a, c)
        assert not torch.equal(a, mem())
        assert not torch.equal(a, mem(seed=8))

    @pytest.mark.parametrize("chip", CHIPS)
    def test_the_ideal_chip_is_the_net_without_mismatch(self, chip):
        net, clean, x = chip_net(chip), chip_net(chip, mismatch=False), 3 * torch.rand(4, 30, 16)
        clean.load_state_dict(net.state_dict())
        prepare_net(clean)
        with ChipInstance(None).on(net):
            assert torch.equal(run(net, x)[1], clean(x)[1])

    def test_an_instance_holds_on_parts_copies_and_pickles_until_it_is_released(self):
        net = SpikingSequential(
            HWSynapse(4, 6, stddev=0.02), HWLayer(6, 15e-3, ileak_mismatch=True)
        )
        ChipInstance(3).hold(net)

        def weight(net):
            prepare_net(net[0])
            return net[0].effective_weight().detach()

        held = weight(net)
        for other in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(weight(other), held)
        ChipInstance.release(net)
        assert not torch.equal(weight(net), held)

    def test_an_explicit_seed_overrides_a_held_chip_and_blocks_nest(self):
        synapse = HWSynapse(4, 6, stddev=0.02)
        with ChipInstance(3).on(synapse):
            prepare_net(synapse)
            three = synapse.effective_weight()
            prepare_net(synapse, seed=4)
            assert not torch.equal(synapse.effective_weight(), three)
            with ChipInstance(4).on(synapse):
                prepare_net(synapse)
                assert not torch.equal(synapse.effective_weight(), three)
            prepare_net(synapse)
            assert torch.equal(synapse.effective_weight(), three)

    def test_one_module_s_options_do_not_change_another_s_draws(self):
        taus = []
        for synapse in (HWSynapse(4, 6), HWSynapse(4, 6, 5, stddev=0.1)):
            net = SpikingSequential(synapse, HWLayer(6, 15e-3, ileak_mismatch=True))
            prepare_net(net, seed=11)
            taus.append(net[1].effective_constants()["tau"])
        assert torch.equal(*taus)

    def test_wrong_seeds_and_modules_are_rejected(self):
        with pytest.raises(TypeError, match="seed must be a whole number or None"):
            ChipInstance(0.5)
        with pytest.raises(TypeError, match=r"ChipInstance.hold takes a torch module, got int"):
            ChipInstance(0).hold(3)


every_layer = pytest.mark.parametrize(
    "make", [*LAYERS.values(), AdaptiveLayer], ids=[*LAYERS, "adaptive"]
)


@every_layer
@pytest.mark.parametrize("lengths", [[0, 20], [1, 19], [13, 7], [20, 0], [1] * 20])
def test_parts_are_the_whole_and_so_are_their_gradients(make, topology, lengths):
    layer, x = make(5, layer_topology=topology), drive(2, 20, 5, dtype=torch.float64)
    x.requires_grad_()
    whole = run(layer, x)
    prepare_net(layer)
    is_in_steps = len(lengths) == 20
    calls = [layer(part[:, 0] if is_in_steps else part) for part in x.split(lengths, 1)]
    join = torch.stack if is_in_steps else torch.cat
    parts = [join(outputs, 1) for outputs in zip(*calls, strict=True)]
    assert all(map(torch.equal, parts, whole))
    grads = [torch.autograd.grad((spk + mem**2).sum(), x)[0] for spk, mem in (parts, whole)]
    assert_close(*grads, GRADIENT, "gradient")


def test_state_takes_the_dtype_of_the_input(kind):
    layer = LAYERS[kind](3)
    run(layer, drive(2, 5, 3))
    spk, _ = layer(drive(2, 5, 3, dtype=torch.float64))
    assert layer.state["v"].dtype == spk.dtype == torch.float64


def test_state_is_not_in_the_state_dict(kind):
    layer, x = LAYERS[kind](3, layer_topology="RC"), drive(2, 12, 3, dtype=torch.float64)
    before = set(layer.state_dict())
    run(layer, x)
    assert set(layer.state_dict()) == before


def test_copies_and_pickles_continue_from_the_same_state(kind):
    layer, x = (
        LAYERS[kind](3, layer_topology="RC"),
        drive(2, 12, 3, dtype=torch.float64).requires_grad_(),
    )
    run(layer, x)
    others = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    spk, mem = layer(x)
    for other in others:
        spk2, mem2 = other(x)
        assert torch.equal(spk, spk2)
        assert torch.equal(mem, mem2)


class Halved(nn.Module):
    def forward(self, weight):
        return 0.5 * weight


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: LIFSynapse(3, 3), "weight"),
        (lambda: DelayedSynapse(3, 3, max_delay=2), "weight"),
        (lambda: LIFLayer(3, 10e-3, learn_taus=True, layer_topology="RC"), "recurrent_weights"),
        (lambda: LIFLayer(3, 10e-3, learn_thresholds=True), "thresholds"),
        (lambda: TemporalEffectiveBatchNorm(3, max_steps=30), "step_factor"),
    ],
)
def test_a_deep_copy_of_a_parametrized_module_continues_from_the_same_state(make, name):
    net, x = SpikingSequential(make(), LIFLayer(3, 10e-3)).eval(), drive(2, 12, 3)
    parametrize.register_parametrization(net[0], name, Halved())
    run(net, x)  # leaves plans, kernels, and states with a graph
    other = copy.deepcopy(net)
    expected = net(x)
    for output, y in zip(other(x), expected, strict=True):
        assert torch.equal(output, y)
    originals = [twin[0].parametrizations[name].original for twin in (net, other)]
    assert originals[0] is not originals[1]


def test_a_state_with_a_freed_graph_is_a_clear_error(kind, solver, topology):
    layer = LAYERS[kind](3, solver=solver, layer_topology=topology)
    x = drive(2, 12, 3).requires_grad_()
    run(layer, x)[0].sum().backward()
    with pytest.raises(
        RuntimeError, match=r"already freed: .*prepare_net\(model\) .* detach_state\(model\)"
    ):
        layer(x)[1].sum().backward()
    detach_state(layer)
    layer(x)[1].sum().backward()


def test_detached_chunks_have_the_truncated_gradient():
    net = SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 10e-3, learn_taus=True))
    x = drive(2, 20, 3)
    run(net, x[:, :10])
    detach_state(net)
    v = net[1].state["v"]
    net(x[:, 10:])[1].sum().backward()
    got = net[0].weight.grad.clone()
    prepare_net(net)
    net.zero_grad()
    net[1]._states = (v,)
    net(x[:, 10:])[1].sum().backward()
    assert torch.equal(got, net[0].weight.grad)


@pytest.mark.parametrize("shape", [(2, 9, 4), (2, 4)])
@every_layer
def test_outputs_may_be_overwritten_without_a_change_of_state(make, solver, topology, shape):
    layer, x = make(4, solver=solver, layer_topology=topology), drive(*shape)
    run(layer, x)
    expected = layer(x)
    for output in run(layer, x):
        output.detach().fill_(7.0)
    assert all(map(torch.equal, layer(x), expected))


@pytest.mark.parametrize(
    ("kind", "topology"),
    [(kind, "FF") for kind in LAYERS] + [(kind, "RC") for kind in RECURRENT_KINDS],
)
def test_training_continues_from_a_state_of_inference_mode(kind, topology):
    net = SpikingSequential(LIFSynapse(3, 4), LAYERS[kind](4, layer_topology=topology))
    with torch.inference_mode():
        run(net, drive(2, 9, 3))
    net(drive(2, 9, 3))[1].sum().backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_a_step_without_prepare_net(kind):
    with pytest.raises(
        RuntimeError, match=r"is not prepared: call prepare_net\(model\) before the first step"
    ):
        LAYERS[kind](3)(drive(2, 3))


def test_a_changed_batch_size_leaves_the_state(kind):
    layer = LAYERS[kind](3)
    run(layer, drive(32, 5, 3))
    before = layer.state["v"]
    with pytest.raises(
        RuntimeError,
        match=r"state for a batch of 32, the input has 64: call prepare_net\(model\) before a new",
    ):
        layer(drive(64, 5, 3))
    assert layer.state["v"] is before or torch.equal(layer.state["v"], before)
    layer(drive(32, 5, 3))


def test_backward_after_loading_in_the_middle_of_a_sequence_names_the_remedy():
    net = SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 20e-3, layer_topology="RC"))
    run(net, drive(2, 5, 3))
    net.load_state_dict({key: value.clone() for key, value in net.state_dict().items()})
    with pytest.raises(RuntimeError, match=r"has been modified since .*detach_state\(model\)"):
        net(drive(2, 5, 3))[1].sum().backward()
