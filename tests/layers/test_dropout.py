"""`Dropout`."""

import pytest
import torch

from layers.nets import run
from nwavesdk.layers import (
    Dropout,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)


class TestDropout:
    def test_drops_neurons_for_a_whole_recording_and_keeps_the_mean(self):
        drop = Dropout(0.25)
        y = run(drop, torch.ones(400, 5, 100))
        assert torch.equal(y, y[:, :1].expand_as(y))
        assert set(y.unique().tolist()) == {0.0, float(1 / torch.tensor(0.75))}
        assert abs(y.mean() - 1) < 0.02  # eight standard deviations: sqrt(1/3 / 40,000) each

    def test_the_mask_stays_until_prepare_net(self):
        drop, x = Dropout(0.5), torch.ones(6, 4, 50)
        first = run(drop, x)
        prepare_net(drop, keep_state=True)
        assert torch.equal(drop(x), first)
        assert torch.equal(torch.stack([drop(x[:, t]) for t in range(4)], 1), first)
        assert not torch.equal(run(drop, x), first)

    def test_the_gradient_passes_where_the_mask_does(self):
        drop, x = Dropout(0.5), torch.zeros(3, 4, 2, 5, dtype=torch.float64, requires_grad=True)
        run(drop, x).sum().backward()
        with torch.no_grad():
            assert torch.equal(x.grad, drop(torch.ones_like(x)))

    def test_a_single_neuron_vector_is_one_step(self):
        drop = Dropout(0.5)
        assert run(drop, torch.ones(40)).unique().tolist() == [0.0, 2.0]

    @pytest.mark.parametrize("drop", [Dropout(0.0), Dropout(0.9).eval()])
    def test_nothing_is_dropped(self, drop):
        x = torch.ones(2, 3, 4)
        assert drop(x) is x

    def test_continues_after_inference_and_in_another_dtype(self):
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


def test_a_step_in_training_needs_prepare_net():
    drop = Dropout(0.5)
    with pytest.raises(RuntimeError, match=r"Dropout is not prepared: call prepare_net"):
        drop(torch.ones(2, 4))
    run(drop, torch.ones(2, 3, 4))
    with pytest.raises(TypeError, match=r"Dropout takes a floating input, got torch.int64"):
        drop(torch.ones(2, 3, 4, dtype=torch.int64))
    with pytest.raises(
        RuntimeError, match=r"a mask for steps of shape \[2, 4\], got one of \[5, 4\]"
    ):
        drop(torch.ones(5, 3, 4))
