"""Options of a command that are fields of a config, passed to the command as one mapping.

The options of a run are generated from the classes of `RunConfig`: type and help. The config
validates values and names the field in an error.
"""

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from nwavesdk.cli.app import split_commas
from nwavesdk.cli.help import SECTIONS
from nwavesdk.presets import NAMES
from nwavesdk.train.config import RunConfig, fields_of

__all__ = [
    "DATA_FIELDS",
    "RUN_FIELDS",
    "add_run_choices",
    "name_options",
    "surrogate_texts",
]


def _fields(section: str, *without: str) -> list[str]:
    return [f"{section}.{name}" for name in fields_of(section) if name not in without]


# What decides the data of a run, apart from where they are, and folds.
DATA_FIELDS = _fields("data", "source", "test", "folds", "leave_one_out", "fold")

# What decides a run, apart from its seed, its folds, the machine, and the surrogate with its
# schedule, which a comparison changes.
RUN_FIELDS = [
    "data.source",
    *DATA_FIELDS,
    *_fields("task"),
    "net.name",
    *_fields("net", "name", "page", "surrogate"),
    *_fields("chip"),
    *_fields("learning", "surrogate_schedule"),
]

# Options of a run whose names differ from those of their fields.
OPTION_NAMES = {
    "data.source": "data",
    "data.test": "no_test",
    "task.name": "task",
    "chip.profile": "chip",
    "net.name": "net",
    "learning.rate": "learning_rate",
}

# Help and form of the options that choose a class.
CHOOSERS = {
    "data.kind": ("What a recording is. [found in the data]", "sound|series|image|events"),
    "task.name": (
        "What the net learns: a class per recording, a class per step (labels), values per step "
        "(regression), or values per step without an input (pattern). [found in the data]",
        "classification|labels|regression|pattern",
    ),
    "net.name": (
        "Net of the library, or a Python file and its function build(inputs, classes, config); "
        "`nwave net` lists the first. [conv; lif for patterns and lists of events]",
        f"{'|'.join(NAMES)}|FILE.py:build",
    ),
}

Command = Callable[..., Any]


def add_run_choices(*fields: str) -> Callable[[Command], Command]:
    """Replace the parameter `choices` of a command by options for fields of `RunConfig`.

    The command receives the values that were given, nested by section.

    Args:
        fields: The fields, as `name` or `section.name`, in the order of the help.
    """
    field_of = {_option_name(field): field for field in fields}

    def decorate(command: Command) -> Command:
        @wraps(command)
        def wrapped(**values: Any) -> Any:
            given = {field: values.pop(name) for name, field in field_of.items()}
            try:
                return command(choices=_nested(given), **values)
            except (ValueError, RuntimeError) as error:
                text = name_options(str(error), fields)
                is_ours = type(error).__module__.startswith("nwavesdk.")
                if text == str(error) or not (is_ours or isinstance(error, ValueError)):
                    raise
                raise ValueError(text) from error

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            is_replaced = parameter.name == "choices"
            parameters += map(_parameter, fields) if is_replaced else [parameter]
        # Typer reads the signature and the annotations, the help the fields.
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions have one
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapped.fields = field_of  # type: ignore[attr-defined]  # as above
        return wrapped

    return decorate


def _option_name(field: str) -> str:
    """The parameter of a field; the option has hyphens instead of underscores."""
    return OPTION_NAMES.get(field, field.rpartition(".")[2])


def _typed(field: str) -> str:
    """The option of a field as typed."""
    return f"--{_option_name(field).replace('_', '-')}"


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of options that were given, by section and field."""
    choices: dict[str, Any] = {}
    for field, value in given.items():
        if value is None:
            continue
        section, _, name = field.rpartition(".")
        fields = choices.setdefault(section, {}) if section else choices
        if field == "net.name" and value not in NAMES:
            name = "page"
        fields[name] = not value if field == "data.test" else value
    return choices


def _parameter(field: str) -> inspect.Parameter:
    """The option of a field as a parameter for typer; None if it is not given."""
    section, _, name = field.rpartition(".")
    model = fields_of(section)[name] if section else RunConfig
    info: FieldInfo = model.model_fields[name]
    value_type = _value_type(info.annotation)
    kind = value_type if value_type in (int, float, bool) else str
    if field in CHOOSERS:
        description, metavar = CHOOSERS[field]
    else:
        printed: Any = info.json_schema_extra
        description, metavar = str(info.description), printed["metavar"]
    if get_origin(value_type) is Literal and not metavar:
        metavar = "|".join(get_args(value_type))
    typed = _typed(field)
    if kind is bool and field != "data.test":
        typed = f"{typed}/--no-{typed[2:]}"
    option = typer.Option(
        typed, metavar=metavar or None, help=description, rich_help_panel=SECTIONS.get(section)
    )
    return inspect.Parameter(
        _option_name(field),
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _value_type(annotation: Any) -> Any:
    """The type of a value that is given: without `None` and without limits."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def name_options(text: str, fields: Sequence[str]) -> str:
    """Replace fields of a config in an error by the options that set them.

    An error about a config in a file begins with the file, and keeps the fields.

    Example:
        >>> name_options("net.tau: missing; net.x: missing", ["net.tau"])
        '--tau: missing; net.x: missing'
        >>> name_options('on_error="skip" leaves it out', ["data.on_error"])
        '--on-error skip leaves it out'
    """
    typed = {field: _typed(field) for field in fields} | {"net.page": "--net"}
    place = rf"(?:\w+: )?({'|'.join(map(re.escape, typed))})(?:\.\w+)*(?=: )"
    if re.match(place, text):
        text = re.sub(rf"(?:^|(?<=; )){place}", lambda match: typed[match[1]], text)
    # Remedies name fields in the middle of a line. Those that could be words of it stay.
    for field in fields:
        name = field.rpartition(".")[2]
        if "_" in name:
            word = rf'(?<![\w/.]){name}(?![\w/]|\.\w)(="(?P<value>\w+)")?'
            text = re.sub(word, partial(_typed_word, typed[field]), text)
    return text


def _typed_word(option: str, match: re.Match[str]) -> str:
    return option if match["value"] is None else f"{option} {match['value']}"


def surrogate_texts(option: str, text: str) -> list[str]:
    """The surrogates that a value names.

    Args:
        option: The option as typed, for the error.
        text: Its value: surrogates between commas.

    Raises:
        ValueError: If one is missing or unknown; the text names the option.
    """
    from nwavesdk.surrogate import parse

    texts = split_commas(option, text)
    for surrogate in texts:
        try:
            parse(surrogate)
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from None
    return texts
