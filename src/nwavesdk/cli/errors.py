"""Errors of the command `nwave`: whatever the user can cause becomes one line.

Design requirements:

- An error of the user is one line on standard error and exit code 2. With `--json`, standard output
  gets exactly one object, `{"error": text}`. An interrupt is one line and exit code 130; a run that
  SIGTERM ends, 143.
- An error that only a bug can cause keeps its traceback. So does every error in Python's
  development mode (`python -X dev`).
- The line shows no control character, whatever a name or a file contains.
"""

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from nwavesdk.internal.files import FileWriteError, printable
from nwavesdk.internal.processes import AUTO, LOCAL

__all__ = [
    "OneLineGroup",
    "checked_words",
    "error_text",
    "open_standard_streams",
    "print_note",
    "print_result",
]

USER_ERROR = 2
INTERRUPTED = 128 + 2  # as shells report a process that SIGINT ended
CLOSED_PIPE = 128 + 13  # the same for SIGPIPE

# Groups of the help of `nwave`, in their order, with their commands.
GROUPS = {
    "Train": ("train", "tune", "compare"),
    "Use": ("eval", "predict", "detect"),
    "Look into": ("data", "net", "neurons", "surrogates", "diagnose", "slopes"),
    "Chip": ("check", "map", "chips"),
    "Exchange": ("export", "import", "nir"),
    "This machine": ("info", "kernels"),
}

# Names that other libraries give to options.
SYNONYMS = {
    "arch": "net",
    "bs": "batch-size",
    "cuda": "accelerator",
    "dataset": "data",
    "device": "accelerator",
    "early-stopping": "patience",
    "fs": "sample-rate",
    "gpu": "accelerator",
    "input": "data",
    "layers": "hidden",
    "lr": "learning-rate",
    "model": "net",
    "network": "net",
    "neuron-options": "constants",
    "output": "out",
    "units": "hidden",
    "wd": "weight-decay",
}

# Options that earlier versions had, with the new way.
REMOVED = {
    "nwave tune --resume": ", the same command continues a search, also with DIR/tune.json as "
    "CONFIG"
}

# The middle of a longer line is omitted, because it would hide the important parts.
MAX_LETTERS = 2000

OUT_OF_MEMORY = re.compile("can't allocate memory|out of memory", re.IGNORECASE)

# Standard output while it is reserved for the result.
_reserved: list[TextIO] = []

# Typer brings a copy of click, or depends on it. The class has no public name in either case.
UsageError: type[Any] = typer.BadParameter.__mro__[1]


class OneLineGroup(TyperGroup):
    """The root command: it runs a command and ends each error of the user in one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # typer passes it
        """Write each group of commands, with the first clause of their descriptions."""
        width = max(map(len, self.commands))
        for title, names in GROUPS.items():
            lines = []
            for name in names:
                description, _, _ = self.commands[name].get_short_help_str(1000).partition(";")
                lines.append((name.ljust(width), f"{description.rstrip('.')}."))
            with formatter.section(title):
                formatter.write_dl(lines)

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run the command that the words name, and exit with its code."""
        words = list(sys.argv[1:] if args is None else args)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            with _reserved_output("--json" in words):
                code = self._run(words)
            sys.exit(code)

    def _run(self, words: list[str]) -> Any:
        try:
            with self.make_context("nwave", checked_words(words) or ["--help"]) as context:
                self.invoke(context)
        except typer.Exit as end:
            return end.exit_code
        except BrokenPipeError:
            return _report("", [], CLOSED_PIPE)
        except KeyboardInterrupt:
            return _report("interrupted", words, INTERRUPTED)
        except SystemExit as end:
            # A terminated run ends like this, and has printed how to continue it. Lightning ends an
            # interrupt with its own code.
            is_interrupt = isinstance(end.__context__, KeyboardInterrupt)
            return _report("", words, INTERRUPTED if is_interrupt else end.code)
        except Exception as error:
            text = error_text(error)
            if text is None or sys.flags.dev_mode:
                raise
            return _report(text, words, USER_ERROR)
        return 0


def error_text(error: Exception) -> str | None:
    """An error and its remedy for the user, in one line; None if only a bug can cause it."""
    text = str(error)
    if isinstance(error, UsageError):
        text = _usage_text(error)
    elif isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(text)
    ):
        text = (
            f"memory does not suffice ({text or 'MemoryError'}): use a smaller net, batch or set "
            "of recordings."
        )
    elif isinstance(error, OSError) and error.strerror and not isinstance(error, FileWriteError):
        name = os.fsdecode(error.filename or "standard output or a file")
        text = f"{name} cannot be used ({error.strerror}): check its name, permissions and disk."
    elif not (
        isinstance(error, (ValueError, OSError, ModuleNotFoundError))
        # Classes of this package, such as `BrokenRunError`, have a remedy in their text.
        or type(error).__module__.startswith("nwavesdk.")
    ):
        return None

    line = printable(" ".join(text.split()))
    if len(line) <= MAX_LETTERS:
        return line
    return f"{line[: MAX_LETTERS // 2]} … {line[-MAX_LETTERS // 2 :]}"


def _usage_text(error: Any) -> str:
    """An error of typer: the option as typed, its value, and the fault."""
    from pydantic import ValidationError

    from nwavesdk.internal.model import describe_errors

    text = error.message[:1].lower() + error.message[1:].rstrip(".")

    if type(error).__name__ == "NoSuchOption":
        word = error.option_name.lstrip("-")
        names = [name for option in error.ctx.command.get_params(error.ctx) for name in option.opts]
        close = get_close_matches(f"--{SYNONYMS.get(word, word)}", names, n=1, cutoff=0.7)
        text += "".join(f", did you mean {name}?" for name in close)
        text += REMOVED.get(f"{error.ctx.command_path} {error.option_name}", "")
    elif isinstance(error, typer.BadParameter):
        name = error.param.get_error_hint().partition(" / ")[0].strip("'")  # type: ignore[union-attr]  # typer sets it
        text = f"{name}: {error.message or 'missing'}"
        if isinstance(error.__cause__, ValidationError):  # typer checks types by pydantic
            text = describe_errors(error.__cause__, name=name)

    command = error.ctx.command_path if error.ctx else "nwave"
    return f"{text} (see `{command} --help`)."


def checked_words(words: Sequence[str]) -> list[str]:
    """The words of a command line, with an address in each `--ray` that none follows.

    Raises:
        ValueError: If a value is empty, which would name the current folder or nothing; the text
            names its option.

    Example:
        >>> checked_words(["--ray", "--json", "--ray", "host:6379", "--ray", "runs/chip"])
        ['--ray=local', '--json', '--ray', 'host:6379', '--ray=local', 'runs/chip']
    """
    for before, word in pairwise(["nwave", *words]):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise ValueError(
                f"{word.rstrip('=') or before}: an empty text follows, expected a value."
            )

    # A word with a colon is an address, even if there is a mistake in it.
    return [
        f"--ray={LOCAL}"
        if word == "--ray" and following not in (AUTO, LOCAL) and ":" not in following
        else word
        for word, following in pairwise([*words, ""])
    ]


def _report(text: str, words: Sequence[str], code: Any) -> Any:
    """Print an error and return the exit code."""
    with suppress(OSError):
        if text:
            print_note(f"nwave: {text}")
    try:
        if "--json" in words:
            print_result(json.dumps({"error": text or "interrupted"}))
        sys.stdout.flush()
    except (OSError, ValueError):
        # The rest of the output is discarded: otherwise Python's flush at the end would fail again.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), _output().fileno())
    return code


@contextmanager
def _reserved_output(is_reserved: bool) -> Iterator[None]:
    """Keep standard output for `print_result`: the user's own files may print anything."""
    if not is_reserved:
        yield
        return
    _reserved.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _reserved.pop()


def _output() -> TextIO:
    return _reserved[-1] if _reserved else sys.stdout


def print_result(text: str) -> None:
    """Print the result of a command on standard output."""
    print(text, file=_output(), flush=True)


def print_note(text: object) -> None:
    """Print a line on standard error: progress, or a remark next to the result."""
    print(printable(text), file=sys.stderr, flush=True)


def _show_warning(message: object, *_: object, **__: object) -> None:
    print_note(f"nwave: warning: {' '.join(str(message).split())}")


def open_standard_streams() -> None:
    """Open the standard streams that the caller has closed, so that no file gets their numbers.

    Otherwise the output of libraries would go into the next file that is opened. Letters that a
    stream does not have are printed as escapes.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)

    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # as above

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # both are files
