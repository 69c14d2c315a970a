"""The numbers of a chip, each with its unit, source and note, from a TOML file; its power.

An entry is `"documented"` if the chip's public documentation states it, `"assumed"` if we chose it,
and `"measured"` in a file of your own, which replaces the whole shipped file.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass as pydantic_dataclass

from nwavesdk.internal.model import RISING, FrozenModel

if TYPE_CHECKING:
    from nwavesdk.chip.charge import ChargeLaw

__all__ = ["CHIPS", "Energies", "Entry", "Power", "Profile", "load_profile"]

CHIPS = ("h1v1", "h1v2")
"""The chips whose profiles are shipped with the package."""

V = TypeVar("V")


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid", revalidate_instances="always"))
class Entry(Generic[V]):
    """A number of a chip, a list of numbers, or a choice.

    Args:
        value: A float, a tuple of floats, or a string.
        unit: The unit of the value.
        source: `"documented"`, `"assumed"` or `"measured"`.
        note: What the value means and where it comes from.
    """

    value: V
    unit: Annotated[str, StringConstraints(pattern=r"\S")]
    source: Literal["documented", "assumed", "measured"]
    note: Annotated[str, StringConstraints(pattern=r"\S")]


# All numbers are floats, whole ones too: this is how files and runs of older versions store them.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Whole = Annotated[Number, Field(ge=1, multiple_of=1)]
RisingNumbers = Annotated[tuple[Number, ...], RISING]


class _Entries(FrozenModel):
    """The entries that a profile must have, and what each may be."""

    neuron: Entry[Literal["h1v1", "h1v2"]]
    weight_limit: Entry[Positive]
    weight_bits: Entry[Annotated[Number, Field(ge=2, le=8, multiple_of=1)]]
    sign_block: Entry[Whole]
    sign_axis: Entry[Literal["inputs", "outputs"]]
    cores: Entry[Annotated[tuple[Whole, ...], Field(min_length=1)]]
    fan_in: Entry[Whole]
    threshold: Entry[Positive]
    charge_law: Entry[Literal["linear", "expansive", "table"]]
    charge_gain: Entry[Positive]
    charge_steepness: Entry[Positive]
    charge_table_weights: Entry[RisingNumbers]
    charge_table_charges: Entry[RisingNumbers]
    tau_profiles: Entry[Annotated[tuple[Positive, ...], RISING]]
    leak_mismatch: Entry[NotNegative]
    threshold_mismatch: Entry[Annotated[NotNegative, Field(le=0.3)]]
    synapse_mismatch: Entry[NotNegative]
    filters: Entry[Whole]
    filter_lowest: Entry[Positive]
    filter_highest: Entry[Positive]
    filter_order: Entry[Annotated[Whole, Field(le=8)]]
    static_power: Entry[NotNegative]
    neuron_energy: Entry[NotNegative]
    synapse_energy: Entry[NotNegative]
    filter_power: Entry[NotNegative]


@dataclass(frozen=True)
class Power:
    """The average power of a chip by cause [W].

    Args:
        static: Independent of activity.
        neuron: Of spikes that neurons fire.
        synapse: Of spikes that arrive through synapses.
        front_end: Of the filters.

    Example:
        >>> power = Power(static=1e-6, neuron=2e-6, synapse=3e-6, front_end=4e-6)
        >>> f"{power.total:.0e} W"
        '1e-05 W'
    """

    static: float
    neuron: float
    synapse: float
    front_end: float

    @property
    def total(self) -> float:
        """The sum [W]."""
        return self.static + self.neuron + self.synapse + self.front_end


@dataclass(frozen=True)
class Energies:
    """What the circuits of a chip consume.

    Args:
        static: Independent of activity [W].
        neuron: Of each spike that a neuron fires [J].
        synapse: Of each spike that arrives through a synapse in use [J].
        filter: Of each band-pass filter of the front end, which is always on [W].
    """

    static: float
    neuron: float
    synapse: float
    filter: float

    def power(self, spikes: float, synaptic_events: float, seconds: float, filters: int) -> Power:
        """The average power if `spikes` are fired and `synaptic_events` arrive in `seconds`."""
        return Power(
            static=self.static,
            neuron=self.neuron * spikes / seconds,
            synapse=self.synapse * synaptic_events / seconds,
            front_end=self.filter * filters,
        )


@dataclass(frozen=True)
class Profile:
    """The name and the entries of a chip; profiles are equal if name and entries are.

    Args:
        name: Name of the chip.
        entries: The entries, or tables with value, unit, source and note.

    Raises:
        ValueError: If an entry is missing, unknown or out of its range, or entries contradict each
            other.

    Example:
        >>> load_profile("h1v2").number("weight_limit")
        1.66
    """

    name: str
    entries: Mapping[str, Entry[Any]]

    def __post_init__(self) -> None:
        owner = f"profile {self.name}"
        object.__setattr__(self, "entries", dict(_Entries.of(self.entries, owner)))
        if self.text("charge_law") == "table":
            _ = self.charge_law
        if self.text("neuron") == "h1v2" and self.number("synapse_mismatch"):
            raise ValueError(
                f"{owner}: H1v2 synapses have no mismatch, synapse_mismatch must be 0."
            )
        if self.number("filter_lowest") >= self.number("filter_highest"):
            raise ValueError(f"{owner}: filter_lowest must be below filter_highest.")

    def number(self, key: str) -> float:
        """The value of an entry that is a number."""
        return float(self.entries[key].value)

    def count(self, key: str) -> int:
        """The value of an entry that is a whole number."""
        return int(self.number(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        """The value of an entry that is a list."""
        return tuple(self.entries[key].value)

    def text(self, key: str) -> str:
        """The value of an entry that is a choice."""
        return str(self.entries[key].value)

    @property
    def charge_law(self) -> "ChargeLaw":
        """The law from weight to charge."""
        # Charge laws act on tensors; profiles are read without torch.
        from nwavesdk.chip.charge import ExpansiveCharge, LinearCharge, TableCharge

        law = self.text("charge_law")
        gain = self.number("charge_gain")
        if law == "linear":
            return LinearCharge(gain)
        if law == "expansive":
            return ExpansiveCharge(
                gain, self.number("charge_steepness"), self.number("weight_limit")
            )
        try:
            return TableCharge(
                self.numbers("charge_table_weights"), self.numbers("charge_table_charges")
            )
        except ValueError as error:
            raise ValueError(f"profile {self.name}: {error}") from None

    @property
    def tau_profiles(self) -> tuple[float, ...]:
        """The time constants [s] that the chip has; empty if it has all of them."""
        return self.numbers("tau_profiles")

    @property
    def cores(self) -> tuple[int, ...]:
        """The number of neurons of each core."""
        return tuple(int(size) for size in self.numbers("cores"))

    @property
    def energies(self) -> Energies:
        """The numbers that power is computed from."""
        return Energies(
            static=self.number("static_power"),
            neuron=self.number("neuron_energy"),
            synapse=self.number("synapse_energy"),
            filter=self.number("filter_power"),
        )

    def assumed(self, *keys: str) -> tuple[str, ...]:
        """The entries among `keys`, or among all entries, that are assumed."""
        return tuple(key for key in keys or self.entries if self.entries[key].source == "assumed")

    def to_json(self) -> str:
        """Name and entries as one line of JSON, for files that must contain the chip."""
        return json.dumps(
            {"name": self.name, "entries": {key: asdict(e) for key, e in self.entries.items()}}
        )

    @classmethod
    def from_json(cls, text: str) -> "Profile":
        """The inverse of `to_json`.

        Raises:
            ValueError: If the text is not the JSON of a profile, or an entry is missing, unknown or
                out of its range.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.keys() != {"name", "entries"}:
            raise ValueError(f"expected a profile as JSON, with name and entries, got {text:.80}")
        return cls(**content)


def load_profile(source: str | Path | Profile) -> Profile:
    """The profile `"h1v1"` or `"h1v2"`, or one from a TOML file of the same form.

    Args:
        source: Name of a chip, path of a file, or a profile, which is returned unchanged.

    Raises:
        ValueError: If the file is not TOML, or an entry is missing, unknown, out of its range, or
            without value, unit, source or note.
        FileNotFoundError: If there is no such file.
    """
    if isinstance(source, Profile):
        return source
    if source in CHIPS:
        return _shipped_profile(str(source))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no profile {source}: give {', '.join(CHIPS)}, or the path of a TOML file."
        )
    return _parse_profile(path.stem, path.read_bytes())


@cache
def _shipped_profile(name: str) -> Profile:
    return _parse_profile(
        name, files("nwavesdk.chip").joinpath("profiles", f"{name}.toml").read_bytes()
    )


def _parse_profile(name: str, content: bytes) -> Profile:
    try:
        entries = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"profile {name} is not TOML: {error}.") from None
    return Profile(name, entries)
