"""A Python file that builds a net: a page of this package, or a file of the user.

Design requirements:

- Only a file that the user passes is run, after its hash was compared with the config of the run.
- An error in the file ends in one line, which begins with the file and the line, or with the file
  and the function.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field

from nwavesdk.internal.checks import close_name, shown
from nwavesdk.internal.files import one_line, printable, read_bytes
from nwavesdk.internal.model import FrozenModel
from nwavesdk.presets import NAMES, page_path

__all__ = [
    "NetFileError",
    "NetPage",
    "load_function",
    "load_layer",
    "load_module",
    "locate_error",
]

DEFAULT_FUNCTION = "build"

# Largest file of a net that is read [bytes].
MAX_BYTES = 2**20

# The parameters of `build`, for errors.
ARGUMENTS = "(inputs, classes, config)"


class NetFileError(ValueError):
    """The file of a net has an error; the text begins with file and line."""


class NetPage(FrozenModel):
    """A Python file with a function that builds a net: a page of this package, or the user's file.

    The hash was computed when the run began; the file may have moved since then.
    """

    file: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="Absolute path of the file."
    )
    function: str = Field(default=DEFAULT_FUNCTION, description="Name of the function.")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(description="Hash of the file.")

    @classmethod
    def parse(cls, text: str) -> "NetPage":
        """The page of a preset, or the file and the function of a text such as `"net.py:build"`.

        Raises:
            ValueError: If the text has another form, or the file cannot be read.
        """
        text = str(page_path(text)) if text in NAMES else text
        match = re.fullmatch(r"(?P<file>.+\.py)(:(?P<function>\w+))?", text)
        if match is None:
            raise ValueError(
                f"got {shown(text)}, expected one of {', '.join(NAMES)}, or a Python file "
                f"and its function, as in net.py:build{close_name(text, NAMES)}"
            )

        path = os.path.realpath(match["file"])
        function = match["function"] or DEFAULT_FUNCTION
        content = read_bytes(Path(path), MAX_BYTES)
        return cls(file=path, function=function, sha256=sha256(content).hexdigest())

    @property
    def name(self) -> str:
        """The name of the file and the function."""
        return printable(f"{Path(self.file).name}:{self.function}")

    def content(self) -> bytes:
        """The content of the file, which must still have its hash.

        Raises:
            ValueError: If it is missing or has changed.
        """
        content = read_bytes(Path(self.file), MAX_BYTES)
        got = sha256(content).hexdigest()
        if got != self.sha256:
            raise ValueError(
                f"{printable(self.file)} has changed: got SHA-256 {got[:12]}…, expected "
                f"{self.sha256[:12]}…: restore the file, or begin a new run."
            )
        return content


def load_function(page: NetPage) -> Callable[..., Any]:
    """The function of the file that builds the net.

    Raises:
        NetFileError: If the function is missing.
        ValueError: If the file has changed.
    """
    function: Callable[..., Any] | None = vars(load_module(page)).get(page.function)
    if not callable(function):
        raise NetFileError(
            f"{page.name}: got {shown(function)}, expected def {page.function}{ARGUMENTS}: write "
            "this function, or pass the name of your function, as in --net FILE.py:NAME."
        )
    return function


def load_layer(page: NetPage) -> type[Any]:
    """The layer of the file that `neuron` made; its name is the `function` of the config.

    Raises:
        NetFileError: If the layer is missing.
        ValueError: If the file has changed.
    """
    from nwavesdk.layers.equation import EquationLayer

    layers = {
        name: value
        for name, value in vars(load_module(page)).items()
        if isinstance(value, type) and issubclass(value, EquationLayer) and hasattr(value, "page")
    }
    name = page.function
    if name not in layers:
        known = f"one of {', '.join(layers)}" if layers else "a function under @neuron"
        raise NetFileError(
            f"{page.name}: there is no layer {name}, expected {known}: pass its name, "
            "as in FILE.py:NAME."
        )
    return layers[name]


def load_module(page: NetPage) -> ModuleType:
    """The module of the file, registered under a name with its hash.

    Any process that has called this function can unpickle objects of its classes.

    Raises:
        NetFileError: If the file raises.
        ValueError: If the file has changed.
    """
    name = f"nwave_net_{page.sha256[:16]}"
    if name in sys.modules:
        return sys.modules[name]

    content = page.content()
    module = ModuleType(name)
    module.__file__ = page.file
    sys.modules[name] = module
    try:
        exec(compile(content, page.file, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise locate_error(error, page, "the file failed") from error
    return module


def locate_error(error: BaseException, page: NetPage, problem: str) -> NetFileError:
    """An error as one line that begins with the last line of the file on its way.

    Args:
        error: The error.
        page: The file.
        problem: A sentence on the failure, such as "build failed".
    """
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == page.file]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)

    location = f"{printable(page.file)}:{lines[-1]}" if lines else page.name
    reason = one_line(error) if isinstance(error, Exception) else str(error)
    return NetFileError(f"{location}: {problem} ({type(error).__name__}: {reason}).")
