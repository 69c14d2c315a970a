"""Synapses and front ends of the chips, with profiles of custom chips."""

from importlib.resources import files

import pytest
import torch

from layers.nets import CHIPS, run
from nwavesdk.chip import load_profile
from nwavesdk.layers import (
    Frontend,
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    prepare_net,
)


def test_older_names_are_the_h1v1_ones():
    names = HWLayer, HWSynapse, Frontend
    assert names == (H1v1Layer, H1v1Synapse, H1v1Frontend)


class TestFrontend:
    @pytest.mark.parametrize("chip", CHIPS)
    def test_each_channel_drives_its_own_neuron_with_the_given_charge(self, chip):
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
    def test_wrong_arguments_are_rejected(self, make, error, words):
        with pytest.raises(error, match=words):
            make()

    def test_wrong_inputs_are_rejected(self):
        frontend = Frontend(4)
        prepare_net(frontend)
        with pytest.raises(ValueError, match="4"):
            frontend(torch.ones(2, 3))
        with pytest.raises(
            TypeError, match=r"H1v1Frontend\(4\) has weights of torch.float32 and got an input of"
        ):
            frontend(torch.ones(2, 4, dtype=torch.float64))

    def test_repr_shows_what_is_simulated(self):
        assert repr(Frontend(16, 5, 0.02)) == "H1v1Frontend(16, quantization_bits=5, stddev=0.02)"
        assert repr(HWSynapse(3, 4, 5)) == "H1v1Synapse(3, 4, quantization_bits=5)"


class TestProfile:
    @pytest.fixture
    def custom_profile(self, tmp_path):
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

    def test_a_custom_profile_acts_in_synapses_front_ends_and_neurons(self, custom_profile):
        synapse, frontend, layer = (
            HWSynapse(1, 2, 2, profile=custom_profile),
            Frontend(1, profile=custom_profile),
            HWLayer(1, 1e-2, profile=custom_profile),
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
        assert bool(
            (HWSynapse(50, 50, profile=load_profile(custom_profile)).weight.abs() <= 0.5).all()
        )

    def test_the_table_s_slope_is_the_gradient(self, custom_profile):
        synapse = HWSynapse(1, 2, profile=custom_profile)
        with torch.no_grad():
            synapse.weight.copy_(torch.tensor([[0.2, 0.4]]))
        run(synapse, torch.ones(1, 1)).sum().backward()
        torch.testing.assert_close(synapse.weight.grad, torch.tensor([[0.4, 1.6]]))

    def test_a_profile_of_another_chip_is_rejected(self):
        words = "H1v1Synapse: the profile h1v2 is of a chip with neurons like h1v2, expected h1v1"
        with pytest.raises(ValueError, match=words):
            HWSynapse(3, 4, profile="h1v2")
        with pytest.raises(FileNotFoundError, match="found no profile nowhere.toml"):
            H1v2Layer(3, 1e-2, profile="nowhere.toml")


@pytest.mark.parametrize("synapse", [H1v1Synapse, H1v2Synapse])
def test_initial_charges_have_the_documented_spread(synapse):
    torch.manual_seed(0)
    module = synapse(400, 200)
    charges = module.weight.detach() * module.profile.charge_law.slope(torch.zeros(()))
    assert charges.std().item() == pytest.approx(2 / 400**0.5, rel=0.02)


@pytest.mark.parametrize(("make", "limit"), [(HWSynapse, 0.9), (H1v2Synapse, 1.66)])
def test_default_weights_are_inside_of_the_chip_s_range(make, limit):
    assert make(4, 100).weight.abs().max() <= torch.tensor(limit)
