"""Charge laws, quantization and mismatch."""

import pytest
import torch

from nwavesdk.chip import ExpansiveCharge, LinearCharge, Quantizer, TableCharge, lognormal_factors


@pytest.mark.parametrize("law", [LinearCharge(0.5), ExpansiveCharge(1.2, 2.0, 0.9)], ids=repr)
def test_a_charge_law_is_odd_and_rises_with_its_slope(law):
    w = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)
    q = law.charge(w)
    torch.testing.assert_close(q, -law.charge(-w))
    assert bool((q.diff() > 0).all())
    h = 1e-6
    torch.testing.assert_close(
        law.slope(w), (law.charge(w + h) - law.charge(w - h)) / (2 * h), rtol=1e-8, atol=0
    )


@pytest.mark.parametrize(
    "law",
    [
        LinearCharge(0.5),
        ExpansiveCharge(1.2, 2.0, 0.9),
        TableCharge((0.0, 0.3, 0.9), (0.0, 0.1, 0.9)),
    ],
    ids=repr,
)
def test_the_weight_of_a_charge_is_the_inverse_of_the_law(law):
    w = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)
    torch.testing.assert_close(law.weight(law.charge(w)), w)


def test_the_expansive_law_is_gain_times_limit_at_the_limit():
    law = ExpansiveCharge(1.2, 2.0, 0.9)
    assert law.charge(torch.tensor(0.9)).item() == pytest.approx(1.2 * 0.9)
    assert law.slope(torch.tensor(0.0)) < 1.2 < law.slope(torch.tensor(0.9))


@pytest.mark.parametrize("bits", range(2, 9))
def test_quantization_is_symmetric_uniform_and_idempotent(bits):
    quantizer = Quantizer(bits, 0.9)
    w = torch.linspace(-1.2, 1.2, 4001)
    q = quantizer.quantize(w)
    integers = quantizer.integers(w)
    assert q.unique().numel() == 2**bits - 1
    assert integers.dtype == torch.int8
    assert torch.equal(quantizer.quantize(-w), -q)
    assert torch.equal(quantizer.quantize(q), q)
    assert torch.equal(integers.float() * quantizer.step, q)
    inside = w.abs() <= 0.9
    assert (q - w)[inside].abs().max() <= quantizer.step / 2 + 1e-6
    assert q.abs().max().item() == pytest.approx(0.9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("limit", [0.9, 1.66])
@pytest.mark.parametrize("bits", range(2, 9))
def test_the_gradient_passes_at_every_level_and_at_the_limit(bits, limit, dtype):
    # Rounding puts the highest level of 3 bits above 0.9; a net that is read back from an exported
    # file must still learn there.
    quantizer = Quantizer(bits, limit)
    most = 2 ** (bits - 1) - 1
    levels = torch.arange(-most, most + 1).to(dtype) * quantizer.step
    assert torch.equal(quantizer.quantize(levels), levels)
    assert quantizer.inside(levels).all()
    assert quantizer.inside(torch.tensor([-limit, limit], dtype=dtype)).all()
    assert not quantizer.inside(torch.tensor([-1.02 * limit, 1.02 * limit], dtype=dtype)).any()


def test_factors_are_lognormal():
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    factors = lognormal_factors(noise, 0.1)
    assert factors.log().std().item() == pytest.approx(0.1, rel=0.03)
    assert factors.median().item() == pytest.approx(1.0, abs=0.005)


TABLE = TableCharge((0.0, 0.3, 0.9), (0.0, 0.1, 0.9))


def test_a_charge_table_goes_through_its_points_with_its_slope():
    # The law is odd: the table above is its right half.
    assert TableCharge((-0.9, -0.3, 0.0, 0.3, 0.9), (-0.9, -0.1, 0.0, 0.1, 0.9)) == TABLE
    w = torch.tensor([-0.9, -0.3, 0.0, 0.3, 0.6, 0.9, 1.2], dtype=torch.float64)
    expected = torch.tensor([-0.9, -0.1, 0.0, 0.1, 0.5, 0.9, 1.3], dtype=torch.float64)
    torch.testing.assert_close(TABLE.charge(w), expected)
    slopes = torch.tensor([4 / 3, 1 / 3, 1 / 3, 4 / 3, 4 / 3, 4 / 3, 4 / 3], dtype=torch.float64)
    torch.testing.assert_close(TABLE.slope(w), slopes)


def test_a_charge_table_need_not_be_odd():
    law = TableCharge((-1.0, 0.0, 1.0), (-0.5, 0.0, 2.0))
    torch.testing.assert_close(law.charge(torch.tensor([-0.5, 0.5])), torch.tensor([-0.25, 1.0]))


@pytest.mark.parametrize(
    ("weights", "charges", "words"),
    [
        ((0.0, 1.0), (0.0,), "as many charges as weights, two at least, got 1 for 2"),
        ((0.0, 1.0, 1.0), (0.0, 1.0, 2.0), "the weights of a charge table must rise"),
        ((0.0, 1.0, 2.0), (0.0, 1.0, 0.5), "the charges of a charge table must rise"),
        ((0.1, 1.0), (0.0, 1.0), "needs the point of weight 0 and charge 0"),
    ],
)
def test_a_broken_charge_table_is_rejected(weights, charges, words):
    with pytest.raises(ValueError, match=words):
        TableCharge(weights, charges)
