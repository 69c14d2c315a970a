"""The root of the command `nwave`, and what its commands share: options and output."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk import __version__
from nwavesdk.cli.errors import OneLineGroup, open_standard_streams
from nwavesdk.internal.files import printable

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
]

app = typer.Typer(
    name="nwave",
    cls=OneLineGroup,
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
    open_standard_streams()
    app()


@app.callback(invoke_without_command=True)
def _print_version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def print_report(as_json: bool, content: dict[str, Any], lines: Iterable[str]) -> None:
    """Print a result: `content` as JSON with paths as text, or `lines`."""
    text = "\n".join(map(printable, lines))
    try:
        print(json.dumps(content, default=os.fspath) if as_json else text, flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has enough
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


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
