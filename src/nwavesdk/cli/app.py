"""The command's root, and what its commands share: options, and errors of the user in one line."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from nwavesdk import __version__

__all__ = ["Json", "RunPath", "app", "as_png", "main", "split_commas", "user_errors"]

app = typer.Typer(
    name="nwave",
    help="Spiking neural networks with surrogate gradients: train, evaluate, look, deploy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


def main() -> None:
    """Entry point of the console script."""
    app()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


MENDABLE = (ValueError, OSError, ModuleNotFoundError)


@contextlib.contextmanager
def user_errors(as_json: bool, kinds: tuple[type[Exception], ...] = MENDABLE) -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2; anything else keeps its traceback.

    Args:
        as_json: Tell it on standard output, too.
        kinds: Of errors that the user can mend.
    """
    try:
        yield
    except kinds as error:
        text = " ".join(str(error).split())
        print(f"nwave: {text}", file=sys.stderr)
        if as_json:
            print(json.dumps({"error": text}))
        raise typer.Exit(2) from None


def as_png(path: Path | None) -> Path | None:
    """Where a picture goes.

    Raises:
        ValueError: The name is that of another kind of picture.
    """
    if path is not None and path.suffix.lower() != ".png":
        raise ValueError(
            f"--plot: pictures are PNG files, got {path.name!r}, expected a name that ends in .png."
        )
    return path


def split_commas(text: str) -> list[str]:
    """Cut at the commas outside of brackets: surrogates have commas within.

    Example:
        >>> split_commas("fast_sigmoid, s2nn(4,1)")
        ['fast_sigmoid', 's2nn(4,1)']
    """
    found, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [part.strip() for part in found if part.strip()]
