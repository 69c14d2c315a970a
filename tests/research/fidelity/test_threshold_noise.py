"""Noise on thresholds: probability, its logarithm, its density."""

import pytest
import torch

from nwavesdk.analysis.shapes import derivative_shape
from research.fidelity import SHAPES, ThresholdNoise

Z = torch.linspace(-3, 3, 301, dtype=torch.float64)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("width", [0.05, 0.7, 3.0])
def test_the_density_is_the_derivative_of_the_probability_and_has_the_width(name, width):
    noise = ThresholdNoise(name, width)
    z = Z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(noise.probability(z).sum(), z)
    torch.testing.assert_close(slope, noise.density.derivative(Z), rtol=1e-9, atol=1e-12)
    measured = derivative_shape(noise.density)
    assert measured.half_width == pytest.approx(width, rel=1e-3)
    assert measured.area == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_probabilities_of_both_outcomes_add_up_to_one(name):
    noise, ones = ThresholdNoise(name, 0.4), torch.ones_like(Z)
    both = noise.log_probability(Z, ones).exp() + noise.log_probability(Z, 0 * ones).exp()
    torch.testing.assert_close(both, ones, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        noise.log_probability(Z, ones).exp(), noise.probability(Z), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_logarithms_are_finite_for_all_membranes(name, dtype):
    """Also their gradients, where the probability itself is rounded to 0."""
    z = torch.tensor([-1e4, -50.0, -1e-8, 0.0, 50.0, 1e4], dtype=dtype, requires_grad=True)
    for spikes in (torch.zeros_like(z), torch.ones_like(z)):
        logarithm = ThresholdNoise(name, 1.0).log_probability(z, spikes)
        (slope,) = torch.autograd.grad(logarithm.sum(), z)
        assert logarithm.isfinite().all()
        assert slope.isfinite().all()
        assert (logarithm <= 0).all()


def test_tails_are_accurate():
    """F(-z) is 1/(π z) for Cauchy noise, and tabulated for normal noise."""
    far = ThresholdNoise("cauchy", 2.0).probability(torch.tensor([-1e6]))
    assert far.item() == pytest.approx(1e-6 / torch.pi, rel=1e-5)
    far = ThresholdNoise("normal", 2.3548200450309493).probability(torch.tensor([-6.0]))
    assert far.item() == pytest.approx(9.865876e-10, rel=1e-4)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (("uniform", 1.0), "one of normal, logistic, laplace, cauchy, got 'uniform'"),
        (("normal", 0.0), "above 0, got 0.0"),
        (("normal", float("nan")), "above 0, got nan"),
        (("normal", "0.3"), "above 0, got '0.3'"),
        ((["normal"], 0.3), "got \\['normal'\\]"),
    ],
)
def test_a_wrong_argument_is_rejected(choices, words):
    with pytest.raises(ValueError, match=words):
        ThresholdNoise(*choices)
