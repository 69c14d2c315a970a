"""Decoders: closed forms, causality, and streaming."""

import math

import pytest
import torch

from nwavesdk.layers import LILayer, prepare_net
from nwavesdk.loss import rate_logits
from nwavesdk.train.decoders import ClassDecoder, MembraneDecoder, RateDecoder

TAU, DT = 20e-3, 1e-3
BETA = math.exp(-DT / TAU)


def spikes(B: int = 2, T: int = 30, N: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(B, T, N, generator=generator) < 0.3).float()


def test_outputs_have_the_deviation_of_independent_charges() -> None:
    layer = LILayer(1, tau=TAU, dt=DT)
    prepare_net(layer)
    charges = torch.randn(50, 2000, 1, generator=torch.Generator().manual_seed(0))
    mem, _ = layer(charges)
    outputs = MembraneDecoder(TAU, DT)(mem, mem)
    assert outputs[:, 200:].std().item() == pytest.approx(1, abs=0.02)


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


def test_padding_does_not_change_logits() -> None:
    spk = spikes(B=3, T=12, N=6)
    lengths = torch.tensor([12, 5, 8])
    padded = torch.cat([spk, torch.ones(3, 4, 6)], dim=1)
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = 1
    got = ClassDecoder(3, 25.0)(padded, padded, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = rate_logits(spk[row : row + 1, :length], 3, 25.0)
        torch.testing.assert_close(got[row : row + 1], alone)
    full = torch.full((3,), 12)
    torch.testing.assert_close(rate_logits(spk, 3, 25.0, full), rate_logits(spk, 3, 25.0))
