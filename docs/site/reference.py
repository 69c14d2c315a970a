"""Pages of the reference: public names, commands, and settings of a run."""

import importlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from typer.testing import CliRunner

from docs.site.docstrings import as_markdown
from docs.site.formats import format_pages
from nwavesdk.cli.app import app
from nwavesdk.internal.model import FrozenModel
from nwavesdk.layers.solved import SolvedNeurons
from nwavesdk.surrogate import available
from nwavesdk.train.apply.trained_net import TrainedNet
from nwavesdk.train.config.learning import ChipConfig, LearningConfig, MachineConfig
from nwavesdk.train.config.run_config import UNIONS
from nwavesdk.train.prepared import PreparedRun

__all__ = ["FAMILIES", "PACKAGES", "package_pages", "reference_pages"]

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


# Pages of a part of a package, by their names: a title, and the names with their modules.
FAMILIES = {
    "nwavesdk.layers": {
        "layers-neurons": ("Neurons", r"(?!.*[.](H1v|HW)).*[.](\w+Layer|neuron)"),
        "layers-chips": ("Layers of the chips", r".*[.](H1v\w+|HW\w+|Frontend)"),
    },
    "nwavesdk.surrogate": {
        "surrogate-bells": ("Surrogates: bells", r".*[.]bells[.]\w+"),
        "surrogate-tails": ("Surrogates: heavy tails", r".*[.]tails[.]\w+"),
        "surrogate-windows": ("Surrogates: windows", r".*[.]windows[.]\w+"),
    },
}

# Modules with public names of a package that has none itself: each needs another library.
MODULES = {"nwavesdk.interop": ("nir", "step", "step_files", "c", "neurobench", "neurobench_eval")}

# Public classes of which a part is in a base that no page describes: its members belong to them.
BASES: dict[str, type] = {
    "nwavesdk.layers.NeuronLayer": SolvedNeurons,
    "nwavesdk.train.Run": PreparedRun,
    "nwavesdk.train.TrainedRun": TrainedNet,
}

# Sections of a config that have one class.
SECTIONS: dict[str, type[FrozenModel]] = {
    "chip": ChipConfig,
    "learning": LearningConfig,
    "machine": MachineConfig,
}

# The head of a table of fields.
HEAD = ["field", "values", "default", "meaning"]


def reference_pages() -> dict[str, str | bytes]:
    """All pages of the reference, by their place in `docs`."""
    pages: dict[str, str | bytes] = {"reference/index.md": _index()}
    for package, title in PACKAGES.items():
        pages |= package_pages(package, title)
    pages["reference/commands.md"] = _commands()
    pages["reference/config.md"] = _config()
    return pages | format_pages()


def _page(package: str) -> str:
    return f"{package.rpartition('.')[2]}.md"


def _index() -> str:
    rows = []
    for package, title in PACKAGES.items():
        rows.append(f"| [`{package}`]({_page(package)}) | {title} |")
        families = FAMILIES.get(package, {})
        rows += [f"| | [{family}]({name}.md) |" for name, (family, _) in families.items()]
    return "\n".join(
        [
            "# Reference",
            "",
            "Every public name: signature, shapes, units, errors, and examples that are tested. If",
            "several packages have a name, one page describes it, and the others link to it.",
            "",
            "| package | what it has |",
            "|---|---|",
            *rows,
            "| [the command `nwave`](commands.md) | all commands with their options |",
            "| [settings of a run](config.md) | the fields of `config.json` |",
            "| [chip parameters](chips.md) | the profiles, with assumed values marked |",
            "| [files](files.md) | what a run, an export and the caches hold |",
        ]
    )


def package_pages(package: str, title: str) -> dict[str, str | bytes]:
    """The pages of a package, by their place: every public name with its docstring, once."""
    module = importlib.import_module(package)
    families = {name: pattern for name, (_, pattern) in FAMILIES.get(package, {}).items()}
    entries: dict[str, list[str]] = {name: [] for name in ["", *families]}
    links = []
    for path in _public_names(package):
        value = _value(path)
        if _home(path) != package:
            links.append(_link(path))
        elif not _is_second_name(path):
            defined = f"{getattr(value, '__module__', package)}.{path.rpartition('.')[2]}"
            name = next((n for n, p in families.items() if re.fullmatch(p, defined)), "")
            entries[name] += _entry(path, value)

    lines = [f"# {title}", "", f"`{package}`: {_first_sentence(module.__doc__)}", ""]
    if families:
        rows = [f"- [{family}]({name}.md)" for name, (family, _) in FAMILIES[package].items()]
        lines += ["More pages of this package:", "", *rows, ""]
    if links and package == "nwavesdk":
        lines += ["| name | |", "|---|---|", *(f"| {link} | {text} |" for link, text in links), ""]
    elif links:
        lines += [f"Described elsewhere: {', '.join(link for link, _ in links)}.", ""]
    pages: dict[str, str | bytes] = {f"reference/{_page(package)}": "\n".join(lines + entries[""])}
    for name, (family, _) in FAMILIES.get(package, {}).items():
        head = [f"# {family}", "", f"A part of [`{package}`]({_page(package)}).", ""]
        pages[f"reference/{name}.md"] = "\n".join(head + entries[name])
    return pages


@cache
def _public_names(package: str) -> list[str]:
    """The public names of a package, and of its modules that have public names themselves."""
    inner = [package, *(f"{package}.{name}" for name in MODULES.get(package, ()))]
    modules = {path: importlib.import_module(path) for path in inner}
    return [
        f"{path}.{name}"
        for path, module in modules.items()
        for name in module.__all__
        if not name.startswith("__")
    ]


def _value(path: str) -> Any:
    package, _, name = path.rpartition(".")
    return getattr(importlib.import_module(package), name)


def _home(path: str) -> str:
    """The package whose page describes a name: it defines the name, or is the first with it."""
    name = path.rpartition(".")[2]
    # `nwavesdk` itself defines nothing.
    having = [p for p in PACKAGES if p != "nwavesdk" and f"{p}.{name}" in _public_names(p)]
    same = [p for p in having if _value(f"{p}.{name}") is _value(path)]
    defining = getattr(_value(path), "__module__", "")
    package = next((p for p in same if f"{defining}.".startswith(f"{p}.")), next(iter(same), ""))
    return package or next(p for p in PACKAGES if path in _public_names(p))


def _is_second_name(path: str) -> bool:
    """Whether this is the class of a surrogate, whose other name users write (`ATan` is `atan`)."""
    name, value = path.rpartition(".")[2], _value(path)
    is_class = value in available().values() and name == value.__name__
    return is_class and name not in available()


def _link(path: str) -> tuple[str, str]:
    """A name as a link to its description, and its first sentence."""
    name = path.rpartition(".")[2]
    value = _value(path)
    described = _described(f"{_home(path)}.{name}", value)
    sentence = (
        "" if getattr(value, "__module__", "") == "builtins" else _first_sentence(value.__doc__)
    )
    return f"[`{name}`][{described}]", as_markdown(sentence).replace("|", "/")


def _entry(path: str, value: Any) -> list[str]:
    """The directive of a public name."""
    described = _described(path, value)
    if path in BASES:
        members = [name for name in vars(BASES[path]) if not name.startswith("_")]
        return [f"::: {path}", "    options:", f"      inherited_members: {members}", ""]
    if described == path:
        return [f"::: {path}", ""]
    options = [f"      heading: {path}"]
    name = path.rpartition(".")[2]
    if available().get(name) is value:
        options.append(f"      toc_label: {name}")
    return [f"::: {described}", "    options:", *options, ""]


def _described(path: str, value: Any) -> str:
    """The path by which a name is described.

    It is the definition where a module has the same name (`net.fold`), and for a surrogate,
    which is another name of its class (`atan = ATan`).
    """
    package, _, name = path.rpartition(".")
    is_surrogate = available().get(name) is value
    has_modules = hasattr(importlib.import_module(package), "__path__")
    is_module = has_modules and find_spec(path) is not None
    return f"{value.__module__}.{value.__qualname__}" if is_surrogate or is_module else path


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
    """Tables of the fields of each section of a config."""
    lines = [
        "# Settings of a run",
        "",
        "The fields of `config.json`. Each is an option of `nwave train`, `section.field` in the",
        "file of `nwave tune`, and in Python a key of `RunConfig.of`. A recipe fills what is not",
        "given: see `docs/recipes.md`. `task.name`, `data.kind` and `net.name` decide which other",
        "fields their sections have.",
        "",
    ]
    for section, (tag, models) in UNIONS.items():
        lines += [f"## {section}", "", *_union_tables(section, tag, models)]
    for section, model in SECTIONS.items():
        lines += [f"## {section}", "", *_table(HEAD, _field_rows(model))]
    return "\n".join(lines)


def _union_tables(section: str, tag: str, models: Mapping[str, type[FrozenModel]]) -> list[str]:
    """A table of the fields that several classes of a section have, and one of each class."""
    rows = {name: _field_rows(model) for name, model in models.items()}
    owners: dict[str, list[str]] = {}
    for name, field_rows in rows.items():
        for row in field_rows:
            owners.setdefault(row, []).append(name)
    shared = {row: names for row, names in owners.items() if len(names) > 1}
    lines = []
    if shared:
        named = [f"{row} {_named(names, [*models])} |" for row, names in shared.items()]
        lines += [f"### {section}: shared fields", "", *_table([*HEAD, f"`{tag}`"], named)]
    for name, model in models.items():
        lines += [f"### {tag} = {name}", "", _first_sentence(model.__doc__), ""]
        lines += _table(HEAD, [row for row in rows[name] if row not in shared])
    return lines


def _named(names: list[str], all_names: list[str]) -> str:
    """The names, or those that are missing, where these are fewer."""
    others = [name for name in all_names if name not in names]
    text = ", ".join(names) if len(names) <= len(others) else f"all but {', '.join(others)}"
    return text if others else "all"


def _table(head: list[str], rows: list[str]) -> list[str]:
    """The lines of a table; a table without rows has none."""
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows, ""] if rows else []


def _field_rows(model: type[FrozenModel]) -> list[str]:
    """The rows of a table of the fields of a class."""
    fields = model.model_json_schema()["properties"]
    # The heading names the class, and a class rejects a field that is always null.
    return [
        _field_row(field, facts)
        for field, facts in fields.items()
        if "const" not in facts and facts.get("type") != "null"
    ]


def _field_row(field: str, facts: dict[str, Any]) -> str:
    default = facts.get("default")
    default_text = facts.get("default_text", "") if default is None else f"`{default}`"
    meaning = as_markdown(facts.get("description", ""))
    cells = [f"`{field}`", _values(facts), default_text, meaning]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _values(facts: dict[str, Any]) -> str:
    """What a field takes, from its schema."""
    if "anyOf" in facts:
        return " or ".join(_values(option) for option in facts["anyOf"])
    if "enum" in facts:
        return ", ".join(map(str, facts["enum"]))
    least = facts.get("minimum", facts.get("exclusiveMinimum"))
    most = facts.get("maximum", facts.get("exclusiveMaximum"))
    kind = {"null": "none"}.get(facts.get("type", ""), facts.get("type", "object"))
    if least is not None and most is not None:
        return f"{kind}, {least:g} to {most:g}"
    return f"{kind}, at least {least:g}" if least is not None else str(kind)
