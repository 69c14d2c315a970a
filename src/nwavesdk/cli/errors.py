"""Errors of the command `nwave`: whatever the user can cause becomes one line.

Design requirements:

- An error of the user is one line on standard error and exit code 2. With `--json`, standard output
  gets exactly one object, `{"error": text}`. An interrupt is one line and exit code 130; a run that
  SIGTERM ends, 143.
- An error that only a bug can cause keeps its traceback. So does every error in Python's
  development mode (`python -X dev`).
- The line shows no control character, whatever a name or a file contains.
"""

import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from nwavesdk.cli.help import write_commands
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import FileWriteError, printable
from nwavesdk.internal.processes import TERMINATED

__all__ = [
    "OneLineGroup",
    "error_text",
    "leave_standard_output",
    "open_standard_streams",
    "print_note",
]

USER_ERROR = 2
INTERRUPTED = 128 + 2  # as shells report a process that SIGINT ended
CLOSED_PIPE = 128 + 13  # the same for SIGPIPE

# Names that other libraries give to options; initials, as in --lr, need no entry.
SYNONYMS = {
    "arch": "net",
    "cuda": "accelerator",
    "dataset": "data",
    "device": "accelerator",
    "early-stopping": "patience",
    "fs": "sample-rate",
    "gpu": "accelerator",
    "input": "data",
    "layers": "hidden",
    "model": "net",
    "network": "net",
    "output": "out",
    "units": "hidden",
}

# Similarity of two options from which one is a misspelling of the other.
CLOSE = 0.75

# More letters than this would hide what matters; the middle is left out.
MOST_LETTERS = 2000

# Typer brings a copy of click, or depends on it: the class has no public name in both cases.
UsageError: type[Any] = typer.BadParameter.__mro__[1]


class OneLineGroup(TyperGroup):
    """The root command: it runs a command and ends each error of the user in one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # typer passes it
        """Write the commands to the help by group."""
        write_commands(self.commands, formatter)

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run the command that the words name, and exit with its code."""
        words = list(sys.argv[1:] if args is None else args)
        with _plain_output():
            code = self._run(words)
        sys.exit(code)

    def _run(self, words: list[str]) -> int:
        try:
            _check_words(words)
            with self.make_context("nwave", list(words)) as context:
                self.invoke(context)
        except typer.Exit as end:
            return end.exit_code
        except BrokenPipeError:
            leave_standard_output()
            return CLOSED_PIPE
        except KeyboardInterrupt:
            return _report("interrupted", words, INTERRUPTED)
        except SystemExit as end:
            # A run ends like this; it has printed how to continue it.
            if end.code == TERMINATED:
                return _report("", words, TERMINATED)
            if not isinstance(end.__context__, KeyboardInterrupt):
                raise
            return _report("", words, INTERRUPTED)
        except Exception as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()  # type: ignore[attr-defined]  # a usage error whose text is the help
                return USER_ERROR
            text = error_text(error, words)
            if text is None or sys.flags.dev_mode:
                raise
            return _report(text, words, USER_ERROR)
        return 0


def error_text(error: Exception, words: Sequence[str] = ()) -> str | None:
    """What the user can do about an error, in one line; None if only a bug can cause it.

    Args:
        error: The error.
        words: The words of the command line.
    """
    if isinstance(error, UsageError):
        text = _usage_text(error, words)
    elif _is_out_of_memory(error):
        reason = str(error) or type(error).__name__
        text = f"memory does not suffice ({reason}): use a smaller net, batch or set of recordings."
    elif isinstance(error, BrokenExecutor):
        text = "a process was killed, perhaps for its memory: give the command again."
    elif isinstance(error, OSError) and error.strerror and not isinstance(error, FileWriteError):
        name = error.filename if error.filename is not None else "a file"
        name = os.fsdecode(name) if isinstance(name, (str, bytes)) else name
        text = f"{name} cannot be used ({error.strerror}): check its name, permissions and disk."
    elif isinstance(error, (ValueError, OSError, ModuleNotFoundError)) or _is_ours(error):
        text = str(error)
    else:
        return None
    line = printable(" ".join(text.split()))
    half = MOST_LETTERS // 2
    return line if len(line) <= MOST_LETTERS else f"{line[:half]} … {line[-half:]}"


def print_note(text: object) -> None:
    """Print a line on standard error: progress, or something to know besides the result."""
    print(printable(text), file=sys.stderr, flush=True)


def open_standard_streams() -> None:
    """Open the standard streams that the caller has closed, so that no file takes their place.

    Otherwise the next file that is opened would receive what libraries print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # as above


def _is_ours(error: Exception) -> bool:
    """Whether a class of this package, such as `BrokenRunError`, describes what to do."""
    return type(error).__module__.startswith("nwavesdk.")


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    is_of_torch = isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "out of memory" in text
    )
    return is_of_torch or isinstance(error, MemoryError)


def _usage_text(error: Any, words: Sequence[str]) -> str:
    """An error of typer: the option as typed, what it got, and what is wrong."""
    from nwavesdk.internal.model import plain_text

    # The parser of a command does not name it.
    is_named = error.ctx is None and words and not words[0].startswith("-")
    command = error.ctx.command_path if error.ctx else "nwave" + f" {words[0]}" * bool(is_named)
    parameter = getattr(error, "param", None)
    if type(error).__name__ == "NoSuchOption":
        options = error.ctx.command.get_params(error.ctx) if error.ctx else []
        known = [name for option in options for name in option.opts if name.startswith("--")]
        close = " or ".join(_close_options(error.option_name, known))
        text = f"no such option: {error.option_name}" + (
            f", did you mean {close}?" if close else ""
        )
    elif parameter is None:
        text = _lower(error.format_message())
    elif type(error).__name__ == "MissingParameter":
        text = f"{_typed_name(parameter)}: missing"
    else:
        name = _typed_name(parameter)
        value = _typed_value(name, words)
        message = plain_text(error.message).rstrip(".")
        if value is not None and value.lower() == "nan" and message.startswith("expected at "):
            message = "expected a finite number"  # NaN is neither above nor below a bound
        is_shown = value is None or re.search(rf"(?<![\w.]){re.escape(value)}(?!\w)", message)
        text = f"{name}: {_lower(message)}" + ("" if is_shown else f" (got {shown(value)})")
    return f"{text.rstrip('.')} (see `{command} --help`)."


def _close_options(name: str, options: Sequence[str]) -> list[str]:
    """The options that a mistyped name probably means, closest kind first; often none.

    Example:
        >>> options = ["--clip", "--batch-size", "--learning-rate", "--accelerator"]
        >>> [_close_options(name, options) for name in ("--lr", "--device", "--batch", "--verbose")]
        [['--learning-rate'], ['--accelerator'], ['--batch-size'], []]
    """
    word = name.lstrip("-").lower().replace("_", "-")
    words = {option: option.removeprefix("--") for option in options}
    parts = {option: text.split("-") for option, text in words.items()}
    tests: tuple[Callable[[str], bool], ...] = (
        lambda option: words[option] == SYNONYMS.get(word),
        lambda option: "".join(part[0] for part in parts[option]) == word != words[option][:1],
        lambda option: words[option] in get_close_matches(word, words.values(), 3, CLOSE),
        lambda option: len(word) > 2 and words[option].startswith(word),
        lambda option: not ({*word.split("-")} - {"no"}).isdisjoint(parts[option]),
    )
    for is_close in tests:
        if close := [option for option in options if is_close(option)]:
            return close
    return []


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _typed_name(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    return str(max(parameter.opts, key=len) if is_option else parameter.metavar)


def _typed_value(option: str, words: Sequence[str]) -> str | None:
    """The last value that the words give to an option."""
    values = [after for word, after in pairwise(words) if word == option]
    values += [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
    return values[-1] if values else None


def _check_words(words: Sequence[str]) -> None:
    """Reject empty values, which would name the current folder or nothing.

    Raises:
        ValueError: If there is one; the text names its option.
    """
    for before, word in pairwise(["nwave", *words]):
        option, _, value = word.partition("=")
        if option.startswith("--") and "=" in word and not value:
            raise ValueError(f"{option}: got an empty value, expected a text.")
        if not word:
            raise ValueError(f"{before}: the word after it is empty, expected a text.")


def _report(text: str, words: Sequence[str], code: int) -> int:
    """Print an error and return the exit code."""
    options = words[: words.index("--")] if "--" in words else words
    with suppress(OSError):
        if text:
            print_note(f"nwave: {text}")
    with suppress(OSError):
        if "--json" in options:
            print(json.dumps({"error": text or "interrupted"}), flush=True)
        return code
    leave_standard_output()
    return code


def leave_standard_output() -> None:
    """Write what follows nowhere, so that Python's own flush at the end does not fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _plain_output() -> Iterator[None]:
    """Print warnings on one line, and letters that a stream does not have as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        yield


def _show_warning(message: object, *_: object, **__: object) -> None:
    print_note(f"nwave: warning: {' '.join(str(message).split())}")
