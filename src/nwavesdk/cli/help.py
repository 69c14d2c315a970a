"""The groups of commands in the help, and the sections of commands with many options."""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand

__all__ = ["SECTIONS", "SectionedCommand", "write_commands"]

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
    "net": "Net",
    "learning": "Learning",
    "chip": "Chip",
    "machine": "Machine",
}


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
    """A command whose help lists its options by section: their `rich_help_panel`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options to the help."""
        records: dict[str, list[Any]] = {"Arguments": [], "Options": []}
        records |= {title: [] for title in SECTIONS.values()}
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            record = parameter.get_help_record(ctx)
            if record is not None:
                records["Arguments" if is_argument else panel].append(record)
        for title, lines in records.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)
