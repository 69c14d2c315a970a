"""Fluctuation-driven initialization: against closed forms and a membrane in numpy; silent nets wake up."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from init.nets import KINDS, deep, events, faint
from nwavesdk.init import fluct_init
from nwavesdk.init.fluctuation import psp_kernel
from nwavesdk.layers import (
    ChipInstance,
    Dropout,
    H1v1Synapse,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)

BETA = np.exp(-0.1)  # dt 1 ms, tau 10 ms


def spikes(net, x):
    prepare_net(net)
    return [layer.spk.detach() for layer in net.record(x).layers.values()]


def z(rows, columns, seed):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).double()


class TestKernel:
    @pytest.mark.parametrize("reset", ["subtraction", "zero", "none"])
    def test_of_a_lif_neuron_is_the_decay_to_the_power_of_time(self, reset):
        kernel = psp_kernel(
            LIFLayer(2, taus=[5e-3, 20e-3], thresholds=[0.5, 2.0], reset_mechanism=reset)
        )
        expected = np.exp(-np.arange(len(kernel))[:, None] * 1e-3 / np.array([5e-3, 20e-3]))
        np.testing.assert_allclose(
            kernel, expected, atol=1e-7
        )  # taus are kept as float32 logarithms
        assert kernel[-1].max() < 1e-6

    @pytest.mark.parametrize("layer", [HWLayer, H1v2Layer])
    def test_of_a_chip_is_that_without_mismatch_and_leaves_the_layer_alone(self, layer):
        layer = layer(30, 20e-3, ileak_mismatch=True, layer_topology="RC")
        prepare_net(layer)
        layer(torch.rand(2, 5, 30))
        before = (
            layer.state["v"].clone(),
            layer.times_prepared,
            layer.effective_constants()[0].clone(),
        )
        kernel = psp_kernel(layer)
        np.testing.assert_allclose(kernel[:, 0].sum(), 1 / (1 - np.exp(-1 / 20)), rtol=1e-5)
        assert torch.equal(kernel, kernel[:, :1].expand_as(kernel))
        assert torch.equal(layer.state["v"], before[0])
        assert layer.times_prepared == before[1]
        assert torch.equal(layer.effective_constants()[0], before[2])

    def test_a_membrane_that_does_not_decay_is_refused(self):
        with pytest.raises(
            RuntimeError, match="LIFLayer: the membrane has not decayed 131072 steps after a charge"
        ):
            psp_kernel(LIFLayer(1, taus=1e4))


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
        assert abs(mem.mean() - mu_u) < 0.04  # 0.011 from 200 neurons with weights of their own
        # Spikes that are 0 or 1 spread less than the paper's Poisson ones.
        assert np.sqrt(mem.var(0).mean()) == pytest.approx(std * np.sqrt(1 - rate), rel=0.03)
        assert report.layers[0].xi_measured == pytest.approx((1 - mu_u) / std, rel=0.1)

    @pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
    def test_on_a_chip_charges_have_them_and_weights_stop_at_the_limit(self, chip):
        synapse, layer = KINDS[chip]
        x = events(0.05, 4, 300, 16)
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

    def test_the_default_distance_grows_where_the_chip_cannot_hold_the_weights(self):
        x = events(0.01, 4, 300, 16)
        xi = {}
        for kind, (synapse, layer) in KINDS.items():
            net = SpikingSequential(synapse(16, 40), layer(40, 10e-3))
            report = fluct_init(net, x, max_dead=0.99, seed=5)
            xi[kind] = report.layers[0].xi
            assert report.layers[0].at_limit < 0.08
        assert (
            2 == xi["lif"] < xi["h1v1"] < xi["h1v2"]
        )  # the largest charges are none, 0.9 and 0.83
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
        (spk,) = spikes(net, x)
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

    def test_a_distance_that_the_mean_forbids_is_refused_and_the_nearest_is_told(self):
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


class TestWaking:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_silent_deep_net_wakes_up_and_learns_in_its_first_layer(self, kind):
        net, x = deep(kind), faint(kind)
        before = spikes(net, x)
        assert not before[-1].any()
        report = fluct_init(net, x, seed=0)
        for layer, spk in zip(report.layers, spikes(net, x), strict=True):
            assert bool(spk.any(0).any(0).all())
            assert layer.dead == 0
            assert layer.rate == pytest.approx(float(spk.mean()))
            assert layer.rate < 0.1
        prepare_net(net)
        net(x)[0].mean().backward()
        assert float(net[0].weight.grad.norm()) > 0

    def test_only_dead_neurons_are_raised_and_as_little_as_wakes_them(self):
        x = events(0.02, 4, 100, 16)
        before, after = (
            SpikingSequential(LIFSynapse(16, 60), LIFLayer(60, 10e-3)) for _ in range(2)
        )
        fluct_init(before, x, 3.0, max_dead=0.99, seed=0)
        report = fluct_init(after, x, 3.0, seed=0)
        shift = (after[0].weight - before[0].weight).detach()
        raised = shift.abs().max(0).values > 1e-6
        dead = ~spikes(before, x)[0].any(0).any(0)
        assert torch.equal(raised, dead)
        assert 0 < int(dead.sum()) < 60
        assert report.layers[0].raised == pytest.approx(float(dead.float().mean()))
        torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-6, rtol=0)
        with torch.no_grad():
            after[0].weight.sub_(0.02 * shift)
        assert not spikes(after, x)[0][:, :, dead].any(0).any(0).all()

    def test_some_may_stay_dead(self):
        x = events(0.02, 4, 100, 16)
        net = SpikingSequential(LIFSynapse(16, 60), LIFLayer(60, 10e-3))
        assert fluct_init(net, x, 3.0, max_dead=0.7, seed=0).layers[0].raised == 0
        report = fluct_init(net, x, 3.0, max_dead=0.05, seed=0)
        assert report.dead <= 0.05
        assert report.layers[0].raised > 0

    @pytest.mark.parametrize("alpha", [1.0, 0.6])
    @pytest.mark.parametrize("kind", KINDS)
    def test_recurrent_layers_wake_too(self, kind, alpha):
        net, x = deep(kind, depth=3, layer_topology="RC"), events(0.05, 4, 200, 16)
        assert fluct_init(net, x, alpha=alpha, seed=0).dead == 0
        assert all(bool(spk.any(0).any(0).all()) for spk in spikes(net, x))

    def test_what_the_chip_s_limit_forbids_is_told_and_the_best_is_left(self):
        net = SpikingSequential(H1v2Synapse(16, 10), H1v2Layer(10, 5e-3))
        x = events(0.02, 1, 40, 16, size=0.2)
        with pytest.warns(
            RuntimeWarning, match=r"100.0% of the neurons of layer '1' stay dead.*raise the gain"
        ) as found:
            report = fluct_init(net, x, seed=0)
        assert found[0].filename == __file__
        assert report.dead == 1
        assert float((net[0].weight > 0).float().mean()) > 0.9

    def test_quantization_counts_and_mismatch_does_not(self):
        def net(bits, stddev):
            return SpikingSequential(
                H1v1Synapse(16, 40, bits, stddev),
                HWLayer(40, 10e-3, ileak_mismatch=stddev is not None),
            )

        x = events(0.03, 4, 200, 16)
        plain, noisy, coarse = net(4, None), net(4, 0.5), net(None, None)
        reports = [fluct_init(n, x, seed=0) for n in (plain, noisy, coarse)]
        assert torch.equal(plain[0].weight, noisy[0].weight)
        assert reports[0].layers[0].rate != reports[2].layers[0].rate
        with ChipInstance(None).on(noisy):
            assert reports[1].layers[0].rate == pytest.approx(float(spikes(noisy, x)[0].mean()))

    def test_the_report_is_a_table(self):
        x = events(0.02, 4, 100, 16)
        lines = str(fluct_init(deep("lif", depth=2), x, seed=0)).splitlines()
        assert lines[0].split() == [
            "layer", "xi", "xi_measured", "mean", "std", "rate", "dead", "raised", "at_limit", "passes",
        ]  # fmt: skip
        assert [line.split()[:4] for line in lines[1:]] == [
            ["0", "→", "1", "2.00"],
            ["2", "→", "3", "2.00"],
        ]


class Steps(nn.Module):
    """A net that loops over time itself, with a read-out."""

    def __init__(self):
        super().__init__()
        self.a, self.first = LIFSynapse(16, 20), LIFLayer(20, 10e-3)
        self.b, self.second = LIFSynapse(20, 10), LIFLayer(10, 10e-3)
        self.out = LIFSynapse(10, 2)

    def forward(self, x):
        outputs = []
        for t in range(x.shape[1]):
            spk, _ = self.first(self.a(x[:, t]))
            spk, _ = self.second(self.b(spk))
            outputs.append(self.out(spk))
        return torch.stack(outputs, 1)


class TestModels:
    def test_loops_over_time_nests_and_other_modules_give_the_same(self):
        x = events(0.02, 4, 100, 16)
        steps = Steps()
        out = steps.out.weight.detach().clone()
        row = SpikingSequential(
            SpikingSequential(LIFSynapse(16, 20), LIFLayer(20, 10e-3)), Dropout(0.5), nn.Dropout(0.5),
            LIFSynapse(20, 10), nn.Unflatten(1, (2, 5)), LIFLayer((2, 5), 10e-3),
        )  # fmt: skip
        reports = [fluct_init(net, x, seed=0) for net in (steps, row)]
        torch.testing.assert_close(steps.a.weight, row[0][0].weight)
        torch.testing.assert_close(steps.b.weight, row[3].weight)
        assert torch.equal(steps.out.weight, out)
        assert [layer.synapse for layer in reports[0].layers] == ["a", "b"]
        assert [layer.layer for layer in reports[1].layers] == ["0.1", "5"]

    def test_all_else_is_as_it_was(self):
        net, x = deep("h1v1", depth=2, ileak_mismatch=True), events(0.05, 4, 100, 16)
        ChipInstance(3).hold(net)
        prepare_net(net)
        net(x)[1].sum().backward()
        net[2].eval()
        state, grad, held, drawn = (
            net[3].state["v"].clone(),
            net[0].weight.grad,
            net[1].chip_noise,
            torch.get_rng_state(),
        )
        times, leak = net[1].times_prepared, net[1].effective_constants()[0].clone()
        fluct_init(net, x, seed=0)
        assert torch.equal(net[3].state["v"], state)
        assert net[0].weight.grad is grad
        assert net[1].chip_noise is held
        assert torch.equal(torch.get_rng_state(), drawn)
        assert [m.training for m in net] == [True, True, False, True]
        assert net[1].times_prepared == times
        assert torch.equal(net[1].effective_constants()[0], leak)
        assert all(p.requires_grad and p.grad_fn is None for p in net.parameters())
        assert not any(name in vars(net[1]) for name in ("forward", "spikes", "record"))
        with pytest.raises(RuntimeError, match="stale"):
            net(x)

    def test_a_seed_repeats_it_and_none_draws_from_torch(self):
        x = events(0.05, 4, 100, 16)
        nets = [deep("lif", depth=2) for _ in range(4)]
        for net, seed in zip(nets, (1, 1, None, None), strict=True):
            fluct_init(net, x, seed=seed)
        assert torch.equal(nets[0][2].weight, nets[1][2].weight)
        assert not torch.equal(nets[2][2].weight, nets[3][2].weight)

    def test_inputs_come_in_many_forms(self):
        x = events(0.05, 8, 100, 16)
        y = torch.zeros(8)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x.to(torch.uint8), y), batch_size=4
        )
        weights = []
        for inputs in (x, (x, y), [x[:4], x[4:]], loader, iter([(x, y)])):
            net = deep("lif", depth=2)
            fluct_init(net, inputs, seed=1)
            weights.append(net[2].weight.detach())
        for weight in weights:
            torch.testing.assert_close(weight, weights[0])
        few = deep("lif", depth=2)
        fluct_init(few, loader, max_batches=1, seed=1)
        assert not torch.allclose(few[2].weight, weights[0])

    def test_double_precision(self):
        net = deep("h1v1", depth=2).double()
        assert fluct_init(net, events(0.05, 4, 200, 16), seed=0).dead == 0
        assert net[0].weight.dtype == torch.float64


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.layer = LIFSynapse(16, 5), LIFSynapse(16, 5), LIFLayer(5, 10e-3)

    def forward(self, x):
        return self.layer(self.a(x) + self.b(x))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.one, self.two = LIFSynapse(16, 5), LIFLayer(5, 10e-3), LIFLayer(5, 20e-3)

    def forward(self, x):
        cur = self.a(x)
        return self.one(cur), self.two(cur)


def parametrized():
    net = deep("lif", depth=2)
    parametrize.register_parametrization(net[2], "weight", nn.Identity())
    return net


X = events(0.05, 2, 50, 16)


@pytest.mark.parametrize(
    ("make", "inputs", "options", "error", "words"),
    [
        (
            Sum,
            X,
            {},
            RuntimeError,
            r"LIFSynapse 'a': its charge does not reach a neuron layer unchanged.*one by one",
        ),
        (
            Twice,
            X,
            {},
            RuntimeError,
            "LIFSynapse 'a' drives both LIFLayer 'one' and LIFLayer 'two', expected one",
        ),
        (
            parametrized,
            X,
            {},
            RuntimeError,
            r"'2' is parametrized \(by SignAnnealing.*initialize before",
        ),
        (
            lambda: nn.Linear(16, 3),
            X,
            {},
            RuntimeError,
            "found no synapse with a neuron layer in Linear",
        ),
        (lambda: 3, X, {}, TypeError, "fluct_init takes a torch module, got int"),
        (
            lambda: deep("lif"),
            0 * X,
            {},
            RuntimeError,
            "the input of LIFSynapse '0' is silent.*has not changed",
        ),
        (lambda: deep("lif"), 3, {}, TypeError, "inputs must be a batch.*got int"),
        (lambda: deep("lif"), [], {}, ValueError, "inputs have no batch"),
        (lambda: deep("lif"), ["x"], {}, TypeError, "a batch must be a tensor or .*, got str"),
        (
            lambda: deep("lif"),
            X[0],
            {},
            ValueError,
            r"inputs must be sequences \[B, T, N_in\], got .*\[50, 16\]",
        ),
        (lambda: deep("lif"), X[:0], {}, ValueError, "finite and not empty"),
        (lambda: deep("lif"), X * float("nan"), {}, ValueError, "finite and not empty"),
        (
            lambda: deep("lif"),
            X,
            {"xi_targets": [2, 2]},
            ValueError,
            r"one per layer \(6: 1, 3, 5, .*got 2",
        ),
        (
            lambda: deep("lif"),
            X,
            {"xi_targets": 0.0},
            ValueError,
            "xi_targets must be a finite number above 0, got 0.0",
        ),
        (
            lambda: deep("lif"),
            X,
            {"alpha": 0},
            ValueError,
            "alpha must be a finite number above 0 and of at most 1, got 0",
        ),
        (lambda: deep("lif"), X, {"mu_u": 1.0}, ValueError, "mu_u must be a finite number below 1"),
        (
            lambda: deep("lif"),
            X,
            {"max_dead": 1},
            ValueError,
            "max_dead must be a finite number of at least 0 and below 1, got 1",
        ),
        (
            lambda: deep("lif"),
            X,
            {"max_batches": 0},
            ValueError,
            "max_batches must be a whole number of at least 1, got 0",
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(make, inputs, options, error, words):
    model = make()
    before = copy.deepcopy(model.state_dict()) if isinstance(model, nn.Module) else {}
    with pytest.raises(error, match=words):
        fluct_init(model, inputs, **options)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_an_error_in_a_late_layer_leaves_the_early_ones():
    net = SpikingSequential(
        LIFSynapse(16, 5), LIFLayer(5, 10e-3), LIFSynapse(5, 5), LIFLayer(5, taus=1e4)
    )
    weight = net[0].weight.detach().clone()
    with pytest.raises(RuntimeError, match="has not decayed"):
        fluct_init(net, X)
    assert torch.equal(net[0].weight, weight)
