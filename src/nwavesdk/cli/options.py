"""Options of a command that are fields of a config, passed to the command as one mapping.

The options of a run are generated from the classes of `RunConfig`: type and help. The config
validates values and names the field in an error.
"""

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from nwavesdk.cli.help import CHOOSERS, SECTIONS
from nwavesdk.presets import NAMES
from nwavesdk.train.config import RunConfig, fields_of
from nwavesdk.train.run_folder import BrokenRunError

__all__ = [
    "DATA_FIELDS",
    "RUN_FIELDS",
    "add_run_choices",
    "name_options",
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
    "task.name": "task",
    "chip.profile": "chip",
    "net.name": "net",
    "learning.rate": "learning_rate",
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
            except (ValueError, BrokenRunError) as error:
                raise ValueError(name_options(str(error), fields)) from error

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
        fields[name] = value
    return choices


def _parameter(field: str) -> inspect.Parameter:
    """The option of a field as a parameter for typer; None if it is not given."""
    section, _, name = field.rpartition(".")
    model = fields_of(section)[name] if section else RunConfig
    info: FieldInfo = model.model_fields[name]
    value_type = _value_type(info.annotation)
    kind = value_type if value_type in (int, float, bool) else str
    printed: Any = info.json_schema_extra
    description, metavar = CHOOSERS.get(field) or (info.description, printed["metavar"])
    if get_origin(value_type) is Literal and not metavar:
        metavar = "|".join(get_args(value_type))
    typed = _typed(field)
    if kind is bool:
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
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return _value_type(get_args(annotation)[0])
    return annotation


def name_options(text: str, fields: Sequence[str]) -> str:
    """Replace fields of a config in an error by the options that set them.

    An error about a config in a file begins with the file, and keeps the fields.

    Example:
        >>> name_options("net.tau: missing; net.x: missing", ["net.tau"])
        '--tau: missing; net.x: missing'
        >>> name_options('on_error="skip" leaves it out', ["data.on_error"])
        '--on-error skip leaves it out'
    """
    typed = {"net.page": "--net", "net.surrogate": "--surrogates"}
    typed |= {field: _typed(field) for field in fields}
    place = rf"(?:\w+: )?({'|'.join(map(re.escape, typed))})(?:\.\w+)*(?=: )"
    if re.match(place, text):
        text = re.sub(rf"(?:^|(?<=; )){place}", lambda match: typed[match[1]], text)
    # Remedies name fields in the middle of a line. Those that could be words of it stay.
    for field, option in typed.items():
        name = field.rpartition(".")[2]
        if "_" in name:
            text = re.sub(rf'\b{name}="(\w+)"', rf"{option} \1", text)
            text = re.sub(rf"(?<![\w/.]){name}(?![\w/]|\.\w)", option, text)
    return text
