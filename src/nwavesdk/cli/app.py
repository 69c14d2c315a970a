"""The root of the command `nwave`, and common parts of its commands: options and output."""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import typer

import nwavesdk
from nwavesdk.cli.errors import OneLineGroup, open_standard_streams, print_result
from nwavesdk.cli.options import Command
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import check_folder, check_target, printable
from nwavesdk.internal.formats import json_text
from nwavesdk.internal.imports import require
from nwavesdk.internal.processes import check_address

__all__ = [
    "MEASURE_TITLES",
    "Json",
    "NetFile",
    "NoPlot",
    "Ray",
    "RunPath",
    "aligned",
    "app",
    "check_combinations",
    "check_spares_run",
    "checked_option",
    "file_option",
    "folder_option",
    "main",
    "measures_text",
    "picture_file",
    "picture_option",
    "print_report",
    "record_table",
    "split_commas",
    "step_shape",
]

# Shapes with more axes or values are a mistake.
MAX_AXES = 4
MAX_VALUES = 2_000_000

# Measures that are printed, with their names.
MEASURE_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "r2": "R²",
    "correlation": "correlation",
}

app = typer.Typer(
    name="nwave",
    cls=OneLineGroup,
    help="Spiking neural networks with surrogate gradients: train, evaluate, inspect, deploy.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")
]
NetFile = Annotated[
    str | None,
    typer.Option(
        "--net",
        metavar="FILE.py:build",
        help="The file that builds the net, of a run that was trained with one.",
    ),
]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="Write no picture.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


def main() -> None:
    """Entry point of the console script."""
    open_standard_streams()
    app()


@app.callback(invoke_without_command=True)
def _print_version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(nwavesdk.__version__)
        raise typer.Exit


def checked_option(
    help: str, *names: str, checks: Sequence[Callable[[Any], None]] = (), **settings: Any
) -> Any:
    """An option whose value is checked before any work.

    Args:
        help: The line of the help.
        names: The option as typed, if it differs from the parameter.
        checks: Functions that raise a ValueError if the value is bad.
        settings: Further arguments of `typer.Option`.
    """

    def check_value(value: Any) -> Any:
        if value is None:
            return None
        # Without a value, an option would take the next option as its value.
        if str(value).startswith("--"):
            raise typer.BadParameter(f"got {shown(str(value))}, expected a name (or ./ before it)")

        try:
            for check in checks:
                check(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    return typer.Option(*names, callback=check_value, help=help, **settings)


def _check_png(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise ValueError(
            f"pictures are PNG files, got {str(path)!r}, expected a name that ends in .png"
        )


# Options that name a file, a picture or a folder to write.
file_option = partial(checked_option, metavar="FILE", checks=[check_target])
picture_option = partial(checked_option, metavar="FILE", checks=[_check_png, check_target])
folder_option = partial(checked_option, metavar="DIR", checks=[check_folder])

Ray = Annotated[
    str | None,
    checked_option(
        "Run on Ray: on this machine, or on the cluster at HOST:PORT or that Ray finds (auto). All "
        "its machines must see the files.",
        "--ray",
        metavar="[ADDRESS]",
        checks=[check_address],
    ),
]


def check_combinations(
    *exclusive: Sequence[str], needs: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """Reject options without effect before a command begins.

    Args:
        exclusive: Options as typed, of which a call may have one.
        needs: The option or argument without which another option has no effect.
    """
    rules = [
        (option, "with", other) for group in exclusive for other, option in combinations(group, 2)
    ]
    rules += [(option, "without", other) for option, other in (needs or {}).items()]

    def decorate(command: Command) -> Command:
        @wraps(command)
        def checked(**values: Any) -> Any:
            for option, word, other in rules:
                if _is_given(option, values) and _is_given(other, values) == (word == "with"):
                    raise ValueError(f"{option}: has no effect {word} {other}: remove it.")
            return command(**values)

        return checked

    return decorate


def _is_given(option: str, values: Mapping[str, Any]) -> bool:
    value = values[option.strip("-").replace("-", "_").lower()]
    return value is not None and value is not False


def check_spares_run(option: str, path: Path | None, run: Path) -> None:
    """Reject an output that would replace a file of a run.

    Raises:
        ValueError: If it would; the text names the option.
    """
    files = vars(nwavesdk.train.RunFolder(Path(os.path.realpath(run)))).values()
    if path is not None and Path(os.path.realpath(path)) in files:
        raise ValueError(f"{option}: {path} belongs to the run, expected another file.")


def split_commas(option: str, text: str) -> list[str]:
    """Split at commas, but not within parentheses, as in the parameters of surrogates.

    Args:
        option: The option as typed, for the error.
        text: Its value.

    Raises:
        ValueError: If a part is empty.

    Example:
        >>> split_commas("--surrogates", "fast_sigmoid, s2nn(4,1)")
        ['fast_sigmoid', 's2nn(4,1)']
    """
    # A part consists of pairs of parentheses, the last of which may be open, and of other letters.
    parts = [part.strip() for part in re.findall(r"((?:\([^)]*\)?|[^,(])*),", f"{text},")]
    if not all(parts):
        raise ValueError(f"{option}: got {shown(text)}, expected a name between all commas.")
    return parts


def step_shape(option: str, text: str) -> tuple[int, ...]:
    """The shape of a step of the input, as in `2,34,34`.

    Args:
        option: The option as typed, for the error.
        text: Its value.

    Raises:
        ValueError: If it is not a shape, or is too large.
    """
    is_shape = re.fullmatch(
        rf"\s*\d{{1,7}}\s*(,\s*\d{{1,7}}\s*){{,{MAX_AXES - 1}}}", text, re.ASCII
    )
    sizes = tuple(map(int, text.split(","))) if is_shape else (0,)
    if not 1 <= math.prod(sizes) <= MAX_VALUES:
        raise ValueError(
            f"{option}: got {shown(text)}, expected up to {MAX_AXES} sizes from 1 with a product "
            f"of at most {MAX_VALUES:,}, as in 40 or 2,34,34."
        )
    return sizes


def picture_file(plot: Path | None, no_plot: bool, default: Path) -> Path | None:
    """The file for the picture of a command: `--plot` or the default; None with `--no-plot`.

    Raises:
        ModuleNotFoundError: If the package that draws is not installed.
    """
    if no_plot:
        return None
    require("matplotlib", "train")
    return plot or default


def aligned(rows: Iterable[Sequence[object]]) -> list[str]:
    """Rows as lines with columns of equal width; numbers have four digits.

    Example:
        >>> aligned([("name", "peak"), ("atan", 1 / 3), ("linear", float("nan"))])
        ['name    peak', 'atan    0.3333', 'linear  none']
    """
    cells = [[_cell_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def record_table(records: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """Records as lines; `columns` has the head and the key of each column."""
    rows = [[record[key] for key in columns.values()] for record in records]
    return aligned([[*columns], *rows])


def _cell_text(value: object) -> str:
    if not isinstance(value, float):
        return "none" if value is None else str(value)
    return f"{value:.4g}" if math.isfinite(value) else "none"


def measures_text(result: Mapping[str, Any]) -> str:
    """The measures in `result.json`, with their sets and names."""
    texts = []
    for part, part_title in {"test": "test", "val": "validation"}.items():
        if f"{part}_misses" in result:
            texts.append(f"{part_title} {_detection_text(result, part)}")
            continue
        values = [
            f"{title} {result[f'{part}_{name}']:.4f}"
            for name, title in MEASURE_TITLES.items()
            if f"{part}_{name}" in result
        ]
        if values:
            texts.append(f"{part_title} {', '.join(values)}")
    return "; ".join(texts)


def _detection_text(result: Mapping[str, Any], part: str) -> str:
    """Misses, false alarms and latency of a set."""
    misses, low_misses, high_misses = (
        100 * share for share in (result[f"{part}_misses"], *result[f"{part}_misses_interval"])
    )
    low, high = result[f"{part}_false_alarms_interval"]
    latency = result[f"{part}_median_latency"]
    return (
        f"misses {misses:.1f} % [{low_misses:.1f} to {high_misses:.1f}] at "
        f"{result[f'{part}_false_alarms_per_hour']:.2f} false alarms per hour [{low:.2f} to "
        f"{high:.2f}], "
        + ("no event detected" if latency is None else f"median latency {1e3 * latency:.0f} ms")
    )


def print_report(as_json: bool, content: dict[str, Any], lines: Iterable[str]) -> None:
    """Print a result: `content` as JSON, or `lines` and the picture's file."""
    if content.get("plot") is not None:
        lines = [*lines, f"drawn in {content['plot']}"]
    lines = [json_text(content)] if as_json else map(printable, lines)
    print_result("\n".join(lines))
