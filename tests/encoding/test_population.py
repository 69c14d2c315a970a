"""Receptive fields against their formula in NumPy, and the bound of the decoder."""

import numpy as np
import pytest
import torch

from nwavesdk.encoding import decode_population, encode_population, encode_rate


@pytest.mark.parametrize(("k", "low", "high", "width"), [(3, 0, 1, 1.5), (12, -2.0, 5.0, 0.8)])
def test_activations_against_numpy(k, low, high, width):
    x = np.random.default_rng(0).uniform(low, high, (2, 5, 3))
    got = encode_population(torch.from_numpy(x), k, low, high, width).numpy()
    distance = (high - low) / (k - 2)
    for f in range(3):
        for i in range(k):
            mu = low + (2 * i - 1) / 2 * distance
            expected = np.exp(-((x[..., f] - mu) ** 2) / (2 * (distance / width) ** 2))
            assert got[..., f * k + i] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_values_are_decoded_exactly(scale):
    x = torch.linspace(-2, 5, 101, dtype=torch.float64)[:, None]
    activations = scale * encode_population(x, 6, -2, 5)
    got = decode_population(activations, 6, -2, 5)
    assert (got - x).abs().max() < 1e-12
    single = decode_population(encode_population(x.float(), 6, -2, 5), 6, -2, 5)
    assert (single - x).abs().max() < 1e-5


def test_rates_of_spikes_are_decoded_nearly():
    x = torch.linspace(0, 1, 21)[:, None]
    spikes = encode_rate(encode_population(x, 8), 4000, torch.Generator().manual_seed(0))
    assert (decode_population(spikes.mean(1), 8) - x).abs().max() < 0.02


def test_silent_neighbors_leave_the_center():
    activations = torch.tensor([[0.0, 0.0, 0.7, 0.0, 0.0], [0.0] * 5])
    got = decode_population(activations, 5)
    assert got[0].item() == pytest.approx(0.5)
    assert got[1].isnan()


def test_axes_and_gradients():
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    for axis in (1, 2, -1):
        activations = encode_population(x, 4, axis=axis)
        assert activations.shape[axis] == 4 * x.shape[axis]
        torch.testing.assert_close(decode_population(activations, 4, axis=axis), x)
    flat = encode_population(x.movedim(1, -1), 4).movedim(-1, 1)
    torch.testing.assert_close(encode_population(x, 4, axis=1), flat)
    assert torch.autograd.gradcheck(lambda v: encode_population(v, 4), x[0, 0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda x: encode_population(x, 2),
            "n_neurons must be a whole number of at least 3, got 2",
        ),
        (
            lambda x: encode_population(x, 4, 1.0, 1.0),
            "high must be a finite number above 1, got 1",
        ),
        (lambda x: encode_population(x, 4, axis=2), r"shape \[2, 4\] have no axis 2"),
        (lambda x: decode_population(x, 3), "axis 1 has 4 neurons, expected a multiple of 3"),
    ],
)
def test_arguments_are_checked(call, words):
    x = torch.rand(2, 4)
    with pytest.raises(ValueError, match=words):
        call(x)
