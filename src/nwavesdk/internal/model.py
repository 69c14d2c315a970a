"""Validation of configurations and files by pydantic, with errors of one clear line."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Self, get_args, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import printable

__all__ = [
    "RISING",
    "FrozenModel",
    "check_fields",
    "describe_errors",
    "differences",
    "expect",
    "plain_text",
]


class FrozenModel(BaseModel):
    """Base of all models: fields cannot be set again, and unknown fields are errors."""

    # A schema is built when it is first used: the command line shows its help without most of them.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    # This is one validator of the whole model, because a field with a validator of this mode cannot
    # be the discriminator of a union.
    @model_validator(mode="before")
    @classmethod
    def _reject_bool(cls, content: Any) -> Any:
        """Reject true and false as numbers, which they are for Python and so for pydantic."""
        if not isinstance(content, dict):
            return content
        problem = PydanticCustomError("bool_number", "expected a number, not a bool")
        errors = [
            InitErrorDetails(type=problem, loc=(name,), input=content[name])
            for name, field in cls.model_fields.items()
            if _is_wrong_bool(content.get(name), field.annotation)
        ]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return content

    @classmethod
    def of(cls, content: object, owner: str = "") -> Self:
        """Validate nested content; missing fields have their defaults.

        Args:
            content: A mapping of field names to values.
            owner: The owner of the content, for the message.

        Raises:
            ValueError: If a field is unknown, missing or out of its range. One line names it, the
                value that it got and the expected value.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ValueError(describe_errors(error, owner)) from None
        except RecursionError:
            raise ValueError(f"{owner or cls.__name__}: it is nested too deeply") from None


def _is_wrong_bool(value: object, annotation: Any) -> bool:
    """Whether a value is a bool, or has one in it, although its field takes numbers."""
    types = [annotation]
    for part in types:  # the list grows
        types += get_args(part)
    takes_numbers = (int in types or float in types) and bool not in types
    values = value if isinstance(value, list | tuple) else (value,)
    return takes_numbers and any(isinstance(item, bool) for item in values)


# Beginnings of pydantic's sentences, and our words for them.
_PLAIN_TEXTS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^Input should be greater than or equal to ", "expected at least "),
    (r"^Input should be less than or equal to ", "expected at most "),
    (r"^Input should be (greater|less) than ", r"expected a number \1 than "),
    (r"^Input should be a valid integer.*", "expected a whole number"),
    (r"^Input should be a valid number.*", "expected a number"),
    (r"^Input should be a valid (\w+)", r"expected a \1"),
    (r"^Input should be None$", "has no effect here: remove it"),
    (r"^Input should be ", "expected "),
    (r"^Input should have ", "expected to have "),
    (r"^Input tag ", "tag "),
    (r"^Field required$", "missing"),
    (
        r"^(Extra inputs are not permitted|Unexpected keyword argument)",
        "expected no entry of this name",
    ),
    (r"^(?:Tuple|List|Dictionary) should have (at \w+ \d+ items?) .*", r"expected \1"),
    # Bounds are written without an exponent.
    (r"\b0\.0{4,}\d+$", lambda bound: f"{float(bound[0]):g}"),
)

# A damaged list may have a problem in each of its elements.
MAX_PROBLEMS = 5


def plain_text(message: str) -> str:
    """A sentence of pydantic, which typer uses for options too, in the words of our own errors.

    Example:
        >>> plain_text("Input should be greater than or equal to 0.000001")
        'expected at least 1e-06'
    """
    for pattern, text in _PLAIN_TEXTS:
        message = re.sub(pattern, text, message)
    return message


def describe_errors(error: ValidationError, owner: str = "", name: str = "") -> str:
    """One line with the first problems: the field, the expected value and the value that it got.

    Args:
        error: The error of pydantic.
        owner: The owner of the content; it begins the line.
        name: Name of the field that was validated, if it was one field only.

    Example:
        >>> try:
        ...     TypeAdapter(dict[str, int]).validate_python({"seed": "one"}, strict=True)
        ... except ValidationError as error:
        ...     describe_errors(error, "the config")
        "the config: seed: expected a whole number (got 'one')"
    """
    errors = error.errors(include_url=False, include_context=False)
    problems = "; ".join(_describe_problem(details, name) for details in errors[:MAX_PROBLEMS])
    if len(errors) > MAX_PROBLEMS:
        problems += f"; and {len(errors) - MAX_PROBLEMS} more"
    return f"{owner}: {problems}" if owner else problems


def _describe_problem(details: Any, name: str) -> str:
    # A message may repeat a text of the file, which can be long or have control characters.
    message = plain_text(printable(details["msg"].removeprefix("Value error, "))[:500])
    parts = [printable(part)[:100] for part in (name, *details["loc"]) if part != ""]
    field = ".".join(parts)[:300]

    # A validator of the whole model has written the fields and their values into its message.
    is_ours = details["type"] == "value_error"
    if is_ours and (not field or message.startswith(f"{parts[0]}.")):
        return message

    # The message follows a colon. The name of a class keeps its form.
    if not re.match(r"\w+:", message):
        message = message[:1].lower() + message[1:]

    # Our own validators often name the value themselves, or the part of it that is wrong.
    value = shown(details["input"])
    has_value = is_ours and (value in message or "got " in message)
    if not has_value and details["type"] != "missing":
        message = f"{message.rstrip('.')} (got {value})"
    return f"{field or 'content'}: {message}"


def differences(got: Any, expected: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The values in which two nested mappings differ: the dotted name, and both values.

    Example:
        >>> list(differences({"net": {"tau": 1, "dt": 2}}, {"net": {"tau": 3, "dt": 2}}))
        [('net.tau', 1, 3)]
    """
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        for key in {**got, **expected}:
            inner = f"{name}.{key}" if name else str(key)
            yield from differences(got.get(key), expected.get(key), inner)
    elif got != expected:
        yield name, got, expected


def check_fields(instance: object) -> None:
    """Validate the fields of a dataclass strictly against their annotations, from `__post_init__`.

    Raises:
        ValueError: If a field does not match its annotation; one line names it.
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
    """An annotation that describes in words the values that a union of types takes.

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
