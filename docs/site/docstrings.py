"""Docstrings as Markdown: examples as code, and brackets of shapes and units that are no links."""

import re
from typing import Any

import griffe

__all__ = ["OurDocstrings"]

EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
# Where an example begins, and the next section.
SECTION = re.compile(r"^\s*(Examples|[A-Z][a-z]+):$", re.MULTILINE)


class OurDocstrings(griffe.Extension):
    """Prepare each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    r"""A docstring whose section `Example` is known to Google style, without accidental links.

    Example:
        >>> as_markdown("Rates [B, T] of `x[0]`.")
        'Rates \\[B, T] of `x[0]`.'
    """
    text = EXAMPLE.sub(r"\1Examples:", text)
    lines = []
    is_example = False
    for line in text.split("\n"):
        heading = SECTION.match(line)
        if heading is not None:
            is_example = heading[1] == "Examples"
        lines.append(line if is_example else _escaped(line))
    return "\n".join(lines)


def _escaped(line: str) -> str:
    """The line, in which a bracket outside of back quotes is text, unless a link follows it."""
    pieces = line.split("`")
    pieces[::2] = [re.sub(r"\[(?![^\]]*\]\()", r"\\[", piece) for piece in pieces[::2]]
    return "`".join(pieces)
