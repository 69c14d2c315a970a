"""The filter bank against closed forms and an independent construction."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.conftest import blocks_of
from nwavesdk.chip import FilterBank, load_profile
from tolerances import STATE

signal = pytest.importorskip("scipy.signal")

BANK = FilterBank.of(load_profile("h1v1"), 16000)


def warped(frequency: float | np.ndarray, rate: float) -> float | np.ndarray:
    """The analog frequency that the bilinear transform maps to a digital one."""
    return 2 * rate * np.tan(np.pi * frequency / rate)


def test_the_shipped_chips_have_16_bands_from_100_to_3400_hz_that_meet() -> None:
    for chip in ("h1v1", "h1v2"):
        bank = FilterBank.of(load_profile(chip), 8000)
        assert bank.centers.shape == (16,)
        assert bank.centers[[0, -1]] == pytest.approx([100, 3400])
        assert np.ptp(np.diff(np.log(bank.centers))) < 1e-12
        assert bank.edges[1:, 0] == pytest.approx(bank.edges[:-1, 1])
        assert bank.edges[:-1, 1] == pytest.approx(np.sqrt(bank.centers[1:] * bank.centers[:-1]))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_response_is_that_of_butterworth_filters(rate: int, order: int) -> None:
    bank = replace(BANK, sample_rate=rate, order=order)
    frequencies = np.geomspace(20, 0.499 * rate, 300)
    low = warped(bank.edges[:, :1], rate)
    high = warped(bank.edges[:, 1:], rate)
    analog = warped(frequencies, rate)
    distance = (analog**2 - low * high) / (analog * (high - low))
    np.testing.assert_allclose(
        bank.response(frequencies), 1 / np.sqrt(1 + distance ** (2 * order)), atol=1e-7
    )


def test_the_response_is_the_spectrum_of_the_impulse_response() -> None:
    impulse = np.zeros(16000)
    impulse[0] = 1
    spectra = np.abs(np.fft.rfft(BANK(impulse), axis=1))
    np.testing.assert_allclose(spectra, BANK.response(np.arange(8001)), atol=1e-5)
    numerator, denominator = signal.butter(2, BANK.edges[9] / 8000, btype="bandpass")
    expected = np.abs(signal.freqz(numerator, denominator, np.arange(1, 8000), fs=16000)[1])
    np.testing.assert_allclose(BANK.response(np.arange(1, 8000))[9], expected, atol=1e-9)


def test_the_bank_is_causal_linear_and_silent_in_silence() -> None:
    draw = np.random.default_rng(0)
    sound, other = draw.standard_normal((2, 2000))
    whole = BANK(sound)
    np.testing.assert_array_equal(BANK(sound[:700]), whole[:, :700])
    np.testing.assert_allclose(BANK(2 * sound - other), 2 * whole - BANK(other), atol=1e-5)
    assert not BANK(np.zeros(100)).any()


@pytest.mark.parametrize("longest", [1, 7, 5000])
def test_blocks_give_the_channels_of_the_whole_sound(longest: int) -> None:
    sound = np.random.default_rng(0).standard_normal(6000 if longest > 100 else 300)
    stream = BANK.stream()
    blocks = [stream.push(block) for block in blocks_of(sound, longest)]
    whole = np.concatenate(blocks, axis=1)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole, BANK(sound))


@pytest.mark.parametrize(("count", "order"), [(1, 1), (5, 2), (16, 2), (17, 4)])
def test_channels_are_those_of_scipy(count: int, order: int) -> None:
    bank = replace(BANK, count=count, order=order)
    sound = np.random.default_rng(0).uniform(-1, 1, 3000)
    expected = [signal.sosfilt(sections, sound) for sections in bank.sections]
    tolerance = STATE[torch.float32]
    np.testing.assert_allclose(bank(sound), expected, rtol=0, atol=tolerance)
    # Neither the layout of a sound matters, nor whether it can be written.
    column = np.stack([sound, sound], axis=1)[:, 0]
    column.flags.writeable = False
    np.testing.assert_array_equal(bank(column), bank(sound))


def test_two_streams_of_a_bank_share_nothing() -> None:
    sound = np.random.default_rng(0).standard_normal(100)
    first = BANK.stream()
    first.push(sound)
    np.testing.assert_array_equal(BANK.stream().push(sound), BANK(sound))
    with pytest.raises(ValueError, match=r"got an array of shape \[2, 5\]: average its channels"):
        first.push(np.zeros((2, 5)))


def test_one_filter_reaches_from_lowest_to_highest() -> None:
    bank = FilterBank(16000, lowest=100, highest=400, count=1, order=2)
    assert bank.centers == pytest.approx([200])
    assert bank.edges[0] == pytest.approx([100, 400])


def test_a_rate_that_is_too_low_is_rejected_with_the_lowest_possible_one() -> None:
    edge = BANK.edges[-1, 1]
    FilterBank.of(load_profile("h1v1"), 2 * edge + 1)
    message = (
        "ends at 3824 Hz, expected below 3000 Hz, half the sample rate: use a sample_rate above "
        "7648 Hz, or a chip"
    )
    with pytest.raises(ValueError, match=message):
        FilterBank.of(load_profile("h1v1"), 6000)
    with pytest.raises(ValueError, match="half the sample rate"):
        FilterBank.of(load_profile("h1v1"), 2 * edge)


def test_numbers_out_of_range_are_rejected() -> None:
    with pytest.raises(ValueError, match="a count and an order of at least 1, got 0 and 2"):
        replace(BANK, count=0)
    with pytest.raises(ValueError, match="0 < lowest < highest, got 200 Hz and 100 Hz"):
        replace(BANK, lowest=200, highest=100)
    for rate in (float("nan"), float("inf"), -8000, "8 kHz"):
        with pytest.raises(ValueError, match="FilterBank: sample_rate must be a finite number abo"):
            replace(BANK, sample_rate=rate)
    with pytest.raises(
        ValueError, match=r"a mono sound \[samples\], got an array of shape \[2, 5\]"
    ):
        BANK(np.zeros((2, 5)))


def test_without_scipy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"scipy is not installed.*pip install '\.\[train\]'"
    ):
        replace(BANK)(np.zeros(3))
