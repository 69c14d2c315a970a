"""Docstrings as Markdown: examples as code, and brackets of shapes and units that are no links."""

import re
from typing import Any

import griffe

__all__ = ["OurDocstrings"]

ANYWHERE = griffe.ParameterKind.positional_or_keyword
# The arguments of every layer of neurons.
LAYER_ARGUMENTS = """\
Args:
    n_neurons: Number of neurons, or a shape such as (C, H, W).
    options: `dt`, `spike_grad`, `learn` (names of constants), and the others of `LIFLayer`."""

EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
# Where an example begins, and the next section.
SECTION = re.compile(r"^\s*(Examples|[A-Z][a-z]+):$", re.MULTILINE)


class OurDocstrings(griffe.Extension):
    """Prepare each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Give a neuron, which is written as its equation, the arguments of its layer."""
        if not any(d.callable_path.rpartition(".")[2] == "neuron" for d in func.decorators):
            return
        values = [p.name for p in func.parameters if p.kind is ANYWHERE]
        constants = [p for p in func.parameters if p.name not in {*values, "dt"}]
        size = griffe.Parameter("n_neurons", kind=ANYWHERE)
        options = griffe.Parameter("options", kind=griffe.ParameterKind.var_keyword)
        func.parameters = griffe.Parameters(size, *constants, options)
        if func.docstring is not None:
            func.docstring.value = _with_layer(func.docstring.value, values)


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


def _with_layer(text: str, values: list[str]) -> str:
    """The docstring of an equation, whose input and states are no arguments of the layer."""
    texts = [re.compile(rf"^    {value}:(?:.*\n)(?:     .*\n)*", re.MULTILINE) for value in values]
    moved = [found[0] for found in (one.search(text) for one in texts) if found is not None]
    for one in texts:
        text = one.sub("", text)
    text = text.replace("Args:", LAYER_ARGUMENTS, 1)
    items = "\n".join(f"    - {' '.join(one.split())}" for one in moved)
    return f"{text.rstrip()}\n\nInput and states:\n{items}\n"


def _escaped(line: str) -> str:
    """The line, in which a bracket outside of back quotes is text, unless a link follows it."""
    pieces = line.split("`")
    pieces[::2] = [re.sub(r"\[(?![^\]]*\]\()", r"\\[", piece) for piece in pieces[::2]]
    return "`".join(pieces)
