"""Types of fields: texts that are read as numbers, names and sizes."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from nwavesdk.train.config.fields import LayerSizes, NamedNumbers, Names


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (NamedNumbers, " a = -.5 , tau=1e-3", {"a": -0.5, "tau": 1e-3}),
        (NamedNumbers, {"a": 1}, {"a": 1.0}),
        (NamedNumbers, "none", {}),
        (Names, "(a, tau)", ("a", "tau")),
        (Names, ["a"], ("a",)),
        (LayerSizes, "128, 64", (128, 64)),
        (LayerSizes, [5], (5,)),
    ],
)
def test_texts_and_values_give_the_same(annotation: Any, given: Any, expected: Any) -> None:
    assert TypeAdapter(annotation).validate_python(given) == expected


@pytest.mark.parametrize(
    ("annotation", "given", "words"),
    [
        (NamedNumbers, "a", r"got 'a', expected NAME=VALUE"),
        (NamedNumbers, "a=0,a=1", r"each name once"),
        (NamedNumbers, "a=x", r"a\n .* valid number"),
        (NamedNumbers, "a=nan", r"a\n .* finite number"),
        (NamedNumbers, "a=" * 500, r"a\n .* valid number"),
        (NamedNumbers, {"a": 10**400}, "finite number|valid number|too large"),
        (Names, "a,,b", "at least 1 character"),
        (LayerSizes, "9" * 5000, "as an integer"),
        (LayerSizes, "0", "greater than or equal to 1"),
    ],
)
def test_other_texts_are_rejected(annotation: Any, given: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(annotation).validate_python(given)
