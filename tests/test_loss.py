"""Losses against tables by hand, loops that share no code with them, and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nwavesdk.chip import load_profile, nearest_agreeing_weight
from nwavesdk.layers import (
    DenseSynapse,
    H1v1Layer,
    H1v1Synapse,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.loss import (
    balanced_population_mse,
    firing_rate_target_mse_loss,
    topology_loss,
    weight_magnitude_loss,
)


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


def test_counts_by_hand():
    spk = torch.zeros(2, 10, 4)
    spk[0, :3, 0] = spk[0, :1, 1] = spk[0, :2, 3] = spk[1, :5, 2] = 1
    # counts 3 1 0 2 | 0 0 5 0, wanted 4 4 1 1 | 1 1 4 4
    expected = (1 + 9 + 1 + 1 + 1 + 1 + 1 + 16) / 8
    got = balanced_population_mse(
        spk, torch.tensor([0, 1]), num_classes=2, high_rate=0.4, low_rate=0.1
    )
    assert got.item() == pytest.approx(expected)


@given(
    st.integers(1, 5), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 999)
)
def test_counts_against_a_loop(B, T, classes, size, seed):
    draw = np.random.default_rng(seed)
    spk, targets = draw.integers(0, 2, (B, T, classes * size)), draw.integers(0, classes, B)
    errors = [
        (spk[b, :, o].sum() - T * (0.2 if o // size == targets[b] else 0.02)) ** 2
        for b in range(B)
        for o in range(classes * size)
    ]
    got = balanced_population_mse(torch.from_numpy(spk).float(), torch.from_numpy(targets), classes)
    assert got.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_the_gradient_of_counts_is_that_of_finite_differences():
    spk, targets = (
        torch.rand(3, 4, 6, dtype=torch.float64, requires_grad=True),
        torch.tensor([0, 2, 1]),
    )
    assert torch.autograd.gradcheck(lambda s: balanced_population_mse(s, targets, 3), spk)


def test_half_precision_counts_beyond_its_integers():
    spk = torch.ones(1, 3001, 1, dtype=torch.bfloat16)
    got = balanced_population_mse(spk, torch.tensor([0]), 1, high_rate=3000 / 3001, low_rate=0.0)
    assert got.item() == pytest.approx(1.0, rel=1e-2)


def losses_on_rates(spk, targets, lengths):
    return (
        firing_rate_target_mse_loss([spk, spk[..., :3]], [0.1, 0.2], [3.0, 2.0], lengths),
        balanced_population_mse(spk, targets, 2, lengths=lengths),
    )


def test_rates_and_counts_with_lengths_leave_padding_out():
    targets, lengths = torch.tensor([0, 1, 1]), torch.tensor([4, 1, 7])
    spk = (torch.rand(3, 7, 4) < 0.4).float()
    alone = [x[None, :n] for x, n in zip(spk, lengths, strict=True)]
    valid = torch.cat(alone, dim=1)
    rates, _ = losses_on_rates(valid, targets[:1], None)
    counts = [losses_on_rates(x, y[None], None)[1] for x, y in zip(alone, targets, strict=True)]
    padding = torch.arange(7) >= lengths[:, None]
    spk = spk.masked_fill(padding[..., None], torch.nan).requires_grad_()
    got = losses_on_rates(spk, targets, lengths)
    assert torch.equal(got[0], rates)
    assert got[1].item() == pytest.approx(sum(counts).item() / 3)
    sum(got).backward()
    assert not spk.grad[padding].any()
    assert spk.grad[~padding].all()


def test_without_padding_losses_have_the_bits_of_those_without_lengths():
    targets = torch.tensor([0, 1, 1])
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        grads = []
        for lengths in (None, torch.full((3,), 7)):
            spk = torch.rand(3, 7, 4, generator=torch.Generator().manual_seed(3)).to(dtype)
            losses = losses_on_rates(spk.requires_grad_(), targets, lengths)
            sum(losses).backward()
            grads.append((*losses, spk.grad))
        assert all(map(torch.equal, *grads))


def test_lengths_are_checked():
    spk, targets = torch.ones(2, 3, 4), torch.tensor([0, 1])
    lengths = torch.tensor([0, 3])
    with pytest.raises(ValueError, match="loss: layer 0: lengths must be from 1 to the 3 steps of"):
        firing_rate_target_mse_loss([spk], [0.1], [1.0], lengths)
    with pytest.raises(
        ValueError, match="balanced_population_mse: lengths must be from 1 to the 3"
    ):
        balanced_population_mse(spk, targets, 2, lengths=lengths)


def test_models_are_checked():
    for loss in (weight_magnitude_loss, topology_loss):
        with pytest.raises(
            ValueError,
            match=f"{loss.__name__}: Linear has no .*weights of synapses or neuron layers",
        ):
            loss(nn.Linear(2, 2))
        with pytest.raises(TypeError, match="expected a torch module with weights, got list"):
            loss([])
    with pytest.raises(
        ValueError, match="LIFSynapse has no weights of a chip's modules: give a limit"
    ):
        weight_magnitude_loss(LIFSynapse(2, 2), limit=None)
    with pytest.raises(ValueError, match="limit must be a finite number above 0"):
        weight_magnitude_loss(LIFSynapse(2, 2), limit=0.0)
    with pytest.raises(ValueError, match="axis must be one of 'inputs'"):
        topology_loss(LIFSynapse(2, 2), axis="rows")


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"offsets": [0.1]}, ValueError, "got 2 layers, 1 offsets and 2 multipliers"),
        (
            {"spikes_list": [], "offsets": [], "multipliers": []},
            ValueError,
            "at least one layer, got 0 layers",
        ),
        (
            {"offsets": [0.1, 20.0]},
            ValueError,
            "offset of layer 1 must be a rate from 0 to 1 in spikes per step, got 20",
        ),
        (
            {"multipliers": [1.0, float("inf")]},
            ValueError,
            "multiplier of layer 1 must be a finite number, got inf",
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
        ({"spikes_list": torch.zeros(2, 3, 4)}, TypeError, "got one tensor: put it in a list"),
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


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"spk": torch.zeros(2, 4)}, ValueError, r"shape \[2, 4\], expected \[B, T, outputs\]"),
        ({"num_classes": 3}, ValueError, "4 output neurons cannot be split into 3 equal groups"),
        (
            {"targets": torch.tensor([0])},
            ValueError,
            r"targets have the shape \[1\], expected \[2\]",
        ),
        (
            {"targets": torch.tensor([0, 2])},
            ValueError,
            "targets must be classes from 0 to 1, got 0 to 2",
        ),
        (
            {"targets": torch.tensor([-1, 0])},
            ValueError,
            "targets must be classes from 0 to 1, got -1 to 0",
        ),
        (
            {"targets": torch.zeros(2)},
            TypeError,
            "targets must be whole numbers, got torch.float32",
        ),
        (
            {"high_rate": 100.0},
            ValueError,
            "high_rate must be a rate from 0 to 1 in spikes per step, got 100",
        ),
        ({"low_rate": 0.3}, ValueError, "low_rate must be below high_rate, got 0.3 and 0.2"),
    ],
)
def test_arguments_of_counts_are_checked(change, kind, words):
    given = {"spk": torch.zeros(2, 3, 4), "targets": torch.tensor([0, 1]), "num_classes": 2}
    with pytest.raises(kind, match=words):
        balanced_population_mse(**given | change)
