"""Dimensions of a search: which are valid, and how values go to Optuna and back."""

from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.tune.space import Dimension, flat_space

RATE = {"low": 1e-3, "high": 1e-1, "log": True}
BATCH = {"low": 16, "high": 64, "step": 16}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "low, high: expected choices, or both"),
        ({"low": 1}, "low, high: expected choices, or both"),
        ({"choices": []}, "choices: expected at least 1 item"),
        ({"choices": [1, 2, 1]}, "choices: got 1 twice"),
        ({"choices": [1, 2], "low": 1}, "low: has no effect with choices"),
        ({"choices": [1, 2], "log": True}, "log: has no effect with choices"),
        ({"choices": [object()]}, "choices: expected values that JSON has"),
        ({"low": 3, "high": 3}, "high: expected more than low"),
        ({"low": 0.0, "high": 3.0, "log": True}, "low: expected more than 0 with log"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "step: has no effect with log"),
        ({"low": 1, "high": 9, "step": 10}, "step: expected more than 0 and at most"),
        ({"low": 1, "high": 9, "step": 0.5}, "step: expected a whole number"),
        ({"low": float("nan"), "high": 9}, "low: expected a finite number"),
        ({"low": True, "high": 9}, "low: expected a number, not a bool"),
        ({"low": "1", "high": 9}, "low: "),
        ({"low": 1, "high": 2, "lg": True}, "lg: expected no entry of this name"),
    ],
)
def test_an_invalid_dimension_is_one_line(content: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Dimension.of(content)
    assert "\n" not in str(caught.value)


def test_dots_in_names_may_nest_or_not() -> None:
    nested = {"learning": {"rate": RATE, "batch_size": BATCH}, "net.tau": {"choices": [1]}}
    assert flat_space(nested) == {
        "learning.rate": RATE,
        "learning.batch_size": BATCH,
        "net.tau": {"choices": [1]},
    }


@pytest.mark.hpo
@pytest.mark.parametrize(
    ("content", "value"),
    [(RATE, 0.02), (BATCH, 48), ({"choices": [[128], [64, 64], None, "a", 2.5]}, [64, 64])],
)
def test_values_go_to_optuna_and_back(content: dict[str, Any], value: Any) -> None:
    dimension = Dimension.of(content)
    given = dimension.to_optuna(value)
    assert dimension.distribution._contains(dimension.distribution.to_internal_repr(given))
    back = dimension.from_optuna(given)
    assert (back, type(back)) == (value, type(value))
    assert dimension.contains(value)


@pytest.mark.parametrize(
    ("content", "value"),
    [(RATE, 0.2), (RATE, "0.01"), (BATCH, 48.5), (BATCH, True), ({"choices": ["a"]}, "b")],
)
def test_other_values_are_not_contained(content: dict[str, Any], value: Any) -> None:
    assert not Dimension.of(content).contains(value)


def test_positions_are_from_0_to_1() -> None:
    rate = Dimension.of(RATE)
    assert [rate.position(value) for value in (1e-3, 1e-2, 1e-1)] == pytest.approx([0, 0.5, 1])
    choices = Dimension.of({"choices": ["a", "b", "c"]})
    assert [choices.position(value) for value in "abc"] == [0, 0.5, 1]
    assert Dimension.of({"choices": ["a"]}).position("a") == 0
