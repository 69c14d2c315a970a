"""Names that a package imports on first use (PEP 562)."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

__all__ = ["import_on_use"]


def import_on_use(
    package: str, origins: Mapping[str, Sequence[str]], modules: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package that imports names on first use.

    The package lists the names in its `__all__`, and imports names and modules under
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
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(origin_of[name]), name)

    def list_names() -> list[str]:
        return sorted({*sys.modules[package].__all__, *modules})

    return get_attribute, list_names
