"""The disk cache of compiled kernels: source texts, stored under their hash, imported as modules.

This is the only file that reads or writes the cache. The CPU kernels, the sparse products and the
Triton kernels all load their source text through it.

Why the texts are files: numba's own disk cache never hits for functions made in closures, because
their pickles differ between processes. A rendered file is a module like any other, so later
processes find its compiled code next to it, in `__pycache__`.

The folder is `NWAVESDK_CACHE`, or `~/.cache/nwavesdk`. If it is not writable, one warning is given
and a temporary folder serves this process.
"""

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

__all__ = ["COMPILE_LOCK", "compile_or_heal", "kernel_folder", "load_python_kernels", "load_source"]

COMPILE_LOCK = threading.Lock()  # one thread at a time writes a text or compiles


@cache
def kernel_folder() -> Path:
    """The folder of the rendered kernels. It is writable."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "nwavesdk")
    home = os.environ.get("NWAVESDK_CACHE") or default
    folder = Path(home, "kernels")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix="nwavesdk-kernels-"))
        warnings.warn(
            f"the kernel cache {home} cannot be written ({error}): kernels are compiled again in "
            "every process; set NWAVESDK_CACHE to a folder that is writable.",
            stacklevel=2,
        )
        return folder


def load_source(name: str, compiler: str, text: str) -> tuple[ModuleType, Path]:
    """Import `text` as a module from a file of the cache.

    Args:
        name: Start of the file name, for people who look into the folder.
        compiler: Name or version of the compiler. It is part of the hash.
        text: The source text.

    Returns:
        The module and the path of its file.
    """
    digest = hashlib.sha256(f"{compiler}\n{text}".encode()).hexdigest()[:20]
    name = f"nwavesdk_{name}_{digest}"
    with COMPILE_LOCK:
        path = kernel_folder() / f"{name}.py"
        if not path.exists() or path.read_bytes() != text.encode():
            # The file appears under its name only when it is complete: other processes read it.
            draft = path.with_suffix(f".{os.getpid()}.tmp")
            draft.write_bytes(text.encode())
            draft.replace(path)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module, path


def load_python_kernels(name: str, text: str) -> ModuleType:
    """Import a numba source text whose kernels are called from Python.

    Args:
        name: Start of the file name, for people who look into the folder.
        text: The whole source. Equal texts share their compiled code.

    Returns:
        The module. Those of its functions that release the GIL are its kernels.
    """
    module, path = load_source(name, numba.__version__, text)
    for entry, function in list(vars(module).items()):
        if getattr(function, "targetoptions", {}).get("nogil"):
            setattr(module, entry, PythonKernel(function, path))
    return module


class PythonKernel:
    """A compiled function that Python calls, for kernels whose arguments have several types."""

    def __init__(self, function: Any, path: Path) -> None:
        self.function = function
        self.path = path
        self.compiled: set[tuple[type, ...]] = set()  # argument types known to be compiled

    def __call__(self, *arguments: Any) -> None:
        kinds = tuple(map(type, arguments))
        if kinds not in self.compiled:
            types = tuple(numba.typeof(a) for a in arguments)
            with COMPILE_LOCK:
                compile_or_heal(lambda: self.function.compile(types), self.path)
                self.compiled.add(kinds)
        self.function(*arguments)


def compile_or_heal(build: Callable[[], Any], path: Path) -> Any:
    """Call `build`; if the compiled files of the module at `path` are damaged, delete and retry."""
    try:
        return build()
    except Exception as error:
        files = list((path.parent / "__pycache__").glob(f"{path.stem}.*"))
        if not files or isinstance(error, numba.core.errors.NumbaError):
            raise
        warnings.warn(
            f"the kernel cache {path.parent} was damaged ({error!r}): compiled again.", stacklevel=5
        )
        for file in files:
            file.unlink(missing_ok=True)
        return build()
