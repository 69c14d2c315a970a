"""The helper that picks the cases of many parity tests."""

from itertools import combinations

import pytest

from pairwise import pairwise

OPTIONS = {
    "neuron": list("abcdef"),
    "surrogate": list("wxyz"),
    "detach": [True, False],
    "steps": [0, 1, 33],
}


def test_every_pair_of_values_occurs():
    cases = pairwise(**OPTIONS)
    for (one, ones), (other, others) in combinations(OPTIONS.items(), 2):
        assert {(case[one], case[other]) for case in cases} == {
            (a, b) for a in ones for b in others
        }
    assert len(cases) <= 30  # of 144; 24 is the least


@pytest.mark.parametrize("names", [["steps"], ["steps", "detach"]])
def test_up_to_two_options_are_covered_in_full(names):
    cases = pairwise(**{name: OPTIONS[name] for name in names})
    assert len(cases) == (3 if len(names) == 1 else 6)
