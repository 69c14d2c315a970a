"""Cosines equal closed forms where there are any, and their errors are correct."""

import numpy as np
import pytest
import torch

from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.surrogate import atan, custom, fast_sigmoid, sigmoid
from research.fidelity import (
    SHAPES,
    GradientFidelity,
    LikelihoodRatio,
    NoisyNet,
    ThresholdNoise,
    gradient_fidelity,
)

B, F, N = 4, 3, 5


def one_step_net():
    torch.manual_seed(1)
    return SpikingSequential(LIFSynapse(F, N), LIFLayer(N, 10e-3)).double()


def weighted(spk, _mem, targets):
    """A loss that is linear in spikes: for one step its expectation is Σ a F(z)."""
    return (spk[:, 0] * targets).sum(1)


@pytest.fixture
def data():
    torch.manual_seed(2)
    return 2 * torch.rand(B, 1, F, dtype=torch.float64), torch.randn(B, N, dtype=torch.float64)


def closed_form_gradient(net, x, targets, derivative):
    """Return Σ a σ'(z) x: the gradient with that σ', or ∇J if σ' is the density."""
    z = x[:, 0] @ net[0].weight.detach() - 1
    return torch.einsum("bf,bn->fn", x[:, 0], targets * derivative(z)) / len(x)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_step_of_a_linear_loss_in_closed_form(shape, data):
    """The density of the noise gives ∇J, every other surrogate what the formula gives."""
    net, noise = one_step_net(), ThresholdNoise(shape, 0.6)
    candidates = {
        "density": noise.density,
        "fast": fast_sigmoid(25),
        "atan": atan(2),
        "wave": custom(torch.cos),
    }
    result = gradient_fidelity(net, *data, weighted, noise, candidates, samples=4_000, seed=3)
    true = closed_form_gradient(net, *data, noise.density.derivative)
    assert result.parts == ("hidden", "0.weight")
    for row, surrogate in enumerate(candidates.values()):
        gradient = closed_form_gradient(net, *data, surrogate.derivative)
        cosine = ((gradient * true).sum() / gradient.norm() / true.norm()).item()
        assert result.cosine[row] == pytest.approx(cosine, abs=max(5 * result.error[row, 0], 1e-3))
        assert result.error[row, 0] < 0.03
    assert result.norm == pytest.approx(true.norm().item(), abs=5 * result.norm_error[0])
    assert result.loss[0] == weighted(*prepared(net)(data[0]), data[1]).mean().item()
    assert result.explained > 0.9
    chance = noise.probability(data[0][:, 0] @ net[0].weight.detach() - 1)
    assert result.loss[1] == pytest.approx((chance * data[1]).sum(1).mean().item(), abs=0.2)


def prepared(net):
    prepare_net(net)
    return net


def test_the_spread_of_estimates_is_their_error(data):
    """Cosines of 40 seeds spread by their errors around the closed form.

    No linear control explains the loss (Σ a s - 1)². Its expectation is
    (Σ a F - 1)² + Σ a² F (1 - F).
    """
    net, noise, (x, a) = one_step_net(), ThresholdNoise("logistic", 2.0), data

    def square(spk, _mem, targets):
        return (weighted(spk, None, targets) - 1) ** 2

    chance = noise.probability(x[:, 0] @ net[0].weight - 1)
    expected = ((a * chance).sum(1) - 1) ** 2 + (a**2 * chance * (1 - chance)).sum(1)
    (true,) = torch.autograd.grad(expected.mean(), net[0].weight)
    (own,) = torch.autograd.grad(
        square(prepared(with_surrogate(net, atan(1)))(x)[0], None, a).mean(), net[0].weight
    )
    cosine = ((own * true).sum() / own.norm() / true.norm()).item()
    result = [
        gradient_fidelity(net, x, a, square, noise, [atan(1)], samples=400, blocks=20, seed=seed)
        for seed in range(40)
    ]
    off = np.array([(one.cosine[0, 0] - cosine) / one.error[0, 0] for one in result])
    assert 0.6 < np.sqrt((off**2).mean()) < 1.5
    assert abs(off.mean()) < 0.6


def with_surrogate(net, surrogate):
    net[1].spike_grad = surrogate
    return net


def deep(read_out="none"):
    torch.manual_seed(4)
    return SpikingSequential(
        LIFSynapse(F, 6), LIFLayer(6, 8e-3), LIFSynapse(6, 6), LIFLayer(6, 8e-3), LIFSynapse(6, 2),
        LIFLayer(2, 8e-3, reset_mechanism=read_out),
    )  # fmt: skip


def test_parts_are_the_parameters_and_hidden_those_before_noise():
    x, targets = 3 * torch.rand(3, 8, F), torch.tensor([0, 1, 1])

    def loss_fn(_spk, mem, targets):
        return torch.nn.functional.cross_entropy(mem.mean(1), targets, reduction="none")

    result = gradient_fidelity(
        deep(),
        x,
        targets,
        loss_fn,
        ThresholdNoise("normal", 0.3),
        [sigmoid(5), [atan(2), atan(2), sigmoid(3)]],
        samples=2_000,
    )
    assert isinstance(result, GradientFidelity)
    assert result.parts == ("hidden", "0.weight", "2.weight", "4.weight")
    assert result.candidates[0] == "sigmoid(slope=5)"
    assert result.norm[0] == pytest.approx(np.hypot(*result.norm[1:3]), rel=1e-6)
    assert (np.abs(result.cosine) < 1 + 5 * result.error).all()
    assert result.error.max() < 0.1
    assert result.cosine[:, 3] == pytest.approx(result.cosine[0, 3]), (
        "no surrogate acts on a read-out's weights"
    )


def test_the_surrogate_gradient_is_that_of_a_full_pass():
    """Shown by its dot product with the same estimates, on a net of three layers."""
    net, (x, targets) = deep("subtraction"), (torch.rand(3, 8, F), torch.tensor([1.0, 2.0, 0.0]))

    def loss_fn(spk, mem, targets):
        return (spk.sum((1, 2)) - targets) ** 2 + mem.mean((1, 2))

    layers = [net[1], net[3], net[5]]
    result = gradient_fidelity(
        net,
        x,
        targets,
        loss_fn,
        ThresholdNoise("normal", 0.5),
        [atan(1), atan(3)],
        samples=300,
        seed=5,
    )
    for row, alpha in enumerate((1, 3)):
        for layer in layers:
            layer.spike_grad = atan(alpha)
        own = torch.autograd.grad(
            loss_fn(*prepared(net)(x), targets).mean(),
            [net[0].weight, net[2].weight, net[4].weight],
        )
        noisy = NoisyNet(net, x, targets, loss_fn, ThresholdNoise("normal", 0.5), 5)
        mean = LikelihoodRatio(noisy).gradients(300, 20).mean(0)
        dot = torch.cat([g.flatten() for g in own]).double() @ mean
        length = torch.cat([g.flatten() for g in own]).double().norm()
        assert result.cosine[row, 0] == pytest.approx(
            (dot / length).item() / result.norm[0], rel=1e-4
        )


def test_a_gradient_of_zero_has_no_cosine():
    """Weights that reach no spike: 0 has no direction."""
    net = SpikingSequential(LIFSynapse(F, N), LIFLayer(N, 10e-3))
    torch.nn.init.zeros_(net[0].weight)

    def loss_fn(spk, _mem, targets):
        return spk.sum((1, 2)) - targets

    noise = ThresholdNoise("normal", 0.5)
    x, targets = torch.zeros(B, 4, F), torch.ones(B)
    result = gradient_fidelity(net, x, targets, loss_fn, noise, [atan(2)], samples=60)
    assert np.isnan(result.cosine).all()


def test_too_few_samples_are_rejected(data):
    with pytest.raises(
        ValueError, match="at least 3 blocks with one sample each, got 5 samples and 20 blocks"
    ):
        gradient_fidelity(one_step_net(), *data, weighted, ThresholdNoise("normal", 0.5), samples=5)
