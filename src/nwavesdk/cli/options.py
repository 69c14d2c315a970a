"""Options of a command that are fields of a config, passed to the command as one mapping.

The options of a run are generated from the classes of `RunConfig`: type and help. The config
validates values and names the field in an error.
"""

import inspect
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from nwavesdk.cli.app import split_commas
from nwavesdk.cli.help import SECTIONS
from nwavesdk.presets import NAMES
from nwavesdk.train.config import RunConfig, absolute_choice, fields_of

__all__ = [
    "DATA_FIELDS",
    "RUN_FIELDS",
    "ChoiceOption",
    "add_choices",
    "add_run_choices",
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

# The help of options that choose a class.
CHOOSERS = {
    "data.kind": ("What a recording is.", "sound|series|image|events", "found in the data"),
    "task.name": (
        "What the net learns: a class per recording, a class per step (labels), values per step "
        "(regression), or values per step without an input (pattern).",
        "classification|labels|regression|pattern",
        "found in the data",
    ),
    "net.name": (
        "Net of the library, or a Python file and its function build(inputs, classes, config); "
        "`nwave net` lists the first.",
        f"{'|'.join(NAMES)}|FILE.py:build",
        "conv; lif for patterns and lists of events",
    ),
}

Command = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class ChoiceOption:
    """An option that sets a field of a config.

    Args:
        name: The parameter; the option has hyphens instead of underscores.
        field: The field, as `name` or `section.name`.
        kind: Type of the value: int, float or str; bool of a flag without a value.
        help: What it means, with the default in brackets.
        metavar: The form of the value, if not that of the type.
        panel: Section of the help; None for the first one.
    """

    name: str
    field: str
    kind: type
    help: str
    metavar: str | None = None
    panel: str | None = None

    @property
    def typed(self) -> str:
        """The option as typed."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def opposite(self) -> str | None:
        """The flag that turns off what this flag turns on, if there is one."""
        is_switch = self.kind is bool and not self.name.startswith("no_")
        return f"--no-{self.name.replace('_', '-')}" if is_switch else None

    def parameter(self) -> inspect.Parameter:
        """The option as a parameter for typer; None if it is not given."""
        names = (self.typed, self.opposite) if self.opposite else (self.typed,)
        option = typer.Option(
            "/".join(names), metavar=self.metavar, help=self.help, rich_help_panel=self.panel
        )
        value_type: Any = self.kind
        return inspect.Parameter(
            self.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[value_type | None, option],
        )


def add_choices(options: list[ChoiceOption]) -> Callable[[Command], Command]:
    """Replace the parameter `choices` of a command by options.

    The command receives the values that were given, nested by section.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def wrapped(**values: Any) -> Any:
            try:
                choices = _nested(options, values)
                return command(choices=choices, **values)
            except (ValueError, RuntimeError) as error:
                text = _name_options(str(error), options)
                is_ours = type(error).__module__.startswith("nwavesdk.")
                if text == str(error) or not (is_ours or isinstance(error, ValueError)):
                    raise
                raise ValueError(text) from error

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            is_replaced = parameter.name == "choices"
            parameters += [o.parameter() for o in options] if is_replaced else [parameter]
        # Typer reads the signature and the annotations.
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions have one
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapped.fields = {option.name: option.field for option in options}  # type: ignore[attr-defined]  # for the help
        return wrapped

    return decorate


def _nested(options: Sequence[ChoiceOption], values: dict[str, Any]) -> dict[str, Any]:
    """The given values of options by section and field, taken out of all values."""
    choices: dict[str, Any] = {}
    for option in options:
        value = values.pop(option.name)
        if value is None:
            continue
        field = option.field
        if field == "net.name" and value not in NAMES:
            field = "net.page"
        section, _, name = field.rpartition(".")
        fields = choices.setdefault(section, {}) if section else choices
        is_negated = option.kind is bool and option.name.startswith("no_")
        fields[name] = not value if is_negated else absolute_choice(field, value)
    return choices


def add_run_choices(*fields: str) -> Callable[[Command], Command]:
    """Replace the parameter `choices` of a command by options for fields of `RunConfig`.

    Args:
        fields: The fields, as `name` or `section.name`, in the order of the help.
    """
    return add_choices([_run_option(field) for field in fields])


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


def _name_options(text: str, options: Sequence[ChoiceOption]) -> str:
    """Replace fields of a config in an error by the options that set them.

    An error about a config in a file begins with the file, and keeps the fields.

    Example:
        >>> tau = ChoiceOption(name="tau", field="net.tau", kind=float, help="")
        >>> _name_options("net.tau: missing; net.x: missing", [tau])
        '--tau: missing; net.x: missing'
        >>> skip = ChoiceOption(name="on_error", field="data.on_error", kind=str, help="")
        >>> _name_options('on_error="skip" leaves it out', [skip])
        '--on-error skip leaves it out'
    """
    typed = {option.field: option.typed for option in options}
    place = rf"(?:\w+: )?({'|'.join(map(re.escape, typed))})(?:\.\w+)*(?=: )"
    if re.match(place, text):
        text = re.sub(rf"(?:^|(?<=; )){place}", lambda match: typed[match[1]], text)
    # Remedies name fields in the middle of a line. Those that could be words of it stay.
    for field in typed:
        name = field.rpartition(".")[2]
        if "_" in name:
            word = rf'(?<![\w/.]){name}(?![\w/]|\.\w)(="(?P<value>\w+)")?'
            text = re.sub(word, partial(_typed_word, typed[field]), text)
    return text


def _typed_word(option: str, match: re.Match[str]) -> str:
    return option if match["value"] is None else f"{option} {match['value']}"


def _run_option(field: str) -> ChoiceOption:
    section, _, name = field.rpartition(".")
    model = fields_of(section)[name] if section else RunConfig
    info: FieldInfo = model.model_fields[name]
    value_type = _value_type(info.annotation)
    description, metavar, default = CHOOSERS.get(field, ("", "", ""))
    if not description:
        printed = info.json_schema_extra
        assert isinstance(printed, dict)
        description = str(info.description)
        metavar = str(printed["metavar"])
    if get_origin(value_type) is Literal and not metavar:
        metavar = "|".join(get_args(value_type))
    return ChoiceOption(
        name=OPTION_NAMES.get(field, name),
        field=field,
        kind=value_type if value_type in (int, float, bool) else str,
        help=f"{description} [{default}]" if default else description,
        metavar=metavar or None,
        panel=SECTIONS.get(section),
    )


def _value_type(annotation: Any) -> Any:
    """The type of a value that is given: without `None` and without limits."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
