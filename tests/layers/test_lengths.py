"""Masks, sums and means over valid steps, and which modules lengths are for."""

import pytest
import torch
from torch import nn

from nwavesdk.layers import Dropout
from nwavesdk.layers.lengths import (
    check_lengths,
    check_optional_lengths,
    complete_lengths,
    mean_of_recordings,
    mean_over_steps,
    mean_rate,
    reads_batch,
    sum_over_steps,
    valid_places,
    valid_steps,
)

X = torch.zeros(3, 5, 2)


def test_the_mask_has_as_many_steps_as_each_recording():
    mask = valid_steps(torch.tensor([0, 3, 5]), 5)
    assert mask.tolist() == [[False] * 5, [True] * 3 + [False] * 2, [True] * 5]
    assert valid_places(torch.tensor([1, 0, 2]), 2).tolist() == [0, 4, 5]
    assert valid_places(torch.tensor([2, 2]), 2) is None


@pytest.mark.parametrize("is_channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("features", [(), (4,), (2, 3), (2, 3, 5)])
def test_sums_means_and_rates_are_those_of_the_valid_steps(features, dtype, is_channels_last):
    lengths = torch.tensor([7, 1, 4])
    spk = (torch.rand(3, 7, *features) < 0.4).to(dtype)
    if is_channels_last and features:
        spk = spk.movedim(2, -1).contiguous().movedim(-1, 2)
    assert mean_rate(spk).item() == pytest.approx(spk.double().mean().item(), abs=1e-15)
    spk[~valid_steps(lengths, 7)] = torch.nan
    spk.requires_grad_()
    valid = [s[:n].double() for s, n in zip(spk, lengths, strict=True)]
    sums, means, rate = (f(spk, lengths) for f in (sum_over_steps, mean_over_steps, mean_rate))
    assert torch.equal(sums.double(), torch.stack([v.sum(0) for v in valid]))
    assert torch.equal(means, torch.cat(valid).sum(0) / 12)
    assert rate.dtype == torch.float64
    assert rate.item() == pytest.approx(torch.cat(valid).mean().item(), abs=1e-15)
    (got,) = torch.autograd.grad(sums.sum() + means.sum() + rate, spk)
    alone = torch.cat(valid)
    (expected,) = torch.autograd.grad(alone.sum() * (1 + 1 / 12) + alone.mean(), spk)
    torch.testing.assert_close(got, expected)


def test_without_recordings_there_is_no_rate():
    assert mean_rate(torch.zeros(0, 7, 2)).isnan()


def test_without_padding_the_bits_are_those_without_lengths():
    values = torch.randn(3, 7, 5)
    whole = complete_lengths(values, check_optional_lengths("f", None, values))
    for f in (mean_over_steps, mean_of_recordings, sum_over_steps):
        assert torch.equal(f(values), f(values, whole))


def test_lengths_are_returned_as_they_are():
    lengths = torch.tensor([1, 5, 2])
    assert check_lengths("net", lengths, X) is lengths
    check_lengths("net", torch.tensor([0, 5, 2]), X, least=0)
    check_lengths("net", lengths[:0], X[:0])


@pytest.mark.parametrize(
    ("lengths", "kind", "words"),
    [
        ([1, 2, 3], TypeError, "net: lengths takes a tensor, got list"),
        (torch.ones(3), TypeError, "net: lengths must be int64, got torch.float32: convert them"),
        (torch.ones(2).long(), ValueError, r"shape \[2\], expected \[3\]: one per recording"),
        (torch.ones(3, 1).long(), ValueError, r"shape \[3, 1\], expected \[3\]"),
        (torch.tensor([1, 0, 2]), ValueError, "from 1 to the 5 steps of the input, got 0 to 2"),
        (torch.tensor([1, 6, 2]), ValueError, "got 1 to 6: pass the number of steps of each"),
    ],
)
def test_lengths_are_checked(lengths, kind, words):
    with pytest.raises(kind, match=words):
        check_lengths("net", lengths, X)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: valid_steps(torch.ones(3, dtype=torch.bool), 5),
            TypeError,
            "valid_steps: lengths must be int64, got torch.bool",
        ),
        (
            lambda: valid_steps(torch.ones(3, 1).long(), 5),
            ValueError,
            r"lengths have the shape \[3, 1\], expected \[B\]",
        ),
        (
            lambda: valid_steps(torch.ones(3).long(), 2.5),
            ValueError,
            "T must be a whole number of at least 0, got 2.5",
        ),
    ],
)
def test_a_mask_needs_whole_numbers(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_batch_norm_reads_its_batch_unless_it_has_statistics():
    assert reads_batch(nn.BatchNorm1d(2))
    assert reads_batch(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    assert not reads_batch(nn.BatchNorm1d(2).eval())
    assert reads_batch(nn.BatchNorm1d(2, track_running_stats=False).eval())
    assert not reads_batch(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), Dropout()))
