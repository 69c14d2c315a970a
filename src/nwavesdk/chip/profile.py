"""The parameters of a chip, each with its unit, source and note, from a TOML file; its power.

An entry is `"documented"` if the chip's public documentation states it, `"assumed"` if we chose it,
and `"measured"` in a file of your own, which replaces the whole shipped file. A profile is not
trusted: every number has a range.

The shipped profiles are the files in `profiles/`. A new kind of number also needs a field here.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass as pydantic_dataclass

from nwavesdk.chip.charge_law import ChargeLaw
from nwavesdk.internal.files import printable, read_bytes, shown_path
from nwavesdk.internal.formats import parse_json, parse_toml
from nwavesdk.internal.model import RISING, FrozenModel

__all__ = ["CHIPS", "TAU_RANGE", "Energies", "Entry", "Power", "Profile", "load_profile"]

CHIPS = ("h1v1", "h1v2")
"""The chips whose profiles are shipped with the package."""

TAU_RANGE = (1e-6, 100.0)
"""The shortest and the longest membrane time constant that a chip may have [s]."""

V = TypeVar("V")


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid", revalidate_instances="always"))
class Entry(Generic[V]):
    """A parameter of a chip: a number, a list of numbers, or a choice.

    Args:
        value: A float, a tuple of floats, or a string.
        unit: The unit of the value.
        source: `"documented"`, `"assumed"` or `"measured"`.
        note: The meaning and the origin of the value.

    Example:
        >>> entry = load_profile("h1v2").entries["weight_limit"]
        >>> entry.value, entry.unit, entry.source
        (1.66, '1', 'documented')
    """

    value: V
    unit: Annotated[str, StringConstraints(pattern=r"\S", max_length=200)]
    source: Literal["documented", "assumed", "measured"]
    note: Annotated[str, StringConstraints(pattern=r"\S", max_length=5000)]


def _check_distinct(values: tuple[float, ...]) -> tuple[float, ...]:
    min_step = 1e-6 * max(map(abs, values), default=0.0)
    if any(b - a < min_step for a, b in pairwise(values)):
        raise ValueError("expected steps of at least a millionth of the largest number")
    return values


# All numbers are floats, whole ones too: this is how files and runs of older versions store them.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
NotNegative = Annotated[Number, Field(ge=0)]
Whole = Annotated[Number, Field(ge=1, multiple_of=1)]
# Weights and charges are normalized, to the order of 1.
Normalized = Annotated[Number, Field(ge=1e-4, le=1e4)]
Neurons = Annotated[Whole, Field(le=65536)]
Tau = Annotated[Number, Field(ge=TAU_RANGE[0], le=TAU_RANGE[1])]
# Of sound and vibration.
Frequency = Annotated[Number, Field(ge=1, le=1e6)]
# Points closer than float32 resolves would have an infinite slope.
TableColumn = Annotated[
    tuple[Annotated[Number, Field(ge=-1e4, le=1e4)], ...],
    Field(max_length=1024),
    RISING,
    AfterValidator(_check_distinct),
]


class _Entries(FrozenModel):
    """The entries that a profile must have, and the range of each.

    The ranges are wider than any chip of this kind. A number outside of its range has another unit
    or is damaged, and would make results infinite or a computation endless.
    """

    neuron: Entry[Literal["h1v1", "h1v2"]]
    weight_limit: Entry[Normalized]
    weight_bits: Entry[Annotated[Whole, Field(ge=2, le=8)]]  # stored as int8
    sign_block: Entry[Neurons]
    sign_axis: Entry[Literal["inputs", "outputs"]]
    # 256 times the neurons of the chips that exist: a placement is searched and drawn.
    cores: Entry[
        Annotated[tuple[Annotated[Whole, Field(le=1024)], ...], Field(min_length=1, max_length=64)]
    ]
    fan_in: Entry[Neurons]
    threshold: Entry[Normalized]
    charge_law: Entry[Literal["linear", "expansive", "table"]]
    charge_gain: Entry[Normalized]
    charge_steepness: Entry[Normalized]
    charge_table_weights: Entry[TableColumn]
    charge_table_charges: Entry[TableColumn]
    tau_profiles: Entry[Annotated[tuple[Tau, ...], Field(max_length=1024), RISING]]
    leak_mismatch: Entry[Annotated[NotNegative, Field(le=1)]]  # a factor of e
    threshold_mismatch: Entry[Annotated[NotNegative, Field(le=0.3)]]  # thresholds stay above 0
    synapse_mismatch: Entry[Annotated[NotNegative, Field(le=10)]]  # NWAVE's text has 4
    filters: Entry[Annotated[Whole, Field(le=256)]]
    filter_lowest: Entry[Frequency]
    filter_highest: Entry[Frequency]
    filter_order: Entry[Annotated[Whole, Field(le=8)]]
    # Chips of this kind take microwatts, nanowatts per filter, and picojoules per spike.
    static_power: Entry[Annotated[NotNegative, Field(le=1)]]
    neuron_energy: Entry[Annotated[NotNegative, Field(le=1e-3)]]
    synapse_energy: Entry[Annotated[NotNegative, Field(le=1e-3)]]
    filter_power: Entry[Annotated[NotNegative, Field(le=1)]]


# Physical units; a text may follow, as in "J per spike".
UNITS = {
    "tau_profiles": "s",
    "filter_lowest": "Hz",
    "filter_highest": "Hz",
    "static_power": "W",
    "neuron_energy": "J",
    "synapse_energy": "J",
    "filter_power": "W",
}

# Largest ratio of the slopes of the expansive charge law is cosh of this.
MAX_EXPANSION = 20.0

# Smallest ratio of the centers of neighboring filters; narrower filters ring for seconds.
MIN_FILTER_STEP = 1.01


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
    """The energy and power that the circuits of a chip consume.

    Args:
        static: Independent of activity [W].
        neuron: Of each spike that a neuron fires [J].
        synapse: Of each spike that arrives through a synapse in use [J].
        filter: Of each band-pass filter of the front end, which is always on [W].

    Example:
        >>> from nwavesdk.chip import load_profile
        >>> energies = load_profile("h1v2").energies
        >>> power = energies.power(spikes=1000, synaptic_events=20_000, seconds=1.0, filters=16)
        >>> power.total > power.static
        True
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
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise ValueError(
                f"the name of a profile must be a text without control characters, got "
                f"{self.name!r:.80}: rename it."
            )

        try:
            entries = _Entries.of(self.entries)
            # The class is frozen.
            object.__setattr__(self, "entries", dict(entries))
            self._check_units()
            self._check_together()
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise ValueError(
                f"profile {self.name}: {reason}: correct the profile; docs/chip.md has its ranges."
            ) from None

    def _check_units(self) -> None:
        for key, unit in UNITS.items():
            given = self.entries[key].unit
            if not re.match(rf"\s*{unit}\b", given):
                raise ValueError(f"{key}.unit: expected {unit} (got {given!r})")

    def _check_together(self) -> None:
        """Check entries whose range depends on other entries."""
        # A table is checked when the law is made.
        if self.text("charge_law") == "table":
            _ = self.charge_law

        if self.text("neuron") == "h1v2" and self.number("synapse_mismatch"):
            raise ValueError(
                "synapse_mismatch must be 0, because H1v2 synapses have no mismatch, got "
                f"{self.number('synapse_mismatch'):g}"
            )

        expansion = self.number("charge_steepness") * self.number("weight_limit")
        if self.text("charge_law") == "expansive" and expansion > MAX_EXPANSION:
            raise ValueError(
                f"charge_steepness times weight_limit must be at most {MAX_EXPANSION:g} for the "
                f"expansive charge law, got {expansion:g}"
            )

        lowest, highest = self.number("filter_lowest"), self.number("filter_highest")
        steps = max(self.count("filters") - 1, 1)
        if highest < lowest * MIN_FILTER_STEP**steps:
            raise ValueError(
                f"filter_lowest must be below filter_highest, by a factor of {MIN_FILTER_STEP} "
                f"from filter to filter, got {lowest:g} Hz and {highest:g} Hz for "
                f"{self.count('filters')} filters"
            )

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
    def charge_law(self) -> ChargeLaw:
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
        return TableCharge(
            self.numbers("charge_table_weights"), self.numbers("charge_table_charges")
        )

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
        """The energies from which power is computed."""
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
        content = parse_json(text.encode(errors="surrogatepass"), "the profile of a chip")
        if content.keys() != {"name", "entries"}:
            raise ValueError(
                f"expected a profile as JSON, with name and entries, got {printable(text):.80}: "
                "restore it."
            )
        return cls(**content)


def load_profile(source: str | Path | Profile) -> Profile:
    """The profile `"h1v1"` or `"h1v2"`, or one from a TOML file of the same form.

    Args:
        source: Name of a chip, in capitals or not; path of a file; or a profile, which is returned
            unchanged.

    Raises:
        ValueError: If the file is not a TOML file, or an entry is missing, unknown, out of its
            range, or without value, unit, source or note.
        FileNotFoundError: If there is no such file.

    Example:
        >>> profile = load_profile("h1v2")
        >>> profile.number("weight_limit"), profile.entries["weight_limit"].source
        (1.66, 'documented')
    """
    if isinstance(source, Profile):
        return source
    if (name := str(source).lower()) in CHIPS:
        return _shipped_profile(name)

    path = Path(source)
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"found no profile {shown_path(source)}: pass {', '.join(CHIPS)}, or the path to a "
            "TOML file."
        )
    return _parse_profile(path, read_bytes(path))


@cache
def _shipped_profile(name: str) -> Profile:
    path = files("nwavesdk.chip").joinpath("profiles", f"{name}.toml")
    return _parse_profile(Path(path.name), path.read_bytes())


def _parse_profile(path: Path, content: bytes) -> Profile:
    entries = parse_toml(content, path)
    try:
        return Profile(printable(path.stem), entries)
    except ValueError as error:
        raise ValueError(f"{shown_path(path)}: {error}") from None
