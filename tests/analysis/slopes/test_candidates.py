"""Candidates get names, and one surrogate for each layer."""

import pytest

from nwavesdk.analysis.slopes.candidates import default_grid, name_candidates
from nwavesdk.surrogate import atan, fast_sigmoid

PRESENT = [atan(1.5)] * 3


def test_a_single_surrogate_is_for_all_layers():
    named = name_candidates({"own name": atan(2), "mixed": [atan(2), atan(3), atan(4)]}, PRESENT)
    assert named == {"own name": (atan(2),) * 3, "mixed": (atan(2), atan(3), atan(4))}
    assert list(name_candidates([fast_sigmoid(25)], PRESENT)) == ["fast_sigmoid(slope=25)"]


def test_the_present_surrogates_are_added_to_the_grid():
    assert len(name_candidates(None, [atan(2)] * 3)) == len(default_grid())
    assert list(name_candidates(None, PRESENT))[-1] == "atan(alpha=1.5)"
    mixed = [atan(2), atan(3), atan(2)]
    assert list(name_candidates(None, mixed).values())[-1] == tuple(mixed)


def test_names_differ():
    with pytest.raises(ValueError, match=r"two candidates 'atan\(alpha=2\)'"):
        name_candidates([atan(2), atan(2)], PRESENT)


def test_candidates_are_surrogates():
    with pytest.raises(TypeError, match=r"got 'relu' in 'a'"):
        name_candidates({"a": ["relu"] * 3}, PRESENT)
