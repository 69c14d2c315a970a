"""Numbers and tables as text of C."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import fill

import numpy as np

__all__ = ["BYTES", "Parts", "c_float", "c_list", "c_string", "c_table", "scaled_number"]

BYTES = {
    "float": 4,
    "int32_t": 4,
    "uint32_t": 4,
    "int16_t": 2,
    "uint16_t": 2,
    "int8_t": 1,
    "uint8_t": 1,
}
"""The size of each type of C."""


def c_float(value: float) -> str:
    """A float32 as a literal that every compiler reads with the same bits.

    Example:
        >>> c_float(0.1), c_float(-2)
        ('0.100000001f', '-2.0f')
    """
    text = format(float(np.float32(value)), ".9g")
    is_whole = text.lstrip("-").isdigit()
    return f"{text}.0f" if is_whole else f"{text}f"


def scaled_number(number: str, unit: float) -> str:
    """An integer times its unit, which is a power of two, as an expression of C."""
    return f"nw_scaled({number}, {c_float(unit)}, {1 - np.frexp(unit)[1]})"


def c_string(text: str) -> str:
    """A text as a string of C, with characters outside of ASCII as octal numbers."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{plain}"'


def c_list(values: Sequence[object]) -> str:
    """Values between braces, in lines of up to 100 characters."""
    text = fill(", ".join(map(str, values)), 96, initial_indent="    ", subsequent_indent="    ")
    return f"{{\n{text}\n}}"


def c_table(kind: str, name: str, values: Sequence[object], *, is_aligned: bool = False) -> str:
    """A constant array; an aligned one starts at a word, and is `NAME.list` in C."""
    template = _ALIGNED if is_aligned else _PLAIN
    return template.format(kind=kind, name=name, size=len(values), content=c_list(values))


@dataclass
class Parts:
    """The parts of `net.c` to which the texts of its layers add.

    Attributes:
        fields: Fields of the state: type, name and length; 0 for a single number.
        tables: Tables, and functions that need them.
        flash: Bytes of all tables.
    """

    fields: list[tuple[str, str, int]] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    flash: int = 0

    def table(self, kind: str, label: str, values: np.ndarray, *, is_aligned: bool = False) -> str:
        """Add a table, see `c_table`; returns its name in C."""
        self.flash += values.size * BYTES[kind]
        entries = [*map(c_float, values)] if kind == "float" else values.tolist()
        self.tables.append(c_table(kind, label, entries, is_aligned=is_aligned))
        return f"{label}.list" if is_aligned else label

    def constant(self, label: str, values: np.ndarray, channels: int) -> str:
        """A constant of neurons, float32 [places * C]: a literal, or an element of a table.

        Multiples of 2^-8 from 0 to 1, such as rounded decays, take a byte; of 2^-16, two bytes.
        """
        if (values == values[0]).all():
            return c_float(values[0])

        index = "n"
        if (values.reshape(-1, channels) == values[:channels]).all():
            values, index = values[:channels], "c"

        for kind, bits in (("uint8_t", 8), ("uint16_t", 16)):
            scaled = values.astype(np.float64) * 2.0**bits
            if set(scaled.tolist()) <= set(range(2**bits)):
                table = self.table(kind, label, scaled.astype(int))
                return scaled_number(f"{table}[{index}]", 2.0**-bits)
        return f"{self.table('float', label, values)}[{index}]"


_PLAIN = "static const {kind} {name}[{size}] = {content};\n"
_ALIGNED = """\
static const union {{ {kind} list[{size}]; uint32_t align; }} {name} = {{{content}}};
"""
