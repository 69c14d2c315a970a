"""Rates of populations as values: the equation, signs, streams, and errors by words."""

import math

import pytest
import torch

from nwavesdk.encoding import RateDecoder
from nwavesdk.layers import prepare_net

TAU, DT = 20e-3, 1e-3
BETA = math.exp(-DT / TAU)


def spikes(B: int = 2, T: int = 30, N: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(B, T, N, generator=generator) < 0.3).float()


def test_rates_are_filtered_as_the_equation_says() -> None:
    spk = spikes()
    decoder = RateDecoder(2, TAU, DT, scale=5.0, is_signed=True)
    prepare_net(decoder)
    got = decoder(spk, spk)
    assert got.shape == (2, 30, 2)
    rate = torch.zeros(2, 2)
    for step in range(30):
        # Neurons 0 to 3 belong to output 0: two of them add, two subtract.
        halves = spk[:, step].reshape(2, 2, 2, 2).mean(3)
        rate = BETA * rate + (1 - BETA) * (halves[..., 0] - halves[..., 1])
        torch.testing.assert_close(got[:, step], 5 * rate, rtol=1e-5, atol=1e-6)


def test_a_stream_gives_the_outputs_of_the_whole() -> None:
    spk = spikes()
    decoder = RateDecoder(4, TAU, DT, scale=5.0)
    prepare_net(decoder)
    whole = decoder(spk, spk)
    prepare_net(decoder)
    parts = [decoder(part, part) for part in spk.split(7, dim=1)]
    assert torch.equal(torch.cat(parts, dim=1), whole)
    # No output reads a later spike.
    changed = spk.clone()
    changed[:, 20:] = 1
    prepare_net(decoder)
    assert torch.equal(decoder(changed, changed)[:, :20], whole[:, :20])


def test_populations_must_be_equal_and_signed_ones_even() -> None:
    for decoder, multiple in (
        (RateDecoder(3, TAU), 3),
        (RateDecoder(2, TAU, is_signed=True), 4),
    ):
        with pytest.raises(ValueError, match=rf"N a multiple of {multiple}, got .*2, 30, 10\]"):
            decoder(spikes(N=10))
    with pytest.raises(ValueError, match="RateDecoder: scale must be"):
        RateDecoder(1, TAU, scale=math.inf)
