"""Pages of the reference: public names, commands, and choices of a run."""

import importlib
from importlib.util import find_spec
from typing import Any

from typer.testing import CliRunner

from docs.site.docstrings import as_markdown
from docs.site.formats import format_pages
from nwavesdk.cli.app import app
from nwavesdk.internal.model import FrozenModel
from nwavesdk.surrogate import available
from nwavesdk.train.config.learning import ChipConfig, LearningConfig, MachineConfig
from nwavesdk.train.config.run_config import UNIONS

__all__ = ["PACKAGES", "package_page", "reference_pages"]

# Packages of public names, and what they are for.
PACKAGES = {
    "nwavesdk": "The names that most programs need",
    "nwavesdk.layers": "Neurons, synapses, delays, norms",
    "nwavesdk.surrogate": "Surrogates",
    "nwavesdk.net": "Containers of layers",
    "nwavesdk.presets": "The nets of `nwave train --net NAME`",
    "nwavesdk.init": "Initial weights",
    "nwavesdk.loss": "Losses",
    "nwavesdk.optim": "Schedules, and search with `HPOWrapper`",
    "nwavesdk.encoding": "Encoders and decoders",
    "nwavesdk.data": "Data",
    "nwavesdk.train": "Runs",
    "nwavesdk.metrics": "Metrics",
    "nwavesdk.analysis": "Studies and diagnosis",
    "nwavesdk.plot": "Pictures",
    "nwavesdk.chip": "The model of the chips",
    "nwavesdk.deploy": "From a net to a chip",
    "nwavesdk.interop": "Other libraries",
    "nwavesdk.solvers": "Solvers",
    "nwavesdk.dynamics": "Equations of neurons",
}


# Modules with public names of a package that has none itself: each needs another library.
MODULES = {"nwavesdk.interop": ("nir", "step", "step_files", "c", "neurobench", "neurobench_eval")}

# Sections of a config that have one class.
SECTIONS: dict[str, type[FrozenModel]] = {
    "chip": ChipConfig,
    "learning": LearningConfig,
    "machine": MachineConfig,
}


def reference_pages() -> dict[str, str | bytes]:
    """All pages of the reference, by their place in `docs`."""
    pages: dict[str, str | bytes] = {"reference/index.md": _index()}
    for package, title in PACKAGES.items():
        pages[f"reference/{_page(package)}"] = package_page(package, title)
    pages["reference/commands.md"] = _commands()
    pages["reference/config.md"] = _config()
    return pages | format_pages()


def _page(package: str) -> str:
    return f"{package.rpartition('.')[2]}.md"


def _index() -> str:
    rows = [f"| [`{name}`]({_page(name)}) | {title} |" for name, title in PACKAGES.items()]
    return "\n".join(
        [
            "# Reference",
            "",
            "Every public name: signature, shapes, units, errors, and examples that are tested.",
            "",
            "| package | what it has |",
            "|---|---|",
            *rows,
            "| [the command `nwave`](commands.md) | all commands with their options |",
            "| [choices of a run](config.md) | the fields of `config.json` |",
            "| [numbers of the chips](chips.md) | the profiles, with assumed numbers marked |",
            "| [files](files.md) | what a run, an export and the caches hold |",
        ]
    )


def package_page(package: str, title: str) -> str:
    """The page of a package: every public name with its docstring."""
    module = importlib.import_module(package)
    lines = [f"# {title}", "", f"`{package}`: {_first_sentence(module.__doc__)}", ""]
    for inner in (package, *(f"{package}.{name}" for name in MODULES.get(package, ()))):
        lines += _entries(inner)
    return "\n".join(lines)


def _entries(path: str) -> list[str]:
    """The directives of the public names of a module."""
    module = importlib.import_module(path)
    names = [name for name in module.__all__ if not name.startswith("__")]
    return [line for name in names for line in _entry(f"{path}.{name}", getattr(module, name))]


def _entry(path: str, value: Any) -> list[str]:
    """The directive of a public name.

    It names the definition where a module has the same name (`net.fold`), and for a surrogate,
    which is another name of its class (`atan = ATan`).
    """
    package, _, name = path.rpartition(".")
    is_surrogate = available().get(name) is value
    has_modules = hasattr(importlib.import_module(package), "__path__")
    is_module = has_modules and find_spec(path) is not None
    if not (is_surrogate or is_module):
        return [f"::: {path}", ""]
    definition = f"{value.__module__}.{value.__qualname__}"
    options = [f"      heading: {path}"]
    if is_surrogate:
        options.append(f"      toc_label: {name}")
    return [f"::: {definition}", "    options:", *options, ""]


def _first_sentence(doc: str | None) -> str:
    return " ".join((doc or "").partition("\n\n")[0].split())


def _commands() -> str:
    """What `nwave COMMAND --help` prints, of every command."""
    runner = CliRunner()
    lines = ["# The command `nwave`", "", "What `nwave COMMAND --help` prints.", ""]
    for command in app.registered_commands:
        assert command.name is not None
        printed = runner.invoke(app, [command.name, "--help"], env={"COLUMNS": "100"}).stdout
        lines += [f"## nwave {command.name}", "", "```text", printed.strip(), "```", ""]
    return "\n".join(lines)


def _config() -> str:
    """A table of the fields of each class of each section of a config."""
    lines = [
        "# Choices of a run",
        "",
        "The fields of `config.json`. Each is an option of `nwave train`, `section.field` in the",
        "file of `nwave tune`, and in Python a key of `RunConfig.of`. A recipe fills what is not",
        "given: see `docs/recipes.md`. `task.name`, `data.kind` and `net.name` decide which other",
        "fields their sections have.",
        "",
    ]
    for section, (tag, models) in UNIONS.items():
        lines += [f"## {section}", ""]
        for name, model in models.items():
            lines += [f"### {tag} = {name}", "", f"{_first_sentence(model.__doc__)}", ""]
            lines += _field_table(model)
    for section, model in SECTIONS.items():
        lines += [f"## {section}", "", *_field_table(model)]
    return "\n".join(lines)


def _field_table(model: type[FrozenModel]) -> list[str]:
    """The lines of a table of the fields of a class."""
    fields = model.model_json_schema()["properties"]
    # The heading names the class, and a class rejects a field that is always null.
    chosen = {
        field: facts
        for field, facts in fields.items()
        if "const" not in facts and facts.get("type") != "null"
    }
    rows = [_field_row(field, facts) for field, facts in chosen.items()]
    if not rows:
        return []
    return ["| field | values | default | meaning |", "|---|---|---|---|", *rows, ""]


def _field_row(field: str, facts: dict[str, Any]) -> str:
    default = facts.get("default")
    default_text = facts.get("default_text", "") if default is None else f"`{default}`"
    meaning = as_markdown(facts.get("description", ""))
    cells = [f"`{field}`", _values(facts), default_text, meaning]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _values(facts: dict[str, Any]) -> str:
    """What a field takes, from its schema."""
    if "anyOf" in facts:
        return " or ".join(_values(one) for one in facts["anyOf"])
    if "enum" in facts:
        return ", ".join(map(str, facts["enum"]))
    least = facts.get("minimum", facts.get("exclusiveMinimum"))
    most = facts.get("maximum", facts.get("exclusiveMaximum"))
    kind = {"null": "none"}.get(facts.get("type", ""), facts.get("type", "object"))
    if least is not None and most is not None:
        return f"{kind}, {least:g} to {most:g}"
    return f"{kind}, at least {least:g}" if least is not None else str(kind)
