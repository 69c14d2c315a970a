"""The numbers of a chip, each with unit, source and note, from a TOML file.

An entry is "documented" when the chip's public documentation states it and "assumed" when we chose it; assumed numbers
are replaced by measured ones in a file of the user's own.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from nwavesdk.chip.charge import ChargeLaw, ExpansiveCharge, LinearCharge

__all__ = ["Entry", "Profile", "load_profile"]

_NEEDED = (
    "weight_limit", "threshold", "charge_gain", "charge_steepness", "tau_profiles", "leak_mismatch",
    "threshold_mismatch",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One number of a chip, or a list of them."""

    value: float | tuple[float, ...]
    unit: str
    source: str
    note: str


@dataclass(frozen=True)
class Profile:
    """A chip's name and entries."""

    name: str
    entries: dict[str, Entry]

    def number(self, key: str) -> float:
        """The value of a single number."""
        value = self.entries[key].value
        assert isinstance(value, float)
        return value

    @property
    def charge_law(self) -> ChargeLaw:
        """Linear where the steepness is 0, odd and expansive otherwise."""
        gain, steepness = self.number("charge_gain"), self.number("charge_steepness")
        return ExpansiveCharge(gain, steepness, self.number("weight_limit")) if steepness else LinearCharge(gain)

    @property
    def tau_profiles(self) -> tuple[float, ...]:
        """The time constants [s] that the chip has; empty where any is to be had."""
        value = self.entries["tau_profiles"].value
        assert isinstance(value, tuple)
        return value


@cache
def load_profile(source: str | Path) -> Profile:
    """The profile `"h1v1"` or `"h1v2"`, or one from a TOML file of the same form.

    Raises:
        ValueError: an entry is missing or lacks value, unit, source or note.
        FileNotFoundError: there is no such file.
    """
    shipped = files("nwavesdk.chip") / "profiles" / f"{source}.toml"
    text = shipped.read_text(encoding="utf-8") if shipped.is_file() else Path(source).read_text(encoding="utf-8")
    entries: dict[str, Entry] = {}
    table = tomllib.loads(text)
    for key in _NEEDED:
        raw = table.get(key)
        if not isinstance(raw, dict) or set(raw) != {"value", "unit", "source", "note"}:
            raise ValueError(f"profile {source}: {key} must be a table with value, unit, source and note, got {raw!r}.")
        if raw["source"] not in ("documented", "assumed", "measured"):
            raise ValueError(f'profile {source}: source of {key} is "documented", "assumed" or "measured".')
        value = raw["value"]
        numbers = tuple(float(v) for v in value) if isinstance(value, list) else float(value)
        entries[key] = Entry(numbers, raw["unit"], raw["source"], raw["note"])
    return Profile(str(source), entries)
