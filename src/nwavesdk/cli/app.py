"""The root of the command `nwave`, and what its commands share: options, output and user errors."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk import __version__

__all__ = [
    "Json",
    "NoPlot",
    "RunPath",
    "app",
    "check_png",
    "file_option",
    "main",
    "picture_lines",
    "print_report",
    "split_commas",
    "user_errors",
]

app = typer.Typer(
    name="nwave",
    help="Spiking neural networks with surrogate gradients: train, evaluate, inspect, deploy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")
]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="Write no picture.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


def file_option(help_text: str) -> Any:
    """An option that takes the name of a file."""
    return typer.Option(metavar="FILE", help=help_text)


def main() -> None:
    """Entry point of the console script."""
    app()


@app.callback(invoke_without_command=True)
def _print_version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@contextlib.contextmanager
def user_errors(
    as_json: bool,
    kinds: tuple[type[Exception], ...] = (ValueError, OSError, ModuleNotFoundError),
) -> Iterator[None]:
    """Print errors that the user can fix on one line and exit with code 2.

    Any other error keeps its traceback.

    Args:
        as_json: Whether to print the error on standard output, too.
        kinds: Errors that the user can fix.
    """
    try:
        yield
    except kinds as error:
        text = " ".join(str(error).split())
        print(f"nwave: {text}", file=sys.stderr)
        if as_json:
            print(json.dumps({"error": text}))
        raise typer.Exit(2) from None


def print_report(as_json: bool, content: dict[str, Any], lines: Iterable[str]) -> None:
    """Print a result: `content` as JSON with paths as text, or `lines`."""
    print(json.dumps(content, default=os.fspath) if as_json else "\n".join(lines))


def picture_lines(picture: Path | None) -> list[str]:
    """The line of a report that names its picture, if there is one."""
    return [] if picture is None else [f"drawn in {picture}"]


def check_png(path: Path | None) -> Path | None:
    """The file of a picture.

    Raises:
        ValueError: If its name does not end in .png.
    """
    if path is not None and path.suffix.lower() != ".png":
        raise ValueError(
            f"--plot: pictures are PNG files, got {path.name!r}, expected a name that ends in .png."
        )
    return path


def split_commas(text: str) -> list[str]:
    """Split at the commas outside of parentheses: the parameters of surrogates have commas, too.

    Example:
        >>> split_commas("fast_sigmoid, s2nn(4,1)")
        ['fast_sigmoid', 's2nn(4,1)']
    """
    parts = [""]
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
