"""`DelayedSynapse`: values and gradients, state, delays in range, and bad input by its words."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from nwavesdk.layers import (
    DelayedSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    detach_state,
    find_edges,
    prepare_net,
)
from nwavesdk.net import streaming
from nwavesdk.solvers.sparse.delays_reference import delayed_product
from tolerances import GRADIENT, assert_close

KINDS = {
    "synaptic": {},
    "axonal": {"per": "input"},
    "gaussian": {"interpolation": "gaussian", "width": 0.8},
    "fixed": {"learn_delays": False, "bias": True},
}


def delayed(kind="synaptic", **options):
    torch.manual_seed(1)
    return DelayedSynapse(5, 4, 6, **KINDS[kind], **options)


def spikes(B=3, T=14, N=5, density=0.3):
    torch.manual_seed(2)
    return (torch.rand(B, T, N) < density).float()


def run(synapse, x, parts):
    """Charge and gradients of `x` in parts of these lengths; a part "step" is a call per step."""
    prepare_net(synapse)
    synapse.zero_grad()
    x = x.clone().requires_grad_()
    outputs = []
    for part in x.split(parts, 1):
        outputs += [synapse(part)] if parts[0] != 1 else [synapse(part[:, 0])[:, None]]
    cur = torch.cat(outputs, 1)
    torch.manual_seed(3)
    cur.backward(torch.randn_like(cur))
    return [cur.detach(), x.grad, *(p.grad.clone() for p in synapse.parameters())]


class TestProduct:
    @pytest.mark.parametrize("kind", KINDS)
    def test_equals_the_reference_with_its_delays(self, kind):
        synapse = delayed(kind)
        x = spikes()
        prepare_net(synapse)
        expected = delayed_product(
            x,
            torch.zeros(3, 6, 5),
            synapse.weight,
            synapse.delays,
            6,
            synapse.interpolation,
            0.8,
        )
        bias = 0 if synapse.bias is None else synapse.bias
        assert_close(synapse(x), expected + bias, GRADIENT, "charge")

    def test_given_whole_delays_shift_spikes(self):
        delays = torch.tensor([[0.0, 3.0], [2.0, 1.0]])
        synapse = DelayedSynapse(2, 2, 3, delays=delays)
        nn.init.eye_(synapse.weight)
        x = torch.zeros(1, 6, 2)
        x[0, 1] = 1
        prepare_net(synapse)
        cur = synapse(x)[0]
        assert cur[:, 0].tolist() == [0, 1, 0, 0, 0, 0]
        assert cur[:, 1].tolist() == [0, 0, 1, 0, 0, 0]

    def test_eval_rounds_and_its_switch_does_not(self):
        synapse = DelayedSynapse(1, 1, 3, delays=1.25).eval()
        nn.init.ones_(synapse.weight)
        x = torch.eye(4)[:1, :, None]
        values = []
        for synapse.interpolates_in_eval in (False, True):
            prepare_net(synapse)
            values.append(synapse(x).flatten().tolist())
        assert values == [[0, 1, 0, 0], [0, 0.75, 0.25, 0]]

    def test_delays_in_seconds(self):
        given = torch.tensor([1e-3, 2.5e-3, 3e-3])
        synapse = DelayedSynapse(
            3, 2, 3e-3, delays=given, unit="seconds", dt=1e-3, per="input", learn_delays=False
        )
        assert synapse.max_delay == 3
        assert synapse.delays.flatten().tolist() == [1, 2.5, 3]
        # 0.035 / 0.005 is above 7 in floating numbers.
        assert DelayedSynapse(1, 1, 0.035, unit="seconds", dt=0.005).max_delay == 7
        assert DelayedSynapse(1, 1, 2.2e-3, unit="seconds", dt=1e-3).max_delay == 3

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_dtypes(self, dtype):
        synapse = delayed()
        x = spikes()
        prepare_net(synapse)
        expected = synapse(x)
        prepare_net(synapse)
        synapse.to(dtype)
        got = synapse(x.to(dtype))
        assert got.dtype == dtype
        # Delays of half precision have steps of 1/256 and 1/32 at 4 to 8 steps.
        bound = {torch.float16: 0.02, torch.bfloat16: 0.15, torch.float64: 1e-5}[dtype]
        assert (got.float() - expected).abs().max() < bound

    def test_autocast(self):
        synapse = delayed()
        x = spikes()
        prepare_net(synapse)
        expected = synapse(x)
        prepare_net(synapse)
        with torch.autocast("cpu", torch.bfloat16):
            got = synapse(x)
        assert_close(got.bfloat16(), expected.bfloat16(), GRADIENT, "charge")

    def test_charge_is_that_after_silence_and_leaves_the_state(self):
        synapse = delayed("fixed")
        nn.init.ones_(synapse.bias)
        x = spikes()
        prepare_net(synapse)
        expected = synapse(x[:, :6]) - 1
        (past,) = synapse.state_tensors()
        charge = synapse.charge(x[:, :6], 2 * synapse.weight)
        torch.testing.assert_close(charge, 2 * expected)
        torch.testing.assert_close(synapse.charge(x[:, 0], synapse.weight), expected[:, 0])
        assert synapse.state_tensors()[0] is past

    def test_a_vector_is_one_step(self):
        synapse = delayed()
        prepare_net(synapse)
        assert synapse(torch.ones(5)).shape == (1, 4)


class TestState:
    @pytest.mark.parametrize("parts", [[4, 10], [9, 2, 3], [1] * 14, [0, 14]])
    @pytest.mark.parametrize("kind", KINDS)
    def test_parts_equal_the_whole_with_gradients(self, kind, parts):
        synapse = delayed(kind)
        whole = run(synapse, spikes(), [14])
        for got, expected in zip(run(synapse, spikes(), parts), whole, strict=True):
            assert_close(got, expected, GRADIENT, "parts")

    def test_prepare_forgets_the_past_unless_it_is_kept(self):
        synapse = delayed()
        x = spikes()
        prepare_net(synapse)
        first = synapse(x)
        prepare_net(synapse, keep_state=True)
        assert not torch.equal(synapse(x), first)
        prepare_net(synapse)
        assert torch.equal(synapse(x), first)

    def test_state_is_the_last_inputs_and_can_be_loaded(self):
        synapse = delayed()
        x = spikes()
        prepare_net(synapse)
        assert synapse.state_tensors() == []
        synapse(x[:, :9])
        (past,) = synapse.state_tensors()
        assert torch.equal(past, x[:, 3:9])
        after = synapse(x[:, 9:])
        other = delayed()
        prepare_net(other)
        other.load_state_tensors([past])
        assert torch.equal(other(x[:, 9:]), after)

    def test_the_state_keeps_no_sequence_in_memory_and_no_change_of_it(self):
        synapse = delayed()
        x = spikes()
        prepare_net(synapse)
        synapse(x)
        (past,) = synapse.state_tensors()
        assert past.untyped_storage().nbytes() == past.nbytes
        x.zero_()
        assert past.any()

    def test_detach_state_cuts_the_gradient(self):
        synapse = delayed()
        x = spikes().requires_grad_()
        prepare_net(synapse)
        synapse(x[:, :7])
        detach_state(synapse)
        synapse(x[:, 7:]).sum().backward()
        assert not x.grad[:, :7].any()
        assert x.grad[:, 7:].any()

    def test_copies_and_pickles_continue_where_it_was(self):
        synapse = delayed()
        x = spikes().requires_grad_()
        prepare_net(synapse)
        synapse(x[:, :7])
        others = [copy.deepcopy(synapse), pickle.loads(pickle.dumps(synapse))]
        expected = synapse(x[:, 7:])
        for other in others:
            assert torch.equal(other(x[:, 7:]), expected)

    def test_state_dict_has_weights_and_delays_only(self):
        for kind in ("synaptic", "fixed"):
            source = delayed(kind)
            prepare_net(source)
            source(spikes())
            target = DelayedSynapse(5, 4, 6, **KINDS[kind])
            target.load_state_dict(source.state_dict())
            assert {*source.state_dict()} - {"bias"} == {"weight", "scaled_delays"}
            assert torch.equal(target.delays, source.delays)


class TestDelays:
    @pytest.mark.parametrize("max_delay", [1, 2, 6, 8, 25])
    def test_whole_steps_are_stored_exactly(self, max_delay):
        given = torch.arange(max_delay + 1.0)[:, None]
        synapse = DelayedSynapse(max_delay + 1, 1, max_delay, delays=given)
        assert torch.equal(synapse.delays, given)

    def test_beyond_a_border_delays_are_reflected_with_their_gradient(self):
        synapse = DelayedSynapse(6, 1, 6)  # stored in units of 8 steps
        stored = torch.tensor([-1.0, 0.0, 2.0, 6.0, 7.0, 13.0]) / 8
        synapse.scaled_delays.data = stored[:, None]
        delays = synapse.delays
        torch.testing.assert_close(delays.flatten(), torch.tensor([1.0, 0, 2, 6, 5, 1]))
        delays.sum().backward()
        assert synapse.scaled_delays.grad.flatten().tolist() == [-8, 8, 8, 8, -8, 8]

    def test_drawn_delays_fill_the_range(self):
        learned = DelayedSynapse(50, 40, 7).delays.detach()
        assert learned.min() < 0.1
        assert learned.max() > 6.9
        assert abs(learned.mean() - 3.5) < 0.2
        fixed = DelayedSynapse(50, 40, 7, learn_delays=False)
        assert fixed.delays.unique().tolist() == [*range(8)]
        before = fixed.delays
        fixed.reset_parameters()
        assert not torch.equal(fixed.delays, before)
        given = DelayedSynapse(50, 40, 7, delays=3)
        given.reset_parameters()
        assert given.delays.unique().tolist() == [3]

    def test_narrow_shrinks_the_gaussian_to_half_a_step(self):
        synapse = DelayedSynapse(3, 2, 32, interpolation="gaussian")
        widths = []
        for progress in (0, 0.5, 1):
            synapse.narrow(progress)
            widths.append(synapse.width)
        assert widths == pytest.approx([16, (16 * 0.5) ** 0.5, 0.5])

    def test_learns_a_delay_from_far_with_a_gaussian(self):
        """From 2 steps to 20, where the hat has no gradient at all."""
        target = torch.eye(24)[20]
        synapse = DelayedSynapse(1, 1, 23, delays=2.0, interpolation="gaussian")
        nn.init.ones_(synapse.weight).requires_grad_(False)
        optimizer = torch.optim.Adam(synapse.parameters(), 0.02)
        x = torch.eye(24)[:1, :, None]
        for i in range(150):
            synapse.narrow(min(1, i / 100))
            prepare_net(synapse)
            loss = (synapse(x).flatten() - target).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert abs(synapse.delays.item() - 20) < 0.5


class TestInNets:
    def net(self, **options):
        torch.manual_seed(0)
        return SpikingSequential(
            DelayedSynapse(5, 8, 6),
            LIFLayer(8, taus=10e-3),
            DelayedSynapse(8, 3, 4, per="input"),
            LIFLayer(3, taus=10e-3),
            **options,
        )

    def outputs(self, net, x):
        prepare_net(net)
        net.zero_grad()
        x = x.clone().requires_grad_()
        spk, mem = net(x)
        (spk.sum() + mem.square().sum()).backward()
        return [spk.detach(), mem.detach(), x.grad, *(p.grad for p in net.parameters())]

    def test_checkpoint_equals_one_piece(self):
        whole = self.outputs(self.net(), 3 * spikes())
        assert whole[0].any()
        for got, expected in zip(
            self.outputs(self.net(checkpoint=4), 3 * spikes()), whole, strict=True
        ):
            assert_close(got, expected, GRADIENT, "checkpoint")

    @pytest.mark.parametrize("recurrent", [False, True])
    def test_without_prepare_net_each_call_starts_at_rest_and_streaming_carries_on(self, recurrent):
        net = self.net()
        if recurrent:
            net[1] = LIFLayer(8, taus=10e-3, layer_topology="RC", recurrent_delays=5)
        x = 3 * spikes()
        whole = net(x)[1]
        assert torch.equal(net(x)[1], whole)
        with streaming(net):
            parts = [net(x[:, :5])[1], *(net.step(x[:, t])[1][:, None] for t in range(5, 14))]
        assert_close(torch.cat(parts, 1), whole, GRADIENT, "streaming")
        assert torch.equal(net(x)[1], whole)

    def test_compiled_equals_eager(self):
        net = self.net()
        expected = self.outputs(net, 3 * spikes())
        compiled = torch.compile(net, backend="aot_eager")
        prepare_net(net)
        net.zero_grad()
        x = (3 * spikes()).requires_grad_()
        spk, mem = compiled(x)
        (spk.sum() + mem.square().sum()).backward()
        got = [spk.detach(), mem.detach(), x.grad, *(p.grad for p in net.parameters())]
        for value, reference in zip(got, expected, strict=True):
            assert_close(value, reference, GRADIENT, "compiled")

    def test_edges_describe_it(self):
        net = self.net()
        found = find_edges(net)
        assert [(e.name, e.sources, e.target_name, e.fan_in) for e in found.edges] == [
            ("0.weight", (), "1", 5),
            ("2.weight", ("1",), "3", 8),
        ]
        assert found.uncovered == ()
        assert found.edges[0].effective_weight() is net[0].weight

    def test_pruned_weights_stay_zero(self):
        net = self.net()
        prune.random_unstructured(net[0], "weight", amount=0.5)
        prepare_net(net)
        cur = net[0](spikes())
        mask = net[0].weight_mask
        cur.sum().backward()
        assert not net[0].weight_orig.grad[mask == 0].any()
        assert net[0].scaled_delays.grad[mask == 1].any()
        assert not net[0].scaled_delays.grad[mask == 0].any()

    def test_an_error_in_a_net_leaves_the_state(self):
        net = SpikingSequential(DelayedSynapse(5, 8, 6), LIFLayer(8, 10e-3), LIFSynapse(7, 2))
        prepare_net(net)
        with pytest.raises(ValueError, match="takes"):
            net(spikes())
        assert net[0].state_tensors() == []

    def test_print(self):
        text = str(DelayedSynapse(5, 4, 6, per="input", learn_delays=False))
        assert text == 'DelayedSynapse(5, 4, max_delay=6, per="input", learn_delays=False)'
        text = str(DelayedSynapse(5, 4, 6, interpolation="gaussian"))
        assert text == 'DelayedSynapse(5, 4, max_delay=6, interpolation="gaussian", width=3)'


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                {"max_delay": 0},
                "max_delay, in steps .* must be a whole number from 1 to 65536, got 0",
            ),
            ({"max_delay": 0.02}, 'max_delay, in steps without unit="seconds", .* got 0.02'),
            ({"unit": "ms"}, "unit must be one of 'steps', 'seconds', got 'ms'"),
            ({"unit": "seconds"}, r"delays in seconds need .* dt=None: pass dt \[s\]"),
            ({"dt": 1e-3}, 'dt has no use for delays in steps.* unit="seconds"'),
            ({"unit": "seconds", "dt": 0}, r"dt must be a finite number above 0 \[s\]"),
            ({"unit": "seconds", "dt": 1e-6}, "max_delay must be up to 65,536 steps of dt=1e-06 s"),
            ({"per": "neuron"}, "per must be one of 'connection', 'input', got 'neuron'"),
            ({"interpolation": "cubic"}, "interpolation must be one of 'linear', 'gaussian'"),
            ({"width": 0}, r"width must be a finite number above 0 \[steps\], got 0"),
            ({"delays": 7}, r"delays must be from 0 to max_delay, 6 \[steps\], got 7"),
            ({"delays": -1.0}, r"delays must be from 0 to max_delay, 6 \[steps\], got -1.0"),
            ({"delays": "two"}, r"delays must be from 0 to max_delay, 6 \[steps\], got 'two'"),
            ({"delays": True}, r"delays must be from 0 to max_delay, 6 \[steps\], got True"),
            (
                {"delays": torch.zeros(5)},
                r".* the shape \[5, 4\], got the shape \[5\]: pass one per",
            ),
            ({"per": "input", "delays": torch.zeros(5, 4)}, r".* the shape \[5\], got the shape"),
            ({"delays": torch.full((5, 4), torch.nan)}, "delays must be from 0 to max_delay"),
            ({"learn_delays": 3}, "learn_delays must be True or False, got 3"),
        ],
    )
    def test_arguments(self, options, words):
        with pytest.raises(ValueError, match=f"DelayedSynapse: {words}"):
            DelayedSynapse(5, 4, **{"max_delay": 6, **options})

    def test_calls(self):
        synapse = delayed()
        with pytest.raises(RuntimeError, match="is not prepared: call prepare_net"):
            synapse(torch.zeros(3, 5))
        prepare_net(synapse)
        with pytest.raises(ValueError, match=r"takes \[5\], .* got an input of shape \[3, 14, 4\]"):
            synapse(torch.zeros(3, 14, 4))
        with pytest.raises(TypeError, match="weights of torch.float32 and got .* torch.float64"):
            synapse(spikes().double())
        with pytest.raises(TypeError, match="floating input, got torch.int64"):
            synapse(spikes().long())
        with pytest.raises(TypeError, match="dense tensor, got torch.sparse_coo"):
            synapse(spikes().to_sparse())
        synapse(spikes())
        with pytest.raises(
            RuntimeError, match=r"has state for a batch of 3, the input has 2: call prepare_net"
        ):
            synapse(spikes()[:2])

    def test_delays_that_are_not_finite(self):
        synapse = delayed()
        synapse.scaled_delays.data[0, 0] = torch.inf
        with pytest.raises(RuntimeError, match="DelayedSynapse: delays are not finite: training"):
            prepare_net(synapse)

    def test_narrow(self):
        with pytest.raises(ValueError, match=r"progress must be .* at least 0 .* got 1\.5"):
            delayed("gaussian").narrow(1.5)
