"""Noise of modules: reproducible, independent between modules, zero on the ideal chip."""

import torch

from nwavesdk.layers.noise import Noise


def test_noise_depends_on_seed_and_place_and_ideal_noise_is_zero():
    first = Noise.of(1, 2).normal((1000,))
    assert torch.equal(first, Noise.of(1, 2).normal((1000,)))
    for seed, place in ((2, 1), (-1, 2), (1, 3)):
        other = Noise.of(seed, place).normal((1000,))
        assert abs(torch.corrcoef(torch.stack([first, other]))[0, 1]) < 0.1
    assert not Noise(ideal=True).normal((5,)).any()
