"""What each public class promises beyond the laws: the seed page, surrogates, preparation, nets, checkpoints."""

import pytest
import torch
from torch import nn

from layers.nets import LAYERS, drive
from nwavesdk.layers import (
    Dropout,
    H1v1Layer,
    H1v1Synapse,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan, custom, fast_sigmoid, sigmoid
from tolerances import GRADIENT, assert_close


def test_the_seed_page_runs_as_written():
    namespace = {}
    exec(
        "from nwavesdk.surrogate import fast_sigmoid, atan, sigmoid\n"
        "from nwavesdk.layers import HWLayer, LIFLayer\n"
        "hw = HWLayer(n_neurons=64, taus=20e-3, dt=1e-3, spike_grad=fast_sigmoid())\n"
        'lif = LIFLayer(n_neurons=64, taus=20e-3, thresholds=1.0, reset_mechanism="subtraction",\n'
        "dt=1e-3, spike_grad=atan(alpha=2.0))\n",
        namespace,
    )
    for name in ("hw", "lif"):
        layer = namespace[name]
        prepare_net(layer)
        spk, mem = layer(drive(2, 10, 64))
        assert spk.shape == mem.shape == (2, 10, 64)


def test_older_names_are_the_h1v1_ones():
    assert HWLayer is H1v1Layer
    assert HWSynapse is H1v1Synapse


@pytest.mark.parametrize("kind", LAYERS)
def test_surrogates_change_gradients_and_never_spikes(kind):
    x = drive(2, 40, 6)
    spikes, grads = [], []
    for surrogate in (
        None,
        fast_sigmoid(5.0),
        atan(),
        sigmoid(),
        custom(lambda z: torch.relu(1 - z.abs())),
    ):
        layer, leaf = LAYERS[kind](6, spike_grad=surrogate), x.clone().requires_grad_()
        prepare_net(layer)
        spk, _ = layer(leaf)
        spk.sum().backward()
        spikes.append(spk)
        grads.append(leaf.grad)
    assert all(torch.equal(s, spikes[0]) for s in spikes)
    for i, a in enumerate(grads):
        assert all(not torch.allclose(a, b) for b in grads[:i])


def test_the_default_surrogate_is_the_documented_baseline():
    assert LIFLayer(3, 20e-3).spike_grad == HWLayer(3, 20e-3).spike_grad == fast_sigmoid(25.0)


@pytest.mark.parametrize("solver", ["serial", "reference"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_foreign_surrogate_gives_its_gradient_on_every_solver(kind, solver):
    """The stand-in is a fast sigmoid of slope 25 that fires at z >= 0: with ours the gradients must agree."""

    class Stranger(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return (z >= 0).float()

        @staticmethod
        def backward(ctx, grad):
            (z,) = ctx.saved_tensors
            return grad / (25 * z.abs() + 1) ** 2

    x, results = drive(2, 40, 6), []
    x[0, 0] = 1.0  # exactly on the threshold: fires for the stranger, not for us
    for surrogate in (lambda z: Stranger.apply(z), fast_sigmoid()):
        layer, leaf = (
            LAYERS[kind](6, spike_grad=surrogate, solver=solver),
            x.clone().requires_grad_(),
        )
        prepare_net(layer)
        spk, _ = layer(leaf)
        spk.sum().backward()
        results.append((spk, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert not results[0][0][0, 0].any()
    assert_close(results[0][1], results[1][1], GRADIENT, "gradient")


class TestGpu:
    """The seed's notes on comPaSSo."""

    def run(self, x, **options):
        layer, leaf = LIFLayer(6, 15e-3, **options), x.clone().requires_grad_()
        prepare_net(layer)
        spk, mem = layer(leaf)
        (spk.sum() + mem.sum()).backward()
        return spk, mem, leaf.grad

    def test_takes_the_fixed_surrogate_with_one_warning(self):
        x = drive(2, 60, 6, dtype=torch.float64)
        with pytest.warns(
            UserWarning,
            match=r"gradient is that of fast_sigmoid\(25\) and spike_grad=ATan.*is not used",
        ):
            fixed = self.run(x, device="gpu", spike_grad=atan())
        expected = self.run(x, spike_grad=fast_sigmoid(25.0))
        assert torch.equal(fixed[0], expected[0])
        for got, want in zip(fixed[1:], expected[1:], strict=True):
            assert_close(got, want, GRADIENT, "comPaSSo")

    @pytest.mark.parametrize(
        "options", [{"compasso_spike_grad": "layer"}, {"solver": "serial"}, {"solver": "reference"}]
    )
    def test_takes_the_layer_s_surrogate_when_told(self, options):
        x = drive(2, 60, 6, dtype=torch.float64)
        got, expected = (
            self.run(x, device="gpu", spike_grad=atan(), **options),
            self.run(x, spike_grad=atan()),
        )
        for a, b in zip(got, expected, strict=True):
            assert_close(a, b, GRADIENT, "comPaSSo")


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

    def test_forgets_the_state_unless_told(self):
        layer, x = LIFLayer(3, 15e-3), drive(2, 10, 3)
        prepare_net(layer)
        first = layer(x)[0]
        second = layer(x)[0]
        prepare_net(layer)
        assert torch.equal(layer(x)[0], first)
        prepare_net(layer, keep_state=True)
        assert torch.equal(layer(x)[0], second)
        assert not torch.equal(first, second)


class TestSynapses:
    def test_product_bias_and_shapes(self):
        synapse = LIFSynapse(3, 5, bias=True)
        synapse.bias.data.fill_(0.25)
        x = torch.rand(2, 7, 3)
        torch.testing.assert_close(synapse(x), x @ synapse.weight + 0.25)
        assert synapse(x[0, 0]).shape == (1, 5)
        assert LIFSynapse(3, 5).bias is None

    def test_effective_weight_is_quantized_charged_and_noisy_in_that_order(self):
        synapse = HWSynapse(40, 50, quantization_bits=4, stddev=0.05)
        prepare_net(synapse, seed=0)
        step = 0.9 / 7
        quantized = torch.round(synapse.weight.clamp(-0.9, 0.9) / step) * step
        charge = 0.9 / torch.sinh(torch.tensor(1.8)) * torch.sinh(2 * quantized)
        noise = (synapse.effective_weight() - charge).detach()
        assert noise.std().item() == pytest.approx(0.05, rel=0.05)
        assert abs(noise.mean().item()) < 0.01
        clean = HWSynapse(40, 50, quantization_bits=4)
        clean.load_state_dict(synapse.state_dict())
        prepare_net(clean)
        torch.testing.assert_close(clean.effective_weight(), charge)

    def test_gradient_passes_straight_through_inside_of_the_range_only(self):
        synapse = H1v2Synapse(2, 2, quantization_bits=3)
        synapse.weight.data = torch.tensor([[0.3, 1.7], [-1.66, -2.0]])
        prepare_net(synapse)
        synapse(torch.ones(1, 2)).sum().backward()
        assert torch.equal(synapse.weight.grad, torch.tensor([[0.5, 0.0], [0.5, 0.0]]))

    def test_gradient_has_the_slope_of_the_charge_law_at_the_quantized_weight(self):
        synapse = HWSynapse(20, 30, quantization_bits=3)
        prepare_net(synapse)
        synapse(torch.ones(1, 20)).sum().backward()
        quantized = torch.round(synapse.weight.detach().clamp(-0.9, 0.9) / 0.3) * 0.3
        expected = 0.9 / torch.sinh(torch.tensor(1.8)) * 2 * torch.cosh(2 * quantized)
        torch.testing.assert_close(synapse.weight.grad, expected)

    def test_weights_written_with_what_they_were_are_not_stale(self):
        synapse = HWSynapse(3, 4)
        prepare_net(synapse)
        synapse.load_state_dict(synapse.state_dict())
        synapse(torch.rand(2, 3))

    @pytest.mark.parametrize("layer", [HWLayer, H1v2Layer])
    def test_recurrent_weights_have_their_own_bits_and_mismatch(self, layer):
        limit, gain = {HWLayer: (0.9, None), H1v2Layer: (1.66, 0.5)}[layer]
        neurons = layer(60, 20e-3, layer_topology="RC", quantization_bits=3, stddev=0.04)
        plain = layer(60, 20e-3, layer_topology="RC", quantization_bits=3)
        plain.load_state_dict(neurons.state_dict())
        for module in (neurons, plain):
            prepare_net(module, seed=0)
        clean = plain.effective_recurrent_weights().detach()
        assert clean.unique().numel() <= 7
        if gain is not None:
            quantized = torch.round(
                plain.recurrent_weights.detach().clamp(-limit, limit) / (limit / 3)
            ) * (limit / 3)
            torch.testing.assert_close(clean, gain * quantized)
        noise = (neurons.effective_recurrent_weights() - clean).detach()
        assert noise.std().item() == pytest.approx(0.04, rel=0.05)

    def test_several_backward_passes_after_one_prepare(self):
        synapse = HWSynapse(3, 4, quantization_bits=5)
        prepare_net(synapse)
        for _ in range(2):
            synapse(torch.rand(2, 3)).sum().backward()
        assert synapse.weight.grad.abs().sum() > 0

    @pytest.mark.parametrize(("make", "limit"), [(HWSynapse, 0.9), (H1v2Synapse, 1.66)])
    def test_default_weights_are_inside_of_the_chip_s_range(self, make, limit):
        assert make(4, 100).weight.abs().max() <= torch.tensor(limit)


def test_h1v2_taus_snap_to_the_profiles_of_the_chip():
    layer = H1v2Layer(3, torch.tensor([0.0005, 0.0206, 0.5]))
    torch.testing.assert_close(layer.taus, torch.tensor([0.001, 0.02, 0.2]))


def test_snapping_takes_the_nearest_in_ratio():
    from nwavesdk.chip import load_profile

    low, high = load_profile("h1v2").tau_profiles[-2:]
    between = 0.5 * (
        (low * high) ** 0.5 + 0.5 * (low + high)
    )  # nearer to `high` in ratio, to `low` in difference
    torch.testing.assert_close(H1v2Layer(1, between).taus, torch.tensor(high))


def test_leak_mismatch_spreads_taus_and_h1v2_also_thresholds():
    for make, spread in ((HWLayer, 0.0), (H1v2Layer, 0.02)):
        layer = make(5000, 20e-3, ileak_mismatch=True)
        prepare_net(layer, seed=0)
        decay, threshold = layer.constants()
        assert (-1e-3 / decay.log()).log().std().item() == pytest.approx(0.1, rel=0.05)
        assert threshold.std().item() == pytest.approx(spread, rel=0.05, abs=1e-7)


@pytest.mark.parametrize("tau", [5e-3, 10e-3, 20e-3])
@pytest.mark.parametrize("synapse", [LIFSynapse, HWSynapse, H1v2Synapse])
def test_default_initialization_gives_living_nets(synapse, tau):
    layer = {LIFSynapse: LIFLayer, HWSynapse: HWLayer, H1v2Synapse: H1v2Layer}[synapse]
    net = SpikingSequential(*[m for _ in range(4) for m in (synapse(100, 100), layer(100, tau))])
    prepare_net(net)
    rates = [
        r.spk.mean().item()
        for r in net.record((torch.rand(4, 200, 100) < 0.05).float()).layers.values()
    ]
    assert min(rates) > 0.01
    assert max(rates) < 0.5


class TestSpikingSequential:
    def test_is_its_modules_in_a_row(self):
        net = SpikingSequential(
            LIFSynapse(3, 6), LIFLayer(6, 10e-3), LIFSynapse(6, 2), LIFLayer(2, 10e-3)
        )
        x = 2 * drive(4, 30, 3)
        prepare_net(net)
        spk, mem = net(x)
        prepare_net(net)
        hidden, _ = net[1](net[0](x))
        expected = net[3](net[2](hidden))
        assert torch.equal(spk, expected[0])
        assert torch.equal(mem, expected[1])

    def test_records_every_neuron_layer_in_the_same_pass(self):
        net = SpikingSequential(
            LIFSynapse(3, 6),
            LIFLayer(6, 10e-3),
            nn.Dropout(0.5),
            LIFSynapse(6, 2),
            LIFLayer(2, 10e-3),
        )
        prepare_net(net)
        recording = net.record(drive(4, 30, 3))
        assert list(recording.layers) == ["1", "4"]
        assert recording.layers["4"].spk is recording.spk
        hidden = recording.layers["1"]
        assert torch.equal(hidden.spk, (hidden.u > 1).float())
        torch.testing.assert_close(hidden.mem, hidden.u - hidden.spk)
        assert not hidden.u.requires_grad

    def test_modules_without_time_see_batch_and_time_as_one(self):
        net = SpikingSequential(
            nn.Conv2d(1, 2, 3),
            LIFLayer((2, 4, 4), 10e-3),
            nn.Flatten(),
            nn.Dropout(0.1),
            LIFSynapse(32, 5),
        )
        prepare_net(net)
        cur, same = net(drive(3, 7, 1, 6, 6))
        assert cur.shape == (3, 7, 5)
        assert cur is same

    def test_runs_step_by_step(self):
        net = SpikingSequential(
            LIFSynapse(3, 6),
            LIFLayer(6, 10e-3),
            nn.Identity(),
            LIFSynapse(6, 2),
            LIFLayer(2, 10e-3),
        )
        x = 2 * drive(4, 30, 3)
        prepare_net(net)
        whole, _ = net(x)
        prepare_net(net)
        assert torch.equal(torch.stack([net(x[:, t])[0] for t in range(30)], 1), whole)

    def test_nests_and_slices(self):
        inner = SpikingSequential(LIFSynapse(3, 6), LIFLayer(6, 10e-3))
        net = SpikingSequential(inner, LIFSynapse(6, 2), LIFLayer(2, 10e-3))
        prepare_net(net)
        assert list(net.record(drive(2, 9, 3)).layers) == ["0.1", "2"]
        assert isinstance(net[1:], SpikingSequential)


class TestDropout:
    def test_drops_neurons_for_a_whole_recording_and_keeps_the_mean(self):
        drop = Dropout(0.25)
        prepare_net(drop)
        y = drop(torch.ones(400, 5, 100))
        assert torch.equal(y, y[:, :1].expand_as(y))
        assert set(y.unique().tolist()) == {0.0, float(1 / torch.tensor(0.75))}
        assert abs(y.mean() - 1) < 0.02  # eight standard deviations: sqrt(1/3 / 40,000) each

    def test_the_mask_stays_until_prepare_net(self):
        drop, x = Dropout(0.5), torch.ones(6, 4, 50)
        prepare_net(drop)
        first = drop(x)
        prepare_net(drop, keep_state=True)
        assert torch.equal(drop(x), first)
        assert torch.equal(torch.stack([drop(x[:, t]) for t in range(4)], 1), first)
        prepare_net(drop)
        assert not torch.equal(drop(x), first)

    def test_the_gradient_passes_where_the_mask_does(self):
        drop, x = Dropout(0.5), torch.zeros(3, 4, 2, 5, dtype=torch.float64, requires_grad=True)
        prepare_net(drop)
        drop(x).sum().backward()
        with torch.no_grad():
            assert torch.equal(x.grad, drop(torch.ones_like(x)))

    def test_a_single_neuron_vector_is_one_step(self):
        drop = Dropout(0.5)
        prepare_net(drop)
        assert drop(torch.ones(40)).unique().tolist() == [0.0, 2.0]

    @pytest.mark.parametrize("drop", [Dropout(0.0), Dropout(0.9).eval()])
    def test_nothing_is_dropped(self, drop):
        x = torch.ones(2, 3, 4)
        assert drop(x) is x

    def test_goes_on_after_inference_and_in_another_dtype(self):
        drop = Dropout(0.1)
        prepare_net(drop)
        with torch.inference_mode():
            half = drop(torch.ones(3, 4, 50, dtype=torch.bfloat16))
        x = torch.ones(3, 4, 50, dtype=torch.float64, requires_grad=True)
        y = drop(x)
        assert torch.equal(y > 0, half > 0)
        assert float(y.detach().max()) == pytest.approx(1 / 0.9, rel=1e-15)
        y.sum().backward()
        assert torch.equal(x.grad, y)

    def test_a_failed_pass_leaves_the_mask_as_it_was(self):
        net = SpikingSequential(Dropout(0.5), LIFSynapse(9, 2))
        prepare_net(net)
        with pytest.raises(ValueError, match="must match"):
            net(torch.ones(2, 3, 8))
        net(torch.ones(5, 3, 9))  # no mask for a batch of two was left behind


def test_a_checkpoint_loads_into_a_layer_in_the_middle_of_a_sequence():
    source = SpikingSequential(
        LIFSynapse(3, 4), LIFLayer(4, torch.rand(4) * 0.01 + 5e-3, layer_topology="RC")
    )
    target = SpikingSequential(
        LIFSynapse(3, 4), LIFLayer(4, torch.rand(4) * 0.01 + 5e-3, layer_topology="RC")
    )
    x = drive(2, 20, 3)
    prepare_net(target)
    target(x)
    state = target[1].state["v"].clone()
    target.load_state_dict(source.state_dict())
    assert torch.equal(target[1].state["v"], state)
    target(x)
    for net in (source, target):
        prepare_net(net)
    assert torch.equal(source(x)[0], target(x)[0])


def test_fixed_and_learned_constants_have_the_same_keys():
    assert set(LIFLayer(3, 20e-3).state_dict()) == set(
        LIFLayer(3, 20e-3, learn_taus=True, learn_thresholds=True).state_dict()
    )
    assert {n for n, _ in LIFLayer(3, 20e-3, learn_taus=True).named_parameters()} == {"log_taus"}


def test_taus_read_in_seconds():
    taus = [5e-3, 10e-3, 20e-3]
    torch.testing.assert_close(LIFLayer(3, taus).taus, torch.tensor(taus))
    decay, _ = LIFLayer(3, taus).constants(torch.float64)
    torch.testing.assert_close(
        decay, torch.exp(-1e-3 / torch.tensor(taus, dtype=torch.float64)), rtol=1e-7, atol=0
    )


def test_print_says_what_a_net_is():
    text = repr(SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 20e-3, spike_grad=atan())))
    assert "(0): LIFSynapse(3, 4)" in text
    assert "(1): LIFLayer(4, taus=0.02, dt=0.001, spike_grad=ATan(alpha=2.0))" in text
