"""The neuron of a run's hidden layers: `net.neuron` and `net.neuron_options` of its config.

As `nwavesdk.train.config`, the module loads torch only where another neuron than LIF is chosen.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nwavesdk.internal.checks import close_name, finite_number, shown

if TYPE_CHECKING:
    from nwavesdk.layers.catalogue import CataloguedNeuron

__all__ = [
    "DEFAULT_NEURON",
    "LEARN",
    "SHARED",
    "NeuronOptions",
    "complete_neuron",
    "neuron_name",
    "number_of",
    "parse_neuron_options",
    "split_values",
]

DEFAULT_NEURON = "lif"
# The option that names the constants to train.
LEARN = "learn"
# Constants that are also fields of the net, whose output layer has them.
SHARED = ("tau", "threshold")

# The field of the options, and a right text, for errors.
FIELD = "net.neuron_options"
EXAMPLE = "tau_w=0.1,learn=(a,b)"

# Constants with their values; `learn` has names.
NeuronOptions = dict[str, float | tuple[str, ...]]


def split_values(field: str, text: str, example: str) -> dict[str, str]:
    """The values of a text by their names; a value may have commas in it.

    Args:
        field: What the text is the value of, for errors.
        text: The text.
        example: A right text, for errors.

    Raises:
        ValueError: If a part of the text is not `NAME=VALUE`, or a name appears twice.

    Example:
        >>> split_values("net.neuron_options", "tau_w=0.1, learn=(a, b)", "tau_w=0.1")
        {'tau_w': '0.1', 'learn': '(a, b)'}
    """
    values: dict[str, str] = {}
    for part in re.split(r",(?=[^,=]*=)", text):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if not (name and value) or name in values:
            raise ValueError(
                f"{field}: expected NAME=VALUE between all commas, each name once, as in "
                f"{example}, got {shown(text)}."
            )
        values[name] = value
    return values


def number_of(field: str, name: str, value: object) -> float:
    """A finite number that is given as a number or a text.

    Raises:
        ValueError: If it is not; the text names the field and the value.
    """
    number = value
    if isinstance(value, str):
        with suppress(ValueError):
            number = float(value)
    return finite_number(field, shown(name), number)


def neuron_name(name: object) -> str:
    """The name of a neuron as the catalogue writes it.

    Raises:
        ValueError: If there is no such neuron.
    """
    return DEFAULT_NEURON if name == DEFAULT_NEURON else _neuron_of(name).name


def _neuron_of(name: object) -> "CataloguedNeuron":
    from nwavesdk.layers.catalogue import find_neuron

    try:
        return find_neuron(name)
    except ValueError as error:
        raise ValueError(f"net.neuron: {error}") from None


def parse_neuron_options(given: object) -> NeuronOptions:
    """Options as a dict, from a dict or from a text such as `"tau_w=0.1,learn=(a,b)"`.

    Raises:
        ValueError: If it is neither, or if a value is not a finite number.

    Example:
        >>> parse_neuron_options("tau_w=0.1, learn=(a, b)")
        {'tau_w': 0.1, 'learn': ('a', 'b')}
    """
    values = split_values(FIELD, given, EXAMPLE) if isinstance(given, str) else given
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ValueError(
            f"{FIELD}: expected constants with their values, as in {EXAMPLE}, got {shown(given)}."
        )
    options: NeuronOptions = {}
    for name, value in values.items():
        if name != LEARN:
            options[name] = number_of(FIELD, name, value)
        elif names := _names(value):
            options[LEARN] = names
    return options


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [name.strip() for name in value.removeprefix("(").removesuffix(")").split(",")]
    if not isinstance(value, list | tuple) or not all(isinstance(n, str) and n for n in value):
        raise ValueError(
            "net.neuron_options: learn must name constants, as in learn=tau or learn=(a,b), got "
            f"{shown(value)}."
        )
    return tuple(dict.fromkeys(value))


def complete_neuron(net: Mapping[str, Any]) -> dict[str, Any]:
    """The section `net` of a config, with all constants of a neuron other than LIF in its options.

    A run so keeps its constants. Each is an option, or a field of the net that was given, or the
    default of the neuron.

    Args:
        net: The section as given. If its options are complete, they are those of an earlier run.

    Raises:
        ValueError: If the neuron or an option is unknown, if it cannot be in a hidden layer, or if
            a field was given for a constant that it lacks.
    """
    name = neuron_name(net.get("neuron", DEFAULT_NEURON))
    options = parse_neuron_options(net.get("neuron_options", {}))
    if name == DEFAULT_NEURON and not options:
        return {**net, "neuron": name, "neuron_options": {}}
    neuron = _neuron_of(name)
    constants = neuron.constants
    _check_use(neuron)
    _check_names(neuron, options)
    if not options.keys() >= constants.keys():
        given = {field: net[field] for field in SHARED if field in net}
        for field, value in given.items():
            if field not in constants:
                raise ValueError(
                    f"net.{field}: {name} neurons have no constant {field}, got {shown(value)}: "
                    f"leave it out; neuron_options sets {', '.join(constants)}."
                )
        # Those of LIF neurons stay fields of the net.
        defaults = {n: c.default for n, c in constants.items() if c.default is not None}
        if len(defaults) == len(constants):
            # A value that is not a number is an error of its field.
            numbers = {n: v for n, v in given.items() if isinstance(v, int | float)}
            options = {**defaults, **numbers, **options}
    return {**net, "neuron": name, "neuron_options": options}


def _check_use(neuron: "CataloguedNeuron") -> None:
    if neuron.page.neuron.is_readout:
        raise ValueError(
            f"net.neuron: {neuron.name} is a read-out, which does not spike: choose a neuron that "
            "spikes for the hidden layers."
        )
    if any(constant.argument is None for constant in neuron.constants.values()):
        raise ValueError(
            f"net.neuron: {neuron.name} is the neuron of a chip: leave it out, and train with "
            f"--chip {neuron.name}."
        )


def _check_names(neuron: "CataloguedNeuron", options: NeuronOptions) -> None:
    names = list(neuron.constants)
    learned = options.get(LEARN, ())
    assert isinstance(learned, tuple)
    for name in (*options, *learned):
        if name not in names and name != LEARN:
            raise ValueError(
                f"net.neuron_options: {neuron.name} has no constant {shown(name)}"
                f"{close_name(name, [*names, LEARN])}: it has {', '.join(names)}; {LEARN}=NAME or "
                f"{LEARN}=(NAME,NAME) trains some."
            )
