"""How a net learns: the schedule of a surrogate, and which epoch is kept."""

from typing import Any

import pytest

from nwavesdk.train import RunConfig


def test_a_schedule_is_read_from_text() -> None:
    text = "plateau(slope, 5, 25, patience=2)"
    schedule = RunConfig.of({"learning": {"surrogate_schedule": text}}).learning.surrogate_schedule
    assert schedule is not None
    values = schedule.model_dump()
    assert values == {
        **{"form": "plateau", "parameter": "slope", "start": 5.0, "end": 25.0},
        **{"patience": 2, "stages": 5},
    }
    again = RunConfig.of({"learning": {"surrogate_schedule": values}})
    assert again.learning.surrogate_schedule == schedule


@pytest.mark.parametrize(
    ("learning", "words"),
    [
        ({"surrogate_schedule": "quick(slope, 1, 2)"}, r"surrogate_schedule\.form: .*'linear'"),
        ({"surrogate_schedule": "linear(slope,1,1e9)"}, r"schedule\.end: .*1000000"),
        ({"surrogate_schedule": "linear(slope,--1,2)"}, r"schedule\.start: expected a number"),
        ({"surrogate_schedule": "linear(slope,1,2,stage=3)"}, r"schedule\.stage: .* no entry"),
        ({"patience": 3, "keep": "last"}, r"^learning\.patience: has no effect with keep 'last'"),
        *(
            ({"surrogate_schedule": text}, "surrogate_schedule: expected a form with parameter")
            for text in (
                "slope",
                "(" * 199,
                "linear(slope, 1, 2)" * 100,
                "linear(slope, 1, 2, start=3)",
                "\0",
            )
        ),
    ],
)
def test_a_bad_field_of_learning_is_one_line(learning: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        RunConfig.of({"learning": learning})
    assert "\n" not in str(caught.value)
