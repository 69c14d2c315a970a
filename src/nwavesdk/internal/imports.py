"""Imports of optional dependencies, with a hint for missing ones, and imports on first use."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from nwavesdk.internal.checks import close_name

__all__ = ["import_on_use", "install_hint", "missing_packages", "require"]

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
        # An import that fails inside of an installed package is its own error.
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ModuleNotFoundError(install_hint(package, extra), name=error.name) from None


def install_hint(package: str, extra: str) -> str:
    """One line that describes how to install a missing package.

    Example:
        >>> install_hint("scipy", "train")
        "scipy is not installed: pip install '.[train]' in a clone of nwavesdk installs it."
    """
    return (
        f"{package} is not installed: pip install '.[{extra}]' in a clone of nwavesdk installs it."
    )


def missing_packages() -> dict[str, list[str]]:
    """The packages of each extra of `nwavesdk` that are not installed on this platform."""
    from importlib import metadata  # takes time to import

    missing: dict[str, list[str]] = {}
    for requirement in metadata.requires("nwavesdk") or []:
        match = _OPTIONAL.match(requirement)
        if match and match["platform"] in (None, sys.platform):
            packages = missing.setdefault(match["extra"], [])
            if not any(metadata.distributions(name=match["package"])):
                packages.append(match["package"])
    return missing


def import_on_use(
    package: str, origins: Mapping[str, Sequence[str]], modules: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package that imports names on first use.

    See PEP 562. The package lists the names in its `__all__`, and imports names and modules under
    `TYPE_CHECKING`, so that type checkers and editors see them.

    Args:
        package: The package's `__name__`.
        origins: The names to import from each module.
        modules: Modules of the package to import on first use.

    Returns:
        `__getattr__`, which raises an `AttributeError` for any other name, and `__dir__`, which
        lists `__all__` and the modules.

    Example:
        >>> get_attribute, _ = import_on_use("fractions_and_more", {"fractions": ["Fraction"]})
        >>> get_attribute("Fraction")
        <class 'fractions.Fraction'>
    """
    origin_of = {name: module for module, names in origins.items() for name in names}

    def get_attribute(name: str) -> object:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in origin_of:
            # Python and its tools ask for names with underscores; only people misspell.
            hint = "" if name.startswith("_") else close_name(name, list_names())
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
        return getattr(import_module(origin_of[name]), name)

    def list_names() -> list[str]:
        return sorted({*sys.modules[package].__all__, *modules})

    return get_attribute, list_names
