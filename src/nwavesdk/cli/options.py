"""Options of a command that are fields of a config, passed to the command as one mapping.

The options of a run are generated from the classes of `RunConfig`: type and help. The config
validates values and names the field in an error. The help of a command lists the options by section
of the config, with the defaults for the data, task and net on the command line.
"""

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from nwavesdk.presets import NAMES
from nwavesdk.train.config import RunConfig, fields_of, merge_choices
from nwavesdk.train.config.nets import AnyNet
from nwavesdk.train.config.recipes import recipe_of
from nwavesdk.train.run_folder import BrokenRunError

__all__ = [
    "DATA_FIELDS",
    "MORE_OPTIONS",
    "RUN_FIELDS",
    "Command",
    "SectionedCommand",
    "add_run_choices",
    "default_text",
    "name_options",
    "runs_of",
]


def _fields(section: str, *without: str) -> list[str]:
    return [f"{section}.{name}" for name in fields_of(section) if name not in without]


# The fields that decide the data of a run, apart from their path and from folds.
DATA_FIELDS = _fields("data", "source", "test", "folds", "leave_one_out", "fold")

# The fields that decide a run, apart from its seed, its folds, the machine, and the surrogate with
# its schedule, which a comparison changes.
RUN_FIELDS = [
    "data.source",
    *DATA_FIELDS,
    *_fields("task"),
    "net.name",
    *_fields("net", "name", "page", "surrogate"),
    *_fields("chip"),
    *_fields("learning", "surrogate_schedule", "finetune", "weight_bits"),
]

# Options of a run whose names differ from the names of their fields.
OPTION_NAMES = {
    "data.source": "data",
    "task.name": "task",
    "chip.profile": "chip",
    "net.name": "net",
    "learning.rate": "learning_rate",
}

# Sections of the help, in their order, by the section of the config; other options come first.
SECTIONS = {
    "data": "Data",
    "task": "Task",
    "net": "Net",
    "chip": "Chip",
    "learning": "Learning",
    "machine": "Machine",
}

# Help and form of the options that choose a class of the config, or the chip.
CHOOSERS = {
    "data.kind": ("Kind of recordings. [found in the data]", "sound|series|image|events"),
    "task.name": (
        "Task of the net: a class per recording, a class per step (labels), values per step "
        "(regression), values per step without an input (pattern), or events in a stream "
        "(detect). [auto: found in the data; detect for sound with a folder background]",
        "auto|classification|labels|regression|pattern|detect",
    ),
    "net.name": (
        "Net of the library, or a Python file and its function build(inputs, classes, config); "
        "`nwave net` lists the first. [conv; lif for patterns and lists of events]",
        f"{'|'.join(NAMES)}|FILE.py:build",
    ),
    "chip.profile": (
        "Train for this chip; FILE is a TOML profile. [none]",
        "h1v1|h1v2|FILE",
    ),
}

KINDS = ("sound", "series", "image", "events")
MORE_OPTIONS = (
    "More options: put --kind sound|series|image|events, --net NAME, --task labels or --chip h1v2 "
    "before --help."
)

Command = Callable[..., Any]


def add_run_choices(*fields: str) -> Callable[[Command], Command]:
    """Replace the parameter `choices` of a command with options for fields of `RunConfig`.

    The command receives the values on the command line, nested by section.

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

        # Typer reads the signature and the annotations. `SectionedCommand` reads the fields.
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
    """The values of the options on the command line, by section and field."""
    choices: dict[str, Any] = {}
    for field, value in given.items():
        # A name that is not a preset is a file.
        if field == "net.name" and value not in (None, *NAMES):
            field = "net.page"

        section, _, name = field.rpartition(".")
        if value is not None:
            fields = choices.setdefault(section, {}) if section else choices
            fields[name] = value
    return choices


def _parameter(field: str) -> inspect.Parameter:
    """The option of a field as a parameter for typer, with the default None."""
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
    """The type of a value on the command line: without `None` and without limits."""
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return _value_type(get_args(annotation)[0])
    return annotation


def name_options(text: str, fields: Sequence[str]) -> str:
    """Replace fields of a config in an error by the options that set them.

    An error about a config in a file begins with the file, and keeps the fields.

    Example:
        >>> name_options("net.tau: missing; net.x: missing", ["net.tau"])
        '--tau: missing; net.x: missing'
        >>> name_options('on_error="skip" skips it', ["data.on_error"])
        '--on-error skip skips it'
    """
    typed = {"net.page": "--net", "net.surrogate": "--surrogates"}
    typed |= {field: _typed(field) for field in fields}

    # At the beginning of an error, and of each further error behind a semicolon.
    subject = rf"(?:\w+: )?({'|'.join(map(re.escape, typed))})(?:\.\w+)*(?=: )"
    if re.match(subject, text):
        text = re.sub(rf"(?:^|(?<=; )){subject}", lambda match: typed[match[1]], text)

    # Remedies name fields in the middle of a line. Fields that could be words of it stay.
    for field, option in typed.items():
        name = field.rpartition(".")[2]
        if "_" in name:
            text = re.sub(rf'\b{name}="(\w+)"', rf"{option} \1", text)
            text = re.sub(rf"(?<![\w/.]){name}(?![\w/]|\.\w)", option, text)
    return text


class SectionedCommand(TyperCommand):
    """A command whose help lists its options by section: their `rich_help_panel`.

    It shows the options that the data, the task and the net on the command line have, with their
    defaults.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the options for the help, which is written before they have values."""
        ctx.meta["options"], _, _ = self.make_parser(ctx).parse_args(list(args))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options to the help."""
        fields = getattr(self.callback, "fields", {})
        runs = runs_of(ctx.meta["options"]) if fields else {}
        titles = ("Arguments", "Options", *SECTIONS.values())
        sections: dict[str, list[Any]] = {title: [] for title in titles}
        parameter: Any
        for parameter in self.get_params(ctx):
            name, text = parameter.get_help_record(ctx)
            default = default_text(fields.get(parameter.name, ""), runs)
            if default is None:
                continue

            title = getattr(parameter, "rich_help_panel", None)
            title = title or f"{parameter.param_type_name.title()}s"
            sections[title].append((name, f"{text} [{default}]" if default else text))

        for title, lines in sections.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


def runs_of(options: Mapping[str, Any]) -> dict[str, RunConfig]:
    """The configs of a command line, before the data are known: a config for each kind of data.

    Args:
        options: The values of `kind`, `task`, `net` and `chip` on the command line.

    Raises:
        ValueError: If they contradict each other.
    """
    net, task = options.get("net"), options.get("task") or "classification"
    choices: dict[str, Any] = {"task": {"name": task}, "net": {}}
    if net in NAMES:
        choices["net"] = {"name": net}
    elif net is not None:
        # The page is not read here, so any hash will do.
        choices["net"] = {"page": {"file": "net.py", "sha256": "0" * 64}}

    # The kinds that are possible; the user's kind wins.
    kinds: tuple[str, ...] = KINDS
    if options.get("chip") or net == "chip":
        choices["chip"] = {"profile": "h1v2"}
    if "chip" in choices or task == "detect":
        kinds = ("sound",)
    if task == "pattern":
        kinds = ("series",)
    if "kind" in options:
        kinds = (options["kind"],)

    runs = {}
    for kind in kinds:
        config = RunConfig.of({**choices, "data": {"kind": kind}})
        run = RunConfig.of(merge_choices(recipe_of(config), config.given()))
        if not options.keys() & {"net", "chip"}:
            # The help shows the options that all nets have.
            shared = run.net.model_dump(include=set(AnyNet.model_fields))
            run = run.model_copy(update={"net": AnyNet.model_construct(**shared)})
        runs[kind] = run
    return runs


def default_text(field: str, runs: Mapping[str, RunConfig]) -> str | None:
    """The default for the help, by kind of data where kinds differ.

    Args:
        field: The field, as `name` or `section.name`; empty for options that are not of a run.
        runs: See `runs_of`.

    Returns:
        The text, which is empty where the option itself has one; None if a run has no such field.
    """
    section, _, name = field.rpartition(".")
    if not field or field in CHOOSERS:
        return ""

    kinds_of: dict[str, list[str]] = {}
    for kind, config in runs.items():
        values = getattr(config, section) if section else config
        if name not in getattr(type(values), "model_fields", {}):
            return None
        kinds_of.setdefault(_value_text(values, name), []).append(kind)

    if len(kinds_of) == 1:
        return next(iter(kinds_of))
    return "; ".join(f"{', '.join(kinds)}: {text}" for text, kinds in kinds_of.items())


def _value_text(values: Any, name: str) -> str:
    """The value of a field; where the data decide, a text says how."""
    value = getattr(values, name)
    if value in (None, (), {}):
        return str(type(values).model_fields[name].json_schema_extra["default_text"])
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
