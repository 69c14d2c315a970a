"""`DelayedSynapse`: values, delays in range, and bad input; `test_past` has its state."""

import pytest
import torch
from torch.nn.utils import prune

from layers.nets import run
from nwavesdk.layers import (
    DelayedSynapse,
    LIFLayer,
    SpikingSequential,
    find_edges,
    prepare_net,
)
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


class TestProduct:
    @pytest.mark.parametrize("kind", KINDS)
    def test_equals_the_reference_with_its_delays(self, kind):
        synapse = delayed(kind)
        x = spikes()
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
        assert_close(run(synapse, x), expected + bias, GRADIENT, "charge")

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
        expected = run(synapse, x)
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
        expected = run(synapse, x)
        with torch.autocast("cpu", torch.bfloat16):
            got = run(synapse, x)
        assert_close(got.bfloat16(), expected.bfloat16(), GRADIENT, "charge")


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
        cur = run(net[0], spikes())
        mask = net[0].weight_mask
        cur.sum().backward()
        assert not net[0].weight_orig.grad[mask == 0].any()
        assert net[0].scaled_delays.grad[mask == 1].any()
        assert not net[0].scaled_delays.grad[mask == 0].any()

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
            ({"unit": "seconds"}, r"dt must be a finite number above 0 \[s\], got None"),
            ({"unit": "seconds", "dt": 0}, r"dt must be a finite number above 0 \[s\]"),
            ({"unit": "seconds", "dt": 1e-6}, "max_delay in steps of dt must be .* to 65536"),
            ({"per": "neuron"}, "per must be one of 'connection', 'input', got 'neuron'"),
            ({"interpolation": "cubic"}, "interpolation must be one of 'linear', 'gaussian'"),
            ({"width": 0}, r"width must be a finite number above 0 \[steps\], got 0"),
            ({"delays": 7}, r"delays must be from 0 to max_delay, 6 \[steps\], got 7"),
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
        with pytest.raises(ValueError, match=r"takes \[5\], .* got an input of shape \[3, 14, 4\]"):
            delayed()(torch.zeros(3, 14, 4))
        with pytest.raises(TypeError, match="dense tensor, got torch.sparse_coo"):
            delayed()(spikes().to_sparse())

    def test_delays_that_are_not_finite(self):
        synapse = delayed()
        synapse.scaled_delays.data[0, 0] = torch.inf
        with pytest.raises(RuntimeError, match="DelayedSynapse: delays are not finite: training"):
            prepare_net(synapse)

    def test_narrow(self):
        with pytest.raises(ValueError, match=r"progress must be .* at least 0 .* got 1\.5"):
            delayed("gaussian").narrow(1.5)
