"""The neuron of a run's hidden layers in its config: defaults, errors, and earlier runs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nwavesdk.layers import LIFLayer, LIFSynapse, NeuronLayer
from nwavesdk.presets import lif
from nwavesdk.train import RunConfig
from nwavesdk.train.config.neuron_choice import parse_neuron_options


def config_of(**net: Any) -> RunConfig:
    return RunConfig.of({"net": {"hidden": [5, 4], **net}})


def test_all_constants_are_recorded_and_read_again(tmp_path: Path) -> None:
    config = config_of(neuron="AdLIFLayer", neuron_options="tau_w=0.1, learn=(a, tau)")
    assert config.net.neuron == "adlif"
    assert config.net.neuron_options == {
        "tau": 0.015, "tau_w": 0.1, "a": 0.02, "b": 0.2, "threshold": 1.0, "learn": ("a", "tau"),
    }  # fmt: skip
    (tmp_path / "config.json").write_text(config.json_text())
    again = RunConfig.read(tmp_path / "config.json")
    assert again == config
    assert again.identity() == config.identity() != config_of(neuron="adlif").identity()


def test_fields_of_the_net_that_are_given_apply_to_hidden_neurons_that_have_them() -> None:
    config = config_of(neuron="adlif", tau=0.03)
    assert config.net.neuron_options["tau"] == config.net.tau == 0.03
    config = config_of(neuron="adlif", tau=0.03, neuron_options={"tau": 0.02})
    assert (config.net.neuron_options["tau"], config.net.tau) == (0.02, 0.03)
    assert config_of(neuron="adlif").net.tau == RunConfig().net.tau
    with pytest.raises(ValueError, match=r"^net\.tau: izhikevich neurons have no constant tau, go"):
        config_of(neuron="izhikevich", tau=0.03)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        ({"neuron": "adlf"}, r"^net\.neuron: unknown neuron 'adlf', did you mean 'adlif'\?: "),
        ({"neuron": 3}, r"^net\.neuron: unknown neuron 3: expected one of lif, "),
        ({"neuron": "li"}, r"^net\.neuron: li is a read-out"),
        ({"neuron": "adlif", "neuron_options": "tau_a=1"}, r"no constant 'tau_a', .* 'tau_w'\?"),
        ({"neuron": "adlif", "neuron_options": "learn=kappa"}, r"adlif has no constant 'kappa':"),
        ({"neuron": "adlif", "neuron_options": "a"}, r"expected NAME=VALUE .* got 'a'"),
        ({"neuron": "adlif", "neuron_options": "a=0,a=1"}, r"each name once.* got 'a=0,a=1'"),
        ({"neuron": "adlif", "neuron_options": "a=x"}, r"'a' must be a finite number, got 'x'"),
        ({"neuron": "adlif", "neuron_options": {"a": True}}, r"'a' must be a finite .* got True"),
        ({"neuron": "adlif", "neuron_options": {"a": 10**400}}, r"'a' must be a finite number"),
        ({"neuron": "adlif", "neuron_options": {"learn": [1]}}, r"learn must name .* got \[1\]"),
        ({"neuron": "adlif", "neuron_options": {3: 1}}, r"expected constants with their values"),
        ({"neuron": "adlif", "neuron_options": "a=" * 500}, r"'a' must be a finite .* got 'a=a="),
        ({"neuron": "adlif", "neuron_options": "a=1"}, r"above -1 and below 1, got 1"),
        ({"neuron": "adlif", "neuron_options": "tau_w=1e8"}, r"^net.*: dt / tau_w must be from"),
        ({"neuron": "alpha", "neuron_options": "tau=5e-3"}, r"alpha divides by 0 or has no finite"),
        ({"neuron": "adlif", "tau": "x"}, r"^net\.tau: expected a number \(got 'x'\)$"),
        ({"neuron_options": "learn=taus"}, r"lif has no constant 'taus', did you mean 'tau'"),
    ],
)
def test_a_wrong_choice_is_one_line(net: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        config_of(**net)
    assert str(caught.value).startswith("net.")
    assert "\n" not in str(caught.value)


def test_chips_have_their_own_neurons() -> None:
    choices = {"neuron": "adlif", "neuron_options": "learn=tau", "charge_gain": 2}
    for field, value in choices.items():
        with pytest.raises(ValueError, match=rf"^net\.{field}: a net for a chip has the neurons"):
            RunConfig.of({"chip": {"profile": "h1v1"}, "net": {field: value}})
    with pytest.raises(ValueError, match=r"^net\.neuron: h1v1 is the neuron of a chip"):
        config_of(neuron="h1v1")


def test_earlier_runs_keep_their_identity() -> None:
    """The seals of their files have it; these hashes are older than neurons, levels and tasks."""
    earlier = {"task": "classification", "padding": "zeros"}
    assert RunConfig.of({"data": earlier}).identity().startswith("b0e2dfb15b16b85a")
    net = {"hidden": [5], "tau": 0.02}
    chip = {"seed": 3, "data": earlier, "net": net, "chip": {"profile": "h1v2"}}
    assert RunConfig.of(chip).identity().startswith("717baa57cf082601")
    assert config_of(neuron="lif").identity() == config_of().identity()
    as_is = RunConfig.of({"data": {"level": "as_is"}})
    assert as_is.identity() != RunConfig().identity()


def test_a_resumed_run_keeps_its_neuron() -> None:
    config = config_of(neuron="adlif", neuron_options="tau_w=0.1,learn=a")
    recorded = RunConfig.of(config.model_dump())
    assert recorded == config
    for same in ({"neuron": "adLIF"}, {"neuron_options": "a=0.02"}, {"neuron_options": "learn=a"}):
        recorded.check_same({"net": same})
    for changed, words in [
        ({"neuron": "lif"}, r"net\.neuron: a resumed run keeps .* got 'lif', expected 'adlif'"),
        ({"neuron": "alif", "neuron_options": "beta=1"}, r"net\.neuron: a resumed run keeps"),
        ({"neuron_options": "tau_w=0.2"}, r"net\.neuron_options\.tau_w: a resumed .* got 0\.2, ex"),
        ({"neuron_options": "learn=b"}, r"net\.neuron_options\.learn: a resumed run"),
        ({"tau": 0.03}, r"net\.tau: a resumed run"),
    ]:
        with pytest.raises(ValueError, match=words):
            recorded.check_same({"net": changed})
    with pytest.raises(ValueError, match=r"net\.neuron: a resumed run keeps .* expected 'lif'"):
        config_of().check_same({"net": {"neuron": "adlif"}})


def test_the_net_has_the_neuron_in_hidden_layers_only() -> None:
    config = config_of(neuron="adlif", neuron_options="tau_w=0.1,learn=(a,b)", population=2)
    net = lif.build((3,), 2, config)
    *hidden, output = (module for module in net if isinstance(module, NeuronLayer))
    assert [type(layer).__name__ for layer in hidden] == ["AdLIFLayer"] * 2
    for layer in hidden:
        assert layer.constant("tau_w").item() == pytest.approx(0.1)
        assert {name for name, _ in layer.named_parameters()} == {"logit_a", "logit_b"}
    assert isinstance(output, LIFLayer)
    assert output.features == (4,)
    assert not list(output.parameters())


def test_initial_weights_suit_the_units_of_the_neuron() -> None:
    """The same seed gives the same weights times the gain; only those to hidden layers."""
    weights = {}
    for name, net in {
        "lif": config_of(),
        "zero": config_of(neuron="lif_zero", neuron_options="threshold=100"),
        "given": config_of(neuron="lif_zero", charge_gain=7),
    }.items():
        torch.manual_seed(0)
        synapses = [m for m in lif.build((3,), 2, net) if isinstance(m, LIFSynapse)]
        weights[name] = [synapse.weight for synapse in synapses]
    gain = lif.hidden_gain(config_of(neuron="lif_zero", neuron_options="threshold=100"))
    assert gain == pytest.approx(100, rel=0.2)
    for name, factor in {"zero": gain, "given": 7.0}.items():
        *hidden, last = zip(weights["lif"], weights[name], strict=True)
        assert torch.equal(*last)
        for expected, got in hidden:
            torch.testing.assert_close(got, factor * expected)
    assert lif.hidden_gain(config_of(neuron_options="learn=tau")) == 1


def test_options_of_lif_neurons_leave_the_output_layer_alone() -> None:
    config = config_of(neuron_options="tau=0.02,learn=(tau,threshold)", threshold=0.5)
    net = lif.build((3,), 2, config)
    *hidden, output = (module for module in net if isinstance(module, NeuronLayer))
    for layer in hidden:
        assert layer.constant("tau").item() == pytest.approx(0.02)
        assert layer.constant("threshold").item() == 0.5
        assert {name for name, _ in layer.named_parameters()} == {"log_taus", "thresholds"}
    assert output.constant("tau").item() == pytest.approx(0.01)


def test_texts_and_dicts_give_the_same_options() -> None:
    expected = {"a": -0.5, "tau": 1e-3, "learn": ("a", "tau")}
    for given in (
        "a=-0.5,tau=1e-3,learn=(a,tau)",
        " a = -.5 , learn = ( a , tau ), tau=0.001",
        {"tau": 0.001, "learn": ["a", "tau", "a"], "a": -0.5},
    ):
        assert parse_neuron_options(given) == expected
    assert parse_neuron_options("learn=a") == {"learn": ("a",)}
    assert parse_neuron_options({"learn": []}) == {}
