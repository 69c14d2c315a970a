"""Options of a command that are fields of a config, passed to the command as one mapping.

The options of a run are generated from `RunConfig`: type, default and help. The config validates
values and names the field in an error; here only their text form is converted.
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
from nwavesdk.train.config import CHIP_DEFAULTS, RunConfig, absolute_choice
from nwavesdk.train.config.recipes import COMPLETED_BY_DATA, COMPLETED_BY_NET

__all__ = [
    "DATA_FIELDS",
    "RUN_FIELDS",
    "ChoiceOption",
    "add_choices",
    "add_run_choices",
    "surrogate_texts",
]

# What decides the data of a run, apart from where they are, their task, and folds.
DATA_FIELDS = (
    "data.limit",
    "data.split",
    "data.speaker_pattern",
    "data.val_share",
    "data.test_share",
    "data.length",
    "data.hold",
    "data.padding",
    "data.steps",
    "data.encoder",
    "data.bin",
    "data.events",
    "data.augment",
    "data.center",
    "data.standardize",
    "data.add_standardized",
    "data.look_ahead",
    "data.columns",
    "data.missing",
    "data.bands",
    "data.sample_rate",
    "data.window",
    "data.hop",
    "data.level",
    "data.max_seconds",
    "data.on_error",
)

# What decides a run, apart from its seed, its folds, the machine, and the surrogate with its
# schedule, which a comparison changes.
RUN_FIELDS = (
    "data.source",
    "data.task",
    "learning.epochs",
    "net_file",
    "net.hidden",
    "net.recurrent",
    "net.neuron",
    "net.neuron_options",
    "net.charge_gain",
    "chip.profile",
    "chip.training",
    "chip.bits",
    "chip.gain",
    "chip.duration",
    "net.population",
    "net.tau",
    "net.threshold",
    "net.reset",
    "net.dt",
    "net.first_weights",
    "net.dropout",
    "learning.rate",
    "learning.warmup",
    "learning.weight_decay",
    "learning.batch_size",
    "learning.keep",
    "learning.patience",
    "learning.class_weights",
    "learning.clip",
    "learning.label_smoothing",
    "learning.most_spikes",
    "learning.spike_cost",
    "learning.sharpness",
    *DATA_FIELDS,
)

# Options of a run whose names differ from those of their fields.
OPTION_NAMES = {
    "data.source": "data",
    "data.test": "no_test",
    "chip.profile": "chip",
    "net_file": "net",
    "learning.rate": "learning_rate",
}

# Sections of the help of fields that are in no section of the config.
SECTION_OF = {"net_file": "net"}

Command = Callable[..., Any]


@dataclass(frozen=True)
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
            choices: dict[str, Any] = {}
            for option in options:
                if (value := values.pop(option.name)) is not None:
                    section, _, name = option.field.rpartition(".")
                    target = choices.setdefault(section, {}) if section else choices
                    is_negated = option.kind is bool and option.name.startswith("no_")
                    target[name] = not value if is_negated else _converted(option.field, value)
            try:
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
        return wrapped

    return decorate


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
    for one in texts:
        try:
            parse(one)
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from None
    return texts


def _name_options(text: str, options: Sequence[ChoiceOption]) -> str:
    """Replace fields of a config in an error by the options that set them.

    An error about a config in a file begins with the file, and keeps the fields.

    Example:
        >>> tau = ChoiceOption("tau", "net.tau", float, "")
        >>> _name_options("net.tau: missing; net.x: missing", [tau])
        '--tau: missing; net.x: missing'
        >>> skip = ChoiceOption("on_error", "data.on_error", str, "")
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
    model = _value_type(RunConfig.model_fields[section].annotation) if section else RunConfig
    info: FieldInfo = model.model_fields[name]
    printed = info.json_schema_extra
    assert isinstance(printed, dict)
    value_type = _value_type(info.annotation)
    default = str(printed["default_text"]) or _value_text(info.default)
    if info.annotation is bool:
        default = "off"
    has_chip_default = name in CHIP_DEFAULTS.get(section, {})
    if field in COMPLETED_BY_NET:
        nets = "lif" if has_chip_default or section == "data" else "lif, chip"
        default = f"chosen by data and net; {nets}: {default}"
    if has_chip_default:
        default += f"; chip: {_value_text(CHIP_DEFAULTS[section][name])}"
    if field in COMPLETED_BY_DATA:
        default = "chosen by the data"
    is_choice = get_origin(value_type) is Literal
    metavar = "|".join(get_args(value_type)) if is_choice else str(printed["metavar"])
    return ChoiceOption(
        name=OPTION_NAMES.get(field, name),
        field=field,
        kind=value_type if value_type in (int, float, bool) else str,
        help=f"{info.description} [{default}]",
        metavar=metavar or None,
        panel=SECTIONS.get(section or SECTION_OF.get(field, "")),
    )


def _value_type(annotation: Any) -> Any:
    """The type of a value that is given: without `None` and without limits."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _converted(field: str, value: Any) -> Any:
    if field == "net.hidden":
        sizes = [size.strip() for size in value.split(",")]
        # The config rejects what is not a number, such as digits of other scripts; Python converts
        # no endless text to one.
        is_size = [size.isascii() and size.isdecimal() and len(size) < 20 for size in sizes]
        return [int(size) if ok else size for size, ok in zip(sizes, is_size, strict=True)]
    return absolute_choice(field, value)
