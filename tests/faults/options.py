"""Cases of the command line: every option and argument of `nwave`, as typer itself lists them.

A new option is covered without being named here; a new command needs a line in `BASES`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import typer

from faults.outcome import Case, forms_of
from faults.places import LINK_TARGETS, PLACES
from faults.world import World
from nwavesdk.cli import app
from nwavesdk.cli.options import OPTION_NAMES

__all__ = ["BASES", "base_words", "commands", "option_cases"]


@dataclass(frozen=True)
class Base:
    """A call of a command that succeeds, to which a bad option is added.

    Attributes:
        arguments: Its arguments; TONES is the folder of recordings, here and in options.
        options: Its options.
        needs: What it needs from the world.
        seconds: Longest time of a call.
    """

    arguments: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    seconds: float = 60.0


_LIF = ("--data", "TONES", "--epochs", "1", "--net", "lif", "--hold", "1")
_TRAIN = ("--out", "new", *_LIF, "--hidden", "4", "--population", "1", "--bands", "4")
_STUDY = ("--out", "study", *_LIF, "--hidden", "6", "--surrogates", "fast_sigmoid,atan")
_DATA = ("--no-plot", "--sample-rate", "8000", "--chip", "h1v1", "--duration", "0.2")
_SLOPES = ("--recordings", "4", "--surrogates", "atan,fast_sigmoid", "--no-plot")
_GRAPH = ("--dt", "0.001", "--discretization", "exact")
_CHIP = ("chip",)
_RUN = ("run",)
# A call of each command that succeeds and is quick. Add a line for a new command.
BASES = {
    "chips": Base(_CHIP, ("--n", "2", "--no-plot"), _CHIP),
    "check": Base(_CHIP, (), _CHIP),
    "compare": Base((), (*_STUDY, "--seeds", "1"), ("study",), seconds=240),
    "data": Base(("TONES",), _DATA),
    "detect": Base(("run", "run/config.json"), (), _RUN),  # any file: the run detects nothing
    "diagnose": Base(_RUN, ("--recordings", "4"), _RUN),
    "eval": Base(_RUN, (), _RUN),
    "export": Base(_CHIP, (), _CHIP),
    "import": Base(("graph.nir",), _GRAPH, ("graph.nir",)),
    "info": Base(),
    "kernels": Base(),
    "map": Base(_CHIP, ("--no-plot",), _CHIP),
    "net": Base(("conv",)),
    "neurons": Base(("li",)),
    "nir": Base(("check", "graph.nir"), _GRAPH, ("graph.nir",)),
    "predict": Base(("run", "TONES"), (), _RUN),
    "slopes": Base(_RUN, _SLOPES, _RUN),
    "surrogates": Base(),
    "train": Base((), _TRAIN),
    "tune": Base(("search/search.toml",), ("--out", "search"), ("search",)),
}
# The package without which a command has one error only.
NEEDS = {"import": "nir", "nir": "nir", "tune": "ray"}

INTEGERS = (
    *("-1", "0", "1", str(2**31), str(2**70), "-" + str(2**70), "x", "", " ", "1e300", "nan"),
    *("1.5", "0x10", "1_0", "٣", "9" * 5000, "--1", "\x1b[31m1", "1\n", "\udcff"),
)
FLOATS = (
    *("nan", "inf", "-inf", "-1", "0", "-0.0", "1e300", "1e-300", "5e-324", "1e20", "x", "", " "),
    *("1,5", "9" * 5000, "1e999", "\x1b[31m1", "٣", "\udcff"),
)
TEXTS = (
    *("", " ", ",", ",,", "4,,4", "-1", "0", "nan", "1e300", "1e20", str(2**70), "9" * 5000),
    *("x" * 10**5, "4," * 10**4, "(" * 5000, "[" * 5000, "-" * 5000, "x(" + "1," * 5000 + ")"),
    *("\x1b[31mred", "a\nb", "a\rb", "\u202eabc", "\udcff", "$x_{$", "%s{0}", "../.."),
    *("fast_sigmoid(", "fast_sigmoid(nan)", "fast_sigmoid(1e300)", "fast_sigmoid(-1)"),
    *("fast_sigmoid(slope=1,slope=2)", "atan(alpha=9**9**9)", "__import__('os').abort()"),
    *("linear(slope,1,1e300)", "exponential(slope,-1,0)", "linear(slope,nan,1)"),
)
# Values that no option takes.
NEVER_NUMBERS = {"x", "", " ", "nan", "\udcff", "\x1b[31m1"}


@cache
def commands() -> dict[str, Any]:
    """All commands of `nwave` whose extra is installed, by name.

    Raises:
        LookupError: If a command has no base call.
    """
    group = typer.main.get_command(app)
    found: dict[str, Any] = dict(group.commands)
    if unknown := sorted(found.keys() - BASES.keys()):
        raise LookupError(
            f"nwave {unknown[0]} has no base call: add one to BASES in tests/faults/options.py."
        )
    is_missing = [name for name, package in NEEDS.items() if find_spec(package) is None]
    return {name: command for name, command in found.items() if name not in is_missing}


def option_cases(world: World) -> Iterator[Case]:
    """Each bad value of each option and argument, and calls with wrong words."""
    for word in ("nope", "--nope", "-x", "", " ", "\x1b[31m", "\udcff", "x" * 10**5, "train\n"):
        label = f"options/no-command/{_label(word)}"
        yield Case(label, (word,), world.copies(), must_fail=True)
    for name, command in commands().items():
        yield from _wrong_words(world, name, command)
        for parameter in command.params:
            for value in bad_values(parameter):
                yield _case(world, name, parameter, value)


@dataclass(frozen=True)
class BadValue:
    """A value of an option.

    Attributes:
        label: Its name in the name of the case.
        text: The word; a path is relative to the folder of the case.
        prepare: Makes the file at the path.
        must_fail: Whether no option takes it.
    """

    label: str
    text: str = field(repr=False)
    prepare: Callable[[Path], None] | None = None
    must_fail: bool = False


def bad_values(parameter: Any) -> list[BadValue]:
    """Values for a parameter, chosen by its type only."""
    if getattr(parameter, "is_flag", False):
        return [BadValue("flag", "")]
    kind = _value_kind(parameter)
    metavar = str(parameter.metavar or "")
    if kind == "int":
        return [BadValue(_label(text), text, None, text in NEVER_NUMBERS) for text in INTEGERS]
    if kind == "float":
        never = NEVER_NUMBERS | {"inf", "-inf", "1e999"}
        return [BadValue(_label(text), text, None, text in never) for text in FLOATS]
    texts = [BadValue(_label(text), text) for text in TEXTS]
    if kind == "path" or any(word in metavar for word in ("FILE", "FOLDER", "DIR", "RUN")):
        texts += [
            BadValue(f"place:{place}{ending}", f"{make.name}{ending}", make.at(ending))
            for place, make in PLACES.items()
            for ending in ("", ".png")
        ]
    return texts


def _value_kind(parameter: Any) -> str:
    """`int`, `float`, `path` or `text`; versions of typer keep the type in different places."""
    descriptor = getattr(parameter, "type_descriptor", None)
    kind = parameter.type.name if descriptor is None else descriptor.annotation
    kind = next(iter(get_args(kind)), kind)  # of a list, the type of its elements
    name = str(getattr(kind, "__name__", kind)).lower()
    kinds = {"int": ("int",), "float": ("float",), "path": ("path", "file", "directory")}
    return next((key for key, words in kinds.items() if name.startswith(words)), "text")


def _label(text: str) -> str:
    shown = text if len(text) < 40 else f"{text[:12]}…{len(text)}"
    return repr(shown)


def _case(world: World, name: str, parameter: Any, value: BadValue) -> Case:
    base = BASES[name]
    arguments, options = (list(words) for words in _base(world, name))
    _put(arguments, options, parameter, value, name)
    names = _names(parameter)
    # An error about a flag has no value.
    is_flag = getattr(parameter, "is_flag", False)
    forms = [] if is_flag else [*forms_of(value.text)]
    if "link" in value.label or "dangling" in value.label:
        forms += LINK_TARGETS  # an error may name the file to which a link leads
        names += LINK_TARGETS
    if parameter.param_type_name == "argument" or value.prepare or "/" in value.text:
        names += forms_of(value.text)

    def prepare(folder: Path) -> None:
        world.copies(*base.needs)(folder)
        if value.prepare is not None:
            value.prepare(folder)

    return Case(
        name=f"options/{name}/{parameter.opts[0]}={value.label}",
        words=(name, *options, "--", *arguments),  # an argument may begin with a hyphen
        prepare=prepare,
        names=tuple(names),
        values=tuple(forms),
        must_fail=value.must_fail,
        max_seconds=base.seconds,
    )


def _base(world: World, name: str) -> tuple[list[str], list[str]]:
    tones = str(world / "tones")
    base = BASES[name]
    arguments, options = (
        [tones if word == "TONES" else word for word in words]
        for words in (base.arguments, base.options)
    )
    return arguments, options


def base_words(world: World, name: str) -> list[str]:
    """The words of the base call of a command."""
    arguments, options = _base(world, name)
    return [*arguments, *options]


def _put(
    arguments: list[str], options: list[str], parameter: Any, value: BadValue, name: str
) -> None:
    """Put a value in its place among the arguments or the options of a call."""
    option = parameter.opts[0]
    if parameter.param_type_name == "argument":
        names = [p.name for p in commands()[name].params if p.param_type_name == "argument"]
        place = names.index(parameter.name)
        end = None if parameter.nargs == -1 else place + 1
        arguments[place:end] = [value.text]
    elif getattr(parameter, "is_flag", False):
        options += [option] * (option not in options)
    else:
        if _value_kind(parameter) == "path" and "--no-plot" in options:
            options.remove("--no-plot")
        if option in options:
            place = options.index(option)
            del options[place : place + 2]
        options.append(f"{option}={value.text}")


def _names(parameter: Any) -> list[str]:
    """What an error may call a parameter: the option, the field of the config, the argument."""
    name = str(parameter.name)
    fields = [field for field, option in OPTION_NAMES.items() if option == name]
    fields += [field.rpartition(".")[2] for field in fields]
    return [*parameter.opts, name, name.replace("_", "-"), *fields, str(parameter.metavar or name)]


def _wrong_words(world: World, name: str, command: Any) -> Iterator[Case]:
    """Calls with an unknown option, a word too many, a missing value, and in plain ASCII."""
    base = BASES[name]
    words = base_words(world, name)
    copy = world.copies(*base.needs)
    wrong = {
        "unknown": [*words, "--nope"],
        "unknown-value": [*words, "--nope=\x1b[31m"],
        "word-too-many": [*words, "surplus"],
        "nothing-after": [*words, "--json", "--json=1"],
    }
    options = [p for p in command.params if p.param_type_name == "option" and not p.is_flag]
    if options:
        wrong["no-value"] = [*words, options[0].opts[0]]
    if any(p.required for p in command.params):
        wrong["nothing"] = []
    for label, given in wrong.items():
        full = f"options/{name}/{label}"
        yield Case(full, (name, *given), copy, must_fail=True, max_seconds=base.seconds)
    for encoding in ("ascii", "latin-1"):
        full = f"options/{name}/output-in-{encoding}"
        yield Case(full, (name, *words), copy, encoding=encoding)
    yield Case(f"options/{name}/json", (name, *words, "--json"), copy)
