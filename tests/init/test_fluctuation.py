"""One layer in fluctuation-driven initialization, against closed forms and numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from init.nets import KINDS, events, layer_spikes
from layers.pages import AdaptiveLayer
from nwavesdk.init import fluct_init
from nwavesdk.init.fluctuation import psp_kernel, rest_distance
from nwavesdk.layers import (
    H1v2Layer,
    HWLayer,
    LIFLayer,
    LIFSynapse,
    Positive,
    Real,
    SpikingSequential,
    TimeConstant,
    decay,
    held,
    neuron,
    prepare_net,
    spike,
)

BETA = np.exp(-0.1)  # dt 1 ms, tau 10 ms


def z(rows, columns, seed):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).double()


class TestKernel:
    @pytest.mark.parametrize("reset", ["subtraction", "none"])
    def test_of_a_lif_neuron_is_an_exponential(self, reset):
        kernel = psp_kernel(
            LIFLayer(2, taus=[5e-3, 20e-3], thresholds=[0.5, 2.0], reset_mechanism=reset)
        )
        expected = np.exp(-np.arange(len(kernel))[:, None] * 1e-3 / np.array([5e-3, 20e-3]))
        np.testing.assert_allclose(
            kernel, expected, atol=1e-7
        )  # taus are stored as float32 logarithms
        assert kernel[-1].max() < 1e-6

    @pytest.mark.parametrize("layer", [HWLayer, H1v2Layer])
    def test_of_a_chip_is_without_mismatch_and_does_not_change_the_layer(self, layer):
        layer = layer(30, 20e-3, ileak_mismatch=True, layer_topology="RC")
        prepare_net(layer)
        layer(torch.rand(2, 5, 30))
        before = (
            layer.state["v"].clone(),
            layer.times_prepared,
            layer.effective_constants()["tau"].clone(),
        )
        kernel = psp_kernel(layer)
        np.testing.assert_allclose(kernel[:, 0].sum(), 1 / (1 - np.exp(-1 / 20)), rtol=1e-5)
        assert torch.equal(kernel, kernel[:, :1].expand_as(kernel))
        assert torch.equal(layer.state["v"], before[0])
        assert layer.times_prepared == before[1]
        assert torch.equal(layer.effective_constants()["tau"], before[2])

    def test_a_membrane_that_does_not_decay_is_rejected(self):
        with pytest.raises(
            RuntimeError, match="LIFLayer: the membrane has not decayed 131072 steps after a charge"
        ):
            psp_kernel(LIFLayer(1, taus=1e4))


@neuron
def SynapticLayer(
    x, v=-65.0, i=0.0, *, tau: TimeConstant = 10e-3, rest: Real = -65.0, threshold: Real = -50.0
):
    """A neuron whose charge arrives through a current, with a membrane in mV."""
    j = 0.5 * i + x
    u = rest + decay(tau) * (v - rest) + j
    s = spike(u - threshold)
    return s, u - 15.0 * held(s), j


@neuron
def DeafLayer(x, v, *, threshold: Positive = 1.0):
    u = torch.maximum(x - 0.5, 0.0) + 0.5 * v
    s = spike(u - threshold)
    return s, u


class TestAnyNeuron:
    def test_the_kernel_and_the_distance_are_those_of_z(self):
        layer = SynapticLayer(2, tau=[5e-3, 20e-3])
        np.testing.assert_allclose(rest_distance(layer), [15.0, 15.0], rtol=1e-12)
        kernel, beta = psp_kernel(layer), np.exp(-1e-3 / np.array([5e-3, 20e-3]))
        u, j, expected = np.zeros(2), 1.0, []
        for _ in range(len(kernel)):
            u = beta * u + j
            expected.append(u)
            j *= 0.5
        np.testing.assert_allclose(kernel, expected, atol=1e-7)

    def test_it_gets_the_wanted_fluctuations(self):
        x = events(0.05, 4, 1000, 64)
        net = SpikingSequential(LIFSynapse(64, 100), SynapticLayer(100))
        report = fluct_init(net, x, 2.0, mu_u=0.2, max_dead=0.99, seed=0)
        assert report.layers[0].xi_measured == pytest.approx(2.0, rel=0.1)
        assert 0 < report.layers[0].rate < 0.1

    def test_adaptation_does_not_count_below_the_threshold(self):
        adaptive, plain = psp_kernel(AdaptiveLayer(2, tau=5e-3)), psp_kernel(LIFLayer(2, 5e-3))
        np.testing.assert_allclose(adaptive, plain, atol=1e-10)

    @pytest.mark.parametrize(
        ("layer", "words"),
        [
            (lambda: SynapticLayer(3, rest=-40.0), "SynapticLayer: neurons spike without input"),
            (lambda: DeafLayer(3), "DeafLayer: the membrane does not respond to a small charge"),
        ],
    )
    def test_a_neuron_without_a_measurable_kernel_is_refused_by_name(self, layer, words):
        net = SpikingSequential(LIFSynapse(16, 3), layer())
        weight = net[0].weight.detach().clone()
        with pytest.raises(RuntimeError, match=words):
            fluct_init(net, events(0.05, 2, 50, 16))
        assert torch.equal(net[0].weight, weight)


class TestStatistics:
    def test_weights_are_those_of_the_formulas(self):
        x = events(0.02, 4, 500, 30)
        net = SpikingSequential(
            LIFSynapse(30, 3, bias=True), LIFLayer(3, [5e-3, 10e-3, 10e-3], [1.0, 1.0, 2.0])
        )
        nn.init.ones_(net[0].bias)
        report = fluct_init(net, x, xi_targets=2.5, mu_u=0.2, max_dead=0.99, seed=3)
        beta, theta = np.exp(-1 / np.array([5.0, 10.0, 10.0])), np.array([1.0, 1.0, 2.0])
        rate = float(x.mean())
        mean = 0.2 * theta * (1 - beta) / (30 * rate)
        variance = (0.8 * theta / 2.5) ** 2 * (1 - beta**2) / (30 * rate) - mean**2
        np.testing.assert_allclose(
            net[0].weight.detach(), mean + np.sqrt(variance) * z(30, 3, 3).numpy(), rtol=1e-4
        )
        assert not net[0].bias.any()
        (layer,) = report.layers
        assert (layer.xi, layer.raised, layer.at_limit, layer.passes) == (2.5, 0, 0, 1)

    def test_values_count_by_mean_and_mean_square(self):
        x = torch.tensor([0.5, -0.25]).expand(2, 40, 2)
        net = SpikingSequential(LIFSynapse(2, 4), LIFLayer(4, 10e-3))
        fluct_init(net, x, mu_u=0.1, xi_targets=1.0, max_dead=0.99, seed=0)
        first, second = 0.125, (0.25 + 0.0625) / 2
        mean = 0.1 * (1 - BETA) / (2 * first)
        std = np.sqrt(0.9**2 * (1 - BETA**2) / (2 * second) - mean**2)
        np.testing.assert_allclose(
            net[0].weight.detach(), mean + std * z(2, 4, 0).numpy(), rtol=1e-4
        )

    @pytest.mark.parametrize("mu_u", [0.0, 0.3])
    def test_the_membrane_is_at_the_wanted_distance(self, mu_u):
        rate, xi, x = 0.01, 3.0, events(0.01, 4, 4000, 64)
        net = SpikingSequential(LIFSynapse(64, 200), LIFLayer(200, 10e-3))
        report = fluct_init(net, x, xi, mu_u=mu_u, max_dead=0.99, seed=0)
        charge = x.double().numpy() @ net[0].weight.detach().double().numpy()
        v, mem = np.zeros((4, 200)), []
        for t in range(4000):
            v = BETA * v + charge[:, t]
            mem.append(v)
        mem = np.array(mem[100:]).reshape(-1, 200)
        std = (1 - mu_u) / xi
        assert abs(mem.mean() - mu_u) < 0.04  # 0.011 from 200 neurons
        # Spikes that are 0 or 1 spread less than the paper's Poisson ones.
        assert np.sqrt(mem.var(0).mean()) == pytest.approx(std * np.sqrt(1 - rate), rel=0.03)
        assert report.layers[0].xi_measured == pytest.approx((1 - mu_u) / std, rel=0.1)

    @pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
    def test_on_a_chip_charges_have_the_statistics_and_weights_stop_at_the_limit(self, chip):
        synapse, layer = KINDS[chip]
        x = events(0.02, 4, 300, 16)
        net = SpikingSequential(synapse(16, 40), layer(40, 10e-3))
        report = fluct_init(net, x, 2.0, max_dead=0.99, seed=5)
        tau = float(net[1].taus)
        std = np.sqrt((1 - np.exp(-2e-3 / tau)) / (16 * float(x.mean()))) / 2
        weight = net[0].weight.detach().double().numpy()
        limit = {"h1v1": 0.9, "h1v2": 1.66}[chip]
        charge = 0.9 * np.sinh(2 * weight) / np.sinh(1.8) if chip == "h1v1" else 0.5 * weight
        wanted = std * z(16, 40, 5).numpy()
        inside = np.abs(weight) < limit * 0.999
        np.testing.assert_allclose(charge[inside], wanted[inside], rtol=1e-4)
        assert np.all(np.abs(weight) <= np.float32(limit))
        assert report.layers[0].at_limit == pytest.approx(1 - inside.mean())
        assert not inside.all()

    def test_the_default_distance_grows_where_the_chip_cannot_hold_the_weights(self):
        x = events(0.01, 4, 300, 16)
        xi = {}
        for kind, (synapse, layer) in KINDS.items():
            net = SpikingSequential(synapse(16, 40), layer(40, 10e-3))
            report = fluct_init(net, x, max_dead=0.99, seed=5)
            xi[kind] = report.layers[0].xi
            assert report.layers[0].at_limit < 0.08
        # The largest charges are infinite, 0.9 and 0.83.
        assert 2 == xi["lif"] < xi["h1v1"] < xi["h1v2"]
        tau = float(net[1].taus)
        std = np.sqrt((1 - np.exp(-2e-3 / tau)) / (16 * float(x.mean()))) / xi["h1v2"]
        assert std == pytest.approx(0.83 / 2, rel=1e-4)

    def test_recurrence_takes_its_share_of_the_variance(self):
        x = events(0.02, 4, 400, 30)

        def weights(alpha):
            net = SpikingSequential(LIFSynapse(30, 50), LIFLayer(50, 10e-3, layer_topology="RC"))
            report = fluct_init(net, x, alpha=alpha, max_dead=0.99, seed=0)
            return net[0].weight.detach(), net[1].recurrent_weights.detach(), report.layers[0].rate

        whole, none, rate = weights(1.0)
        part, recurrent, _ = weights(0.75)
        assert not none.any()
        torch.testing.assert_close(part, whole * 0.75**0.5)
        std = np.sqrt(0.25 * (1 - BETA**2) / (50 * rate)) / 2
        assert float(recurrent.std()) == pytest.approx(std, rel=0.05)

    def test_the_measured_distance_counts_recurrent_charge(self):
        x = events(0.05, 2, 300, 30)
        net = SpikingSequential(LIFSynapse(30, 20), LIFLayer(20, 10e-3, layer_topology="RC"))
        report = fluct_init(net, x, 1.0, alpha=0.3, max_dead=0.99, seed=0)
        (spk,) = layer_spikes(net, x)
        charge = (x @ net[0].weight).detach().double().numpy()
        charge[:, 1:] += (spk[:, :-1] @ net[1].recurrent_weights).detach().double().numpy()
        v, mem = np.zeros((2, 20)), []
        for t in range(300):
            v = BETA * v + charge[:, t]
            mem.append(v)
        mem = np.array(mem).reshape(-1, 20)
        assert report.layers[0].xi_measured == pytest.approx(
            (1 - mem.mean()) / np.sqrt(mem.var(0).mean()), rel=1e-4
        )

    def test_an_unreachable_distance_is_rejected_with_the_largest_reachable_one(self):
        x = torch.ones(1, 50, 4)
        net = SpikingSequential(LIFSynapse(4, 5), LIFLayer(5, 10e-3))
        with pytest.raises(
            ValueError,
            match=r"xi 50 of LIFSynapse '0' is not reachable with mu_u=0.5.*up to (\S+),",
        ) as e:
            fluct_init(net, x, 50.0, mu_u=0.5)
        highest = float(str(e.value).split("up to ")[1].split(",")[0])
        fluct_init(net, x, 0.99 * highest, mu_u=0.5)
        with pytest.raises(ValueError, match="not reachable"):
            fluct_init(net, x, 1.01 * highest, mu_u=0.5)
