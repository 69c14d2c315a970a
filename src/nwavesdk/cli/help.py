"""The help of commands with many options: their sections."""

from typing import Any

from typer.core import TyperCommand

__all__ = ["SECTIONS", "SectionedCommand"]

# Sections of the help, in their order, by the section of the config; others come first.
SECTIONS = {
    "data": "Data",
    "net": "Net",
    "learning": "Learning",
    "chip": "Chip",
    "machine": "Machine",
}


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
