"""Docstrings as Markdown, and defaults of parameters as a user writes them."""

import importlib
import re
from typing import Any

import griffe

__all__ = ["OurDocstrings", "as_markdown", "as_written"]

ANYWHERE = griffe.ParameterKind.positional_or_keyword
# The arguments of every layer of neurons.
LAYER_ARGUMENTS = """\
Args:
    n_neurons: Number of neurons, or a shape such as (C, H, W).
    options: `learn` (names of constants), and options of `LIFLayer`."""

# An argument of an equation that the signature of the layer does not have.
SET_BY_LAYER = re.compile(r"^    dt: .*set by the layer[.]\n", re.MULTILINE)

EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
# Where an example begins, and the next section.
SECTION = re.compile(r"^\s*(Examples|[A-Z][a-z]+):$", re.MULTILINE)


# A calculation with numbers, and the default of a parameter of a surrogate with its bounds.
CALCULATION = re.compile(r"[\d.e]+( [*/] [\d.e]+)+")
PARAMETER = re.compile(r"parameter\(([^,)]+).*\)")
# A value that is made by a call or from private names.
MADE = re.compile(r"\w\(|\b_|\bfor\b")
# What pydantic checks in addition to a type.
CHECKED = re.compile(r"^Annotated\[.*\b(Field|expect)\(")


class OurDocstrings(griffe.Extension):
    """Prepare each docstring and default before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Show the value of a field as a number, and of a module only what a user could write."""
        assert attr.parent is not None
        if attr.parent.is_class:
            attr.value = as_written(attr.value, attr.module.path)
            attr.annotation = _shown_type(attr)
        elif MADE.search(str(attr.value)):
            attr.value = None

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Show defaults as numbers, and give a neuron, written as its equation, its arguments."""
        for parameter in func.parameters:
            parameter.default = as_written(parameter.default, func.module.path)
        if not any(d.callable_path.rpartition(".")[2] == "neuron" for d in func.decorators):
            return
        values = [p.name for p in func.parameters if p.kind is ANYWHERE]
        constants = [p for p in func.parameters if p.name not in {*values, "dt"}]
        size = griffe.Parameter("n_neurons", kind=ANYWHERE)
        options = griffe.Parameter("options", kind=griffe.ParameterKind.var_keyword)
        func.parameters = griffe.Parameters(size, *constants, options)
        if func.docstring is not None:
            func.docstring.value = _with_layer(func.docstring.value, values)


def as_written(value: Any, module: str) -> Any:
    """A default as a user writes it: a number for a calculation, or for the name of a number.

    Example:
        >>> as_written("281 / 30 * 0.001", "nwavesdk.layers.zoo.nonlinear")
        '0.009367'
        >>> as_written("parameter(2.0, 1.0001, 1000.0)", "nwavesdk.surrogate.tails")
        '2.0'
    """
    text = str(value)
    if CALCULATION.fullmatch(text):
        first, *others = re.findall(r"[*/]|[^ */]+", text)
        number = float(first)
        for sign, factor in zip(others[::2], others[1::2], strict=True):
            number = number * float(factor) if sign == "*" else number / float(factor)
        return f"{number:.4g}"
    if text.isupper():
        number = getattr(importlib.import_module(module), text, None)
        return f"{number:g}" if isinstance(number, int | float) else value
    parameter = PARAMETER.fullmatch(text)
    return value if parameter is None else parameter[1]


def as_markdown(text: str) -> str:
    r"""A docstring whose section `Example` is known to Google style, without accidental links.

    Example:
        >>> as_markdown("Rates [B, T] of `x[0]`.\n\n    r[t] = 1")
        'Rates \\[B, T] of `x[0]`.\n\n    r[t] = 1'
    """
    text = EXAMPLE.sub(r"\1Examples:", text)
    lines = []
    is_example = False
    is_code = False
    code_indent = 4  # in a section, whose items are indented, twice as much
    previous = ""
    for line in text.split("\n"):
        heading = SECTION.match(line)
        if heading is not None:
            is_example = heading[1] == "Examples"
            code_indent = 8
        # An equation is indented and begins after an empty line.
        if line.strip():
            is_indented = line.startswith(" " * code_indent)
            is_code = is_indented and (is_code or not previous.strip())
        lines.append(line if is_example or is_code else _escaped(line))
        previous = line
    return "\n".join(lines)


def _shown_type(attr: griffe.Attribute) -> Any:
    """The type of a field in a signature; None leaves out a private field."""
    if attr.name.startswith("_"):
        return None
    annotation = attr.annotation
    is_checked = isinstance(annotation, griffe.ExprSubscript) and CHECKED.match(str(annotation))
    # The type and its checks.
    return annotation.slice.elements[0] if is_checked else annotation


def _with_layer(text: str, values: list[str]) -> str:
    """The docstring of an equation, whose input and states are no arguments of the layer."""
    texts = [re.compile(rf"^    {value}:(?:.*\n)(?:     .*\n)*", re.MULTILINE) for value in values]
    moved = [match[0] for match in (pattern.search(text) for pattern in texts) if match is not None]
    for pattern in texts:
        text = pattern.sub("", text)
    text = SET_BY_LAYER.sub("", text)
    text = text.replace("Args:", LAYER_ARGUMENTS, 1)
    items = "\n".join(f"    - {' '.join(part.split())}" for part in moved)
    return f"{text.rstrip()}\n\nInput and states:\n{items}\n"


def _escaped(line: str) -> str:
    """The line, in which a bracket outside of back quotes is text, unless a link follows it."""
    pieces = line.split("`")
    pieces[::2] = [re.sub(r"\[(?![^\]]*\]\()", r"\\[", piece) for piece in pieces[::2]]
    return "`".join(pieces)
