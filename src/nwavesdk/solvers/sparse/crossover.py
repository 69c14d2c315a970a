"""The crossover table: the density below which a sparse product is faster than the dense one.

Which of the two products runs decides the order of the sums, and so the last bits of a result. So
nothing is timed while a net runs: the densities come from a table that ships with the package, and
only `nwave tune-kernels` writes another one, for the machine of its user.
"""

import itertools
import math
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nwavesdk.internal.files import FileError, printable, read_bytes
from nwavesdk.internal.formats import parse_toml
from nwavesdk.internal.model import RISING, describe_errors

__all__ = [
    "CrossoverTable",
    "Limits",
    "active_table",
    "chosen_table",
    "read_table",
    "shipped_table",
    "use_table",
    "user_table_path",
]

# Limits of a table from a file. The shipped table has 5 kilobytes and a grid of four by five by
# five.
MOST_BYTES = 2**16
MOST_SIZES = 64
MOST_WORK = 2**62

Size = Annotated[int, Field(strict=True, gt=0, lt=2**31)]
Sizes = Annotated[tuple[Size, ...], Field(min_length=1, max_length=MOST_SIZES), RISING]
Density = Annotated[float, Field(strict=True, ge=0, le=1)]
Densities = Annotated[tuple[Density, ...], Field(max_length=MOST_SIZES)]
Plane = Annotated[tuple[Densities, ...], Field(max_length=MOST_SIZES)]
Grid = Annotated[tuple[Plane, ...], Field(max_length=MOST_SIZES)]

_GRIDS = ("forward", "forward_with_graph", "weight_gradient")


class Limits(NamedTuple):
    """The most non-zeros of an input with which products are sparse; -1 means never.

    The fields are those of `CrossoverTable`.
    """

    forward: int
    forward_with_graph: int
    weight_gradient: int


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CrossoverTable:
    """Densities at which the sparse and the dense product take the same time.

    Between sizes of the grid the density is interpolated, linearly in the logarithms of all sizes.
    Outside of the grid the nearest edge counts.

    Args:
        rows: Rows of x (batch elements times steps) of the grid's planes, rising.
        inputs: N_in of the grid's rows, rising.
        outputs: N_out of the grid's columns, rising.
        forward: Densities for `x @ weight` without a graph, from 0 (never sparse) to 1 (always);
            one plane for each of `rows`, with one row for each of `inputs`, with one density for
            each of `outputs`.
        forward_with_graph: Densities for `x @ weight` that has a gradient, in the same layout. The
            sparse product then needs a Python function in the graph, which takes longer than a
            small product.
        weight_gradient: Densities for ∂L/∂weight, in the same layout.
        min_work: Multiplications of the dense product (rows · N_in · N_out) below which it is
            always taken.
        source: Where the table comes from, for people. Tables that differ only in it are equal.

    Raises:
        ValueError: If sizes do not rise, a density is not within 0…1, or shapes disagree.
    """

    rows: Sizes
    inputs: Sizes
    outputs: Sizes
    forward: Grid
    forward_with_graph: Grid
    weight_gradient: Grid
    min_work: Annotated[int, Field(strict=True, ge=0, le=MOST_WORK)] = 0
    source: str = field(default="given", compare=False)

    def __post_init__(self) -> None:
        shape = [[len(self.outputs)] * len(self.inputs)] * len(self.rows)
        for name in _GRIDS:
            got = [[len(row) for row in plane] for plane in getattr(self, name)]
            if got != shape:
                raise ValueError(
                    f"{name} must have {len(self.rows)} planes (one for each of rows) of "
                    f"{len(self.inputs)} rows (one for each of inputs) of {len(self.outputs)} "
                    f"densities (one for each of outputs), got planes of rows of {got}"
                )

    @classmethod
    def of(cls, content: Mapping[str, Any], source: str) -> "CrossoverTable":
        """The inverse of `content`.

        A table without `rows` is of an earlier form, whose densities were the same for any number
        of rows and with or without a graph.

        Raises:
            ValueError: If an entry is missing, unknown or out of its range. The message names the
                source.
        """
        entries = {**content, "source": source}
        if "rows" not in content:
            planes = {name: [content[name]] for name in _GRIDS if name in content}
            if "forward" in planes:
                planes["forward_with_graph"] = planes["forward"]
            entries.update(planes, rows=[1])
        try:
            return TypeAdapter(cls).validate_python(entries)
        except ValidationError as error:
            owner = f"{printable(source)} is not a crossover table"
            raise ValueError(describe_errors(error, owner)) from None

    def content(self) -> dict[str, Any]:
        """The table without its source, for TOML or JSON."""
        sizes = {name: list(getattr(self, name)) for name in ("rows", "inputs", "outputs")}
        grids = {
            name: [[list(row) for row in plane] for plane in getattr(self, name)] for name in _GRIDS
        }
        return {"min_work": self.min_work, **sizes, **grids}

    def toml(self, *comments: str) -> str:
        """The table as the text of a TOML file, under `comments`."""
        lines = [f"# {comment}" for comment in comments]
        for name, value in self.content().items():
            if name not in _GRIDS:
                lines.append(f"{name} = {value}")
                continue
            lines.append(f"{name} = [")
            for rows, plane in zip(self.rows, value, strict=True):
                lines += [f"  [  # rows: {rows}", *(f"    {row}," for row in plane), "  ],"]
            lines.append("]")
        return "\n".join(lines) + "\n"

    def limits(self, rows: int, n_in: int, n_out: int) -> Limits:
        """The most non-zeros in x [rows, n_in] with which products are sparse."""
        if rows * n_in * n_out < max(self.min_work, 1):
            return Limits(-1, -1, -1)
        densities = self.densities(rows, n_in, n_out)
        return Limits(*(int(d * rows * n_in) if d else -1 for d in densities))

    def densities(self, rows: int, n_in: int, n_out: int) -> tuple[float, float, float]:
        """The densities of the three grids at these sizes, in the order of `Limits`."""
        places = [
            _grid_position(self.rows, rows),
            _grid_position(self.inputs, n_in),
            _grid_position(self.outputs, n_out),
        ]
        return (
            _interpolate(self.forward, places),
            _interpolate(self.forward_with_graph, places),
            _interpolate(self.weight_gradient, places),
        )

    def differences(self, before: "CrossoverTable") -> list[str]:
        """Lines that compare the densities with those of another table, one per size."""
        columns = ("forward", "before", "with graph", "before", "gradient", "before")
        head = "".join(f" {column:>10}" for column in columns)
        lines = [f"{'rows':>6} {'N_in':>6} {'N_out':>6}{head}"]
        for sizes in itertools.product(self.rows, self.inputs, self.outputs):
            pairs = zip(self.densities(*sizes), before.densities(*sizes), strict=True)
            texts = "".join(f" {density:>10.2g} {old:>10.2g}" for density, old in pairs)
            lines.append("{:>6} {:>6} {:>6}".format(*sizes) + texts)
        return [*lines, f"least work {self.min_work:,}, before {before.min_work:,}"]


def _interpolate(grid: Any, places: Sequence[tuple[int, float]]) -> float:
    """The value at a place between the entries of nested sequences.

    Args:
        grid: Sequences in sequences, one level for each of `places`.
        places: An index and the way to the next one, 0…1, for each level; see `_grid_position`.
    """
    (i, way), *others = places
    ends = [grid[i], grid[i + 1]] if way else [grid[i]]
    values = [_interpolate(end, others) if others else float(end) for end in ends]
    return (1 - way) * values[0] + way * values[1] if way else values[0]


def _grid_position(sizes: Sequence[int], size: int) -> tuple[int, float]:
    """The last entry of `sizes` that is not above `size`, and the way from it to the next, 0…1."""
    if size <= sizes[0]:
        return 0, 0.0
    i = bisect_right(sizes, size) - 1
    if i == len(sizes) - 1:
        return i, 0.0
    return i, math.log(size / sizes[i]) / math.log(sizes[i + 1] / sizes[i])


# The table in use

_chosen: CrossoverTable | None = None

# The variables that name the file of the user's table.
_VARIABLES = ("NWAVESDK_CROSSOVER", "XDG_CONFIG_HOME", "USERPROFILE" if os.name == "nt" else "HOME")
# `os.environ` decodes a variable at each read, which takes as long as a third of a small product.
# The dictionary behind it, where Python has one, has the same entries without decoding.
_environment: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_names = [name if _environment is os.environ else os.environ.encodekey(name) for name in _VARIABLES]
# The values of the variables at the last look, and the table to which they led.
_last_look: tuple[tuple[Any, ...], CrossoverTable] | None = None


def active_table() -> CrossoverTable:
    """The table in use: the one given to `use_table`, else the user's, else the shipped one.

    Raises:
        ValueError: If the user's file is damaged.
    """
    global _last_look
    if _chosen is not None:
        return _chosen
    values = tuple(map(_environment.get, _names))
    look = _last_look
    if look is not None and look[0] == values:
        return look[1]
    table = _user_table(user_table_path())
    _last_look = values, table
    return table


def chosen_table() -> CrossoverTable | None:
    """The table that was given to `use_table`."""
    return _chosen


def use_table(table: CrossoverTable | None) -> None:
    """Use `table` for all products of this process; None restores the user's or the shipped one."""
    global _chosen, _last_look
    _chosen = table
    _last_look = None
    _user_table.cache_clear()


def user_table_path() -> Path:
    """The file of the user's table: `NWAVESDK_CROSSOVER`, or a file in the folder of settings."""
    if named := os.environ.get("NWAVESDK_CROSSOVER"):
        return Path(named)
    settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(settings, "nwavesdk", "crossover.toml")


def read_table(path: Path) -> CrossoverTable:
    """The table in a file.

    Raises:
        ValueError: If the file cannot be read, is not TOML, or is not a crossover table. One line
            names the file and the remedy.
    """
    remedy = (
        "run `nwave tune-kernels` to write it again, or `nwave tune-kernels --reset` to go back "
        "to the shipped table"
    )
    try:
        content = parse_toml(read_bytes(path, MOST_BYTES), path)
    except FileError as error:
        what = f"is not a crossover table: it {error.fault}"
        raise FileError(path, what, f"name another file, or {remedy}") from None
    try:
        return CrossoverTable.of(content, str(path))
    except ValueError as error:
        raise ValueError(f"{error}. Correct it, or {remedy}.") from None


@cache
def shipped_table() -> CrossoverTable:
    """The table that ships with the package."""
    content = files("nwavesdk.solvers.sparse").joinpath("crossover.toml").read_bytes()
    return CrossoverTable.of(parse_toml(content, "crossover.toml"), "shipped")


@cache
def _user_table(path: Path) -> CrossoverTable:
    is_named = bool(os.environ.get("NWAVESDK_CROSSOVER"))
    if is_named and not path.is_file():
        raise ValueError(
            f"NWAVESDK_CROSSOVER names {printable(path)}, which is not a file: unset it, or name a "
            "table."
        )
    return read_table(path) if os.path.lexists(path) else shipped_table()
