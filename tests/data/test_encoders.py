"""Images as currents and as spikes: laws of each encoder."""

from typing import Any

import numpy as np
import pytest

from nwavesdk.data.encoders import Latency, Rate, encoder_of, hold_values

VALUES = np.random.default_rng(0).random((2, 50)).astype(np.float32)


def test_a_current_is_the_values_in_every_step() -> None:
    assert encoder_of("current", 0) is None
    held = hold_values(VALUES, 3)
    assert held.shape == (6, 50)
    for step in range(6):
        np.testing.assert_array_equal(held[step], VALUES[step // 3])


def test_the_rate_of_spikes_is_the_value() -> None:
    spikes = Rate(0)(VALUES[:1], "image", 4000)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    # Five standard deviations of a mean of 4,000 draws.
    np.testing.assert_allclose(spikes.mean(0), VALUES[0], atol=5 * 0.5 / np.sqrt(4000))


def test_random_spikes_are_those_of_seed_and_key() -> None:
    spikes = Rate(0)(VALUES, "image", 20)
    np.testing.assert_array_equal(spikes, Rate(0)(VALUES, "image", 20))
    for other in (Rate(1)(VALUES, "image", 20), Rate(0)(VALUES, "other", 20)):
        assert (spikes != other).any()


def test_brighter_values_spike_earlier_and_once() -> None:
    values = np.linspace(0.01, 1, 50, dtype=np.float32)[None]
    spikes = Latency()(values, "image", 40)
    assert (spikes.sum(0) == 1).all()
    steps = spikes.argmax(0)
    assert (np.diff(steps) <= 0).all()
    assert steps[-1] == 0
    assert steps[0] == round(0.99 * 39)


@pytest.mark.parametrize("name", ["rate", "latency"])
def test_each_frame_is_encoded_by_itself_and_0_never_spikes(name: Any) -> None:
    encoder = encoder_of(name, 3)
    assert encoder is not None
    assert encoder(VALUES, "image", 5).shape == (10, 50)
    assert not encoder(np.zeros((1, 3), np.float32), "image", 10).any()
