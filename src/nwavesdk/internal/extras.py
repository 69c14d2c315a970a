"""Optional dependencies: import one, or say which `pip install` brings it."""

import re
import sys
from importlib import import_module, metadata
from typing import Any

__all__ = ["extras", "missing", "require"]


def require(module: str, extra: str) -> Any:
    """Import an optional dependency.

    Args:
        module: Dotted name to import.
        extra: The extra of `nwavesdk` that installs it.

    Returns:
        The imported module.

    Raises:
        ModuleNotFoundError: The package of `module` is not installed; the text names the extra.

    Example:
        >>> require("numpy", "train").__name__
        'numpy'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise ModuleNotFoundError(missing(top, extra), name=error.name) from None


def missing(package: str, extra: str) -> str:
    """The one line that tells how to install a missing package.

    Example:
        >>> missing("scipy", "train")
        'scipy is not installed: pip install "nwavesdk[train]" brings it.'
    """
    return f'{package} is not installed: pip install "nwavesdk[{extra}]" brings it.'


def extras() -> dict[str, list[str]]:
    """Each extra of `nwavesdk` and what of it is not installed."""
    lacking: dict[str, list[str]] = {}
    for text in metadata.requires("nwavesdk") or []:
        requirement = _REQUIREMENT.match(text)
        if requirement is None or (
            "sys_platform" in text and f"'{sys.platform}'" not in text.replace('"', "'")
        ):
            continue
        missing_ones = lacking.setdefault(requirement["extra"], [])
        try:
            metadata.version(requirement["package"])
        except metadata.PackageNotFoundError:
            missing_ones.append(requirement["package"])
    return lacking


_REQUIREMENT = re.compile(r"(?P<package>[\w.-]+).*extra == ['\"](?P<extra>\w+)['\"]")
