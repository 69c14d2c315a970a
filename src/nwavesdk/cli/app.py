"""The root of the command `nwave`, and what its commands share: options and output."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk import __version__
from nwavesdk.cli.errors import OneLineGroup, leave_standard_output, open_standard_streams
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import check_folder, check_target, printable

__all__ = [
    "Json",
    "NetFile",
    "NoPlot",
    "RunPath",
    "app",
    "check_spares_run",
    "checked_option",
    "file_option",
    "folder_option",
    "main",
    "no_plot_option",
    "picture_lines",
    "picture_option",
    "print_report",
    "split_commas",
]

# Studies and scans of more parts than this are a mistake.
MOST_PARTS = 100

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
NetFile = Annotated[
    str | None,
    typer.Option(
        "--net",
        metavar="FILE.py:build",
        help="The file that builds the net, of a run that was trained with one.",
    ),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


def checked_option(
    *names: str,
    checks: Sequence[Callable[[Any], None]] = (),
    excludes: Sequence[str] = (),
    **settings: Any,
) -> Any:
    """An option whose value is checked before any work.

    Args:
        names: The option as typed, if it differs from the parameter.
        checks: Functions that raise a ValueError if the value is bad.
        excludes: Parameters of options that have no effect together with this one. The option that
            comes last on the command line rejects the other, so each names the other.
        settings: Further arguments of `typer.Option`.
    """

    def check(context: typer.Context, value: Any) -> Any:
        if not value:
            return value
        if str(value).startswith("--"):
            raise typer.BadParameter(f"got {shown(str(value))}, expected a name (or ./ before it)")
        for check_value in checks:
            try:
                check_value(value)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
        for name in excludes:
            if context.params.get(name):
                other = f"--{name.replace('_', '-')}"
                raise typer.BadParameter(f"has no effect with {other}: leave one of them out")
        return value

    return typer.Option(*names, callback=check, **settings)


def file_option(help_text: str, excludes: Sequence[str] = ("no_plot",)) -> Any:
    """An option that names a file to write."""
    return checked_option(metavar="FILE", help=help_text, checks=[_check_file], excludes=excludes)


def picture_option(help_text: str) -> Any:
    """An option that names a picture to write."""
    checks = [_check_png, _check_file]
    return checked_option(metavar="FILE", help=help_text, checks=checks, excludes=["no_plot"])


def folder_option(help_text: str, *names: str) -> Any:
    """An option that names a folder to write; `names` are as in `checked_option`."""
    return checked_option(*names, metavar="DIR", help=help_text, checks=[check_folder])


def no_plot_option(help_text: str) -> Any:
    """The option that turns off the picture, and the page, of a command."""
    return checked_option("--no-plot", help=help_text, excludes=["plot", "page"])


NoPlot = Annotated[bool, no_plot_option("Write no picture.")]


def _check_file(path: Path) -> None:
    check_target(path)


def _check_png(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise ValueError(
            f"pictures are PNG files, got {str(path)!r}, expected a name that ends in .png"
        )


def check_spares_run(option: str, path: Path | None, run: Path) -> None:
    """Reject an output that would replace a file of a run.

    Raises:
        ValueError: If it would; the text names the option.
    """
    from nwavesdk.train import RunFolder

    files = vars(RunFolder(Path(os.path.realpath(run)))).values()
    if path is not None and Path(os.path.realpath(path)) in files:
        raise ValueError(f"{option}: {path} belongs to the run, expected another file.")


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
        leave_standard_output()  # it still holds the text, which Python would write at the end
        raise OSError(error.errno, error.strerror, "standard output") from None


def picture_lines(picture: Path | None) -> list[str]:
    """The line of a report that names its picture, if there is one."""
    return [] if picture is None else [f"drawn in {picture}"]


def split_commas(option: str, text: str) -> list[str]:
    """Split at the commas outside of parentheses: the parameters of surrogates have commas, too.

    Args:
        option: The option as typed, for the error.
        text: Its value.

    Raises:
        ValueError: If a part is empty, or if there are more than `MOST_PARTS`.

    Example:
        >>> split_commas("--surrogates", "fast_sigmoid, s2nn(4,1)")
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
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise ValueError(f"{option}: got {shown(text)}, expected a name between all commas.")
    if len(parts) > MOST_PARTS:
        raise ValueError(f"{option}: got {len(parts)} names, expected at most {MOST_PARTS}.")
    return parts
