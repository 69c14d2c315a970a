"""Validation of configurations and files by pydantic, with errors of one clear line."""

from itertools import pairwise
from typing import Any, Self, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import printable

__all__ = ["RISING", "FrozenModel", "check_fields", "describe_errors", "expect"]


class FrozenModel(BaseModel):
    """Base of all models: fields cannot be set again, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, content: object, owner: str = "") -> Self:
        """Validate nested content; fields that are left out have their defaults.

        Args:
            content: A mapping of field names to values.
            owner: What the content belongs to, for the message.

        Raises:
            ValueError: If a field is unknown, missing or out of its range. One line names it, what
                it got and what is expected.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ValueError(describe_errors(error, owner)) from None


# A damaged list may have a problem in each of its elements.
MOST_PROBLEMS = 5


def describe_errors(error: ValidationError, owner: str = "", name: str = "") -> str:
    """One line with the first problems: the place of each, what is expected and what it got.

    Args:
        error: The error of pydantic.
        owner: What the content belongs to; it begins the line.
        name: Name of the field that was validated, if it was one field only.

    Example:
        >>> try:
        ...     TypeAdapter(dict[str, int]).validate_python({"seed": "one"}, strict=True)
        ... except ValidationError as error:
        ...     describe_errors(error, "the config")
        "the config: seed: input should be a valid integer (got 'one')"
    """
    errors = error.errors(include_url=False, include_context=False)
    problems = "; ".join(_describe_one(details, name) for details in errors[:MOST_PROBLEMS])
    if len(errors) > MOST_PROBLEMS:
        problems += f"; and {len(errors) - MOST_PROBLEMS} more"
    return f"{owner}: {problems}" if owner else problems


def _describe_one(details: Any, name: str) -> str:
    # A message may repeat a text of the file.
    message = printable(details["msg"].removeprefix("Value error, "))[:500]
    place = ".".join(printable(part)[:100] for part in (name, *details["loc"]) if part != "")
    if details["type"] == "missing":
        return f"{place}: missing"
    if not place and details["type"] == "value_error":
        # A validator of the whole model names the fields and what they got itself.
        return str(message)
    value = shown(details["input"])
    # Our own validators often name the value themselves.
    is_named = details["type"] == "value_error" and value in message
    got = "" if is_named else f" (got {value})"
    return f"{place or 'content'}: {message[0].lower()}{message[1:]}{got}"


def check_fields(instance: object) -> None:
    """Validate the fields of a dataclass strictly against their annotations, from `__post_init__`.

    Raises:
        ValueError: If a field is not what its annotation asks for; one line names it.
    """
    owner = type(instance)
    for name, annotation in get_type_hints(owner, include_extras=True).items():
        try:
            TypeAdapter(annotation).validate_python(getattr(instance, name), strict=True)
        except ValidationError as error:
            raise ValueError(f"{describe_errors(error, owner.__name__, name)}.") from None


def _check_rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if not all(a < b for a, b in pairwise(values)):
        raise ValueError("expected numbers that rise")
    return values


# An annotation of a tuple whose numbers rise.
RISING = AfterValidator(_check_rising)


def expect(text: str) -> WrapValidator:
    """An annotation that describes in words what a union of types takes.

    Example:
        >>> from typing import Annotated
        >>> folder = Annotated[str | None, expect("a folder or None")]
        >>> try:
        ...     TypeAdapter(folder).validate_python(3)
        ... except ValidationError as error:
        ...     describe_errors(error, name="cache")
        'cache: expected a folder or None (got 3)'
    """

    def validate(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"expected {text}") from None

    return WrapValidator(validate)
