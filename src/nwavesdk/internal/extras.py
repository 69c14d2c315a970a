"""Optional dependencies: import one, or report which `pip install` brings it."""

import re
import sys
from importlib import import_module, metadata
from typing import Any

__all__ = ["install_hint", "missing_packages", "require"]

# An entry of the metadata, such as 'triton>=3.2; sys_platform == "linux" and extra == "dev"'.
_OPTIONAL = re.compile(
    r"(?P<package>[\w.-]+)"
    r"(.*sys_platform == ['\"](?P<platform>\w+)['\"])?"
    r".*extra == ['\"](?P<extra>\w+)['\"]"
)


def require(module: str, extra: str) -> Any:
    """Import an optional dependency.

    Args:
        module: Dotted name to import.
        extra: The extra of `nwavesdk` that installs it.

    Returns:
        The imported module.

    Raises:
        ModuleNotFoundError: If the package of `module` is not installed; the text names the extra.

    Example:
        >>> require("numpy", "train").__name__
        'numpy'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ModuleNotFoundError(install_hint(package, extra), name=error.name) from None


def install_hint(package: str, extra: str) -> str:
    """One line that tells how to install a missing package.

    Example:
        >>> install_hint("scipy", "train")
        'scipy is not installed: pip install "nwavesdk[train]" brings it.'
    """
    return f'{package} is not installed: pip install "nwavesdk[{extra}]" brings it.'


def missing_packages() -> dict[str, list[str]]:
    """The packages of each extra of `nwavesdk` that are not installed on this platform."""
    missing: dict[str, list[str]] = {}
    for requirement in metadata.requires("nwavesdk") or []:
        match = _OPTIONAL.match(requirement)
        if match is None or match["platform"] not in (None, sys.platform):
            continue
        of_extra = missing.setdefault(match["extra"], [])
        try:
            metadata.version(match["package"])
        except metadata.PackageNotFoundError:
            of_extra.append(match["package"])
    return missing
