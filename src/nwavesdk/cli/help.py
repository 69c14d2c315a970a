"""The groups of commands in the help, and the help of commands with the options of a run."""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand

from nwavesdk.presets import NAMES
from nwavesdk.train.config import RunConfig, merge_choices
from nwavesdk.train.config.nets import AnyNet
from nwavesdk.train.config.recipes import recipe_of

__all__ = ["CHOOSERS", "SECTIONS", "SectionedCommand", "default_text", "runs_of", "write_commands"]

# Groups of the help of `nwave`, in their order, with their commands.
GROUPS = {
    "Train": ("train", "tune", "compare"),
    "Use": ("eval", "predict"),
    "Look into": ("data", "net", "neurons", "surrogates", "diagnose", "slopes"),
    "Chip": ("check", "map", "chips"),
    "Exchange": ("export", "import", "nir"),
    "This machine": ("info", "bench", "kernels", "tune-kernels"),
}

# Sections of the help, in their order, by the section of the config; others come first.
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
    "chip.profile": (
        "Train for this chip; FILE is a TOML profile. [none]",
        "h1v1|h1v2|FILE",
    ),
}

KINDS = ("sound", "series", "image", "events")
MORE = (
    "More options: nwave {command} --kind sound|series|image|events --help, --net NAME --help, "
    "--task labels --help, --chip h1v2 --help."
)


def write_commands(commands: Mapping[str, Any], formatter: Any) -> None:
    """Write each group of commands to the help, with the first clause of their descriptions."""
    width = max(map(len, commands))
    for title, names in GROUPS.items():
        lines = []
        for name in names:
            description = commands[name].get_short_help_str(limit=1000)
            lines.append((name.ljust(width), description.partition(";")[0].rstrip(".") + "."))
        with formatter.section(title):
            formatter.write_dl(lines)


class SectionedCommand(TyperCommand):
    """A command whose help lists its options by section: their `rich_help_panel`.

    Of the options of a run, it shows those that the data, the task and the net on the command line
    have, with their defaults.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the options for the help, which is written before they have values."""
        ctx.meta["options"], _, _ = self.make_parser(ctx).parse_args(list(args))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options to the help."""
        fields = getattr(self.callback, "fields", {})
        runs = runs_of(ctx.meta["options"]) if fields else {}
        sections: dict[str, list[Any]] = {"Arguments": [], "Options": []}
        sections |= {title: [] for title in SECTIONS.values()}
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
        if fields:
            formatter.write_paragraph()
            formatter.write_text(MORE.format(command=ctx.info_name))


def runs_of(options: Mapping[str, Any]) -> dict[str, RunConfig]:
    """What a command line begins, before the data are known: a config for each kind of data.

    Args:
        options: The values of `kind`, `task`, `net` and `chip` that are given.

    Raises:
        ValueError: If they do not go together.
    """
    net, task = options.get("net"), options.get("task") or "classification"
    choices: dict[str, Any] = {"task": {"name": task}, "net": {}}
    if net in NAMES:
        choices["net"] = {"name": net}
    elif net is not None:
        choices["net"] = {"page": {"file": "net.py", "sha256": "0" * 64}}

    kinds: tuple[str, ...] = KINDS
    if options.get("chip") or net == "chip":
        choices["chip"] = {"profile": "h1v2"}
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
            # The help is of any net; the form of this one is a default, too.
            shared = run.net.model_dump(include=AnyNet.model_fields.keys())
            run = run.model_copy(update={"net": AnyNet(**shared)})
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
