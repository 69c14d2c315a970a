"""Texts that give several named values, such as `tau_w=0.1,learn=(a,b)`."""

import contextlib
import math
import re
from typing import Any

from nwavesdk.internal.checks import shown

__all__ = ["number_of", "split_values"]

# A text of more letters is a mistake.
MOST_LETTERS = 500


def split_values(field: str, text: str, example: str) -> dict[str, str]:
    """The values of a text by their names; commas within parentheses do not split.

    Args:
        field: What the text is the value of, for errors.
        text: The text.
        example: A right text, for errors.

    Raises:
        ValueError: If a part of the text is not `NAME=VALUE`, or a name appears twice.

    Example:
        >>> split_values("net.neuron_options", "tau_w=0.1, learn=(a, b)", "tau_w=0.1")
        {'tau_w': '0.1', 'learn': '(a, b)'}
    """
    found: dict[str, str] = {}
    is_short = len(text) <= MOST_LETTERS
    for part in re.split(r",(?![^(]*\))", text) if is_short else [text]:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (is_short and name and equals) or name in found:
            raise ValueError(
                f"{field}: expected NAME=VALUE between all commas, each name once, as in "
                f"{example}, got {shown(text)}."
            )
        found[name] = value
    return found


def number_of(field: str, name: str, value: Any) -> float:
    """A finite number that is given as a number or a text.

    Raises:
        ValueError: If it is not; the text names the field and the value.
    """
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < 1e300 else math.inf
    elif isinstance(value, str) and value.isascii():
        with contextlib.suppress(ValueError):
            number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{field}: {shown(name)} must be a finite number, got {shown(value)}.")
    return number
