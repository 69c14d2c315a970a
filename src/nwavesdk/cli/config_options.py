"""Command-line options generated from the fields of `RunConfig`: type, default and help.

An option is named after its field, apart from `OPTION_NAMES`. Values are validated by the config,
which also names the field in an error; here only their text form is converted.
"""

import inspect
import types
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from nwavesdk.train.config import CHIP_DEFAULTS, RunConfig

__all__ = ["config_options"]

OPTION_NAMES = {"data.source": "data", "chip.profile": "chip", "learning.rate": "learning_rate"}
"""Options whose names differ from those of their fields."""

NOT_PATHS = {"data.source": {"digits"}, "chip.profile": {"h1v1", "h1v2"}}
"""Fields that hold the path of a file or folder, and the names that they accept instead."""


def config_options(*fields: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace the parameter `choices` of a command by one option per field.

    The command receives the options that were given as `choices`, nested as `RunConfig.of` takes
    them.

    Args:
        fields: Fields as `section.name`, in the order of the help.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        names = {field: OPTION_NAMES.get(field, field.rpartition(".")[2]) for field in fields}
        options = [_parameter(name, field) for field, name in names.items()]

        @wraps(command)
        def wrapped(**values: Any) -> Any:
            given = {field: values.pop(name) for field, name in names.items()}
            return command(choices=_nested_choices(given), **values)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            parameters += options if parameter.name == "choices" else [parameter]
        # Typer reads the signature and the annotations.
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions have one
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapped

    return decorate


def _parameter(name: str, field: str) -> inspect.Parameter:
    info = _field_info(field)
    value_type = _value_type(info.annotation)
    help_text = f"{info.description} [{_default_text(info, field)}]"
    option = typer.Option(f"--{name.replace('_', '-')}", metavar=_metavar(info), help=help_text)
    option_type = value_type if value_type in (int, float) else str
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[option_type | None, option],
    )


def _field_info(field: str) -> FieldInfo:
    section, _, name = field.rpartition(".")
    model = _value_type(RunConfig.model_fields[section].annotation) if section else RunConfig
    info: FieldInfo = model.model_fields[name]
    return info


def _value_type(annotation: Any) -> Any:
    """The type of a value that is given: without `None` and without limits."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _metavar(info: FieldInfo) -> str | None:
    if get_origin(info.annotation) is Literal:
        return "|".join(get_args(info.annotation))
    return _printed(info, "metavar") or None


def _default_text(info: FieldInfo, field: str) -> str:
    text = _printed(info, "default_text") or _value_text(info.default)
    section, _, name = field.rpartition(".")
    if name in CHIP_DEFAULTS.get(section, {}):
        text += f"; chip: {_value_text(CHIP_DEFAULTS[section][name])}"
    return text


def _printed(info: FieldInfo, key: str) -> str:
    extra = info.json_schema_extra
    return str(extra[key]) if isinstance(extra, dict) else ""


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _nested_choices(given: dict[str, Any]) -> dict[str, Any]:
    """`{"net.tau": 0.02, "seed": None}` as `{"net": {"tau": 0.02}}`, without what was not given."""
    choices: dict[str, Any] = {}
    for field, value in given.items():
        if value is None:
            continue
        section, _, name = field.rpartition(".")
        values = choices.setdefault(section, {}) if section else choices
        values[name] = _converted(field, value)
    return choices


def _converted(field: str, value: Any) -> Any:
    if field == "net.hidden":
        sizes = [size.strip() for size in value.split(",") if size.strip()]
        return [int(size) if size.isdecimal() else size for size in sizes]
    if field in NOT_PATHS and value not in NOT_PATHS[field]:
        return str(Path(value).resolve())
    return value
