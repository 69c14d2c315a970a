"""Types of the fields of a config, and the texts that the help prints for a field.

Like all modules of `nwavesdk.train.config`, this module imports neither torch nor numba, so that
the command line can generate its options from the fields. Validators that need more import it when
they run.
"""

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from nwavesdk.internal.checks import shown

__all__ = [
    "MAX_LETTERS",
    "MAX_SECONDS",
    "AbsolutePath",
    "BatchSize",
    "Count",
    "Epochs",
    "LayerSizes",
    "Moderate",
    "NamedNumbers",
    "Names",
    "NotNegative",
    "PositiveNumber",
    "ProcessCount",
    "Seconds",
    "Seed",
    "Share",
    "Steps",
    "absolute_path",
    "config_field",
    "is_table",
]

# The largest allowed length of a recording [s]: a day.
MAX_SECONDS = 86_400.0

# Longest text of a surrogate or schedule. A longer text is a mistake, and slow to parse.
MAX_LETTERS = 500

# Bounds exclude mistakes, such as a unit or an exponent, and runs that could never end or would
# overflow; they are far from every useful value. `Run` checks whether the memory suffices.
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Steps = Annotated[int, Field(ge=1, le=100_000)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
# Processes, devices or threads that work at a time.
ProcessCount = Annotated[int, Field(ge=1, le=1024)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seconds = Annotated[float, Field(ge=1e-6, le=1e4, allow_inf_nan=False)]
# Squares, products and reciprocals of such numbers are far from the limits of float32.
PositiveNumber = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Moderate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


def config_field(
    default: Any, description: str, *, metavar: str = "", default_text: str = "", **limits: Any
) -> Any:
    """A field of the config, with the texts that `nwave train --help` prints for it.

    Args:
        default: The default value; None if a recipe or the data decide.
        description: The meaning of the field.
        metavar: The form of the option's value.
        default_text: The meaning of a default of None.
        limits: Further arguments of `pydantic.Field`.
    """
    printed: dict[str, Any] = {"metavar": metavar, "default_text": default_text}
    return Field(default, description=description, json_schema_extra=printed, **limits)


def absolute_path(path: str) -> str:
    """The path from the root, with links followed; the later read rejects a null byte."""
    return path if "\0" in path else os.path.realpath(path)


AbsolutePath = Annotated[str, AfterValidator(absolute_path)]


def is_table(split: str) -> bool:
    """Whether a value of `data.split` is the name of a table."""
    return split.lower().endswith(".csv")


def _split_names(value: object) -> object:
    """The names in a text, which may be in parentheses."""
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.removeprefix("(").removesuffix(")").split(",")]


def _parse_numbers(value: object) -> object:
    """The texts in a text such as `"shift=0.1,noise=10"` by their names; `"none"` is empty."""
    if not isinstance(value, str):
        return value

    parts = [] if value.strip() == "none" else value.split(",")
    pairs = [[piece.strip() for piece in part.split("=", 1)] for part in parts]
    if not all(len(pair) == 2 and all(pair) for pair in pairs) or len(dict(pairs)) < len(pairs):
        raise ValueError(
            f"got {shown(value)}, expected NAME=VALUE between all commas, each name once, as in "
            "shift=0.1,noise=10"
        )
    return dict(pairs)


LayerSizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=100_000)], ...],
    Field(max_length=1000),
    BeforeValidator(_split_names),
]
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(max_length=1000),
    BeforeValidator(_split_names),
]
NamedNumbers = Annotated[
    dict[str, Annotated[float, Field(allow_inf_nan=False)]], BeforeValidator(_parse_numbers)
]
