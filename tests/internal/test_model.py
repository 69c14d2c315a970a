from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from nwavesdk.internal.model import FrozenModel, check_fields, expect

Count = Annotated[int, Field(ge=1)]


class Net(FrozenModel):
    hidden: tuple[Count, ...] = (8,)
    name: str = "net"
    scale: float | None = None
    bias: bool = True

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name == "bad":
            raise ValueError("Choose another name")
        return name


DEEP: dict[str, Any] = {"deep": 1}
for _ in range(2000):
    DEEP = {"deep": DEEP}


class Config(FrozenModel):
    seed: Count
    net: Net = Net()

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, content: Any) -> Any:
        if isinstance(content, dict) and "deep" in content:
            cls._flatten(content["deep"])
        return content

    @model_validator(mode="after")
    def _check_seed(self) -> "Config":
        if self.seed == 13:
            raise ValueError("seed: got 13, expected luck")
        return self


def test_valid_content_is_converted_and_frozen():
    config = Config.of({"seed": 3, "net": {"hidden": [4, 5], "scale": 2, "bias": False}})
    assert config.net.hidden == (4, 5)
    assert (config.net.scale, config.net.bias) == (2.0, False)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "seed: missing"),
        ({"seed": 0}, "seed: expected at least 1 (got 0)"),
        ({"seed": 1, "sed": 2}, "sed: expected no entry of this name (got 2)"),
        (
            {"seed": 1, "net": {"hidden": [1, "many"]}},
            "net.hidden.1: expected a whole number (got 'many')",
        ),
        ({"seed": 1, "net": {"name": "bad"}}, "net.name: choose another name (got 'bad')"),
        ({"seed": 13}, "seed: got 13, expected luck"),
        ({"seed": 0, "net": {"x": 1}}, "seed: .* (got 0); net.x: expected no .* (got 1)"),
        ({"seed": True}, "seed: expected a number, not a bool (got True)"),
        (
            {"seed": 1, "net": {"hidden": [1, True]}},
            "net.hidden: expected a number, not a bool (got [1, True])",
        ),
        (
            {"seed": 1, "net": {"scale": False}},
            "net.scale: expected a number, not a bool (got False)",
        ),
        (3, "content: expected a dictionary or instance of Config (got 3)"),
    ],
)
def test_an_error_is_one_line_with_place_expectation_and_value(content, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Config.of(content, "config.json")
    pieces = f"config.json: {message}".split(" .* ")
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(pieces[0])
    assert text.endswith(pieces[-1])
    assert all(piece in text for piece in pieces)


def test_deep_content_is_one_short_line_whether_or_not_python_can_follow_it():
    with pytest.raises(ValueError, match="^config.json: .{,400}$"):
        Config.of(DEEP, "config.json")


def test_a_text_of_a_file_is_escaped_and_shortened_in_messages():
    class Round(FrozenModel):
        kind: Literal["round"]

    class Flat(FrozenModel):
        kind: Literal["flat"]

    class Shape(FrozenModel):
        shape: Annotated[Round | Flat, Field(discriminator="kind")]

    with pytest.raises(ValueError, match=r"shape: tag '\\x1b\[31mx+") as error:
        Shape.of({"shape": {"kind": "\x1b[31m" + "x" * 5000}})
    assert len(str(error.value)) < 900


def test_an_error_of_many_problems_stays_short():
    content = {"seed": 1, "net": {"hidden": [0] * 1000}, "\x1b[31m" + "x" * 5000: 1}
    with pytest.raises(ValueError, match=r"net.hidden.4: .*\(got 0\); and 996 more$") as error:
        Config.of(content)
    assert len(str(error.value)) < 600
    with pytest.raises(ValueError, match=r"^\\x1b\[31mx+: expected no entry") as error:
        Config.of({"seed": 1, "\x1b[31m" + "x" * 5000: 1})
    assert len(str(error.value)) < 200


@dataclass(frozen=True)
class Choices:
    rate: Count
    mode: Literal["a", "b"] = "a"
    cache: Annotated[str | Literal[False] | None, expect("a folder, None or False")] = None

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"rate": 1.0}, r"Choices: rate: expected a whole number \(got 1.0\)"),
        ({"rate": True}, r"Choices: rate: expected a whole number \(got True\)"),
        ({"rate": 1, "mode": "c"}, r"Choices: mode: expected 'a' or 'b' \(got 'c'\)"),
        ({"rate": 1, "cache": True}, r"Choices: cache: expected a folder, .* False \(got True\)"),
        ({"rate": 1, "cache": 3}, r"Choices: cache: expected a folder, .* False \(got 3\)"),
    ],
)
def test_fields_of_a_dataclass_are_checked_strictly(choices, message):
    with pytest.raises(ValueError, match=f"^{message}.$"):
        Choices(**choices)


@pytest.mark.parametrize("cache", ["folder", False, None])
def test_each_type_of_a_union_is_accepted(cache):
    assert Choices(1, cache=cache).cache is cache
