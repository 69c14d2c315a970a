"""Rate and Poisson codes, and the decoder of population rates."""

import math

import pytest
import torch

from nwavesdk.encoding import RateDecoder, decode_poisson, decode_rate, encode_poisson, encode_rate
from nwavesdk.layers import prepare_net

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


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: encode_rate(torch.tensor([[-0.5, 2.0]]), 3),
            ValueError,
            "values must be from 0 to 1, got -0.5 to 2: scale them",
        ),
        (
            lambda: encode_rate(torch.tensor([[torch.nan]]), 3),
            ValueError,
            "values must be from 0 to 1, got nan",
        ),
        (
            lambda: encode_poisson(torch.tensor([[-1.0]]), 3),
            ValueError,
            "got -1 to -1: rates are in Hz",
        ),
        (lambda: encode_rate(torch.zeros(2)), ValueError, r"got the shape \[2\]: pass n_steps"),
        (
            lambda: encode_rate(torch.zeros(1, 2), 3, 3),
            TypeError,
            "generator must be a torch.Generator, got 3",
        ),
        (
            lambda: decode_rate(torch.zeros(2, 0, 3)),
            ValueError,
            r"spikes have the shape \[2, 0, 3\]",
        ),
    ],
)
def test_arguments_are_checked(call, error, words):
    with pytest.raises(error, match=words):
        call()


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
