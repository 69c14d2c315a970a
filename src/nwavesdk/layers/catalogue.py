"""The catalogue of neurons: each by its name, with descriptions from its docstring and its page."""

import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from nwavesdk.dynamics import LIF_PAGES, Kind, Page
from nwavesdk.internal.checks import close_name, shown
from nwavesdk.layers import zoo
from nwavesdk.layers.chip_layer import H1v1Layer, H1v2Layer
from nwavesdk.layers.equation import EquationLayer, equation_lines
from nwavesdk.layers.lif import LIFLayer
from nwavesdk.layers.neuron import NeuronLayer

__all__ = [
    "CataloguedNeuron",
    "NeuronConstant",
    "NeuronValue",
    "available_neurons",
    "find_hidden_neuron",
    "find_neuron",
    "plain_name",
]

# Descriptions that are missing in the docstrings of layers that are not made by `neuron`.
LEAKY_TEXTS = {
    "x": "Input charge of a step [membrane].",
    "v": "Membrane after reset [membrane].",
    "thresholds": "Firing threshold [membrane].",
}


@dataclass(frozen=True)
class NeuronValue:
    """The input or a state of a neuron in the catalogue.

    Attributes:
        name: Name in the equation.
        unit: Its unit, or "".
        text: Its description.
        start: Where a state starts; None for the input.
    """

    name: str
    unit: str
    text: str
    start: float | None = None


@dataclass(frozen=True, kw_only=True)
class NeuronConstant:
    """A constant of a neuron in the catalogue.

    Attributes:
        name: Name in the equation.
        unit: Its unit, or "".
        text: Its description.
        argument: Name of the layer's argument; None if a chip decides the value.
        kind: The values that it may have.
        default: Its default, or None.
    """

    name: str
    unit: str
    text: str
    argument: str | None
    kind: Kind
    default: float | None

    @property
    def kind_text(self) -> str:
        """The kind in words."""
        low, high = self.kind.low, self.kind.high
        if low is not None and high is not None:
            return f"between {low:g} and {high:g}"
        if low is None:
            return "real"
        return "time constant" if self.kind.unit == "s" else "positive"


@dataclass(frozen=True)
class CataloguedNeuron:
    """A neuron of the catalogue.

    Attributes:
        name: Its name, as in `nwave train --neuron NAME`.
        layer: Its layer.
        page: Its page.
        chosen: The argument of the layer that chooses the page, if there is one.
    """

    name: str
    layer: type[NeuronLayer]
    page: Page
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def call(self) -> str:
        """The layer as one types it, such as `LIFLayer(reset_mechanism="zero")`."""
        chosen = ", ".join(f'{name}="{value}"' for name, value in self.chosen.items())
        return f"{self.layer.__name__}({chosen})" if chosen else self.layer.__name__

    @property
    def summary(self) -> str:
        """Its description in a sentence."""
        first = self._doc.partition("\n")[0].partition("; ")[0].rstrip(".")
        if not self.page.doc and issubclass(self.layer, EquationLayer):
            first = "no description"
        chosen = "".join(f", {name} {value}" for name, value in self.chosen.items())
        return f"{first}{chosen.replace('_', ' ')}."

    @property
    def equation(self) -> list[str]:
        """The statements of its page."""
        return equation_lines(self.page)

    @property
    def sources(self) -> str:
        """The references of its docstring, or ""."""
        return " ".join(_section(self._doc, "References").split())

    @property
    def input(self) -> NeuronValue:
        """Its input."""
        name = self.page.neuron.step.charge
        return NeuronValue(name, *self._unit_and_text(name))

    @property
    def states(self) -> tuple[NeuronValue, ...]:
        """Its states, of which a layer returns the first."""
        neuron = self.page.neuron
        return tuple(
            NeuronValue(name, *self._unit_and_text(name), start)
            for name, start in zip(neuron.states, neuron.step.initial, strict=True)
        )

    @property
    def solvers(self) -> list[str]:
        """The solvers that run it, as values of the layer's `solver`."""
        has_compasso = self.page.neuron.carry is not None
        return ["reference", "serial", *(["compasso"] if has_compasso else [])]

    @cached_property
    def constants(self) -> dict[str, NeuronConstant]:
        """Its constants by their names in the equation."""
        arguments = inspect.signature(self.layer).parameters
        constants = {}
        for stored in self.layer.stored_constants:
            unit, text = self._unit_and_text(stored.argument)
            is_argument = stored.argument in arguments

            # A chip decides the value of a constant that is not an argument of the layer.
            constants[stored.name] = NeuronConstant(
                name=stored.name,
                unit=stored.kind.unit or unit,
                text=text,
                argument=stored.argument if is_argument else None,
                kind=stored.kind,
                default=self.page.constants[stored.name].default if is_argument else None,
            )

        return constants

    def _unit_and_text(self, argument: str) -> tuple[str, str]:
        """Unit and description of an argument, from its line in the docstring."""
        text = {**LEAKY_TEXTS, **_argument_texts(self._doc)}.get(argument, "")
        unit = re.search(r" \[([^]]+)\]", text)
        return (unit[1], text.replace(unit[0], "", 1)) if unit else ("", text)

    @cached_property
    def _doc(self) -> str:
        return inspect.cleandoc(self.layer.__doc__ or "")

    def build(
        self,
        n_neurons: int | Sequence[int],
        constants: Mapping[str, float],
        learn: Sequence[str] = (),
        **options: Any,
    ) -> NeuronLayer:
        """Build a layer of this neuron.

        Args:
            n_neurons: N, or a shape such as (C, H, W).
            constants: Values by the names in the equation; others have their defaults.
            learn: Names of the constants to train.
            options: Further arguments of the layer, such as `dt` and `spike_grad`.
        """
        argument_of = {name: str(constant.argument) for name, constant in self.constants.items()}
        values: dict[str, Any] = {argument_of[name]: v for name, v in constants.items()}

        # Layers of `neuron` take names, and `LIFLayer` has a switch per constant.
        if "learn" in inspect.signature(self.layer).parameters:
            values["learn"] = tuple(learn)
        else:
            values |= {f"learn_{argument_of[name]}": True for name in learn}

        # Each subclass has its own arguments, as keywords.
        build: Any = self.layer
        layer: NeuronLayer = build(n_neurons, **values, **self.chosen, **options)
        return layer


@cache
def available_neurons() -> dict[str, CataloguedNeuron]:
    """All neurons by their names; `nwave neurons` lists them.

    Example:
        >>> available_neurons()["adlif"].call
        'AdLIFLayer'
    """
    neurons = [
        CataloguedNeuron("lif", LIFLayer, LIF_PAGES["subtraction"]),
        *(
            CataloguedNeuron(f"lif_{reset}", LIFLayer, LIF_PAGES[reset], {"reset_mechanism": reset})
            for reset in ("zero", "none")
        ),
        CataloguedNeuron("h1v1", H1v1Layer, H1v1Layer.page),
        CataloguedNeuron("h1v2", H1v2Layer, H1v2Layer.page),
    ]

    for class_name in sorted(zoo.__all__, key=str.lower):
        layer = getattr(zoo, class_name)
        name = class_name.removesuffix("Layer").lower()
        neurons.append(CataloguedNeuron(name, layer, layer.page))

    return {neuron.name: neuron for neuron in neurons}


def find_neuron(name: object) -> CataloguedNeuron:
    """The neuron of a name; capitals, hyphens, underscores and "Layer" at its end do not matter.

    Raises:
        ValueError: If there is none.

    Example:
        >>> find_neuron("SE-adLIF").call
        'SEAdLIFLayer'
    """
    neurons = available_neurons()
    if isinstance(name, str):
        plain = plain_name(name)
        for known, neuron in neurons.items():
            if plain == plain_name(known):
                return neuron

    raise ValueError(
        f"unknown neuron {shown(name)}{close_name(name, neurons)}: expected one of "
        f"{', '.join(neurons)}; `nwave neurons` describes them."
    )


def find_hidden_neuron(name: str) -> CataloguedNeuron:
    """The neuron of this name, which can be in a hidden layer.

    Raises:
        ValueError: If there is no such neuron, or if it is a read-out or the neuron of a chip.
    """
    neuron = find_neuron(name)
    if neuron.page.neuron.is_readout:
        raise ValueError(
            f"{neuron.name} is a read-out, which does not spike: choose a neuron that spikes for "
            f"the hidden layers, got {shown(name)}"
        )
    if any(constant.argument is None for constant in neuron.constants.values()):
        raise ValueError(
            f"{neuron.name} is the neuron of a chip: remove it, and train with --chip "
            f"{neuron.name}, got {shown(name)}"
        )
    return neuron


def plain_name(name: str) -> str:
    """The name of a neuron without capitals, hyphens, underscores and "Layer" at its end.

    Example:
        >>> plain_name("SE-adLIFLayer")
        'seadlif'
    """
    return re.sub(r"[-_ ]", "", name.lower()).removesuffix("layer")


def _section(doc: str, title: str) -> str:
    """The text of a section of a docstring, without the indentation; "" if there is none."""
    match = re.search(rf"^{title}:\n((?: {{4}}.*\n?|\n(?= ))+)", doc, re.MULTILINE)
    return textwrap.dedent(match[1]) if match else ""


def _argument_texts(doc: str) -> dict[str, str]:
    """The description of each argument of a docstring, on one line."""
    parts = re.split(r"^(\w[\w, ]*): ", _section(doc, "Args"), flags=re.MULTILINE)
    return {
        name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
