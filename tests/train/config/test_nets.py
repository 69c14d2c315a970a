"""The nets of a run: the ranges of their fields, the neurons of hidden layers, pages."""

from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.layers import LIFLayer, LIFSynapse, NeuronLayer
from nwavesdk.presets import lif
from nwavesdk.train import CompletedConfig, RunConfig
from nwavesdk.train.fit.network import sample_config
from train.runs import Choices


def config_of(**net: Any) -> CompletedConfig:
    return sample_config("lif", (3,), 2, "series", hidden=[5, 4], **net)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        ({"dropout": 1.0}, r"^net\.dropout: .*less than 1 \(got 1\.0\)"),
        ({"tau": 0}, r"^net\.tau: .*at least 1e-06"),
        ({"tau": 1e300}, r"^net\.tau: .*at most 10000"),
        ({"tau": 1e-300}, r"^net\.tau: .*at least 1e-06"),
        ({"tau": 20}, r"^net\.tau: time constants are in seconds, got 20 s, .*20 ms, use 0\.02$"),
        ({"tau": True}, r"^net\.tau: expected a number, not a bool \(got True\)"),
        ({"tau": "x"}, r"^net\.tau: expected a number \(got 'x'\)$"),
        ({"threshold": 1e38}, r"^net\.threshold: .*at most 1000000"),
        ({"hidden": ["many"]}, r"^net\.hidden\.0: .*whole number.*\(got 'many'\)"),
        ({"hidden": [2**70]}, r"^net\.hidden\.0: .*at most 100000"),
        ({"hidden": [1e300]}, r"^net\.hidden\.0: .*\(got 1e\+300\)"),
        ({"hidden": [4, ""]}, r"^net\.hidden\.1: .*\(got ''\)"),
        ({"hidden": [1] * 1001}, r"^net\.hidden: .*at most 1000 items"),
        ({"population": 10**6}, r"^net\.population: .*at most 100000"),
        ({"surrogate": "tan"}, r"^net\.surrogate: unknown surrogate 'tan'.*: expected a name"),
        ({"surrogate": "x" * 501}, r"^net\.surrogate: .*at most 500 characters"),
        ({"surrogate": "-" * 499 + "1"}, r"^net\.surrogate: "),
        ({"neuron": "adlf"}, r"^net\.neuron: unknown neuron 'adlf', did you mean 'adlif'\?: "),
        ({"neuron": "li"}, r"^net\.neuron: li is a read-out"),
        ({"neuron": "h1v1"}, r"^net\.neuron: h1v1 is the neuron of a chip: .* --chip h1v1"),
        ({"neuron": "izhikevich", "tau": 0.03}, r"^net\.tau: got 'tau', which izhikevich lacks"),
        (
            {"neuron": "adlif", "constants": "tau_a=1"},
            r"got 'tau_a', which adlif lacks, did you mean 'tau_w'",
        ),
        ({"neuron": "adlif", "learn": "kappa"}, r"got 'kappa', which adlif lacks: it has tau, "),
        ({"neuron": "adlif", "constants": "a=1"}, r"above -1 and below 1, got 1"),
        ({"neuron": "alpha", "constants": "tau=5e-3"}, r"alpha divides by 0 or has no finite"),
        ({"learn": "taus"}, r"'taus', which lif lacks, did you mean 'tau'"),
        ({"name": "file", "page": "net.txt"}, r"^net\.page: .*got 'net\.txt', expected one of"),
        ({"name": "file", "page": "no.py"}, r"^net\.page: .*no\.py does not exist: check the"),
    ],
)
def test_a_bad_field_of_a_net_is_one_line(net: Choices, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        RunConfig.of({"net": {"name": "lif", **net}})
    assert "\n" not in str(caught.value)


def test_a_surrogate_is_written_in_full_and_can_be_read_again() -> None:
    surrogate = RunConfig.of({"net": {"surrogate": "fast_sigmoid"}}).net.surrogate
    assert surrogate == "fast_sigmoid(slope=25.0)"
    assert RunConfig.of({"net": {"surrogate": surrogate}}).net.surrogate == surrogate


def test_all_constants_are_recorded() -> None:
    """Those given, then tau and threshold of the net, then the defaults of the neuron."""
    defaults = {"tau": 0.015, "tau_w": 0.06, "a": 0.02, "b": 0.2, "threshold": 1.0}
    for net, expected in (
        ({}, {}),
        ({"constants": "tau_w=0.2"}, {"tau_w": 0.2}),
        ({"tau": 0.03}, {"tau": 0.03}),
        ({"tau": 0.03, "constants": {"tau": 0.02}}, {"tau": 0.02}),
    ):
        config = config_of(neuron="AdLIFLayer", **net)
        assert config.net.neuron == "adlif"
        assert config.net.constants == {**defaults, **expected}
        assert config.net.tau == net.get("tau", 10e-3)
    assert config_of().net.constants == {}


@pytest.mark.parametrize(
    ("net", "constants", "learned"),
    [
        (
            {"neuron": "adlif", "constants": "tau_w=0.2", "learn": "a,b"},
            {"tau_w": 0.2, "tau": 0.015},
            {"logit_a", "logit_b"},
        ),
        (
            {"constants": "tau=0.02", "learn": ("tau", "threshold"), "threshold": 0.5},
            {"tau": 0.02, "threshold": 0.5},
            {"log_taus", "thresholds"},
        ),
    ],
)
def test_only_hidden_layers_have_the_neuron_and_its_constants(
    net: Choices, constants: dict[str, float], learned: set[str]
) -> None:
    built = lif.build((3,), 2, config_of(**net, population=2))
    *hidden, output = (module for module in built if isinstance(module, NeuronLayer))
    assert len(hidden) == 2
    for layer in hidden:
        assert {name: layer.constant(name).item() for name in constants} == pytest.approx(constants)
        assert {name for name, _ in layer.named_parameters()} == learned
    assert isinstance(output, LIFLayer)
    assert output.features == (4,)
    assert output.constant("tau").item() == pytest.approx(0.01)
    assert not list(output.parameters())


def test_initial_weights_suit_the_units_of_the_neuron() -> None:
    """The same seed gives the same weights times the gain; only those to hidden layers."""
    zero = config_of(neuron="lif_zero", constants="threshold=100")
    gain = lif.hidden_gain(zero.net)
    assert gain == pytest.approx(100, rel=0.2)
    assert lif.hidden_gain(config_of(learn="tau").net) == 1
    weights = []
    for config in (config_of(), zero, config_of(neuron="lif_zero", charge_gain=7)):
        torch.manual_seed(0)
        synapses = [m for m in lif.build((3,), 2, config) if isinstance(m, LIFSynapse)]
        weights.append([synapse.weight for synapse in synapses])
    for scaled, factor in zip(weights[1:], (gain, 7.0), strict=True):
        *hidden, last = zip(weights[0], scaled, strict=True)
        assert torch.equal(*last)
        for expected, got in hidden:
            torch.testing.assert_close(got, factor * expected)
