"""Checks of single arguments: return the value in the form that is stored, or raise one clear line.

Every message names the owner of the argument, the argument, the expected value and the value that
it got.
"""

import math
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from operator import index
from pathlib import Path
from reprlib import Repr
from typing import SupportsFloat, SupportsIndex

from nwavesdk.internal.files import printable

__all__ = [
    "LARGEST_WHOLE",
    "choice",
    "close_name",
    "finite_number",
    "looks_like_milliseconds",
    "positive_number",
    "require_memory",
    "seed_number",
    "shown",
    "switch",
    "whole_number",
]

# Largest whole number where a caller gives no bound: sizes and counts beyond it are mistakes.
LARGEST_WHOLE = 2**31 - 1

_SHORT = Repr()
_SHORT.maxlong = 40
_SHORT.maxstring = 100
_SHORT.maxother = 100


def shown(value: object) -> str:
    """A value for a message: its `repr` in one line, shortened where it is long.

    Example:
        >>> shown(list(range(1000)))
        '[0, 1, 2, 3, 4, 5, ...]'
    """
    try:
        text = _SHORT.repr(value)
    except Exception:  # a repr that fails, as of a number with too many digits
        text = f"a value of type {type(value).__name__}"
    return printable(re.sub(r"\s*\n\s*", " ", text))


def close_name(name: object, names: Iterable[str]) -> str:
    """`, did you mean 'x'?` with the nearest of `names`, or nothing if none is near.

    Example:
        >>> close_name("atn", ["atan", "tanh"])
        ", did you mean 'atan'?"
    """
    if not isinstance(name, str) or len(name) >= 100:
        return ""

    # First regardless of case: LifLayer is LIFLayer, not LILayer.
    known = list(names)
    close = get_close_matches(name.lower(), {entry.lower() for entry in known}, 1)
    same = [entry for entry in known if [entry.lower()] == close]
    return f", did you mean {get_close_matches(name, same, 1, 0)[0]!r}?" if close else ""


def choice(owner: str, name: str, value: object, choices: Sequence[str]) -> str:
    """The value, which must be one of `choices`.

    Args:
        owner: Class or function that takes the argument, for the message.
        name: Name of the argument.
        value: The argument.
        choices: The allowed values.

    Raises:
        ValueError: If `value` is not one of `choices`.
    """
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(map(repr, choices))
        raise ValueError(f"{owner}: {name} must be one of {expected}, got {shown(value)}.")
    return value


def finite_number(
    owner: str,
    name: str,
    value: object,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
    unit: str = "",
) -> float:
    """A finite number within bounds, as a float; a bool or a string is not a number.

    Args:
        owner: Class or function that takes the argument, for the message.
        name: Name of the argument.
        value: A number, or an array or a tensor with one element.
        above: Bound that the number must exceed.
        least: Smallest allowed number.
        below: Bound that the number must not reach.
        most: Largest allowed number.
        unit: Unit of the number, for the message.

    Raises:
        ValueError: If `value` is not such a number.

    Example:
        >>> finite_number("Dropout", "p", 0, least=0, below=1)
        0.0
    """
    number = math.nan
    if isinstance(value, SupportsFloat) and not isinstance(value, bool):
        with suppress(TypeError, ValueError, RuntimeError, OverflowError):
            number = float(value)
    if math.isfinite(number) and above < number < below and least <= number <= most:
        return number

    bounds = {"above": above, "of at least": least, "below": below, "of at most": most}
    texts = [f" {word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound)]
    expected = f"a finite number{' and'.join(texts)}{unit and f' [{unit}]'}"
    raise ValueError(f"{owner}: {name} must be {expected}, got {shown(value)}.")


def positive_number(owner: str, name: str, value: object, unit: str = "") -> float:
    """A finite number above 0, as a float.

    Raises:
        ValueError: If `value` is not such a number.

    Example:
        >>> positive_number("LIFLayer", "dt", -1e-3, "s")
        Traceback (most recent call last):
        ValueError: LIFLayer: dt must be a finite number above 0 [s], got -0.001.
    """
    return finite_number(owner, name, value, above=0, unit=unit)


def looks_like_milliseconds(tau: float, dt: float) -> bool:
    """Whether a time constant is probably in milliseconds by mistake.

    It is above 2.5 s, and 1,000 to a million steps; a longer one is meant to be endless.

    Args:
        tau: Time constant [s].
        dt: Length of a step [s].

    Example:
        >>> looks_like_milliseconds(20, 1e-3), looks_like_milliseconds(20e-3, 1e-3)
        (True, False)
    """
    return tau > 2.5 and 1e3 < tau / dt <= 1e6


def whole_number(
    owner: str, name: str, value: object, *, least: int = 1, most: int = LARGEST_WHOLE
) -> int:
    """A whole number within bounds, as an int; a bool or a float is not a whole number.

    Args:
        owner: Class or function that takes the argument, for the message.
        name: Name of the argument.
        value: An int, or another number that Python takes as an index, such as a NumPy integer.
        least: Smallest allowed number.
        most: Largest allowed number.

    Raises:
        ValueError: If `value` is not such a number.

    Example:
        >>> whole_number("LIFSynapse", "nb_inputs", True)
        Traceback (most recent call last):
        ValueError: LIFSynapse: nb_inputs must be a whole number of at least 1, got True.
    """
    number = least - 1
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        with suppress(TypeError):
            number = index(value)
    if least <= number <= most:
        return number

    has_bound = most != LARGEST_WHOLE or number > most
    expected = f"from {least} to {most}" if has_bound else f"of at least {least}"
    raise ValueError(f"{owner}: {name} must be a whole number {expected}, got {shown(value)}.")


def seed_number(owner: str, value: object) -> int:
    """A seed that random generators take, as an int.

    Raises:
        ValueError: If `value` is not a whole number of 64 bits.
    """
    return whole_number(owner, "seed", value, least=-(2**63), most=2**64 - 1)


def switch(owner: str, name: str, value: object) -> bool:
    """True or False, which may come from NumPy or torch, or be 1 or 0.

    Raises:
        ValueError: If `value` is anything else.
    """
    with suppress(Exception):  # arrays and tensors have no single answer
        if value in (True, False):
            return bool(value)
    raise ValueError(f"{owner}: {name} must be True or False, got {shown(value)}.")


def require_memory(owner: str, data: str, needed_bytes: float, remedy: str) -> None:
    """Reject data that the memory of this machine cannot hold, before it is allocated.

    Args:
        owner: Option, class or function that needs the memory, for the message.
        data: The data in words, in plural, such as "824 recordings of 1,000 steps".
        needed_bytes: A lower bound of their size [bytes].
        remedy: The remedy as a command, such as "lower --limit".

    Raises:
        ValueError: If they need more memory than is free.
    """
    free_bytes = _free_memory()
    if needed_bytes > free_bytes:
        needed = f"{min(needed_bytes, 1e30) / 1e9:,.1f} GB"
        raise ValueError(
            f"{owner}: {data} need {needed} of memory, expected at most the "
            f"{free_bytes / 1e9:,.1f} GB that are free: {remedy}."
        )


def _free_memory() -> float:
    """Memory that a process can get, without swap [bytes]; infinite where it is unknown."""
    limits = [math.inf]
    with suppress(OSError, ValueError, LookupError):  # Linux
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        limits.append(1024 * int(fields["MemAvailable"].split()[0]))
    with suppress(OSError, ValueError):  # a container; without a limit, the text is "max"
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    with suppress(OSError, ValueError, AttributeError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits)
