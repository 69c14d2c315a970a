"""An optional dependency: the import, or an error that says which `pip install` brings it."""

from importlib import import_module
from typing import Any

__all__ = ["require"]


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
