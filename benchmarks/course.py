"""How much code a recording passes through, from `nwave train --data FOLDER` to its report.

Run: python -m benchmarks.course [--list ran]

One run of two epochs on a folder of eight sounds is traced. A function is counted if it belongs to
`nwavesdk.cli`, `nwavesdk.train`, `nwavesdk.data` or `nwavesdk.presets` and is called at least once
in the main thread, after all imports. Constructors count. Not counted are what a reader sees at the
place of use or in a class: properties, other special methods, lambdas, comprehensions, and
pydantic's validators and serializers; and what a function of a picture calls, in files named
`pictures`. The caller of a function is the nearest counted function on the stack, also through
Lightning and torch.

Three sets of functions are printed, each with its number of files:

- `hands-over`: functions that call a counted function in another file. A person who follows a
  recording reads these, because each of them decides where it goes next.
- `calls`: functions that call another counted function: those above, and steps within a file.
- `ran`: all counted functions; the further ones are leaves, which a name can stand for.

`--list` names the functions of a set, by file in the order of their first call. The last lines are
the share of functions with more than 40 lines, docstrings aside.
"""

import ast
import contextlib
import importlib
import io
import os
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Annotated, Any, NamedTuple
from unittest import mock

import numpy as np
import typer

import nwavesdk

__all__ = [
    "Course",
    "Function",
    "import_all",
    "list_lines",
    "long_share",
    "main",
    "trace",
    "trace_training",
]

SOURCE = Path(nwavesdk.__file__).parent
PACKAGES = ("cli", "train", "data", "presets")

SETS = ("hands-over", "calls", "ran")

RATE = 8000  # Hz
RECORDINGS = 4  # of each class

MAX_LINES = 40

# Parts of the names of decorators whose functions are fields or checks of a class.
OF_A_CLASS = ("property", "validator", "serializer")


class Function(NamedTuple):
    """A function: its file below `src/nwavesdk`, its qualified name, and its first line."""

    file: str
    name: str
    line: int


@dataclass
class Course:
    """The counted functions of a run.

    Attributes:
        ran: All functions, in the order of their first call.
        calls: Pairs of a caller and another function that it calls.
    """

    ran: dict[Function, None] = field(default_factory=dict)
    calls: set[tuple[Function, Function]] = field(default_factory=set)

    def functions(self, name: str) -> list[Function]:
        """The functions of a set: `"ran"`, `"calls"` or `"hands-over"`."""
        if name == "ran":
            return list(self.ran)
        is_between_files = name == "hands-over"
        callers = {
            caller
            for caller, called in self.calls
            if not is_between_files or caller.file != called.file
        }
        return [function for function in self.ran if function in callers]


def import_all() -> None:
    """Import all modules of the packages, except those that need an extra that is missing."""
    for package in PACKAGES:
        module = importlib.import_module(f"nwavesdk.{package}")
        for info in pkgutil.walk_packages(module.__path__, f"{module.__name__}."):
            with contextlib.suppress(ImportError):
                importlib.import_module(info.name)


def trace(call: Callable[[], Any]) -> Course:
    """Call something in this thread, and record which functions run."""
    course = Course()

    def record(frame: FrameType, event: str, _: object) -> None:
        if event != "call" or (function := counted(frame.f_code)) is None:
            return

        caller = next((above for above in _functions_above(frame) if above in course.ran), None)
        if caller is not None:
            if "pictures" in Path(caller.file).stem:
                return
            if caller != function:
                course.calls.add((caller, function))
        course.ran.setdefault(function)

    sys.setprofile(record)
    try:
        call()
    finally:
        sys.setprofile(None)
    return course


def _functions_above(frame: FrameType) -> Iterator[Function | None]:
    """The functions that wait for a frame, the nearest first."""
    above = frame.f_back
    while above is not None:
        yield counted(above.f_code)
        above = above.f_back


@cache
def counted(code: CodeType) -> Function | None:
    """The function of some code, if it is counted."""
    path = Path(code.co_filename)
    if not path.is_relative_to(SOURCE):
        return None
    file = path.relative_to(SOURCE)
    node = _definitions(path).get(code.co_firstlineno) if file.parts[0] in PACKAGES else None
    # A lambda or comprehension in the line of a definition has a name of its own.
    if node is None or node.name != code.co_name:
        return None

    is_special = node.name.startswith("__") and node.name != "__init__"
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    if is_special or any(word in decorators for word in OF_A_CLASS):
        return None
    return Function(file.as_posix(), code.co_qualname, code.co_firstlineno)


@cache
def _definitions(path: Path) -> dict[int, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions in a file by their first line, which may be a decorator."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {
        min(line.lineno for line in (node, *node.decorator_list)): node
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def long_share(packages: Iterable[str]) -> tuple[int, int]:
    """How many functions of some packages have more than 40 lines, docstrings aside, and of all."""
    lengths = [
        _n_lines(node) - _docstring_lines(node)
        for package in packages
        for path in (SOURCE / package).rglob("*.py")
        for node in _definitions(path).values()
    ]
    return sum(length > MAX_LINES for length in lengths), len(lengths)


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    has_docstring = ast.get_docstring(node, clean=False) is not None
    return _n_lines(node.body[0]) if has_docstring else 0


def _n_lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None  # parsed text has positions
    return node.end_lineno - node.lineno + 1


def make_sounds(folder: Path) -> None:
    """Write sounds of two classes: noise that becomes louder, or softer."""
    import soundfile

    random = np.random.default_rng(0)
    for name, ramp in (("rising", slice(None)), ("falling", slice(None, None, -1))):
        (folder / name).mkdir(parents=True)
        for index in range(RECORDINGS):
            loudness = np.linspace(0, 0.5, RATE // 5)[ramp]
            sound = loudness * random.uniform(-1, 1, len(loudness))
            soundfile.write(folder / name / f"{index}.wav", sound, RATE)


def train(folder: Path) -> None:
    """Train on new sounds by the command, which must succeed; its output is dropped."""
    from nwavesdk.cli.app import app as nwave

    make_sounds(folder / "sounds")
    words = ["train", "--out", str(folder / "run"), "--data", str(folder / "sounds")]
    output = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["nwave", *words, "--epochs", "2", "--accelerator", "cpu"]),
        # With frames from an earlier call in a cache, fewer functions would run.
        mock.patch("nwavesdk.data.chip_front_end.USER_CACHES", str(folder)),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        for name in ("NWAVESDK_CACHE", "XDG_CACHE_HOME"):
            os.environ.pop(name, None)
        try:
            nwave()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"nwave {' '.join(words)}: {output.getvalue()}") from None


def trace_training() -> Course:
    """The functions of one run."""
    import_all()
    with tempfile.TemporaryDirectory() as folder:
        return trace(lambda: train(Path(folder)))


def list_lines(functions: Sequence[Function]) -> list[str]:
    """The names of functions by file."""
    lines = []
    for file in dict.fromkeys(function.file for function in functions):
        names = [function.name for function in functions if function.file == file]
        lines.append(f"  {file}  {', '.join(names)}")
    return lines


def main(
    listed: Annotated[
        str, typer.Option("--list", help=f"The set to list: {', '.join(SETS)}.")
    ] = "hands-over",
) -> None:
    """Count the functions from `nwave train --data FOLDER` to the report."""
    if listed not in SETS:
        raise typer.BadParameter(f"--list: got {listed!r}, expected one of {', '.join(SETS)}")
    course = trace_training()
    for name in SETS:
        functions = course.functions(name)
        n_files = len({function.file for function in functions})
        print(f"{name:10}  {len(functions):3} functions in {n_files:2} files")
    for package in PACKAGES:
        ran = [function for function in course.ran if function.file.startswith(f"{package}/")]
        print(f"{package:10}  {len(ran):3} of them ran, in {len({f.file for f in ran})} files")

    print(f"\n{listed}:", *list_lines(course.functions(listed)), sep="\n")
    for packages in (("cli", "presets", "train"), ("",)):
        n_long, n_all = long_share(packages)
        title = ", ".join(packages) or "all of nwavesdk"
        print(
            f"{title}: {n_long} of {n_all} functions above {MAX_LINES} lines, {n_long / n_all:.1%}"
        )


if __name__ == "__main__":
    typer.run(main)
