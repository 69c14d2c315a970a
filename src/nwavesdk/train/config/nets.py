"""The nets of a run: one class for each preset, and one for a file, with the fields that they read.

The pages in `nwavesdk.presets` build the nets.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nwavesdk.internal.checks import close_name, looks_like_milliseconds, shown
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.config.fields import (
    MAX_LETTERS,
    LayerSizes,
    NamedNumbers,
    Names,
    PositiveNumber,
    Seconds,
    config_field,
)
from nwavesdk.train.config.net_file import NetPage

__all__ = [
    "AdLifNet",
    "AnyNet",
    "ChipNet",
    "ConvNet",
    "DelayNet",
    "Layers",
    "LifNet",
    "Net",
    "RecurrentNet",
    "UserNet",
]

HIDDEN = "Hidden layer sizes."
THRESHOLD = "Membrane above which a neuron spikes."
RESET = (
    "Effect of a spike on a LIF neuron: subtract the threshold, or set the membrane to zero, the "
    "only reset of NIR."
)
TAU = "Membrane time constant [s]."
POPULATION = "Output neurons per class."
SHARPNESS = "Logit of a class per spike and step that its neurons fire on average."
RECURRENT = "Connect the neurons of each hidden layer with each other."

Reset = Literal["subtraction", "zero"]
Population = Annotated[int, Field(ge=1, le=100_000)]


class AnyNet(FrozenModel):
    """The fields of all nets."""

    dt: Seconds = config_field(10e-3, "Time step [s].")
    dropout: float = config_field(
        0.0, "Fraction of hidden neurons silenced in training.", ge=0, lt=1
    )
    surrogate: str = config_field(
        "fast_sigmoid(slope=5.0)",
        "Gradient of a spike; `nwave surrogates` lists them.",
        max_length=MAX_LETTERS,
    )

    @field_validator("surrogate")
    @classmethod
    def _write_in_full(cls, text: str) -> str:
        from nwavesdk.surrogate import parse
        from nwavesdk.surrogate import text as text_of

        return text_of(parse(text))

    @model_validator(mode="after")
    def _check_tau(self) -> Self:
        tau = getattr(self, "tau", None)
        if tau is not None and looks_like_milliseconds(tau, self.dt):
            raise ValueError(
                f"net.tau: time constants are in seconds, got {tau:g} s, or {tau / self.dt:,.0f} "
                f"steps of {self.dt:g} s, expected at most 1,000 steps: for {tau:g} ms, use "
                f"{tau / 1000:g}"
            )
        return self


class ConvNet(AnyNet):
    """Convolutions over time, and over frequency or space, with batch norm."""

    name: Literal["conv"] = "conv"
    threshold: PositiveNumber = config_field(1.0, THRESHOLD)
    reset: Reset = config_field("subtraction", RESET)


class DelayNet(AnyNet):
    """Dense layers with a learned delay for each connection, with batch norm."""

    name: Literal["delay"] = "delay"
    threshold: PositiveNumber = config_field(1.0, THRESHOLD)
    reset: Reset = config_field("subtraction", RESET)


class AdLifNet(AnyNet):
    """Dense layers of adaptive LIF neurons with batch norm."""

    name: Literal["adlif"] = "adlif"
    hidden: LayerSizes = config_field((256, 256), HIDDEN, metavar="N,N,…")
    threshold: PositiveNumber = config_field(1.0, THRESHOLD)


class RecurrentNet(AnyNet):
    """Recurrent layers of adaptive LIF neurons with batch norm."""

    name: Literal["recurrent"] = "recurrent"
    hidden: LayerSizes = config_field((256, 256), HIDDEN, metavar="N,N,…")
    threshold: PositiveNumber = config_field(1.0, THRESHOLD)


class Layers(AnyNet):
    """Dense layers, whose neurons and sizes are chosen by options."""

    hidden: LayerSizes = config_field((256, 256), HIDDEN, metavar="N,N,…")
    population: Population = config_field(10, POPULATION)
    neuron: str = config_field(
        "lif", "Neuron of the hidden layers; `nwave neurons` lists them.", metavar="NAME"
    )
    constants: NamedNumbers = config_field(
        {},
        "Constants of that neuron, as in tau_w=0.1,a=0.5.",
        metavar="NAME=VALUE,…",
        default_text="its own",
    )
    learn: Names = config_field(
        (), "Constants of that neuron to train.", metavar="NAME,…", default_text="none"
    )
    recurrent: bool = config_field(False, f"{RECURRENT} On by default for patterns.")
    tau: Seconds = config_field(10e-3, TAU)
    threshold: PositiveNumber = config_field(1.0, THRESHOLD)
    reset: Reset = config_field("subtraction", RESET)
    charge_gain: PositiveNumber | None = config_field(
        None,
        "Factor of drawn initial weights to hidden layers, and of their learning rates.",
        default_text="1 for LIF; others fire as often as LIF under noise",
    )
    sharpness: PositiveNumber = config_field(25.0, SHARPNESS)

    @property
    def has_default_neuron(self) -> bool:
        """Whether the hidden neurons are LIF neurons with the constants of the net."""
        return self.neuron == "lif" and not self.constants and not self.learn

    @field_validator("neuron")
    @classmethod
    def _name_neuron(cls, name: str) -> str:
        from nwavesdk.layers.catalogue import find_hidden_neuron

        return "lif" if name == "lif" else find_hidden_neuron(name).name

    @model_validator(mode="after")
    def _check_neuron(self) -> Self:
        if not self.has_default_neuron:
            check_constants(self)
        return self


class LifNet(Layers):
    """Dense layers of LIF or other neurons, chosen by options."""

    name: Literal["lif"] = "lif"
    first_weights: Literal["drawn", "driven"] | None = config_field(
        None,
        "Initial weights. drawn: at random; driven: by fluct_init, so that training recordings "
        "make each neuron fire, but rarely.",
        default_text="driven, if recordings can drive LIF neurons",
    )
    dt: Seconds = config_field(1e-3, "Time step [s].")
    dropout: float = config_field(
        0.05,
        "Fraction of hidden neurons silenced in training, for a whole recording.",
        ge=0,
        lt=1,
    )
    surrogate: str = config_field(
        "fast_sigmoid(slope=25.0)",
        str(AnyNet.model_fields["surrogate"].description),
        max_length=MAX_LETTERS,
    )


class ChipNet(AnyNet):
    """The neurons and synapses of an H1 chip behind its filter bank."""

    name: Literal["chip"] = "chip"
    hidden: LayerSizes = config_field((50,), HIDDEN, metavar="N,N,…")
    population: Population = config_field(10, POPULATION)
    recurrent: bool = config_field(False, f"{RECURRENT} On by default for patterns.")
    tau: Seconds = config_field(50e-3, TAU)
    dt: Seconds = config_field(1e-3, "Time step [s].")
    dropout: float = config_field(
        0.0,
        "Fraction of hidden neurons silenced in training, for a whole recording.",
        ge=0,
        lt=1,
    )
    sharpness: PositiveNumber = config_field(300.0, SHARPNESS)
    surrogate: str = LifNet.model_fields["surrogate"]  # type: ignore[assignment]  # a field


class UserNet(Layers):
    """A net that the function of a Python file builds, which may read each of these fields."""

    name: Literal["file"] = "file"
    page: NetPage

    @field_validator("page", mode="before")
    @classmethod
    def _parse_page(cls, page: Any) -> Any:
        return NetPage.parse(page) if isinstance(page, str) else page


Net = Annotated[
    ConvNet | LifNet | AdLifNet | RecurrentNet | DelayNet | ChipNet | UserNet,
    Field(discriminator="name"),
]


def all_constants(net: Layers) -> dict[str, float]:
    """The constants of the hidden neurons: given constants, then tau and threshold, then defaults.

    A run stores them, and so keeps them if a later version has other defaults. LIF neurons take tau
    and threshold from the net.
    """
    if net.has_default_neuron:
        return {}

    from nwavesdk.layers.catalogue import find_hidden_neuron

    constants = find_hidden_neuron(net.neuron).constants
    defaults = {name: c.default for name, c in constants.items() if c.default is not None}
    if len(defaults) < len(constants):
        return net.constants

    shared: dict[str, float] = {
        name: getattr(net, name)
        for name in ("tau", "threshold")
        if name in defaults and name in net.model_fields_set
    }
    return {**defaults, **shared, **net.constants}


def check_constants(net: Layers) -> None:
    """Reject constants that the neuron lacks or that are out of their ranges.

    Raises:
        ValueError: If there is such a constant; the text names the field.
    """
    from nwavesdk.layers.catalogue import find_hidden_neuron
    from nwavesdk.layers.constants import without_step_warnings
    from nwavesdk.presets.lif import hidden_layer

    # Names first: a constant of another neuron, or an option of LIF neurons.
    neuron = find_hidden_neuron(net.neuron)
    names = list(neuron.constants)
    given = {"constants": net.constants, "learn": net.learn} | {
        name: (name,)
        for name in ("tau", "threshold")
        if getattr(net, name) != Layers.model_fields[name].default
    }
    for field, constants in given.items():
        for name in constants:
            if name not in names:
                raise ValueError(
                    f"net.{field}: got {shown(name)}, which {neuron.name} lacks"
                    f"{close_name(name, names)}: it has {', '.join(names)}"
                )

    # Then values: the layer rejects constants that are out of their ranges.
    try:
        with without_step_warnings():
            layer = hidden_layer(net, 1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"net.constants: {error}") from None
    if not all(value.isfinite().all() for value in layer.constants()):
        raise ValueError(
            f"net.constants: {net.neuron} divides by 0 or has no finite step with these constants, "
            f"got {shown(net.constants)}: change one of them; `nwave neurons {net.neuron}` "
            "describes them."
        )
