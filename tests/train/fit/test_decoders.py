"""Decoders: closed forms, causality, and streaming."""

import pytest
import torch

from nwavesdk.layers import LILayer, prepare_net
from nwavesdk.loss import rate_logits
from nwavesdk.train.fit.decoders import ClassDecoder, MembraneDecoder

TAU, DT = 20e-3, 1e-3


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


def test_scores_of_each_step_are_averaged_over_valid_steps() -> None:
    scores = torch.randn(2, 5, 3)
    decoder = ClassDecoder(3, 25.0, takes_scores=True)
    got = decoder(scores, scores, torch.tensor([5, 2]))
    torch.testing.assert_close(got, torch.stack([scores[0].mean(0), scores[1, :2].mean(0)]))
    torch.testing.assert_close(decoder(scores, scores), scores.mean(1))
    decision = scores[:, 0]
    assert decoder(decision, decision) is decision
    spk = spikes(N=6)
    assert torch.equal(decoder(spk, 0 * spk), rate_logits(spk, 3, 25.0))


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
