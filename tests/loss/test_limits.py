"""Losses on rates of layers and on weights of a chip, against loops."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from nwavesdk.chip import load_profile, nearest_agreeing_weight
from nwavesdk.layers import (
    DenseSynapse,
    H1v1Layer,
    H1v1Synapse,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
)
from nwavesdk.loss import (
    RateBoundsLoss,
    firing_rate_target_mse_loss,
    rate_bounds_loss,
    rate_excess_loss,
    topology_loss,
    weight_magnitude_loss,
)


def test_rates_by_hand():
    first, second = torch.zeros(2, 5, 2), torch.ones(1, 4, 3)
    first[0, :2, 0] = 1  # 2 of 20
    got = firing_rate_target_mse_loss(
        [first, second], offsets=[0.05, 0.5], multipliers=[10.0, -2.0]
    )
    assert got.item() == pytest.approx((0.05 * 10) ** 2 + (0.5 * 2) ** 2)


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


def mixed_net():
    net = SpikingSequential(
        H1v1Synapse(6, 7),
        H1v1Layer(7, 20e-3, layer_topology="RC"),
        H1v2Synapse(7, 3),
        LIFLayer(3, 20e-3),
        LIFSynapse(3, 2),
        LIFLayer(2, 20e-3, layer_topology="RC"),
    )
    for module, chip in ((net[0], "h1v1"), (net[1], "h1v1"), (net[2], "h1v2")):
        module.profile = load_profile(chip)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 1.5)
    return net


def weights_of(net):
    return [
        net[0].weight,
        net[1].recurrent_weights,
        net[2].weight,
        net[4].weight,
        net[5].recurrent_weights,
    ]


def excess(weights, limits):
    values = []
    for weight, limit in zip(weights, limits, strict=True):
        values += [max(abs(w) - limit, 0.0) ** 2 for w in weight.detach().flatten().tolist()]
    return sum(values) / len(values)


def test_magnitudes_of_all_weights_count():
    net = mixed_net()
    for limit in (0.9, 1.66):
        expected = excess(weights_of(net), [limit] * 5)
        assert weight_magnitude_loss(net, limit).item() == pytest.approx(expected, rel=1e-5)
    assert weight_magnitude_loss(net) == weight_magnitude_loss(net, limit=0.9)


def test_each_module_has_the_limit_of_its_chip_and_a_desk_none():
    net = mixed_net()
    expected = excess(weights_of(net)[:3], [0.9, 0.9, 1.66])
    assert weight_magnitude_loss(net, limit=None).item() == pytest.approx(expected, rel=1e-5)


class FrontEnd(DenseSynapse):
    """One weight an input, as front ends have it."""

    def __init__(self, n):
        super().__init__(n, n)
        self.weight = nn.Parameter(torch.full((n,), 1.9))


def test_a_front_end_has_a_magnitude_but_no_shared_signs():
    net = SpikingSequential(FrontEnd(4), LIFSynapse(4, 3))
    net[1].weight.data.fill_(0.5)
    assert weight_magnitude_loss(net, 0.9).item() == pytest.approx(4 / 16)
    assert topology_loss(net) == 0
    with pytest.raises(ValueError, match="topology_loss: FrontEnd has no 2-D weights"):
        topology_loss(net[0])


def minority(weight, block):
    """Smaller of the two sums of squares of each block of rows, in each column."""
    total = 0.0
    for column in weight.detach().double().numpy().T:
        for k in range(0, len(column), block):
            piece = column[k : k + block]
            total += min((piece[piece > 0] ** 2).sum(), (piece[piece < 0] ** 2).sum())
    return total


def test_disagreement_of_all_planes_counts():
    net, number = mixed_net(), 6 * 7 + 7 * 7 + 7 * 3 + 3 * 2 + 2 * 2
    expected = sum(minority(w, 5) for w in weights_of(net)) / number
    assert topology_loss(net).item() == pytest.approx(expected, rel=1e-5)
    turned = sum(minority(w.mT, 3) for w in weights_of(net)) / number
    assert topology_loss(net, block=3, axis="outputs").item() == pytest.approx(turned, rel=1e-5)


def test_topology_loss_is_zero_where_signs_agree_and_descent_gets_there():
    synapse = LIFSynapse(11, 4)
    start, before = synapse.weight.detach().clone(), topology_loss(synapse)
    for _ in range(200):
        synapse.weight.grad = None
        loss = topology_loss(synapse)
        loss.backward()
        with torch.no_grad():
            synapse.weight -= 5.0 * synapse.weight.grad
    assert before > 0.01
    assert topology_loss(synapse) < 1e-12
    torch.testing.assert_close(synapse.weight.detach(), nearest_agreeing_weight(start, 5, "inputs"))
    synapse.weight.data = nearest_agreeing_weight(start, 5, "inputs")
    assert topology_loss(synapse) == 0


@pytest.mark.parametrize("loss", [weight_magnitude_loss, topology_loss], ids=lambda f: f.__name__)
def test_gradients_of_weight_losses_are_those_of_finite_differences(loss):
    net = mixed_net().double()

    def as_function(*weights):
        names = ["0.weight", "1.recurrent_weights", "2.weight", "4.weight", "5.recurrent_weights"]
        with torch.nn.utils.stateless._reparametrize_module(
            net, dict(zip(names, weights, strict=True))
        ):
            return loss(net)

    weights = [w.detach().clone().requires_grad_() for w in weights_of(net)]
    assert torch.autograd.gradcheck(as_function, weights)


def test_half_precision_does_not_underflow():
    synapse = LIFSynapse(2, 1).half()
    synapse.weight.data = torch.tensor([[1e-5], [-1e-5]], dtype=torch.float16)
    assert topology_loss(synapse).item() == pytest.approx(0.5e-10, rel=0.01)


def test_weights_of_torch_count_by_their_own_layout():
    linear, conv = nn.Linear(7, 4), nn.Conv2d(2, 3, 3)
    net = nn.ModuleList([linear, conv])
    assert weight_magnitude_loss(net, 0.1).item() == pytest.approx(
        excess([linear.weight, conv.weight], [0.1] * 2), rel=1e-5
    )
    with pytest.raises(ValueError, match="no weights of a chip's modules"):
        weight_magnitude_loss(net, limit=None)
    expected = minority(linear.weight.T, 5) / 28
    assert topology_loss(linear).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match=r"topology_loss: Conv2d '1' is not dense, and chips have"):
        topology_loss(net)


def test_a_pruned_weight_counts_with_its_mask():
    synapse = prune.l1_unstructured(LIFSynapse(6, 4), "weight", 12)
    expected = excess([synapse.weight_orig * synapse.weight_mask], [0.1])
    assert weight_magnitude_loss(synapse, 0.1).item() == pytest.approx(expected, rel=1e-5)
    topology_loss(synapse).backward()
    assert not synapse.weight_orig.grad[synapse.weight_mask == 0].any()


def test_models_are_checked():
    for loss in (weight_magnitude_loss, topology_loss):
        with pytest.raises(
            ValueError,
            match=f"{loss.__name__}: BatchNorm1d has no .*weights of synapses or neuron layers",
        ):
            loss(nn.BatchNorm1d(2))
        with pytest.raises(TypeError, match="expected a torch module with weights, got list"):
            loss([])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: weight_magnitude_loss(LIFSynapse(2, 2), limit=None),
            "LIFSynapse has no weights of a chip's modules: pass a limit",
        ),
        (
            lambda: weight_magnitude_loss(LIFSynapse(2, 2), limit=0.0),
            "limit must be a finite number above 0",
        ),
        (lambda: topology_loss(LIFSynapse(2, 2), axis="rows"), "axis must be one of 'inputs'"),
    ],
)
def test_limits_and_axes_are_checked(call, words):
    with pytest.raises(ValueError, match=words):
        call()
