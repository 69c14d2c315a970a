"""The groups of commands in the help, and the help of commands with the options of a run."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from typer.core import TyperCommand

from nwavesdk.presets import NAMES
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.learning import ChipConfig
from nwavesdk.train.config.recipes import recipe_of
from nwavesdk.train.config.run_config import CHIP_KINDS, UNIONS

__all__ = ["SECTIONS", "SectionedCommand", "default_text", "write_commands"]

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

# What a run is, if its command does not say so: the options of the help are those of all kinds and
# nets, and its defaults those of the kinds that have them.
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

    Of the options that only some kinds of data, tasks or nets have, it shows those of the kind, the
    task and the net on the command line.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words for the help, which is written before options have values."""
        ctx.meta["words"] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options to the help."""
        chosen = _chosen(ctx.meta.get("words", ()))
        fields = getattr(self.callback, "fields", {})
        records: dict[str, list[Any]] = {"Arguments": [], "Options": []}
        records |= {title: [] for title in SECTIONS.values()}
        for parameter in self.get_params(ctx):
            field = fields.get(parameter.name)
            if field is not None and not _is_shown(field, chosen):
                continue
            is_argument = parameter.param_type_name == "argument"
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            record = parameter.get_help_record(ctx)
            if record is not None:
                name, text = record
                default = "" if field is None else default_text(field, chosen)
                records["Arguments" if is_argument else panel].append(
                    (name, f"{text} [{default}]" if default else text)
                )
        for title, lines in records.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
        if fields:
            formatter.write_paragraph()
            formatter.write_text(MORE.format(command=ctx.info_name))


class Chosen(NamedTuple):
    """What a run is by the words of its command; None if they do not say it."""

    kind: str | None = None
    task: str | None = None
    net: str | None = None
    has_chip: bool = False

    @property
    def by_section(self) -> dict[str, str | None]:
        """The class of each section that is a union."""
        kind, net = self.kind, self.net
        if self.has_chip:
            kind, net = CHIP_KINDS.get(kind or "sound", kind), net or "chip"
        return {"data": kind, "task": self.task, "net": net}


def _chosen(words: Sequence[str]) -> Chosen:
    values: dict[str, str] = dict(pairwise([*words, ""]))
    joined = (word.partition("=") for word in words if word.startswith("--") and "=" in word)
    values |= {option: value for option, _, value in joined}
    net = values.get("--net")
    if net is not None and net not in NAMES:
        net = "file"
    task = _known("task", values.get("--task"))
    return Chosen(
        kind="pattern" if task == "pattern" else _known("data", values.get("--kind")),
        task=task,
        net=net,
        has_chip="--chip" in values or net == "chip",
    )


def _known(section: str, name: str | None) -> str | None:
    return name if name in UNIONS[section][1] else None


def _is_shown(field: str, chosen: Chosen) -> bool:
    """Whether the help has an option: of all runs, or of what is chosen."""
    section, _, name = field.rpartition(".")
    if section == "chip":
        return chosen.has_chip or name == "profile"
    if section not in UNIONS:
        return True
    tag, models = UNIONS[section]
    usual = {"data": KINDS, "task": ("classification",), "net": ("conv", "lif", "adlif")}
    class_name = chosen.by_section[section]
    names = usual[section] if class_name is None else (class_name,)
    return name == tag or all(name in models[each].model_fields for each in names)


def default_text(field: str, chosen: Chosen) -> str:
    """The default that a run gets, for the help; by kind of data where kinds differ.

    Args:
        field: The field, as `name` or `section.name`.
        chosen: What the run is.
    """
    if field in ("data.kind", "task.name", "net.name"):  # the option itself has a text
        return ""
    if field == "data.augment":
        return "none" if chosen.has_chip else "by kind and task: docs/augmentation.md"
    kinds = (chosen.kind,) if chosen.kind is not None else KINDS[: 2 if chosen.has_chip else 4]
    texts: dict[str, list[str]] = {}
    for kind in kinds:
        text = _default_of(field, chosen._replace(kind=kind))
        if text is not None:
            texts.setdefault(text, []).append(kind)
    if len(texts) == 1:
        return next(iter(texts))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in texts.items())


def _default_of(field: str, chosen: Chosen) -> str | None:
    """The default for one kind of data; None if it has no such field."""
    config, recipe = _recipe(chosen)
    section, _, name = field.rpartition(".")
    model = type(getattr(config, section)) if section and section != "chip" else None
    model = ChipConfig if section == "chip" else model or RunConfig
    if name not in model.model_fields:
        return None
    info = model.model_fields[name]
    value = recipe.get(section, {}).get(name, info.default)
    printed = info.json_schema_extra
    assert isinstance(printed, dict)
    if name == "test":
        return "off"
    if value is None or value == () or value == {} or info.is_required():
        return str(printed["default_text"])
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def _recipe(chosen: Chosen) -> tuple[RunConfig, dict[str, Any]]:
    """A run of this form without its data, and the defaults of its recipe."""
    kind, task, net = chosen.kind, chosen.task, chosen.net
    source = "digits" if kind == "features" else "recordings"
    choices: dict[str, Any] = {
        "data": {"kind": kind, "source": source},
        "task": {"name": task or "classification"},
        "net": {} if net is None else {"name": net},
    }
    if net == "file":
        choices["net"]["page"] = {"file": "net.py", "sha256": "0" * 64}
    if chosen.has_chip:
        choices["chip"] = {"profile": "h1v2"}
    config = RunConfig.of(choices)
    return config, recipe_of(config)
