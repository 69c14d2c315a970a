"""A Python file that builds a net: a page of this package, or the user's.

Design requirements:

- Only the file that the user gives is run, after its hash was compared with that of the run.
- What is wrong in the file ends in one line, which begins with the file and the line.
"""

import inspect
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
from nwavesdk.presets import NAMES
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.nets import NetPage

__all__ = [
    "NetChoice",
    "NetFileError",
    "load_function",
    "load_layer",
    "load_module",
    "located",
    "match_page",
]

# What `build` gets.
ARGUMENTS = "(inputs, classes, config)"

# What functions take as the file of a net; for a run of a preset, also its name.
NetChoice = str | os.PathLike[str] | Mapping[str, str]


class NetFileError(ValueError):
    """Something is wrong in the file of a net; the text begins with file and line."""


def match_page(config: CompletedConfig, given: NetChoice | None, run: Path) -> CompletedConfig:
    """The config of a run with the place where the file that builds its net is now.

    A run never gives the user's file itself: its config may come from anywhere, and a file is
    code. The page of a preset is that of this package, if the run began with it.

    Args:
        config: The config of the run.
        given: The file as the user gives it, or the name of the run's preset, or None.
        run: The folder of the run, for messages.

    Raises:
        ValueError: If a file is missing or is not the file of the run.
    """
    recorded, name = config.page, config.net.name
    if given in NAMES and given != name:
        raise ValueError(
            f"--net: {printable(run)} has the net {name}, got {given}: remove --net (net=), or "
            "begin a new run."
        )
    if isinstance(given, Mapping):
        page = NetPage.of(given)
    elif given is not None and given != name:
        try:
            page = NetPage.parse(os.fspath(given))
        except ValueError as error:
            raise ValueError(f"--net: {error}") from None
    elif name != "file":
        page = NetPage.of_preset(name)
    else:
        raise ValueError(
            f"--net: missing, {printable(run)} has a net from a file, expected --net "
            f"{recorded.name} (net=), with the SHA-256 {recorded.sha256[:12]}…: pass the file, "
            f"whose text is in {printable(run / 'net.py')}."
        )
    for field in ("sha256", "function"):
        got, expected = getattr(page, field), getattr(recorded, field)
        if got != expected:
            raise ValueError(
                f"--net: {printable(page.file)} is not what {printable(run)} began with, got the "
                f"{field} {shown(got)}, expected {shown(expected)}: pass --net "
                f"{printable(run / 'net.py')}:{recorded.function} (net=), or begin a new run."
            )
    return config.model_copy(update={"page": page})


def load_function(net_file: NetPage) -> Callable[..., Any]:
    """The function of the file that builds the net.

    Raises:
        NetFileError: If it is missing or takes other arguments.
        ValueError: If the file has changed.
    """
    module = load_module(net_file)
    name = net_file.function
    function = vars(module).get(name)
    if not inspect.isfunction(function):
        problem = "is missing" if function is None else f"is of type {type(function).__name__}"
        raise NetFileError(
            f"{printable(net_file.file)}:1: the function {name} {problem}, expected def "
            f"{name}{ARGUMENTS}: add it, or name another one, as in --net FILE.py:NAME."
        )
    signature = inspect.signature(function)
    try:
        signature.bind((), 0, None)
    except TypeError:
        line = function.__code__.co_firstlineno
        raise NetFileError(
            f"{printable(net_file.file)}:{line}: got {name}{signature}, expected "
            f"{name}{ARGUMENTS}: change its parameters."
        ) from None
    return function


def load_layer(net_file: NetPage) -> type[EquationLayer]:
    """The layer of the file that `neuron` made; its name is the `function` of the config.

    Raises:
        NetFileError: If it is missing or is something else.
        ValueError: If the file has changed.
    """
    layers = {
        name: value
        for name, value in vars(load_module(net_file)).items()
        if isinstance(value, type) and issubclass(value, EquationLayer) and hasattr(value, "page")
    }
    name = net_file.function
    if name not in layers:
        known = f"one of {', '.join(layers)}" if layers else "a function under @neuron"
        raise NetFileError(
            f"{printable(net_file.file)}:1: there is no layer {name}, expected {known}: name it, "
            "as in FILE.py:NAME."
        )
    return layers[name]


def load_module(net_file: NetPage) -> ModuleType:
    """The module of the file, registered under a name of its hash.

    Pickles of its classes can be read in any process that has called this.

    Raises:
        NetFileError: If the file raises.
        ValueError: If the file has changed.
    """
    name = f"nwave_net_{net_file.sha256[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    content = net_file.content()
    module = ModuleType(name)
    module.__file__ = net_file.file
    sys.modules[name] = module
    try:
        exec(compile(content, net_file.file, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
        default = f"{printable(net_file.file)}:{line or 1}"
        raise located(error, net_file, "the file failed", default) from error
    return module


def located(
    error: Exception | SystemExit, net_file: NetPage, what: str, default: str
) -> NetFileError:
    """An error with the last line of the file that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == net_file.file]
    place = f"{printable(net_file.file)}:{lines[-1]}" if lines else default
    reason = one_line(error) if isinstance(error, Exception) else str(error)
    return NetFileError(f"{place}: {what} ({type(error).__name__}: {reason}).")
