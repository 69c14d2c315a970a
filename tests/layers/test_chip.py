"""The chip's modules: front ends, profiles of one's own, instances, and the same numbers on every solver."""

import copy
import pickle
from importlib.resources import files

import pytest
import torch

from nwavesdk.chip import Noise, load_profile
from nwavesdk.layers import (
    ChipInstance,
    Frontend,
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan
from tolerances import GRADIENT, assert_close

CHIPS = {
    "h1v1": (H1v1Frontend, H1v1Synapse, H1v1Layer),
    "h1v2": (H1v2Frontend, H1v2Synapse, H1v2Layer),
}


def chip_net(chip, bits=5, mismatch=True, topology="FF", **layer_options):
    frontend, synapse, layer = CHIPS[chip]
    noisy = {"stddev": 0.05} if mismatch and chip == "h1v1" else {}
    options = {"ileak_mismatch": mismatch, "spike_grad": atan(), **layer_options}
    hidden = dict(options)
    if topology == "RC":
        hidden |= {
            "layer_topology": "RC",
            "quantization_bits": bits,
            "stddev": 0.05 if mismatch else None,
        }
    return SpikingSequential(
        frontend(16, quantization_bits=bits, **noisy), layer(16, 20e-3, **options),
        synapse(16, 12, quantization_bits=bits, **noisy), layer(12, 10e-3, **hidden),
        synapse(12, 6, quantization_bits=bits, **noisy), layer(6, 10e-3, **options),
    )  # fmt: skip


class TestFrontend:
    def test_the_names(self):
        assert Frontend is H1v1Frontend

    @pytest.mark.parametrize("chip", CHIPS)
    def test_each_channel_drives_its_own_neuron_by_the_wanted_charge(self, chip):
        frontend = CHIPS[chip][0](4, init=(0.1, 0.2, 0.3, 0.05))
        prepare_net(frontend)
        expected = torch.tensor([0.1, 0.2, 0.3, 0.05])
        torch.testing.assert_close(frontend(torch.ones(4)), expected[None])
        x = torch.rand(3, 7, 4)
        torch.testing.assert_close(frontend(x), x * expected)
        torch.testing.assert_close(frontend(x[:, 0]), x[:, 0] * expected)

    def test_init_counts_in_thresholds_and_stops_at_the_limit(self):
        frontend = Frontend(3, init=0.2, lif_threshold=2.0)
        prepare_net(frontend)
        torch.testing.assert_close(frontend.effective_weight(), torch.full((3,), 0.4))
        assert torch.equal(Frontend(3, init=50.0).weight, torch.full((3,), 0.9))

    def test_quantization_charge_law_and_mismatch_act_in_that_order(self):
        frontend = Frontend(
            16, quantization_bits=3, stddev=0.05, init=torch.linspace(0.01, 0.9, 16)
        )
        clean = Frontend(16, quantization_bits=3, init=torch.linspace(0.01, 0.9, 16))
        for module in (frontend, clean):
            prepare_net(module, seed=4)
        quantized = torch.round(clean.weight.detach() / 0.3) * 0.3
        charge = 0.9 / torch.sinh(torch.tensor(1.8)) * torch.sinh(2 * quantized)
        torch.testing.assert_close(clean.effective_weight().detach(), charge)
        noise = (frontend.effective_weight() - clean.effective_weight()).detach()
        assert 0.02 < noise.std() < 0.1
        frontend(torch.ones(1, 16)).sum().backward()
        slope = 0.9 / torch.sinh(torch.tensor(1.8)) * 2 * torch.cosh(2 * quantized)
        torch.testing.assert_close(frontend.weight.grad, slope)

    @pytest.mark.parametrize(
        ("make", "error", "words"),
        [
            (
                lambda: Frontend(0),
                ValueError,
                "H1v1Frontend: nb_inputs must be a whole number of at least 1, got 0",
            ),
            (lambda: Frontend(4, init=-1.0), ValueError, "H1v1Frontend: init must be"),
            (
                lambda: Frontend(4, init=[1.0, 2.0]),
                ValueError,
                "init must be one number or have the shape",
            ),
            (
                lambda: Frontend(4, lif_threshold=0),
                ValueError,
                "lif_threshold must be a finite number above 0",
            ),
            (lambda: H1v2Frontend(4, stddev=0.1), TypeError, "stddev"),
            (lambda: Frontend(4)(torch.ones(2, 4)), RuntimeError, "call prepare_net"),
        ],
    )
    def test_what_is_wrong_is_said(self, make, error, words):
        with pytest.raises(error, match=words):
            make()

    def test_wrong_inputs_are_refused(self):
        frontend = Frontend(4)
        prepare_net(frontend)
        with pytest.raises(ValueError, match="4"):
            frontend(torch.ones(2, 3))
        with pytest.raises(
            TypeError, match=r"H1v1Frontend\(4\) has weights of torch.float32 and got an input of"
        ):
            frontend(torch.ones(2, 4, dtype=torch.float64))

    def test_its_repr_tells_what_is_simulated(self):
        assert repr(Frontend(16, 5, 0.02)) == "H1v1Frontend(16, quantization_bits=5, stddev=0.02)"
        assert repr(HWSynapse(3, 4, 5)) == "H1v1Synapse(3, 4, quantization_bits=5)"


class TestProfile:
    @pytest.fixture
    def mine(self, tmp_path):
        text = (files("nwavesdk.chip") / "profiles" / "h1v1.toml").read_text()
        path = tmp_path / "mine.toml"
        text = text.replace("value = 0.9\n", "value = 0.5\n", 1).replace(
            "[threshold]\nvalue = 1.0", "[threshold]\nvalue = 0.7"
        )
        table = "[charge_table_{}]\nvalue = {}"
        text = text.replace('value = "expansive"', 'value = "table"')
        text = text.replace(
            table.format("weights", "[]"), table.format("weights", "[0.0, 0.25, 0.5]")
        )
        text = text.replace(
            table.format("charges", "[]"), table.format("charges", "[0.0, 0.1, 0.5]")
        )
        path.write_text(text)
        return path

    def test_a_chip_of_one_s_own_acts_in_synapses_front_ends_and_neurons(self, mine):
        synapse, frontend, layer = (
            HWSynapse(1, 2, 2, profile=mine),
            Frontend(1, profile=mine),
            HWLayer(1, 1e-2, profile=mine),
        )
        with torch.no_grad():
            synapse.weight.copy_(torch.tensor([[0.2, 0.4]]))
        for module in (synapse, frontend, layer):
            prepare_net(module)
        torch.testing.assert_close(
            synapse(torch.ones(1, 1)).detach(), torch.tensor([[0.0, 0.5]])
        )  # levels -.5, 0, .5
        torch.testing.assert_close(
            frontend(torch.ones(1, 1)).detach(), torch.tensor([[0.35]])
        )  # half of 0.7
        assert layer.thresholds == torch.tensor(0.7)
        spk, _ = layer(torch.tensor([[[0.69], [0.02], [0.72]]]))
        assert spk.flatten().tolist() == [0, 0, 1]
        assert bool((HWSynapse(50, 50, profile=load_profile(mine)).weight.abs() <= 0.5).all())

    def test_the_table_s_slope_is_the_gradient(self, mine):
        synapse = HWSynapse(1, 2, profile=mine)
        with torch.no_grad():
            synapse.weight.copy_(torch.tensor([[0.2, 0.4]]))
        prepare_net(synapse)
        synapse(torch.ones(1, 1)).sum().backward()
        torch.testing.assert_close(synapse.weight.grad, torch.tensor([[0.4, 1.6]]))

    def test_a_chip_of_the_other_family_is_refused(self):
        words = "H1v1Synapse: the profile h1v2 is of a chip with neurons like h1v2, expected h1v1"
        with pytest.raises(ValueError, match=words):
            HWSynapse(3, 4, profile="h1v2")
        with pytest.raises(FileNotFoundError, match="there is no profile nowhere.toml"):
            H1v2Layer(3, 1e-2, profile="nowhere.toml")


class TestInstance:
    @pytest.mark.parametrize("chip", CHIPS)
    def test_a_held_chip_stays_itself_and_is_that_of_the_seed(self, chip):
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

    def test_an_explicit_seed_goes_before_a_held_chip_and_blocks_nest(self):
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

    def test_what_is_no_seed_or_module_is_refused(self):
        with pytest.raises(TypeError, match="seed must be a whole number or None"):
            ChipInstance(0.5)
        with pytest.raises(TypeError, match=r"ChipInstance.hold takes a torch module, got int"):
            ChipInstance(0).hold(3)


DRIVES = {
    "one step": lambda: 4 * torch.rand(3, 1, 16, dtype=torch.float64),
    "1000 steps": lambda: 4 * torch.rand(2, 1000, 16, dtype=torch.float64),
    "batch of one": lambda: 4 * torch.rand(1, 40, 16, dtype=torch.float64),
    "no spikes": lambda: torch.zeros(2, 40, 16, dtype=torch.float64),
    "all spikes": lambda: torch.full((2, 40, 16), 1e3, dtype=torch.float64),
}


def passed(net, x):
    """Spikes of every layer and all gradients on chip number 5."""
    x = x.clone().requires_grad_()
    prepare_net(net, seed=5)
    recording = net.record(x)
    (
        recording.mem.square().mean() + sum(layer.spk.mean() for layer in recording.layers.values())
    ).backward()
    grads = {"x": x.grad, **{name: p.grad for name, p in net.named_parameters()}}
    net.zero_grad(set_to_none=True)
    return [layer.spk.detach() for layer in recording.layers.values()], grads


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("topology", ["FF", "RC"])
@pytest.mark.parametrize("chip", CHIPS)
def test_spikes_and_gradients_are_the_same_on_every_solver_with_mismatch_and_quantization(
    chip, topology, drive
):
    nets = [chip_net(chip, topology=topology, solver="reference").double()]
    solvers = (
        ["serial"]
        if topology == "RC"
        else ["serial", "compasso", "compasso-jump", "compasso-iteration"]
    )
    for solver in solvers:
        nets.append(
            chip_net(chip, topology=topology, solver=solver, compasso_spike_grad="layer").double()
        )
        nets[-1].load_state_dict(nets[0].state_dict())
    x = DRIVES[drive]()
    spikes, grads = passed(nets[0], x)
    total = sum(s.sum() for s in spikes)
    assert total == 0 if drive == "no spikes" else total > 0
    if drive == "all spikes":
        assert bool((spikes[0] == 1).all())
    for net in nets[1:]:
        found, others = passed(net, x)
        for s, expected in zip(found, spikes, strict=True):
            assert torch.equal(s, expected)
        for name, expected in grads.items():
            assert_close(others[name], expected, GRADIENT, name)


def test_taus_snap_to_the_nearest_by_ratio():
    """11.27 ms: by difference 10 ms would be nearer than 12.6."""
    assert H1v2Layer(1, taus=11.27e-3).taus.item() == pytest.approx(12.6e-3)


def test_more_leak_current_is_a_shorter_time_constant():
    layer = H1v1Layer(8, taus=20e-3, ileak_mismatch=True)
    prepare_net(layer, seed=3)
    expected = 20e-3 / torch.exp(0.1 * Noise.of(3, 0).normal((8,)))
    assert torch.allclose(layer.effective_constants()[0].float(), expected)


@pytest.mark.parametrize("synapse", [H1v1Synapse, H1v2Synapse])
def test_first_charges_have_the_spread_that_is_told(synapse):
    torch.manual_seed(0)
    module = synapse(400, 200)
    charges = module.weight.detach() * module.profile.charge_law.slope(torch.zeros(()))
    assert charges.std().item() == pytest.approx(2 / 400**0.5, rel=0.02)
