"""Losses on the rates of layers against tables by hand, and finite differences."""

import pytest
import torch

from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.loss import (
    RateBoundsLoss,
    firing_rate_target_mse_loss,
    rate_bounds_loss,
    rate_excess_loss,
)


def test_rates_by_hand():
    first, second = torch.zeros(2, 5, 2), torch.ones(1, 4, 3)
    first[0, :2, 0] = 1  # 2 of 20
    got = firing_rate_target_mse_loss(
        [first, second], offsets=[0.05, 0.5], multipliers=[10.0, -2.0]
    )
    assert got.item() == pytest.approx((0.05 * 10) ** 2 + (0.5 * 2) ** 2)


def test_rates_of_a_net_have_the_gradient_of_its_spikes():
    net = SpikingSequential(LIFSynapse(4, 8), LIFLayer(8, 20e-3))
    prepare_net(net)
    record = net.record((torch.rand(3, 40, 4) < 0.2).float())
    spikes = [layer.spk for layer in record.layers.values()]
    firing_rate_target_mse_loss(spikes, [0.1], [1.0]).backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_the_gradient_of_rates_is_that_of_finite_differences():
    spikes = [torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(
        lambda *s: firing_rate_target_mse_loss(s, [0.1, 0.7], [3.0, 0.5]), spikes
    )


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (
            {"offsets": [0.1]},
            ValueError,
            "offsets must be a rate or one per layer, got 1 rates for 2 layers",
        ),
        (
            {"spikes_list": [], "offsets": [], "multipliers": []},
            ValueError,
            "at least one, got an empty list",
        ),
        (
            {"offsets": [0.1, 20.0]},
            ValueError,
            "offsets of layer 1 must be a rate from 0 to 1 in spikes per step, got 20",
        ),
        (
            {"multipliers": [1.0, float("inf")]},
            ValueError,
            "each multiplier must be a finite number, got inf",
        ),
        (
            {"spikes_list": [torch.zeros(2, 3, 4), (1, 2)]},
            TypeError,
            "layer 1: spikes takes a tensor, got tuple: take the spikes",
        ),
        (
            {"spikes_list": [torch.zeros(0, 3, 4)] * 2},
            ValueError,
            r"layer 0: got empty spikes of shape \[0, 3, 4\]",
        ),
        ({"spikes_list": torch.zeros(2, 3, 4)}, ValueError, "at least one, got one tensor"),
        (
            {"spikes_list": [torch.zeros(2, 3, 4), torch.zeros(2)]},
            ValueError,
            r"layer 1: spikes have the shape \[2\], expected \[B, T, neurons\]",
        ),
        (
            {"spikes_list": [torch.zeros(2, 3, 4).long()] * 2},
            TypeError,
            "spikes takes a floating input, got torch.int64",
        ),
    ],
)
def test_arguments_of_rates_are_checked(change, kind, words):
    given = {
        "spikes_list": [torch.zeros(2, 3, 4)] * 2,
        "offsets": [0.1, 0.1],
        "multipliers": [1.0, 1.0],
    }
    with pytest.raises(kind, match=words):
        firing_rate_target_mse_loss(**given | change)


def test_bounds_by_hand():
    first = torch.zeros(2, 5, 2)
    first[0, :4, 0] = first[1, :, 0] = 1  # rates 0.9 and 0
    second = torch.full((1, 4, 3), 0.25)
    got = rate_bounds_loss([first, second], lower=[0.1, 0.0], upper=[0.6, 0.2])
    assert got.item() == pytest.approx((0.3**2 + 0.1**2) / 2 + 0.05**2)
    # A layer of 0.45 is within the bounds.
    of_layers = rate_bounds_loss([first, second], [0.1, 0.0], [0.6, 0.2], per="layer")
    assert of_layers.item() == pytest.approx(0.05**2)
    assert RateBoundsLoss([0.1, 0.0], [0.6, 0.2], "layer")([first, second]) == of_layers


def test_within_the_bounds_there_is_no_gradient():
    spk = torch.full((1, 4, 3), 0.25, requires_grad=True)
    loss = rate_bounds_loss([spk], lower=0.25, upper=0.25)
    loss.backward()
    assert loss == 0
    assert not spk.grad.any()


def test_images_have_a_rate_per_neuron():
    spk = torch.zeros(2, 3, 4, 5, 5)
    spk[:, :, 0] = 1
    got = rate_bounds_loss([spk], lower=0.0, upper=0.5)
    assert got.item() == pytest.approx(0.25 / 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spikes_list": []}, "at least one, got an empty list"),
        ({"lower": [0.1, 0.1]}, "lower must be a rate or one per layer, got 2 rates for 1 layers"),
        ({"lower": 0.5}, r"lower must be at most upper, got 0.5 and 0.3 for layer 0"),
        ({"upper": 30.0}, "upper must be a rate from 0 to 1 in spikes per step, got 30"),
        ({"upper": [30.0]}, "upper of layer 0 must be a rate from 0 to 1"),
        ({"per": "net"}, "per must be one of 'neuron', 'layer', got 'net'"),
        ({"spikes_list": [torch.zeros(3)]}, r"layer 0: spikes have the shape \[3\]"),
    ],
)
def test_arguments_of_bounds_are_checked(change, words):
    given = {"spikes_list": [torch.zeros(2, 3, 4)], "lower": 0.1, "upper": 0.3}
    with pytest.raises(ValueError, match=words):
        rate_bounds_loss(**given | change)


def test_the_excess_is_relative_to_the_bound_of_each_layer() -> None:
    first = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])  # rate 0.75
    second = torch.tensor([[[1.0], [0.0]]])  # rate 0.5
    assert rate_excess_loss([first, second], most=0.5) == 0.5
    assert rate_excess_loss([first, second], most=[0.75, 0.1]) == pytest.approx(4.0)
    # Only the first step of the first layer counts.
    assert rate_excess_loss([first], most=0.25, lengths=torch.tensor([1])) == 3.0


def test_the_gradient_of_the_excess_ends_at_the_bound() -> None:
    spk = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]], requires_grad=True)
    rate_excess_loss([spk], most=0.2).backward()
    # d(rate / most) of each of 4 entries.
    assert torch.allclose(spk.grad, torch.full((1, 2, 2), 1 / (4 * 0.2)))  # type: ignore[arg-type]  # not None
    spk.grad = None
    rate_excess_loss([spk], most=0.25).backward()
    assert not spk.grad.any()  # type: ignore[union-attr]  # not None


@pytest.mark.parametrize(
    ("spikes", "most", "match"),
    [
        ([], 0.1, "at least one, got an empty list"),
        ([torch.zeros(1, 2, 3)], 0.0, "a bound must be above 0, got 0.0: raise it"),
        ([torch.zeros(1, 2, 3)], [0.1, 0.1], "got 2 rates for 1 layers"),
    ],
)
def test_wrong_bounds_of_the_excess_are_rejected(
    spikes: list[torch.Tensor], most: float | list[float], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        rate_excess_loss(spikes, most)


def test_a_loss_over_processes_is_chosen_by_true_or_false():
    with pytest.raises(ValueError, match="is_synchronized must be True or False, got 'no'"):
        rate_excess_loss([torch.ones(1, 2, 3)], 0.5, is_synchronized="no")
