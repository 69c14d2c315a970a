"""`prepare_net` and `ChipInstance`."""

import copy
import math
import pickle

import pytest
import torch

from layers.nets import CHIPS, chip_net, drive
from nwavesdk.layers import (
    ChipInstance,
    H1v2Layer,
    HWLayer,
    HWSynapse,
    LIFLayer,
    SpikingSequential,
    detach_state,
    prepare_net,
)


class TestPrepare:
    def test_seed_fixes_the_draws_and_their_absence_varies_them(self):
        net = SpikingSequential(
            HWSynapse(4, 6, stddev=0.02), H1v2Layer(6, 15e-3, ileak_mismatch=True)
        )

        def draws(seed):
            prepare_net(net, seed=seed)
            return torch.cat([net[0].effective_weight().flatten(), *net[1].constants()]).detach()

        assert torch.equal(draws(3), draws(3))
        assert not torch.equal(draws(3), draws(4))
        assert not torch.equal(draws(None), draws(None))

    def test_seed_does_not_touch_the_global_generator(self):
        net = SpikingSequential(HWSynapse(4, 6, stddev=0.02))
        before = torch.get_rng_state()
        prepare_net(net, seed=1)
        assert torch.equal(before, torch.get_rng_state())

    def test_resets_the_state_unless_asked_to_keep_it(self):
        layer, x = LIFLayer(3, 15e-3), drive(2, 10, 3)
        prepare_net(layer)
        first = layer(x)[0]
        second = layer(x)[0]
        prepare_net(layer)
        assert torch.equal(layer(x)[0], first)
        prepare_net(layer, keep_state=True)
        assert torch.equal(layer(x)[0], second)
        assert not torch.equal(first, second)


def test_objects_that_are_not_modules_are_rejected():
    for function in (prepare_net, detach_state):
        with pytest.raises(TypeError, match=rf"{function.__name__} takes a torch module, got list"):
            function([LIFLayer(3, 20e-3)])


def test_prepare_net_that_fails_has_changed_nothing():
    net = SpikingSequential(LIFLayer(3, 20e-3), LIFLayer(3, 20e-3, learn_taus=True))
    prepare_net(net)
    net(drive(2, 5, 3))
    before = net[0].state["v"].clone()
    net[1].log_taus.data.fill_(math.nan)
    with pytest.raises(RuntimeError, match="taus are not finite"):
        prepare_net(net)
    assert torch.equal(net[0].state["v"], before)


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
            prepare_net(net)
            assert torch.equal(net(x)[1], clean(x)[1])

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
        bare = SpikingSequential(HWSynapse(4, 6), HWLayer(6, 15e-3, ileak_mismatch=True))
        noisy = SpikingSequential(
            HWSynapse(4, 6, 5, stddev=0.1), HWLayer(6, 15e-3, ileak_mismatch=True)
        )
        for net in (bare, noisy):
            prepare_net(net, seed=11)
        assert torch.equal(bare[1].effective_constants()[0], noisy[1].effective_constants()[0])

    def test_wrong_seeds_and_modules_are_rejected(self):
        with pytest.raises(TypeError, match="seed must be a whole number or None"):
            ChipInstance(0.5)
        with pytest.raises(TypeError, match=r"ChipInstance.hold takes a torch module, got int"):
            ChipInstance(0).hold(3)
