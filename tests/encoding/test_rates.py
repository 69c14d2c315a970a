"""Random spikes: counts are binomial, for a fixed seed; decoders have the stated spread."""

import math

import pytest
import torch

from nwavesdk.encoding import decode_poisson, decode_rate, encode_poisson, encode_rate

T = 4000


def generator(seed=11):
    return torch.Generator().manual_seed(seed)


def test_counts_of_rates_are_binomial():
    p = torch.linspace(0, 1, 21).expand(2, 21)
    spikes = encode_rate(p, T, generator())
    assert spikes.shape == (2, T, 21)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    spread = (p * (1 - p) / T).sqrt()
    assert ((decode_rate(spikes) - p).abs() <= 4.5 * spread).all()
    # Steps are independent: so is the number of pairs of spikes.
    pairs = (spikes[:, 1:] * spikes[:, :-1]).mean(1)
    assert ((pairs - p**2).abs() <= 4.5 * math.sqrt(1 / T)).all()


def test_poisson_spikes_come_with_the_probability_of_an_event():
    rates, dt = torch.tensor([[0.0, 5.0, 100.0, 700.0]]), 1e-3
    spikes = encode_poisson(rates, T, dt, generator())
    q = 1 - torch.exp(-rates * dt)
    assert ((spikes.mean(1) - q).abs() <= 4.5 * (q * (1 - q) / T).sqrt()).all()
    spread = (q / (T * (1 - q))).sqrt() / dt
    assert ((decode_poisson(spikes, dt) - rates).abs() <= 4.5 * spread).all()


@pytest.mark.parametrize("encode", [encode_rate, encode_poisson])
def test_spikes_are_those_of_the_generator(encode):
    values = torch.rand(3, 2, 5)
    once = encode(values, 6, generator=generator(1))
    assert once.shape == (3, 6, 2, 5)
    assert torch.equal(once, encode(values, 6, generator=generator(1)))
    torch.manual_seed(1)
    assert torch.equal(once, encode(values, 6))
    # A value per step draws the same numbers.
    steps = values[:, None].expand(3, 6, 2, 5)
    assert torch.equal(once, encode(steps, generator=generator(1)))


def test_half_precision_draws_in_32_bits():
    values = torch.full((1, 1), 2.0**-12, dtype=torch.bfloat16)
    n_spikes = encode_rate(values, 2**16, generator()).float().sum().item()
    assert n_spikes == pytest.approx(16, abs=4.5 * 4)


def test_only_valid_steps_are_decoded():
    spikes, lengths = (torch.rand(3, 9, 2) < 0.5).float(), torch.tensor([9, 4, 1])
    alone = torch.stack([s[:n].mean(0) for s, n in zip(spikes, lengths, strict=True)])
    spikes[torch.arange(9) >= lengths[:, None]] = torch.nan
    torch.testing.assert_close(decode_rate(spikes, lengths), alone)
    expected = -torch.log(1 - alone) / 0.1
    torch.testing.assert_close(decode_poisson(spikes, 0.1, lengths), expected)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="values must be from 0 to 1, got -0.5 to 2: scale them"):
        encode_rate(torch.tensor([[-0.5, 2.0]]), 3)
    with pytest.raises(ValueError, match="values must be from 0 to 1, got nan"):
        encode_rate(torch.tensor([[torch.nan]]), 3)
    with pytest.raises(ValueError, match="got -1 to -1: rates are in Hz"):
        encode_poisson(torch.tensor([[-1.0]]), 3)
    with pytest.raises(ValueError, match=r"got the shape \[2\]: give n_steps"):
        encode_rate(torch.zeros(2))
    with pytest.raises(TypeError, match="generator must be a torch.Generator, got 3"):
        encode_rate(torch.zeros(1, 2), 3, 3)
    with pytest.raises(ValueError, match=r"spikes have the shape \[2, 0, 3\]"):
        decode_rate(torch.zeros(2, 0, 3))
