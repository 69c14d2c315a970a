"""Fluctuation-driven initialization of nets: silent ones wake up, and errors change nothing."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from init.nets import KINDS, deep, events, faint, layer_spikes
from layers.nets import run
from nwavesdk.init import fluct_init
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
)


class TestWaking:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_silent_deep_net_wakes_up_and_learns_in_its_first_layer(self, kind):
        net, x = deep(kind), faint(kind)
        before = layer_spikes(net, x)
        assert not before[-1].any()
        report = fluct_init(net, x, seed=0)
        for layer, spk in zip(report.layers, layer_spikes(net, x), strict=True):
            assert bool(spk.any(0).any(0).all())
            assert layer.dead == 0
            assert layer.rate == pytest.approx(float(spk.mean()))
            assert layer.rate < 0.1
        run(net, x)[0].mean().backward()
        assert float(net[0].weight.grad.norm()) > 0

    def test_only_dead_neurons_are_raised_as_little_as_wakes_them(self):
        x = events(0.02, 4, 100, 16)
        before, after = (
            SpikingSequential(LIFSynapse(16, 60), LIFLayer(60, 10e-3)) for _ in range(2)
        )
        fluct_init(before, x, 3.0, max_dead=0.99, seed=0)
        report = fluct_init(after, x, 3.0, seed=0)
        shift = (after[0].weight - before[0].weight).detach()
        raised = shift.abs().max(0).values > 1e-6
        dead = ~layer_spikes(before, x)[0].any(0).any(0)
        assert torch.equal(raised, dead)
        assert 0 < int(dead.sum()) < 60
        assert report.layers[0].raised == pytest.approx(float(dead.float().mean()))
        torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-6, rtol=0)
        with torch.no_grad():
            after[0].weight.sub_(0.02 * shift)
        assert not layer_spikes(after, x)[0][:, :, dead].any(0).any(0).all()

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
        assert all(bool(spk.any(0).any(0).all()) for spk in layer_spikes(net, x))

    def test_neurons_that_the_chip_s_limit_keeps_dead_are_reported(self):
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
            assert reports[1].layers[0].rate == pytest.approx(
                float(layer_spikes(noisy, x)[0].mean())
            )

    def test_the_report_is_a_table(self):
        x = events(0.02, 4, 100, 16)
        lines = str(fluct_init(deep("lif", depth=2), x, seed=0)).splitlines()
        assert lines[0].split() == [
            "layer",
            "xi",
            "xi_measured",
            "mean",
            "std",
            "rate",
            "dead",
            "raised",
            "at_limit",
            "passes",
        ]
        assert [line.split()[:4] for line in lines[1:]] == [
            ["0", "→", "1", "2.00"],
            ["2", "→", "3", "2.00"],
        ]

    def test_the_report_lists_the_modules_that_it_does_not_cover(self):
        hidden = deep("lif", depth=1)
        net = SpikingSequential(*hidden, nn.LayerNorm(hidden[1].features[0]))
        report = fluct_init(net, events(0.02, 4, 100, 16), seed=0)
        assert report.uncovered == ("2",)
        assert str(report).endswith("Not initialized, neither synapse nor neuron layer: 2.")


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
        sequential = SpikingSequential(
            SpikingSequential(LIFSynapse(16, 20), LIFLayer(20, 10e-3)),
            Dropout(0.5),
            nn.Dropout(0.5),
            LIFSynapse(20, 10),
            nn.Unflatten(1, (2, 5)),
            LIFLayer((2, 5), 10e-3),
        )
        reports = [fluct_init(net, x, seed=0) for net in (steps, sequential)]
        torch.testing.assert_close(steps.a.weight, sequential[0][0].weight)
        torch.testing.assert_close(steps.b.weight, sequential[3].weight)
        assert torch.equal(steps.out.weight, out)
        assert [layer.synapse for layer in reports[0].layers] == ["a", "b"]
        assert [layer.layer for layer in reports[1].layers] == ["0.1", "5"]

    def test_everything_but_the_weights_is_unchanged(self):
        net, x = deep("h1v1", depth=2, ileak_mismatch=True), events(0.05, 4, 100, 16)
        ChipInstance(3).hold(net)
        run(net, x)[1].sum().backward()
        net[2].eval()
        state, grad, held, drawn = (
            net[3].state["v"].clone(),
            net[0].weight.grad,
            net[1].chip_noise,
            torch.get_rng_state(),
        )
        times, leak = net[1].times_prepared, net[1].effective_constants()["tau"].clone()
        fluct_init(net, x, seed=0)
        assert torch.equal(net[3].state["v"], state)
        assert net[0].weight.grad is grad
        assert net[1].chip_noise is held
        assert torch.equal(torch.get_rng_state(), drawn)
        assert [m.training for m in net] == [True, True, False, True]
        assert net[1].times_prepared == times
        assert torch.equal(net[1].effective_constants()["tau"], leak)
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

    def test_max_batches_bounds_the_inputs(self):
        x = events(0.05, 8, 100, 16)
        weights = []
        for inputs, count in (([x[:4], x[4:]], 4), ([x[:4], x[4:]], 1), (x[:4], 4)):
            net = deep("lif", depth=2)
            fluct_init(net, inputs, max_batches=count, seed=1)
            weights.append(net[2].weight.detach())
        assert not torch.allclose(weights[0], weights[1])
        assert torch.equal(weights[1], weights[2])

    def test_double_precision(self):
        net = deep("h1v1", depth=2).double()
        assert fluct_init(net, events(0.05, 4, 200, 16), seed=0).dead == 0
        assert net[0].weight.dtype == torch.float64


def parametrized():
    net = deep("lif", depth=2)
    parametrize.register_parametrization(net[2], "weight", nn.Identity())
    return net


X = events(0.05, 2, 50, 16)


@pytest.mark.parametrize(
    ("make", "inputs", "options", "error", "words"),
    [
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
def test_an_error_names_what_is_wrong_and_nothing_changes(make, inputs, options, error, words):
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
