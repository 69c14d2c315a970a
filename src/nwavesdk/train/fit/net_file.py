"""A Python file that builds a net: a page of this package, or a file of the user.

Design requirements:

- Only a file that the user passes is run, after its hash was compared with the config of the run.
- An error in the file ends in one line, which begins with the file and the line, or with the file
  and the function.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import one_line, printable
from nwavesdk.layers.equation import EquationLayer
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.nets import NetPage

__all__ = [
    "NetChoice",
    "NetFileError",
    "load_function",
    "load_layer",
    "load_module",
    "locate_error",
    "match_page",
]

# The parameters of `build`, for errors.
ARGUMENTS = "(inputs, classes, config)"

# The file of a net, as functions take it; for a run of a preset, also the name of the preset.
NetChoice = str | os.PathLike[str] | Mapping[str, str]


class NetFileError(ValueError):
    """The file of a net has an error; the text begins with file and line."""


def match_page(config: CompletedConfig, given: NetChoice | None, run: Path) -> CompletedConfig:
    """The config of a run with the present path of the file that builds its net.

    The path in a config is never used, because a config may come from anywhere, and the file is
    code: the user must pass the file. For a preset, the page of this package is used, if the run
    began with the same page.

    Args:
        config: The config of the run.
        given: The file that the user passes, or the name of the run's preset, or None.
        run: The folder of the run, for messages.

    Raises:
        ValueError: If a file is missing or is not the file of the run.
    """
    recorded = config.page
    if given is None and config.net.name == "file":
        raise ValueError(
            f"--net: missing, {printable(run)} has a net from a file, expected --net "
            f"{recorded.name} (net=), with the SHA-256 {recorded.sha256[:12]}…: pass the file, "
            f"whose text is in {printable(run / 'net.py')}."
        )

    if isinstance(given, Mapping):
        page = NetPage.of(given)
    else:
        try:
            page = NetPage.parse(os.fspath(given or config.net.name))
        except ValueError as error:
            raise ValueError(f"--net: {error}") from None

    if (page.sha256, page.function) != (recorded.sha256, recorded.function):
        raise ValueError(
            f"--net: {printable(run)} began with {recorded.name}, SHA-256 {recorded.sha256[:12]}…, "
            f"got {page.name}, SHA-256 {page.sha256[:12]}…: pass --net "
            f"{printable(run / 'net.py')}:{recorded.function} (net=), or begin a new run."
        )
    return config.model_copy(update={"page": page})


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


def load_layer(page: NetPage) -> type[EquationLayer]:
    """The layer of the file that `neuron` made; its name is the `function` of the config.

    Raises:
        NetFileError: If the layer is missing.
        ValueError: If the file has changed.
    """
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
