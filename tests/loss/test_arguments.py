"""Laws of all losses on sequences: gradients, lengths, half precision, modules, errors by words."""

import copy
import pickle

import pytest
import torch

from nwavesdk.loss import (
    CountCrossEntropy,
    CountMSE,
    FirstSpikeCrossEntropy,
    MembraneCrossEntropy,
    RateBoundsLoss,
    RateCrossEntropy,
    RateMSE,
    TETLoss,
    VanRossumDistance,
    balanced_population_mse,
    count_cross_entropy,
    count_mse,
    firing_rate_target_mse_loss,
    first_spike_cross_entropy,
    membrane_cross_entropy,
    rate_bounds_loss,
    rate_cross_entropy,
    rate_mse,
    tet_loss,
    van_rossum_distance,
)

# Losses with classes: the function, a module with the same options, and these options.
WITH_CLASSES = {
    "rate_cross_entropy": (rate_cross_entropy, RateCrossEntropy, {"sharpness": 3.0}),
    "count_cross_entropy": (count_cross_entropy, CountCrossEntropy, {}),
    "rate_mse": (rate_mse, RateMSE, {"high_rate": 0.5}),
    "count_mse": (count_mse, CountMSE, {"high_count": 9, "low_count": 1}),
    "first_spike": (first_spike_cross_entropy, FirstSpikeCrossEntropy, {"scale": 2.0}),
    "membrane": (membrane_cross_entropy, MembraneCrossEntropy, {"over_time": "logsumexp"}),
    "tet": (tet_loss, TETLoss, {"mse_share": 0.2}),
}
LENGTHS = torch.tensor([4, 1, 7])
TARGETS = torch.tensor([0, 1, 1])


def draw(dtype=torch.float64):
    generator = torch.Generator().manual_seed(7)
    return torch.rand(3, 7, 4, generator=generator, dtype=torch.float64).to(dtype)


def as_function(name):
    """A loss of values [3, 7, 4] and lengths, and a module that must give the same."""
    if name in WITH_CLASSES:
        function, module, options = WITH_CLASSES[name]
        return (
            lambda x, lengths=None: function(x, TARGETS, 2, **options, lengths=lengths),
            lambda x, lengths=None: module(2, **options)(x, TARGETS, lengths),
        )
    if name == "van_rossum":
        wanted = draw().round().flip(0)
        return (
            lambda x, lengths=None: van_rossum_distance(x, wanted.to(x), 5e-3, 1e-3, lengths),
            lambda x, lengths=None: VanRossumDistance(5e-3, 1e-3)(x, wanted.to(x), lengths),
        )
    return (
        lambda x, lengths=None: rate_bounds_loss([x, x[..., :1]], 0.6, 0.7, lengths=lengths),
        lambda x, lengths=None: RateBoundsLoss(0.6, 0.7)([x, x[..., :1]], lengths),
    )


ALL = [*WITH_CLASSES, "van_rossum", "bounds"]


def losses_on_rates(spk, targets, lengths):
    return (
        firing_rate_target_mse_loss([spk, spk[..., :3]], [0.1, 0.2], [3.0, 2.0], lengths),
        balanced_population_mse(spk, targets, 2, lengths=lengths),
    )


def test_rates_and_counts_with_lengths_leave_padding_out():
    targets, lengths = torch.tensor([0, 1, 1]), torch.tensor([4, 1, 7])
    spk = (torch.rand(3, 7, 4) < 0.4).float()
    alone = [x[None, :n] for x, n in zip(spk, lengths, strict=True)]
    valid = torch.cat(alone, dim=1)
    rates, _ = losses_on_rates(valid, targets[:1], None)
    counts = [losses_on_rates(x, y[None], None)[1] for x, y in zip(alone, targets, strict=True)]
    padding = torch.arange(7) >= lengths[:, None]
    spk = spk.masked_fill(padding[..., None], torch.nan).requires_grad_()
    got = losses_on_rates(spk, targets, lengths)
    assert torch.equal(got[0], rates)
    assert got[1].item() == pytest.approx(sum(counts).item() / 3)
    sum(got).backward()
    assert not spk.grad[padding].any()
    assert spk.grad[~padding].all()


def test_without_padding_losses_have_the_bits_of_those_without_lengths():
    targets = torch.tensor([0, 1, 1])
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        grads = []
        for lengths in (None, torch.full((3,), 7)):
            spk = torch.rand(3, 7, 4, generator=torch.Generator().manual_seed(3)).to(dtype)
            losses = losses_on_rates(spk.requires_grad_(), targets, lengths)
            sum(losses).backward()
            grads.append((*losses, spk.grad))
        assert all(map(torch.equal, *grads))


def test_lengths_are_checked():
    spk, targets = torch.ones(2, 3, 4), torch.tensor([0, 1])
    lengths = torch.tensor([0, 3])
    with pytest.raises(ValueError, match="loss: layer 0: lengths must be from 1 to the 3 steps of"):
        firing_rate_target_mse_loss([spk], [0.1], [1.0], lengths)
    with pytest.raises(
        ValueError, match="balanced_population_mse: lengths must be from 1 to the 3"
    ):
        balanced_population_mse(spk, targets, 2, lengths=lengths)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_finite_differences(name):
    loss, _ = as_function(name)
    for lengths in (None, LENGTHS):
        x = draw().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, lengths=lengths: loss(x, lengths), x)


@pytest.mark.parametrize("name", ALL)
def test_padding_never_counts(name):
    loss, module = as_function(name)
    x = draw(torch.float32)
    padding = torch.arange(7) >= LENGTHS[:, None]
    expected = loss(x, LENGTHS)
    x = torch.cat([x.masked_fill(padding[..., None], torch.nan), torch.ones(3, 2, 4)], dim=1)
    if name == "van_rossum":  # its targets have the length of the spikes
        x = x[:, :7]
    x.requires_grad_()
    got = module(x, LENGTHS)
    torch.testing.assert_close(got, expected)
    got.backward()
    assert not x.grad[:, :7][padding].any()
    assert x.grad[:, 7:].count_nonzero() == 0
    assert x.grad.count_nonzero() > 0
    full = torch.full((3,), 7)
    torch.testing.assert_close(loss(draw(), full), loss(draw()))


@pytest.mark.parametrize("name", ALL)
def test_half_precision_gives_float32(name):
    loss, _ = as_function(name)
    x = draw(torch.bfloat16).round().requires_grad_()
    got = loss(x)
    torch.testing.assert_close(got, loss(x.float()))
    got.backward()
    assert x.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("name", WITH_CLASSES)
def test_classes_are_checked(name):
    function, module, options = WITH_CLASSES[name]
    x = draw()
    with pytest.raises(ValueError, match="4 output neurons cannot be split into 3 equal groups"):
        function(x, TARGETS, 3, **options)
    with pytest.raises(ValueError, match=r"shape \[3, 7\], expected \[B, T, outputs\]"):
        function(x[..., 0], TARGETS, **options)
    with pytest.raises(ValueError, match="targets must be classes from 0 to 1, got 1 to 2"):
        function(x, TARGETS + 1, 2, **options)
    with pytest.raises(TypeError, match="the output takes a floating input, got torch.int64"):
        function(x.long(), TARGETS, 2, **options)
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1, got 0"):
        module(0, **options)


def test_modules_are_copied_pickled_and_printed():
    loss = TETLoss(2, mse_share=0.2)
    x = draw()
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other(x, TARGETS) == loss(x, TARGETS)
    assert repr(loss) == "TETLoss(num_classes=2, mse_share=0.2, mse_target=1.0)"
    assert not loss.state_dict()


def test_losses_compile():
    for name in ("rate_cross_entropy", "tet"):
        loss, _ = as_function(name)
        compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(draw()), loss(draw()))
