"""The file that builds the net of a run: where it is, its function, and its hash.

The module imports neither torch nor numba, and runs nothing of the file.
"""

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from nwavesdk.internal.checks import close_name, shown
from nwavesdk.internal.files import FileError, printable, read_bytes
from nwavesdk.internal.model import FrozenModel
from nwavesdk.presets import NAMES, PresetName, page_path

if TYPE_CHECKING:
    from nwavesdk.train.config import RunConfig

__all__ = ["NetChoice", "NetFileConfig", "match_net_file", "net_name", "page_of"]

DEFAULT_FUNCTION = "build"

# Largest file of a net that is read [bytes].
MOST_BYTES = 2**20


def net_name(config: "RunConfig") -> str:
    """The net of a run: its preset, its file and function, or "layers" in runs of before."""
    if config.net.preset is None and config.net_file is not None:
        return printable(f"{Path(config.net_file.file).name}:{config.net_file.function}")
    return config.net.preset or "layers"


class NetFileConfig(FrozenModel):
    """A Python file with a function that builds a net; a text is accepted, too: `"net.py:build"`.

    A text reads the file for its hash. The other fields of a run that is read are those of its
    begin, and the file may be elsewhere now.
    """

    file: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="Absolute path of the file."
    )
    function: str = Field(description="Name of the function.")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(description="Hash of the file.")

    @model_validator(mode="before")
    @classmethod
    def _parse_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(?P<file>.+\.py)(:(?P<function>\w+))?", value)
        if match is None:
            raise ValueError(
                f"got {shown(value)}, expected one of {', '.join(NAMES)}, or a Python file and its "
                f"function, as in net.py:build{close_name(value, NAMES)}"
            )
        path = os.path.realpath(match["file"])
        function = match["function"] or DEFAULT_FUNCTION
        return {"file": path, "function": function, "sha256": sha256(_read(path)).hexdigest()}

    def content(self) -> bytes:
        """The file, which is still the one that was hashed.

        Raises:
            ValueError: If it is missing or has changed.
        """
        content = _read(self.file)
        got = sha256(content).hexdigest()
        if got != self.sha256:
            raise ValueError(
                f"{printable(self.file)} has changed: got SHA-256 {got[:12]}…, expected "
                f"{self.sha256[:12]}…: restore the file, or begin a new run."
            )
        return content


# What functions take as the file of a net; for a run of a preset, also its name.
NetChoice = str | os.PathLike[str] | Mapping[str, str] | NetFileConfig


def page_of(preset: PresetName) -> NetFileConfig:
    """The page of a preset in this package as the file of a net."""
    return NetFileConfig.of(f"{page_path(preset)}:{DEFAULT_FUNCTION}", "--net")


def match_net_file(config: "RunConfig", given: NetChoice | None, run: Path) -> "RunConfig":
    """The config of a run with the place where the file of its net is now.

    A run never gives the file itself: its config may come from anywhere, and a file is code. The
    page of a preset is that of this package, as long as it is the one that the run began with.

    Args:
        config: The config of the run.
        given: The file as the user gives it, or the name of the run's preset, or None.
        run: The folder of the run, for messages.

    Raises:
        ValueError: If a file is missing, is not that of the run, or the run has none.
    """
    recorded = config.net_file
    preset = config.net.preset
    if given in NAMES and given != preset:
        has = "a net from a file" if preset is None and recorded is not None else "another net"
        raise ValueError(
            f"--net: {printable(run)} has {has}, got {given}, expected {preset or 'that file'}: "
            "leave --net (net=) out, or begin a new run."
        )
    if preset is not None and (given is None or given == preset):
        return _with_page(config, preset, run)
    if recorded is None:
        if given is not None:
            raise ValueError(
                f"--net: {printable(run)} has a net of layers of its options, got "
                f"{_name_of(given)}: leave --net (net=) out."
            )
        return config
    name = f"{Path(recorded.file).name}:{recorded.function}"
    if given is None:
        raise ValueError(
            f"--net: missing, {printable(run)} has a net from a file, expected --net "
            f"{printable(name)} (net=), with the SHA-256 {recorded.sha256[:12]}…: give the file, "
            f"whose text is in {printable(run / 'net.py')}."
        )
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    net_file = NetFileConfig.of(text, "--net")
    if net_file.sha256 != recorded.sha256:
        raise ValueError(
            f"--net: {printable(net_file.file)} is not the file of {printable(run)}, got SHA-256 "
            f"{net_file.sha256[:12]}…, expected {recorded.sha256[:12]}…: restore the text of "
            f"{printable(run / 'net.py')}, or begin a new run."
        )
    if net_file.function != recorded.function:
        raise ValueError(
            f"--net: another function than that of {printable(run)}, got {net_file.function}, "
            f"expected {printable(name)}: give that, or begin a new run."
        )
    return config.model_copy(update={"net_file": net_file})


def _with_page(config: "RunConfig", preset: PresetName, run: Path) -> "RunConfig":
    """The config of a run of a preset with the page in this package.

    Raises:
        ValueError: If the run began with another page.
    """
    recorded = config.net_file
    if recorded is None:  # a net of layers, or a run that has not begun
        return config
    page = page_of(preset)
    if page.sha256 != recorded.sha256:
        raise ValueError(
            f"--net: the page of {preset} has changed since {printable(run)} began, got SHA-256 "
            f"{page.sha256[:12]}…, expected {recorded.sha256[:12]}…: give the text of the run, "
            f"--net {printable(run / 'net.py')}:{page.function} (net=)."
        )
    return config.model_copy(update={"net_file": page})


def _name_of(given: NetChoice) -> str:
    """What the user gave, for messages."""
    if isinstance(given, Mapping):
        return shown(given.get("file"))
    if isinstance(given, NetFileConfig):
        return shown(given.file)
    return shown(os.fspath(given))


def _read(path: str) -> bytes:
    try:
        return read_bytes(Path(path), MOST_BYTES)
    except FileError as error:
        raise ValueError(f"{error}") from None
