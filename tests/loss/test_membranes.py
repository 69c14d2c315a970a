"""Losses on membranes against loops in NumPy."""

import numpy as np
import pytest
import torch

from nwavesdk.loss import membrane_cross_entropy, membrane_readout, tet_loss

READOUTS = {
    "sum": lambda v: v.sum(0),
    "mean": lambda v: v.mean(0),
    "max": lambda v: v.max(0),
    "last": lambda v: v[-1],
    "logsumexp": lambda v: np.log(np.exp(v).sum(0)),
}


def entropy_of(logits, target):
    return np.log(np.exp(logits).sum()) - logits[target]


@pytest.mark.parametrize("over_time", READOUTS)
def test_readouts_against_numpy(over_time):
    mem, lengths = torch.randn(3, 7, 6, dtype=torch.float64), torch.tensor([7, 1, 4])
    targets = torch.tensor([0, 2, 1])
    alone = [READOUTS[over_time](v[:n].numpy()) for v, n in zip(mem, lengths, strict=True)]
    mem[torch.arange(7) >= lengths[:, None]] = torch.nan
    got = membrane_readout(mem, over_time, lengths)
    assert got.numpy() == pytest.approx(np.stack(alone), rel=1e-12)
    logits = [values.reshape(3, 2).mean(1) for values in alone]
    expected = np.mean([entropy_of(z, c) for z, c in zip(logits, targets, strict=True)])
    loss = membrane_cross_entropy(mem, targets, 3, over_time, lengths)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_images_have_readouts_too():
    mem = torch.randn(2, 4, 3, 5, 5)
    for over_time, function in READOUTS.items():
        expected = np.stack([function(v.numpy()) for v in mem])
        assert membrane_readout(mem, over_time).numpy() == pytest.approx(expected, rel=1e-5)


def test_log_sum_exp_of_large_membranes_is_finite():
    mem = torch.full((1, 4, 1), 1e4, dtype=torch.float64)
    assert membrane_readout(mem, "logsumexp").item() == pytest.approx(1e4 + np.log(4))


def tet_by_loops(mem, targets, classes, share, level, lengths):
    total = 0.0
    for v, target, n in zip(mem, targets, lengths, strict=True):
        of_steps = []
        for o in v[:n].numpy().reshape(n, classes, -1).mean(2):
            distance = np.mean((o - level) ** 2)
            of_steps.append((1 - share) * entropy_of(o, target) + share * distance)
        total += np.mean(of_steps)
    return total / len(mem)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_tet_against_loops(share):
    mem, targets = torch.randn(3, 5, 4, dtype=torch.float64), torch.tensor([1, 0, 1])
    for lengths in ([5, 5, 5], [2, 5, 1]):
        expected = tet_by_loops(mem, targets, 2, share, 0.7, lengths)
        got = tet_loss(mem, targets, 2, share, 0.7, torch.tensor(lengths))
        assert got.item() == pytest.approx(expected, rel=1e-12)
    whole = tet_by_loops(mem, targets, 4, share, 0.7, [5] * 3)
    assert tet_loss(mem, targets, None, share, 0.7).item() == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda mem: membrane_readout(mem, "median"),
            "over_time must be one of 'sum', 'mean', 'max', 'last'",
        ),
        (lambda mem: membrane_readout(mem[:, 0, 0]), r"shape \[2\], expected \[B, T, \*features\]"),
        (
            lambda mem: tet_loss(mem, torch.tensor([0, 1]), mse_share=2.0),
            "mse_share must be a finite number of at least 0 and of",
        ),
    ],
)
def test_arguments_are_checked(call, words):
    mem = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match=words):
        call(mem)
