"""The physics on arrays: charge laws, quantization, profiles."""

import pytest
import torch

from nwavesdk.chip import (
    ExpansiveCharge,
    LinearCharge,
    Noise,
    Profile,
    Quantizer,
    TableCharge,
    load_profile,
    lognormal_factors,
)


@pytest.mark.parametrize("law", [LinearCharge(0.5), ExpansiveCharge(1.2, 2.0, 0.9)], ids=repr)
def test_a_charge_law_is_odd_rising_and_knows_its_slope(law):
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
def test_a_charge_law_finds_the_weight_of_a_charge(law):
    w = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)
    torch.testing.assert_close(law.weight(law.charge(w)), w)


def test_noise_is_of_its_seed_and_place_and_ideal_noise_is_none():
    a, b, c = (
        Noise.of(1, 2).normal((1000,)),
        Noise.of(2, 1).normal((1000,)),
        Noise.of(-1, 2).normal((1000,)),
    )
    assert torch.equal(a, Noise.of(1, 2).normal((1000,)))
    for other in (b, c, Noise.of(1, 3).normal((1000,))):
        assert abs(torch.corrcoef(torch.stack([a, other]))[0, 1]) < 0.1
    assert not Noise(ideal=True).normal((5,)).any()


def test_the_expansive_law_ends_at_gain_times_limit():
    law = ExpansiveCharge(1.2, 2.0, 0.9)
    assert law.charge(torch.tensor(0.9)).item() == pytest.approx(1.2 * 0.9)
    assert law.slope(torch.tensor(0.0)) < 1.2 < law.slope(torch.tensor(0.9))


@pytest.mark.parametrize("bits", range(2, 9))
def test_quantization_is_symmetric_uniform_and_idempotent(bits):
    quantizer, w = Quantizer(bits, 0.9), torch.linspace(-1.2, 1.2, 4001)
    q, integers = quantizer.quantize(w), quantizer.integers(w)
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
    """Rounding puts the highest of 3 bits above 0.9: a net read back from an export must still learn there."""
    quantizer, most = Quantizer(bits, limit), 2 ** (bits - 1) - 1
    levels = torch.arange(-most, most + 1).to(dtype) * quantizer.step
    assert torch.equal(quantizer.quantize(levels), levels)
    assert quantizer.inside(levels).all()
    assert quantizer.inside(torch.tensor([-limit, limit], dtype=dtype)).all()
    assert not quantizer.inside(torch.tensor([-1.02 * limit, 1.02 * limit], dtype=dtype)).any()


def test_factors_are_log_normal_and_reproducible():
    draws = [lognormal_factors((20_000,), 0.1, Noise.of(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].log().std().item() == pytest.approx(0.1, rel=0.03)
    assert draws[0].median().item() == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize(("chip", "limit"), [("h1v1", 0.9), ("h1v2", 1.66)])
def test_shipped_profiles(chip, limit):
    profile = load_profile(chip)
    assert profile.number("weight_limit") == limit
    assert profile.entries["weight_limit"].source == "documented"
    assert all(entry.note and entry.unit for entry in profile.entries.values())
    assumed = {key for key, entry in profile.entries.items() if entry.source == "assumed"}
    assert {
        "threshold",
        "charge_gain",
        "leak_mismatch",
        "threshold_mismatch",
        "tau_profiles",
    } <= assumed
    assert isinstance(profile.charge_law, ExpansiveCharge if chip == "h1v1" else LinearCharge)
    assert bool(profile.tau_profiles) == (chip == "h1v2")


def shipped_text(chip):
    from importlib.resources import files

    return (files("nwavesdk.chip") / "profiles" / f"{chip}.toml").read_text()


def test_a_missing_entry_and_a_missing_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(shipped_text("h1v2").partition("[filter_power]")[0])
    with pytest.raises(ValueError, match="profile mine: entry filter_power is missing"):
        load_profile(path)
    with pytest.raises(
        FileNotFoundError,
        match="there is no profile h3: give h1v1, h1v2, or the path of a TOML file",
    ):
        load_profile("h3")


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"RIFF\xe4")
    with pytest.raises(ValueError, match="profile mine is no TOML: 'utf-8' codec"):
        load_profile(path)


def test_a_profile_as_json_comes_back_equal():
    profile = load_profile("h1v2")
    assert Profile.from_json(profile.to_json()) == profile != load_profile("h1v1")


TABLE = TableCharge((0.0, 0.3, 0.9), (0.0, 0.1, 0.9))


def test_a_charge_table_goes_through_its_points_and_knows_its_slope():
    assert (
        TableCharge((-0.9, -0.3, 0.0, 0.3, 0.9), (-0.9, -0.1, 0.0, 0.1, 0.9)) == TABLE
    )  # odd from its right half
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
def test_a_broken_charge_table_is_refused(weights, charges, words):
    with pytest.raises(ValueError, match=words):
        TableCharge(weights, charges)


def test_a_file_of_the_user_s_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        shipped_text("h1v2").replace("value = 1.66", "value = 1.5").replace("assumed", "measured")
    )
    assert load_profile(path).number("weight_limit") == 1.5


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "[threshold]",
            "[thresh]",
            "thresh is no entry of a profile, expected neuron, weight_limit",
        ),
        (
            'unit = "s"',
            'units = "s"',
            "tau_profiles must be a table with value, unit, source and note",
        ),
        (
            'source = "documented"',
            'source = "rumoured"',
            'source of neuron is "documented", "assumed" or "measured", got \'rumoured\'',
        ),
        ("value = 1.66", "value = -1", "weight_limit must be a number above 0, got -1.0"),
        ("value = 1.66", 'value = "much"', "weight_limit must be a number above 0, got 'much'"),
        (
            "value = [50, 50, 100]",
            "value = [50, 0.5]",
            "cores must be a list of numbers of neurons",
        ),
        (
            "value = 0.02\n",
            "value = 0.5\n",
            "threshold_mismatch must be a number from 0 to 0.3, got 0.5",
        ),
        (
            'value = "linear"',
            'value = "cubic"',
            'charge_law must be "linear" or "expansive" or "table", got \'cubic\'',
        ),
        (
            'value = "linear"',
            'value = "table"',
            "a charge table needs as many charges as weights, two at least, got 0",
        ),
        ("value = 100.0", "value = 4000", "filter_lowest must lie below filter_highest"),
        ("[weight_limit]", "[weight_limit", "profile mine is no TOML"),
        (
            "[neuron]",
            "x = 1\n[neuron]",
            "x must be a table with value, unit, source and note, got 1",
        ),
    ],
)
def test_a_broken_file_names_the_entry(tmp_path, old, new, words):
    path = tmp_path / "mine.toml"
    path.write_text(shipped_text("h1v2").replace(old, new))
    with pytest.raises(ValueError, match=words):
        load_profile(path)
