"""Crossovers: below which density a sparse product is faster than the dense one, by the sizes of the weight.

Which of the two runs decides in which order sums are taken. So nothing is timed while a net runs: the densities stand
in a table that ships with the package, and only `nwave tune-kernels` writes another one, for its user's machine.
"""

import math
import os
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = [
    "CrossoverTable",
    "active_table",
    "chosen_table",
    "read_table",
    "shipped_table",
    "use_table",
    "user_path",
]

Grid = tuple[tuple[float, ...], ...]

_chosen: "CrossoverTable | None" = None


@dataclass(frozen=True)
class CrossoverTable:
    """Densities at which the sparse and the dense product take the same time.

    Between sizes of the grid the density is interpolated, linear in the logarithms of both sizes; outside of it the
    nearest edge counts.

    Args:
        inputs: N_in of the grid's rows, rising.
        outputs: N_out of the grid's columns, rising.
        forward: densities for `x @ weight`, a row for each of `inputs`; from 0 (never) to 1 (always).
        weight_gradient: the same for ∂L/∂weight.
        min_work: multiplications of the dense product (rows · N_in · N_out) below which it is always taken.
        source: where the table comes from, for people; tables that differ in it alone are equal.

    Raises:
        ValueError: the grid is not rising, a density is not within 0…1, or shapes disagree.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    forward: Grid
    weight_gradient: Grid
    min_work: int
    source: str = "given"

    def __post_init__(self) -> None:
        for name, sizes in (("inputs", self.inputs), ("outputs", self.outputs)):
            whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes)
            if not sizes or not whole or list(sizes) != sorted(set(sizes)):
                raise ValueError(
                    f"{name} must be whole numbers above 0 that rise, got {_shown(sizes)}."
                )
        for name, grid in (("forward", self.forward), ("weight_gradient", self.weight_gradient)):
            if len(grid) != len(self.inputs) or any(len(row) != len(self.outputs) for row in grid):
                raise ValueError(
                    f"{name} must have {len(self.inputs)} rows (one for each of inputs) of {len(self.outputs)} "
                    f"densities (one for each of outputs), got {_shown(grid)}."
                )
            for density in (density for row in grid for density in row):
                if (
                    isinstance(density, bool)
                    or not isinstance(density, int | float)
                    or not 0 <= density <= 1
                ):
                    raise ValueError(f"{name} must hold densities from 0 to 1, got {density!r}.")
        if (
            not isinstance(self.min_work, int)
            or isinstance(self.min_work, bool)
            or self.min_work < 0
        ):
            raise ValueError(f"min_work must be a whole number, 0 or more, got {self.min_work!r}.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CrossoverTable) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash((self.inputs, self.outputs, self.forward, self.weight_gradient, self.min_work))

    def limits(self, rows: int, n_in: int, n_out: int) -> tuple[int, int]:
        """The most non-zeros in x [rows, n_in] with which the sparse forward and weight gradient are taken.

        Returns:
            Two counts; -1 where no count is small enough.
        """
        if rows * n_in * n_out < max(self.min_work, 1):
            return -1, -1
        forward, gradient = (
            self._density(grid, n_in, n_out) for grid in (self.forward, self.weight_gradient)
        )
        return (int(forward * rows * n_in) if forward else -1), (
            int(gradient * rows * n_in) if gradient else -1
        )

    def _density(self, grid: Grid, n_in: int, n_out: int) -> float:
        i, a = _place(self.inputs, n_in)
        j, b = _place(self.outputs, n_out)
        upper, lower = grid[i], grid[min(i + 1, len(grid) - 1)]
        k = min(j + 1, len(upper) - 1)
        return (1 - a) * ((1 - b) * upper[j] + b * upper[k]) + a * (
            (1 - b) * lower[j] + b * lower[k]
        )

    def content(self) -> dict[str, Any]:
        """What the table says, for TOML or JSON, without its source."""
        return {
            "min_work": self.min_work,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "forward": [list(row) for row in self.forward],
            "weight_gradient": [list(row) for row in self.weight_gradient],
        }

    @classmethod
    def of(cls, content: Mapping[str, Any], source: str) -> "CrossoverTable":
        """The inverse of `content`.

        Raises:
            ValueError: an entry is missing, unknown or out of its range; the text names the source.
        """
        names = {"min_work", "inputs", "outputs", "forward", "weight_gradient"}
        wrong = sorted(names ^ set(content))
        if wrong:
            state = "unknown" if wrong[0] in content else "missing"
            raise ValueError(f"{source} is no table of crossovers: {wrong[0]} is {state}.")
        try:
            return cls(
                tuple(content["inputs"]),
                tuple(content["outputs"]),
                tuple(map(tuple, content["forward"])),
                tuple(map(tuple, content["weight_gradient"])),
                content["min_work"],
                source,
            )
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source} is no table of crossovers: {error}") from None

    def differences(self, other: "CrossoverTable") -> list[str]:
        """A line for each size of this table's grid: both its densities, and those of `other` there."""
        lines = [
            f"{'N_in':>6} {'N_out':>6} {'forward':>8} {'before':>8} {'gradient':>9} {'before':>8}"
        ]
        for n_in in self.inputs:
            for n_out in self.outputs:
                mine, theirs = (
                    [
                        table._density(grid, n_in, n_out)
                        for grid in (table.forward, table.weight_gradient)
                    ]
                    for table in (self, other)
                )
                lines.append(
                    f"{n_in:>6} {n_out:>6} {mine[0]:>8.2g} {theirs[0]:>8.2g} {mine[1]:>9.2g} {theirs[1]:>8.2g}"
                )
        return [*lines, f"least work {self.min_work:,}, before {other.min_work:,}"]

    def toml(self, *comments: str) -> str:
        """The table as a file, under `comments`."""
        lines = [f"# {comment}" for comment in comments]
        for name, value in self.content().items():
            if name in ("forward", "weight_gradient"):
                lines += [f"{name} = [", *(f"  {row}," for row in value), "]"]
            else:
                lines.append(f"{name} = {value}")
        return "\n".join(lines) + "\n"


def active_table() -> CrossoverTable:
    """The table that products go by: what `use_table` was given, else the user's own, else the shipped one.

    Raises:
        ValueError: the user's file is broken.
    """
    return _chosen if _chosen is not None else _own_table(user_path())


def chosen_table() -> CrossoverTable | None:
    """What `use_table` was given."""
    return _chosen


def use_table(table: CrossoverTable | None) -> None:
    """Let all products of this process go by `table`; None goes back to the user's own or the shipped one."""
    global _chosen
    _chosen = table
    _own_table.cache_clear()


def user_path() -> Path:
    """Where the user's own table is: `NWAVESDK_CROSSOVER`, or nwavesdk/crossover.toml in the folder of settings."""
    named = os.environ.get("NWAVESDK_CROSSOVER")
    if named:
        return Path(named)
    return Path(
        os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "nwavesdk", "crossover.toml"
    )


def read_table(path: Path) -> CrossoverTable:
    """The table in a file.

    Raises:
        ValueError: the file cannot be read, is no TOML, or is no such table.
    """
    remedy = "run `nwave tune-kernels` to write it anew, or `nwave tune-kernels --reset` to go back to the shipped one."
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no table of crossovers: {error}; {remedy}") from None
    try:
        return CrossoverTable.of(content, str(path))
    except ValueError as error:
        raise ValueError(f"{error} Mend it, or {remedy}") from None


@cache
def shipped_table() -> CrossoverTable:
    """The table that ships with the package."""
    text = files("nwavesdk.solvers.sparse").joinpath("crossover.toml").read_text("utf-8")
    return CrossoverTable.of(tomllib.loads(text), "shipped")


@cache
def _own_table(path: Path) -> CrossoverTable:
    if path.is_file():
        return read_table(path)
    if os.environ.get("NWAVESDK_CROSSOVER"):
        raise ValueError(
            f"NWAVESDK_CROSSOVER names {path}, which is no file: unset it, or name a table."
        )
    return shipped_table()


def _place(sizes: Sequence[int], size: int) -> tuple[int, float]:
    """The last entry of `sizes` that is not above `size`, and how far it is from there to the next one, 0…1."""
    if size <= sizes[0]:
        return 0, 0.0
    i = bisect_right(sizes, size) - 1
    if i == len(sizes) - 1:
        return i, 0.0
    return i, math.log(size / sizes[i]) / math.log(sizes[i + 1] / sizes[i])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
