"""The numbers of a chip, each with unit, source and note, from a TOML file.

An entry is "documented" when the chip's public documentation states it, "assumed" when we chose it, and "measured" in a
file of the user's own, which replaces ours whole.
"""

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from nwavesdk.chip.charge import ChargeLaw, ExpansiveCharge, LinearCharge, TableCharge
from nwavesdk.chip.power import Energies

__all__ = ["CHIPS", "Entry", "Profile", "load_profile"]

CHIPS = ("h1v1", "h1v2")
"""The chips whose profiles ship with the package."""

Value = float | str | tuple[float, ...]


@dataclass(frozen=True)
class Entry:
    """One number of a chip, a list of them, or a choice."""

    value: Value
    unit: str
    source: str
    note: str


@dataclass(frozen=True)
class Profile:
    """A chip's name and entries; equal when the entries are.

    Raises:
        ValueError: an entry is missing, unknown or out of its range, or entries contradict one another.

    Example:
        >>> load_profile("h1v2").number("weight_limit")
        1.66
    """

    name: str
    entries: Mapping[str, Entry]

    def __post_init__(self) -> None:
        for key in self.entries:
            if key not in _KINDS:
                raise ValueError(
                    f"profile {self.name}: {key} is no entry of a profile, expected {', '.join(_KINDS)}."
                )
        for key, (kind, told) in _KINDS.items():
            entry = self.entries.get(key)
            if entry is None:
                raise ValueError(f"profile {self.name}: entry {key} is missing.")
            if not kind(entry.value):
                raise ValueError(f"profile {self.name}: {key} must be {told}, got {entry.value!r}.")
        if self.text("charge_law") == "table":
            _ = self.charge_law  # a broken table is told now
        if self.text("neuron") == "h1v2" and self.number("synapse_mismatch"):
            raise ValueError(
                f"profile {self.name}: H1v2 synapses have no mismatch, synapse_mismatch must be 0."
            )
        if self.number("filter_lowest") >= self.number("filter_highest"):
            raise ValueError(f"profile {self.name}: filter_lowest must lie below filter_highest.")

    def number(self, key: str) -> float:
        """The value of a single number."""
        value = self.entries[key].value
        assert isinstance(value, float)
        return value

    def count(self, key: str) -> int:
        """The value of a whole number."""
        return int(self.number(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        """The values of a list."""
        value = self.entries[key].value
        assert isinstance(value, tuple)
        return value

    def text(self, key: str) -> str:
        """The value of a choice."""
        value = self.entries[key].value
        assert isinstance(value, str)
        return value

    @property
    def charge_law(self) -> ChargeLaw:
        """From weight to charge."""
        law, gain, limit = (
            self.text("charge_law"),
            self.number("charge_gain"),
            self.number("weight_limit"),
        )
        if law == "linear":
            return LinearCharge(gain)
        if law == "expansive":
            return ExpansiveCharge(gain, self.number("charge_steepness"), limit)
        try:
            return TableCharge(
                self.numbers("charge_table_weights"), self.numbers("charge_table_charges")
            )
        except ValueError as error:
            raise ValueError(f"profile {self.name}: {error}") from None

    @property
    def tau_profiles(self) -> tuple[float, ...]:
        """The time constants [s] that the chip has; empty where any is to be had."""
        return self.numbers("tau_profiles")

    @property
    def cores(self) -> tuple[int, ...]:
        """Neurons of each core."""
        return tuple(int(size) for size in self.numbers("cores"))

    @property
    def energies(self) -> Energies:
        """What power is computed from."""
        return Energies(
            static=self.number("static_power"), neuron=self.number("neuron_energy"),
            synapse=self.number("synapse_energy"), filter=self.number("filter_power"),
        )  # fmt: skip

    def assumed(self, *keys: str) -> tuple[str, ...]:
        """Those of `keys`, or of all entries, that are assumed."""
        return tuple(key for key in keys or self.entries if self.entries[key].source == "assumed")

    def to_json(self) -> str:
        """All of it as one line of JSON, for files that must know the chip."""
        return json.dumps(
            {
                "name": self.name,
                "entries": {key: asdict(entry) for key, entry in self.entries.items()},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Profile":
        """The inverse of `to_json`."""
        content = json.loads(text)
        return _profile(content["name"], content["entries"])


def load_profile(source: str | Path | Profile) -> Profile:
    """The profile `"h1v1"` or `"h1v2"`, or one from a TOML file of the same form; a `Profile` is given back.

    Raises:
        ValueError: an entry is missing, unknown, out of its range, or lacks value, unit, source or note.
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, Profile):
        return source
    if source in CHIPS:
        return _shipped(str(source))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no profile {source}: give {', '.join(CHIPS)}, or the path of a TOML file."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"profile {path.stem} is no TOML: {error}.") from None
    return _read(path.stem, text)


@cache
def _shipped(name: str) -> Profile:
    return _read(
        name, (files("nwavesdk.chip") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")
    )


def _read(name: str, text: str) -> Profile:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"profile {name} is no TOML: {error}.") from None
    return _profile(name, table)


def _profile(name: str, table: Mapping[str, Any]) -> Profile:
    entries: dict[str, Entry] = {}
    for key, raw in table.items():
        if not isinstance(raw, dict) or set(raw) != {"value", "unit", "source", "note"}:
            raise ValueError(
                f"profile {name}: {key} must be a table with value, unit, source and note, got {raw!r}."
            )
        if raw["source"] not in ("documented", "assumed", "measured"):
            raise ValueError(
                f'profile {name}: source of {key} is "documented", "assumed" or "measured", got {raw["source"]!r}.'
            )
        for field in ("unit", "note"):
            if not isinstance(raw[field], str) or not raw[field].strip():
                raise ValueError(
                    f"profile {name}: {field} of {key} must be a text, got {raw[field]!r}."
                )
        entries[key] = Entry(_value(raw["value"]), raw["unit"], raw["source"], raw["note"])
    return Profile(name, entries)


def _value(raw: Any) -> Any:
    if isinstance(raw, list | tuple):
        return tuple(_value(v) for v in raw)
    return float(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


# ---- what an entry may be ------------------------------------------------------------------------------------------

Kind = tuple[Callable[[Value], bool], str]


def _real(least: float, above: bool = False, most: float = math.inf) -> Kind:
    def fits(v: Value) -> bool:
        return (
            isinstance(v, float)
            and math.isfinite(v)
            and (v > least if above else v >= least)
            and v <= most
        )

    return fits, f"a number {'above' if above else 'from'} {least:g}" + (
        f" to {most:g}" if most < math.inf else ""
    )


def _whole(least: int, most: float = math.inf) -> Kind:
    fits, _ = _real(least, most=most)
    told = f"a whole number from {least}" + (f" to {most:g}" if most < math.inf else "")
    return (lambda v: fits(v) and float(v).is_integer()), told


def _list(one: Kind, what: str, rising: bool = False, empty: bool = True) -> Kind:
    def fits(v: Value) -> bool:
        if not isinstance(v, tuple) or not (v or empty) or not all(one[0](x) for x in v):
            return False
        return not rising or all(a < b for a, b in pairwise(v))

    return fits, f"a list of {what}"


def _one_of(*choices: str) -> Kind:
    return (lambda v: v in choices), " or ".join(f'"{c}"' for c in choices)


_KINDS: dict[str, Kind] = {
    "neuron": _one_of("h1v1", "h1v2"),
    "weight_limit": _real(0, above=True),
    "weight_bits": _whole(2, 8),
    "sign_block": _whole(1),
    "sign_axis": _one_of("inputs", "outputs"),
    "cores": _list(_whole(1), "numbers of neurons, one for each core", empty=False),
    "fan_in": _whole(1),
    "threshold": _real(0, above=True),
    "charge_law": _one_of("linear", "expansive", "table"),
    "charge_gain": _real(0, above=True),
    "charge_steepness": _real(0, above=True),
    "charge_table_weights": _list(_real(-math.inf), "rising weights", rising=True),
    "charge_table_charges": _list(_real(-math.inf), "rising charges", rising=True),
    "tau_profiles": _list(_real(0, above=True), "rising time constants above 0", rising=True),
    "leak_mismatch": _real(0),
    "threshold_mismatch": _real(0, most=0.3),
    "synapse_mismatch": _real(0),
    "filters": _whole(1),
    "filter_lowest": _real(0, above=True),
    "filter_highest": _real(0, above=True),
    "filter_order": _whole(1, 8),
    "static_power": _real(0),
    "neuron_energy": _real(0),
    "synapse_energy": _real(0),
    "filter_power": _real(0),
}
